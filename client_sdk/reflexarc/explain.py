"""Explanations: why a decision came out as it did, and why a trigger would or would not fire now.

Owns their one form, whoever was asked: a device's own engine, or a server. Must never decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reflexarc_core.condition import Clause
from reflexarc_core.decision import Decision
from reflexarc_core.errors import DefinitionError
from reflexarc_core.explain import NEVER_SEEN, Check, lines_of, standing
from reflexarc_core.record import DecisionOutput, HandedOutput, Moment

if TYPE_CHECKING:
    from reflexarc_edge.log import Log
    from reflexarc_edge.runtime import Runtime
    from reflexarc_proto.v1.report_service_pb2 import ExplainTriggerResponse

RECENT_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """clauses: the condition's parts with the values they read, as of `now` (empty for a past decision).

    records: the decision records it is about, oldest first. handed_time: when the action was handed over, 0 = never.
    text: the whole in words. checks: what lies behind the condition, each with what it would give now. under_way: patterns, held
    actions and content sequences of the subject, a line each.
    """

    trigger_id: str
    subject: str
    clauses: tuple[Clause, ...]
    records: tuple[Decision, ...]
    handed_time: int
    text: str
    checks: tuple[Check, ...] = ()
    under_way: tuple[str, ...] = ()
    catalog_digest: str = ""
    note: str = ""

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> dict[str, Any]:
        """The same as plain values. What clauses read stands as text: a server sends no types. Times in ms."""
        return {
            "trigger": self.trigger_id,
            "subject": self.subject,
            "catalog": self.catalog_digest,
            "note": self.note,
            "clauses": [
                {
                    "text": clause.text,
                    "outcome": clause.outcome,
                    "values": {name: str(value) for name, value in clause.values.items()},
                    "message": clause.message,
                }
                for clause in self.clauses
            ],
            "checks": [{"name": check.name, "reason": check.reason, "detail": check.detail} for check in self.checks],
            "under_way": list(self.under_way),
            "decisions": [_plain(decision) for decision in self.records],
            "handed_time": self.handed_time,
        }


def explain_decision(log: Log, decision_id: str) -> Explanation:
    """From the log: every record of one decision. Raises DefinitionError when it is not there."""
    records = [record for _, record in log.decision_records(decision_id)]
    decided = tuple(record.decision for record in records if isinstance(record, DecisionOutput))
    if not decided:
        raise DefinitionError("no such decision in this store", hint="the log may no longer reach back to it")
    handed = next((record.handed_time for record in records if isinstance(record, HandedOutput)), 0)
    lines = [f"{decided[0].trigger_id} for {decided[0].subject}"]
    lines.extend(_line(decision) for decision in decided)
    lines.append(f"handed over at {handed}" if handed else "not handed over")
    return Explanation(decided[0].trigger_id, decided[0].subject, (), decided, handed, "\n".join(lines))


def explain_trigger(runtime: Runtime, log: Log, trigger_id: str, subject: str, moment: Moment) -> Explanation:
    """Evaluate the trigger's condition on the subject's state now, and show its recent decisions."""
    engine = runtime.engine
    trigger = engine.plan.triggers.get(trigger_id)
    if trigger is None:
        raise DefinitionError(
            f"no trigger {trigger_id!r} here", hint=f"live here: {', '.join(sorted(engine.plan.triggers)) or 'none'}"
        )
    with runtime.reading():
        is_known = subject in engine.state.subjects
        found = standing(engine.plan, engine.state, trigger, subject, moment)
    live = engine.plan.catalog
    recent = tuple(
        reversed([d for d in log.recent_decisions(RECENT_MAX) if d.trigger_id == trigger_id and d.subject == subject][:5])
    )
    told = tuple(lines_of(found)) if is_known else (NEVER_SEEN,)
    return Explanation(
        trigger_id, subject, found.clauses if is_known else (), recent, 0,
        _text(trigger_id, subject, live.version or live.digest[:12], told, recent), found.checks, found.under_way, live.digest,
        "" if is_known else NEVER_SEEN,
    )  # fmt: skip


def explained_there(trigger_id: str, subject: str, answer: ExplainTriggerResponse) -> Explanation:
    """What a server answered about one of its triggers."""
    from reflexarc_proto.wire import decision_from_proto, reason_from_proto

    clauses = tuple(Clause(one.text, one.outcome, dict(one.values), one.message) for one in answer.clauses)
    checks = tuple(
        Check(one.name, reason_from_proto(one.reason).value if one.reason else "", one.detail) for one in answer.checks
    )
    recent = tuple(decision_from_proto(one) for one in reversed(answer.decisions))
    catalog = answer.catalog_version or answer.catalog_digest[:12]
    note = "" if checks or not answer.lines else answer.lines[0]
    return Explanation(
        trigger_id, subject, clauses, recent, 0, _text(trigger_id, subject, catalog, tuple(answer.lines), recent), checks,
        tuple(answer.under_way), answer.catalog_digest, note,
    )  # fmt: skip


def _text(trigger_id: str, subject: str, catalog: str, told: tuple[str, ...], recent: tuple[Decision, ...]) -> str:
    lines = [f"{trigger_id} for {subject}, catalog {catalog}", *(f"  {line}" for line in told), *map(_line, recent)]
    return "\n".join(lines)


def _plain(decision: Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "record": decision.record,
        "time": decision.decision_time,
        "reason": decision.reason.value,
        "detail": decision.detail,
        "instance": decision.instance,
        "variant": decision.variant,
        "assignment": decision.assignment,
        "mode": decision.mode,
        "policies": list(decision.policy_ids),
    }


def _line(decision: Decision) -> str:
    parts = [f"  {decision.decision_time}: {decision.reason}"]
    if decision.detail:
        parts.append(f"({decision.detail})")
    if decision.instance or decision.variant:
        parts.append(" ".join(filter(None, (decision.instance and f"[{decision.instance}]", decision.variant))))
    if decision.policy_ids:
        parts.append(f"used {', '.join(decision.policy_ids)}" + (f" by lease {decision.lease_id}" if decision.lease_id else ""))
    for evidence in decision.evidence:
        confidence = "none" if evidence.confidence is None else f"{evidence.confidence:.3f}"
        parts.append(
            f"{evidence.model_id} by {evidence.where}: score {evidence.score:.3f} over {evidence.line:g}?"
            f" confidence {confidence} over {evidence.confidence_min:g}?"
        )
    return " ".join(parts)
