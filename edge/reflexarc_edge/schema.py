"""The store's tables and how an older store becomes a new one.

Owns every CREATE statement, and what is looked at of a store before anybody relies on it. A fresh store is made with plain
SQL; sqlite-utils runs the migrations of an older one, each recorded in the transaction it runs in, so it is only imported when
there is something to migrate.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from reflexarc_core.errors import StorageError

VERSION: Final = 2
PAGE_BYTES: Final = 4096

TABLES: Final = """
CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    decision_id TEXT,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    priority INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX log_decision ON log (decision_id) WHERE decision_id IS NOT NULL;
CREATE TABLE pending (
    decision_id TEXT PRIMARY KEY,
    expire_time INTEGER NOT NULL,
    body BLOB NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE subjects (subject TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE catalogs (digest TEXT PRIMARY KEY, built BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE taken (journal TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE erased (subject_digest TEXT PRIMARY KEY, erase_time INTEGER NOT NULL) WITHOUT ROWID;
"""
COLUMNS: Final = {
    "log": ["seq", "kind", "decision_id", "body", "crc", "priority"],
    "pending": ["decision_id", "expire_time", "body", "seq"],
    "subjects": ["subject", "state"],
    "catalogs": ["digest", "built"],
    "meta": ["name", "value"],
    "taken": ["journal", "seq"],
    "dead": ["id", "seq", "kind", "body", "reason"],
    "erased": ["subject_digest", "erase_time"],
}
TABLE_NAMES: Final = tuple(COLUMNS)


class StoreDamagedError(StorageError):
    """The file is not what it was: it has to be set aside and what is left of it taken over."""


def prepare(connection: Any, path: str) -> None:
    """Create the tables, or bring an older store to this version. Raises StorageError for a newer one."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    if version > VERSION:
        raise StorageError(
            f"{path} was written by a later version (store {version}, this reads {VERSION})", hint="update reflexarc"
        )
    if version:
        _migrate(path)
        return
    # EXTRA while creating: the switch to WAL is the one moment a power cut could undo the whole file.
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    # On the first page, which every write-ahead log has too: it tells one store's from another's.
    connection.execute(f"PRAGMA application_id={int(secrets.token_hex(4), 16) % (2**31 - 1) + 1}")
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    for statement in TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _migrate(path: str) -> None:
    """Bring an older store to this version. sqlite-utils' own ledger in the file says which steps have run."""
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    steps = Migrations("reflexarc_store")

    @steps()
    def second(database: Database) -> None:
        database.table("log").add_column("priority", int, not_null_default=1)
        database.table("pending").add_column("seq", int, not_null_default=0)
        for name in ("taken", "dead", "erased"):
            database.execute(_create(name))
        # The kept state has another form now; the log, which this version never cut, gives it back.
        database.execute("DELETE FROM subjects")
        database.execute("DELETE FROM meta WHERE name = 'snapshot'")

    database = Database(path)
    steps.apply(database)
    database.execute(f"PRAGMA user_version={VERSION}")
    database.close()


def _create(table: str) -> str:
    return next(statement for statement in TABLES.split(";") if statement.strip().startswith(f"CREATE TABLE {table} "))


def check(connection: Any, path: str, *, is_cut_off: bool) -> None:
    """Raises StoreDamagedError, or the library's own error, where a store is not as it was made.

    is_cut_off: the file ended within a page before it was opened. What a page lacks at its end reads as zeros: rows that
    nothing misses, for SQLite does not look at their order while it reads.
    """
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    missing = sorted(set(TABLE_NAMES) - names)
    if missing:
        raise StoreDamagedError(f"{path} lacks the table {missing[0]}")
    for table, columns in COLUMNS.items():
        if [row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()] != columns:
            raise StoreDamagedError(f"the table {table} of {path} has other columns")
    # What every start needs: where a page of it has rotted, it is known now.
    for table in ("meta", "catalogs", "pending", "taken", "erased"):
        connection.execute(f"SELECT * FROM {table}").fetchall()
    for end in ("min", "max"):
        connection.execute(f"SELECT {end}(seq) FROM log").fetchall()
    if is_cut_off and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise StoreDamagedError(f"{path} ends in the middle of a page")
