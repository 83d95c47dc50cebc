"""Records as the bytes the store keeps (MessagePack of the core's dataclasses) and the checksum beside them."""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec

from reflexarc_core.errors import StorageError
from reflexarc_core.record import KIND_OF, KINDS, Record

_encoder: Final = msgspec.msgpack.Encoder()
_decoders: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {kind: msgspec.msgpack.Decoder(cls) for kind, cls in KINDS.items()}
_any: Final = msgspec.msgpack.Decoder()


def encode(record: Record) -> tuple[int, bytes]:
    """(kind, body) of one record."""
    return KIND_OF[type(record)], _encoder.encode(record)


def decode(kind: int, body: bytes) -> Record:
    """The record back. Raises StorageError when the bytes are none of that kind."""
    decoder = _decoders.get(kind)
    if decoder is None:
        raise StorageError(f"the log holds a record of kind {kind}, which this version does not know")
    try:
        record: Record = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"a record of kind {kind} cannot be read: {error}") from None
    return record


pack: Final = _encoder.encode
"""Values of ours and plain ones as bytes."""


def unpack(packed: bytes) -> Any:
    """Plain values back."""
    return _any.decode(packed)


def pack_state(subject: str, state: Any) -> bytes:
    """A subject's state as bytes: mostly buckets in which nothing happened, so it is worth the squeeze."""
    return zlib.compress(_encoder.encode([subject, state]), 1)


def unpack_state(packed: bytes) -> tuple[str, Any]:
    """(subject, state) back. Raises ValueError when the bytes are none."""
    try:
        subject, state = _any.decode(zlib.decompress(packed))
    except (zlib.error, msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise ValueError(f"no state of a subject: {type(error).__name__}") from None
    return subject, state


def checksum(seq: int, kind: int, body: bytes) -> int:
    """CRC-32 over number, kind and body: what SQLite itself does not notice when a disk rots."""
    return zlib.crc32(body, zlib.crc32(b"%d %d" % (seq, kind)))
