"""The tables of leases: what was given out of a global cap, and what was used of it.

Owns their SQL. subject: as the device calls the person; links come and go. Must never decide how much anybody gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class LeaseRow(NamedTuple):
    """One lease. used: uses of it that were reported."""

    lease_id: str
    installation: str
    tokens: int
    expire_time: int
    used: int

    @property
    def unreported(self) -> int:
        """Uses that were given and of which nothing was heard."""
        return max(0, self.tokens - self.used)


def of(run: Any, subjects: Sequence[str], cap: str, since: int) -> list[LeaseRow]:
    """A person's leases of a cap that ended after `since` (ms), or have not. subjects: every name of that person."""
    marks = ", ".join("?" * len(subjects))
    rows = run(
        "SELECT l.lease_id, l.installation, l.tokens, l.expire_time,"
        " (SELECT count(*) FROM lease_uses u WHERE u.lease_id = l.lease_id AND u.cap = l.cap)"
        f" FROM leases l WHERE l.subject IN ({marks}) AND l.cap = ? AND l.expire_time > ? ORDER BY l.lease_id",
        (*subjects, cap, since),
    )
    return [LeaseRow(*row) for row in rows]


def used_since(run: Any, subjects: Sequence[str], cap: str, since: int) -> int:
    """How often the person's cap was used after `since` (ms), on whatever device."""
    marks = ", ".join("?" * len(subjects))
    (count,) = run(
        f"SELECT count(*) FROM lease_uses WHERE subject IN ({marks}) AND cap = ? AND use_time > ?", (*subjects, cap, since)
    ).fetchone()
    return int(count)


def give(run: Any, lease_id: str, cap: str, subject: str, installation: str, tokens: int, expire_time: int) -> None:
    """A lease, or what is true of it now."""
    run(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (lease_id) DO UPDATE"
        " SET tokens = excluded.tokens, expire_time = excluded.expire_time",
        (lease_id, cap, subject, installation, tokens, expire_time),
    )


def use(run: Any, decision_id: str, lease_id: str, cap: str, subject: str, use_time: int) -> None:
    """A device reported a use; the same one again changes nothing."""
    run("INSERT OR IGNORE INTO lease_uses VALUES (?, ?, ?, ?, ?)", (decision_id, lease_id, cap, subject, use_time))


def forget(run: Any, subject: str) -> None:
    """Nothing of this person is kept."""
    run("DELETE FROM leases WHERE subject = ?", (subject,))
    run("DELETE FROM lease_uses WHERE subject = ?", (subject,))
