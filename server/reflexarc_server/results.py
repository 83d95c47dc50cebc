"""Results: what triggers brought, against their holdout.

Owns the rule of the join (rule 23): by *assignment*, whether the action then came or not (held and expired, dropped, never
fetched), the goal counts inside the window behind a subject's first assigned decision, the same way for both sides. Reads the
store, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from reflexarc_core.catalog import Catalog
from reflexarc_core.trigger import Trigger
from reflexarc_server.intervals import Arm, Lift, lift_of
from reflexarc_server.links import Links
from reflexarc_server.store.port import Assigned, Store


@dataclass(frozen=True, slots=True)
class VariantResult:
    """One variant against the whole holdout. lift: None without a goal or with an empty side."""

    name: str
    arm: Arm
    lift: Lift | None


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """One trigger. reasons: decisions by last reason. lift: None without a goal or with an empty side. crossed_count: subjects
    with two assignments; variant_crossed_count: with two variants, which are in the effect and in no variant."""

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
    variants: tuple[VariantResult, ...]
    variant_crossed_count: int


@dataclass(slots=True)
class _Person:
    """What was assigned to one person. first: their first assigned decision; sides, variants: all they ever had."""

    first: Assigned
    sides: set[bool] = field(default_factory=set)
    variants: set[str] = field(default_factory=set)
    is_acted: bool = False
    is_goal: bool = False


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
        people = self._people(trigger_id, since, until)
        # By session or device, one person has several units, and they may well be on both sides.
        holdout = trigger.policy.holdout if trigger is not None else None
        crossed = {name for name, one in people.items() if len(one.sides) > 1 and (holdout is None or holdout.unit == "subject")}
        counted = {name: one for name, one in people.items() if name not in crossed}
        open_windows = 0
        if goal is not None:
            for name, one in counted.items():
                begin, end = one.first.decision_time, one.first.decision_time + goal.within_ms
                open_windows += end > now
                one.is_goal = any(self._store.reached(each, goal.event_types, begin, end) for each in self._links.members(name))
        treated = _arm(one for one in counted.values() if not one.first.is_held_out)
        held_out = _arm(one for one in counted.values() if one.first.is_held_out)
        torn = _torn(trigger, counted)
        names = {one.first.variant for one in counted.values()} | _variants_of(trigger)
        variants = [
            (name, _arm(one for key, one in counted.items() if one.first.variant == name and key not in torn))
            for name in sorted(names - {""})
        ]
        return TriggerResult(
            trigger_id=trigger_id,
            reasons=tuple(sorted(reasons.items())),
            treated=treated,
            held_out=held_out,
            goal_event_types=goal.event_types if goal is not None else (),
            goal_within_ms=goal.within_ms if goal is not None else 0,
            lift=lift_of(treated, held_out) if goal is not None else None,
            open_window_count=open_windows,
            crossed_count=len(crossed),
            outcomes=tuple(self._store.outcomes(trigger_id)),
            variants=tuple(
                VariantResult(name, arm, lift_of(arm, held_out) if goal is not None else None) for name, arm in variants
            ),
            variant_crossed_count=len(torn),
        )

    def _people(self, trigger_id: str, since: int, until: int) -> dict[str, _Person]:
        """Everybody the trigger assigned to a side, linked subjects as one."""
        people: dict[str, _Person] = {}
        for assigned in self._store.assigned(trigger_id, since, until):
            one = people.setdefault(self._links.canonical(assigned.subject), _Person(assigned))
            one.sides.add(assigned.is_held_out)
            one.is_acted |= assigned.is_acted
            if assigned.variant:
                one.variants.add(assigned.variant)
        return people


def _arm(people: Iterable[_Person]) -> Arm:
    held = list(people)
    return Arm(len(held), sum(one.is_goal for one in held), sum(one.is_acted for one in held))


def _torn(trigger: Trigger | None, people: dict[str, _Person]) -> set[str]:
    """Who had two variants though each person has one: linked later, each with its own."""
    variants = trigger.policy.variants if trigger is not None else None
    if variants is not None and variants.unit != "subject":
        return set()
    return {name for name, one in people.items() if len(one.variants) > 1}


def _variants_of(trigger: Trigger | None) -> set[str]:
    variants = trigger.policy.variants if trigger is not None else None
    return {way.name for way in variants.ways} if variants is not None else set()
