"""The store: the tables behind the log, in one SQLite file.

Owns the connection, its settings and every SQL statement on the way of a record. Calls come from several threads and are
serialised by one lock. Must never number a record, read one, or know that there is a journal: it is handed numbered
entries and gives rows back.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from reflexarc_core.errors import StorageError
from reflexarc_edge import schema
from reflexarc_edge.codec import checksum, pack, pack_state, unpack, unpack_state
from reflexarc_edge.entry import DECISION_KIND, LOSS_KIND, Entry, Taken
from reflexarc_edge.journal import sync_file
from reflexarc_edge.schema import StoreDamagedError
from reflexarc_edge.seal import Open, Seal, check_key

BATCH_ROWS: Final = 1_000
DEAD_MAX: Final = 1_000
WAL_BYTES_MAX: Final = 4 * 1024 * 1024
FILE: Final = "store.db"
WAL: Final = "store.db-wal"

_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "busy_timeout=5000",
    "wal_autocheckpoint=0",
    f"journal_size_limit={WAL_BYTES_MAX}",
    "secure_delete=ON",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "cache_size=-256",
    "fullfsync=ON",
    "checkpoint_fullfsync=ON",
)
_INSERT: Final = "INSERT INTO log (seq, kind, decision_id, body, crc, priority) VALUES (?, ?, ?, ?, ?, ?)"


class StoreFullError(StorageError):
    """The disk has no room."""


class Row(NamedTuple):
    """One record as the store holds it: sealed where the store is."""

    seq: int
    kind: int
    body: bytes
    crc: int


Connect = Callable[[str], Any]


def connect(path: str) -> Any:
    """A connection of the standard library's SQLite; transactions are ours to begin and end."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)


class Store:
    """One SQLite file in `folder`.

    Raises StoreDamagedError when the file is no sound store, StorageError when it cannot be used, or not with this key.
    """

    def __init__(self, folder: Path, seal: Seal | None = None, connect: Connect = connect) -> None:
        self.folder: Final = folder
        self.path: Final = folder / FILE
        self.lock = threading.RLock()
        self._seal: Seal = seal or Open()
        self._wal_bytes_max = WAL_BYTES_MAX
        try:
            # Whoever opens a link, or a file that anybody can read, has lost already: the file is made for us alone.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            is_cut_off = self.path.stat().st_size % schema.PAGE_BYTES != 0
            self._db = connect(str(self.path))
        except (sqlite3.Error, OSError) as error:
            raise storage_error(error, self.path) from None
        try:
            schema.prepare(self._db, str(self.path))
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            schema.check(self._db, str(self.path), is_cut_off=is_cut_off)
            self.last_seq: int = self._newest()
            self._check_key()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._db.close()
            raise storage_error(error, self.path) from None
        except BaseException:
            self._db.close()
            raise
        self.synced_seq: int = 0
        """Number up to which records outlive a power cut, as far as this process made sure of it."""
        self._is_unsynced = True  # whoever wrote before may have been killed before it synced

    # -- writing --------------------------------------------------------------------------------------------------

    def insert(self, entries: Sequence[Entry]) -> None:
        """Write entries in one transaction, and what they change beside the log. Raises StorageError, nothing kept then."""
        rows = [(e.seq, e.kind, e.decision_id, e.body, checksum(e.seq, e.kind, e.body), e.priority) for e in entries]
        with self.lock:  # whoever reads these rows knows that they were given out
            with self.transaction() as db:
                db.executemany(_INSERT, rows)
                position = -1
                taken: dict[str, int] = {}
                for entry in entries:
                    if entry.fired_expire_time is not None:
                        db.execute(
                            "INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?)",
                            (entry.decision_id, entry.fired_expire_time, entry.body, entry.seq),
                        )
                    elif entry.handed:
                        db.execute("DELETE FROM pending WHERE decision_id = ?", (entry.decision_id,))
                    position = max(position, entry.position)
                    if entry.taken is not None:
                        taken[entry.taken.journal] = entry.taken.seq
                if position > self.meta("position_max", -1):
                    self._put("position_max", position)
                db.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?)", list(taken.items()))
            self.last_seq = max(self.last_seq, entries[-1].seq)

    def keep_snapshot(self, seq: int, head: dict[str, Any], subjects: dict[str, dict[str, Any]], dropped: set[str]) -> None:
        """Keep the state as of a stored record: the head, and the subjects that changed since the last call."""
        name = self._seal.name
        rows = [(name(s), self._seal.close(f"subject {name(s)}", pack_state(s, kept))) for s, kept in subjects.items()]
        with self.transaction() as db:
            db.executemany("DELETE FROM subjects WHERE subject = ?", [(name(subject),) for subject in dropped])
            db.executemany("INSERT OR REPLACE INTO subjects VALUES (?, ?)", rows)
            count = db.execute("SELECT count(*) FROM subjects").fetchone()[0]
            self._put("snapshot", {"seq": seq, "head": head, "subjects": count})

    def drop_snapshot(self) -> None:
        """Forget the kept state, whole: it is of no use any more."""
        with self.transaction() as db:
            db.execute("DELETE FROM subjects")
            db.execute("DELETE FROM meta WHERE name = 'snapshot'")

    def keep_catalog(self, digest: str, built: bytes) -> None:
        """Keep a built catalog."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO catalogs VALUES (?, ?)", (digest, built))

    def keep_meta(self, name: str, value: Any) -> None:
        """Keep one small named value."""
        with self.transaction():
            self._put(name, value)

    def take(self, taken: Taken) -> None:
        """So far has another process's journal been taken."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO taken VALUES (?, ?)", taken)

    def untake(self, journal: str) -> None:
        """A journal of another process is gone for good: nothing more of it can come."""
        with self.transaction() as db:
            db.execute("DELETE FROM taken WHERE journal = ?", (journal,))

    def bury(self, rows: Sequence[tuple[Row, str]], replace_by: Callable[[Row, str], tuple[int, bytes]] | None) -> None:
        """Rows that cannot be used go to the dead letters, each with its reason; what stands in for one keeps its number.

        replace_by: (kind, body) of the record that explains the gap; None where a row is copied and stays.
        """
        with self.transaction() as db:
            for row, reason in rows:
                # What rotted may be of any type.
                kind = row.kind if type(row.kind) is int else 0
                body = row.body if type(row.body) is bytes else repr(row.body).encode()
                db.execute("INSERT INTO dead (seq, kind, body, reason) VALUES (?, ?, ?, ?)", (row.seq, kind, body, reason))
                if replace_by is not None:
                    self.replace_row(row.seq, *replace_by(row, reason))
            db.execute("DELETE FROM dead WHERE id <= (SELECT max(id) FROM dead) - ?", (DEAD_MAX,))

    def replace_row(self, seq: int, kind: int, body: bytes, decision_id: str | None = None) -> None:
        """Another record in the place of one."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO log (seq, kind, decision_id, body, crc, priority) VALUES (?, ?, ?, ?, ?, 2)",
                (seq, kind, decision_id, body, checksum(seq, kind, body)),
            )

    def sync_to_disk(self) -> None:
        """fsync what was committed, if anything was since the last call. Raises StorageError."""
        with self.lock:
            seq = self.last_seq
            if not self._is_unsynced:
                return
            self._is_unsynced = False
        try:
            descriptor = os.open(self.folder / WAL, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self.synced_seq = seq  # nothing in the write-ahead log: the checkpoint synced it
            return
        except OSError as error:
            self._is_unsynced = True
            raise StorageError(f"the store at {self.folder} cannot be synced: {error.strerror}") from None
        try:
            sync_file(descriptor)
        except OSError as error:
            self._is_unsynced = True
            raise StorageError(f"the store at {self.folder} cannot be synced: {error.strerror}") from None
        finally:
            os.close(descriptor)
        self.synced_seq = max(self.synced_seq, seq)

    def checkpoint(self, *, force: bool = False) -> None:
        """Move the write-ahead log into the file when it has grown large (or `force`), and cut it off."""
        try:
            size = (self.folder / WAL).stat().st_size
        except FileNotFoundError:
            return
        if not force and size <= self._wal_bytes_max:
            return
        with self.reading() as db:
            is_busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            if not is_busy:  # somebody who reads keeps it from moving, and then nothing was synced either
                self.synced_seq = self.last_seq
                self._is_unsynced = False

    def bound_wal(self, bytes_max: int) -> None:
        """Move the write-ahead log into the file once it is larger than this."""
        self._wal_bytes_max = min(bytes_max, WAL_BYTES_MAX)

    # -- reading --------------------------------------------------------------------------------------------------

    def rows(self, after: int, count_max: int, upto: int = 2**62) -> tuple[list[Row], list[Row]]:
        """(sound, damaged) rows behind `after` and not behind `upto`, in order."""
        # One more than is wanted, and not only those up to `upto`: a number that rotted ends no search then, unseen.
        query = "SELECT seq, kind, body, crc FROM log WHERE seq > ? ORDER BY seq LIMIT ?"
        with self.reading() as db:
            found = [Row(*row) for row in db.execute(query, (after, count_max + 1)).fetchall()]
            newest = self.last_seq
        numbers = [row.seq for row in found]
        if numbers and (numbers[-1] > newest or any(b <= a for a, b in itertools.pairwise(numbers))):
            # SQLite reads them as they stand: what is put in the place of such a row would replace another.
            raise StoreDamagedError(f"{self.path}: it holds a record under another's number")
        rows = [row for row in found[:count_max] if row.seq <= upto]
        sound = [row for row in rows if is_sound(row)]
        return sound, [] if len(sound) == len(rows) else [row for row in rows if not is_sound(row)]

    def check_of(self, seq: int) -> int:
        """Checksum of one record, 0 when it is not there, or a loss stands in its place: nobody else has it like that."""
        with self.reading() as db:
            row = db.execute(f"SELECT crc FROM log WHERE seq = ? AND kind != {LOSS_KIND}", (seq,)).fetchone()
        return 0 if row is None else int(row[0])

    def last_held(self, upto_seq: int) -> Row | None:
        """The record with the largest number up to this one."""
        query = "SELECT seq, kind, body, crc FROM log WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
        with self.reading() as db:
            row = db.execute(query, (upto_seq,)).fetchone()
        return None if row is None else Row(*row)

    def next_held(self, seq: int) -> int:
        """Number of the next record that is there behind this one; the next to be given out when there is none."""
        with self.reading() as db:
            row = db.execute("SELECT min(seq) FROM log WHERE seq > ?", (seq,)).fetchone()
        return self.last_seq + 1 if row[0] is None else int(row[0])

    def decision_rows(self, decision_id: str) -> list[Row]:
        """Every record of one decision, in order."""
        query = "SELECT seq, kind, body, crc FROM log WHERE decision_id = ? ORDER BY seq"
        with self.reading() as db:
            return [row for row in map(_row, db.execute(query, (decision_id,)).fetchall()) if is_sound(row)]

    def newest_decision_rows(self, count_max: int) -> list[Row]:
        """The newest decision records, newest first."""
        query = (
            "SELECT seq, kind, body, crc FROM log"
            f" WHERE decision_id IS NOT NULL AND kind = {DECISION_KIND} ORDER BY seq DESC LIMIT ?"
        )
        with self.reading() as db:
            return [row for row in map(_row, db.execute(query, (count_max,)).fetchall()) if is_sound(row)]

    def pending_rows(self) -> list[Row]:
        """Fired decisions that were never handed over."""
        return [row for _, row in self.owed_rows()]

    def owed_rows(self) -> list[tuple[str, Row]]:
        """The same, each with the decision's id."""
        with self.reading() as db:
            rows = db.execute("SELECT decision_id, seq, body FROM pending ORDER BY decision_id").fetchall()
        return [(name, _unchecked(seq, DECISION_KIND, body)) for name, seq, body in rows]

    def oldest_owed_rows(self, beyond: int, count_max: int) -> list[Row]:
        """The oldest of them where there are more than `beyond`, so many at most."""
        query = f"SELECT seq, {DECISION_KIND}, body FROM pending ORDER BY seq LIMIT ?"
        with self.reading() as db:
            spare = int(db.execute("SELECT count(*) FROM pending").fetchone()[0]) - beyond
            rows = db.execute(query, (min(spare, count_max),)).fetchall() if spare > 0 else []
        return [_unchecked(seq, kind, body) for seq, kind, body in rows]

    def rewrite(self) -> None:
        """Write the whole file anew, so that nothing of what was deleted is left in it. Needs room for a second one."""
        with self.reading() as db:
            db.execute("VACUUM")

    def snapshot(self) -> tuple[int, dict[str, Any] | None, dict[str, dict[str, Any]]]:
        """(number of the last record it holds, head, subjects); (0, None, {}) when none was kept.

        Raises StorageError when a part of it cannot be read: a state with a hole is no state.
        """
        with self.reading() as db:
            kept = self.meta("snapshot", None)
            rows = db.execute("SELECT subject, state FROM subjects").fetchall()
            if kept is None and not rows:  # rows without it are what a repair saved of one
                return 0, None, {}
        try:
            pairs = [unpack_state(self._seal.open(f"subject {name}", state)) for name, state in rows]
            if len(pairs) == kept["subjects"]:
                return kept["seq"], kept["head"], dict(pairs)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise StorageError(f"the state kept in {self.path} cannot be read")

    def catalogs(self) -> dict[str, bytes]:
        """Every kept catalog's built bytes by digest."""
        with self.reading() as db:
            return dict(db.execute("SELECT digest, built FROM catalogs").fetchall())

    def taken(self) -> dict[str, int]:
        """How far each other process's journal has been taken, by its name."""
        with self.reading() as db:
            return dict(db.execute("SELECT journal, seq FROM taken").fetchall())

    def record_count(self) -> int:
        """How many records there are, losses included."""
        with self.reading() as db:
            return int(db.execute("SELECT count(*) FROM log").fetchone()[0])

    def dead_count(self) -> int:
        """How many dead letters there are."""
        with self.reading() as db:
            return int(db.execute("SELECT count(*) FROM dead").fetchone()[0])

    def meta(self, name: str, default: Any) -> Any:
        """A named value, or the default; the default too when it cannot be read."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None:
            return default
        try:
            return unpack(self._seal.open(f"meta {name}", row[0]))
        except (ValueError, StorageError, RecursionError):
            return default

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._db.close()

    # -- for those who look after the file ------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[Any]:
        """The connection, for reading. Errors come out as StorageError."""
        with self.lock:
            try:
                yield self._db
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise storage_error(error, self.path) from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """The connection within one transaction, undone by whatever is raised. May be used within another."""
        with self.lock:
            try:
                if self._db.in_transaction:
                    yield self._db
                    return
                self._db.execute("BEGIN IMMEDIATE")
                self._is_unsynced = True
                yield self._db
                self._db.execute("COMMIT")
            except (sqlite3.Error, UnicodeDecodeError) as error:
                self._roll_back()
                raise storage_error(error, self.path) from None
            except BaseException:
                self._roll_back()
                raise

    # -- inside ---------------------------------------------------------------------------------------------------

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # already gone then, or closed: the error that matters is the caller's
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _put(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, self._seal.close(f"meta {name}", pack(value))))

    def _newest(self) -> int:
        """The largest number ever given out: AUTOINCREMENT keeps it though rows go."""
        kept = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
        held = self._db.execute("SELECT max(seq) FROM log").fetchone()[0] or 0
        newest = 0 if kept is None else kept[0]
        if type(newest) is not int or held > newest:
            # A number that was never given out is a rotten one, and would hide everything the journal holds.
            raise StoreDamagedError(f"{self.path}: it holds a record that was never written")
        return newest

    def _check_key(self) -> None:
        row = self._db.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
        fresh = check_key(self._seal, None if row is None else row[0])
        if fresh is not None:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('key', ?)", (fresh,))


def _row(row: Any) -> Row:
    return Row(*row)


def is_sound(row: Row) -> bool:
    """Whether a row is what was written."""
    return type(row.body) is bytes and type(row.kind) is int and row.crc == checksum(row.seq, row.kind, row.body)


def _unchecked(seq: object, kind: int, body: object) -> Row:
    """A row of a table without checksums, where what rotted may be of any type: such a one has no number, and cannot be read."""
    number, content = seq if type(seq) is int else 0, body if type(body) is bytes else b""
    return Row(number, kind, content, checksum(number, kind, content))


def storage_error(error: Exception, path: Path) -> StorageError:
    """The family's error for what SQLite or the system said, with what to do about it."""
    if isinstance(error, OSError):
        return StorageError(f"the store at {path} cannot be opened: {error.strerror}", hint="check the path and its permissions")
    # What has no name is the reading of a text that is none, or the use of a closed connection.
    name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT" if isinstance(error, UnicodeDecodeError) else "")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHM", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE")):
        return StoreFullError(f"the store at {path} has no room: {error}", hint="free some space on the disk")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_ERROR", "SQLITE_MISMATCH")):
        return StoreDamagedError(f"the store at {path} is damaged: {error}")
    if "decode to UTF-8" in str(error):
        return StoreDamagedError(f"the store at {path} is damaged: a text in it is none")
    hints = {
        "SQLITE_READONLY": "make the folder writable",
        "SQLITE_CANTOPEN": "check the path and its permissions",
    }
    return StorageError(f"the store at {path} failed: {error}", hint=hints.get(name, ""))
