"""When an event survives a power cut: futures that resolve once the disk itself holds what was written.

Owns the one thread that syncs for whoever asked; many who ask share one sync. Must never run on the caller's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from reflexarc_core.errors import StorageError

AGAIN_S: Final = 0.005


class DiskSync:
    """Futures over one log or journal. Nothing is synced, and no thread runs, before somebody asks.

    newest: number of the newest record written. sync: syncs, and tells up to which number; raises StorageError.
    """

    def __init__(self, newest: Callable[[], int], sync: Callable[[], int]) -> None:
        self._newest = newest
        self._sync_all = sync
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, Future[bool]]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def future(self) -> Future[bool]:
        """Resolves to True when everything written before this call survives a power cut, False when it cannot."""
        future: Future[bool] = Future()
        seq = self._newest()
        with self._changed:
            if not self._closed and (self._thread is not None or self._start()):
                self._waiting.append((seq, future))
                self._changed.notify()
                return future
        future.set_result(self._sync() >= seq)
        return future

    def close(self, timeout_s: float) -> None:
        """Resolve what is asked for and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="reflexarc-durable", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is going down
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    return
            durable = self._sync()
            later = []
            for seq, future in waiting:
                if durable < 0 or seq <= durable:
                    future.set_result(durable >= 0)
                else:
                    later.append((seq, future))
            if later:  # a record on its way past the journal: it is there in a moment
                with self._changed:
                    self._waiting[:0] = later
                    self._changed.wait(AGAIN_S)

    def _sync(self) -> int:
        """Up to which number the disk holds everything, -1 when it will not have it."""
        try:
            return self._sync_all()
        except StorageError:
            return -1
