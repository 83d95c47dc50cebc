"""Who comes into a segment and who goes out, once more: from the whole history, by docs/triggers.md, "Segments as causes".

It keeps the inputs and what it said of them. What a feature is at a time is counted in the list of events, and a subject is
looked at on every occasion there is, whether or not anything could have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reflexarc_core.event import Event

HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass(frozen=True)
class Feature:
    """value: of a subject at a time, None for none. edge: the newest time, not after another, at which time alone changed it; -1
    for none."""

    value: Callable[[Subject, int], float | None]
    edge: Callable[[Subject, int], int]


@dataclass
class Subject:
    """events: (engine time, event), as they came. looked: when it was last looked at, ms. inside: by segment."""

    events: list[tuple[int, Event]] = field(default_factory=list)
    looked: int = -1
    inside: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """holds: of the values that are there. features: by name. counts: event types after which it is looked at."""

    holds: Callable[[Mapping[str, float]], bool]
    features: Mapping[str, Feature]
    counts: tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """way: `entered` or `left`. time: of the event, or the edge; by_time: whether it was seen because time passed."""

    subject: str
    segment: str
    way: str
    time: int
    by_time: bool


class Memberships:
    """Takes inputs one after the other, and says who crossed."""

    def __init__(self, segments: Mapping[str, Segment]) -> None:
        self.segments = dict(segments)
        self.subjects: dict[str, Subject] = {}

    def event(self, event: Event, now: int) -> list[Crossing]:
        subject = self.subjects.setdefault(event.subject, Subject())
        said = self._time(event.subject, now)
        subject.events.append((now, event))
        changed = [name for name, one in self.segments.items() if event.event_type in one.counts]
        if changed:
            said += self._look(event.subject, changed, now, event.event_time, by_time=False)
            subject.looked = now
        return said

    def tick(self, now: int) -> list[Crossing]:
        return [one for name in self.subjects for one in self._time(name, now)]

    def switch(self, segments: Mapping[str, Segment], same: set[str], now: int) -> list[Crossing]:
        """Other segments are followed from now on; same: those that mean what they did."""
        said = self.tick(now)
        self.segments = dict(segments)
        for subject in self.subjects.values():
            subject.inside = {
                name: subject.inside.get(name, False) if name in same else self._is_in(subject, name, now)
                for name in self.segments
            }
            subject.looked = now
        return said

    def _time(self, name: str, now: int) -> list[Crossing]:
        subject = self.subjects[name]
        edges = [each.edge(subject, now) for one in self.segments.values() for each in one.features.values()]
        edge = max(edges, default=-1)
        if edge <= subject.looked:
            return []
        subject.looked = edge
        return self._look(name, list(self.segments), edge, edge, by_time=True)

    def _look(self, name: str, segments: list[str], at: int, time: int, *, by_time: bool) -> list[Crossing]:
        subject, said = self.subjects[name], list[Crossing]()
        for segment in segments:
            is_in = self._is_in(subject, segment, at)
            if is_in != subject.inside.get(segment, False):
                said.append(Crossing(name, segment, "entered" if is_in else "left", time, by_time))
            subject.inside[segment] = is_in
        return said

    def _is_in(self, subject: Subject, segment: str, at: int) -> bool:
        one = self.segments[segment]
        values = {name: each.value(subject, at) for name, each in one.features.items()}
        return one.holds({name: value for name, value in values.items() if value is not None})


def count(event_type: str, window: int, bucket: int) -> Feature:
    """How many of these events lie in the whole buckets that make the window, the one of now being the last."""

    def value(subject: Subject, at: int) -> float:
        ages = [at // bucket - time // bucket for time in _times(subject, event_type)]
        return float(len([age for age in ages if 0 <= age < window // bucket]))

    def edge(subject: Subject, now: int) -> int:
        """A bucket begins, and just before there was something in the window."""
        for edge in range(now // bucket * bucket, min(_times(subject, event_type), default=now), -bucket):
            if value(subject, edge - 1):
                return edge
        return -1

    return Feature(value, edge)


def total(event_type: str) -> Feature:
    """How many there ever were; time changes nothing of it."""
    return Feature(lambda subject, at: float(len(_times(subject, event_type))), lambda subject, now: -1)


def recency(event_type: str) -> Feature:
    """Days since the newest; no value without any. It is looked at on the hour."""

    def value(subject: Subject, at: int) -> float | None:
        times = _times(subject, event_type)
        return max(0, at - max(times)) / DAY if times else None

    return Feature(value, lambda subject, now: now // HOUR * HOUR if _times(subject, event_type) else -1)


def decayed(event_type: str, half_life: int) -> Feature:
    """Every event halves in a half-life. It is looked at on the hour."""

    def value(subject: Subject, at: int) -> float:
        return sum(0.5 ** ((at - time) / half_life) for time in _times(subject, event_type))

    return Feature(value, lambda subject, now: now // HOUR * HOUR if _times(subject, event_type) else -1)


def _times(subject: Subject, event_type: str) -> list[int]:
    return [event.event_time for _, event in subject.events if event.event_type == event_type]
