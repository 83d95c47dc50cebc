"""A lane: the threads that bring one channel's messages out of the outbox, one attempt at a time.

Owns which message is tried next and what becomes of it. A message is in the store until the other side has it, and an attempt
that nobody saw the end of is made again: at least once, under the same key. Never holds the store while somebody else's system is
asked. Lock order: the lane's, then the store's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from reflexarc_server.channels.backoff import AGE_MS_MAX, CHANNEL_MS, MESSAGE_MS, Draw, pause_ms
from reflexarc_server.channels.channel import Channel, Outgoing, Refused, Unreachable
from reflexarc_server.channels.endings import Endings
from reflexarc_server.clock import Clock
from reflexarc_server.store import outbox as table
from reflexarc_server.store.outbox import OutboxTable, Waiting
from reflexarc_server.store.sqlite import SqliteStore

IDLE_S: Final = 1.0
"""The clock may be moved by somebody else: the lane looks again at least so often."""
STOP_S: Final = 5.0
REASON_LENGTH_MAX: Final = 300
EXPIRED: Final = "expired: it was no longer worth sending"
_decode: Final = msgspec.json.Decoder().decode
_log = logging.getLogger(__name__)


class Lane:
    """One channel's. workers: messages that are under way at once, each of another order."""

    def __init__(
        self, channel: Channel, store: SqliteStore, clock: Clock, draw: Draw, workers: int, endings: Endings | None = None
    ) -> None:
        """endings: shared with other lanes of the store; None for its own."""
        self.channel: Final = channel
        self._store = store
        self._table = OutboxTable(store)
        self._endings = endings or Endings(store)
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._flying: set[int] = set()
        self._failures = 0
        self._rest_until = 0
        self._news = threading.Event()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"reflexarc-out-{channel.name}-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was put, or the time has moved."""
        self._news.set()

    def stop(self) -> None:
        """Let what is under way end, for a few seconds; what is not sent then goes out when the server runs again."""
        self._stop.set()
        self._news.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(STOP_S)

    def work(self) -> bool:
        """Try the next message that is due, on this thread; False when there is none."""
        waiting = self._claim()
        if waiting is None:
            return False
        try:
            self._attempt(waiting)
        finally:
            with self._lock:
                self._flying.discard(waiting.row)
        return True

    # -- the threads ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._news.clear()
                if self.work():
                    continue
                self._news.wait(self._idle_s())
            except Exception:  # a full disk, say: what is kept stays, and goes out when it can
                _log.exception("channel %s could not go on and tries again", self.channel.name)
                self._stop.wait(1.0)

    def _idle_s(self) -> float:
        now = self._clock.now_ms()
        times = [time for time in (self._table.next_due(self.channel.name, now), self._rest_until) if time > now]
        return min(IDLE_S, (min(times) - now) / 1000) if times else IDLE_S

    def _claim(self) -> Waiting | None:
        with self._lock:
            now = self._clock.now_ms()
            if now < self._rest_until or (self._failures and self._flying):
                return None  # what fails is asked by one at a time
            # By a look that waits for nobody, as a rule: a row that is open there and not under way here is nobody's, for an
            # attempt's end is durable before it is under way no more. What was just put that look may not see: then in a
            # transaction of its own, which begins when that of whoever put it is over.
            waiting = self._next_of(self._table.due(self.channel.name, now, len(self._flying) + 1))
            if waiting is None:
                with self._store.transaction() as transaction:
                    waiting = self._next_of(table.due(transaction.run, self.channel.name, now, len(self._flying) + 1))
            if waiting is not None:
                self._flying.add(waiting.row)
                self._news.set()  # where one was, another may be: for whoever waits meanwhile
            return waiting

    def _next_of(self, found: Sequence[Waiting]) -> Waiting | None:
        return next((each for each in found if each.row not in self._flying), None)

    # -- one attempt ----------------------------------------------------------------------------------------------

    def _attempt(self, waiting: Waiting) -> None:
        if waiting.expire_time and self._clock.now_ms() >= waiting.expire_time:
            self._bury(waiting, EXPIRED)
            return
        outgoing = Outgoing(
            waiting.channel, waiting.key, waiting.order, _decode(waiting.body), waiting.subject, waiting.expire_time
        )
        try:
            self.channel.send(outgoing)
        except Unreachable as error:
            self._postpone(waiting, error.message, error.retry_after_ms, only_this=error.only_this)
        except OSError as error:
            self._postpone(waiting, f"{type(error).__name__}: {error.strerror or 'no answer'}", None, only_this=False)
        except Refused as error:
            self._answered()
            self._bury(waiting, error.message)
        except Exception as error:  # a fault of the channel: this message shows it, the others go on
            _log.exception("channel %s failed on message %d", self.channel.name, waiting.row)
            self._answered()
            self._bury(waiting, f"the channel failed: {type(error).__name__}")
        else:
            self._answered()
            self._endings.write(lambda run: table.sent(run, waiting.row, self._clock.now_ms()))

    def _answered(self) -> None:
        with self._lock:
            if self._failures:
                self._news.set()
            self._failures = 0
            self._rest_until = 0

    def _postpone(self, waiting: Waiting, reason: str, retry_after_ms: int | None, *, only_this: bool) -> None:
        now = self._clock.now_ms()
        if only_this:
            self._answered()
        else:
            with self._lock:
                self._failures += 1
                self._rest_until = now + pause_ms(CHANNEL_MS, self._failures, retry_after_ms, self._draw)
        if now - waiting.since_time >= AGE_MS_MAX:
            self._bury(waiting, f"tried for {AGE_MS_MAX // 86_400_000} days: {reason}")
            return
        due_time = now + pause_ms(MESSAGE_MS, waiting.tries + 1, retry_after_ms, self._draw)
        self._endings.write(lambda run: table.postpone(run, waiting.row, due_time, reason[:REASON_LENGTH_MAX]))
        _log.warning("channel %s: message %d is tried again in %d ms", self.channel.name, waiting.row, due_time - now)

    def _bury(self, waiting: Waiting, reason: str) -> None:
        self._endings.write(lambda run: table.bury(run, waiting.row, self._clock.now_ms(), reason[:REASON_LENGTH_MAX]))
        _log.warning("channel %s: message %d is a dead letter", self.channel.name, waiting.row)
