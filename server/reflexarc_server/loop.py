"""One event loop on a thread of its own: where gRPC's asynchronous server lives.

Owns the thread. Streams that stay open wait here, thousands of them without a thread each; whatever may block runs in a
pool instead. Must never be handed a call that blocks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Loop:
    """A running event loop. Safe to call from any thread but its own."""

    def __init__(self) -> None:
        self.asyncio = asyncio.new_event_loop()
        self.asyncio.set_exception_handler(_told)
        self._thread = threading.Thread(target=self._run, name="reflexarc-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there and wait for what it gives, or raises."""
        return asyncio.run_coroutine_threadsafe(work, self.asyncio).result()

    def stop(self) -> None:
        """End the thread; whatever still waits is cancelled. A second call does nothing."""
        if self.asyncio.is_closed():
            return
        self.run(_cancel_all())
        self.asyncio.call_soon_threadsafe(self.asyncio.stop)
        self._thread.join()
        self.asyncio.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.asyncio)
        self.asyncio.run_forever()


async def _cancel_all() -> None:
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """gRPC wakes every loop of a process through one socket: the loop that finds it read already has lost nothing."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
