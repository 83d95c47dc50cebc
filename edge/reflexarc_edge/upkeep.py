"""Upkeep: the store stays within its bounds, and what is given up is said.

Owns the limits in bytes and rows, what is deleted first, and the ballast that gets a full disk moving again. What the server
holds and a snapshot covers goes first and costs nothing; then the oldest records of the lowest priority, each run of
them replaced by a loss that keeps the first number and names them all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_core.errors import DefinitionError, StorageError
from reflexarc_core.record import LossOutput
from reflexarc_edge.codec import decode, encode
from reflexarc_edge.entry import LOSS_KIND
from reflexarc_edge.journal import SEGMENT_BYTES, SEGMENT_BYTES_MIN, allocate
from reflexarc_edge.store import FILE, Store

BALLAST_BYTES: Final = 256 * 1024
SET_ASIDE: Final = "set-aside"
CHUNK_ROWS: Final = 1_000
ROW_BYTES: Final = 128
LOSSES_MAX: Final = 450
"""Losses among the oldest CHUNK_ROWS records, before what is between them goes too."""
FREE_PAGES_MAX: Final = 256
GIVEN_BACK_AT_ONCE: Final = 16
MIN_BYTES: Final = 1024 * 1024
SEGMENT_SHARE: Final = 32
"""A segment of the journal is this part of the bound, within SEGMENT_BYTES_MIN and SEGMENT_BYTES."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a store may become. bytes_max: every file in its folder but bundles, within 1 MiB. rows_max: records.
    history_rows: records the server holds that stay for explain and replay."""

    bytes_max: int = 256 * 1024 * 1024
    rows_max: int = 1_000_000
    history_rows: int = 20_000

    def __post_init__(self) -> None:
        if self.bytes_max < MIN_BYTES or self.rows_max < 100 or self.history_rows < 0:
            raise DefinitionError(
                f"a store of {self.bytes_max} bytes and {self.rows_max} rows",
                hint=f"at least {MIN_BYTES} bytes and 100 rows",
            )

    @property
    def segment_bytes(self) -> int:
        """Size of one of the journal's two segments. What they hold comes into the store at once where its bound is checked,
        on top of what no eviction frees: so in a small store they are small.
        """
        return max(SEGMENT_BYTES_MIN, min(SEGMENT_BYTES, self.bytes_max // SEGMENT_SHARE))

    @property
    def wal_bytes(self) -> int:
        """Size at which the write-ahead log is moved into the file."""
        return min(SEGMENT_BYTES, self.bytes_max // 16)


class Upkeep:
    """Looks after one store's size. Called by whoever drains, never on the way of a record."""

    def __init__(self, store: Store, bounds: Bounds) -> None:
        self.bounds: Final = bounds
        self._store = store
        self._ballast = store.folder / "ballast"
        store.bound_wal(bounds.wal_bytes)
        self._row_count = self._spanned()
        self._is_counted = False
        self.evicted_count = 0
        self.is_full = False
        """Whether records of low priority are refused, until there is room again."""
        self.lay_ballast()

    # -- size -----------------------------------------------------------------------------------------------------

    def byte_count(self) -> int:
        """Bytes of every file in the folder but bundles."""
        return sum(folder_bytes(self._store.folder).values())

    def pages_max(self) -> int:
        """How many pages the store's file may use: what the other files leave of the bound."""
        sizes = folder_bytes(self._store.folder)
        others = sum(size for name, size in sizes.items() if not name.startswith(FILE))
        # Twice: the write-ahead log is cut off once it is over its bound, and one transaction may come on top. And what the
        # journal holds may come in before anybody looks here again: larger than it lies there, since enrichment adds to it.
        left = self.bounds.bytes_max - others - 2 * self.bounds.wal_bytes - 6 * self.bounds.segment_bytes
        return max(64, left // self._pragma("page_size"))

    def used_pages(self) -> int:
        """Pages of the store's file that hold something."""
        return self._pragma("page_count") - self._pragma("freelist_count")

    def row_count(self) -> int:
        """Records held. Counted only once their span says there may be too many: counting reads the whole file."""
        if self._row_count > self.bounds.rows_max and not self._is_counted:
            with self._store.reading() as db:
                self._row_count = int(db.execute("SELECT count(*) FROM log").fetchone()[0])
            self._is_counted = True
        return self._row_count

    def added(self, count: int) -> None:
        """So many records were written."""
        self._row_count += count

    def _spanned(self) -> int:
        with self._store.reading() as db:
            # Each on its own: asked for together, the whole file would be read.
            first = db.execute("SELECT min(seq) FROM log").fetchone()[0]
            last = db.execute("SELECT max(seq) FROM log").fetchone()[0]
        return 0 if first is None else int(last) - int(first) + 1

    # -- keeping within it ----------------------------------------------------------------------------------------

    def is_cut_due(self, upto_seq: int, newest_seq: int) -> bool:
        """Whether enough has gathered that may be cut, to be worth a sync."""
        return self._row_count > self.bounds.history_rows + CHUNK_ROWS and upto_seq > newest_seq - self._row_count + CHUNK_ROWS

    def cut(self, upto_seq: int, newest_seq: int) -> int:
        """Delete records the server and a durable snapshot hold, but for the newest ones. How many went."""
        upto = min(upto_seq, newest_seq - self.bounds.history_rows)
        if upto <= 0:
            return 0
        return self._delete(upto, CHUNK_ROWS)

    def needs_room(self, byte_count: int = 0) -> bool:
        """Whether the store is over its bounds, or would be with that many bytes more."""
        pages = self.used_pages() + byte_count * 3 // 2 // self._pragma("page_size")
        self.is_full = pages > self.pages_max() * 9 // 10
        return pages > self.pages_max() or self.row_count() > self.bounds.rows_max

    def make_room(self, held_elsewhere_seq: int, covered_seq: int) -> int:
        """Bring the store back to nine tenths of its bounds. How many records were given up that nobody else holds.

        held_elsewhere_seq: what the server holds. covered_seq: what a snapshot covers; nothing behind it may go.
        """
        given_up = 0
        pages_max, rows_max = self.pages_max() * 9 // 10, self.bounds.rows_max * 9 // 10
        while self.used_pages() > pages_max or self.row_count() > rows_max:
            count = max(CHUNK_ROWS // 10, min(CHUNK_ROWS, self.row_count() - rows_max))
            free = min(held_elsewhere_seq, covered_seq)
            gone = self._delete(free, count)
            if not gone:
                gone = self._evict(held_elsewhere_seq, covered_seq, count)
                given_up += gone
            if not gone:
                break
            self._store.checkpoint()
        self.give_back()
        self.evicted_count += given_up
        return given_up

    def give_back(self) -> None:
        """Return free pages to the disk, when there are many or the file is over its share."""
        spare = self._pragma("page_count") - self.pages_max()
        free = self._pragma("freelist_count")
        left = min(free, max(spare, free - FREE_PAGES_MAX)) if free > FREE_PAGES_MAX or spare > 0 else 0
        while left > 0:
            with self._store.transaction() as db:  # few at a time: each is written into the write-ahead log
                for _ in range(min(left, GIVEN_BACK_AT_ONCE)):
                    db.execute("PRAGMA incremental_vacuum(1)").fetchall()  # one page a statement, whatever number is given
            left -= GIVEN_BACK_AT_ONCE
            self._store.checkpoint()

    # -- a full disk ----------------------------------------------------------------------------------------------

    def relieve(self, held_elsewhere_seq: int, covered_seq: int) -> bool:
        """The disk, or the store's share of it, has no room: give up what the bounds say, or give the ballast back and delete
        what others hold. Whether it is worth another try.
        """
        with contextlib.suppress(StorageError):
            if self.needs_room() and self.make_room(held_elsewhere_seq, covered_seq):
                return True
        if not self.drop_ballast():
            return False
        with contextlib.suppress(StorageError):
            self._store.checkpoint(force=True)
            self.cut(min(held_elsewhere_seq, covered_seq), self._store.last_seq)
        return True

    def lay_ballast(self) -> None:
        """Hold some blocks back, for the day the disk is full. Without room there is none, until there is."""
        if self._ballast.exists() and self._ballast.stat().st_size == BALLAST_BYTES:
            return
        try:
            descriptor = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                allocate(descriptor, BALLAST_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self._ballast.unlink()

    def drop_ballast(self) -> bool:
        """Give the blocks back: SQLite can delete nothing on a full disk, not even to make room. False: there are none."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    # -- inside ---------------------------------------------------------------------------------------------------

    def _evict(self, held_elsewhere_seq: int, covered_seq: int, count: int) -> int:
        """Replace records by losses, as many as one transaction should hold: the oldest of the lowest priority.

        Where the oldest records are mostly losses already, with a few more important ones between them, those go as well:
        losses that cannot grow together would fill a store by themselves.
        """
        oldest = "SELECT seq, length(body), kind FROM log WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        of_priority = (
            "SELECT seq, length(body) FROM log"
            f" WHERE seq > ? AND seq <= ? AND priority = ? AND kind != {LOSS_KIND} ORDER BY seq LIMIT ?"
        )
        with self._store.transaction() as db:
            rows = db.execute(oldest, (held_elsewhere_seq, covered_seq, CHUNK_ROWS)).fetchall()
            others = [(seq, length) for seq, length, kind in rows if kind != LOSS_KIND]
            if others and len(rows) - len(others) > LOSSES_MAX:
                return self._lose_rows(db, others)
            for priority in (0, 1, 2):
                given = (held_elsewhere_seq, covered_seq, priority, count)
                rows = db.execute(of_priority, given).fetchall()
                if rows:
                    return self._lose_rows(db, rows)
        return 0

    def _lose_rows(self, db: Any, rows: Sequence[tuple[int, int]]) -> int:
        found = self._of_one_transaction(rows)
        for first, last in runs(found):
            self._lose(db, first, last, "evicted")
        return len(found)

    def _lose(self, db: Any, first: int, last: int, reason: str) -> None:
        """One loss for a run of records, grown together with the losses beside it."""
        gone = db.execute("DELETE FROM log WHERE seq >= ? AND seq <= ?", (first, last)).rowcount
        count = last - first + 1
        before = db.execute("SELECT seq, kind, body FROM log WHERE seq < ? ORDER BY seq DESC LIMIT 1", (first,)).fetchone()
        held = _loss(before[1], before[2]) if before is not None else None
        if held is not None and (held.first_seq, held.last_seq, held.reason) == (before[0], first - 1, reason):
            first, count = held.first_seq, count + held.count
            gone += 1
        behind = db.execute("SELECT kind, body FROM log WHERE seq = ?", (last + 1,)).fetchone()
        held = _loss(*behind) if behind is not None else None
        if held is not None and (held.first_seq, held.reason) == (last + 1, reason):
            db.execute("DELETE FROM log WHERE seq = ?", (last + 1,))
            last, count = held.last_seq, count + held.count
            gone += 1
        kind, body = encode(LossOutput(reason, first, last, count))
        self._store.replace_row(first, kind, body)
        self._row_count -= gone - 1

    def _delete(self, upto: int, count: int) -> int:
        """Delete the oldest records up to a number, as many as one transaction should hold."""
        with self._store.transaction() as db:
            rows = db.execute("SELECT seq, length(body) FROM log WHERE seq <= ? ORDER BY seq LIMIT ?", (upto, count)).fetchall()
            found = self._of_one_transaction(rows)
            if found:
                newest = db.execute("SELECT kind, body FROM log WHERE seq = ?", (found[-1],)).fetchone()
                db.execute("DELETE FROM log WHERE seq <= ?", (found[-1],))
                loss = _loss(*newest)
                if loss is not None and loss.last_seq > upto:  # it names numbers that nobody else holds
                    left = LossOutput(loss.reason, upto + 1, loss.last_seq, loss.last_seq - upto)
                    self._store.replace_row(upto + 1, *encode(left))
                    self._row_count += 1
        self._row_count -= len(found)
        return len(found)

    def _of_one_transaction(self, rows: Sequence[tuple[int, int]]) -> list[int]:
        """The first of the (number, length) rows: every page of what is deleted is written into the write-ahead log, blank."""
        found: list[int] = []
        size = 0
        for seq, length in rows:
            size += (length or 0) + ROW_BYTES
            if found and size > self.bounds.wal_bytes // 2:
                break
            found.append(seq)
        return found

    def _pragma(self, name: str) -> int:
        with self._store.reading() as db:
            return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _loss(kind: int, body: bytes) -> LossOutput | None:
    """The loss a row is; None for anything else, and for one that has rotted."""
    if kind != LOSS_KIND:
        return None
    try:
        held = decode(kind, body)
    except StorageError:
        return None
    return held if isinstance(held, LossOutput) else None


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, last) of each stretch without a gap."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def folder_bytes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a store, by its name; what was set aside counts, bundles do not."""
    sizes: dict[str, int] = {}
    for place in (folder, folder / SET_ASIDE):
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_file(follow_symlinks=False):
                            sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    return sizes
