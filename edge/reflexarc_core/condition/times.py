"""Timestamps and durations as CEL has them: int nanoseconds, UTC, no time-zone database.

Source: the CEL language definition (timestamps of years 1 to 9999, durations that fit 64 bits of nanoseconds: 292
years). Must never read a clock.
"""

from __future__ import annotations

import datetime
import functools
import re
from typing import Final

from reflexarc_core.condition import evaluation_error as kinds
from reflexarc_core.condition.evaluation_error import EvaluationError

NS: Final = 1_000_000_000
TIMESTAMP_MIN: Final = -62_135_596_800 * NS
TIMESTAMP_MAX: Final = 253_402_300_800 * NS - 1
DURATION_MAX: Final = 2**63 - 1
CYCLE: Final = 146_097 * 86_400 * NS  # the Gregorian calendar's, 400 years

_EPOCH: Final = datetime.datetime(1970, 1, 1)
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
_OFFSET = re.compile(r"([+-]?)([01]\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|ms|s|m|h))+\Z", re.ASCII)
_DURATION_PART = re.compile(r"(\d*)\.?(\d*)(ns|us|ms|s|m|h)", re.ASCII)
_UNITS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS, "m": 60 * NS, "h": 3_600 * NS}


def parse_timestamp(text: str) -> int:
    """RFC 3339 to nanoseconds since the epoch. Raises ValueError when the text is none."""
    found = _TIMESTAMP.match(text)
    if not found:
        raise ValueError("write RFC 3339, such as 2026-01-31T08:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    at = datetime.datetime(year, month, day, hour, minute, second) - _EPOCH
    offset = found[8]
    shift = 0 if offset in "Zz" else (int(offset[1:3]) * 60 + int(offset[4:6])) * (60 if offset[0] == "+" else -60)
    if abs(shift) >= 86_400:
        raise ValueError("write an offset of less than a day")
    return (at.days * 86_400 + at.seconds - shift) * NS + int((found[7] or "0").ljust(9, "0"))


def parse_duration(text: str) -> int:
    """`1h30m`, `250ms`, `-1.5s` to nanoseconds. Raises ValueError when the text is none."""
    if text in ("0", "+0", "-0"):
        return 0
    if not _DURATION.match(text):
        raise ValueError("write numbers with units, such as 1h30m or 250ms")
    total = 0
    for whole, fraction, unit in _DURATION_PART.findall(text.lstrip("+-")):
        total += int(whole or "0") * _UNITS[unit]
        if fraction:
            total += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
    return -total if text.startswith("-") else total


def as_timestamp(ns: int) -> int:
    """The value, or an error outside the years 1 to 9999."""
    if TIMESTAMP_MIN <= ns <= TIMESTAMP_MAX:
        return ns
    raise EvaluationError(kinds.ARITHMETIC, None, "timestamp overflow")


def as_duration(ns: int) -> int:
    """The value, or an error beyond 292 years."""
    if -DURATION_MAX - 1 <= ns <= DURATION_MAX:
        return ns
    raise EvaluationError(kinds.ARITHMETIC, None, "duration overflow")


def seconds_to_timestamp(seconds: int) -> int:
    """Unix seconds."""
    return as_timestamp(seconds * NS)


def to_seconds(ns: int) -> int:
    """Unix seconds, rounded down."""
    return ns // NS


def _date(ns: int) -> datetime.datetime:
    if not TIMESTAMP_MIN <= ns <= TIMESTAMP_MAX:  # an offset led beyond: 400 years on or back every day is alike
        ns += CYCLE if ns < TIMESTAMP_MIN else -CYCLE
    return _EPOCH + datetime.timedelta(seconds=as_timestamp(ns) // NS)


@functools.lru_cache(maxsize=64)
def parse_offset(text: str) -> int:
    """`+02:00`, `-03:30` or `UTC` in nanoseconds. Raises ValueError for anything else: names of zones above all, since
    what they mean changes from year to year."""
    if text == "UTC":
        return 0
    found = _OFFSET.match(text)
    if not found:
        raise ValueError("write a fixed offset, such as +02:00")
    size = (int(found[2]) * 60 + int(found[3])) * 60 * NS
    return -size if found[1] == "-" else size


def shifted(ns: int, offset: str) -> int:
    """The moment as a clock at that offset shows it, to be read as if it were UTC. Raises EvaluationError for no offset."""
    try:
        return ns + parse_offset(offset)
    except ValueError as error:
        raise EvaluationError(kinds.CONVERSION, None, f"{offset!r}: {error}") from None


def year(ns: int) -> int:
    """Year; 0 and 10000 are those that an offset leads to."""
    if TIMESTAMP_MIN <= ns <= TIMESTAMP_MAX:
        return _date(ns).year
    return 0 if ns < TIMESTAMP_MIN else 10_000


def month(ns: int) -> int:
    """0 = January."""
    return _date(ns).month - 1


def day_of_month(ns: int) -> int:
    """0 = the first."""
    return _date(ns).day - 1


def date(ns: int) -> int:
    """1 = the first."""
    return _date(ns).day


def day_of_week(ns: int) -> int:
    """0 = Sunday."""
    return _date(ns).isoweekday() % 7


def day_of_year(ns: int) -> int:
    """0 = the first of January."""
    return _date(ns).timetuple().tm_yday - 1


def hours(ns: int) -> int:
    """Hour of the day, UTC."""
    return ns // (3_600 * NS) % 24


def minutes(ns: int) -> int:
    """Minute of the hour."""
    return ns // (60 * NS) % 60


def seconds(ns: int) -> int:
    """Second of the minute."""
    return ns // NS % 60


def milliseconds(ns: int) -> int:
    """Millisecond of the second."""
    return ns // 1_000_000 % 1_000


def _whole(ns: int, unit: int) -> int:
    return ns // unit if ns >= 0 else -(-ns // unit)


def whole_hours(ns: int) -> int:
    """A duration in hours, towards zero."""
    return _whole(ns, 3_600 * NS)


def whole_minutes(ns: int) -> int:
    """A duration in minutes, towards zero."""
    return _whole(ns, 60 * NS)


def whole_seconds(ns: int) -> int:
    """A duration in seconds, towards zero."""
    return _whole(ns, NS)


def whole_milliseconds(ns: int) -> int:
    """The milliseconds of a duration's last second, towards zero."""
    rest = _whole(ns, 1_000_000)
    return rest % 1_000 if rest >= 0 else -(-rest % 1_000)


def timestamp_text(ns: int) -> str:
    """RFC 3339 in UTC, its fraction in 3, 6 or 9 digits."""
    moment = _date(ns)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}{_fraction(ns % NS)}Z"


def duration_text(ns: int) -> str:
    """Seconds: `5400s`, `-0.25s`."""
    size = abs(ns)
    return f"{'-' if ns < 0 else ''}{size // NS}{_fraction(size % NS)}s"


def _fraction(ns: int) -> str:
    """In groups of three digits, as few as hold it."""
    if ns == 0:
        return ""
    digits = f"{ns:09d}"
    return "." + (digits[:3] if ns % 1_000_000 == 0 else digits[:6] if ns % 1_000 == 0 else digits)
