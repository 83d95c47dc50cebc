"""Admission: how many records a second the server takes from all devices together, and when each that is too many may come again.

After an outage everybody has something to send. Whoever is too many is told to come again within the time that the server needs
for all who wait, at a moment drawn evenly from it: devices come back spread out, as fast as they can be taken. Small batches,
which are what is new and what somebody waits for, are let through, and counted. Owns the bucket and who waits; stores nothing,
and must never refuse: it says how long to wait.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from reflexarc_server.chance import CHANCE

RECORDS_PER_S: Final = 20_000
BURST_S: Final = 10.0
"""After a rest, so many seconds' worth are taken at once."""
SMALL_MAX: Final = 10
"""Records of a batch that never waits."""
WAITING_MAX: Final = 100_000
"""Devices known to wait; whoever was told first is forgotten first, and only counts for less."""
WAIT_MS_MIN: Final = 100
WAIT_MS_MAX: Final = 3_600_000


def spread_ms(records_waiting: int, records_per_s: float, drawn: float) -> int:
    """When one of those who wait is to come again, ms. drawn: 0 to 1, evenly."""
    return min(WAIT_MS_MAX, max(WAIT_MS_MIN, int(drawn * 1_000 * records_waiting / records_per_s)))


class Admission:
    """now_s: seconds on a clock that only goes forward. draw: a number from 0 to 1, evenly. Safe to call from several threads."""

    def __init__(
        self,
        records_per_s: float = RECORDS_PER_S,
        burst_s: float = BURST_S,
        now_s: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = CHANCE.random,
    ) -> None:
        self._records_per_s = records_per_s
        self._records_max = records_per_s * burst_s
        self._now_s = now_s
        self._draw = draw
        self._lock = threading.Lock()
        self._free = self._records_max
        """Records that may be taken now; overdrawn by a batch at the most, and by what is small."""
        self._at = now_s()
        self._waiting: OrderedDict[str, int] = OrderedDict()
        self._records_waiting = 0

    def wait_ms(self, installation: str, record_count: int) -> int:
        """0 when a batch of that size is taken now, else how long its sender is to wait before it asks again."""
        with self._lock:
            now = self._now_s()
            self._free = min(self._records_max, self._free + (now - self._at) * self._records_per_s)
            self._at = now
            if self._free > 0 or record_count <= SMALL_MAX:
                self._free -= record_count
                if record_count > SMALL_MAX:
                    self._records_waiting -= self._waiting.pop(installation, 0)
                return 0
            self._records_waiting += record_count - self._waiting.pop(installation, 0)
            self._waiting[installation] = record_count
            if len(self._waiting) > WAITING_MAX:
                self._records_waiting -= self._waiting.popitem(last=False)[1]
            return spread_ms(self._records_waiting, self._records_per_s, self._draw())
