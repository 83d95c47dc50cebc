"""The layout of a sync file, byte by byte: magic, frames, mark.

Owns the limits. Everything read here may be hostile: a length is judged before anything of that length is read.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from reflexarc_core.errors import StorageError, SyncFileError

VERSION: Final = 1
MAGIC: Final = b"RXSYNC" + bytes([VERSION]) + b"\n"
HEAD: Final = struct.Struct(">II")
MARK_BYTES: Final = 32
KEY_BYTES: Final = 32
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024 + 4_096
"""A message of the wire, and what is around it."""
FILE_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024 - 1
"""What a FAT32 stick can hold as one file."""
FRAMES_MAX: Final = 65_536
PARTS_MAX: Final = 20_000
"""Records, losses, values and the like in one frame: a few bytes each could claim as many as fill the memory."""
COPY_AGAIN: Final = "copy it again from where it came from, or have it written again"


def new_mark(key: bytes | None) -> Any:
    """What makes the mark of everything it is fed with: with a key its HMAC, without one the plain digest."""
    return hashlib.sha256() if key is None else hmac.new(key, digestmod=hashlib.sha256)


def frame_bytes(payload: bytes) -> bytes:
    """A frame, whole."""
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def frames_in(stream: BinaryIO, name: str, byte_count: int) -> Iterator[tuple[bytes, bytes]]:
    """(head, payload) of each frame behind the magic, up to the mark, which is left to be read.

    byte_count: of the whole file. Raises SyncFileError.
    """
    at, count = len(MAGIC), 0
    while at < byte_count - MARK_BYTES:
        head = read_some(stream, HEAD.size, name)
        if len(head) < HEAD.size:
            raise torn(name)
        length, check = HEAD.unpack(head)
        count += 1
        if not 0 < length <= FRAME_BYTES_MAX or count > FRAMES_MAX:
            raise SyncFileError(f"{name} is damaged at byte {at}", hint=COPY_AGAIN)
        if at + HEAD.size + length > byte_count - MARK_BYTES:
            raise torn(name)
        payload = read_some(stream, length, name)
        if len(payload) < length:
            raise torn(name)
        if zlib.crc32(payload) != check:
            raise SyncFileError(f"{name} is damaged at byte {at}", hint=COPY_AGAIN)
        yield head, payload
        at += HEAD.size + length


def read_magic(stream: BinaryIO, name: str) -> bytes:
    """The first bytes. Raises SyncFileError when they are not those of a sync file of this version."""
    magic = read_some(stream, len(MAGIC), name)
    if not magic:
        raise SyncFileError(f"{name} is empty", hint=COPY_AGAIN)
    if magic[:6] == MAGIC[:6] and len(magic) == len(MAGIC) and magic != MAGIC:
        raise SyncFileError(
            f"{name} was written by another version (sync file {magic[6]}, this reads {VERSION})", hint="update reflexarc"
        )
    if magic != MAGIC:
        raise SyncFileError(
            f"{name} is no sync file", hint="reflexarc sync export writes them; a table of events is for reflexarc import"
        )
    return magic


def read_some(stream: BinaryIO, count: int, name: str) -> bytes:
    """The next bytes, fewer at the end. Raises StorageError when the disk or the stick does not give them."""
    try:
        return stream.read(count)
    except OSError as error:
        raise StorageError(f"{name} cannot be read: {error.strerror}", hint="is the stick still plugged in?") from None


def torn(name: str) -> SyncFileError:
    """A file that ends too early."""
    return SyncFileError(f"{name} ends in the middle", hint=COPY_AGAIN)


def part_count(payload: bytes) -> int:
    """How many fields the message within a frame has at its top, without making any of them. Raises SyncFileError when it
    is no message.
    """
    try:
        _, body = _next_field(payload, 0)
        start, end = body
        if end != len(payload):
            raise ValueError("more than one message in a frame")
        count = 0
        while start < end:
            start, _ = _next_field(payload, start)
            count += 1
    except (IndexError, ValueError):
        raise SyncFileError("a frame of the file is no message of this version", hint="update reflexarc") from None
    return count


def _next_field(payload: bytes, at: int) -> tuple[int, tuple[int, int]]:
    """(where the next field begins, where this one's content lies). Protocol buffers' encoding: tag, then content by type."""
    tag, at = _varint(payload, at)
    wire_type = tag & 7
    if wire_type == 2:
        length, at = _varint(payload, at)
        end = at + length
    elif wire_type == 0:
        _, end = _varint(payload, at)
    elif wire_type in (1, 5):
        end = at + (8 if wire_type == 1 else 4)
    else:
        raise ValueError("a field of no known type")
    if end > len(payload):
        raise ValueError("a field beyond the end")
    return end, (at, end)


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = payload[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number that does not end")
