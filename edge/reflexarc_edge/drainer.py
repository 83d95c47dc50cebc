"""The drainer: the thread that brings into the store what calls have written into the journal.

Owns when it looks: round by round while something comes, and not at all while nothing does. Must never make a caller wait: one
that wakes it pays for that more than for its event, so that only the first after a silence does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

from reflexarc_core.errors import StorageError

DRAIN_MS: Final = 50
QUIET_ROUNDS: Final = 20
"""Rounds in which nothing came, after which it sleeps until it is woken."""
RETRY_S: Final = 1.0


class Drainer:
    """newest: number of the newest record written. No thread runs before it is woken for the first time."""

    def __init__(self, newest: Callable[[], int], drain: Callable[[], None], round_ms: int = DRAIN_MS) -> None:
        self.drain: Callable[[], None] = drain
        """Brings in all there is; the log's, once there is one. Raises StorageError; then it is called again."""
        self.stored: Callable[[], object] = lambda: None
        """Told, on the thread, that something came into the store; the uplink's, where there is one."""
        self.is_awake = False
        """It looks by itself: whoever writes need not wake it."""
        self._newest = newest
        self._round_s = round_ms / 1000.0
        self._due = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There is something to drain."""
        self.is_awake = True
        self._due.set()
        if self._thread is None and not self._closing.is_set():
            thread = threading.Thread(target=self._run, name="reflexarc-drain", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is going down: the journal keeps what is not drained
                thread.start()
                self._thread = thread

    def stop(self, timeout_s: float) -> None:
        """End the thread."""
        self._closing.set()
        self._due.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        seen, quiet = -1, 0
        while not self._closing.is_set():
            if quiet >= QUIET_ROUNDS:
                self.is_awake = False
                if self._newest() == seen:  # else it was written before we said so, and nobody will wake us
                    self._due.wait()
                self.is_awake = True
                quiet = 0
            self._closing.wait(self._round_s)
            newest = self._newest()
            if newest == seen and not self._due.is_set():
                quiet += 1
                continue
            self._due.clear()
            seen, quiet = newest, 0
            try:
                self.drain()
                self.stored()
            except StorageError:
                # A full disk, say. Everything is in the journal; the next put that finds no room tells the caller.
                self._due.set()
                self._closing.wait(RETRY_S)
