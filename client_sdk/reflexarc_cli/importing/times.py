"""Times as text, to milliseconds since the Unix epoch UTC.

Owns the rule for local times: a time without offset is local to the mapping's zone. One that occurs twice (clocks go
back) is the first of the two; one that does not exist (clocks go forward) is moved forward by the gap.
"""

import datetime
import functools
import zoneinfo
from typing import Final

from reflexarc_core.errors import DefinitionError

TIME_FORMATS: Final = ("iso", "epoch_s", "epoch_ms")
TIME_MAX: Final = 253_402_300_799_999
"""End of the year 9999, ms."""

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND: Final = datetime.timedelta(milliseconds=1)


@functools.lru_cache(maxsize=64)
def zone_of(name: str) -> datetime.tzinfo:
    """The zone of an IANA name. Raises DefinitionError when this machine knows none."""
    if name == "UTC":
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise DefinitionError(
            f"no time zone {name!r}", hint="an IANA name such as Europe/London; without a system database: pip install tzdata"
        ) from None


class TimeReader:
    """Reads times of one format. Raises DefinitionError when the zone is not known."""

    def __init__(self, time_format: str, zone: str) -> None:
        self._format = time_format
        self._zone = zone_of(zone)

    def read(self, value: object) -> int:
        """Milliseconds since 1970 UTC, fractions of one cut off. Raises ValueError when the value is no such time."""
        if self._format in ("epoch_s", "epoch_ms"):
            found = self._epoch(value)
        elif not isinstance(value, str):
            raise ValueError
        elif self._format == "iso":
            found = self._at(datetime.datetime.fromisoformat(value.strip()))
        else:
            found = self._at(datetime.datetime.strptime(value.strip(), self._format))
        if not 0 <= found <= TIME_MAX:
            raise ValueError
        return found

    def _epoch(self, value: object) -> int:
        factor = 1000 if self._format == "epoch_s" else 1
        if isinstance(value, str):
            value = value.strip()
            if value.isdecimal():
                return int(value) * factor
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        number = float(value)
        if number - number != 0.0:
            raise ValueError
        return int(number * factor)

    def _at(self, moment: datetime.datetime) -> int:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._zone)
        return (moment - _EPOCH) // _MILLISECOND
