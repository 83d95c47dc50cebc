"""The table of links: who is who, said by whom and when. Rows are added, never changed; undoing is a row of its own.

Owns its SQL. Only an erasure takes rows out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from reflexarc_server.store.port import Transaction
from reflexarc_server.store.sqlite import SqliteStore

_COLUMNS: Final = "row, link_id, is_undo, subject, known, said_time, said_by"


class LinkRow(NamedTuple):
    """One row. said_time: the server's, ms. said_by: an installation, `track` for a service, `operator`."""

    row: int
    link_id: str
    is_undo: bool
    subject: str
    known: str
    said_time: int
    said_by: str


class LinkTable:
    """Links of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def rows(self, *, after: int = 0, upto: int = 2**62, of: str = "") -> list[LinkRow]:
        """Rows behind one and up to another, all or those of one linked subject, in the order in which they were said."""
        query = f"SELECT {_COLUMNS} FROM links WHERE row > ?1 AND row <= ?2 AND (?3 = '' OR subject = ?3) ORDER BY row"
        found = self._store.ask(query, (after, upto, of))
        return [LinkRow(row, link_id, bool(undo), *rest) for row, link_id, undo, *rest in found]

    def installation_of(self, server_seq: int) -> str:
        """Who sent a record."""
        rows = self._store.ask("SELECT installation FROM log WHERE server_seq = ?", (server_seq,))
        return str(rows[0][0]) if rows else ""


def add(transaction: Transaction, said: LinkRow) -> bool:
    """Add a row, its number is the table's to give; False when the same was said before."""
    added = transaction.run(
        "INSERT OR IGNORE INTO links (link_id, is_undo, subject, known, said_time, said_by) VALUES (?, ?, ?, ?, ?, ?)",
        (said.link_id, int(said.is_undo), said.subject, said.known, said.said_time, said.said_by),
    )
    return bool(added.rowcount)
