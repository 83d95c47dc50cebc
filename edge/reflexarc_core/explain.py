"""Why a trigger would, or would not, act for a subject now: its condition's clauses, every check behind it, what is under way.

The checks are `conclude`'s own, asked one by one instead of up to the first that holds back. Changes nothing. Must never decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from reflexarc_core.conclude import Case
from reflexarc_core.condition import Clause
from reflexarc_core.condition import explain as explain_condition
from reflexarc_core.decision import ScoreEvidence
from reflexarc_core.opening import opens_next, window_of
from reflexarc_core.operands import operands
from reflexarc_core.plan import Plan
from reflexarc_core.policy import Cap
from reflexarc_core.record import DecisionOutput, Moment
from reflexarc_core.state import OpenDecision, State, SubjectState
from reflexarc_core.trigger import Trigger
from reflexarc_core.value import frozen

NEVER_SEEN = "nothing is known of this subject here"


@frozen
class Check:
    """One check. reason: what it would give now, a `Reason`; empty where it holds nothing back. detail: about what, in words."""

    name: str
    reason: str
    detail: str


@frozen
class Standing:
    """clauses: of the condition, without an event. checks: those that the trigger has, in their order. under_way: segments,
    patterns, held actions and content sequences of the subject, a line each. evidence: the scores it would rest on."""

    clauses: tuple[Clause, ...]
    checks: tuple[Check, ...]
    under_way: tuple[str, ...]
    evidence: tuple[ScoreEvidence, ...]


def standing(plan: Plan, state: State, trigger: Trigger, subject_key: str, moment: Moment) -> Standing:
    """How it stands between a trigger and a subject at a moment."""
    held = state.subjects.get(subject_key)
    subject = held if held is not None else SubjectState(plan.layouts[""].empty())
    course = plan.course(trigger)
    now = max(moment.now, state.engine_time)
    seen = operands(plan, subject, subject_key, None, now, course.reads)
    clauses = tuple(explain_condition(trigger.condition, seen.event, seen.features, seen.segments, seen.outputs))
    scores = {name: subject.scores[name] for name in course.models if name in subject.scores}
    waiting = OpenDecision(trigger.trigger_id, "", "", None, seen, (), scores, False, "", subject.language, now)
    case = Case(plan, state, course, trigger, subject_key, subject, waiting, "", 0, moment, now)
    waiting.evidence = tuple(case.evidence(scores, "host")) if trigger.lines else ()
    return Standing(clauses, tuple(_checks(case)), tuple(_under_way(trigger, subject)), waiting.evidence)


def _checks(case: Case) -> Iterator[Check]:
    trigger, policy = case.trigger, case.trigger.policy
    yield _told("paused", case.paused())
    if case.course.can_be_stale:
        yield _told("stale", case.stale())
    if case.state.warming:
        yield _told("warming", case.warming())
    if case.course.ranking or case.course.progressions:
        yield _told("interactions", case.unknown() or case.exhausted(), ", ".join(_kept(case)))
    if policy.purpose:
        yield _told("consent", case.consent(), policy.purpose)
    if trigger.lines and trigger.confidence:
        unsure = case.unsure()
        yield Check("confidence", "LOW_CONFIDENCE" if unsure is not None else "", "; ".join(map(_evidence, case.held.evidence)))
    if policy.reentry != "always" or trigger.follows:
        yield _told("reentry", case.reentry(), policy.reentry)
    if policy.cooldown_ms:
        yield _told("cooldown", case.cooldown(), f"{policy.cooldown_ms} ms")
    if case.course.caps:
        yield _told("caps", case.caps(), ", ".join(_cap(case, name, cap) for name, cap in case.course.caps))
    if policy.slot:
        yield Check("slot", "", f"{policy.slot}, priority {policy.priority}")
    if policy.group is not None:
        yield _told("group", case.group(), policy.group.name)
    if policy.holdout is not None:
        side = case.subject.assignments.get(trigger.trigger_id) or policy.holdout.assign(
            trigger.trigger_id, case.unit_id(policy.holdout.unit)
        )
        yield Check("holdout", "HOLDOUT" if side == "holdout" else "", side)
    if policy.quiet or policy.window or policy.best_hours:
        yield _hours(case)


def _told(name: str, blocked: DecisionOutput | None, otherwise: str = "") -> Check:
    if blocked is None:
        return Check(name, "", otherwise)
    return Check(name, blocked.decision.reason.value, blocked.decision.detail or otherwise)


def _evidence(evidence: ScoreEvidence) -> str:
    confidence = "none" if evidence.confidence is None else f"{evidence.confidence:.3f}"
    return (
        f"{evidence.model_id} {evidence.artifact_digest[:12]}: score {evidence.score:.3f}, line {evidence.line:g},"
        f" confidence {confidence}, gate {evidence.confidence_min:g}"
    )


def _cap(case: Case, name: str, cap: Cap) -> str:
    ledger = case.subject.ledger
    if cap.scope == "global" and case.trigger.placement == "edge":
        left = sum(lease.tokens - lease.used for lease in ledger.leases.get(name, ()) if lease.is_open(case.now)) if ledger else 0
        return f"{name}: {left} leased of {cap.count}"
    times = ledger.uses.get(name, []) if ledger is not None else []
    return f"{name}: {cap.used(times, case.now, case.moment.offset_minutes)} of {cap.count}"


def _kept(case: Case) -> Iterator[str]:
    """How much its models that rank items know of the subject."""
    held = case.subject.interactions or {}
    for model_id in case.course.ranking:
        count = len(held.get(model_id, ()))
        yield f"{model_id}: {count} item{'' if count == 1 else 's'}"


def _hours(case: Case) -> Check:
    policy, moment = case.trigger.policy, case.moment
    if not moment.trusted:
        return Check("hours", "CLOCK_UNTRUSTED", "")
    opens = opens_next(policy.quiet, window_of(case.course, case.subject), moment, case.now)
    return Check("hours", "", "open") if opens == case.now else Check("hours", "QUIET_HOURS", f"looked at again at {opens}")


def _under_way(trigger: Trigger, subject: SubjectState) -> Iterator[str]:
    inside = subject.membership.inside if subject.membership is not None else ()
    for name in trigger.crossed:
        yield f"segment {name}: {'inside' if name in inside else 'outside'}"
    ledger = subject.ledger
    if ledger is None:
        return
    for key, instance in ledger.instances.get(trigger.trigger_id, {}).items():
        reached = max((n for n, chain in enumerate(instance.chains, 1) if chain is not None), default=0)
        waits = f", waits until {instance.wait_end}" if instance.wait_end else ""
        yield f"pattern{f' [{key}]' if key else ''}: step {reached} of {len(instance.chains)}{waits}"
    for decision_id, action in sorted(ledger.held.items()):
        if action.fired.trigger_id == trigger.trigger_id:
            yield f"held: {action.fired.action} of decision {decision_id}, looked at again at {action.due_time}"
    journey = ledger.journeys.get(trigger.trigger_id)
    if journey is not None:
        due = f", next at {journey.due_time}" if journey.due_time else ""
        items = f", shown {', '.join(journey.shown)}" if journey.shown else ""
        yield f"content sequence: {journey.step} of {len(trigger.follows)} further steps{items}{due}"


def lines_of(found: Standing) -> Iterator[str]:
    """The whole in words: clauses with what they read, then the checks, then what is under way."""
    for clause in found.clauses:
        values = ", ".join(f"{name} = {value!r}" for name, value in clause.values.items())
        shown = values if clause.outcome != "error" else clause.message
        yield f"{clause.outcome}: {clause.text}" + (f"   [{shown}]" if shown else "")
    for check in found.checks:
        yield f"{check.reason or 'passes'}: {check.name}" + (f" ({check.detail})" if check.detail else "")
    yield from found.under_way
