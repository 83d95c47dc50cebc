"""Counters by name. Owns the lock around them; a counter that nobody added to is not there."""

from __future__ import annotations

import threading


class Counters:
    """Counts what happened, for `stats()`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + count

    def all(self) -> dict[str, int]:
        """Every counter."""
        with self._lock:
            return dict(self._counts)
