"""A sync file read: first the whole of it is checked, then its frames are given out, and only those that were checked.

Owns what makes a file one that may be believed. Keeps a digest of every frame from the first pass, so that a file that
changes between the two (a stick may be pulled, or lie) is refused where it differs. Memory: one frame and those digests.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from google.protobuf.message import DecodeError

from reflexarc_core.errors import StorageError, SyncFileError
from reflexarc_proto.sync_file.frames import (
    COPY_AGAIN,
    FILE_BYTES_MAX,
    MARK_BYTES,
    PARTS_MAX,
    frames_in,
    new_mark,
    part_count,
    read_magic,
    read_some,
    torn,
)
from reflexarc_proto.v1 import sync_file_pb2 as messages

KeyOf = Callable[[str], bytes | None]
"""An installation's file key, None when none is known."""

ID_LENGTH_MAX: Final = 64
BATCHES: Final = messages.SYNC_FILE_KIND_BATCHES
ANSWERS: Final = messages.SYNC_FILE_KIND_ANSWERS
_FILE_ID: Final = re.compile(r"[0-9a-f]{32}")
_BODIES: Final = {BATCHES: {"push", "wants"}, ANSWERS: {"stream", "down", "bundle", "piece"}}
_WRONG_WAY: Final = {
    BATCHES: (
        "holds what a device has for its server, not a server's answers",
        "take it to the server: reflexarc sync import FILE --server ADDRESS",
    ),
    ANSWERS: (
        "holds a server's answers, not what a device has for it",
        "take it to the device: reflexarc sync import FILE --store FOLDER",
    ),
}


@dataclass(frozen=True, slots=True)
class SyncFile:
    """A file that was checked. is_signed: whether its mark was made with the installation's key."""

    path: Path
    header: messages.SyncHeader
    end: messages.SyncEnd
    is_signed: bool
    byte_count: int
    _digests: tuple[bytes, ...] = field(repr=False)

    def frames(self) -> Iterator[messages.SyncFrame]:
        """Everything between header and end, in order. Raises SyncFileError when the file is not what was checked."""
        with _reading(self.path) as stream:
            read_magic(stream, self.path.name)
            found = frames_in(stream, self.path.name, self.byte_count)
            for place, (_, payload) in enumerate(found):
                if place >= len(self._digests) or _digest(payload) != self._digests[place]:
                    raise SyncFileError(f"{self.path.name} changed while it was read", hint=COPY_AGAIN)
                if 0 < place < len(self._digests) - 1:
                    frame = _parsed(payload)
                    if frame.WhichOneof("body") not in _BODIES[self.header.kind]:
                        raise SyncFileError(f"{self.path.name} holds what does not belong there", hint="update reflexarc")
                    yield frame


def header_of(path: Path) -> messages.SyncHeader:
    """What a file says it is; believe nothing of it before `verified`. Raises SyncFileError, StorageError."""
    with _reading(path) as stream:
        size = _size(stream, path.name)
        read_magic(stream, path.name)
        for _, payload in frames_in(stream, path.name, size):
            return _header(payload, path.name)
    raise torn(path.name)


def checked(path: Path, kind: messages.SyncFileKind.ValueType) -> messages.SyncHeader:
    """Its header, when a file is whole and goes this way: what can be told without the key to it, so believe nothing of it.

    Raises SyncFileError, StorageError.
    """
    name = path.name
    with _reading(path) as stream:
        size = _size(stream, name)
        read_magic(stream, name)
        header: messages.SyncHeader | None = None
        last = b""
        for _, payload in frames_in(stream, name, size):
            if header is None:
                header = _header(payload, name)
                _check_way(header, kind, name)
            last = payload
    if header is None or _parsed(last).WhichOneof("body") != "end":
        raise torn(name)
    return header


def peek(path: Path) -> Iterator[messages.SyncFrame]:
    """The frames of a file that was written here just now, to be told to a person. Raises SyncFileError, StorageError."""
    with _reading(path) as stream:
        size = _size(stream, path.name)
        read_magic(stream, path.name)
        for _, payload in frames_in(stream, path.name, size):
            yield _parsed(payload)


def verified(path: Path, kind: messages.SyncFileKind.ValueType, key_of: KeyOf, *, allow_unsigned: bool) -> SyncFile:
    """The file, when all of it is as it was written, by whom it should be, and goes this way.

    key_of: asked for the key of the installation it names. allow_unsigned: whether a file without a signature is taken, of an
    installation that has no key. Raises SyncFileError, StorageError when it cannot be read.
    """
    name = path.name
    with _reading(path) as stream:
        size = _size(stream, name)
        magic = read_magic(stream, name)
        digests: list[bytes] = []
        header: messages.SyncHeader | None = None
        last = b""
        mark: Any = None
        key = None
        for head, payload in frames_in(stream, name, size):
            if header is None:
                header = _header(payload, name)
                key = _key_for(header, kind, name, key_of, allow_unsigned)
                mark = new_mark(key)
                mark.update(magic)
            mark.update(head)
            mark.update(payload)
            digests.append(_digest(payload))
            last = payload
        written = read_some(stream, MARK_BYTES + 1, name)
    if header is None or mark is None:
        raise torn(name)
    if len(written) != MARK_BYTES:
        raise torn(name)
    if not hmac.compare_digest(mark.digest(), written):
        if key is None:
            raise SyncFileError(f"{name} is damaged", hint=COPY_AGAIN)
        raise SyncFileError(
            f"{name} was altered, or is not signed with the key of installation {header.installation}",
            hint="have it written again on the other side, with that installation's key",
        )
    end = _parsed(last)
    if end.WhichOneof("body") != "end" or end.end.frame_count != len(digests) - 1:
        raise torn(name)
    file = SyncFile(path, header, end.end, key is not None, size, tuple(digests))
    for _ in file.frames():  # only now that it is known whose they are; nothing is applied of a file with one that cannot be read
        pass
    return file


def _key_for(
    header: messages.SyncHeader, kind: messages.SyncFileKind.ValueType, name: str, key_of: KeyOf, allow_unsigned: bool
) -> bytes | None:
    """The key the mark has to be made with, None for a file nobody signed."""
    _check_way(header, kind, name)
    key = key_of(header.installation)
    if header.mark == messages.SYNC_FILE_MARK_HMAC_SHA256:
        if key is None:
            raise SyncFileError(
                f"{name} is signed, and the key of installation {header.installation} is not known here",
                hint="make it known: reflexarc sync key on the device, reflexarc sync enrol here",
            )
        return key
    if header.mark != messages.SYNC_FILE_MARK_SHA256:
        raise SyncFileError(f"{name} is marked in a way that this version does not know", hint="update reflexarc")
    if key is not None:
        raise SyncFileError(
            f"{name} is not signed, and installation {header.installation} has a key", hint="have it written again with that key"
        )
    if not allow_unsigned:
        raise SyncFileError(
            f"{name} is not signed: anybody can have written it",
            hint="--unsigned takes it all the same, if you know who carried it",
        )
    return None


def _check_way(header: messages.SyncHeader, kind: messages.SyncFileKind.ValueType, name: str) -> None:
    if header.kind != kind:
        what, hint = _WRONG_WAY.get(header.kind, ("says not which way it goes", COPY_AGAIN))
        raise SyncFileError(f"{name} {what}", hint=hint)


def _header(payload: bytes, name: str) -> messages.SyncHeader:
    frame = _parsed(payload)
    if frame.WhichOneof("body") != "header":
        raise SyncFileError(f"{name} has no header", hint=COPY_AGAIN)
    header = frame.header
    if not 0 < len(header.installation) <= ID_LENGTH_MAX or not _FILE_ID.fullmatch(header.file_id):
        raise SyncFileError(f"{name} says not whose it is", hint="have it written again")
    return header


def _parsed(payload: bytes) -> messages.SyncFrame:
    if part_count(payload) > PARTS_MAX:
        raise SyncFileError(f"a frame of the file holds more than {PARTS_MAX:,} things", hint="have it written again")
    try:
        return messages.SyncFrame.FromString(payload)
    except DecodeError:
        raise SyncFileError("a frame of the file is no message of this version", hint="update reflexarc") from None


def _reading(path: Path) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():
            raise SyncFileError(f"{path} is no file", hint="name a file that reflexarc sync export wrote")
        return io.BufferedReader(io.FileIO(path), 1 << 16)
    except FileNotFoundError:
        raise SyncFileError(f"{path} is not there", hint="is the stick plugged in, and the name right?") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None


def _size(stream: BinaryIO, name: str) -> int:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size > FILE_BYTES_MAX:
        raise SyncFileError(f"{name} is larger than a sync file can be")
    return size


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()
