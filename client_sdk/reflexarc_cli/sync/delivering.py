"""Files of devices brought to a server, for `reflexarc sync import --server` and `--data`.

Owns which files belong together, and where the answers go. A running server checks and takes them; of one that does not run the
folder is opened for as long as it takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from reflexarc.backend import Backend
from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import StorageError, SyncFileError
from reflexarc_edge.journal import sync_folder
from reflexarc_edge.whole import whole_file
from reflexarc_proto.sync_file import checked
from reflexarc_proto.v1 import sync_file_pb2

PIECE_BYTES: Final = 1_048_576
ANSWERS_BYTES_MAX: Final = 256 * 1024 * 1024
APPLY_S: Final = 3_600.0
_PART: Final = re.compile(r"\.\d{3}$")


class Receiver(Protocol):
    """Whoever takes files in."""

    def upload(self, sha256: str, byte_count: int, offset: int, chunk: bytes) -> int:
        """Take a piece; how many bytes are held from the start on."""
        ...

    def apply(self, digests: Sequence[str], *, allow_unsigned: bool) -> bytes:
        """Take whole files in; the answers."""
        ...

    def enrol(self, installation: str, file_key: bytes, secret_digest: bytes, *, replace: bool) -> bool:
        """Make a key known; whether it was."""
        ...


class Remote:
    """A server that runs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def upload(self, sha256: str, byte_count: int, offset: int, chunk: bytes) -> int:
        return self._backend.upload_sync_file(sha256, byte_count, offset, chunk)

    def apply(self, digests: Sequence[str], *, allow_unsigned: bool) -> bytes:
        return self._backend.apply_sync_files(
            digests, allow_unsigned=allow_unsigned, timeout_s=APPLY_S, bytes_max=ANSWERS_BYTES_MAX
        )

    def enrol(self, installation: str, file_key: bytes, secret_digest: bytes, *, replace: bool) -> bool:
        return self._backend.enrol_by_hand(installation, file_key, secret_digest, replace=replace)


@contextmanager
def still_server(data: Path) -> Iterator[Receiver]:
    """A server that does not run. Raises Misused when the folder is none, StorageError when one runs on it."""
    from reflexarc.definitions import load_catalog
    from reflexarc_server.still import still_sync_files
    from reflexarc_server.sync_files import SyncFiles

    class Still:
        def __init__(self, sync_files: SyncFiles) -> None:
            self._sync_files = sync_files

        def upload(self, sha256: str, byte_count: int, offset: int, chunk: bytes) -> int:
            return self._sync_files.receive(sha256, byte_count, offset, chunk)

        def apply(self, digests: Sequence[str], *, allow_unsigned: bool) -> bytes:
            return b"".join(self._sync_files.apply(digests, allow_unsigned=allow_unsigned))

        def enrol(self, installation: str, file_key: bytes, secret_digest: bytes, *, replace: bool) -> bool:
            return self._sync_files.keys.enrol(installation, file_key, secret_digest, replace=replace)

    if not (data / "server.db").is_file():
        raise Misused(f"{data} is no server's folder", hint="it holds no server.db; --server ADDRESS reaches one that runs")
    with still_sync_files(data, load_catalog(None)) as sync_files:
        yield Still(sync_files)


@dataclass(frozen=True, slots=True)
class Delivered:
    """files: of one installation. answers: where they were written. streams: what became of each numbering."""

    installation: str
    files: list[Path]
    answers: Path
    streams: list[sync_file_pb2.StreamAnswer]


def deliver(
    paths: Sequence[Path], receiver: Receiver, answers: Path | None, *, allow_unsigned: bool, told: Callable[[int], None]
) -> list[Delivered]:
    """Bring files to a server and write its answers beside them, or to `answers`: one file for each installation.

    told: how many bytes more are there. Raises SyncFileError, StorageError, TransportError, Misused.
    """
    together: dict[str, list[Path]] = {}
    for path in dict.fromkeys(paths):
        # What can be told without the key is told here, by the name that the person knows the file by.
        header = checked(path, sync_file_pb2.SYNC_FILE_KIND_BATCHES)
        together.setdefault(header.installation, []).append(path)
    if answers is not None and len(together) > 1:
        raise Misused(f"files of {len(together)} devices have {len(together)} answers", hint="leave --answers out")
    found = []
    for installation, files in together.items():
        digests = [_upload(path, receiver, told) for path in files]
        content = receiver.apply(digests, allow_unsigned=allow_unsigned)
        target = answers or _answers_beside(files[0])
        _write(target, content)
        found.append(Delivered(installation, files, target, _streams(target)))
    return found


def _upload(path: Path, receiver: Receiver, told: Callable[[int], None]) -> str:
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
            size = file.tell()
            held = receiver.upload(digest.hexdigest(), size, 0, b"")
            told(held)
            while held < size:
                file.seek(held)
                now = receiver.upload(digest.hexdigest(), size, held, file.read(PIECE_BYTES))
                if now <= held:
                    raise SyncFileError(f"{path.name} does not get across", hint="somebody else brings it as well? Try again")
                told(now - held)
                held = now
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", hint="is the stick still plugged in?") from None
    return digest.hexdigest()


def _answers_beside(path: Path) -> Path:
    return path.with_name(f"{_PART.sub('', path.name)}.answers")


def _write(path: Path, content: bytes) -> None:
    """In place of earlier answers at once: whole or not at all. Raises StorageError."""
    try:
        with whole_file(path) as file:
            file.write(content)
        with contextlib.suppress(OSError):  # the file systems of some sticks sync no folders
            sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"the answers cannot be written to {path}: {error.strerror}",
            hint="all was taken in: import again, with --answers FILE",
        ) from None


def _streams(path: Path) -> list[sync_file_pb2.StreamAnswer]:
    """What a server has just answered, to be told to a person: nobody's key is asked for."""
    from reflexarc_proto.sync_file import peek

    return [frame.stream for frame in peek(path) if frame.WhichOneof("body") == "stream"]
