"""Evaluation: which conditions are true of a subject at a moment, and the decision each of them leads to.

Owns the step from an event to the patterns it completes, and from a group of triggers to their cases. When that happens is the
engine's, in which order a case is checked `conclude`'s. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from reflexarc_core.bucket import stable_id
from reflexarc_core.conclude import Case
from reflexarc_core.condition import EvaluationError
from reflexarc_core.effect import Effect
from reflexarc_core.event import Event
from reflexarc_core.model import Scored
from reflexarc_core.operands import group_operands, operands
from reflexarc_core.plan import Arrival, Course, Plan, TriggerGroup
from reflexarc_core.record import Moment
from reflexarc_core.state import OpenDecision, Operands, State, SubjectState
from reflexarc_core.timers import WAIT, Timers, Waiter
from reflexarc_core.trigger import Trigger
from reflexarc_core.value import changeable


@changeable
class Match:
    """A condition that is true. instance: of the trigger's pattern, empty for its only one. seen: what it read."""

    course: Course
    instance: str
    seen: Operands


@changeable
class Cause:
    """What made it evaluated. time: the event's own, or when a timer was due; ms. event: None where there is none."""

    cause_id: str
    time: int
    event: Event | None


Completed = tuple[Trigger, str]
"""A trigger whose pattern is complete, with the key of its instance, or whose segment was crossed, with which and which way."""


def follow(
    plan: Plan, timers: Timers, subject_key: str, subject: SubjectState, arrival: Arrival, event: Event, now: int
) -> list[Completed]:
    """Move the patterns this event may move; those it completes."""
    completed: list[Completed] = []
    ledger = subject.its_ledger()
    for follower in arrival.followers:
        trigger_id = follower.trigger_id
        instances = ledger.instances.setdefault(trigger_id, {})
        key, instance, is_complete = follower.move(instances, event, now)
        if is_complete:
            completed.append((plan.triggers[trigger_id], key))
        elif instance is not None and instance.wait_end:
            timers.set(instance.wait_end, Waiter(subject_key, WAIT, trigger_id, key))
        if not instances:
            del ledger.instances[trigger_id]
    return completed


def matched(
    plan: Plan,
    state: State,
    held: TriggerGroup,
    instance: str,
    subject_key: str,
    subject: SubjectState,
    event: Event | None,
    found: dict[str, float] | None,
) -> list[Match]:
    """The triggers of a group whose condition is true; what is false is counted. found: features that were read already."""
    now = state.engine_time
    if found is None:
        found = held.features(subject.vector, subject.older, subject.values, now)
    given = group_operands(plan, held, subject, subject_key, event, now, found)
    failed: list[tuple[int, EvaluationError]] = []
    true = held.group.evaluate(given.event, given.features, given.segments, given.outputs, held.counts, failed)
    for index, error in failed:
        clauses = state.counts.setdefault(held.courses[index].trigger.trigger_id, {})
        # By kind: a message may hold a value, and there is no end of values.
        text = f"no value: {error.operand_name}" if error.operand_name else error.kind
        clauses[text] = clauses.get(text, 0) + 1
    matches = []
    for index in true:
        course = held.courses[index]
        seen = given if held.covered[index] else operands(plan, subject, subject_key, event, now, course.reads)
        matches.append(Match(course, instance, seen))
    return matches


def completions(
    plan: Plan, state: State, completed: Sequence[Completed], subject_key: str, subject: SubjectState, event: Event | None
) -> list[Match]:
    """Those whose condition is true, each with its instance."""
    found: list[Match] = []
    for trigger, instance in completed:
        found += matched(plan, state, plan.alone(trigger), instance, subject_key, subject, event, None)
    return found


def decided(
    plan: Plan, state: State, match: Match, subject_key: str, subject: SubjectState, cause: Cause, moment: Moment
) -> tuple[str, list[Effect]]:
    """The decision of a condition that is true: its id, and what comes of it."""
    course = match.course
    trigger = course.trigger
    scores = {one: subject.scores[one] for one in course.models if one in subject.scores} if course.models else {}
    waiting = OpenDecision(
        trigger.trigger_id, cause.cause_id, match.instance, cause.event, match.seen, (), scores, False, "", subject.language,
        cause.time,
    )  # fmt: skip
    decision_id = stable_id(trigger.trigger_id, subject_key, match.instance, cause.cause_id)
    case = Case(plan, state, course, trigger, subject_key, subject, waiting, decision_id, 0, moment, state.engine_time)
    effects = case.matched()
    if decision_id in subject.open:
        # Kept with just what the trigger reads, whatever else was read for its neighbours.
        waiting.operands = operands(plan, subject, subject_key, cause.event, state.engine_time, course.reads)
    return decision_id, effects


def by_subject(scores: Sequence[tuple[str, Scored]], event: Event | None) -> Sequence[tuple[str, Sequence[Scored]]]:
    """The scores of each subject; the event's own is there also when nothing scored it."""
    if len(scores) == 1 and (event is None or event.subject == scores[0][0]):
        ((subject_key, scored),) = scores
        return ((subject_key, (scored,)),)
    by_subject: dict[str, list[Scored]] = {}
    for subject_key, scored in scores:
        by_subject.setdefault(subject_key, []).append(scored)
    if event is not None:
        by_subject.setdefault(event.subject, [])
    return tuple(by_subject.items())
