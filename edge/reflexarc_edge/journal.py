"""The journal: a memory-mapped file in front of the store, so that a record is safe before SQLite has seen it.

A frame is written payload first and header last into pages the kernel already holds, so `kill -9` leaves either a whole
frame or none. Owns framing, the two segments and finding whole frames again in whatever a crash or a bad disk left. Must
never interpret a payload.

Layout: one page of its own (the number up to which another process has taken what is here, and whose journal it is), then
two segments of equal size. A frame is `mark, record count, length, crc, first number, payload`. Behind the last frame of a
segment everything is zero: a segment is wiped before it is used again, so what is neither frame nor zero was torn or has
rotted.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from reflexarc_core.errors import StorageError

SEGMENT_BYTES: Final = 4 * 1024 * 1024
SEGMENT_BYTES_MIN: Final = 64 * 1024
OWN_BYTES: Final = 4096
WIPE_BYTES: Final = 64 * 1024
_MARK: Final = 0xA7D1
_MARK_BYTES: Final = _MARK.to_bytes(2, "little")
_HEADER: Final = struct.Struct("<HIIIQ")  # mark, record count, payload length, crc, first seq
HEADER_BYTES: Final = _HEADER.size
pack_header: Final = _HEADER.pack_into
_PRIME: Final = 4_294_967_291  # below 2**32: no flip of bits in a number leaves its remainder as it was
_TAKEN: Final = struct.Struct("<Q")
_OWNER: Final = struct.Struct("<I32s32s")  # crc, installation, incarnation
_OWNER_AT: Final = 64
_WRITTEN: Final = re.compile(rb"[^\0]")


class Frame(NamedTuple):
    """The records of one input: their numbers are first_seq to last_seq."""

    first_seq: int
    record_count: int
    payload: bytes

    @property
    def last_seq(self) -> int:
        """Number of the last of them."""
        return self.first_seq + self.record_count - 1


@dataclass(slots=True)
class Found:
    """What a scan of a journal met. damage: the bytes of each place that is neither frame nor zero."""

    frames: list[Frame] = field(default_factory=list)
    damage: list[bytes] = field(default_factory=list)


class Journal:
    """Two segments used in turn. A full segment is used again once everything in it is safe elsewhere (`release`)."""

    def __init__(self, path: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open or make the file; one that is there keeps its size. Raises StorageError when it cannot be made."""
        self.path: Final = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held = os.fstat(self._descriptor).st_size
            self.is_new: Final = not _is_sound(held, min(segment_bytes, SEGMENT_BYTES_MIN))
            size = OWN_BYTES + 2 * segment_bytes if self.is_new else held
            if held < size:
                allocate(self._descriptor, size)
            # Every page is touched now: the first write into one would otherwise cost its caller a page fault.
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            self._map = mmap.mmap(self._descriptor, size, flags=flags)
        except OSError as error:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            raise StorageError(
                f"the journal {path} cannot be made: {error.strerror}", hint="free some space on the disk"
            ) from None
        self._segment_bytes = (size - OWN_BYTES) // 2
        self._position = OWN_BYTES
        self._limit = OWN_BYTES + self._segment_bytes
        self._segment = 0
        self._newest = [0, 0]  # newest seq in each segment, 0 when it is wiped and free

    @property
    def byte_count(self) -> int:
        """Size of the file."""
        return OWN_BYTES + 2 * self._segment_bytes

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, first_seq: int, count: int, payload: bytes) -> bool:
        """Write one frame of `count` records numbered from `first_seq`. False when there is no room: release, then again.

        A frame larger than a segment never has room.
        """
        length = len(payload)
        start = self._position
        end = start + HEADER_BYTES + length
        if end > self._limit:
            if not self._turn(length):
                return False
            start = self._position
            end = start + HEADER_BYTES + length
        self._map[start + HEADER_BYTES : end] = payload
        pack_header(self._map, start, _MARK, count, length, crc32(payload, (first_seq * 31 + count) % _PRIME), first_seq)
        self._position = end
        self._newest[self._segment] = first_seq + count - 1
        return True

    def release(self, upto_seq: int, *, also_current: bool = False) -> None:
        """Everything up to this number is safe elsewhere: wipe segments that hold nothing newer, so they are free again.

        The segment being written is left alone unless `also_current`; then nobody may append meanwhile.
        """
        for segment in (0, 1):
            if self.waits(segment, upto_seq, also_current=also_current):
                self._wipe(segment)

    def waits(self, segment: int, upto_seq: int, *, also_current: bool = False) -> bool:
        """Whether a segment holds frames, and none newer than this number."""
        is_idle = also_current or segment != self._segment
        return is_idle and 0 < self._newest[segment] <= upto_seq

    def newest(self, segment: int) -> int:
        """Number of the newest record in a segment, 0 when it is free."""
        return self._newest[segment]

    @property
    def position(self) -> int:
        """Where the next frame goes, unless it turns to the other segment."""
        return self._position

    @property
    def idle_segment(self) -> int:
        """The segment that is not being written."""
        return 1 - self._segment

    def clear(self) -> None:
        """Empty both segments, when nobody appends."""
        self._newest = [1, 1]
        self.release(1, also_current=True)

    def blank(self, upto_seq: int) -> None:
        """Wipe the payloads of frames up to this number and keep their frames, whoever may be appending behind them."""
        for position, frame in self._walk():
            if frame.last_seq <= upto_seq:
                nothing = bytes(len(frame.payload))
                body = position + HEADER_BYTES
                self._map[body : body + len(nothing)] = nothing
                check = _check(frame.first_seq, frame.record_count, nothing)
                pack_header(self._map, position, _MARK, frame.record_count, len(nothing), check, frame.first_seq)

    def sync(self) -> None:
        """Returns when the disk holds everything appended before the call. Raises StorageError."""
        try:
            sync_file(self._descriptor)
        except OSError as error:
            raise StorageError(f"the journal {self.path} cannot be synced: {error.strerror}") from None

    # -- reading --------------------------------------------------------------------------------------------------

    def scan(self, after_seq: int) -> Found:
        """Whole frames with a number behind `after_seq`, in order of their numbers, and what is neither frame nor zero."""
        found = Found()
        end = OWN_BYTES
        for position, frame in self._walk():
            self._note_damage(found, end, position)
            end = position + HEADER_BYTES + len(frame.payload)
            if frame.first_seq > after_seq:
                found.frames.append(frame)
        self._note_damage(found, end, len(self._map))
        found.frames.sort(key=lambda frame: frame.first_seq)
        return found

    def reader(self, after_seq: int) -> Reader:
        """Reads on as frames are appended, here or in another process."""
        return Reader(self, after_seq)

    @property
    def taken_seq(self) -> int:
        """Number up to which another process has taken what is here."""
        return int(_TAKEN.unpack_from(self._map, 0)[0])

    @taken_seq.setter
    def taken_seq(self, seq: int) -> None:
        _TAKEN.pack_into(self._map, 0, seq)

    @property
    def owner(self) -> tuple[str, str] | None:
        """Installation and incarnation of whoever wrote this journal, None when it does not say."""
        crc, installation, incarnation = _OWNER.unpack_from(self._map, _OWNER_AT)
        if not crc or crc != crc32(installation + incarnation):
            return None
        return installation.decode(), incarnation.decode()

    @owner.setter
    def owner(self, owner: tuple[str, str]) -> None:
        installation, incarnation = (text.encode() for text in owner)
        _OWNER.pack_into(self._map, _OWNER_AT, crc32(installation + incarnation), installation, incarnation)

    def frame_at(self, position: int) -> Frame | None:
        """The whole frame at this place, if there is one."""
        page = self._map
        if position + HEADER_BYTES > len(page):
            return None
        mark, count, length, crc, first_seq = _HEADER.unpack_from(page, position)
        body = position + HEADER_BYTES
        if mark != _MARK or body + length > len(page):
            return None
        payload = page[body : body + length]
        if _check(first_seq, count, payload) != crc:
            return None
        return Frame(first_seq, count, payload)

    def segment_start(self, position: int, *, other: bool) -> int:
        """Where the segment of a place begins, or the other one."""
        first = position < OWN_BYTES + self._segment_bytes
        return OWN_BYTES if first != other else OWN_BYTES + self._segment_bytes

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        os.close(self._descriptor)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _turn(self, length: int) -> bool:
        """Go on in the other segment, when it is free."""
        other = 1 - self._segment
        if self._newest[other] or HEADER_BYTES + length > self._segment_bytes:
            return False
        self._segment = other
        self._position = OWN_BYTES + other * self._segment_bytes
        self._limit = self._position + self._segment_bytes
        return True

    def _wipe(self, segment: int) -> None:
        start = OWN_BYTES + segment * self._segment_bytes
        for at in range(start, start + self._segment_bytes, WIPE_BYTES):  # in steps, so that no caller waits for all of it
            upto = min(at + WIPE_BYTES, start + self._segment_bytes)
            self._map[at:upto] = bytes(upto - at)
        if segment == self._segment:
            self._position = start
        self._newest[segment] = 0

    def _walk(self) -> Iterator[tuple[int, Frame]]:
        """(place, frame) of every whole frame in the file, also behind damage."""
        position = OWN_BYTES
        while True:
            frame = self.frame_at(position)
            if frame is None:
                position = self._map.find(_MARK_BYTES, position + 1)
                if position < 0:
                    return
                continue
            yield position, frame
            position += HEADER_BYTES + len(frame.payload)

    def _note_damage(self, found: Found, start: int, end: int) -> None:
        """What lies between two whole frames, segment by segment."""
        boundary = OWN_BYTES + self._segment_bytes
        for first, last in ((start, min(end, boundary)), (max(start, boundary), end)):
            written = _WRITTEN.search(self._map, first, last) if first < last else None
            if written is None:
                continue
            ends_the_segment = last in (boundary, len(self._map))
            if ends_the_segment and written.start() >= first + HEADER_BYTES:
                continue  # an append that was cut short before its header: nobody was told that it was kept
            found.damage.append(self._map[written.start() : last].rstrip(b"\0"))


class Reader:
    """Frames of one journal in order, from behind a number on."""

    def __init__(self, journal: Journal, after_seq: int) -> None:
        self._journal = journal
        self._position = OWN_BYTES
        self._after = after_seq

    def next(self) -> Frame | None:
        """The next frame; None when there is none yet. A frame that can never come (it has rotted) is passed over."""
        frame = self._here()
        if frame is None or frame.first_seq > self._after + 1:
            # The end of this segment, or a writer that has been round: what comes next begins the other one.
            frame = self._in_the_other(frame)
        if frame is None:
            return None
        self._position += HEADER_BYTES + len(frame.payload)
        self._after = frame.last_seq
        return frame

    def _here(self) -> Frame | None:
        """The next frame in this segment, past those that were read before."""
        while (frame := self._journal.frame_at(self._position)) is not None:
            if frame.first_seq > self._after:
                return frame
            self._position += HEADER_BYTES + len(frame.payload)
        return None

    def _in_the_other(self, here: Frame | None) -> Frame | None:
        """The next frame where the other segment has an earlier one than this, else the one that is here."""
        before = self._position
        self._position = self._journal.segment_start(before, other=True)
        frame = self._here()
        if frame is None or (here is not None and here.first_seq <= frame.first_seq):
            self._position = before
            return here
        return frame

    def skip_to(self, position: int, seq: int) -> None:
        """Everything before this place, up to this number, need not be read."""
        self._position = position
        self._after = seq


def allocate(descriptor: int, size: int) -> None:
    """Give a file real blocks, not a hole: a full disk must be met here, never as a fault on first touch."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    for at in range(os.fstat(descriptor).st_size, size, WIPE_BYTES):
        os.pwrite(descriptor, bytes(min(WIPE_BYTES, size - at)), at)


def sync_file(descriptor: int) -> None:
    """fsync as the platform means it: macOS keeps data in the drive's cache unless asked for more. Raises OSError."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        os.fdatasync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make names durable: a file that was made, renamed or removed is so after a power cut only then. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, each durable by name before the next. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def _is_sound(size: int, segment_bytes_min: int) -> bool:
    """Whether a journal was ever made this large: one that was cut off may leave segments that no event has room in."""
    return size >= OWN_BYTES + 2 * segment_bytes_min and (size - OWN_BYTES) % 2 == 0


def _check(first_seq: int, count: int, payload: bytes) -> int:
    # The numbers are the start value: a frame whose header lost a bit fails as one whose payload did.
    return crc32(payload, (first_seq * 31 + count) % _PRIME)
