"""The server's clock, as a port: the machine's own, or a file that a replay's driver moves on."""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path
from typing import Final, Protocol

from reflexarc_core.errors import StorageError

_FORM: Final = struct.Struct("<q")


class Clock(Protocol):
    """Where the server's time comes from. What it says is trusted by definition."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC. Never less than it said before."""
        ...


class SystemClock:
    """The machine's wall clock; a step back holds it still until it is caught up."""

    def __init__(self) -> None:
        self._last = 0

    def now_ms(self) -> int:
        """See Clock."""
        self._last = max(self._last, time.time_ns() // 1_000_000)
        return self._last


class FileClock:
    """A clock in a file of 8 bytes: an int64, little-endian, milliseconds since the Unix epoch.

    Raises StorageError when the file is not there at the start; later a reader that meets a writer keeps the last time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._last = 0
        if self._read() is None:
            raise StorageError(f"the clock file {path} cannot be read", hint="8 bytes: milliseconds since 1970, little-endian")

    def now_ms(self) -> int:
        """See Clock."""
        with self._lock:
            self._last = max(self._last, self._read() or 0)
            return self._last

    def _read(self) -> int | None:
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        return int(_FORM.unpack(content)[0]) if len(content) == _FORM.size else None
