"""A journal as it lies on the disk, read by a tool while its owner may be writing it.

Owns the copy that is read, and what is told from a moment's half-written state. Must never open a journal for writing: that
would enlarge one that is too short.
"""

from __future__ import annotations

import mmap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reflexarc_core.errors import StorageError
from reflexarc_edge.journal import HEADER_BYTES, OWN_BYTES, Frame, Journal
from reflexarc_edge.repair import Identity

_BYTES_MAX: Final = 1024 * 1024 * 1024
_LOOKS_MORE: Final = 2
_WAIT_S: Final = 0.1


class JournalImage(Journal):
    """A journal's bytes of one moment: everything that reads works, nothing may write. Raises StorageError."""

    def __init__(self, path: Path) -> None:
        # Not the journal's own constructor: it opens for writing. What reads needs the bytes and the size of a segment.
        try:
            with path.open("rb") as file:
                held = file.read(_BYTES_MAX)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from None
        self.file_bytes: Final = len(held)
        self._segment_bytes = max(HEADER_BYTES, (len(held) - OWN_BYTES) // 2)
        self._map = mmap.mmap(-1, max(len(held), OWN_BYTES + 2 * HEADER_BYTES))
        self._map[: len(held)] = held

    @property
    def is_whole(self) -> bool:
        """Whether the file has the size of a journal: one that has not was cut off."""
        return self.file_bytes == self.byte_count

    def close(self) -> None:
        self._map.close()


@dataclass(slots=True)
class Written:
    """What a journal holds.

    frames: whole ones that nobody has taken yet. damage: the bytes of each place that is neither frame nor zero. is_whole:
    the file has a journal's size. writer: whose numbers it holds, None when it does not say.
    """

    frames: list[Frame]
    damage: set[bytes]
    is_whole: bool
    writer: Identity | None


def read_journal(path: Path, *, is_live: bool) -> Written:
    """Read a journal. is_live: somebody may be writing it; then only what is damaged every time is damaged.

    Raises StorageError when it cannot be read.
    """
    found = _read_once(path)
    for _ in range(_LOOKS_MORE if is_live else 0):
        if not found.damage:
            break
        time.sleep(_WAIT_S)
        found.damage &= _read_once(path).damage
    return found


def _read_once(path: Path) -> Written:
    image = JournalImage(path)
    try:
        scanned = image.scan(image.taken_seq)
        owner = image.owner
        return Written(scanned.frames, set(scanned.damage), image.is_whole, None if owner is None else Identity(*owner))
    finally:
        image.close()
