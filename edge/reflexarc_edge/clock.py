"""Engine time on a device: the last trusted wall time plus monotonic elapsed, never going back.

Owns the rule for clock jumps (believed only when the server confirms it, or across a restart when it is 0 to 30 days
forward). The clock itself is a port: the system's, a test's or a replay's.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

MS_NS: Final = 1_000_000
JUMP_MS_MAX: Final = 2_000
_JUMP_NS_MAX: Final = JUMP_MS_MAX * MS_NS
CONFIRMED_TIME_MAX: Final = 7_258_118_400_000
"""The year 2200, ms: engine time never goes back, so that one wrong word of a server would stay for good."""
RESTART_FORWARD_MS_MAX: Final = 30 * 86_400_000


class Clock(Protocol):
    """Where time comes from. `trusted` clocks (a replay's) are believed as they are."""

    trusted: bool

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC, as the host believes."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds of a clock that never jumps."""
        ...


class SystemClock:
    """The machine's clocks. The one that never jumps goes on while the machine sleeps, where the system has such a one."""

    trusted = False
    wall_ns = staticmethod(time.time_ns)
    elapsed_ns = staticmethod(
        functools.partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns
    )

    def wall_ms(self) -> int:
        return time.time_ns() // MS_NS

    def monotonic_ms(self) -> int:
        return self.elapsed_ns() // MS_NS


class _Anchor(NamedTuple):
    """What is known of the time. All but `believed` in ns: true time = elapsed + shift; the wall clock shows true time +
    offset. engine and elapsed: engine time at an earlier moment, where it is ahead of the true time and has to slow down;
    else None."""

    shift: int
    offset: int
    believed: bool
    engine: int | None = None
    elapsed: int = 0


class EngineClock:
    """Engine time over a clock, resumed behind `last_time` (ms, 0 for a new store)."""

    def __init__(self, clock: Clock, last_time: int) -> None:
        self._clock = clock
        self._is_replay = clock.trusted
        self._lock = threading.Lock()
        # A host's own clock counts in ms; the machine's is read as finely, and as cheaply, as it goes.
        self._elapsed: Callable[[], int] = getattr(clock, "elapsed_ns", None) or (lambda: clock.monotonic_ms() * MS_NS)
        self._wall: Callable[[], int] = getattr(clock, "wall_ns", None) or (lambda: clock.wall_ms() * MS_NS)
        self._last = last_time
        wall = clock.wall_ms()
        believed = clock.trusted or last_time == 0 or last_time <= wall <= last_time + RESTART_FORWARD_MS_MAX
        start = wall if believed else last_time
        self._anchor = _Anchor(start * MS_NS - self._elapsed(), (wall - start) * MS_NS, believed)

    def now(self) -> tuple[int, bool]:
        """(engine time in ms, whether it is believed: the wall clock did not jump since it was last right)."""
        if self._is_replay:
            with self._lock:
                self._last = max(self._last, self._clock.wall_ms())
                return self._last, True
        shift, offset, believed, ahead, _ = anchor = self._anchor  # one read: a confirmation replaces it whole
        true = self._elapsed() + shift
        believed = believed and -_JUMP_NS_MAX <= self._wall() - true - offset <= _JUMP_NS_MAX
        if ahead is not None:
            return self._slowed(anchor, true), believed
        return true // MS_NS, believed

    def confirm(self, server_time: int) -> None:
        """The server told its time (ms): engine time goes on from there.

        After a step back it runs at half its speed until it is caught up. 0 (not said) and a time of no age are passed over.
        """
        if self._clock.trusted or not 0 < server_time < CONFIRMED_TIME_MAX:
            return
        with self._lock:
            engine = self.now()[0] * MS_NS
            elapsed, true = self._elapsed(), server_time * MS_NS
            offset = self._wall() - true
            is_ahead = engine > true
            self._anchor = _Anchor(true - elapsed, offset, True, engine if is_ahead else None, elapsed if is_ahead else 0)

    def _slowed(self, anchor: _Anchor, true: int) -> int:
        """Engine time while it is ahead of the true one: half as fast, and no more once it is caught up."""
        assert anchor.engine is not None
        elapsed = true - anchor.shift - anchor.elapsed
        engine = anchor.engine + elapsed // 2
        if engine <= true:
            if self._anchor is anchor:
                self._anchor = anchor._replace(engine=None)
            return true // MS_NS
        return engine // MS_NS
