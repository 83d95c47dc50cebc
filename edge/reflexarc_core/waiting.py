"""What waits for time and then acts: held actions and content sequences.

Owns what is looked at again when their time has come, and how they end before it. Pure. What is decided anew is `conclude`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from reflexarc_core.bucket import stable_id
from reflexarc_core.conclude import PAUSE_ALL, Case, begin_journey
from reflexarc_core.decision import Reason
from reflexarc_core.effect import Act, Effect
from reflexarc_core.evaluate import Cause
from reflexarc_core.event import Event
from reflexarc_core.ledger import HeldAction, Journey
from reflexarc_core.opening import opens_next, window_of
from reflexarc_core.operands import operands
from reflexarc_core.plan import Plan
from reflexarc_core.record import DecisionOutput, Moment
from reflexarc_core.state import OpenDecision, State, SubjectState
from reflexarc_core.trigger import Trigger

UNTRUSTED_WAIT_MS: Final = 60_000
"""While the clock is not believed an action with hours is looked at again after this long."""
DISMISSALS_MAX: Final = 3


def released(plan: Plan, state: State, subject: SubjectState, held: HeldAction, moment: Moment) -> list[Effect]:
    """A held action whose time has come: it acts, ends, or waits on in the ledger with a later `due_time`."""
    now = state.engine_time
    fired = held.fired
    trigger = plan.triggers.get(fired.trigger_id)
    ledger = subject.its_ledger()
    ends = _end_of(plan, state, subject, held, trigger, now)
    if ends is not None:
        del ledger.held[fired.decision_id]
        return [ended(state, held, *ends, moment)]
    assert trigger is not None
    policy = trigger.policy
    window = window_of(plan.course(trigger), subject)
    due_time = opens_next(policy.quiet, window, moment, now) if moment.trusted else now + UNTRUSTED_WAIT_MS
    if due_time > now:
        held.due_time = due_time
        return []
    del ledger.held[fired.decision_id]
    acts = replace(
        fired, decision_time=now, online=moment.online, catalog_digest=state.catalog_digest,
        expire_time=now + trigger.life_ms if trigger.life_ms else 0,
    )  # fmt: skip
    if held.begins and trigger.follows:
        begin_journey(trigger, subject, acts, now, held.shown)
    return [DecisionOutput(acts), Act(acts)]


def _end_of(
    plan: Plan, state: State, subject: SubjectState, held: HeldAction, trigger: Trigger | None, now: int
) -> tuple[Reason, str] | None:
    """Why it ends instead of acting; None when nothing is against it but perhaps the hour."""
    if PAUSE_ALL in state.paused or held.fired.trigger_id in state.paused:
        return Reason.PAUSED, ""
    if now > held.expire_time:
        return Reason.EXPIRED, "held too long"
    if trigger is None:
        return Reason.EXPIRED, "the live catalog has no such trigger"
    purpose = trigger.policy.purpose
    if purpose and not subject.consents.get(purpose, False):
        return Reason.CONSENT, purpose
    return None


def ended(state: State, held: HeldAction, reason: Reason, detail: str, moment: Moment) -> DecisionOutput:
    """The record by which a held action ends without having acted."""
    ends = replace(
        held.fired, reason=reason, detail=detail, payload=None, decision_time=state.engine_time, online=moment.online,
        catalog_digest=state.catalog_digest,
    )  # fmt: skip
    return DecisionOutput(ends)


def outcome_of(plan: Plan, subject: SubjectState, event: Event) -> tuple[Trigger, Journey] | None:
    """The content sequence that goes on by this outcome; a dismissal is counted, the third ends the sequence."""
    ledger = subject.ledger
    if ledger is None or not ledger.journeys:
        return None
    decision_id, kind = event.properties.get("decision_id"), event.properties.get("kind")
    for trigger_id, journey in ledger.journeys.items():
        trigger = plan.triggers.get(trigger_id)
        if journey.decision_id != decision_id or trigger is None or journey.step >= len(trigger.follows):
            continue
        if kind == "dismissal":
            journey.dismissals += 1
            if journey.dismissals >= DISMISSALS_MAX:
                del ledger.journeys[trigger_id]
                return None
        return (trigger, journey) if kind in trigger.follows[journey.step].on else None
    return None


def next_step(
    plan: Plan,
    state: State,
    subject_key: str,
    subject: SubjectState,
    trigger: Trigger,
    journey: Journey,
    cause: Cause,
    moment: Moment,
) -> list[Effect]:
    """The next step of a content sequence: a decision of its own, that only pause, consent, caps and the hour hold back.
    It is about the best item that no earlier step was about; without one the sequence is at its end."""
    now = state.engine_time
    follow = trigger.follows[journey.step]
    journey.step += 1
    instance = f"step:{journey.step}"
    decision_id = stable_id(trigger.trigger_id, subject_key, instance, cause.cause_id)
    course = plan.course(trigger)
    seen = operands(plan, subject, subject_key, cause.event, now, course.reads)
    for name in course.progressions:
        seen.outputs[name] = [item for item in seen.outputs.get(name, ()) if item not in journey.shown]
    held = OpenDecision(
        trigger.trigger_id, cause.cause_id, instance, cause.event, seen, (), {}, True, "", subject.language, cause.time
    )
    case = Case(plan, state, course, trigger, subject_key, subject, held, decision_id, 0, moment, now)
    effects = case.step(follow.action, journey.assignment)
    journey.decision_id = decision_id
    journey.shown += case.shown
    is_exhausted = not all(seen.outputs[name] for name in course.progressions)
    if journey.step >= len(trigger.follows) or is_exhausted:
        subject.its_ledger().journeys.pop(trigger.trigger_id, None)
    else:
        wait_ms = trigger.follows[journey.step].wait_ms
        journey.due_time = now + wait_ms if wait_ms else 0
    return effects


def left(state: State, subject: SubjectState, triggers: Iterable[Trigger], moment: Moment) -> list[Effect]:
    """The subject leaves these triggers: what is under way of them ends."""
    effects: list[Effect] = []
    ledger = subject.its_ledger()
    for trigger in triggers:
        trigger_id = trigger.trigger_id
        ledger.exited[trigger_id] = state.engine_time
        if trigger.policy.reentry == "after_exit":
            ledger.entered.pop(trigger_id, None)
        ledger.instances.pop(trigger_id, None)
        ledger.journeys.pop(trigger_id, None)
        for decision_id in sorted(one for one, held in ledger.held.items() if held.fired.trigger_id == trigger_id):
            effects.append(ended(state, ledger.held.pop(decision_id), Reason.EXIT, "", moment))
    return effects


def opened(
    plan: Plan,
    state: State,
    trigger: Trigger,
    subject_key: str,
    subject: SubjectState,
    held: OpenDecision,
    decision_id: str,
    moment: Moment,
) -> Case:
    """A decision that was open for the server, to be concluded by its second record."""
    course = plan.course(trigger)
    return Case(plan, state, course, trigger, subject_key, subject, held, decision_id, 1, moment, state.engine_time)


def expired(plan: Plan, state: State, subject_key: str, moment: Moment, why: str) -> list[Effect]:
    """Everything of this subject that waits, for the server or for its hour, ends and is kept no longer."""
    effects: list[Effect] = []
    subject = state.subjects[subject_key]
    if subject.ledger is not None:
        effects += [ended(state, action, Reason.EXPIRED, why, moment) for _, action in sorted(subject.ledger.held.items())]
        subject.ledger.end()
    for decision_id, held in sorted(subject.open.items()):
        trigger = plan.triggers.get(held.trigger_id)
        if trigger is not None:
            case = opened(plan, state, trigger, subject_key, subject, held, decision_id, moment)
            effects.append(case.record(Reason.EXPIRED, why))
    subject.open.clear()
    return effects
