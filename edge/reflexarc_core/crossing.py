"""Crossings: a subject enters or leaves a segment that is followed.

Owns when membership is put right, and which triggers that completes. What becomes of them is the engine's. Pure; it changes the
subject it is handed. Must never touch a subject that no followed segment concerns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reflexarc_core.evaluate import Completed
from reflexarc_core.plan import Plan
from reflexarc_core.segment import LEFT, Membership, Watched, count
from reflexarc_core.state import State, SubjectState
from reflexarc_core.timers import LOOK, Timers, Waiter


def cross(
    plan: Plan,
    state: State,
    timers: Timers,
    subject_key: str,
    subject: SubjectState,
    watched: Sequence[Watched],
    found: Mapping[str, float],
    now: int,
) -> list[Completed]:
    """Look at these segments by these values, read as of `now` (ms); the triggers that wait for what changed."""
    held = subject.membership
    membership = held if held is not None else Membership([])
    changed = plan.watch.crossed(subject_key, membership.inside, watched, found)
    membership.due_time = plan.watch.next_due(subject.vector, now)
    subject.membership = membership if membership.inside or membership.due_time else None
    if membership.due_time:
        timers.set(membership.due_time, Waiter(subject_key, LOOK, ""))
    if not changed:
        return []
    if plan.placement == "server":
        for one, way in changed:
            count(state.flows, one.name, way, now)
    return [(trigger, f"{way}:{one.name}") for one, way in changed for trigger in (one.left if way == LEFT else one.entered)]


def cross_by_time(
    plan: Plan, state: State, timers: Timers, subject_key: str, subject: SubjectState, now: int
) -> tuple[int, list[Completed]]:
    """Look because time passed: as of the newest moment, not after `now`, at which it could change anything. That moment, too.

    Looking again finds nothing: what a snapshot holds may be as of an earlier look.
    """
    edge = plan.watch.edge(subject.vector, now)
    if plan.watch.read is None or subject.membership is None:
        return edge, []
    found = plan.watch.read(subject.vector, {}, subject.values, edge)
    before = list(subject.membership.inside)
    completed = cross(plan, state, timers, subject_key, subject, tuple(plan.watch.by_name.values()), found, edge)
    held = subject.membership
    if before != (held.inside if held is not None else []):
        state.dirty.add(subject_key)
    return edge, completed


def settle(plan: Plan, subject_key: str, subject: SubjectState, now: int) -> None:
    """Begin to follow, as of `now` (ms): who is in is in, nobody is told and nothing is counted."""
    if plan.watch.read is None:
        subject.membership = None
        return
    membership = subject.membership if subject.membership is not None else Membership([])
    found = plan.watch.read(subject.vector, {}, subject.values, now)
    plan.watch.crossed(subject_key, membership.inside, tuple(plan.watch.by_name.values()), found)
    membership.due_time = plan.watch.next_due(subject.vector, now)
    subject.membership = membership if membership.inside or membership.due_time else None


def carry_membership(state: State, old: Plan, new: Plan, now: int) -> None:
    """From one catalog to the next: what is followed with the same meaning goes on, the rest begins with who is in it now.

    Every look that was due was made. now: engine time, ms.
    """
    if not (old.watch.names or new.watch.names):
        return
    before = {name: one.meaning for name, one in old.watch.by_name.items()}
    same = {name for name, one in new.watch.by_name.items() if before.get(name) == one.meaning}
    fresh = tuple(one for name, one in new.watch.by_name.items() if name not in same)
    for subject_key, subject in state.subjects.items():
        inside = [name for name in subject.membership.inside if name in same] if subject.membership is not None else []
        if fresh and new.watch.read is not None:
            new.watch.crossed(subject_key, inside, fresh, new.watch.read(subject.vector, {}, subject.values, now))
        due_time = new.watch.next_due(subject.vector, now)
        subject.membership = Membership(inside, due_time) if inside or due_time else None
