"""The table of the outbox: what has to go out, what could not, and the keys of what went.

Owns its SQL. Times in ms. A row that was sent keeps nothing but its key: no body, no subject, no order. Must never decide when
something is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from reflexarc_server.store.sqlite import SqliteStore

OPEN, SENT, DEAD = 0, 1, 2
STATES: Final = ("open", "sent", "dead")
_WAITING: Final = "row, channel, key, turn, subject, body, put_time, since_time, expire_time, tries"
_KEYS_AT_ONCE: Final = 500
_DUE: Final = (
    f"SELECT {_WAITING} FROM outbox o WHERE channel = ?1 AND state = 0 AND due_time <= ?2 AND (turn = '' OR NOT EXISTS"
    " (SELECT 1 FROM outbox e WHERE e.state = 0 AND e.channel = ?1 AND e.turn = o.turn AND e.row < o.row))"
    " ORDER BY due_time, row LIMIT ?3"
)
Run = Callable[[str, Sequence[Any]], Any]


class Waiting(NamedTuple):
    """One that is not sent. since_time: from when its age counts; tries: attempts that failed since then."""

    row: int
    channel: str
    key: str
    order: str
    subject: str
    body: bytes
    put_time: int
    since_time: int
    expire_time: int
    tries: int


class DeadLetter(NamedTuple):
    """One that is not tried any more. end_time: since when; reason: why."""

    row: int
    channel: str
    key: str
    put_time: int
    end_time: int
    tries: int
    reason: str


class Way(NamedTuple):
    """What became of a message on a channel. state: one of STATES. end_time: when it was sent or given up, 0 for not yet."""

    channel: str
    row: int
    state: str
    put_time: int
    end_time: int
    tries: int
    reason: str


class OutboxTable:
    """The outbox of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def due(self, channel: str, now: int, count_max: int) -> list[Waiting]:
        """As `due` in a transaction, of what is committed."""
        return [Waiting(*row) for row in self._store.ask(_DUE, (channel, now, count_max))]

    def next_due(self, channel: str, now: int) -> int:
        """The first time behind now at which one is due, 0 for never."""
        rows = self._store.ask(
            "SELECT coalesce(min(due_time), 0) FROM outbox WHERE channel = ? AND state = 0 AND due_time > ?", (channel, now)
        )
        return int(rows[0][0])

    def dead(self, channel: str, after: int, count_max: int) -> list[DeadLetter]:
        """Dead letters behind a row, oldest first; of every channel when it is empty."""
        rows = self._store.ask(
            "SELECT row, channel, key, put_time, end_time, tries, reason FROM outbox"
            " WHERE state = 2 AND row > ?1 AND (?2 = '' OR channel = ?2) ORDER BY row LIMIT ?3",
            (after, channel, count_max),
        )
        return [DeadLetter(*row) for row in rows]

    def ways(self, channels: Sequence[str], keys: Sequence[str]) -> dict[str, list[Way]]:
        """Key -> what became of it on each of these channels, where it is known."""
        found: dict[str, list[Way]] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            of_channels, of_keys = (", ".join("?" * len(each)) for each in (channels, some))
            rows = self._store.ask(
                "SELECT key, channel, row, state, put_time, end_time, tries, reason FROM outbox"
                f" WHERE channel IN ({of_channels}) AND key IN ({of_keys}) ORDER BY channel",
                (*channels, *some),
            )
            for key, channel, row, state, *more in rows:
                found.setdefault(key, []).append(Way(channel, row, STATES[state], *more))
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """Channel -> state (`open`, `sent`, `dead`) -> how many."""
        counted: dict[str, dict[str, int]] = {}
        for channel, state, count in self._store.ask("SELECT channel, state, count(*) FROM outbox GROUP BY channel, state"):
            counted.setdefault(str(channel), dict.fromkeys(STATES, 0))[STATES[state]] = int(count)
        return counted

    def oldest(self) -> dict[str, int]:
        """Channel -> when the oldest that is not sent was put."""
        return dict(self._store.ask("SELECT channel, min(put_time) FROM outbox WHERE state = 0 GROUP BY channel"))


def add(run: Run, row: Waiting) -> bool:
    """Keep one, its number is the table's to give; False when the channel knows its key."""
    added = run(
        "INSERT OR IGNORE INTO outbox (channel, key, turn, subject, body, put_time, since_time, expire_time, due_time)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?6)",
        (row.channel, row.key, row.order, row.subject, row.body, row.put_time, row.expire_time),
    )
    return bool(added.rowcount)


def due(run: Run, channel: str, now: int, count_max: int) -> list[Waiting]:
    """Those that may be tried: none of them has an older one of its order that waits."""
    return [Waiting(*row) for row in run(_DUE, (channel, now, count_max))]


def sent(run: Run, row: int, now: int) -> None:
    """The other side has it: only the key stays."""
    run(
        "UPDATE outbox SET state = 1, end_time = ?2, body = x'', subject = '', turn = '', reason = ''"
        " WHERE row = ?1 AND state = 0",
        (row, now),
    )


def postpone(run: Run, row: int, due_time: int, reason: str) -> None:
    """It is tried again then."""
    run("UPDATE outbox SET tries = tries + 1, due_time = ?2, reason = ?3 WHERE row = ?1 AND state = 0", (row, due_time, reason))


def bury(run: Run, row: int, now: int, reason: str) -> None:
    """It is not tried any more."""
    run("UPDATE outbox SET state = 2, end_time = ?2, reason = ?3 WHERE row = ?1 AND state = 0", (row, now, reason))


def revive(run: Run, now: int, channel: str, rows: Sequence[int]) -> int:
    """Dead letters wait again, those of a channel and of these rows; empty: of all. How many."""
    marks = ", ".join("?" * len(rows))
    chosen = f" AND row IN ({marks})" if rows else ""
    changed = run(
        "UPDATE outbox SET state = 0, end_time = 0, tries = 0, due_time = ?, since_time = ?, expire_time = 0"
        f" WHERE state = 2 AND (? = '' OR channel = ?){chosen}",
        (now, now, channel, channel, *rows),
    )
    return int(changed.rowcount)


def forget(run: Run, subject: str, upto: int) -> None:
    """Nothing about this subject that was put until then is left."""
    run("DELETE FROM outbox WHERE subject = ? AND put_time <= ?", (subject, upto))


def forget_keys(run: Run, before: int) -> int:
    """Keys of what was sent before then; how many."""
    return int(run("DELETE FROM outbox WHERE state = 1 AND end_time < ?", (before,)).rowcount)
