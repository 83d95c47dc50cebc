"""Segments that are followed: which subjects are in them, who is told when one is entered or left, when that is looked at.

Owns membership and the moments of docs/triggers.md, "Segments as causes". Only segments that a trigger of this placement listens
to are followed, at the server also those declared `tracked`: nobody pays for the others. Pure. Must never decide anything, and
never read a clock: a look is handed the time it is made for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from reflexarc_core import plain
from reflexarc_core.aggregation import DECAYED_SUM, RECENCY
from reflexarc_core.condition import CheckedExpression, Compiled, EvaluationError, only_lines
from reflexarc_core.event import about
from reflexarc_core.feature import FeatureDefinition, Layout, Slot
from reflexarc_core.feature_source import Read
from reflexarc_core.moments import Lines, last_look, next_look, only_falls
from reflexarc_core.trigger import Trigger
from reflexarc_core.value import changeable, frozen

ENTERED, LEFT = "entered", "left"
"""The two sides of a change; `entered:NAME` and `left:NAME` are the instances of the triggers that are told."""

HOUR_MS: Final = 3_600_000
FLOW_HOURS_KEPT: Final = 31 * 24
"""Hours back for which it is counted how many entered and left."""

Flows = dict[str, dict[int, list[int]]]
"""Segment -> hour (engine time // HOUR_MS) -> [how many entered, how many left] within it."""


@changeable
class Membership:
    """One subject's. inside: the followed segments it is in, by name. due_time: engine time (ms) at which time alone may change
    that next, 0 = never."""

    inside: list[str]
    due_time: int = 0


@frozen
class Watched:
    """One segment that is followed. meaning: digest of its condition and of the features behind it; membership is kept under it.

    entered, left: who is told, by name.
    """

    name: str
    condition: Compiled
    meaning: str
    features: tuple[str, ...]
    is_about: bool
    entered: tuple[Trigger, ...]
    left: tuple[Trigger, ...]


class Watch:
    """What one plan follows. Empty for most.

    by_name: the segments; read: all their features; counts: whether entering and leaving is counted for reports.
    """

    def __init__(
        self,
        segments: Mapping[str, CheckedExpression],
        tracked: Iterable[str],
        triggers: Mapping[str, Trigger],
        compiled: Callable[[str], Compiled],
    ) -> None:
        listened = {name for trigger in triggers.values() for name in trigger.crossed}
        self.names: Final = tuple(name for name in sorted({*listened, *tracked}) if name in segments)
        self._checked = {name: segments[name] for name in self.names}
        self._triggers = triggers
        self._compiled = compiled
        self.by_name: Mapping[str, Watched] = {}
        self.read: Read | None = None
        self._slots: tuple[tuple[Slot, Lines], ...] = ()

    def lay_out(
        self, layout: Layout, features: Mapping[str, FeatureDefinition], reading: Callable[[Iterable[str]], Read]
    ) -> None:
        """Find the features behind the segments. layout: of those folded here, without a key."""
        self.by_name = {name: self._watched(name, features) for name in self.names}
        behind = sorted({feature for one in self.by_name.values() for feature in one.features})
        self.read = reading(behind) if self.names else None
        slots = [layout.by_name[name] for name in behind if name in layout.by_name]
        self._slots = tuple((slot, self._lines(slot)) for slot in slots)

    def touched_by(self, event_type: str) -> tuple[Watched, ...]:
        """The segments that such an event may change: one of their features counts it."""
        counting = {slot.definition.name for slot, _ in self._slots if event_type in slot.definition.event_types}
        return tuple(one for one in self.by_name.values() if counting.intersection(one.features))

    def resting_on(self, values: Iterable[str]) -> tuple[Watched, ...]:
        """The segments that read one of these features."""
        given = set(values)
        return tuple(one for one in self.by_name.values() if given.intersection(one.features))

    def edge(self, vector: list[float], now: int) -> int:
        """The newest moment, not behind `now` (ms), at which time alone may have changed anything for these cells."""
        return max((last_look(slot, vector, now) for slot, _ in self._slots), default=now)

    def next_due(self, vector: list[float], now: int, found: Mapping[str, float]) -> int:
        """The next such moment for a subject with these cells; 0 when time changes nothing for it any more. found: what was read
        of them as of now already."""
        times = [next_look(slot, vector, now, lines, found.get(slot.definition.name)) for slot, lines in self._slots]
        return min([time for time in times if time], default=0)

    def crossed(
        self, subject_key: str, inside: list[str], watched: Iterable[Watched], found: Mapping[str, float]
    ) -> list[tuple[Watched, str]]:
        """Put right which of `watched` the subject is in, by these values; what changed, and which way.

        In a segment is whom its condition is true of: one that has no value is not.
        """
        changed: list[tuple[Watched, str]] = []
        for one in watched:
            try:
                holds = bool(one.condition.evaluate({}, found, {}, about(subject_key) if one.is_about else {}))
            except EvaluationError:
                holds = False
            if holds is not (one.name in inside):
                changed.append((one, ENTERED if holds else LEFT))
                if holds:
                    inside.append(one.name)
                    inside.sort()
                else:
                    inside.remove(one.name)
        return changed

    def _lines(self, slot: Slot) -> Lines:
        """What all the segments compare a feature with; None where that does not say when it matters."""
        if slot.kind not in (DECAYED_SUM, RECENCY) and not only_falls(slot):
            return None
        found = [only_lines(checked, f"features.{slot.definition.name}") for checked in self._checked.values()]
        known = [lines for lines in found if lines is not None]
        return tuple(sorted({line for lines in known for line in lines})) if len(known) == len(found) else None

    def _watched(self, name: str, features: Mapping[str, FeatureDefinition]) -> Watched:
        checked = self._checked[name]
        read = tuple(held.partition(".")[2] for held in checked.reads if held.startswith("features."))
        meaning = plain.digest([plain.to_plain(checked), [features[feature].digest for feature in read]])
        return Watched(
            name,
            self._compiled(name),
            meaning,
            read,
            any(held.startswith("subject.") for held in checked.reads),
            tuple(trigger for trigger in self._triggers.values() if name in trigger.segment_entered),
            tuple(trigger for trigger in self._triggers.values() if name in trigger.segment_left),
        )


def reads_more_than_features(checked: CheckedExpression, features: Mapping[str, FeatureDefinition]) -> str:
    """The first name that a segment reads and that a subject does not keep; empty when it can be followed."""
    for name in checked.reads:
        space, _, rest = name.partition(".")
        if space == "event" or (space == "features" and rest in features and features[rest].key):
            return name
    return ""


def count(flows: Flows, name: str, way: str, time: int) -> None:
    """One subject crossed. time: engine time, ms; hours that are too long ago are forgotten."""
    hour = time // HOUR_MS
    by_hour = flows.setdefault(name, {})
    if hour not in by_hour:
        for old in [held for held in by_hour if held <= hour - FLOW_HOURS_KEPT]:
            del by_hour[old]
        by_hour[hour] = [0, 0]
    by_hour[hour][0 if way == ENTERED else 1] += 1


def membership_plain(membership: Membership) -> list[Any]:
    """JSON-able."""
    return [list(membership.inside), membership.due_time]


def membership_back(kept: list[Any]) -> Membership:
    """Of its `membership_plain`."""
    return Membership(list(kept[0]), kept[1])
