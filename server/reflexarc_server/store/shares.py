"""The tables of shares: who passed what on, from whom it came, who came by it.

Owns their SQL. A share names the one before it, which was there first: there are no cycles. Must never decide what counts.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from reflexarc_server.store.sqlite import SqliteStore

VISIT: Final = "visit"
LANDING: Final = "landing"
"""A visit that a page told of, with whom it was."""
CONVERSION: Final = "conversion"


class ShareRow(NamedTuple):
    """One share. parent_id: the share it came by, empty for none. subject: empty when its person was erased."""

    share_id: str
    parent_id: str
    subject: str
    content_id: str
    url: str
    depth: int
    made_time: int


_SHARE: Final = ", ".join(ShareRow._fields)


def one(run: Any, share_id: str) -> ShareRow | None:
    """A share by its id."""
    row = run(f"SELECT {_SHARE} FROM shares WHERE share_id = ?", (share_id,)).fetchone()
    return ShareRow(*row) if row else None


def look_up(store: SqliteStore, share_id: str) -> ShareRow | None:
    """As `one`, outside a transaction."""
    rows = store.ask(f"SELECT {_SHARE} FROM shares WHERE share_id = ?", (share_id,))
    return ShareRow(*rows[0]) if rows else None


def same(run: Any, subject: str, content_id: str, url: str, parent_id: str) -> ShareRow | None:
    """The share that says the same already."""
    row = run(
        f"SELECT {_SHARE} FROM shares WHERE subject = ? AND content_id = ? AND url = ? AND parent_id = ?",
        (subject, content_id, url, parent_id),
    ).fetchone()
    return ShareRow(*row) if row else None


def add(run: Any, row: ShareRow) -> None:
    """Keep a share."""
    run(f"INSERT INTO shares ({_SHARE}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def chain(store: SqliteStore, share_id: str, steps_max: int) -> list[ShareRow]:
    """A share and those it came by, nearest first, at most that many steps up."""
    found: list[ShareRow] = []
    while share_id and len(found) <= steps_max:
        row = look_up(store, share_id)
        if row is None:
            break
        found.append(row)
        share_id = row.parent_id
    return found


def add_visit(run: Any, share_id: str, visitor: str, kind: str, visit_time: int) -> bool:
    """False when it is counted already."""
    return bool(run("INSERT OR IGNORE INTO share_visits VALUES (?, ?, ?, ?)", (share_id, visitor, kind, visit_time)).rowcount)


def last_landing(run: Any, visitors: tuple[str, ...], since: int, until: int) -> str:
    """The share by which one of these subjects came last, empty for none."""
    marks = ", ".join("?" * len(visitors))
    row = run(
        f"SELECT share_id FROM share_visits WHERE visitor IN ({marks}) AND kind = '{LANDING}' AND visit_time BETWEEN ? AND ?"
        " ORDER BY visit_time DESC, share_id LIMIT 1",
        (*visitors, since, until),
    ).fetchone()
    return str(row[0]) if row else ""


def of_content(store: SqliteStore, content_id: str, count_max: int) -> list[ShareRow]:
    """Shares of a content, oldest first and parents before children; of everything when it is empty."""
    query = f"SELECT {_SHARE} FROM shares WHERE ?1 IN ('', content_id) ORDER BY made_time, depth, share_id LIMIT ?2"
    return [ShareRow(*row) for row in store.ask(query, (content_id, count_max))]


def visits_of(store: SqliteStore, content_id: str) -> list[tuple[str, str, int]]:
    """(share, kind, time in ms) of visits and conversions of a content's shares."""
    query = (
        "SELECT v.share_id, v.kind, v.visit_time FROM share_visits v JOIN shares s ON s.share_id = v.share_id"
        f" WHERE ?1 IN ('', s.content_id) AND v.kind IN ('{VISIT}', '{CONVERSION}')"
    )
    return [(str(share_id), str(kind), int(time)) for share_id, kind, time in store.ask(query, (content_id,))]


def forget(run: Any, subject: str) -> None:
    """The shares stay, so that those behind them keep their place; whose they were does not."""
    run("UPDATE shares SET subject = '' WHERE subject = ?", (subject,))
    run("DELETE FROM share_visits WHERE visitor = ?", (subject,))
