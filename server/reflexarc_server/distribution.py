"""Bundles on the server: written whole, found by digest, served by content.

A bundle is a folder `DATA/bundles/DIGEST` with `bundle.json` (every other file by name, with sha256 and bytes; its own
SHA-256 is the digest), `catalog.json`, and per model `MODEL/device/...` and `MODEL/server/...`. Owns that layout and
its checks. Which bundle is live is the store's word.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_core import plain
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, ManifestError, StorageError
from reflexarc_core.model import LiveModel
from reflexarc_models.artifact import Artifact

FOLDER: Final = "bundles"
MANIFEST: Final = "bundle.json"
CATALOG: Final = "catalog.json"
FORMAT: Final = 1
CHUNK_BYTES: Final = 65_536
FORMS: Final = ("device", "server")
STAGED_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that verified. artifacts: form (`device`, `server`) -> model id -> artifact."""

    digest: str
    version: int
    manifest: bytes
    catalog: Catalog
    artifacts: Mapping[str, Mapping[str, Artifact]]

    @property
    def live_models(self) -> dict[str, LiveModel]:
        """What a server's engine is told of each model: the heavier form."""
        return {
            model_id: LiveModel(artifact.digest, artifact.inputs, artifact.newest_label_time, artifact.hours)
            for model_id, artifact in self.artifacts["server"].items()
        }

    def device_files(self) -> list[str]:
        """SHA-256 (hex) of every file a device takes, in the manifest's order."""
        listed = json.loads(self.manifest)["files"]
        return [str(entry["sha256"]) for name, entry in listed.items() if name == CATALOG or "/device/" in name]


def write_bundle(data: Path, catalog: Catalog, artifacts: Mapping[str, Mapping[str, Path]]) -> str:
    """Write a bundle into a server's folder and give its digest; live it becomes by ActivateBundle.

    artifacts: model id -> form (`device`, `server`) -> folder of the artifact. Raises ManifestError for an artifact
    that is not what its manifest says, StorageError when the folder cannot be written.
    """
    loaded = {model_id: {form: Artifact.load(folder) for form, folder in forms.items()} for model_id, forms in artifacts.items()}
    return keep_bundle(data, catalog, loaded)


def keep_bundle(data: Path, catalog: Catalog, artifacts: Mapping[str, Mapping[str, Artifact]]) -> str:
    """As `write_bundle`, of artifacts that are at hand. The same catalog and artifacts twice are two bundles, of two versions."""
    home = data / FOLDER
    try:
        home.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="staging-", dir=home))
    except OSError as error:
        raise StorageError(f"{home} cannot be written: {error.strerror}") from None
    try:
        contents: dict[str, bytes] = {CATALOG: catalog.to_bytes()}
        for model_id, forms in artifacts.items():
            if model_id not in catalog.models or "/" in model_id or model_id.startswith("."):
                raise DefinitionError(f"the catalog has no model {model_id!r}")
            for form, held in forms.items():
                if form not in FORMS:
                    raise DefinitionError(f"{model_id}: no form {form!r}", hint=" or ".join(FORMS))
                contents.update({f"{model_id}/{form}/{name}": content for name, content in held.files.items()})
        manifest = plain.canonical(
            {
                "format": FORMAT,
                "version": 1 + max((version for _, version in _versions(home)), default=0),
                "catalog": {"digest": catalog.digest, "version": catalog.version},
                "files": {
                    name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                    for name, content in contents.items()
                },
            }
        )
        digest = hashlib.sha256(manifest).hexdigest()
        for name, content in {**contents, MANIFEST: manifest}.items():
            _write(staging / name, content)
        staging.chmod(0o755)
        try:
            os.replace(staging, home / digest)
        except OSError:
            if not (home / digest).is_dir():  # else somebody has just kept the same
                raise
        _sync(home)
    except OSError as error:
        raise StorageError(f"{home} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return digest


class Distribution:
    """The bundles of a server's folder, read and served. Safe to call from several threads."""

    def __init__(self, data: Path) -> None:
        self._home = data / FOLDER
        self._lock = threading.Lock()
        self._paths: dict[str, tuple[Path, int]] = {}
        _sweep(self._home)

    def keep(self, catalog: Catalog, artifacts: Mapping[str, Mapping[str, Artifact]]) -> str:
        """See `keep_bundle`."""
        return keep_bundle(self._home.parent, catalog, artifacts)

    def load(self, digest: str) -> Bundle:
        """A bundle, every file of it checked. Raises DefinitionError when there is none, ManifestError when it is damaged."""
        folder = self._folder(digest)
        try:
            manifest = (folder / MANIFEST).read_bytes()
            if hashlib.sha256(manifest).hexdigest() != digest:
                raise ManifestError(f"the manifest of bundle {digest[:12]} is damaged")
            listed = json.loads(manifest)
            for name, entry in listed["files"].items():
                content = (folder / name).read_bytes()
                if len(content) != entry["bytes"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
                    raise ManifestError(f"{name} of bundle {digest[:12]} is damaged")
            version = int(listed["version"])
            catalog = Catalog.from_bytes((folder / CATALOG).read_bytes())
        except OSError as error:
            raise ManifestError(f"bundle {digest[:12]} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ManifestError(f"the manifest of bundle {digest[:12]} is none") from None
        artifacts = {form: {path.parent.name: Artifact.load(path) for path in sorted(folder.glob(f"*/{form}"))} for form in FORMS}
        return Bundle(digest, version, manifest, catalog, artifacts)

    def server_artifact(self, artifact_digest: str) -> Artifact:
        """The server's form with this manifest digest, from whichever bundle has it. Raises ManifestError when none does."""
        for digest, _ in _versions(self._home):
            for name, entry in _listing(self._home / digest).items():
                if entry["sha256"] == artifact_digest and name.endswith("/server/manifest.json"):
                    return Artifact.load((self._home / digest / name).parent)
        raise ManifestError(f"no bundle holds artifact {artifact_digest[:12]}", hint="keep every bundle the log names")

    def forms_with(self, artifact_digest: str) -> dict[str, Artifact] | None:
        """Every form of the trained model one of whose forms has this manifest digest; None when no bundle holds it."""
        for digest, _ in _versions(self._home):
            for name, entry in _listing(self._home / digest).items():
                if entry["sha256"] == artifact_digest and name.endswith("/manifest.json"):
                    model = (self._home / digest / name).parent.parent
                    return {form: Artifact.load(model / form) for form in FORMS if (model / form).is_dir()}
        return None

    def chunks(self, sha256: str, offset: int) -> Iterator[tuple[bytes, int]]:
        """(piece, size of the whole) from `offset` on; one empty piece for an empty rest.

        Raises DefinitionError for a file of no bundle or an offset outside it.
        """
        path, total = self._find(sha256)
        if not 0 <= offset <= total:
            raise DefinitionError(f"offset {offset} of a file of {total} bytes")
        try:
            with path.open("rb") as file:
                file.seek(offset)
                piece = file.read(CHUNK_BYTES)
                yield piece, total
                while piece := file.read(CHUNK_BYTES):
                    yield piece, total
        except OSError as error:
            raise StorageError(f"{path.name} cannot be read: {error.strerror}") from None

    def _find(self, sha256: str) -> tuple[Path, int]:
        with self._lock:
            found = self._paths.get(sha256)
            if found is None or not found[0].is_file():  # a bundle came, or went: several may have the same file
                self._paths.clear()
                for digest, _ in _versions(self._home):
                    for name, entry in _listing(self._home / digest).items():
                        path = self._home / digest / name
                        if path.is_file():
                            self._paths.setdefault(entry["sha256"], (path, int(entry["bytes"])))
                found = self._paths.get(sha256)
        if found is None:
            raise DefinitionError(f"no bundle holds a file {sha256[:12]}")
        return found

    def _folder(self, digest: str) -> Path:
        if not _is_digest(digest):
            raise DefinitionError(f"{digest[:64]!r} is no digest", hint="64 hex digits")
        folder = self._home / digest
        if not folder.is_dir():
            raise DefinitionError(f"no bundle {digest[:12]} in this server's folder", hint="train one first")
        return folder


def _is_digest(name: str) -> bool:
    return len(name) == 64 and all(mark in "0123456789abcdef" for mark in name)


def _sweep(home: Path) -> None:
    """Remove what writers that were killed left behind, a day ago at least: another process may be writing."""
    for path in home.glob("staging-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STAGED_S:
                shutil.rmtree(path, ignore_errors=True)


def _listing(folder: Path) -> dict[str, Any]:
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return listed if isinstance(listed, dict) else {}


def _versions(home: Path) -> list[tuple[str, int]]:
    """(digest, version) of every bundle, newest first."""
    found = []
    for path in home.iterdir() if home.is_dir() else ():
        if not _is_digest(path.name):  # one that is being written
            continue
        try:
            found.append((path.name, int(json.loads((path / MANIFEST).read_bytes())["version"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda pair: -pair[1])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
