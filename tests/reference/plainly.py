"""What the reference takes from a catalog without the engine's help: conditions by their text, hours minute by minute, hashes.

Every function here is the slow and plain way. It must never call the code it is compared with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from reflexarc_core.event import Event
from reflexarc_core.hours import Hours

DAY_MINUTES = 1_440
WEEK_MINUTES = 7 * DAY_MINUTES
_EQUAL = re.compile(r'event\.(\w+) == "([^"]*)"')
_OVER = re.compile(r"event\.(\w+) > (\d+)")
_SCORE = re.compile(r"(\w+) > (0\.\d+)")


def is_true(text: str, event: Event | None, outputs: Mapping[str, float] = MappingProxyType({})) -> bool:
    """A condition of the tests' few forms, joined by &&. What has no value is false. outputs: scores by the models' names."""
    return all(_one(part.strip(), event, outputs) for part in text.split("&&"))


def _one(text: str, event: Event | None, outputs: Mapping[str, float]) -> bool:
    if text in ("true", "false"):
        return text == "true"
    read = {} if event is None else {**event.context, **event.properties}
    if found := _EQUAL.fullmatch(text):
        return read.get(found[1]) == found[2]
    if found := _OVER.fullmatch(text):
        return found[1] in read and read[found[1]] > int(found[2])  # type: ignore[operator]
    if found := _SCORE.fullmatch(text):
        return found[1] in outputs and outputs[found[1]] > float(found[2])
    raise AssertionError(f"the reference does not read {text!r}")


def place(salt: str, unit: str) -> int:
    """Where a unit stands among ten thousand."""
    return int(hashlib.sha256(f"v1:{salt}\0{unit}".encode()).hexdigest()[:16], 16) % 10_000


def stable_id(*parts: str) -> str:
    """The first 32 hex digits of the SHA-256 of the parts, joined by NUL."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def in_hours(hours: Hours, local_minute: int) -> bool:
    """Whether this minute since 1970, local time, lies in the hours. 1970-01-01 was a Thursday."""
    minute, weekday = local_minute % DAY_MINUTES, (local_minute // DAY_MINUTES + 3) % 7

    def begins(day: int) -> bool:
        return not hours.days or day in hours.days

    if hours.from_minute < hours.to_minute:
        return begins(weekday) and hours.from_minute <= minute < hours.to_minute
    return (begins(weekday) and minute >= hours.from_minute) or (begins((weekday - 1) % 7) and minute < hours.to_minute)


def is_quiet(quiet: tuple[Hours, ...], local: int) -> bool:
    """Whether one of the quiet hours holds this local time (ms)."""
    return any(in_hours(hours, local // 60_000) for hours in quiet)


def is_open(quiet: tuple[Hours, ...], window: tuple[Hours, ...], local: int) -> bool:
    """Whether something may be done at this local time (ms)."""
    return not is_quiet(quiet, local) and (not window or is_quiet(window, local))


def opening(quiet: tuple[Hours, ...], window: tuple[Hours, ...], local: int) -> int:
    """The first local time (ms) from this one on at which something may be done."""
    if is_open(quiet, window, local):
        return local
    minute = local // 60_000 + 1
    return (minute + _minutes_to_wait(quiet, window, minute % WEEK_MINUTES)) * 60_000


@lru_cache(maxsize=100_000)
def _minutes_to_wait(quiet: tuple[Hours, ...], window: tuple[Hours, ...], minute_of_week: int) -> int:
    # A week's minutes counted from a Thursday, as the minutes since 1970 are.
    return next(n for n in range(WEEK_MINUTES + 1) if is_open(quiet, window, (minute_of_week + n) * 60_000))
