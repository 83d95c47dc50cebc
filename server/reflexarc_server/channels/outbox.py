"""The outbox: whatever has to reach somebody else's system stands in the server's store until it is there.

Whoever has something to send puts it in the transaction that says why (a decision, a lead), so there is never one without the
other. Behind that, each channel's lane sends: at least once, always under the same key, one at a time where the order matters;
what cannot be reached is tried for a week, what is refused becomes a dead letter that an operator can look at and replay. Owns
what is promised; the trying is the lane's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_server.chance import CHANCE
from reflexarc_server.channels.backoff import Draw
from reflexarc_server.channels.channel import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.channels.endings import Endings
from reflexarc_server.channels.lane import Lane
from reflexarc_server.clock import Clock
from reflexarc_server.store import outbox as table
from reflexarc_server.store.outbox import DeadLetter, OutboxTable, Waiting, Way
from reflexarc_server.store.sqlite import SqliteStore

WORKERS: Final = 8
KEYS_KEPT_MS: Final = 30 * 86_400_000
"""So long a key is known after its message was sent."""
BODY_BYTES_MAX: Final = 1_048_576
LISTED_MAX: Final = 1_000
_encode: Final = msgspec.json.Encoder().encode


class Outbox:
    """One server's. Channels are added before `start`. Safe to call from several threads.

    draw: a number between two, evenly, for pauses.
    """

    def __init__(self, store: SqliteStore, clock: Clock, draw: Draw = CHANCE.uniform) -> None:
        self._store = store
        self._clock = clock
        self._draw = draw
        self._table = OutboxTable(store)
        self._endings = Endings(store)
        self._lanes: dict[str, Lane] = {}
        self._forgot_at = 0

    def add(self, channel: Channel, workers: int = WORKERS) -> None:
        """Have a channel; workers: messages that may be under way at once. Raises DefinitionError for a name that is taken."""
        if channel.name in self._lanes:
            raise DefinitionError(f"two channels are named {channel.name}", hint="give one of them another name")
        self._lanes[channel.name] = Lane(channel, self._store, self._clock, self._draw, workers, self._endings)

    @property
    def channels(self) -> frozenset[str]:
        """Names of the channels it has."""
        return frozenset(self._lanes)

    def put(self, run: Callable[[str, Sequence[Any]], Any], outgoing: Outgoing) -> bool:
        """Keep a message, in the caller's transaction (`run`: that transaction's): it goes out soon after that is committed,
        and not at all when it is not. False when the channel knows its key, and nothing was changed.

        Raises DefinitionError for a channel that is not there, an empty key or a body that is no JSON or too long, StorageError.
        """
        lane = self._lanes.get(outgoing.channel)
        if lane is None:
            raise DefinitionError(f"there is no channel {outgoing.channel}", hint=f"there are: {', '.join(sorted(self._lanes))}")
        if not outgoing.key:
            raise DefinitionError("a message without a key", hint="say what makes it the same message on a second attempt")
        try:
            body = _encode(outgoing.body)
        except (TypeError, ValueError):
            raise DefinitionError("a message that is no JSON", hint="text, numbers, lists and mappings of them") from None
        if len(body) > BODY_BYTES_MAX:
            raise DefinitionError(f"a message of {len(body):,} bytes", hint=f"at most {BODY_BYTES_MAX:,}")
        now = self._clock.now_ms()
        kept = table.add(
            run,
            Waiting(0, outgoing.channel, outgoing.key, outgoing.order, outgoing.subject, body, now, now, outgoing.expire_time, 0),
        )
        if kept:
            lane.wake()
        return kept

    # -- sending --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send, with what an earlier run left."""
        for lane in self._lanes.values():
            lane.start()

    def stop(self) -> None:
        """Stop sending; what is left goes out when the server runs again."""
        for lane in self._lanes.values():
            lane.stop()

    def wake(self) -> None:
        """The time has moved: look what is due."""
        for lane in self._lanes.values():
            lane.wake()

    def work(self) -> int:
        """Try everything that is due now, on this thread, for an outbox that was not started; how many attempts were made."""
        made, before = 0, -1
        while made != before:
            before = made
            made += sum(lane.work() for lane in self._lanes.values())
        return made

    def tidy(self) -> bool:
        """Forget the keys of what was sent long ago, once an hour; whether there were any."""
        now = self._clock.now_ms()
        if now - self._forgot_at < 3_600_000:
            return False
        self._forgot_at = now
        with self._store.transaction() as transaction:
            return table.forget_keys(transaction.run, now - KEYS_KEPT_MS) > 0

    # -- for operators --------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, dict[str, int]]:
        """Channel -> state (`open`, `sent` in the last 30 days, `dead`) -> how many; also channels that are there no more."""
        none = dict.fromkeys(table.STATES, 0)
        return {name: dict(none) for name in sorted(self._lanes)} | self._table.counts()

    def oldest(self) -> dict[str, int]:
        """Channel -> when (ms) the oldest message that waits was put."""
        return self._table.oldest()

    def ways(self, keys: Sequence[str]) -> dict[str, list[Way]]:
        """Key -> what became of that message on each channel; nothing where no channel knows it, or no more."""
        return self._table.ways(sorted(self.counts()), keys)

    def dead_letters(self, channel: str = "", after: int = 0, count_max: int = LISTED_MAX) -> list[DeadLetter]:
        """Dead letters behind that row, oldest first; of all channels when none is named. Raises InvalidEventError for a channel
        that is not there and of which nothing is left."""
        self._check(channel)
        return self._table.dead(channel, after, min(count_max, LISTED_MAX))

    def replay(self, channel: str = "", rows: Sequence[int] = ()) -> int:
        """Let dead letters wait again, under their old keys; how many.

        All of a channel, or those of these rows (at most 500), or all there are. What was behind one in its order is gone out
        meanwhile. Raises InvalidEventError as `dead_letters`.
        """
        self._check(channel)
        with self._store.transaction() as transaction:
            count = table.revive(transaction.run, self._clock.now_ms(), channel, rows[:500])
        self.wake()
        return count

    def _check(self, channel: str) -> None:
        known = self.counts() if channel else {}
        if channel and channel not in known:
            hint = f"there are: {', '.join(sorted(known))}" if known else "the site file names none (docs/channels.md)"
            raise InvalidEventError(f"there is no channel {channel[:80]!r}", hint=hint)


__all__ = ["Channel", "Outbox", "Outgoing", "Refused", "Unreachable"]
