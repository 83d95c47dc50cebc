"""Handlers: where a fired action reaches the host application.

Owns the one dispatcher thread (or the host's own `post`). At most once: an action is marked handed before its handler
is called. A raising handler is isolated and counted. Must never run a handler on the thread that tracked the event.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from reflexarc_core.decision import Decision

Handler = Callable[[Decision], object]
Post = Callable[[Callable[[], None]], object]

UNCLAIMED_MAX: Final = 100
QUEUE_MAX: Final = 10_000


class Handlers:
    """Delivers decisions to handlers, one at a time, in the order they fired."""

    def __init__(self, mark_handed: Callable[[Decision], bool], on_error: Callable[[Exception], None], post: Post | None) -> None:
        self._mark_handed = mark_handed
        self._on_error = on_error
        self._post = post
        self._handlers: dict[str, list[Handler]] = {}
        self._queue: deque[Decision] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False
        self._unclaimed: dict[str, deque[Decision]] = {}
        self.handed_count = 0
        self.error_count = 0

    def on(self, trigger_id: str, handler: Handler) -> None:
        """Call `handler` with each decision of this trigger that fired."""
        with self._changed:
            self._handlers[trigger_id] = [*self._handlers.get(trigger_id, ()), handler]
            waiting = self._unclaimed.pop(trigger_id, deque())
        for decision in waiting:
            self.hand_over(decision)

    def hand_over(self, decision: Decision) -> bool:
        """Take a fired decision; without a handler for its trigger it stays pending, waiting for one while it lives.

        False when nobody will deliver it before the next start. Raises whatever the host's `post` raises.
        """
        if not decision.expire_time and decision.trigger_id not in self._handlers:
            return False  # at once: it would not wait for a handler that comes later
        with self._changed:
            if decision.trigger_id not in self._handlers:
                waiting = self._unclaimed.setdefault(decision.trigger_id, deque())
                if not decision.expire_time or len(waiting) >= UNCLAIMED_MAX:
                    return False
                waiting.append(decision)
                return True
            if self._post is None:
                if self._closed or len(self._queue) >= QUEUE_MAX:
                    return False
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="reflexarc-handlers", daemon=True)
                    thread.start()
                    self._thread = thread
                self._queue.append(decision)
                self._changed.notify_all()
                return True
        self._post(lambda: self._deliver(decision))
        return True

    def end_subject(self, subject: str) -> None:
        """The subject's session ended: what waits for it is not delivered."""
        with self._changed:
            self._queue = deque(decision for decision in self._queue if decision.subject != subject)
            for trigger_id, waiting in self._unclaimed.items():
                self._unclaimed[trigger_id] = deque(decision for decision in waiting if decision.subject != subject)

    def in_child(self) -> Handlers:
        """The same handlers in a forked child, where no thread of the parent runs."""
        child = Handlers(self._mark_handed, self._on_error, self._post)
        child._handlers = self._handlers
        return child

    def wait_idle(self, timeout_s: float) -> bool:
        """True when nothing is queued or running."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, timeout_s)

    def close(self, timeout_s: float) -> None:
        """Stop after the handler that is running; what is queued stays pending in the store. Legal from a handler."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                decision = self._queue.popleft()
                self._busy = True
            try:
                self._deliver(decision)
            except BaseException as error:  # SystemExit, say: this thread is not the one to end with it
                self._failed(RuntimeError(f"a handler of {decision.trigger_id} raised {type(error).__name__}"))
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _deliver(self, decision: Decision) -> None:
        try:
            if not self._mark_handed(decision):
                return
            self.handed_count += 1
        except Exception as error:
            self._failed(error)
            return
        for handler in self._handlers[decision.trigger_id]:
            try:
                handler(decision)
            except Exception as error:  # the host's own code: it must not keep the next handler from its call
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.error_count += 1
        self._on_error(error)
