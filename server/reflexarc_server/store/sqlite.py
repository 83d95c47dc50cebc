"""The store in one SQLite file: WAL, one writing connection under a lock, one reading connection per thread.

Owns the file, its lock and the mapping of sqlite3's errors. Must never interpret a record.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from reflexarc_core.errors import StorageError
from reflexarc_server.store import by_subject, checks, schema
from reflexarc_server.store.port import COUNTERS, OWN_INSTALLATION, Assigned, Foldable, NewRecord, Store, Stream, Transaction

FILE: Final = "server.db"
DEVICE_FILE: Final = "store.db"
"""What a device keeps in a folder: never a place for a server."""
_CHECKPOINT_EVERY: Final = 20_000
_CHECKPOINT_BY: Final = 200_000
"""Records after which the write-ahead log goes into the file when nobody stores, and whoever stores."""
_FAR: Final = 2**62
_TRUNCATE_TRIES: Final = 5
"""Each waits for the connection's busy timeout where somebody reads."""
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder().decode

_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _insert(row_count: int) -> str:
    return (
        "INSERT INTO log"
        " (kind, installation, incarnation, seq, subject, event_type, event_time, receive_time, record_id, body)"
        f" VALUES {', '.join([_ROW] * row_count)} ON CONFLICT (kind, record_id) WHERE record_id IS NOT NULL DO NOTHING"
    )


_ROWS: Final = 50
"""Rows of one statement at most: SQLite leaves the interpreter's lock once a statement, and getting it back may take
milliseconds."""
_INSERT_ONE: Final = _insert(1)
_RUNS: Final = (_ROWS, 20, 8, 3)
_INSERT_RUN: Final = {count: _insert(count) for count in _RUNS}


class SqliteStore:
    """One store in one folder, owned by one process. Raises StorageError when another process owns it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.RLock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._since_checkpoint = 0
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder} is a file, not a folder", hint="give the server a folder; it is made if it is new")
        if (folder / DEVICE_FILE).exists() and not self._path.exists():
            raise StorageError(f"{folder} is a device's store", hint="give the server a folder of its own")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._owner = _own(folder)
        except OSError as error:
            raise StorageError(f"the server's folder {folder} cannot be used: {error.strerror}") from None
        try:
            self._db = self._connect()
            schema.prepare(self._db, str(self._path))
            # FULL: what a device was told is stored must outlive a power cut, since the device may forget it then.
            self._db.execute("PRAGMA secure_delete=ON")
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "journal_size_limit=67108864"):
                self._db.execute(f"PRAGMA {pragma}")
            self._path.chmod(0o600)
            self._last_seq = int(self._db.execute("SELECT coalesce(max(server_seq), 0) FROM log").fetchone()[0])
            self._indexed = int(self.kept(by_subject.REACHES, 0))
        except sqlite3.Error as error:
            os.close(self._owner)
            raise _storage_error(error, self._path) from None
        except BaseException:
            os.close(self._owner)
            raise

    # -- writing --------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See Store."""
        with self._lock:
            writer = _Writer(self._db)
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield writer
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise _storage_error(error, self._path) from None
            except BaseException:
                self._roll_back()
                raise
            self._last_seq = max(self._last_seq, writer.last_seq)
            self._since_checkpoint += writer.inserted
            if self._since_checkpoint >= _CHECKPOINT_BY:
                self._checkpoint()

    def packed(self, state: Mapping[str, Any]) -> bytes:
        """See Store."""
        return _pack(state)

    def tidy(self) -> bool:
        """See Store."""
        if self._since_checkpoint >= _CHECKPOINT_EVERY:
            with self._lock:
                self._checkpoint()
        self.index(1)
        return self._indexed < self._last_seq

    @property
    def indexed_seq(self) -> int:
        """Number of the newest record in the index by subject."""
        return self._indexed

    def rewrite(self) -> None:
        """Write the file anew and empty the write-ahead log: of what was deleted, no byte is left in either.

        Whoever stores waits. Raises StorageError, when a reader was in the way for long too.
        """
        with self._lock:
            try:
                self._db.execute("VACUUM")
                for _ in range(_TRUNCATE_TRIES):
                    if not self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                        return
            except sqlite3.Error as error:
                raise _storage_error(error, self._path) from None
        raise StorageError(f"the write-ahead log of {self._path} is being read", hint="it is tried again")

    def index(self, steps_max: int = _FAR) -> None:
        """Bring the events by subject nearer to the log, in small transactions: at most so many, all by default."""
        while self._indexed < self._last_seq and steps_max > 0:
            steps_max -= 1
            with self._lock:
                with self.transaction() as transaction:
                    upto = by_subject.advance(self._db.execute, self._indexed, self._last_seq)
                    transaction.keep(by_subject.REACHES, upto)
                self._indexed = upto

    def close(self) -> None:
        """See Store."""
        with self._lock:
            if self._owner < 0:
                return
            for reader in self._readers:
                reader.close()
            self._db.close()
            os.close(self._owner)
            self._owner = -1

    # -- reading --------------------------------------------------------------------------------------------------

    def foldable(self, after: int, count_max: int) -> list[Foldable]:
        """See Store. Events of everybody, and the server's own inputs."""
        rows = self._rows(
            "SELECT server_seq, kind, receive_time,"
            " CASE WHEN kind = 1 OR (installation = ? AND kind IN (4, 5, 7)) THEN body END,"
            " incarnation IN ('', 'web') FROM log WHERE server_seq > ? ORDER BY server_seq LIMIT ?",
            (OWN_INSTALLATION, after, count_max),
        )
        return [Foldable(*row) for row in rows]

    def last_seq(self) -> int:
        """See Store."""
        return self._last_seq

    def counters(self) -> dict[str, int]:
        """See Store."""
        held = dict(self._rows("SELECT name, value FROM counters", ()))
        return {name: held.get(name, 0) for name in COUNTERS}

    def kept(self, name: str, default: Any) -> Any:
        """See Store."""
        rows = self._rows("SELECT value FROM kept WHERE name = ?", (name,))
        return _unpack(rows[0][0]) if rows else default

    def catalogs(self) -> dict[str, bytes]:
        """See Store."""
        return dict(self._rows("SELECT digest, built FROM catalogs", ()))

    def subjects(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See Store."""
        for subject, state in self._rows("SELECT subject, state FROM subjects", ()):
            yield subject, _unpack(state)

    def stream_count(self) -> int:
        """See Store."""
        return int(self._rows("SELECT count(*) FROM streams", ())[0][0])

    def last_reasons(self, trigger_id: str = "", since: int = 0, until: int = 0) -> list[tuple[str, str, str, int]]:
        """See Store. A decision counts by the time of its last record."""
        # SQLite takes the bare columns of a max() from the row that has it.
        return self._rows(
            "SELECT trigger_id, placement, reason, count(*) FROM ("
            " SELECT trigger_id, placement, reason, decision_time, max(record) FROM decisions"
            " WHERE (?1 = '' OR trigger_id = ?1) AND instr(reason, ':') = 0 GROUP BY decision_id)"
            " WHERE decision_time >= ?2 AND decision_time < ?3 GROUP BY trigger_id, placement, reason ORDER BY 1, 2, 3",
            (trigger_id, since, until or _FAR),
        )

    def assigned(self, trigger_id: str, since: int, until: int) -> list[Assigned]:
        """See Store."""
        rows = self._rows(
            # Behind the split only the hour holds back, or a clock that is not believed when there are hours.
            "SELECT subject, decision_time, reason = 'HOLDOUT', reason = 'FIRED', variant FROM decisions WHERE trigger_id = ?"
            " AND reason IN ('FIRED', 'HOLDOUT', 'QUIET_HOURS', 'CLOCK_UNTRUSTED')"
            " AND decision_time >= ? AND decision_time < ? ORDER BY decision_time, decision_id, record",
            (trigger_id, since, until or _FAR),
        )
        return [Assigned(subject, time, bool(held_out), bool(acted), variant) for subject, time, held_out, acted, variant in rows]

    def reached(self, subject: str, event_types: Sequence[str], after: int, until: int) -> bool:
        """See Store."""
        self.index()
        return bool(self._rows(by_subject.reached_query(event_types), (subject, *event_types, after, until)))

    def events_of(self, subjects: Sequence[str], upto: int) -> list[tuple[int, bytes]]:
        """See Store."""
        self.index()
        return self._rows(by_subject.events_query(len(subjects)), (*subjects, upto))

    def events_by_id(self, first: str, end: str, count_max: int = -1) -> list[tuple[str, bytes]]:
        """See Store."""
        query = "SELECT record_id, body FROM log WHERE kind = 1 AND record_id >= ? AND record_id < ? ORDER BY record_id LIMIT ?"
        return self._rows(query, (first, end, count_max))

    def fired_of(self, subject: str) -> dict[str, int]:
        """See Store."""
        return dict(self._rows(by_subject.FIRED, (subject,)))

    def outcomes(self, trigger_id: str) -> list[tuple[str, int]]:
        """See Store."""
        return self._rows(
            "SELECT o.kind, count(*) FROM outcomes o WHERE EXISTS"
            " (SELECT 1 FROM decisions d WHERE d.decision_id = o.decision_id AND d.trigger_id = ? AND instr(d.reason, ':') = 0)"
            " GROUP BY o.kind ORDER BY 1",
            (trigger_id,),
        )

    def decisions(
        self, before: int, count_max: int, trigger_id: str = "", subject: str = "", reason: str = ""
    ) -> list[tuple[int, bytes]]:
        """See Store."""
        return self._rows(
            "SELECT d.server_seq, l.body FROM decisions d JOIN log l ON l.server_seq = d.server_seq"
            " WHERE d.server_seq < ?1 AND (?2 = '' OR d.trigger_id = ?2) AND (?3 = '' OR d.subject = ?3)"
            " AND (?4 = '' OR d.reason = ?4) ORDER BY d.server_seq DESC LIMIT ?5",
            (before or _FAR, trigger_id, subject, reason, count_max),
        )

    def event_counts(self) -> list[tuple[str, int, int, int]]:
        """See Store."""
        self.index()
        return self._rows(by_subject.EVENT_COUNTS, ())

    # -- inside ---------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, cached_statements=128)
        for pragma in ("busy_timeout=5000", "trusted_schema=OFF", "cell_size_check=ON", "cache_size=-8000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def ask(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Rows of a query, for the tables that have a module of their own."""
        return self._rows(query, parameters)

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        try:
            reader: sqlite3.Connection | None = getattr(self._local, "reader", None)
            if reader is None:
                reader = self._local.reader = self._connect()
                with self._lock:
                    self._readers.append(reader)
            return reader.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise _storage_error(error, self._path) from None

    def _checkpoint(self) -> None:
        """On the one connection that writes: in SQLite before 3.51.3 a second one that checkpoints may damage the store."""
        self._since_checkpoint = 0
        with contextlib.suppress(sqlite3.Error):  # a reader in the way: the next one moves it
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the transaction is already gone: the first error matters
                self._db.execute("ROLLBACK")


class _Writer:
    """See Transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._execute = self.run = db.execute
        self._executemany = db.executemany
        self.last_seq = 0
        self.inserted = 0

    def stream(self, installation: str, incarnation: str) -> Stream:
        row = self._execute(
            "SELECT upto_seq, last_check FROM streams WHERE installation = ? AND incarnation = ?", (installation, incarnation)
        ).fetchone()
        return Stream(*row) if row else Stream()

    def held_upto(self, installation: str) -> int:
        found = self._execute("SELECT max(upto_seq) FROM streams WHERE installation = ?", (installation,)).fetchone()
        return int(found[0] or 0)

    def advance(self, installation: str, incarnation: str, stream: Stream) -> None:
        self._execute(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)", (installation, incarnation, stream.upto_seq, stream.last_check)
        )

    def checks(self, installation: str, incarnation: str, first_seq: int, last_seq: int) -> tuple[int, dict[int, int]]:
        return checks.between(self._execute, (installation, incarnation), first_seq, last_seq)

    def keep_checks(self, installation: str, incarnation: str, fresh: Sequence[tuple[int, int]]) -> None:
        checks.keep(self._execute, (installation, incarnation), fresh)

    def insert(self, record: NewRecord) -> bool:
        cursor = self._execute(_INSERT_ONE, _columns(record))
        if cursor.rowcount == 0:
            return False
        server_seq = self.last_seq = int(cursor.lastrowid or 0)
        self.inserted += 1
        held = record.decision
        if held is not None:
            self._execute(
                "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (server_seq, held.decision_id, held.record, held.trigger_id, held.subject, held.reason, held.decision_time,
                 held.placement, held.variant),
            )  # fmt: skip
        if record.outcome is not None:
            self._execute("INSERT INTO outcomes VALUES (?, ?, ?)", (server_seq, *record.outcome))
        return True

    def insert_all(self, records: Sequence[NewRecord]) -> list[bool]:
        stored: list[bool] = []
        run: list[NewRecord] = []
        for record in records:
            if record.decision is None and record.outcome is None:
                run.append(record)
                if len(run) == _ROWS:
                    stored += self._insert_run(run)
                    run.clear()
            else:
                stored += map(self.insert, run)
                run.clear()
                stored.append(self.insert(record))
        done = 0
        for count in _RUNS:
            while len(run) - done >= count:
                stored += self._insert_run(run[done : done + count])
                done += count
        stored += map(self.insert, run[done:])
        return stored

    def _insert_run(self, run: Sequence[NewRecord]) -> list[bool]:
        """Insert records, as many as one of _RUNS, by one statement; only if some were there already, find out which."""
        held = self._execute("SELECT coalesce(max(server_seq), 0) FROM log").fetchone()[0]
        values: list[Any] = []
        for r in run:  # as _columns, without a call and a tuple for each
            values += (
                r.kind, r.installation, r.incarnation, r.seq, r.subject, r.event_type, r.event_time, r.receive_time,
                r.record_id or None, r.body,
            )  # fmt: skip
        cursor = self._execute(_INSERT_RUN[len(run)], values)
        self.inserted += cursor.rowcount
        if cursor.rowcount == len(run):
            self.last_seq = int(cursor.lastrowid or 0)
            return [True] * len(run)
        stored: list[bool] = []
        taken: set[tuple[int, str]] = set()
        for record in run:
            identity = (record.kind, record.record_id)
            before = self._execute(
                "SELECT 1 FROM log WHERE kind = ? AND record_id = ? AND server_seq <= ?", (*identity, held)
            ).fetchone()
            stored.append(not record.record_id or (before is None and identity not in taken))
            taken.add(identity)
        if cursor.rowcount:
            self.last_seq = int(cursor.lastrowid or 0)
        return stored

    def count(self, name: str, by: int) -> None:
        if by:
            self._execute(
                "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value", (name, by)
            )

    def keep(self, name: str, value: Any) -> None:
        self._execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, _pack(value)))

    def keep_catalog(self, digest: str, built: bytes) -> None:
        self._execute("INSERT OR IGNORE INTO catalogs VALUES (?, ?)", (digest, built))

    def keep_subjects(self, changed: Iterable[tuple[str, bytes]], dropped: Iterable[str]) -> None:
        self._executemany("DELETE FROM subjects WHERE subject = ?", ((subject,) for subject in dropped))
        self._executemany("INSERT OR REPLACE INTO subjects VALUES (?, ?)", changed)


def _columns(record: NewRecord) -> tuple[Any, ...]:
    return (
        record.kind, record.installation, record.incarnation, record.seq, record.subject, record.event_type,
        record.event_time, record.receive_time, record.record_id or None, record.body,
    )  # fmt: skip


def _own(folder: Path) -> int:
    """The lock on the folder, held by its descriptor and given up by the end of the process, however it ends."""
    descriptor = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StorageError(f"another server runs on {folder}", hint="stop it, or use another folder") from None
    return descriptor


def _storage_error(error: sqlite3.Error, path: Path) -> StorageError:
    hints = {
        "SQLITE_FULL": "free some space on the disk",
        "SQLITE_READONLY": "make the folder writable",
        "SQLITE_CANTOPEN": "check the path and its permissions",
        "SQLITE_NOTADB": "this file is no store; move it aside",
        "SQLITE_CORRUPT": "the store is damaged; move it aside, or restore a copy",
        "SQLITE_IOERR_WRITE": "free some space on the disk",
    }
    return StorageError(f"the store at {path} failed: {error}", hint=hints.get(getattr(error, "sqlite_errorname", ""), ""))


_: type[Store] = SqliteStore
