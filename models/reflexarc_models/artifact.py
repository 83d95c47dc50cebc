"""What an artifact is: one manifest and the files it names, checked before anything believes them.

Owns the layout and the checks of `manifest.json` (canonical JSON; its SHA-256 is the artifact's digest). Must
never score: that is the scorer's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from reflexarc_core.errors import DefinitionError, ManifestError, StorageError
from reflexarc_core.model import DEVICE_FORMS, GRID
from reflexarc_core.plain import from_plain
from reflexarc_core.purchase_window import Intensity, check
from reflexarc_models.tables import segment_of

FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
MODEL_FILE: Final = "model.onnx"
PARITY_FILE: Final = "parity.json"
HOURS_FILE: Final = "hours.json"
"""When in the week people do what the model foresees (`reflexarc_core.purchase_window`); only some models have it."""

OBLIVIOUS_INT8, QDQ_INT8, ONNX_TREES5 = DEVICE_FORMS
ONNX_FOREST: Final = "onnx-forest"
FORMS: Final = (*DEVICE_FORMS, ONNX_FOREST)

CODE_COUNT_MAX: Final = 4_096
INPUT_COUNT_MAX: Final = 64
FILE_BYTES_MAX: Final = 256 * 1024 * 1024


def canonical_json(value: object) -> bytes:
    """Sorted keys, no spaces, UTF-8, no NaN: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(content: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """One trained model in one form, with its tables. Equal digests mean equal artifacts.

    inputs: features in vector order. absent_values: what stands for an input that has no value, per input.
    score_grid: per code, in 1/GRID, never falling. segment_starts: first code of each segment, ascending from
    0. segments: (n, k) of the calibration rows, one row per subject. lines: per line, confidence per segment
    in 1/GRID. reference: the row that factors are measured against. raw_low, raw_scale: of every form but
    oblivious-int8, the code is floor((raw - raw_low) * raw_scale) clamped. files: payload by name, the manifest among them.
    """

    digest: str
    model_id: str
    version: int
    algorithm: str
    form: str
    inputs: tuple[str, ...]
    inputs_left_out: tuple[str, ...]
    absent_values: tuple[float, ...]
    code_count: int
    score_grid: tuple[int, ...]
    segment_starts: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]
    lines: Mapping[float, tuple[int, ...]]
    confidence_min: float
    reference: tuple[float, ...]
    raw_low: float
    raw_scale: float
    newest_label_time: int
    horizon_ms: int
    update_interval_ms: int
    warnings: tuple[str, ...]
    evidence: Mapping[str, Any]
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    @staticmethod
    def load(folder: Path) -> Artifact:
        """Read and check the artifact in `folder`. Raises ManifestError when anything is off or missing."""
        try:
            manifest_bytes = (folder / MANIFEST_FILE).read_bytes()
            names = _listed(_parse(manifest_bytes))
            files = {name: (folder / name).read_bytes() for name in names}
        except OSError as error:
            raise ManifestError(f"artifact {folder.name}: cannot read {error.filename}: {error.strerror}") from error
        return Artifact.from_files({MANIFEST_FILE: manifest_bytes, **files})

    @staticmethod
    def from_files(files: Mapping[str, bytes]) -> Artifact:
        """Check and hold the files of one artifact. Raises ManifestError naming the first thing that is
        off.
        """
        manifest_bytes = files.get(MANIFEST_FILE)
        if manifest_bytes is None:
            raise ManifestError(f"an artifact without {MANIFEST_FILE}")
        manifest = _parse(manifest_bytes)
        listed = _listed(manifest)
        if set(files) != {MANIFEST_FILE, *listed}:
            odd = sorted(set(files) ^ {MANIFEST_FILE, *listed})
            raise ManifestError(f"files and manifest disagree about {', '.join(odd)}")
        for name, (digest, size) in listed.items():
            if len(files[name]) != size or sha256_hex(files[name]) != digest:
                raise ManifestError(f"{name} is not the file the manifest names", hint="download the artifact again")
        return _checked(manifest, sha256_hex(manifest_bytes), files)

    def write(self, folder: Path) -> None:
        """Write all files into `folder` (made whole or not at all). Raises StorageError."""
        write_folder(folder, self.files)

    @property
    def hours(self) -> Intensity | None:
        """When in the week people do what it foresees, from HOURS_FILE; None where that was not learned."""
        content = self.files.get(HOURS_FILE)
        return None if content is None else _hours(content)

    @property
    def download_bytes(self) -> int:
        """What a host that takes this artifact downloads, manifest included."""
        return sum(len(content) for content in self.files.values())

    def score_of(self, code: int) -> float:
        """Calibrated probability of `code`, a multiple of 1/GRID."""
        return self.score_grid[code] / GRID

    def confidences_of(self, code: int) -> tuple[tuple[float, float], ...]:
        """(line, confidence) pairs of `code`, lines ascending."""
        place = segment_of(self.segment_starts, code)
        return tuple((line, table[place] / GRID) for line, table in sorted(self.lines.items()))

    def filled(self, vector: Sequence[float]) -> list[float]:
        """The vector with every NaN replaced by the input's absent value."""
        return [absent if value != value else value for value, absent in zip(vector, self.absent_values, strict=True)]


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write these files as the whole of `folder`, which is there whole or not at all. Raises StorageError."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    try:
        beside.mkdir(parents=True)
        for name, content in files.items():
            (beside / name).write_bytes(content)
        if folder.exists():
            shutil.rmtree(folder)
        beside.replace(folder)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise StorageError(f"cannot write the model to {folder}: {error.strerror}") from error


def assemble(manifest: Mapping[str, Any], payload: Mapping[str, bytes]) -> Artifact:
    """An artifact from its manifest without `files` and its payload: lists the files, then checks the
    whole.
    """
    listing = {name: {"bytes": len(content), "sha256": sha256_hex(content)} for name, content in payload.items()}
    whole = canonical_json({**manifest, "files": listing})
    return Artifact.from_files({MANIFEST_FILE: whole, **payload})


def _hours(content: bytes) -> Intensity:
    """Raises ManifestError for a file that holds no such hours."""
    try:
        found = from_plain(Intensity, json.loads(content))
        check(found)
    except (ValueError, RecursionError, DefinitionError) as error:
        raise ManifestError(f"{HOURS_FILE} does not hold the hours of a week: {error}") from error
    return found


def _parse(content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{MANIFEST_FILE} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ManifestError(f"{MANIFEST_FILE} is not of format {FORMAT}", hint="update the software that reads it")
    return manifest


def _listed(manifest: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    files = manifest.get("files")
    if not isinstance(files, dict) or MODEL_FILE not in files or PARITY_FILE not in files:
        raise ManifestError(f"the manifest does not list {MODEL_FILE} and {PARITY_FILE}")
    listed: dict[str, tuple[str, int]] = {}
    for name, entry in files.items():
        if name == MANIFEST_FILE or name in (".", "..") or any(mark in name for mark in "/\\:\0"):
            raise ManifestError(f"the manifest lists {name!r}, which is not a plain file name")
        try:
            listed[name] = (str(entry["sha256"]), int(entry["bytes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(f"the manifest's entry for {name} is incomplete") from error
        if not 0 <= listed[name][1] <= FILE_BYTES_MAX:
            raise ManifestError(f"{name}: {listed[name][1]} bytes", hint=f"at most {FILE_BYTES_MAX}")
    return listed


def _checked(manifest: dict[str, Any], digest: str, files: Mapping[str, bytes]) -> Artifact:
    try:
        calibration = manifest["calibration"]
        raw = manifest.get("raw") or {"low": 0.0, "scale": 1.0}
        artifact = Artifact(
            digest=digest,
            model_id=str(manifest["model_id"]),
            version=int(manifest["version"]),
            algorithm=str(manifest["algorithm"]),
            form=str(manifest["form"]),
            inputs=tuple(str(name) for name in manifest["inputs"]),
            inputs_left_out=tuple(str(name) for name in manifest["inputs_left_out"]),
            absent_values=tuple(float(manifest["absent_values"][name]) for name in manifest["inputs"]),
            code_count=int(manifest["code_count"]),
            score_grid=tuple(int(grid) for grid in manifest["score_grid"]),
            segment_starts=tuple(int(start) for start in manifest["segment_starts"]),
            segments=tuple((int(n), int(k)) for n, k in manifest["segments"]),
            lines=MappingProxyType(
                {float(line): tuple(int(grid) for grid in table) for line, table in manifest["lines"].items()}
            ),
            confidence_min=float(manifest["confidence_min"]),
            reference=tuple(float(value) for value in manifest["reference"]),
            raw_low=float(raw["low"]),
            raw_scale=float(raw["scale"]),
            newest_label_time=int(calibration["newest_label_time"]),
            horizon_ms=int(calibration["horizon_ms"]),
            update_interval_ms=int(calibration["update_interval_ms"]),
            warnings=tuple(str(text) for text in manifest["warnings"]),
            evidence=MappingProxyType(dict(manifest["evidence"])),
            manifest=MappingProxyType(manifest),
            files=MappingProxyType(dict(files)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(f"the manifest is incomplete: {error!r}") from error
    _ = artifact.hours  # a host must not find out when it decides
    wrong = _first_wrong(artifact)
    if wrong:
        raise ManifestError(f"the manifest of {artifact.model_id} contradicts itself: {wrong}")
    return artifact


def _first_wrong(artifact: Artifact) -> str:
    grid, starts, segments = artifact.score_grid, artifact.segment_starts, artifact.segments
    if artifact.form not in FORMS:
        return f"no form {artifact.form!r} (one of {', '.join(FORMS)})"
    if not 1 <= len(artifact.inputs) <= INPUT_COUNT_MAX or len(set(artifact.inputs)) != len(artifact.inputs):
        return "inputs are none, too many or repeated"
    if len(artifact.reference) != len(artifact.inputs):
        return "the reference row does not fit the inputs"
    if not 1 <= artifact.code_count <= CODE_COUNT_MAX or len(grid) != artifact.code_count:
        return "one score per code is needed"
    if any(low > high for low, high in itertools.pairwise(grid)) or grid[0] < 0 or grid[-1] > GRID:
        return "scores fall along the codes or leave [0, 1]"
    if len(starts) != len(segments) or not starts or starts[0] != 0 or starts[-1] >= artifact.code_count:
        return "segments do not cover the codes"
    if any(low >= high for low, high in itertools.pairwise(starts)):
        return "segments do not ascend"
    if any(not 0 <= k <= n for n, k in segments):
        return "a segment has more positives than rows"
    for line, table in artifact.lines.items():
        if not 0.0 < line < 1.0 or len(table) != len(segments) or any(not 0 <= grid <= GRID for grid in table):
            return f"the confidence table of line {line!r} does not fit the segments"
    if artifact.raw_scale <= 0:
        return "the raw scale is not positive"
    return ""
