"""The table of deliveries: decisions of server triggers on their way to the one device that will hand each over.

Owns its SQL. Times in ms; `taken_time` 0 while the server still owes it. Must never decide who gets what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reflexarc_server.store.sqlite import SqliteStore

_OPEN = "SELECT decision_id, subject, expire_time, installation, given_time FROM deliveries WHERE taken_time = 0"
_SUBJECTS_AT_ONCE = 500


class Delivery(NamedTuple):
    """One that is not settled. installation: whom it is addressed to, empty for nobody yet; given_time: 0 until it was sent."""

    decision_id: str
    subject: str
    expire_time: int
    installation: str
    given_time: int


class DeliveryTable:
    """Deliveries of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def addressed(self, installation: str) -> list[Delivery]:
        """Open ones addressed to this installation."""
        return [Delivery(*row) for row in self._store.ask(f"{_OPEN} AND installation = ? ORDER BY decision_id", (installation,))]

    def of_subjects(self, subjects: Sequence[str]) -> list[Delivery]:
        """Open ones about these subjects that were given to nobody yet."""
        found: list[Delivery] = []
        for start in range(0, len(subjects), _SUBJECTS_AT_ONCE):
            part = tuple(subjects[start : start + _SUBJECTS_AT_ONCE])
            marks = ", ".join("?" * len(part))
            found += [Delivery(*row) for row in self._store.ask(f"{_OPEN} AND given_time = 0 AND subject IN ({marks})", part)]
        return found

    def open(self) -> list[Delivery]:
        """All that are not settled."""
        return [Delivery(*row) for row in self._store.ask(_OPEN, ())]

    def over(self, now: int) -> list[Delivery]:
        """Those that nobody was given and that are over."""
        return [Delivery(*row) for row in self._store.ask(f"{_OPEN} AND given_time = 0 AND expire_time <= ?", (now,))]

    def body(self, decision_id: str) -> bytes | None:
        """The decision's first record as it is in the log; None when it was erased."""
        rows = self._store.ask("SELECT body FROM log WHERE kind = 16 AND record_id = ?", (f"{decision_id}/0",))
        return bytes(rows[0][0]) if rows else None

    def holder(self, subjects: Sequence[str]) -> str:
        """The installation that captured the newest event of one of them, unless that was the end of a session; else empty."""
        self._store.index()
        marks = ", ".join("?" * len(subjects))
        rows = self._store.ask(
            "SELECT l.installation, l.event_type FROM by_subject b JOIN log l ON l.server_seq = b.server_seq"
            f" WHERE b.subject IN ({marks}) AND l.incarnation <> '' ORDER BY b.server_seq DESC LIMIT 1",
            tuple(subjects),
        )
        return str(rows[0][0]) if rows and rows[0][1] != "reset" else ""


def add(run: Any, decision_id: str, subject: str, expire_time: int) -> None:
    """A decision is to be delivered; the same one again changes nothing."""
    run(
        "INSERT OR IGNORE INTO deliveries (decision_id, subject, expire_time, installation) VALUES (?, ?, ?, '')",
        (decision_id, subject, expire_time),
    )


def address(run: Any, decision_id: str, installation: str) -> None:
    """Say whom it is for."""
    run("UPDATE deliveries SET installation = ? WHERE decision_id = ? AND given_time = 0", (installation, decision_id))


def give(run: Any, decision_id: str, installation: str, now: int) -> bool:
    """Give it to this installation; False when another one has it."""
    changed = run(
        "UPDATE deliveries SET installation = ?1, given_time = CASE given_time WHEN 0 THEN ?3 ELSE given_time END"
        " WHERE decision_id = ?2 AND (given_time = 0 OR installation = ?1)",
        (installation, decision_id, now),
    )
    return bool(changed.rowcount)


def take(run: Any, decision_id: str, installation: str, now: int) -> bool:
    """This installation has it in its log: it is owed no more. False when it was never given to it."""
    changed = run(
        "UPDATE deliveries SET taken_time = CASE taken_time WHEN 0 THEN ?3 ELSE taken_time END"
        " WHERE decision_id = ?1 AND installation = ?2 AND given_time > 0",
        (decision_id, installation, now),
    )
    return bool(changed.rowcount)


def hand(run: Any, decision_id: str, installation: str, handed_time: int) -> None:
    """This installation has handed it over; nothing for a decision that is none of the server's."""
    run(
        "UPDATE deliveries SET handed_time = ? WHERE decision_id = ? AND installation = ? AND handed_time = 0",
        (handed_time, decision_id, installation),
    )


def acknowledge(run: Any, decision_id: str, installation: str, now: int) -> bool:
    """This installation has it and keeps no log: taken and handed over at once. False when it was said before, or never given."""
    changed = run(
        "UPDATE deliveries SET taken_time = ?3, handed_time = ?3"
        " WHERE decision_id = ?1 AND installation = ?2 AND given_time > 0 AND taken_time = 0",
        (decision_id, installation, now),
    )
    return bool(changed.rowcount)


def close(run: Any, decision_id: str, now: int) -> bool:
    """Nobody will be given it any more; False when somebody was."""
    changed = run("UPDATE deliveries SET taken_time = ? WHERE decision_id = ? AND given_time = 0", (now, decision_id))
    return bool(changed.rowcount)
