"""Endings: what became of attempts is written by several of them in one transaction.

Every attempt ends with one small change of the store, and the store waits for the disk each time; whoever stores an event waits
with it. While one thread waits for its turn the endings of others come together, and it writes them with its own. Owns who writes
for whom. Must never return before its own change is durable. Lock order: its own, then the store's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from reflexarc_server.store.outbox import Run
from reflexarc_server.store.sqlite import SqliteStore

Change = Callable[[Run], None]


class _Ending:
    """One thread's. error: why it could not be written, of the group's transaction."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.is_over = False
        self.error: Exception | None = None


class Endings:
    """One outbox's. Safe to call from several threads."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Ending] = []

    def write(self, change: Change) -> None:
        """Make the change; durable when this returns. Raises StorageError, also for those written beside it, and then none of
        them is made."""
        its = _Ending(change)
        with self._lock:
            self._waiting.append(its)
        with self._writing:
            if not its.is_over:
                self._write()
        if its.error is not None:
            raise its.error

    def _write(self) -> None:
        group: list[_Ending] = []
        error: Exception | None = None
        try:
            with self._store.transaction() as transaction:
                group += self._taken()  # now, not before: others came while this one waited for the store
                for each in group:
                    each.change(transaction.run)
        except Exception as raised:
            error = raised
            group += self._taken()
        for each in group:
            each.error, each.is_over = error, True

    def _taken(self) -> list[_Ending]:
        with self._lock:
            taken, self._waiting = self._waiting, []
            return taken


__all__ = ["Endings"]
