"""Crossings: a subject enters or leaves a segment that is followed.

Owns when membership is put right, and which triggers that completes. What becomes of them is the engine's. Pure; it changes the
subject it is handed. Must never touch a subject that no followed segment concerns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
    _wait(plan, subject, membership, now, found)
    if membership.due_time:
        timers.set(membership.due_time, Waiter(subject_key, LOOK, ""))
    if changed and plan.placement == "server":
        for one, way in changed:
            count(state.flows, one.name, way, now)
    return [(trigger, f"{way}:{one.name}") for one, way in changed for trigger in (one.left if way == LEFT else one.entered)]


def cross_on_values(
    plan: Plan, state: State, timers: Timers, subject_key: str, subject: SubjectState, names: Iterable[str]
) -> list[Completed]:
    """Look because values of these features came down."""
    watched = plan.watch.resting_on(names)
    if not watched or plan.watch.read is None:
        return []
    now = state.engine_time
    found = plan.watch.read(subject.vector, {}, subject.values, now)
    return cross(plan, state, timers, subject_key, subject, watched, found, now)


def cross_by_time(
    plan: Plan, state: State, timers: Timers, subject_key: str, subject: SubjectState, now: int
) -> tuple[int, list[Completed]]:
    """Look because time passed: as of the newest moment, not behind `now`, at which it could change anything; that moment too."""
    state.dirty.add(subject_key)
    edge = plan.watch.edge(subject.vector, now)
    found = plan.watch.read(subject.vector, {}, subject.values, edge) if plan.watch.read is not None else {}
    watched = tuple(plan.watch.by_name.values())
    return edge, cross(plan, state, timers, subject_key, subject, watched, found, edge)


def settle(plan: Plan, subject_key: str, subject: SubjectState, now: int) -> None:
    """Begin to follow, as of `now` (ms): who is in is in, nobody is told and nothing is counted."""
    _settle(plan, subject_key, subject, [], tuple(plan.watch.by_name.values()), now)


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
        held = subject.membership.inside if subject.membership is not None else []
        _settle(new, subject_key, subject, [name for name in held if name in same], fresh, now)


def _settle(plan: Plan, subject_key: str, subject: SubjectState, inside: list[str], watched: Sequence[Watched], now: int) -> None:
    found = plan.watch.read(subject.vector, {}, subject.values, now) if plan.watch.read is not None else {}
    plan.watch.crossed(subject_key, inside, watched, found)
    _wait(plan, subject, Membership(inside), now, found)


def _wait(plan: Plan, subject: SubjectState, membership: Membership, now: int, found: Mapping[str, float]) -> None:
    """Keep it as of `now` (ms), unless there is nothing to keep: it is in none, and time will not change that."""
    membership.due_time = plan.watch.next_due(subject.vector, now, found)
    subject.membership = membership if membership.inside or membership.due_time else None
