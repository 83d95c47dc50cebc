"""A look at a store's database: reading only, beside whoever owns it.

Owns how the file is opened without a trace and what its tables say row by row. Reads in short steps, so that the owner's
checkpoints never wait for long. Must never write, create a file in the folder, or keep a transaction open between two calls.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from reflexarc_cli.store.place import check_seal, owner_of, read_key, seal_of
from reflexarc_core.errors import StorageError
from reflexarc_edge import schema
from reflexarc_edge.codec import unpack, unpack_state
from reflexarc_edge.schema import StoreDamagedError
from reflexarc_edge.seal import Open, Seal
from reflexarc_edge.store import BATCH_ROWS, FILE, WAL, storage_error

T = TypeVar("T")

BUSY_S: Final = 5.0
_LOOKS_MAX: Final = 3
_SHM: Final = "store.db-shm"
_PRAGMAS: Final = ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON")


class LogRow(NamedTuple):
    """One row of the log as it lies there, unchecked: a damaged one may hold anything."""

    seq: int
    kind: Any
    decision_id: Any
    body: Any
    crc: Any


class Look:
    """The database of a store. A context manager.

    Raises StoreDamagedError when it is no database, StorageError when it cannot be read or is of a later version.
    """

    def __init__(self, folder: Path) -> None:
        from sqlite_utils import Database

        self.path: Final = folder / FILE
        self._folder = folder
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._seen: Final = self._signature()
        try:
            with self.path.open("rb"):
                pass
            self._connection = sqlite3.connect(
                self._address(owner_of(folder).is_alive), uri=True, isolation_level=None, timeout=BUSY_S
            )
        except FileNotFoundError:
            raise StoreDamagedError(f"{self.path} is not there") from None
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be read: {error.strerror}", hint="run this as the user of the store"
            ) from None
        # What is no text must not stop the reading of its neighbours, nor be quoted in an error.
        self._connection.text_factory = lambda stored: stored.decode(errors="replace")
        self.database: Final = Database(self._connection, recursive_triggers=False, execute_plugins=False)
        try:
            with self.reading():
                for pragma in _PRAGMAS:
                    self._connection.execute(f"PRAGMA {pragma}").fetchall()
                self.version: Final = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
                self.tables: Final = frozenset(self.database.table_names())
            if self.version > schema.VERSION:
                raise StorageError(
                    f"{self.path} was written by a later version (store {self.version}, this reads {schema.VERSION})",
                    hint="update reflexarc",
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def has_changed(self) -> bool:
        """Whether the file was read as one that nobody writes, and somebody has written meanwhile: what was read is void."""
        return self._is_still and self._signature() != self._seen

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Errors of SQLite come out as StorageError."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            if isinstance(error, OverflowError):
                raise StoreDamagedError(f"the store at {self.path} is damaged: a number in it is too large") from None
            raise storage_error(error, self.path) from None

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """What is read within belongs together, whatever the owner writes meanwhile. For short."""
        with self.reading():
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("COMMIT")

    # -- tables ---------------------------------------------------------------------------------------------------

    def last_seq(self) -> int:
        """The largest number ever given out."""
        with self.reading():
            kept = self._first("SELECT seq FROM sqlite_sequence WHERE name = 'log'") if "sqlite_sequence" in self.tables else None
            held = self._first("SELECT max(seq) FROM log") if "log" in self.tables else None
        return max(kept or 0, held or 0)

    def log_rows(self, after: int, upto: int = 2**62, where: str = "1") -> list[LogRow]:
        """The next rows of the log behind `after`, in order; none at its end."""
        with self.reading():
            found = self.database["log"].rows_where(
                f"seq > ? AND seq <= ? AND ({where})",
                (after, upto),
                order_by="seq",
                limit=BATCH_ROWS,
                select=", ".join(LogRow._fields),
            )
            return [LogRow(**row) for row in found]

    def count(self, table: str) -> int:
        """How many rows a table has; 0 for one that an older store has not."""
        with self.reading():
            return int(self.database[table].count) if table in self.tables else 0

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of a small table; none of one that an older store has not."""
        with self.reading():
            yield from self.database[table].rows

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement that gives few."""
        with self.reading():
            return list(self._connection.execute(statement).fetchall())

    def packed_meta(self) -> dict[str, Any]:
        """The small named values as they lie there."""
        return {str(row["name"]): row["value"] for row in self.rows("meta")}

    def kept_key(self) -> bytes | None:
        """What the store knows its key by."""
        found = self.packed_meta().get("key")
        return found if isinstance(found, bytes) else None

    # -- inside ---------------------------------------------------------------------------------------------------

    def _address(self, is_owned: bool) -> str:
        """The file for SQLite, in the way that leaves nothing behind."""
        path, wal_bytes = self.path, _size(self._folder / WAL)
        self._is_still = not is_owned and not wal_bytes
        if self._is_still:
            # Nobody writes and everything is in the file: opened in any other way SQLite would make files beside it.
            return f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        if not is_owned and not (self._folder / _SHM).exists():
            # A copied store: SQLite would have to make the index of the write-ahead log beside it.
            self._copy = tempfile.TemporaryDirectory(prefix="reflexarc-look-")
            for name in (FILE, WAL):
                shutil.copyfile(self._folder / name, Path(self._copy.name, name))
            path = Path(self._copy.name, FILE)
        return f"{path.absolute().as_uri()}?mode=ro"

    def _first(self, statement: str) -> Any:
        row = self._connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def _signature(self) -> tuple[object, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns, _size(self._folder / WAL)


def looked(folder: Path, read: Callable[[Look], T]) -> T:
    """What `read` finds in the store, read again when somebody opened it meanwhile. Raises what it raises, StorageError."""
    for _ in range(_LOOKS_MAX):
        with Look(folder) as look:
            try:
                found = read(look)
            except StoreDamagedError:
                if look.has_changed():
                    continue
                raise
            if not look.has_changed():
                return found
    raise StorageError(f"the store at {folder} is opened and closed all the time", hint="try again")


def fitting_key(folder: Path, key_file: Path | None) -> bytes | None:
    """The key in a file, when it is the store's. Raises Misused when it is not, or one is needed; StorageError."""
    try:
        kept = looked(folder, Look.kept_key)
    except StoreDamagedError:  # whoever opens it will mend it
        return read_key(key_file)
    check_seal(folder, kept, seal_of(key_file))
    return read_key(key_file)


def opened(seal: Seal | None, place: str, stored: Any) -> Any:
    """A packed value of the store. Raises StorageError when it is not what was written, or not with this key."""
    try:
        return unpack((seal or Open()).open(place, stored))
    except (ValueError, TypeError, RecursionError):
        raise StorageError(f"{place} cannot be read") from None


def opened_state(seal: Seal | None, name: str, stored: Any) -> tuple[str, Any]:
    """(subject, state) of one of the kept state's rows. Raises StorageError like `opened`."""
    try:
        return unpack_state((seal or Open()).open(f"subject {name}", stored))
    except (ValueError, TypeError, RecursionError):
        raise StorageError("the state of a subject cannot be read") from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
