"""Salvage: what is left of a store whose file is damaged.

Owns the ways to a row (SQL forwards, backwards and from places between, then the raw pages), which of them is believed, and
whether the write-ahead log that lies beside a file is that file's. A row of `log` is handed out only when its checksum fits.
Must never change the file it reads, raise for anything in it, or hand out a row of `log` that is not what was written.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import shutil
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reflexarc_core.errors import StorageError
from reflexarc_core.event import SUBJECT_KINDS
from reflexarc_core.record import KIND_OF, DecisionOutput, HandedOutput, LossOutput
from reflexarc_edge import pages
from reflexarc_edge.codec import checksum, decode, unpack, unpack_state
from reflexarc_edge.pages import Cell, Image, Images, Layout, Source
from reflexarc_edge.seal import Open, check_key
from reflexarc_edge.wal_owner import wal_is_anothers

LogRow = tuple[int, str | None, bytes, int]
"""(kind, decision_id, body, crc) as the store holds them: sealed where the store is."""

_DECISION, _HANDED, _LOSS = (KIND_OF[record] for record in (DecisionOutput, HandedOutput, LossOutput))
# What a row of each table looks like. One that looks otherwise is not handed out: a new store could not take it.
_SHAPES: Final[dict[str, tuple[type, ...]]] = {
    "pending": (str, int, bytes, int),
    "subjects": (str, bytes),
    "catalogs": (str, bytes),
    "meta": (str, bytes),
    "taken": (str, int),
    "dead": (int, int, int, bytes, str),
    "erased": (str, int),
}
_RAW_TABLES: Final = ("pending", "subjects", "catalogs", "meta")
"""Those whose rows can be told by what is in them, without the tree they hang in."""

_LOG_COLUMNS: Final = "SELECT seq, kind, decision_id, body, crc FROM log"
_UNREADABLE: Final = (sqlite3.Error, MemoryError, OverflowError, UnicodeDecodeError)  # the last: names of columns
_UNFIT: Final = (StorageError, ValueError, RecursionError)
_PROBES_MAX: Final = 2_000
_ROWS_HIDDEN_MAX: Final = 50  # by one damaged page, between the newest row of a file and the first of its log
_STRETCH_BYTES: Final = max(pages.PAGE_SIZES)
_SAMPLE_BYTES: Final = 1024 * 1024
_STEPS_AT_ONCE: Final = 10_000
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SUBJECT: Final = re.compile(rf"(?:{'|'.join(SUBJECT_KINDS)}):.+", re.DOTALL)
_OPEN_KEY: Final = check_key(Open(), None)
"""What `meta` keeps under "key" in a store that is not sealed."""

COPY_SUFFIX: Final = ".salvage"


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was left.

    log: by number, in order, every checksum verified. tables: the other tables' rows, unverified but of the right shape, each
    key once. bad_count: numbers of log rows that were met and could not be verified anywhere. methods: how many log rows
    each way found first (`forward`, `reverse`, `point`, `pages`).
    """

    log: dict[int, LogRow]
    tables: dict[str, list[tuple[Any, ...]]]
    bad_count: int
    methods: dict[str, int]


def salvage(path: Path) -> Salvaged:
    """Everything that can be read of a store's file and the write-ahead log beside it (`NAME-wal`).

    Changes neither; needs room beside them for a copy of both, `NAME.salvage`, and does without SQL where there is none. A
    missing or unreadable file is an empty one. Never raises for what is in a file.
    """
    wal_path = path.with_name(path.name + "-wal")
    found = _Found()
    with Source(path) as file, Source(wal_path) as wal:
        layout = _layout(file, wal)
        has_wal = not wal_is_anothers(path) and _is_of_one_store(Images(file, wal, layout))
        images = Images(file, wal if has_wal else None, layout)  # afresh: a comparison uses up what chains may cost
        read = _read_by_sql(path, wal_path if has_wal else None, file.size + wal.size, found)
        _read_pages(images, found)
        tables = _with_raw_rows(read, images)
    tables["pending"] = list(_still_pending(tables["pending"], found.log))
    return Salvaged(dict(sorted(found.log.items())), tables, len(found.bad - found.log.keys()), found.methods)


# -- rows of the log --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """Rows of the log so far, and the numbers of those that did not fit."""

    log: dict[int, LogRow] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)
    methods: dict[str, int] = field(default_factory=lambda: {"forward": 0, "reverse": 0, "point": 0, "pages": 0})

    def take(self, method: str, row: tuple[Any, ...]) -> None:
        """Keep a row as it was read, when it is what was written and not known yet."""
        seq = row[0]
        if seq in self.log:
            return
        verified = _verified(row)
        if verified is not None:
            self.keep(method, seq, verified)
        elif type(seq) is int:
            self.bad.add(seq)

    def keep(self, method: str, seq: int, row: LogRow) -> None:
        """Keep a verified row that is not known yet."""
        self.log[seq] = row
        self.methods[method] += 1


def _verified(row: tuple[Any, ...]) -> LogRow | None:
    seq, kind, decision_id, body, crc = row[:5]
    if type(seq) is not int or type(kind) is not int or type(body) is not bytes or crc != checksum(seq, kind, body):
        return None
    return kind, _decision_id(kind, body, decision_id), body, crc


def _decision_id(kind: int, body: bytes, read: object) -> str | None:
    """Whose record it is, by its verified body where that can be opened: the column has no checksum."""
    if kind not in (_DECISION, _HANDED):
        return None
    with contextlib.suppress(*_UNFIT):  # sealed
        record = decode(kind, body)
        if isinstance(record, DecisionOutput):
            return record.decision.decision_id
        if isinstance(record, HandedOutput):
            return record.decision_id
    return read if type(read) is str else None


# -- by SQL -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tables:
    """Rows by table and key, and which tables were read to their end as they were last."""

    rows: dict[str, dict[object, tuple[Any, ...]]] = field(default_factory=lambda: {name: {} for name in _SHAPES})
    whole: set[str] = field(default_factory=set)

    def take(self, table: str, row: tuple[Any, ...]) -> None:
        """Keep a row of the table's shape. Rows older than a column have its default."""
        shape = _SHAPES[table]
        if table == "pending" and len(row) == len(shape) - 1:
            row = (*row, 0)
        if tuple(map(type, row)) == shape and (table != "catalogs" or _is_digest(*row)):
            self.rows[table][row[0]] = row


def _read_by_sql(path: Path, wal_path: Path | None, byte_count: int, found: _Found) -> _Tables:
    """What SQLite reads of a copy; with the write-ahead log, and where it cannot be opened so, without."""
    tables = _Tables()
    for beside in (wal_path, None) if wal_path is not None else (None,):
        with (
            contextlib.suppress(OSError, *_UNREADABLE),
            _copied(path, beside) as copy,
            contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection,
        ):
            db = _Database(connection, byte_count)
            _read_log(db, found)
            for table in _SHAPES:
                is_read = db.each(functools.partial(tables.take, table), f"SELECT * FROM {table}")
                if is_read and beside == wal_path:
                    tables.whole.add(table)
            return tables
    return tables


@contextlib.contextmanager
def _copied(path: Path, wal_path: Path | None) -> Iterator[Path]:
    """A copy that SQLite may write to: it does when it opens a write-ahead log. Raises OSError where none can be made."""
    folder = path.with_name(path.name + COPY_SUFFIX)
    shutil.rmtree(folder, ignore_errors=True)  # of a salvage that was cut short
    try:
        folder.mkdir(mode=0o700)
        shutil.copyfile(path, folder / path.name)
        if wal_path is not None:
            shutil.copyfile(wal_path, folder / wal_path.name)
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Database:
    """A damaged database, read as far as it goes. Raises sqlite3.Error where not even its schema can be read."""

    def __init__(self, connection: sqlite3.Connection, byte_count: int) -> None:
        self._connection = connection
        self._steps_max = byte_count // _STEPS_AT_ONCE + 100
        self._steps_left = 0
        connection.text_factory = pages.text
        connection.set_progress_handler(self._is_over, _STEPS_AT_ONCE)
        # A length that rotted must not be allocated, and a tree that leads round in circles must come to an end.
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(byte_count, 1_000_000))
        for pragma in ("query_only=ON", "trusted_schema=OFF", "writable_schema=ON", "synchronous=OFF"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()

    def each(self, take: Callable[[tuple[Any, ...]], None], query: str, parameters: tuple[int, ...] = ()) -> bool:
        """Give every row that can be read to `take`. Whether that was all of them."""
        self._steps_left = self._steps_max
        try:
            for row in self._connection.execute(query, parameters):
                take(row)
        except _UNREADABLE:
            return False
        return True

    def _is_over(self) -> bool:
        self._steps_left -= 1
        return self._steps_left < 0


def _read_log(db: _Database, found: _Found) -> None:
    """From the front; when that meets damage, from the back, and then into what is left between."""
    if db.each(functools.partial(found.take, "forward"), f"{_LOG_COLUMNS} ORDER BY seq"):
        return
    front = max(found.log, default=0)
    db.each(functools.partial(found.take, "reverse"), f"{_LOG_COLUMNS} ORDER BY seq DESC")
    back = min((seq for seq in found.log if seq > front), default=front)
    _read_between(db, found, front + 1, back)


def _read_between(db: _Database, found: _Found, start: int, end: int) -> None:
    """Enter at numbers not met yet, and read on from each as far as it goes. What this misses, the raw pages have."""
    take = functools.partial(found.take, "point")
    for seq in range(start, end, max(0, end - start) // _PROBES_MAX + 1):
        if seq not in found.log and db.each(take, f"{_LOG_COLUMNS} WHERE seq >= ? AND seq < ? ORDER BY seq", (seq, end)):
            return


# -- by raw pages -----------------------------------------------------------------------------------------------------


def _layout(file: Source, wal: Source) -> Layout:
    """The declared size of a page where it leads to rows; else the one that leads to most."""
    declared = pages.declared_layout(file, wal)
    if declared is not None and _sampled(file, wal, declared):
        return declared
    layouts = [Layout(size) for size in pages.PAGE_SIZES]
    return max([declared or layouts[0], *layouts], key=lambda layout: _sampled(file, wal, layout))


def _sampled(file: Source, wal: Source, layout: Layout) -> int:
    """How many sound rows stand in some stretches of the file and at the front of the log, the same bytes for every layout."""
    images = Images(file, wal, layout)
    found = _Found()
    for start in range(0, file.size, _STRETCH_BYTES * (file.size // _SAMPLE_BYTES + 1)):
        for number in range(start // layout.page_bytes + 1, (start + _STRETCH_BYTES) // layout.page_bytes + 1):
            _take_cells(images, images.main(number), found)
    for moment in range(min(len(images.frames), _SAMPLE_BYTES // layout.page_bytes)):
        _take_cells(images, images.frame(moment), found)
    return len(found.log)


def _read_pages(images: Images, found: _Found) -> None:
    """Each page as it was last; where that is not sound, as it was before too.

    Not every image of every page: the older ones hold what was deleted since.
    """
    for number in images.numbers():
        for image in images.of(number):
            if _take_page(images, image, found):
                break


def _take_page(images: Images, image: Image, found: _Found) -> bool:
    """Take the rows of one page. Whether the page is sound: a row that it lacks is not missing from it."""
    cell_count, is_sound = _take_cells(images, image, found)
    if is_sound and cell_count:
        return True
    # What only looks like a row is believed when it fits, and when it does not, was none.
    for seq, row in _log_rows(images, image, pages.carved_cells(image.page, images.usable_bytes), found.log):
        if row is not None:
            is_sound = False
            found.keep("pages", seq, row)
    return is_sound


def _take_cells(images: Images, image: Image, found: _Found) -> tuple[int, bool]:
    """Take the rows that a page points to. How many cells it has, and whether they are sound."""
    cells, is_sound = pages.table_cells(image.page, images.usable_bytes)
    for seq, row in _log_rows(images, image, cells, found.log):
        if row is None:
            is_sound = False
            found.bad.add(seq)
        else:
            found.keep("pages", seq, row)
    return len(cells), is_sound


def _log_rows(images: Images, image: Image, cells: Iterable[Cell], known: Container[int]) -> Iterator[tuple[int, LogRow | None]]:
    """(number, row) of a page's cells that are not known yet; None for the row that is not what was written."""
    for cell in cells:
        if cell.rowid not in known and pages.is_log(cell):
            tried = (_verified((cell.rowid, *pages.values(cell, p)[1:5])) for p in images.payloads(image, cell))
            yield cell.rowid, next((row for row in tried if row is not None), None)


# -- the other tables -------------------------------------------------------------------------------------------------


def _with_raw_rows(read: _Tables, images: Images) -> dict[str, list[tuple[Any, ...]]]:
    """The tables, those that SQL could not read to the end filled up with what the raw pages have."""
    wanted = [table for table in _RAW_TABLES if table not in read.whole]
    if wanted:
        raw = list(_newest_index_rows(images))
        keys = {row[1] for row in (*read.rows["meta"].values(), *raw) if row[0] == "key"}
        is_sealed = bool(keys) and _OPEN_KEY not in keys
        for row in raw:
            table = _table_of(row, is_sealed)
            if table in wanted and row[0] not in read.rows[table]:
                read.take(table, row)
    return {table: list(rows.values()) for table, rows in read.rows.items()}


def _newest_index_rows(images: Images) -> Iterator[tuple[Any, ...]]:
    """Rows of tables WITHOUT ROWID: of each page as it was last, and where that is not sound, as it was before."""
    for number in images.numbers():
        for image in images.of(number):
            yield from _index_rows(images, image)
            if pages.index_cells(image.page, images.usable_bytes)[1]:
                break


def _index_rows(images: Images, image: Image) -> Iterator[tuple[Any, ...]]:
    for cell in pages.index_cells(image.page, images.usable_bytes)[0]:
        if len(cell.types) in (2, 3, 4) and pages.is_text(cell.types[0]):
            yield from (pages.values(cell, payload) for payload in images.payloads(image, cell))


def _table_of(row: tuple[Any, ...], is_sealed: bool) -> str:
    """The table a row can only be of, empty for none. What is sealed cannot be looked into; it proves itself when opened."""
    shape = tuple(map(type, row))
    if shape in (_SHAPES["pending"], _SHAPES["pending"][:3]):
        return "pending" if is_sealed or _reads(functools.partial(decode, _DECISION), row[2]) else ""
    if shape != _SHAPES["meta"]:
        return ""
    name, value = row
    if _is_digest(name, value):
        return "catalogs"
    is_subject = _DIGEST.fullmatch(name) or _SUBJECT.fullmatch(name)
    if not is_sealed and value != _OPEN_KEY and not _reads(unpack_state if is_subject else unpack, value):
        return ""
    return "subjects" if is_subject else "meta"


def _is_digest(name: str, content: bytes) -> bool:
    """Whether a text is the digest of the bytes: a catalog that is not what its key says is none."""
    return hashlib.sha256(content).hexdigest() == name


def _reads(reader: Callable[[bytes], object], value: bytes) -> bool:
    try:
        reader(value)
    except _UNFIT:
        return False
    return True


def _still_pending(rows: Iterable[tuple[Any, ...]], log: dict[int, LogRow]) -> Iterator[tuple[Any, ...]]:
    """Those of `pending` that the log does not know to be over: none may be handed over twice. With the log's own body."""
    newest: dict[str | None, int] = {}
    for seq, (kind, decision_id, _, _) in log.items():
        if kind in (_HANDED, _DECISION):
            newest[decision_id] = max(seq, newest.get(decision_id, 0))
    for decision_id, expire_time, body, seq in rows:
        last = newest.get(decision_id, 0)
        if last > seq > 0 or (seq == 0 and last and log[last][0] == _HANDED):
            continue
        kept = log.get(seq)
        if kept is not None and kept[:2] == (_DECISION, decision_id):
            body = kept[2]
        yield decision_id, expire_time, body, seq


# -- whose write-ahead log --------------------------------------------------------------------------------------------


def _is_of_one_store(images: Images) -> bool:
    """Whether there is a write-ahead log, and it is the file's. SQLite does not ask: another store's rows would become ours.

    By what both should have, whichever is there to be compared: rows, then who they belong to, then the numbering.
    """
    if not images.frames:
        return False
    checks = _checks_in_wal(images)
    agreeing = differing = newest = 0
    for image in map(images.main, range(1, images.page_count + 1)):
        cells, _ = pages.table_cells(image.page, images.usable_bytes)
        newest = max(newest, _newest_number(images, image, cells))
        for seq, row in _log_rows(images, image, (cell for cell in cells if cell.rowid in checks), ()):
            if row is not None and row[0] != _LOSS:  # a loss stands in for another record, under its number
                agreeing += row[3] == checks[seq]
                differing += row[3] != checks[seq]
    if agreeing or differing:
        return agreeing >= differing
    ours = _owners(images, map(images.main, range(1, images.page_count + 1)))
    theirs = _owners(images, map(images.frame, range(len(images.frames))))
    if ours and theirs:
        return not ours.isdisjoint(theirs)
    hidden = min(checks) - newest - 1 if newest and checks else 0
    return hidden <= 0 or (hidden <= _ROWS_HIDDEN_MAX and not images.is_log_intact())


def _checks_in_wal(images: Images) -> dict[int, int]:
    """Number and checksum of every record in the write-ahead log."""
    checks: dict[int, int] = {}
    for image in map(images.frame, range(len(images.frames))):
        cells, _ = pages.table_cells(image.page, images.usable_bytes)
        checks.update((seq, row[3]) for seq, row in _log_rows(images, image, cells, checks) if row and row[0] != _LOSS)
    return checks


def _newest_number(images: Images, image: Image, cells: Iterable[Cell]) -> int:
    """The largest number a page knows of, as a row or as what `sqlite_sequence` keeps for `log`; 0 for none."""
    newest = 0
    for cell in cells:
        if pages.is_log(cell):
            newest = max(newest, cell.rowid)
        elif len(cell.types) == 2 and pages.is_text(cell.types[0]):
            for name, number in (pages.values(cell, kept) for kept in images.payloads(image, cell)):
                newest = max(newest, number) if name == "log" and isinstance(number, int) else newest
    return newest


def _owners(images: Images, of: Iterable[Image]) -> set[object]:
    """Who a store says it is: its installation, or what it knows its key by."""
    found: set[object] = set()
    for image in of:
        for name, value in (row[:2] for row in _index_rows(images, image)):
            if name == "key" and value != _OPEN_KEY:
                found.add(value)
            elif name == "installation" and type(value) is bytes and _reads(unpack, value) and type(unpack(value)) is str:
                found.add(unpack(value))
    return found
