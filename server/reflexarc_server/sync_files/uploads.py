"""Sync files as they lie on the server: while they come in, and while they wait for one that belongs before them.

Owns the names, which are made of digests only, and the bounds. A file that came whole keeps its name until it was taken, so
that a kill at any moment costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reflexarc_core.errors import StorageError, SyncFileError
from reflexarc_proto.sync_file import FILE_BYTES_MAX

FOLDER: Final = "sync-files"
CHUNK_BYTES_MAX: Final = 1_048_576
UPLOADS_MAX: Final = 64
LAID_BY_MAX: Final = 1_024
LAID_BY_BYTES_MAX: Final = 2 * 1024**3
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Uploads:
    """data: the server's folder. Raises StorageError when it cannot be used."""

    def __init__(self, data: Path) -> None:
        self._coming = data / FOLDER / "coming"
        self._laid_by = data / FOLDER / "laid-by"

    def receive(self, sha256: str, byte_count: int, offset: int, chunk: bytes) -> int:
        """Take a piece of a file of `byte_count` bytes; how many are held from its start on.

        Raises SyncFileError for what cannot be a piece of one, StorageError.
        """
        path = self._path(sha256)
        if not 0 < byte_count <= FILE_BYTES_MAX:
            raise SyncFileError(f"a file of {byte_count:,} bytes", hint=f"1 to {FILE_BYTES_MAX:,}")
        if offset < 0 or len(chunk) > CHUNK_BYTES_MAX or offset + len(chunk) > byte_count:
            raise SyncFileError("a piece that is no piece of the file", hint=f"at most {CHUNK_BYTES_MAX:,} bytes, within it")
        try:
            held = path.stat().st_size if path.exists() else self._begin(path)
            if chunk and offset == held:
                with path.open("ab") as file:
                    file.write(chunk)
                held += len(chunk)
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be written: {error.strerror}", hint="free some space on the disk") from None
        return held

    def whole(self, sha256: str) -> Path:
        """The file, when it came whole and is what it was said to be. Raises SyncFileError, StorageError."""
        path = self._path(sha256)
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except FileNotFoundError:
            raise SyncFileError("the file was not uploaded", hint="import it again") from None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from None
        if digest.hexdigest() != sha256:
            self.drop(path)
            raise SyncFileError("the upload is not what was sent", hint="import it again")
        return path

    def drop(self, path: Path) -> None:
        """A file is of no use any more."""
        with contextlib.suppress(OSError):
            path.unlink()

    def lay_by(self, path: Path, installation: str) -> None:
        """Keep a file until the one that belongs before it is here. Raises SyncFileError when there is no room for it."""
        held = list(self._files(self._laid_by))
        target = self._laid_by / f"{_name(installation)}.{path.name[-len('.sync') - 64 :]}"
        try:
            if target.name not in {other.name for other in held}:
                size = sum(other.stat().st_size for other in held) + path.stat().st_size
                if len(held) >= LAID_BY_MAX or size > LAID_BY_BYTES_MAX:
                    raise SyncFileError(
                        "no more files can be laid by for those that belong before them",
                        hint="import the device's earlier files first, then this one again",
                    )
            self._laid_by.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(path, target)
        except OSError as error:
            raise StorageError(f"{self._laid_by} cannot be written: {error.strerror}") from None

    def laid_by(self, installation: str) -> list[Path]:
        """The files of an installation that wait."""
        return [path for path in self._files(self._laid_by) if path.name.startswith(f"{_name(installation)}.")]

    def _begin(self, path: Path) -> int:
        """Room for one more: the oldest that never came whole goes."""
        self._coming.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming = sorted(self._files(self._coming), key=lambda other: other.stat().st_mtime_ns)
        for old in coming[: max(0, len(coming) - UPLOADS_MAX + 1)]:
            self.drop(old)
        return 0

    def _path(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise SyncFileError("a file is named by its SHA-256", hint="64 hex digits")
        return self._coming / f"{sha256}.sync"

    def _files(self, folder: Path) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from sorted(path for path in folder.iterdir() if path.is_file())


def _name(installation: str) -> str:
    """A name for an installation that is one for a file, whatever it is called."""
    return hashlib.sha256(installation.encode()).hexdigest()[:32]
