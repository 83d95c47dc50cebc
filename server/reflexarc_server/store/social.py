"""The tables of social posts: deliveries seen, cases that somebody has to look at, responses on their way.

Owns their SQL. Must never decide what is urgent, or what is answered.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from reflexarc_server.store.sqlite import SqliteStore

OPEN: Final = "open"
NOTED: Final = "noted"
"""Below every level: kept for a while, because the next one of the same author weighs more."""
ACKNOWLEDGED: Final = "acknowledged"
UNANSWERED: Final = "unanswered"
"""Every level's time passed."""

PROPOSED: Final = "proposed"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"
SENDING: Final = "sending"
SENT: Final = "sent"
UNCLEAR: Final = "unclear"
"""It was handed to the platform, and no answer came: it may stand there. Only a person can tell."""
FAILED: Final = "failed"


class CaseRow(NamedTuple):
    """One case. reasons: a line each. level: from 0. deadline: ms, 0 where nobody waits any more."""

    case_id: str
    subject: str
    platform: str
    url: str
    text: str
    severity: float
    reasons: str
    state: str
    level: int
    open_time: int
    deadline: int
    done_by: str = ""
    done_time: int = 0


class ResponseRow(NamedTuple):
    """One response. original: what it answers. detail: the id the platform gave it, or why it was not posted."""

    response_id: str
    rule: str
    subject: str
    platform: str
    account: str
    post_id: str
    original: str
    text: str
    state: str
    made_time: int
    done_by: str = ""
    done_time: int = 0
    detail: str = ""


_CASE: Final = ", ".join(CaseRow._fields)
_RESPONSE: Final = ", ".join(ResponseRow._fields)


def is_seen(store: SqliteStore, digest: str) -> bool:
    """Whether a delivery with these bytes was taken before."""
    return bool(store.ask("SELECT 1 FROM social_seen WHERE digest = ?", (digest,)))


def see(run: Any, digest: str, now: int, keep_ms: int) -> None:
    """Remember a delivery, and forget those that are too old to be taken again anyway."""
    run("INSERT OR IGNORE INTO social_seen VALUES (?, ?)", (digest, now))
    run("DELETE FROM social_seen WHERE receive_time < ?", (now - keep_ms,))


def earlier(run: Any, subject: str, since: int, but: str) -> int:
    """How many cases an author has since then (ms), this one left out."""
    query = "SELECT count(*) FROM social_cases WHERE subject = ? AND open_time >= ? AND case_id <> ?"
    return int(run(query, (subject, since, but)).fetchone()[0])


def add_case(run: Any, row: CaseRow) -> bool:
    """False when it is there already."""
    marks = ", ".join("?" * len(row))
    return bool(run(f"INSERT OR IGNORE INTO social_cases ({_CASE}) VALUES ({marks})", row).rowcount)


def due_cases(store: SqliteStore, now: int, count_max: int) -> list[CaseRow]:
    """Open cases whose time at their level is over."""
    query = f"SELECT {_CASE} FROM social_cases WHERE deadline > 0 AND deadline <= ? ORDER BY deadline LIMIT ?"
    return [CaseRow(*row) for row in store.ask(query, (now, count_max))]


def move_case(run: Any, row: CaseRow, state: str, level: int, deadline: int) -> bool:
    """To another level, if nobody acknowledged it in between."""
    query = "UPDATE social_cases SET state = ?, level = ?, deadline = ? WHERE case_id = ? AND state = ? AND level = ?"
    return bool(run(query, (state, level, deadline, row.case_id, row.state, row.level)).rowcount)


def acknowledge(run: Any, case_id: str, by: str, now: int) -> bool:
    """Somebody looks at it: no further level is told. False when nobody is waited for."""
    query = "UPDATE social_cases SET state = ?, deadline = 0, done_by = ?, done_time = ? WHERE case_id = ? AND state IN (?, ?)"
    return bool(run(query, (ACKNOWLEDGED, by, now, case_id, OPEN, UNANSWERED)).rowcount)


def drop_noted(run: Any, before: int) -> bool:
    """Forget what was below every level and is too old to weigh."""
    return bool(run("DELETE FROM social_cases WHERE state = ? AND open_time < ?", (NOTED, before)).rowcount)


def has_old_noted(store: SqliteStore, before: int) -> bool:
    """Whether there is something for `drop_noted`."""
    return bool(store.ask("SELECT 1 FROM social_cases WHERE state = ? AND open_time < ? LIMIT 1", (NOTED, before)))


def cases(store: SqliteStore, states: tuple[str, ...], case_id: str = "") -> list[CaseRow]:
    """Cases of these states, or the one, newest first."""
    marks = ", ".join("?" * len(states))
    query = (
        f"SELECT {_CASE} FROM social_cases WHERE (state IN ({marks}) AND ? = '') OR case_id = ?"
        " ORDER BY open_time DESC LIMIT 1000"
    )
    return [CaseRow(*row) for row in store.ask(query, (*states, case_id, case_id))]


def add_response(run: Any, row: ResponseRow) -> bool:
    """False when it is there already."""
    marks = ", ".join("?" * len(row))
    return bool(run(f"INSERT OR IGNORE INTO social_responses ({_RESPONSE}) VALUES ({marks})", row).rowcount)


def answered_since(run: Any, subject: str, rule: str, since: int) -> bool:
    """Whether the rule has answered this author since then (ms), or proposed to."""
    query = "SELECT 1 FROM social_responses WHERE subject = ? AND rule = ? AND made_time > ? LIMIT 1"
    return run(query, (subject, rule, since)).fetchone() is not None


def responses(store: SqliteStore, states: tuple[str, ...], response_id: str = "") -> list[ResponseRow]:
    """Responses of these states, or the one, oldest first."""
    marks = ", ".join("?" * len(states))
    query = (
        f"SELECT {_RESPONSE} FROM social_responses WHERE (state IN ({marks}) AND ? = '') OR response_id = ?"
        " ORDER BY made_time LIMIT 1000"
    )
    return [ResponseRow(*row) for row in store.ask(query, (*states, response_id, response_id))]


def move_response(run: Any, response_id: str, froms: tuple[str, ...], to: str, by: str, now: int, detail: str = "") -> bool:
    """To another state, if it is in one of `froms`."""
    marks = ", ".join("?" * len(froms))
    query = (
        "UPDATE social_responses SET state = ?, done_time = ?, detail = ?, done_by = CASE WHEN ? = '' THEN done_by ELSE ? END"
        f" WHERE response_id = ? AND state IN ({marks})"
    )
    return bool(run(query, (to, now, detail, by, by, response_id, *froms)).rowcount)


def forget(run: Any, subject: str) -> None:
    """Nothing of this person is kept."""
    for table in ("social_cases", "social_responses"):
        run(f"DELETE FROM {table} WHERE subject = ?", (subject,))
