"""Hours of the local week: when nothing may be done, or only then.

Owns the arithmetic of local time from an offset that is given. Reads no clock and no time-zone database (rule 15).
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.value import frozen

MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1_440
DAY_MS: Final = DAY_MINUTES * MINUTE_MS
WEEK_MS: Final = 7 * DAY_MS
_MONDAY: Final = 4 * DAY_MS
"""1970-01-05 was one."""
_LOOKED_AT_MAX: Final = 64
STRETCH_COUNT_MAX: Final = 28
"""Of one trigger's quiet hours, and of its windows: four for each day of the week."""


@frozen
class Hours:
    """From one local minute of the day up to, not including, another; past midnight when `to` is not behind `from`.

    days: on which it begins, 0 = Monday; empty = every day.
    """

    from_minute: int
    to_minute: int
    days: tuple[int, ...] = ()

    @property
    def length_ms(self) -> int:
        """Of one stretch, ms; a whole day where both ends are equal."""
        return ((self.to_minute - self.from_minute - 1) % DAY_MINUTES + 1) * MINUTE_MS

    def end_of(self, local: int) -> int | None:
        """When the stretch that holds this local time (ms) ends; None when none does."""
        for midnight in (local // DAY_MS * DAY_MS, local // DAY_MS * DAY_MS - DAY_MS):
            begin = midnight + self.from_minute * MINUTE_MS
            if begin <= local < begin + self.length_ms and self._begins_on(midnight):
                return begin + self.length_ms
        return None

    def begin_after(self, local: int) -> int:
        """When the next stretch after this local time (ms) begins."""
        midnight = local // DAY_MS * DAY_MS
        while True:
            begin = midnight + self.from_minute * MINUTE_MS
            if begin > local and self._begins_on(midnight):
                return begin
            midnight += DAY_MS

    def _begins_on(self, midnight: int) -> bool:
        return not self.days or (midnight - _MONDAY) // DAY_MS % 7 in self.days


def opens_at(quiet: tuple[Hours, ...], window: tuple[Hours, ...], local: int) -> int | None:
    """The first local time (ms) from this one on that lies in no quiet hours and, where there are any, in a window.

    This time itself when it does; None when there is none within about a week.
    """
    looked_at = local
    for _ in range(_LOOKED_AT_MAX):
        ends = [end for end in [hours.end_of(looked_at) for hours in quiet] if end is not None]
        if ends:
            looked_at = max(ends)
        elif window and not any(hours.end_of(looked_at) is not None for hours in window):
            looked_at = min(hours.begin_after(looked_at) for hours in window)
        else:
            return looked_at
        if looked_at > local + WEEK_MS + DAY_MS:
            return None
    return None


def waits(quiet: tuple[Hours, ...], window: tuple[Hours, ...]) -> list[int | None]:
    """How long (ms) it is until something may be done, from each moment of the week at which it may no longer be done; None where
    that is never. No moment waits longer than the longest of these.
    """
    minutes = {0, *(hours.from_minute for hours in quiet), *(hours.to_minute for hours in window)}
    moments = [day * DAY_MS + minute * MINUTE_MS for day in range(7) for minute in sorted(minutes)]
    return [None if (opens := opens_at(quiet, window, at)) is None else opens - at for at in moments]


def local_day(local: int) -> int:
    """Number of the local day since 1970."""
    return local // DAY_MS


def local_week(local: int) -> int:
    """Number of the local week, which begins on Monday."""
    return (local - _MONDAY) // WEEK_MS
