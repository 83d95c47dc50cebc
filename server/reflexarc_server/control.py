"""The control stream: who watches, and waking them.

Owns the open streams, one an installation, and when each is told something. What it tells is read from what is live at
that moment, so nothing is queued and the newest state always wins. Must never be needed: `Pull` says the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from reflexarc_core.errors import TransportError
from reflexarc_server.chance import CHANCE

HEARTBEAT_S: Final = 15.0
SPREAD_S: Final = 5.0
"""Over which devices are told of something that costs each of them a download."""
WATCHERS_MAX: Final = 50_000


@dataclass(eq=False, slots=True)
class Watcher:
    """One open stream. pull: something waits for this installation. replaced: a newer stream of it took its place."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    pull: bool = False
    replaced: bool = False


class Control:
    """The open streams of one server. `watch` runs on the loop; everything else may be called from any thread.

    heartbeat_s: longest silence on a stream.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._loop = loop
        self._watchers: dict[str, Watcher] = {}
        self._is_ending = False
        self.heartbeat_s: Final = heartbeat_s

    @property
    def watcher_count(self) -> int:
        """Open streams."""
        return len(self._watchers)

    def tell_all(self) -> None:
        """Something changed that everybody must know now."""
        self._soon(self._wake_all)

    def tell_all_slowly(self) -> None:
        """As `tell_all`, spread over SPREAD_S: each device will fetch something."""
        self._soon(self._wake_all_slowly)

    def hint(self, installation: str) -> None:
        """Something waits for this installation."""
        self._soon(self._hint, installation)

    def end_all(self) -> None:
        """End every stream, and each that opens from now on at once: devices come back to whoever serves then."""
        self._soon(self._end_all)

    async def watch(self, installation: str) -> AsyncIterator[bool]:
        """Whether to call Pull now; a value when the stream opens, whenever something changes, and every heartbeat.

        Raises TransportError when there are too many streams.
        """
        before = self._watchers.get(installation)
        if before is None and len(self._watchers) >= WATCHERS_MAX:
            raise TransportError("too many control streams", hint="poll")
        if before is not None:
            before.replaced = True
            before.news.set()
        mine = self._watchers[installation] = Watcher()
        try:
            while not (mine.replaced or self._is_ending):
                mine.news.clear()
                pull, mine.pull = mine.pull, False
                yield pull
                await _wait(mine.news, self.heartbeat_s)
        finally:
            if self._watchers.get(installation) is mine:
                del self._watchers[installation]

    # -- on the loop ----------------------------------------------------------------------------------------------

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody watches any more
            self._loop.call_soon_threadsafe(call, *arguments)

    def _end_all(self) -> None:
        self._is_ending = True
        self._wake_all()

    def _wake_all(self) -> None:
        for watcher in self._watchers.values():
            watcher.news.set()

    def _wake_all_slowly(self) -> None:
        for watcher in self._watchers.values():
            self._loop.call_later(CHANCE.uniform(0.0, SPREAD_S), watcher.news.set)

    def _hint(self, installation: str) -> None:
        watcher = self._watchers.get(installation)
        if watcher is not None:
            watcher.pull = True
            watcher.news.set()


async def _wait(news: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(news.wait(), timeout_s)
