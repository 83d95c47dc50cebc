"""Group commit: what many requests bring goes into the log in one transaction, and each is answered once that is durable.

Requests hand over in the event loop and wait there; one thread writes. While it waits for the disk the next group comes together,
so a group is as large as the disk is slow and no request pays for a thread of its own. Owns the thread and who waits. Must never
answer before the commit, nor keep more waiting than WAITING_MAX events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_core.errors import LimitError, ReflexArcError, StorageError
from reflexarc_server.ingest import Arrival, Told

WAITING_MAX: Final = 20_000
"""Events that are not durable yet, of all requests; whoever is too many is told to come again."""
GROUP_MAX: Final = 2_000
"""Events of one transaction; the request that goes over it is the last one in."""
RETRY_MS: Final = 2_000
_log = logging.getLogger(__name__)
Done = Callable[["list[Told] | ReflexArcError"], object]
"""Told in the event loop what became of an arrival: its verdicts, durable, or why there are none. Must not raise."""
_Held = tuple[Arrival, Done]


class Commits:
    """commit: stores arrivals and gives the verdicts of each. `put`, `stored` are for one event loop; `stop` for any thread."""

    def __init__(self, commit: Callable[[Sequence[Arrival]], list[list[Told]]]) -> None:
        self._commit = commit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Held] = deque()
        self._waiting_count = 0
        self._news = threading.Event()
        self._is_told = False
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="reflexarc-commits", daemon=True)

    def put(self, arrival: Arrival, done: Done) -> None:
        """Have it stored; done is told. Raises LimitError when too many wait, and then done is told nothing."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            self._thread.start()
        if self._waiting_count > WAITING_MAX or self._is_over:
            raise LimitError("too many events wait for the disk", hint="send the same again", retry_after_ms=RETRY_MS)
        self._waiting_count += len(arrival.judged)
        self._waiting.append((arrival, done))
        if not self._is_told:
            self._is_told = True
            loop.call_soon(self._news.set)  # whoever comes in the same turn of the loop is in the same group

    def stored(self, arrival: Arrival) -> asyncio.Future[list[Told]]:
        """Its verdicts, once they are durable: a future that may raise StorageError. Raises LimitError when too many wait."""
        future: asyncio.Future[list[Told]] = asyncio.get_running_loop().create_future()

        def done(told: list[Told] | ReflexArcError) -> None:
            if future.done():  # its request was given up
                return
            if isinstance(told, ReflexArcError):
                future.set_exception(told)
            else:
                future.set_result(told)

        self.put(arrival, done)
        return future

    def stop(self) -> None:
        """Store what waits, then end. A second call does nothing."""
        self._is_over = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            self._is_told = False  # before the look: who comes behind it says so again
            while self._waiting:
                self._store(self._group())
            if self._is_over:
                return

    def _group(self) -> list[_Held]:
        group: list[_Held] = []
        count, waiting = 0, self._waiting
        while waiting and count < GROUP_MAX:
            held = waiting.popleft()
            count += len(held[0].judged)
            group.append(held)
        return group

    def _store(self, group: list[_Held]) -> None:
        verdicts: Sequence[list[Told] | ReflexArcError]
        try:
            verdicts = self._commit([arrival for arrival, _ in group])
        except StorageError as error:
            _log.warning("events of %d requests could not be stored: %s", len(group), error.code)
            verdicts = [error] * len(group)
        except Exception:  # one arrival that cannot be stored must not cost those beside it anything
            _log.exception("a group of %d requests could not be stored; one at a time", len(group))
            verdicts = [self._alone(arrival) for arrival, _ in group]
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is there to be answered
            self._loop.call_soon_threadsafe(self._done, group, verdicts)

    def _alone(self, arrival: Arrival) -> list[Told] | ReflexArcError:
        try:
            return self._commit([arrival])[0]
        except StorageError as error:
            return error
        except Exception:
            _log.exception("a request's events could not be stored")
            return StorageError("these events cannot be stored")

    def _done(self, group: list[_Held], verdicts: Sequence[list[Told] | ReflexArcError]) -> None:
        for (arrival, done), told in zip(group, verdicts, strict=True):
            self._waiting_count -= len(arrival.judged)
            done(told)
