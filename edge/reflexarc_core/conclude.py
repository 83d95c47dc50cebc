"""How one decision is reached: the checks that may hold an action back, in their fixed order.

paused -> stale, warming -> consent -> confidence, escalation -> re-entry, exit -> cooldown -> caps, leases -> priority, group ->
holdout -> hours -> act. Owns the order and the records; the engine decides what is evaluated and when. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from reflexarc_core.condition import EvaluationError
from reflexarc_core.decision import Decision, Reason, ScoreEvidence
from reflexarc_core.effect import Act, Effect, RequestScore
from reflexarc_core.hours import MINUTE_MS
from reflexarc_core.ledger import HeldAction, Journey, Lease
from reflexarc_core.model import Scored
from reflexarc_core.opening import NO_HOURS, opens_next, window_of
from reflexarc_core.operands import said
from reflexarc_core.plan import Course, Plan
from reflexarc_core.policy import HELD_OUT, Cap, cooldown_left_ms
from reflexarc_core.record import AnswerInput, DecisionOutput, Moment
from reflexarc_core.state import OpenDecision, State, SubjectState
from reflexarc_core.trigger import Trigger
from reflexarc_core.value import changeable

PAUSE_ALL: Final = "*"
DRY_RUN: Final = "dry_run"


@changeable
class Case:
    """One decision being reached: the checks of rule 17 (docs/rules.md) in their order, each able to end it with a reason.

    held: what is known of it so far. record_number: of the record it may end with. now: engine time, ms. shown: the items its
    action is about. The rest is what the checks choose on their way.
    """

    plan: Plan
    state: State
    course: Course
    trigger: Trigger
    subject_key: str
    subject: SubjectState
    held: OpenDecision
    decision_id: str
    record_number: int
    moment: Moment
    now: int
    variant: str = ""
    policy_ids: tuple[str, ...] = ()
    lease_id: str = ""
    action: str = ""
    shown: tuple[str, ...] = ()

    def matched(self) -> list[Effect]:
        """The condition is true: everything that may still hold the action back, in order."""
        if self.trigger.lines:
            self.held.evidence = tuple(self.evidence(self.held.scores, "host"))
        # Each check only where there is something to check: most triggers have none of it.
        blocked = (
            (self.state.paused and self.paused())
            or (self.course.can_be_stale and self.stale())
            or (self.course.is_governed and self.trigger.policy.max_age_ms and self.too_old())
            or (self.state.warming and self.warming())
            or (self.course.ranking and self.unknown())
            or (self.course.progressions and self.exhausted())
            or (self.trigger.policy.purpose and self.consent())
        )
        if blocked:
            return [blocked]
        unsure = self.unsure() if self.held.evidence else None
        self.held.sure = unsure is None
        can_ask = self.course.can_ask
        if can_ask and self.held.evidence and self.moment.online and (unsure is not None or self.trigger.escalate == "confirm"):
            return self._escalate(unsure or self.held.evidence[0])
        if unsure is not None:
            why = "offline" if can_ask and not self.moment.online else _confidence_text(unsure)
            return [self.record(Reason.LOW_CONFIDENCE, why)]
        return self._settle()

    def answered(self, given: AnswerInput) -> list[Effect]:
        """The server answered, or will not: upgrade, confirm, veto, or let the device's own answer stand."""
        blocked = self.paused() or self.consent()
        if blocked:
            return [blocked]
        if given.scored is None or given.scored.model_id != self.held.asked:
            if self.held.sure:
                return self._settle()
            return [self.record(Reason.LOW_CONFIDENCE, given.unavailable or "no answer")]
        scored = given.scored
        self.held.scores[scored.model_id] = scored
        model = self.plan.catalog.models[scored.model_id]
        self.held.operands.outputs.update(said(model, scored))
        self.held.evidence = tuple(
            evidence if evidence.model_id != scored.model_id else fresh
            for evidence, fresh in zip(self.held.evidence, self.evidence(self.held.scores, "server"), strict=True)
        )
        if not self._holds():
            return [self.record(Reason.LOW_CONFIDENCE, f"server: score {scored.score:.3f} is not over the line")]
        unsure = self.unsure()
        if unsure is None:
            return self._settle()
        return [self.record(Reason.LOW_CONFIDENCE, f"server: {_confidence_text(unsure)}")]

    def record(
        self,
        reason: Reason,
        detail: str = "",
        assignment: str = "",
        payload: dict[str, Any] | None = None,
        expire_time: int = 0,
    ) -> DecisionOutput:
        """A record of this decision with what is known so far; it says when the clock was not believed."""
        if not self.moment.trusted:
            detail = f"{detail}; {Reason.CLOCK_UNTRUSTED}" if detail else Reason.CLOCK_UNTRUSTED.value
        held, trigger = self.held, self.trigger
        mode = mode_of(self.plan, trigger, self.subject_key) if self.course.has_mode else ""
        # By place: as many names in a call are as dear as everything else about the record.
        return DecisionOutput(
            Decision(
                self.decision_id, self.record_number, trigger.trigger_id, self.subject_key, held.cause_id, reason, self.now,
                self.state.catalog_digest, trigger.placement, self.moment.online, held.instance, detail, held.evidence,
                self.action or trigger.action, payload, assignment, expire_time, self.variant, self.policy_ids, self.lease_id,
                mode,
            )
        )  # fmt: skip

    # -- the checks -----------------------------------------------------------------------------------------------

    def paused(self) -> DecisionOutput | None:
        paused = self.state.paused
        if PAUSE_ALL in paused or self.trigger.trigger_id in paused:
            return self.record(Reason.PAUSED)
        return None

    def stale(self) -> DecisionOutput | None:
        for model_id, stale_time in self.course.aging:
            if self.now > stale_time:
                return self.record(Reason.STALE, f"calibration of {model_id}")
        for name, stale_ms in self.course.sent:
            held = self.subject.values.get(name)
            if held is not None and self.now - held[1] > stale_ms:
                return self.record(Reason.STALE, f"features.{name}")
        return None

    def too_old(self) -> DecisionOutput | None:
        age = self.now - self.held.cause_time
        return self.record(Reason.STALE, f"it is {age} ms old") if age > self.trigger.policy.max_age_ms else None

    def warming(self) -> DecisionOutput | None:
        for name in self.course.inputs:
            if self.state.warming.get(name, 0) > self.now:
                return self.record(Reason.WARMING, f"features.{name}")
        return None

    def unknown(self) -> DecisionOutput | None:
        """A taste that rests on nothing: the model ranks items by what a subject engaged with, and nothing of that is kept."""
        held = self.subject.interactions or {}
        for model_id in self.course.ranking:
            if not held.get(model_id):
                return self.record(Reason.WARMING, f"{model_id}: no interactions are kept")
        return None

    def exhausted(self) -> DecisionOutput | None:
        """There is no item to show, or none any more."""
        for name in self.course.progressions:
            if not self.held.operands.outputs.get(name):
                return self.record(Reason.CONDITION, f"no value: {name}")
        return None

    def consent(self) -> DecisionOutput | None:
        purpose = self.trigger.policy.purpose
        if purpose and not self.subject.consents.get(purpose, False):
            return self.record(Reason.CONSENT, purpose)
        return None

    def evidence(self, scores: dict[str, Scored], where: str) -> Iterator[ScoreEvidence]:
        for line, confidence_min in zip(self.trigger.lines, self.course.minimums, strict=True):
            scored = scores.get(line.model_id)
            if scored is not None:
                confidence = scored.confidence_over(line.line)
                yield ScoreEvidence(
                    line.model_id, scored.artifact_digest, scored.code, scored.score, line.line, confidence, confidence_min, where
                )

    def unsure(self) -> ScoreEvidence | None:
        """The first score whose confidence is not above its model's minimum."""
        if not self.trigger.confidence:
            return None
        for evidence in self.held.evidence:
            if evidence.confidence is None or not evidence.confidence > evidence.confidence_min:
                return evidence
        return None

    def _holds(self) -> bool:
        """The condition again, over the operands of its first evaluation with the server's score in place."""
        given = self.held.operands
        try:
            return bool(self.plan.condition(self.trigger).evaluate(given.event, given.features, given.segments, given.outputs))
        except EvaluationError:
            return False

    def _escalate(self, unsure: ScoreEvidence) -> list[Effect]:
        self.held.asked = unsure.model_id
        self.subject.open[self.decision_id] = self.held
        scored = self.held.scores[unsure.model_id]
        model = self.plan.catalog.models[unsure.model_id]
        ask = RequestScore(
            cause_id=self.held.cause_id,
            subject=self.subject_key,
            model_id=unsure.model_id,
            vector=scored.vector,
            where="server",
            factors_above=unsure.line if model.factors else None,
            decision_id=self.decision_id,
            line=unsure.line,
            deadline_ms=self.trigger.deadline_ms,
        )
        return [self.record(Reason.ESCALATED, _confidence_text(unsure)), ask]

    def _settle(self) -> list[Effect]:
        """Sure enough: what its own history and that of others allows, then the split, then the hour."""
        if not self.course.is_governed:
            return self._settle_plainly()
        policy = self.trigger.policy
        blocked = (
            ((policy.reentry != "always" or self.trigger.follows) and self.reentry())
            or (policy.cooldown_ms and self.cooldown())
            or (self.course.caps and self.caps())
            or (policy.slot and self.slot())
            or (policy.group is not None and self.group())
        )
        if blocked:
            return [blocked]
        assignment = self._assignment() if policy.holdout is not None else ""
        self._use()
        if assignment == HELD_OUT:
            return [self.record(Reason.HOLDOUT, assignment=assignment)]
        self.action = self._variant() if policy.variants is not None else self.trigger.action
        return self._act(assignment)

    def _settle_plainly(self) -> list[Effect]:
        """The same for the many triggers that have a cooldown and a holdout at most."""
        trigger, now = self.trigger, self.now
        blocked = self.cooldown() if trigger.policy.cooldown_ms else None
        if blocked:
            return [blocked]
        assignment = self._assignment() if trigger.policy.holdout is not None else ""
        self.subject.fired[trigger.trigger_id] = now
        if assignment == HELD_OUT:
            return [self.record(Reason.HOLDOUT, assignment=assignment)]
        payload, absent = self.plan.payloads[trigger.action].render(self.held.operands, self.held.language)
        without = f"payload without {', '.join(absent)}" if absent else ""
        fired = self.record(Reason.FIRED, without, assignment, payload, now + trigger.life_ms if trigger.life_ms else 0)
        return [fired, Act(fired.decision)]

    def step(self, action: str, assignment: str) -> list[Effect]:
        """A further step of a content sequence that is under way: what began it is not asked again, what others allow is."""
        self.action = action
        blocked = self.paused() or (self.course.progressions and self.exhausted()) or self.consent() or self.caps()
        if blocked:
            return [blocked]
        self._use()
        return self._act(assignment, begins=False)

    def _act(self, assignment: str, *, begins: bool = True) -> list[Effect]:
        """Nothing holds it back but the hour, perhaps."""
        trigger, now = self.trigger, self.now
        payload, absent = self.plan.payloads[self.action].render(self.held.operands, self.held.language)
        self.shown = tuple(self.held.operands.outputs[name][0] for name in self.course.progressions)
        without = f"payload without {', '.join(absent)}" if absent else ""
        policy = trigger.policy
        if policy.quiet or policy.window or policy.best_hours:
            closed = self._closed(without, assignment, payload, begins)
            if closed is not None:
                return [closed]
            if policy.best_hours and self.course.hours is None:
                without = "; ".join(part for part in (without, NO_HOURS) if part)
        fired = self.record(Reason.FIRED, without, assignment, payload, now + trigger.life_ms if trigger.life_ms else 0)
        if self._is_dry():
            return [fired]
        if begins and trigger.follows:
            begin_journey(trigger, self.subject, fired.decision, now, self.shown)
        return [fired, Act(fired.decision)]

    def _is_dry(self) -> bool:
        return self.trigger.dry_run and mode_of(self.plan, self.trigger, self.subject_key) == DRY_RUN

    # -- what history allows --------------------------------------------------------------------------------------

    def reentry(self) -> DecisionOutput | None:
        ledger, trigger_id = self.subject.ledger, self.trigger.trigger_id
        if ledger is None:
            return None
        if trigger_id in ledger.journeys:
            return self.record(Reason.REENTRY, "its sequence is under way")
        if self.trigger.policy.reentry == "until_exit":
            return self.record(Reason.EXIT) if trigger_id in ledger.exited else None
        if self.trigger.policy.reentry == "always":
            return None
        entered = self.held.instance in ledger.entered.get(trigger_id, ())
        return self.record(Reason.REENTRY, self.trigger.policy.reentry) if entered else None

    def cooldown(self) -> DecisionOutput | None:
        left = cooldown_left_ms(self.trigger.policy, self.subject.fired.get(self.trigger.trigger_id), self.now)
        return self.record(Reason.COOLDOWN, f"{left} ms left") if left else None

    def caps(self) -> DecisionOutput | None:
        ledger = self.subject.ledger
        for name, cap in self.course.caps:
            if self._is_leased(cap):
                if self._lease(name) is None:
                    return self.record(Reason.NO_LEASE, name)
                continue
            times = ledger.uses.get(name, []) if ledger is not None else []
            if times and cap.used(times, self.now, self.moment.offset_minutes) >= cap.count:
                return self.record(Reason.CAP, name)
        return None

    def _is_leased(self, cap: Cap) -> bool:
        """Whether its uses were given out by the server. A session's subject lives on one device and needs no lease."""
        return cap.scope == "global" and self.trigger.placement == "edge" and not self.subject_key.startswith("session:")

    def _lease(self, name: str) -> Lease | None:
        """The lease that the next use of this cap is taken from; None also while the clock is not believed."""
        ledger = self.subject.ledger
        return None if ledger is None or not self.moment.trusted else ledger.lease(name, self.now)

    def slot(self) -> DecisionOutput | None:
        slot = self.trigger.policy.slot
        taken = self.subject.ledger is not None and self.subject.ledger.slots.get(slot) == self.held.cause_id
        return self.record(Reason.PRIORITY, f"slot {slot} is taken") if taken and not self.trigger.dry_run else None

    def group(self) -> DecisionOutput | None:
        group = self.trigger.policy.group
        if group is None or group.holds(self.unit_id(group.unit)):
            return None
        return self.record(Reason.PRIORITY, f"in another part of group {group.name}")

    def _use(self) -> None:
        """Cooldown, caps, entry and slot are used: by who fires, and alike by who is held out or has to wait."""
        trigger, now = self.trigger, self.now
        policy = trigger.policy
        self.subject.fired[trigger.trigger_id] = now
        if not (self.course.caps or policy.slot or policy.reentry != "always"):
            return
        ledger = self.subject.its_ledger()
        for name, cap in self.course.caps:
            if self._is_leased(cap):
                lease = self._lease(name)
                if lease is not None:
                    lease.used += 1
                    self.lease_id = lease.lease_id
            else:
                ledger.use(name, now, cap.count)
        self.policy_ids = tuple(name for name, _ in self.course.caps)
        if policy.slot and not trigger.dry_run:
            ledger.slots[policy.slot] = self.held.cause_id
        if policy.reentry != "always":
            ledger.enter(trigger.trigger_id, self.held.instance, now)

    # -- splits ---------------------------------------------------------------------------------------------------

    def unit_id(self, unit: str) -> str:
        if unit == "session" and self.held.event is not None and "session_id" in self.held.event.context:
            return str(self.held.event.context["session_id"])
        return self.state.device_id or self.subject_key if unit == "device" else self.subject_key

    def _assignment(self) -> str:
        holdout = self.trigger.policy.holdout
        if holdout is None:
            return ""
        return self._kept(self.trigger.trigger_id, holdout.unit, lambda unit_id: holdout.assign(self.trigger.trigger_id, unit_id))

    def _variant(self) -> str:
        """The action of the unit's variant."""
        variants = self.trigger.policy.variants
        if variants is None:
            return self.trigger.action
        trigger_id = self.trigger.trigger_id
        self.variant = self._kept(
            f"{trigger_id}/variant", variants.unit, lambda unit_id: variants.assign(trigger_id, unit_id).name
        )
        actions = {way.name: way.action for way in variants.ways}
        return actions.get(self.variant) or self.trigger.action

    def _kept(self, name: str, unit: str, assign: Callable[[str], str]) -> str:
        """What was assigned at the first decision. By its hash alone for a session: the next one is another unit."""
        if unit == "session" and self.held.event is not None and "session_id" in self.held.event.context:
            return assign(self.unit_id(unit))
        kept = self.subject.assignments.get(name)
        if kept is None:
            kept = self.subject.assignments[name] = assign(self.unit_id(unit))
        return kept

    # -- the hour -------------------------------------------------------------------------------------------------

    def _closed(self, without: str, assignment: str, payload: dict[str, Any], begins: bool) -> DecisionOutput | None:
        """Quiet hours, or outside of the window: the record that says so. What waits for them is put into the ledger."""
        policy = self.trigger.policy
        if not self.moment.trusted:
            return self.record(Reason.CLOCK_UNTRUSTED, "its hours are not known", assignment)
        due_time = opens_next(policy.quiet, window_of(self.course, self.subject), self.moment, self.now)
        if due_time == self.now:
            return None
        local = self.now + self.moment.offset_minutes * MINUTE_MS
        if policy.quiet_then == "drop" and any(hours.end_of(local) is not None for hours in policy.quiet):
            return self.record(Reason.QUIET_HOURS, "dropped", assignment)
        closed = self.record(Reason.QUIET_HOURS, f"held for {due_time - self.now} ms", assignment)
        if not self._is_dry():
            self.record_number += 1
            fired = self.record(Reason.FIRED, without, assignment, payload).decision
            expire_time = self.now + policy.hold_ms_max
            self.subject.its_ledger().held[self.decision_id] = HeldAction(fired, due_time, expire_time, begins, self.shown)
        return closed


def mode_of(plan: Plan, trigger: Trigger, subject_key: str) -> str:
    """`test` or `dry_run` for what counts in no result, else empty. Who tries a trigger out sees it act before others do."""
    if plan.test_subjects and subject_key in plan.test_subjects:
        return "test"
    return DRY_RUN if trigger.dry_run else ""


def begin_journey(trigger: Trigger, subject: SubjectState, fired: Decision, now: int, shown: tuple[str, ...]) -> None:
    """The first step of a content sequence acted: the sequence is under way. shown: the items it was about.

    Not a second one, where an action that was held acts while it is.
    """
    due_time = now + trigger.follows[0].wait_ms if trigger.follows[0].wait_ms else 0
    begun = Journey(0, fired.decision_id, 0, due_time, fired.assignment, shown)
    subject.its_ledger().journeys.setdefault(trigger.trigger_id, begun)


def _confidence_text(evidence: ScoreEvidence) -> str:
    if evidence.confidence is None:
        return f"{evidence.model_id}: no confidence table for line {evidence.line:g}"
    return f"{evidence.model_id}: confidence {evidence.confidence:.3f} is not over {evidence.confidence_min:g}"
