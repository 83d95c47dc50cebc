"""The hours of the week in which one subject acts: its own counts, smoothed round the week, drawn towards everybody's.

Owns the arithmetic of an hour-of-week intensity, in integers, so that it is the same on every host. Knows nobody's events: counts
come in. Reads no clock and no time-zone database (rule 15): an hour is one of local time, by the offset that came with the event.

    score[h] = sum over c of count[c] * (near[distance of the hours of the week] + daily[distance of the hours of the day])
               + strength * everybody[h]

`near` spreads an event over the hours beside its own, `daily` over the same hour of all days; together they spread SCALE.
`everybody` adds up to SCALE too, so `strength` is a number of events: a subject with as many has a say of one half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reflexarc_core.errors import DefinitionError
from reflexarc_core.hours import DAY_MS, WEEK_MS, Hours
from reflexarc_core.value import frozen

HOUR_MS: Final = 3_600_000
HOURS_OF_WEEK: Final = 168
HOURS_OF_DAY: Final = 24
SCALE: Final = 65_536
CHOSEN_COUNT: Final = 6
"""Hours of the week that are a subject's best ones."""
COUNT_MAX: Final = 1_000_000
"""Of one hour; more say nothing more, and every sum stays small."""
_MONDAY: Final = 4 * DAY_MS


@frozen
class Intensity:
    """What has been learned of everybody, and how far a subject is told apart from it.

    everybody: share of the events in each hour of the local week, from Monday 00:00, in 1/SCALE, none 0. near: by the distance
    round the week, daily: by the distance round the day, both in 1/SCALE, far ones left out. strength: in events.
    """

    everybody: tuple[int, ...]
    near: tuple[int, ...]
    daily: tuple[int, ...]
    strength: int


@dataclass(slots=True)
class Week:
    """What is kept of one subject: hour of the local week -> occasions. last: the local hour that counted last, since 1970."""

    counts: dict[int, int] = field(default_factory=dict)
    last: int = -1

    def happened(self, local: int) -> None:
        """It did it at this local time (ms): several times in one hour are one occasion."""
        number = local // HOUR_MS
        if number != self.last:
            self.last = number
            hour = hour_of_week(local)
            self.counts[hour] = min(self.counts.get(hour, 0) + 1, COUNT_MAX)

    def to_plain(self) -> dict[str, Any]:
        """JSON-able."""
        return {"counts": [[hour, count] for hour, count in sorted(self.counts.items())], "last": self.last}

    @staticmethod
    def from_plain(kept: Mapping[str, Any]) -> Week:
        """What `to_plain` made."""
        return Week(dict(kept["counts"]), kept["last"])


def check(intensity: Intensity) -> None:
    """Raises DefinitionError when the tables cannot be meant."""
    wrong = (
        len(intensity.everybody) != HOURS_OF_WEEK
        or min(intensity.everybody, default=0) < 1
        or sum(intensity.everybody) > 2 * SCALE
        or len(intensity.near) > HOURS_OF_WEEK // 2 + 1
        or len(intensity.daily) > HOURS_OF_DAY // 2 + 1
        or any(not 0 <= weight <= SCALE for weight in (*intensity.near, *intensity.daily))
        or not 1 <= intensity.strength <= COUNT_MAX
    )
    if wrong:
        raise DefinitionError("the hours of the week hold tables that cannot be meant", hint="train them again")


def hour_of_week(local: int) -> int:
    """The hour of the local week, 0 = Monday 00:00, of a local time (ms: UTC plus its offset)."""
    return (local - _MONDAY) % WEEK_MS // HOUR_MS


def scores(intensity: Intensity, counts: Mapping[int, int]) -> list[int]:
    """A whole number over 0 for each hour of the week: likelier hours have larger ones. counts: hour of the week -> events; empty
    for a subject of whom nothing is known, who is taken for everybody.
    """
    found = [intensity.strength * share for share in intensity.everybody]
    for hour, events in counts.items():
        weight = min(events, COUNT_MAX)
        # Both sides meet where they are half way round: a set counts that hour once.
        for step, spread in enumerate(intensity.near):
            for at in {(hour + step) % HOURS_OF_WEEK, (hour - step) % HOURS_OF_WEEK} if spread else ():
                found[at] += weight * spread
        for step, spread in enumerate(intensity.daily):
            for at in {(hour + step) % HOURS_OF_DAY, (hour - step) % HOURS_OF_DAY} if spread else ():
                for day in range(7):
                    found[day * HOURS_OF_DAY + at] += weight * spread
    return found


def best_hours(intensity: Intensity, counts: Mapping[int, int], count: int = CHOSEN_COUNT) -> tuple[int, ...]:
    """The `count` likeliest hours of the subject's week, ascending; of equal ones the earlier."""
    found = scores(intensity, counts)
    return tuple(sorted(sorted(range(HOURS_OF_WEEK), key=lambda hour: (-found[hour], hour))[:count]))


def stretches(hours: Sequence[int]) -> tuple[Hours, ...]:
    """Hours of the week as a policy has them: an hour each, on its day."""
    minutes = [(hour // HOURS_OF_DAY, hour % HOURS_OF_DAY * 60) for hour in hours]
    return tuple(Hours(begin, (begin + 60) % (HOURS_OF_DAY * 60), (day,)) for day, begin in minutes)
