"""Bundles on a device: download, verify, self-test, swap.

A bundle is a catalog and the device artifacts that score for it, listed by digest in one manifest. Owns the folder they
live in: written aside, fsynced, renamed, so a torn bundle never has its final name. Must never make anything live
that was not verified; the seam for signatures is `Verifier`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, ManifestError, ScoringError, StorageError
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_core.model import LiveModel, Scored

if TYPE_CHECKING:
    from reflexarc_models.artifact import Artifact
    from reflexarc_models.scorer import ArtifactScorer

BUNDLE_BYTES_MAX = 64 * 1024 * 1024
FILE_COUNT_MAX = 256


class Verifier(Protocol):
    """Judges a manifest before anything it names is fetched."""

    def verify(self, manifest: bytes, digest: str) -> None:
        """Raises ManifestError when the manifest is not to be trusted."""
        ...


class DigestVerifier:
    """Accepts a manifest whose SHA-256 is the digest that was announced. Signatures take this place later."""

    def verify(self, manifest: bytes, digest: str) -> None:
        if hashlib.sha256(manifest).hexdigest() != digest:
            raise ManifestError("the bundle's manifest is not the one that was announced")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on this device."""

    digest: str
    folder: Path
    catalog: Catalog
    artifacts: Mapping[str, Artifact]

    @property
    def live_models(self) -> dict[str, LiveModel]:
        """What the engine is told of each model."""
        return {
            model_id: LiveModel(artifact.digest, artifact.inputs, artifact.newest_label_time, artifact.hours)
            for model_id, artifact in self.artifacts.items()
        }

    def self_test(self) -> None:
        """Run every artifact's parity vectors the way this host will score. Raises ManifestError."""
        from reflexarc_models.scorer import self_test

        for artifact in self.artifacts.values():
            self_test(artifact)

    def scorer(self) -> ArtifactScorer:
        """Scores by the bundle's artifacts."""
        from reflexarc_models.scorer import ArtifactScorer

        return ArtifactScorer(self.artifacts)


class Bundles:
    """The folder of bundles. Keeps the live one and the one before it."""

    def __init__(self, folder: Path, verifier: Verifier | None = None) -> None:
        self._folder = folder
        self._verifier = verifier or DigestVerifier()

    def open(self, digest: str) -> Bundle:
        """The bundle of that digest, verified again. Raises ManifestError when it is gone or damaged, DefinitionError when this
        version cannot run its catalog."""
        return self._load(digest, self._folder / digest)

    def held(self, digest: str) -> Bundle | None:
        """The same where it is kept and sound and runs here, tested again; else None."""
        with contextlib.suppress(ManifestError, DefinitionError, ScoringError):
            bundle = self.open(digest)
            bundle.self_test()
            return bundle
        return None

    def install(self, digest: str, manifest: bytes, fetch: Callable[[str, int], bytes]) -> Bundle:
        """Verify the manifest, fetch what it lists, self-test, and give it its final name.

        fetch(sha256, byte_count) returns a file's bytes. Raises ManifestError, DefinitionError for a catalog that no engine could
        run, StorageError when the disk will not have it; nothing is kept then.
        """
        try:
            return self._install(digest, manifest, fetch)
        except OSError as error:
            hint = "free some space on the disk, or make the folder writable"
            raise StorageError(f"{self._folder} cannot be written: {error.strerror}", hint=hint) from None

    def keep_only(self, digests: Sequence[str]) -> None:
        """Remove every other bundle."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.name not in digests:
                shutil.rmtree(path, ignore_errors=True)

    def file(self, sha256: str) -> bytes:
        """A file that one of the bundles here has, empty for none: most of a new bundle is often in the one before it."""
        for manifest in self._folder.glob("*/bundle.json"):
            with contextlib.suppress(OSError, ManifestError):
                for name, listed, _ in _files_for_device(manifest.read_bytes()):
                    content = (manifest.parent / name).read_bytes() if listed == sha256 else b""
                    if content and hashlib.sha256(content).hexdigest() == sha256:
                        return content
        return b""

    def _install(self, digest: str, manifest: bytes, fetch: Callable[[str, int], bytes]) -> Bundle:
        self._verifier.verify(manifest, digest)
        files = _files_for_device(manifest)
        staging = self._folder / f"staging-{digest[:16]}"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            for name, sha256, byte_count in files:
                content = fetch(sha256, byte_count)
                if len(content) != byte_count or hashlib.sha256(content).hexdigest() != sha256:
                    raise ManifestError(f"{name} is not what the manifest lists")
                _write(staging / name, content)
            _write(staging / "bundle.json", manifest)
            bundle = self._load(digest, staging)
            bundle.self_test()
            for folder in [path for path in staging.rglob("*") if path.is_dir()] + [staging]:
                _sync_folder(folder)
            final = self._folder / digest
            shutil.rmtree(final, ignore_errors=True)
            os.replace(staging, final)
            _sync_folder(self._folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return self._load(digest, final)

    def _load(self, digest: str, path: Path) -> Bundle:
        from reflexarc_models.artifact import Artifact

        try:
            manifest = (path / "bundle.json").read_bytes()
            self._verifier.verify(manifest, digest)
            for name, sha256, _ in _files_for_device(manifest):
                if hashlib.sha256((path / name).read_bytes()).hexdigest() != sha256:
                    raise ManifestError(f"{name} of bundle {digest[:12]} is damaged")
            catalog = Catalog.from_bytes((path / "catalog.json").read_bytes())
        except OSError as error:
            raise ManifestError(f"bundle {digest[:12]} cannot be read: {error.strerror}") from None
        artifacts = {
            model.parent.name: Artifact.load(model)
            for model in sorted(path.glob("*/device"))
            if (model / "manifest.json").exists()
        }
        for model_id, artifact in artifacts.items():
            unknown = set(artifact.inputs) - catalog.features.keys() - {INTEREST_STRENGTH}
            if unknown:
                name = min(unknown)
                raise ManifestError(f"{model_id} of bundle {digest[:12]} reads {name!r}, which its catalog does not have")
        return Bundle(digest, path, catalog, artifacts)


class LazyScorer:
    """Scores by a bundle's artifacts, loading them on the first score."""

    def __init__(self, bundle: Bundle | None) -> None:
        self._bundle = bundle
        self._scorer: ArtifactScorer | None = None

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        """See Scorer. Raises ScoringError when there is no bundle."""
        return self._live().score(model_id, vector, factors_above)

    def score_items(
        self,
        model_id: str,
        vector: Sequence[float],
        factors_above: float | None,
        subject: str,
        interactions: Sequence[tuple[str, float]],
    ) -> Scored:
        """See ItemScorer. Raises ScoringError when there is no bundle."""
        return self._live().score_items(model_id, vector, factors_above, subject, interactions)

    def forget(self, subject: str) -> None:
        """See ItemScorer."""
        if self._scorer is not None:
            self._scorer.forget(subject)

    def inputs(self, model_id: str) -> tuple[str, ...]:
        """See Scorer."""
        return self._live().inputs(model_id)

    def _live(self) -> ArtifactScorer:
        if self._scorer is None:
            if self._bundle is None:
                raise ScoringError("this device has no models yet", hint="connect it to a server that published some")
            self._scorer = self._bundle.scorer()
        return self._scorer


def _files_for_device(manifest: bytes) -> list[tuple[str, str, int]]:
    """(name, sha256, bytes) of the catalog and every device artifact. Raises ManifestError on names that leave the folder."""
    try:
        listed: dict[str, Any] = json.loads(manifest)["files"]
        files = [
            (name, str(entry["sha256"]), int(entry["bytes"]))
            for name, entry in listed.items()
            if name == "catalog.json" or "/device/" in name
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ManifestError("the bundle's manifest cannot be read") from None
    if len(files) > FILE_COUNT_MAX or sum(byte_count for _, _, byte_count in files) > BUNDLE_BYTES_MAX:
        raise ManifestError("the bundle is larger than a device accepts")
    for name, _, _ in files:
        if name.startswith("/") or ".." in Path(name).parts:
            raise ManifestError(f"the bundle names a file outside itself: {name!r}")
    return files


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
