"""Segments as they stand: how many subjects are in each, and how many came and went.

Owns the counting: of a followed segment by who its engine says is in it, of any other by looking at everybody now. It reads the
fold's state a slice of subjects at a time, so that nobody waits long for it. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.plan import Plan
from reflexarc_core.segment import FLOW_HOURS_KEPT, HOUR_MS, Watch, reads_more_than_features
from reflexarc_core.state import State
from reflexarc_server.fold import Fold

SLICE: Final = 500
"""Subjects that are looked at in one go, while nothing is folded."""


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """One segment of the live catalog. subject_count: None for one that no subject keeps what it reads of.

    is_followed: a trigger of the server waits for it, or it is tracked; entered_count, left_count: 0 for any other.
    """

    name: str
    subject_count: int | None
    is_followed: bool
    entered_count: int
    left_count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """All of them. subject_count: subjects there are. as_of_time, since_time, until_time: engine time, ms; the last two are whole
    hours, in which it was counted who came and went."""

    segments: tuple[SegmentResult, ...]
    subject_count: int
    as_of_time: int
    since_time: int
    until_time: int


class Segments:
    """Of one server."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def standing(self, names: Sequence[str] = (), since: int = 0, until: int = 0) -> Standing:
        """The segments named, all of the live catalog without any. since, until: ms, 0 for as far as it is counted.

        Raises InvalidEventError when the live catalog has no such segment, or until is before since.
        """
        if until and until < since:
            raise InvalidEventError("a window that ends before it begins", hint="give since before until")
        found = None
        while found is None:  # a catalog that becomes live meanwhile begins the count anew
            found = self._counted(names, since, until)
        return found

    def _counted(self, names: Sequence[str], since: int, until: int) -> Standing | None:
        """None when another catalog became live meanwhile."""
        plan, subjects, now = self._fold.read(lambda plan, state, now: (plan, list(state.subjects), now))
        declared = plan.catalog.segments
        wanted = sorted(set(names)) or sorted(declared)
        for name in wanted:
            if name not in declared:
                known = ", ".join(sorted(declared)) or "none"
                raise InvalidEventError("the live catalog has no such segment", hint=f"known: {known}")
        countable = [name for name in wanted if not reads_more_than_features(declared[name], plan.catalog.features)]
        looking = _watch_of(plan, [name for name in countable if name not in plan.watch.names])
        counts = dict.fromkeys(countable, 0)

        def look(keys: Sequence[str], live: Plan, state: State, at: int) -> bool:
            if live is not plan:
                return False
            for key in keys:
                subject = state.subjects.get(key)
                if subject is None:
                    continue
                inside = list(subject.membership.inside) if subject.membership is not None else []
                if looking.read is not None:
                    found = looking.read(subject.vector, {}, subject.values, at)
                    looking.crossed(key, inside, tuple(looking.by_name.values()), found)
                for name in inside:
                    if name in counts:
                        counts[name] += 1
            return True

        for start in range(0, len(subjects), SLICE):
            if not self._fold.read(partial(look, subjects[start : start + SLICE])):
                return None
        kept_since = (now // HOUR_MS - FLOW_HOURS_KEPT + 1) * HOUR_MS
        begin = max(since // HOUR_MS * HOUR_MS, kept_since)
        end = max(-(-(until or now + 1) // HOUR_MS) * HOUR_MS, begin)
        flows = self._fold.read(lambda live, state, at: {name: _flow(state, name, begin, end) for name in wanted})
        results = [SegmentResult(name, counts.get(name), name in plan.watch.names, *flows[name]) for name in wanted]
        return Standing(tuple(results), len(subjects), now, begin, end)


def _watch_of(plan: Plan, names: Sequence[str]) -> Watch:
    """What looks at segments that are not followed."""
    watch = Watch(plan.catalog.segments, names, {}, lambda name: plan.segments[name][0])
    watch.lay_out(plan.layouts[""], plan.catalog.features, plan.reading)
    return watch


def _flow(state: State, name: str, begin: int, end: int) -> tuple[int, int]:
    hours = [two for hour, two in state.flows.get(name, {}).items() if begin <= hour * HOUR_MS < end]
    return sum(two[0] for two in hours), sum(two[1] for two in hours)
