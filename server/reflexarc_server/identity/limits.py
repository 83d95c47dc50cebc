"""How much one caller may ask for: calls a second and bytes a second, in token buckets.

Owns the buckets, a bounded number of them. Refuses nothing by itself: it says how long to wait.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CALLERS_MAX: Final = 100_000
"""Buckets kept; the one that was not used for longest goes first, and begins full when its caller comes back."""
WAIT_MS_MAX: Final = 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """For each caller. *_per_s: what is given back each second; *_max: what may be used at once after a rest.

    A device that comes back after a year sends its backlog at bytes_per_s.
    """

    calls_per_s: float = 50.0
    calls_max: int = 500
    bytes_per_s: float = 8_388_608.0
    bytes_max: int = 67_108_864


def limits_of(calls_per_s: int | None, bytes_per_s: int | None, burst_s: int = 10) -> Limits | None:
    """Limits where one of the two is given, with `burst_s` seconds' worth at once after a rest; None where none is."""
    if calls_per_s is None and bytes_per_s is None:
        return None
    usual = Limits()
    calls = usual.calls_per_s if calls_per_s is None else float(calls_per_s)
    byte_count = usual.bytes_per_s if bytes_per_s is None else float(bytes_per_s)
    return Limits(calls, max(1, int(calls * burst_s)), byte_count, max(1, int(byte_count * burst_s)))


class _Bucket:
    __slots__ = ("at", "bytes", "calls")

    def __init__(self, calls: float, byte_count: float, at: float) -> None:
        self.calls = calls
        self.bytes = byte_count
        self.at = at


class Meter:
    """The buckets of every caller. now_s: seconds on a clock that only goes forward. Safe to call from several threads."""

    def __init__(self, limits: Limits, now_s: Callable[[], float] = time.monotonic, callers_max: int = CALLERS_MAX) -> None:
        self._limits = limits
        self._now_s = now_s
        self._callers_max = callers_max
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, byte_count: int) -> int:
        """Count a call of that size: 0 when it is within the limits, else the ms to wait, and nothing was counted.

        A bucket may be overdrawn by one call, so that a message larger than it still gets through, and is paid for after.
        """
        limits = self._limits
        with self._lock:
            now = self._now_s()
            bucket = self._buckets.get(caller)
            if bucket is None:
                bucket = self._buckets[caller] = _Bucket(limits.calls_max, limits.bytes_max, now)
                if len(self._buckets) > self._callers_max:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(caller)
            elapsed = now - bucket.at
            bucket.at = now
            calls, held = bucket.calls + elapsed * limits.calls_per_s, bucket.bytes + elapsed * limits.bytes_per_s
            bucket.calls = calls = calls if calls < limits.calls_max else limits.calls_max
            bucket.bytes = held = held if held < limits.bytes_max else limits.bytes_max
            if calls < 1.0 or held < 0.0:
                wait_s = max((1.0 - calls) / limits.calls_per_s, -held / limits.bytes_per_s)
                return min(WAIT_MS_MAX, 2 + int(wait_s * 1_000))  # one for what is cut off, one for what floats round
            bucket.calls = calls - 1.0
            bucket.bytes = held - byte_count
            return 0

    def __len__(self) -> int:
        return len(self._buckets)
