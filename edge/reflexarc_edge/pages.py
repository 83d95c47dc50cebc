"""Raw pages: rows out of a SQLite file and its write-ahead log without SQLite, whatever has become of the trees in it.

Owns the public file format as far as it leads to a row: page images, cells, records, overflow chains. Names and numbers are
those of "SQLite file format" (sqlite.org), sections "B-tree Pages", "Cell Payload Overflow Pages", "Record Format" and "The
Write-Ahead Log". Must never raise for what is in a file, trust a number it read (each is bounded by what is there), write,
or say whether a row is true: nothing here is verified, the caller's checksum decides.
"""

from __future__ import annotations

import bisect
import itertools
import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

Value = int | float | str | bytes | None

PAGE_SIZES: Final = (4096, 1024, 2048, 8192, 16384, 32768, 65536, 512)
"""Every page size there is, the likely ones first; bytes."""

_HEADER_BYTES: Final = 100

MAIN: Final = -1
"""The moment of a page as the file itself has it; a frame's moment is its place in the write-ahead log."""

_OVERFLOW, _INDEX_INTERIOR, _TABLE_INTERIOR, _INDEX_LEAF, _TABLE_LEAF = 0x00, 0x02, 0x05, 0x0A, 0x0D
_MAGIC: Final = b"SQLite format 3\0"
_FRACTIONS: Final = b"\x40\x20\x20"
"""Of a page that a payload may take; the format allows no others."""
_WAL_MAGICS: Final = (0x377F0682, 0x377F0683)
_WAL_HEADER_BYTES: Final = 32
_FRAME_HEADER: Final = struct.Struct(">II8sII")  # page number, pages after a commit or 0, salts, checksums
_U32: Final = struct.Struct(">I")
_PAGE_HEADER: Final = struct.Struct(">BHHH")  # kind, first free block, cells, start of their content
_DOUBLE: Final = struct.Struct(">d")
_INT_BYTES: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_RECORD_HEADER_BYTES_MAX: Final = 64
"""No table of ours comes near: a longer one is no record of ours."""
_TRIES_MAX: Final = 8

# The head of a record of `log`: its length, the NULL that stands for the row's number, an integer (the kind).
_LOG_HEAD: Final = re.compile(rb"(?=[\x06-\x20]\x00[\x01-\x06\x08\x09])")


class Source:
    """A file that is read at places. What is missing, no plain file or on a bad block reads as nothing."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        try:
            self._file = path.open("rb", buffering=0) if path.is_file() else None
            if self._file is not None:
                self.size = path.stat().st_size
        except OSError:
            self._file = None

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        if self._file is None or offset >= self.size:
            return b""
        try:
            self._file.seek(offset)
            return self._file.read(length)
        except OSError:
            return b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()


class Layout(NamedTuple):
    """page_bytes: size of a page. reserved_bytes: at the end of each, not SQLite's."""

    page_bytes: int
    reserved_bytes: int = 0


def declared_layout(file: Source, wal: Source) -> Layout | None:
    """What the file's header says, or the write-ahead log's; None when neither can be believed."""
    header = file.read(0, _HEADER_BYTES)
    if len(header) == _HEADER_BYTES and header[:16] == _MAGIC and header[21:24] == _FRACTIONS:
        size = int.from_bytes(header[16:18], "big")
        size = 65536 if size == 1 else size
        if size in PAGE_SIZES and size - header[20] >= 480:
            return Layout(size, header[20])
    header = wal.read(0, _WAL_HEADER_BYTES)
    if len(header) == _WAL_HEADER_BYTES and _U32.unpack_from(header)[0] in _WAL_MAGICS:
        size = _U32.unpack_from(header, 8)[0]
        if size in PAGE_SIZES:
            return Layout(size)
    return None


class Frame(NamedTuple):
    """One page image in a write-ahead log. offset: of the image. commit_pages: size of the database after the commit this
    frame ends, 0 within one. salt: of the log's generation; what a reset left behind the newest frame has another.
    sums: checksum of the log up to and with this frame."""

    page_number: int
    commit_pages: int
    salt: bytes
    sums: tuple[int, int]
    offset: int


class Image(NamedTuple):
    """A page as it was at one moment."""

    moment: int
    page: bytes


class Cell(NamedTuple):
    """A row's place in a page. rowid: 0 in a tree that has none. types: serial types of its columns.
    length: of the payload, bytes; start: where it begins; inline: how much of it stands in this page."""

    rowid: int
    types: tuple[int, ...]
    header_bytes: int
    length: int
    start: int
    inline: int


class Images:
    """Every page image of a database file and its write-ahead log."""

    def __init__(self, file: Source, wal: Source | None, layout: Layout) -> None:
        self.layout: Final = layout
        self.usable_bytes: Final = layout.page_bytes - layout.reserved_bytes
        self.page_count: Final = -(-file.size // layout.page_bytes)
        self.frames: Final = [] if wal is None else list(_frames(wal, layout.page_bytes))
        self.live_count: Final = _live_count(self.frames, wal)
        """Frames of the log's present generation: they come first, and hide the file's pages."""
        self._file = file
        self._wal = wal
        self._moments: dict[int, list[int]] = {}
        for moment, frame in enumerate(self.frames):
            self._moments.setdefault(frame.page_number, []).append(moment)
        self._commits = [moment for moment, frame in enumerate(self.frames) if frame.commit_pages]
        # A sound file needs each overflow page a few times; a file that leads round in circles must come to an end.
        self._chain_pages_left = 2 * _TRIES_MAX * (self.page_count + len(self.frames)) + 64
        self._tries: Counter[tuple[int, int]] = Counter()

    def numbers(self) -> Iterator[int]:
        """Numbers of the pages there is an image of."""
        return itertools.chain(range(1, self.page_count + 1), (n for n in self._moments if not 0 < n <= self.page_count))

    def of(self, number: int) -> Iterator[Image]:
        """A page's images, newest first."""
        moments = self._moments.get(number, [])
        newest = bisect.bisect_left(moments, self.live_count)
        for moment in reversed(moments[:newest]):
            yield self.frame(moment)
        if 0 < number <= self.page_count:
            yield self.main(number)
        for moment in reversed(moments[newest:]):
            yield self.frame(moment)

    def main(self, number: int) -> Image:
        """A page as the file itself has it."""
        size = self.layout.page_bytes
        return Image(MAIN, self._file.read((number - 1) * size, size).ljust(size, b"\0"))

    def frame(self, moment: int) -> Image:
        """A page as one frame has it."""
        size = self.layout.page_bytes
        found = b"" if self._wal is None else self._wal.read(self.frames[moment].offset, size)
        return Image(moment, found.ljust(size, b"\0"))

    def is_log_intact(self) -> bool:
        """Whether every frame of the present generation is as SQLite wrote it: section "Checksum Algorithm"."""
        header = b"" if self._wal is None else self._wal.read(0, _WAL_HEADER_BYTES)
        if len(header) < _WAL_HEADER_BYTES or _U32.unpack_from(header)[0] not in _WAL_MAGICS:
            return False
        order = ">" if header[3] & 1 else "<"
        sums = _summed(order, header[:24], (0, 0))
        for moment, frame in enumerate(self.frames[: self.live_count]):
            sums = _summed(order, _U32.pack(frame.page_number) + _U32.pack(frame.commit_pages), sums)
            sums = _summed(order, self.frame(moment).page, sums)
            if frame.sums != sums:
                return False
        return True

    def payloads(self, image: Image, cell: Cell) -> Iterator[bytes]:
        """A cell's whole payload: as the overflow pages were when the cell was written, and as they are now.

        Nothing where a chain breaks off; at most two, and often the same.
        """
        inline = image.page[cell.start : cell.start + cell.inline]
        if cell.inline == cell.length:
            yield inline
            return
        first = _U32.unpack_from(image.page, cell.start + cell.inline)[0]
        self._tries[first, cell.length] += 1
        if self._tries[first, cell.length] > _TRIES_MAX:  # broken, and a cell of each of the many images of one page
            return
        for oldest, newest in (self._transaction(image.moment), (0, self.live_count - 1)):
            rest = self._chain(first, cell.length - cell.inline, oldest, newest)
            if rest is not None:
                yield inline + rest

    def _transaction(self, moment: int) -> tuple[int, int]:
        """The frames a page of this moment may point into: from the start of its generation to its own commit."""
        if moment == MAIN:
            return 0, MAIN
        place = bisect.bisect_left(self._commits, moment)
        end = self._commits[place] if place < len(self._commits) else len(self.frames) - 1
        return (0 if moment < self.live_count else self.live_count), end

    def _chain(self, number: int, length: int, oldest: int, newest: int) -> bytes | None:
        """`length` bytes from a chain of overflow pages. None when it leads nowhere or in a circle."""
        parts: list[bytes] = []
        seen: set[int] = set()
        while length > 0:
            if number in seen or self._chain_pages_left <= 0:
                return None
            seen.add(number)
            self._chain_pages_left -= 1
            page = self._page_at(number, oldest, newest)
            if page is None:
                return None
            part = page[4 : 4 + min(length, self.usable_bytes - 4)]
            parts.append(part)
            length -= len(part)
            number = _U32.unpack_from(page)[0]
        return b"".join(parts)

    def _page_at(self, number: int, oldest: int, newest: int) -> bytes | None:
        moments = self._moments.get(number, [])
        place = bisect.bisect_right(moments, newest)
        if place and moments[place - 1] >= oldest:
            return self.frame(moments[place - 1]).page
        return self.main(number).page if 0 < number <= self.page_count else None


def _frames(wal: Source, page_bytes: int) -> Iterator[Frame]:
    """The frames by their places: their checksums chain, so that one flipped bit would hide all behind it."""
    step = _FRAME_HEADER.size + page_bytes
    for start in range(_WAL_HEADER_BYTES, wal.size, step):
        header = wal.read(start, _FRAME_HEADER.size)
        if len(header) == _FRAME_HEADER.size:
            number, commit_pages, salt, *sums = _FRAME_HEADER.unpack(header)
            yield Frame(number, commit_pages, salt, (sums[0], sums[1]), start + _FRAME_HEADER.size)


def _summed(order: str, content: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _live_count(frames: list[Frame], wal: Source | None) -> int:
    salts = [frame.salt for frame in frames]
    named = b"" if wal is None else wal.read(16, 8)
    salt = named if named in salts else salts[0] if salts else b""
    return max((moment + 1 for moment, found in enumerate(salts) if found == salt), default=0)


# -- cells ------------------------------------------------------------------------------------------------------------


def table_cells(page: bytes, usable_bytes: int) -> tuple[list[Cell], bool]:
    """(rows of a table's leaf, whether the page is one of a sound tree). Other pages of a tree have no rows."""
    if page[0] == _TABLE_LEAF:
        return _cells(page, usable_bytes)
    return [], page[0] in (_OVERFLOW, _INDEX_INTERIOR, _TABLE_INTERIOR, _INDEX_LEAF)


def index_cells(page: bytes, usable_bytes: int) -> tuple[list[Cell], bool]:
    """(rows of a WITHOUT ROWID table's page, whether the page is sound). Its interior pages have rows too."""
    if page[0] in (_INDEX_LEAF, _INDEX_INTERIOR):
        return _cells(page, usable_bytes)
    return [], page[0] in (_OVERFLOW, _TABLE_INTERIOR, _TABLE_LEAF)


def carved_cells(page: bytes, usable_bytes: int) -> Iterator[Cell]:
    """What looks like a row of `log` in a page whose header or pointers are not to be trusted.

    Not in overflow pages, which hold what users wrote and nothing else, nor in an index.
    """
    if page[0] in (_OVERFLOW, _INDEX_INTERIOR, _INDEX_LEAF):
        return
    for match in itertools.islice(_LOG_HEAD.finditer(page, 10), usable_bytes // 12):
        start = match.start()
        try:
            cell = _cell(page, start, None, _rowid_before(page, start), usable_bytes)
        except IndexError:
            continue
        if cell is not None:
            yield cell


def _cells(page: bytes, usable_bytes: int) -> tuple[list[Cell], bool]:
    kind, free, count, content = _PAGE_HEADER.unpack_from(page)
    pointers_at = 12 if kind == _INDEX_INTERIOR else 8
    count_max = (usable_bytes - pointers_at) // 6  # a pointer, and the least a cell may take
    places = struct.unpack_from(f">{min(count, count_max)}H", page, pointers_at)
    found = [cell for cell in (_cell_at(page, place, kind, usable_bytes) for place in places) if cell is not None]
    lowest = min(places, default=usable_bytes & 0xFFFF)
    # Cells are laid downwards: with none at the lower end of their content, the page once had more than it says.
    is_sound = len(found) == count and content in (lowest, free)
    return found, is_sound


def _cell_at(page: bytes, at: int, kind: int, usable_bytes: int) -> Cell | None:
    try:
        if kind == _INDEX_INTERIOR:
            at += 4  # the child to the left
        length, at = _varint(page, at)
        rowid = 0
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
        return _cell(page, at, length, rowid, usable_bytes, is_table=kind == _TABLE_LEAF)
    except IndexError:
        return None


def _cell(page: bytes, start: int, length: int | None, rowid: int, usable_bytes: int, is_table: bool = True) -> Cell | None:
    """The cell whose payload begins at `start`. None when its record does not add up to its length, where one is given."""
    header_bytes, at = _varint(page, start)
    if header_bytes > _RECORD_HEADER_BYTES_MAX:
        return None
    end = start + header_bytes
    types: list[int] = []
    total = header_bytes
    while at < end:
        serial, at = _varint(page, at)
        size = _size(serial)
        if size < 0:
            return None
        types.append(serial)
        total += size
    if at != end or total != (total if length is None else length):
        return None
    inline = _inline_bytes(total, usable_bytes, is_table)
    if start + inline + (0 if inline == total else 4) > usable_bytes or header_bytes > inline:
        return None
    return Cell(rowid, tuple(types), header_bytes, total, start, inline)


def _inline_bytes(length: int, usable_bytes: int, is_table: bool) -> int:
    """How much of a payload stands in its page: section "Cell Payload Overflow Pages", X, M and K."""
    most = usable_bytes - 35 if is_table else (usable_bytes - 12) * 64 // 255 - 23
    if length <= most:
        return length
    least = (usable_bytes - 12) * 32 // 255 - 23
    fitting = least + (length - least) % (usable_bytes - 4)
    return fitting if fitting <= most else least


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends). Raises IndexError behind the end of the page."""
    byte = page[at]
    value = byte & 0x7F
    for place in range(at + 1, at + 8):
        if byte < 0x80:
            return value, place
        byte = page[place]
        value = value << 7 | byte & 0x7F
    return (value, at + 8) if byte < 0x80 else (value << 8 | page[at + 8], at + 9)


def _rowid_before(page: bytes, end: int) -> int:
    """The number that ends before `end`: the payload's length before it ends in a byte below 0x80, as every varint does."""
    start = end - 1
    while start > 0 and end - start < 8 and page[start - 1] >= 0x80:
        start -= 1
    value, after = _varint(page, start)
    return value if after == end else -1


# -- records ----------------------------------------------------------------------------------------------------------


def _size(serial: int) -> int:
    """Bytes of a column by its serial type, -1 for the two that no file may have."""
    if serial >= 12:
        return (serial - 12) // 2
    return 8 if serial == 7 else _INT_BYTES.get(serial, -1)


def is_log(cell: Cell) -> bool:
    """Whether a record has the columns of `log`, or more behind them: the number stands outside, a NULL for it inside."""
    if len(cell.types) < 5:
        return False
    seq, kind, decision_id, body, crc = cell.types[:5]
    return (
        seq == 0
        and _is_integer(kind)
        and (decision_id == 0 or is_text(decision_id))
        and (body >= 12 and body % 2 == 0)
        and _is_integer(crc)
    )


def is_text(serial: int) -> bool:
    """Whether a column of this serial type is a text."""
    return serial >= 13 and serial % 2 == 1


def _is_integer(serial: int) -> bool:
    return 1 <= serial <= 6 or serial in (8, 9)


def values(cell: Cell, payload: bytes) -> tuple[Value, ...]:
    """The columns of a record; a text that is none is None."""
    found: list[Value] = []
    at = cell.header_bytes
    for serial in cell.types:
        size = _size(serial)
        found.append(_value(serial, payload[at : at + size]))
        at += size
    return tuple(found)


def _value(serial: int, content: bytes) -> Value:
    if serial >= 12:
        return text(content) if is_text(serial) else content
    if serial == 0:
        return None
    if serial == 7:
        return float(_DOUBLE.unpack(content)[0])
    return serial - 8 if serial >= 8 else int.from_bytes(content, "big", signed=True)


def text(stored: bytes) -> str | None:
    """A text column's text, None when it is none: a key that was guessed at would be another key."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return None
