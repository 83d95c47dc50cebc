"""Capturing for a store that another process owns, and taking over when that process ends.

Owns this process's journal of captures and the one thread that waits for the store to become free. Nothing is decided here:
the owner folds what is captured, and delivers. Must never open the store's database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from reflexarc.chance import CHANCE
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ReflexArcError, StorageError
from reflexarc_edge.capture import CAPTURE_KIND, Capture, encode_capture
from reflexarc_edge.log import CAPTURE_PLACE
from reflexarc_edge.owners import CaptureJournal, is_owned
from reflexarc_edge.seal import Open, Seal

LOOK_S: Final = 0.25
LIVE_CATALOG: Final = "live-catalog.json"


class Elsewhere:
    """One process that captures for an owner elsewhere. Thread-safe.

    take_over: called on a thread of its own when the store is free; True when this process owns it now.
    Raises StorageError when there is no room for a journal.
    """

    def __init__(self, folder: Path, seal: Seal | None, take_over: Callable[[], bool] | None) -> None:
        self._folder = folder
        self._seal = seal or Open()
        self._take_over = take_over
        self._journal = CaptureJournal(folder)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._start()  # whether or not anything is ever captured here: somebody has to take over

    @property
    def scope(self) -> str:
        """What an event id is derived from, beside its number here."""
        return self._journal.name

    def capture(self, capture: Capture) -> int:
        """Keep one event for the owner; safe against `kill -9` when this returns. Its number here.

        Raises StorageError, with nothing kept, when the owner has not made room for too long.
        """
        if self._thread is None:
            self._start()
        body = encode_capture(capture)
        if self._seal.is_closed:
            body = self._seal.close(CAPTURE_PLACE, body)
        seq = self._journal.append(CAPTURE_KIND, body)
        if not seq:
            raise StorageError(
                f"{self._journal.waiting_count} captures wait for the process that owns the store",
                hint="is it stopped? Ending it lets this one take over",
            )
        return seq

    @property
    def newest_seq(self) -> int:
        """Number of the newest capture here."""
        return self._journal.newest_seq

    def sync(self) -> int:
        """Returns when the disk holds every capture made before the call: the newest one's number. Raises StorageError."""
        return self._journal.sync()

    @property
    def waiting_count(self) -> int:
        """Captures the owner has not taken yet."""
        return self._journal.waiting_count

    def stats(self) -> dict[str, Any]:
        """Counters, JSON-able."""
        return {"engine": "elsewhere", "captures_waiting": self.waiting_count}

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop waiting; what was captured stays for the owner."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        self._journal.close()

    def let_go(self) -> None:
        """Stop capturing here, since this process owns the store now: it takes what is left like anybody else's."""
        self._stop.set()
        self._journal.close()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and self._take_over is not None:
                thread = threading.Thread(target=self._wait_for_it, name="reflexarc-elsewhere", daemon=True)
                try:
                    thread.start()
                    self._thread = thread
                except RuntimeError:  # the interpreter is going down
                    return

    def _wait_for_it(self) -> None:
        # Not all at the same moment: of many that wait, one is enough.
        while not self._stop.wait(CHANCE.uniform(LOOK_S / 2, LOOK_S)):
            try:
                if not is_owned(self._folder) and self._take_over is not None and self._take_over():
                    return
            except (ReflexArcError, OSError):
                continue  # somebody was faster, or the disk has no room now: look again


def keep_live_catalog(folder: Path, catalog: Catalog) -> None:
    """Let the other processes know what may be captured. Raises OSError."""
    fresh = folder / f"{LIVE_CATALOG}.new"
    fresh.write_bytes(catalog.to_bytes())
    fresh.chmod(0o600)
    fresh.replace(folder / LIVE_CATALOG)


def live_catalog(folder: Path) -> Catalog | None:
    """What the owner runs, as far as it has said."""
    try:
        return Catalog.from_bytes((folder / LIVE_CATALOG).read_bytes())
    except (OSError, ReflexArcError):
        return None
