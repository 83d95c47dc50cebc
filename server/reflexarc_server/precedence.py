"""Precedence: calls that store go before the fold.

One interpreter serves both, and while the fold computes, a call waits for milliseconds each time it comes back from the disk.
Owns who is storing and how long the fold waits for it. The fold must never starve: however many calls there are, it goes on
after WAIT_MAX_S, so it has at least SLICE_S / (SLICE_S + WAIT_MAX_S) of the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SLICE_S: Final = 0.004
"""How long the fold computes before it looks whether somebody stores."""
WAIT_MAX_S: Final = 0.04
QUIET_S: Final = 0.008
"""A sender answers an answer with its next batch: nobody stores once this long has passed without one."""


class Precedence:
    """Who stores now, and who gives way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._storing = 0
        self._last = 0.0

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Around all work of a call that stores."""
        with self._changed:
            self._storing += 1
        try:
            yield
        finally:
            with self._changed:
                self._storing -= 1
                self._last = time.monotonic()
                self._changed.notify_all()

    def give_way(self) -> None:
        """Wait until nobody stores, WAIT_MAX_S at most."""
        now = time.monotonic()
        deadline = now + WAIT_MAX_S
        with self._changed:
            while now < deadline and (self._storing or now - self._last < QUIET_S):
                until = deadline if self._storing else min(deadline, self._last + QUIET_S)
                self._changed.wait(until - now)
                now = time.monotonic()
