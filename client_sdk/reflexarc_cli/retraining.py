"""When models are trained: what is due, one run at a time, and what an interrupted run had already finished.

Owns `DATA/training`: `runs.jsonl` (one line a run), `lock`, and `unfinished` (models of a run that was cut short). Must never
train: that is `training`'s.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ManifestError, ReflexArcError, StorageError
from reflexarc_models.artifact import Artifact

FOLDER: Final = "training"
RESUMABLE_MS: Final = 86_400_000
"""An unfinished run older than this is begun anew: its log has moved on."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is about: equal runs of one log give equal models. until: events after this time (ms) are not looked at."""

    catalog_digest: str
    until: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"catalog": self.catalog_digest, "until": self.until, "seed": self.seed}


class Schedule:
    """The runs of a server's folder. Every model is due when its `update` has passed since it was last trained; weeks that were
    missed are made up for by one run.
    """

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER
        self._file = self._folder / "runs.jsonl"

    def due(self, catalog: Catalog, now_ms: int) -> list[str]:
        """Models to train now."""
        last = self.last_times()
        return [
            name for name, model in catalog.models.items() if now_ms - last.get(name, now_ms - model.update_ms) >= model.update_ms
        ]

    def next_due(self, catalog: Catalog, now_ms: int) -> int | None:
        """When (ms) the next model is due, `now_ms` where one is; None for a catalog without models."""
        last = self.last_times()
        times = [last[name] + model.update_ms if name in last else now_ms for name, model in catalog.models.items()]
        return max(now_ms, min(times)) if times else None

    def last_times(self) -> dict[str, int]:
        """When each model was last trained or found to have no data, ms. A line that was cut short says nothing."""
        found: dict[str, int] = {}
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return found
        except OSError as error:
            raise StorageError(f"{self._file} cannot be read: {error.strerror}") from None
        for line in lines:
            try:
                run = json.loads(line)
                found.update({str(name): int(run["time"]) for name in run["models"]})
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def note(self, now_ms: int, models: Mapping[str, Any], bundle: str) -> None:
        """A run is over."""
        line = json.dumps({"time": now_ms, "bundle": bundle, "models": dict(models)}, sort_keys=True)
        with self._writes():
            self._folder.mkdir(parents=True, exist_ok=True)
            torn = self._file.exists() and not self._file.read_bytes().endswith(b"\n")
            with self._file.open("a", encoding="utf-8") as file:
                file.write(("\n" if torn else "") + line + "\n")
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One run at a time, of however many processes. Raises ReflexArcError while another is under way."""
        with self._writes():
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReflexArcError(
                    f"another training run is under way in {self._folder.parent}",
                    hint="wait for it, or end it: it can be resumed",
                ) from None
            yield
        finally:
            os.close(descriptor)

    def unfinished(self, run: Run, now_ms: int) -> Unfinished:
        """Where this run keeps what it has finished. What a run about something else left there goes."""
        return Unfinished(self._folder / "unfinished", run, now_ms)

    @contextmanager
    def _writes(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self._folder} cannot be written: {error.strerror}") from None


@dataclass
class Unfinished:
    """Models that a run has finished, kept until all are. Both forms and what is reported of them."""

    folder: Path
    run: Run
    now_ms: int
    resumed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        kept = self._read(self.folder / "run.json")
        same = kept is not None and kept.get("run") == self.run.to_json() and self.now_ms - kept["began"] < RESUMABLE_MS
        if not same:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._write(self.folder / "run.json", {"run": self.run.to_json(), "began": self.now_ms})

    def take(self, model_id: str) -> tuple[dict[str, Any], dict[str, Artifact]] | None:
        """(report, artifact by form) of a model that was finished before the interruption, None when it was not."""
        place = self.folder / model_id
        said = self._read(place / "said.json")
        if said is None:
            return None
        try:
            forms = {form: Artifact.load(place / form) for form in said["forms"]}
        except (ManifestError, KeyError, TypeError):
            return None
        self.resumed.add(model_id)
        return said["report"], forms

    def keep(self, model_id: str, report: dict[str, Any], forms: Mapping[str, Artifact]) -> None:
        """This model is finished. Raises StorageError."""
        for form, artifact in forms.items():
            artifact.write(self.folder / model_id / form)
        self._write(self.folder / model_id / "said.json", {"report": report, "forms": sorted(forms)})

    def clear(self) -> None:
        """The run is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            held = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return held if isinstance(held, dict) else None

    @staticmethod
    def _write(path: Path, value: object) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(value))
            beside.replace(path)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from None


def chosen(catalog: Catalog, names: Collection[str]) -> list[str]:
    """These models in the catalog's order. Raises ReflexArcError for one it does not have."""
    unknown = [name for name in names if name not in catalog.models]
    if unknown:
        raise ReflexArcError(f"the catalog has no model {unknown[0]!r}", hint=f"it has {', '.join(catalog.models) or 'none'}")
    return [name for name in catalog.models if name in names]
