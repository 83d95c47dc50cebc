"""Events by subject: an index beside the log, filled behind the answer to the sender.

Subjects come in any order, so an entry for each event would dirty a page of its own, and that was half of what storing an event
cost. Only the reports ask by subject; they bring the index up to the log first, and the fold keeps it near. Owns the table
`by_subject` and how far it reaches. Must never be what a sender waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

STEP: Final = 1_000
"""Records of the log taken in one transaction: a few milliseconds in which nobody else writes."""
REACHES: Final = "by_subject"
"""Name of the kept value: the newest record that is indexed."""


def advance(execute: Callable[..., Any], after: int, last: int) -> int:
    """Index events behind record `after`, at most STEP records and none behind `last`; the newest record that is indexed then."""
    upto = min(after + STEP, last)
    execute(
        "INSERT OR IGNORE INTO by_subject SELECT subject, server_seq, event_type, event_time FROM log"
        " WHERE server_seq > ? AND server_seq <= ? AND kind = 1",
        (after, upto),
    )
    return upto


def reached_query(event_types: Sequence[str]) -> str:
    """Whether a subject has one of these events: parameters subject, the types, after, until."""
    marks = ", ".join("?" * len(event_types))
    return (
        f"SELECT 1 FROM by_subject WHERE subject = ? AND event_type IN ({marks}) AND event_time > ? AND event_time <= ? LIMIT 1"
    )


EVENT_COUNTS: Final = (
    "SELECT event_type, count(*), min(event_time), max(event_time) FROM by_subject GROUP BY event_type ORDER BY 1"
)


def events_query(subject_count: int) -> str:
    """Events of so many subjects up to a record, in log order: parameters the subjects, then the last record's number."""
    marks = ", ".join("?" * subject_count)
    return (
        "SELECT l.receive_time, l.body FROM by_subject b JOIN log l ON l.server_seq = b.server_seq"
        f" WHERE b.subject IN ({marks}) AND b.server_seq <= ? ORDER BY b.server_seq"
    )


FIRED: Final = (
    "SELECT trigger_id, max(decision_time) FROM decisions WHERE subject = ? AND placement = 'server'"
    " AND reason IN ('FIRED', 'HOLDOUT') GROUP BY trigger_id"
)
"""A subject's newest use of each server trigger's cooldown."""
