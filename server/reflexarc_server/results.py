"""Results: what triggers brought, against their holdout.

Owns the statistics and the rule of the join (rule 23): the goal counts inside the window behind a subject's first
fired or held-out decision, the same way for both. Reads the store, changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Reason
from reflexarc_server.links import Links
from reflexarc_server.store.port import Store

Z: Final = 1.959963984540054
"""Standard normal quantile of 97.5 %: two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Lift:
    """Difference of two shares and its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the split: subjects, and how many reached the goal."""

    subject_count: int
    goal_count: int


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """One trigger. reasons: decisions by last reason. lift: None without a goal or with an empty side."""

    trigger_id: str
    reasons: tuple[tuple[str, int], ...]
    treated: Arm
    held_out: Arm
    goal_event_types: tuple[str, ...]
    goal_within_ms: int
    lift: Lift | None
    open_window_count: int
    crossed_count: int
    outcomes: tuple[tuple[str, int], ...]


def wilson(count: int, of: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share (E. B. Wilson, JASA 22, 1927). of: over 0."""
    share = count / of
    middle = share + z * z / (2 * of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return (middle - half) / scale, (middle + half) / scale


def newcombe(treated: Arm, held_out: Arm, z: float = Z) -> Lift | None:
    """Difference of shares with Newcombe's hybrid score interval (R. G. Newcombe, Statistics in Medicine 17, 1998,
    method 10). None when a side is empty."""
    if not treated.subject_count or not held_out.subject_count:
        return None
    p1 = treated.goal_count / treated.subject_count
    p2 = held_out.goal_count / held_out.subject_count
    low1, high1 = wilson(treated.goal_count, treated.subject_count, z)
    low2, high2 = wilson(held_out.goal_count, held_out.subject_count, z)
    difference = p1 - p2
    return Lift(
        difference,
        difference - math.sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2),
        difference + math.sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2),
    )


class Results:
    """Reports over a store. catalog: the live one, whose goals count. links: linked subjects count as one person."""

    def __init__(self, store: Store, catalog: Callable[[], Catalog], links: Links) -> None:
        self._store = store
        self._links = links
        self._catalog = catalog

    def triggers(self, now: int, trigger_ids: Sequence[str] = (), since: int = 0, until: int = 0) -> list[TriggerResult]:
        """Results by trigger id: those named, or all of the catalog and all that ever decided. Times in ms, 0 for open."""
        catalog = self._catalog()
        reasons: dict[str, dict[str, int]] = {}
        for trigger_id, _, reason, count in self._store.last_reasons("", since, until):
            held = reasons.setdefault(trigger_id, {})
            held[reason] = held.get(reason, 0) + count
        wanted = sorted(set(trigger_ids) or {*catalog.triggers, *reasons})
        return [self._one(catalog, t, reasons.get(t, {}), now, since, until) for t in wanted]

    def _one(self, catalog: Catalog, trigger_id: str, reasons: dict[str, int], now: int, since: int, until: int) -> TriggerResult:
        trigger = catalog.triggers.get(trigger_id)
        goal = trigger.goal if trigger is not None else None
        by_subject = trigger is None or trigger.policy.holdout is None or trigger.policy.holdout.unit == "subject"
        first: dict[str, tuple[str, int]] = {}
        crossed: set[str] = set()
        for subject, reason, decision_time in self._store.arms(trigger_id, since, until):
            person = self._links.canonical(subject)
            kept = first.setdefault(person, (reason, decision_time))
            if by_subject and kept[0] != reason:
                crossed.add(person)
        subjects = {Reason.FIRED.value: 0, Reason.HOLDOUT.value: 0}
        goals = dict(subjects)
        open_windows = 0
        for subject, (reason, decision_time) in first.items():
            if subject in crossed:
                continue
            subjects[reason] += 1
            if goal is not None:
                end = decision_time + goal.within_ms
                open_windows += end > now
                members = self._links.members(subject)
                goals[reason] += any(self._store.reached(each, goal.event_types, decision_time, end) for each in members)
        treated = Arm(subjects[Reason.FIRED], goals[Reason.FIRED])
        held_out = Arm(subjects[Reason.HOLDOUT], goals[Reason.HOLDOUT])
        return TriggerResult(
            trigger_id=trigger_id,
            reasons=tuple(sorted(reasons.items())),
            treated=treated,
            held_out=held_out,
            goal_event_types=goal.event_types if goal is not None else (),
            goal_within_ms=goal.within_ms if goal is not None else 0,
            lift=newcombe(treated, held_out) if goal is not None else None,
            open_window_count=open_windows,
            crossed_count=len(crossed),
            outcomes=tuple(self._store.outcomes(trigger_id)),
        )
