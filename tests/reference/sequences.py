"""Content sequences, from the whole history every time: docs/triggers.md, "Content sequences".

Nothing is carried along: where a sequence stands is asked of the two lists. Must never be quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_core.record import CatalogInput, EventInput
from reflexarc_core.trigger import Trigger
from tests.reference.lists import Concluded, Taken

DISMISSALS = 3


@dataclass(frozen=True)
class UnderWay:
    """taken: further steps so far. decision_id: of the newest step. due: when the next is due by itself, 0 = never."""

    taken: int
    decision_id: str
    dismissals: int
    due: int
    assignment: str


def under_way(history: list[Taken], first: Catalog, made: Iterable[Concluded], trigger_id: str, subject: str) -> UnderWay | None:
    """Where the sequence of a trigger and a subject stands behind everything so far. history: what still counts for the subject;
    first: the catalog before it. made: what was made for the subject."""
    found: UnderWay | None = None
    by_number: dict[int, list[Concluded]] = {}
    for one in made:
        if one.trigger_id == trigger_id:
            by_number.setdefault(one.number, []).append(one)
    live = first
    for seen in history:
        before, live = live, seen.catalog
        if isinstance(seen.given, EventInput) and seen.given.event.subject == subject:
            found = _after(found, seen.given.event, live.triggers.get(trigger_id))
        # What a switch concludes is concluded by the catalog before it.
        is_switch = isinstance(seen.given, CatalogInput)
        for one in by_number.pop(seen.number, []):
            found = _with(found, one, (before if is_switch else live).triggers.get(trigger_id))
        if is_switch:
            trigger = live.triggers.get(trigger_id)
            if trigger is None or (found is not None and found.taken >= len(trigger.follows)):
                found = None
    return found


def _after(found: UnderWay | None, event: Event, trigger: Trigger | None) -> UnderWay | None:
    """An event of the subject: the end of it, or a dismissal."""
    if event.event_type == "reset" or (trigger is not None and event.event_type in trigger.policy.exit):
        return None
    if found is None or not is_outcome_of(found, event) or event.properties["kind"] != "dismissal":
        return found
    return replace(found, dismissals=found.dismissals + 1) if found.dismissals + 1 < DISMISSALS else None


def _with(found: UnderWay | None, one: Concluded, trigger: Trigger | None) -> UnderWay | None:
    """A record of the trigger for the subject: the beginning of it, or a step."""
    if trigger is None:
        return found
    if not one.begins:
        if found is None or one.record:
            return found
        taken = found.taken + 1
        if taken >= len(trigger.follows):
            return None
        return replace(found, taken=taken, decision_id=one.decision_id, due=_due(trigger, taken, one.time))
    if found is None and one.acts and trigger.follows:
        return UnderWay(0, one.decision_id, 0, _due(trigger, 0, one.time), one.assignment)
    return found


def _due(trigger: Trigger, taken: int, now: int) -> int:
    wait = trigger.follows[taken].wait_ms
    return now + wait if wait else 0


def is_outcome_of(found: UnderWay, event: Event) -> bool:
    """Whether it is an outcome of the newest step's decision."""
    return event.event_type == "outcome" and event.properties.get("decision_id") == found.decision_id
