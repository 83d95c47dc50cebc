"""How one decision is reached: the checks that may hold an action back, in their fixed order.

paused -> stale, warming -> consent -> confidence, escalation -> cooldown -> holdout -> act. Owns the order and the
records; the engine decides what is evaluated and when. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from reflexarc_core.condition import EvaluationError
from reflexarc_core.decision import Decision, Reason, ScoreEvidence
from reflexarc_core.effect import Act, Effect, RequestScore
from reflexarc_core.model import Scored
from reflexarc_core.plan import Course, Plan
from reflexarc_core.policy import HELD_OUT, cooldown_left_ms
from reflexarc_core.record import AnswerInput, DecisionOutput, Moment
from reflexarc_core.state import OpenDecision, State, SubjectState
from reflexarc_core.trigger import Trigger
from reflexarc_core.value import changeable

PAUSE_ALL: Final = "*"


@changeable
class Case:
    """One decision being reached: the checks of rule 17 (docs/rules.md) in their order, each able to end it with a reason.

    held: what is known of it so far. record_number: of the record it may end with. now: engine time, ms.
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

    def matched(self) -> list[Effect]:
        """The condition is true: everything that may still hold the action back, in order."""
        if self.trigger.lines:
            self.held.evidence = tuple(self._evidence(self.held.scores, "host"))
        # Each check only where there is something to check: most triggers have none of it.
        blocked = (
            (self.state.paused and self._paused())
            or (self.course.can_be_stale and self._stale())
            or (self.state.warming and self._warming())
            or (self.trigger.policy.purpose and self._consent())
        )
        if blocked:
            return [blocked]
        unsure = self._unsure() if self.held.evidence else None
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
        blocked = self._paused() or self._consent()
        if blocked:
            return [blocked]
        if given.scored is None or given.scored.model_id != self.held.asked:
            if self.held.sure:
                return self._settle()
            return [self.record(Reason.LOW_CONFIDENCE, given.unavailable or "no answer")]
        scored = given.scored
        self.held.scores[scored.model_id] = scored
        model = self.plan.catalog.models[scored.model_id]
        outputs = self.held.operands.outputs
        outputs[model.output] = scored.score
        if model.factors and scored.factors is not None:
            outputs[model.factors] = dict(scored.factors)
        self.held.evidence = tuple(
            evidence if evidence.model_id != scored.model_id else fresh
            for evidence, fresh in zip(self.held.evidence, self._evidence(self.held.scores, "server"), strict=True)
        )
        if not self._holds():
            return [self.record(Reason.LOW_CONFIDENCE, f"server: score {scored.score:.3f} is not over the line")]
        unsure = self._unsure()
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
        # By place: seventeen names in a call are as dear as everything else about the record.
        return DecisionOutput(
            Decision(
                self.decision_id, self.record_number, trigger.trigger_id, self.subject_key, held.cause_id, reason, self.now,
                self.state.catalog_digest, trigger.placement, self.moment.online, held.instance, detail, held.evidence,
                trigger.action, payload, assignment, expire_time,
            )
        )  # fmt: skip

    # -- the checks -----------------------------------------------------------------------------------------------

    def _paused(self) -> DecisionOutput | None:
        paused = self.state.paused
        if PAUSE_ALL in paused or self.trigger.trigger_id in paused:
            return self.record(Reason.PAUSED)
        return None

    def _stale(self) -> DecisionOutput | None:
        for model_id, stale_time in self.course.aging:
            if self.now > stale_time:
                return self.record(Reason.STALE, f"calibration of {model_id}")
        for name, stale_ms in self.course.sent:
            held = self.subject.values.get(name)
            if held is not None and self.now - held[1] > stale_ms:
                return self.record(Reason.STALE, f"features.{name}")
        return None

    def _warming(self) -> DecisionOutput | None:
        for name in self.course.inputs:
            if self.state.warming.get(name, 0) > self.now:
                return self.record(Reason.WARMING, f"features.{name}")
        return None

    def _consent(self) -> DecisionOutput | None:
        purpose = self.trigger.policy.purpose
        if purpose and not self.subject.consents.get(purpose, False):
            return self.record(Reason.CONSENT, purpose)
        return None

    def _evidence(self, scores: dict[str, Scored], where: str) -> Iterator[ScoreEvidence]:
        for line, confidence_min in zip(self.trigger.lines, self.course.minimums, strict=True):
            scored = scores.get(line.model_id)
            if scored is not None:
                confidence = scored.confidence_over(line.line)
                yield ScoreEvidence(
                    line.model_id, scored.artifact_digest, scored.code, scored.score, line.line, confidence, confidence_min, where
                )

    def _unsure(self) -> ScoreEvidence | None:
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
        """Sure enough: cooldown, holdout, act."""
        trigger, subject, now = self.trigger, self.subject, self.now
        trigger_id, policy = trigger.trigger_id, trigger.policy
        if policy.cooldown_ms:
            left = cooldown_left_ms(policy, subject.fired.get(trigger_id), now)
            if left:
                return [self.record(Reason.COOLDOWN, f"{left} ms left")]
        assignment = self._assignment() if policy.holdout is not None else ""
        subject.fired[trigger_id] = now
        if assignment == HELD_OUT:
            return [self.record(Reason.HOLDOUT, assignment=assignment)]
        payload, absent = self.plan.payloads[trigger.action].render(self.held.operands, self.held.language)
        without = f"payload without {', '.join(absent)}" if absent else ""
        fired = self.record(Reason.FIRED, without, assignment, payload, now + trigger.life_ms if trigger.life_ms else 0)
        return [fired, Act(fired.decision)]

    def _assignment(self) -> str:
        holdout = self.trigger.policy.holdout
        if holdout is None:
            return ""
        if holdout.unit == "session" and self.held.event is not None and "session_id" in self.held.event.context:
            # By its hash alone: the next session of the same subject is another unit.
            return holdout.assign(self.trigger.trigger_id, str(self.held.event.context["session_id"]))
        kept = self.subject.assignments.get(self.trigger.trigger_id)
        if kept is None:
            unit_id = self.state.device_id or self.subject_key if holdout.unit == "device" else self.subject_key
            kept = holdout.assign(self.trigger.trigger_id, unit_id)
            self.subject.assignments[self.trigger.trigger_id] = kept
        return kept


def _confidence_text(evidence: ScoreEvidence) -> str:
    if evidence.confidence is None:
        return f"{evidence.model_id}: no confidence table for line {evidence.line:g}"
    return f"{evidence.model_id}: confidence {evidence.confidence:.3f} is not over {evidence.confidence_min:g}"
