"""Time: the true one, which only steps move, and what each device believes it is."""

from __future__ import annotations

import random
from collections.abc import Callable

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY
START = 1_700_000_000_000 // DAY * DAY


class TrueTime:
    """What time it is, ms since the epoch."""

    def __init__(self) -> None:
        self.now = START

    def pass_by(self, by_ms: int) -> None:
        self.now += by_ms

    def now_ms(self) -> int:
        return self.now


class DeviceClock:
    """A machine's clocks: a wall clock that can be set, stand still and drift, and one that only goes on until it boots."""

    trusted = False

    def __init__(self, true: Callable[[], int], drift_ppm: int) -> None:
        self._true = true
        self._drift_ppm = drift_ppm
        self._booted = true() - HOUR
        self._offset = 0
        self._frozen: int | None = None

    def monotonic_ms(self) -> int:
        elapsed = self._true() - self._booted
        return elapsed + elapsed * self._drift_ppm // 1_000_000

    def wall_ms(self) -> int:
        return self._frozen if self._frozen is not None else max(0, self._true() + self._offset)

    def disturb(self, draw: random.Random) -> str:
        """Something happens to the wall clock; what."""
        kind = draw.choice(("+50 y", "-50 y", "dst +", "dst -", "1970", "frozen", "thawed", "right", "random"))
        true = self._true()
        match kind:
            case "+50 y" | "-50 y":
                self._offset += 50 * YEAR if kind[0] == "+" else -50 * YEAR
            case "dst +" | "dst -":
                self._offset += HOUR if kind[4] == "+" else -HOUR
            case "1970":
                self._offset = 5_000 - true
            case "frozen":
                self._frozen = self.wall_ms()
            case "thawed":
                self._frozen = None
            case "right":
                self._frozen, self._offset = None, 0
            case _:
                self._offset += draw.randint(-2 * YEAR, 2 * YEAR)
        return kind

    def boot(self) -> None:
        """The machine starts again: its monotonic clock begins at zero."""
        self._booted = self._true()
