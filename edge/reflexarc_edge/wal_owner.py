"""Whose write-ahead log lies beside a database: SQLite never asks, and would take another store's pages for its own.

Owns the one comparison that tells, before SQLite opens anything: every store has a random application id on its first page,
and a write-ahead log that a store grew in has that page too ("Database File Format", the header and the WAL frames).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from reflexarc_edge.schema import PAGE_BYTES

_MAGIC: Final = b"SQLite format 3\0"
_ID_AT: Final = 68
_ID: Final = struct.Struct(">I")
_WAL_HEADER_BYTES: Final = 32
_FRAME: Final = struct.Struct(">I20x")  # page number; the rest is not ours to judge


def wal_is_anothers(database: Path) -> bool:
    """Whether the log beside a database says that it belongs to another one. A file that cannot be read says nothing."""
    try:
        with database.open("rb") as file:
            header = file.read(_ID_AT + _ID.size)
        own = _id(header[_ID_AT:])
        if not own or not header.startswith(_MAGIC):  # a first page that has rotted says nothing
            return False
        wal = database.with_name(f"{database.name}-wal")
        with wal.open("rb") as file:
            at = _WAL_HEADER_BYTES
            while True:
                file.seek(at)
                frame = file.read(_FRAME.size + _ID_AT + _ID.size)
                if len(frame) < _FRAME.size + _ID_AT + _ID.size:
                    return False
                if _FRAME.unpack_from(frame)[0] == 1:
                    return _id(frame[_FRAME.size + _ID_AT :]) not in (0, own)
                at += _FRAME.size + PAGE_BYTES
    except OSError:
        return False


def _id(four: bytes) -> int:
    return int(_ID.unpack(four)[0]) if len(four) == _ID.size else 0
