"""The switch from one catalog to another: what of every subject's state goes on, and what begins anew (rule 25).

Owns the carrying over. State is kept under what a definition means: unchanged keeps, changed starts empty. Must never decide.
"""

from __future__ import annotations

from reflexarc_core.crossing import carry_membership
from reflexarc_core.plan import Plan
from reflexarc_core.state import State


def carry_over(state: State, old: Plan, new: Plan, now: int) -> None:
    """Everything that is kept by subject, from one plan to the next. now: engine time, ms."""
    _relay(state, old, new, now)
    _end_what_is_under_way(state, old, new)
    carry_membership(state, old, new, now)
    _end_interactions(state, old, new)


def _relay(state: State, old: Plan, new: Plan, now: int) -> None:
    """Move every subject's cells into the new layouts; note which features start from nothing."""
    kept = {slot.definition.digest for layout in old.layouts.values() for slot in layout.slots}
    for layout in new.layouts.values():
        for slot in layout.slots:
            if slot.definition.digest not in kept and old.catalog.features:
                state.warming[slot.definition.name] = now + slot.definition.covers_ms
    for subject_key, subject in state.subjects.items():
        subject.vector = new.layouts[""].carry_over(old.layouts[""], subject.vector)
        subject.older.clear()
        subject.keyed = {
            key: {value: layout.carry_over(old.layouts[key], cells) for value, cells in subject.keyed.get(key, {}).items()}
            for key, layout in new.layouts.items()
            if key and key in old.layouts
        }
        state.dirty.add(subject_key)


def _end_what_is_under_way(state: State, old: Plan, new: Plan) -> None:
    """A pattern that reads otherwise now, or is gone, ends; so does a content sequence that has no step left to take."""
    changed = {
        trigger_id
        for trigger_id, follower in old.followers.items()
        if trigger_id not in new.followers or new.followers[trigger_id].pattern != follower.pattern
    }
    for subject in state.subjects.values():
        if subject.ledger is None:
            continue
        for trigger_id in changed.intersection(subject.ledger.instances):
            del subject.ledger.instances[trigger_id]
        for trigger_id, journey in list(subject.ledger.journeys.items()):
            trigger = new.triggers.get(trigger_id)
            if trigger is None or journey.step >= len(trigger.follows):
                del subject.ledger.journeys[trigger_id]


def _end_interactions(state: State, old: Plan, new: Plan) -> None:
    """What was kept of items that are named or weighed otherwise now, or that nobody ranks any more, goes."""
    gone = {name for name, model in old.ranking.items() if name not in new.ranking or new.ranking[name].items != model.items}
    if not gone:
        return
    for subject_key, subject in state.subjects.items():
        held = subject.interactions
        if held is None or gone.isdisjoint(held):
            continue
        left = {name: items for name, items in held.items() if name not in gone}
        subject.interactions = left or None
        state.dirty.add(subject_key)
