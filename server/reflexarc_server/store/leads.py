"""The table of leads: what people sent by forms, the one place of the server that holds what they typed.

Owns its SQL. Times in ms. A lead that is complete stays as it was sent; one that is partial is replaced by what comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from reflexarc_server.store.sqlite import SqliteStore

Run = Callable[[str, Sequence[Any]], Any]
_COLUMNS = "lead_id, form_id, subject, state, body, create_time, change_time"


class LeadRow(NamedTuple):
    """One lead. state: `partial` (not sent, or with mistakes), `complete`, `spam`. body: JSON of what was typed and what is
    known."""

    lead_id: str
    form_id: str
    subject: str
    state: str
    body: bytes
    create_time: int
    change_time: int


class LeadTable:
    """Leads of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def of(self, lead_id: str) -> LeadRow | None:
        """One lead."""
        rows = self._store.ask(f"SELECT {_COLUMNS} FROM leads WHERE lead_id = ?", (lead_id,))
        return LeadRow(*rows[0]) if rows else None

    def newest(self, form_id: str = "", state: str = "", count_max: int = 100) -> list[LeadRow]:
        """The newest first; empty: of every form, in every state."""
        rows = self._store.ask(
            f"SELECT {_COLUMNS} FROM leads WHERE (?1 = '' OR form_id = ?1) AND (?2 = '' OR state = ?2)"
            " ORDER BY change_time DESC, lead_id LIMIT ?3",
            (form_id, state, count_max),
        )
        return [LeadRow(*row) for row in rows]


def keep(run: Run, row: LeadRow) -> bool:
    """Keep a lead as it is now; False when it is complete already, and nothing was changed."""
    changed = run(
        f"INSERT INTO leads ({_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (lead_id) DO UPDATE"
        " SET state = ?4, body = ?5, change_time = ?7, subject = ?3 WHERE leads.state <> 'complete'",
        tuple(row),
    )
    return bool(changed.rowcount)


def forget(run: Run, subject: str, upto: int) -> None:
    """No lead of this subject from until then is left."""
    run("DELETE FROM leads WHERE subject = ? AND create_time <= ?", (subject, upto))
