"""Decisions and their reasons."""

from __future__ import annotations

from typing import Final

from reflexarc_core.decision import MODES, Decision, Reason, ScoreEvidence
from reflexarc_core.errors import InvalidEventError
from reflexarc_proto.v1 import decision_pb2
from reflexarc_proto.wire.event import ID_LENGTH_MAX, checked_time, fill_subject, subject_from_proto
from reflexarc_proto.wire.value import fill, map_from_proto

EVIDENCE_COUNT_MAX: Final = 64
POLICY_COUNT_MAX: Final = 64

_REASON_OF: Final[dict[int, Reason]] = {decision_pb2.Reason.Value(f"REASON_{reason.value}"): reason for reason in Reason}
_NUMBER_OF: Final = {reason: decision_pb2.Reason.Value(f"REASON_{reason.value}") for reason in Reason}
_PLACEMENT_OF: Final = {decision_pb2.PLACEMENT_EDGE: "edge", decision_pb2.PLACEMENT_SERVER: "server"}
_PLACEMENT_NUMBER: Final = {name: number for number, name in _PLACEMENT_OF.items()}
_ASSIGNMENT_OF: Final = {
    decision_pb2.ASSIGNMENT_UNSPECIFIED: "",
    decision_pb2.ASSIGNMENT_TREATED: "treated",
    decision_pb2.ASSIGNMENT_HOLDOUT: "holdout",
}
_ASSIGNMENT_NUMBER: Final = {name: number for number, name in _ASSIGNMENT_OF.items()}


def reason_to_proto(reason: Reason) -> decision_pb2.Reason.ValueType:
    """The enum value of a reason."""
    return _NUMBER_OF[reason]


def reason_from_proto(number: int) -> Reason:
    """The reason. Raises InvalidEventError for none or one of a later version."""
    reason = _REASON_OF.get(number)
    if reason is None:
        raise InvalidEventError(f"a decision with reason {number}", hint="one of the reasons of this version")
    return reason


def fill_decision(message: decision_pb2.Decision, decision: Decision) -> None:
    """Write a decision into an empty message. Raises InvalidEventError for a payload the wire has no form for."""
    message.decision_id = decision.decision_id
    message.record = decision.record
    message.trigger_id = decision.trigger_id
    fill_subject(message.subject, decision.subject)
    message.cause_id = decision.cause_id
    message.reason = _NUMBER_OF[decision.reason]
    message.decision_time = decision.decision_time
    message.catalog_digest = decision.catalog_digest
    message.placement = _PLACEMENT_NUMBER[decision.placement]
    message.online = decision.online
    message.instance = decision.instance
    message.detail = decision.detail
    for evidence in decision.evidence:
        message.evidence.add(
            model_id=evidence.model_id, artifact_digest=evidence.artifact_digest, code=evidence.code, score=evidence.score,
            line=evidence.line, confidence=evidence.confidence, confidence_min=evidence.confidence_min, where=evidence.where,
        )  # fmt: skip
    message.action = decision.action
    if decision.payload is not None:
        message.payload.SetInParent()
        for name, value in decision.payload.items():
            fill(message.payload.fields[name], value)
    message.assignment = _ASSIGNMENT_NUMBER[decision.assignment]
    message.expire_time = decision.expire_time
    if decision.variant:
        message.variant = decision.variant
    if decision.policy_ids:
        message.policy_ids.extend(decision.policy_ids)
    if decision.lease_id:
        message.lease_id = decision.lease_id
    if decision.mode:
        message.mode = decision.mode


def decision_to_proto(decision: Decision) -> decision_pb2.Decision:
    """The message of a decision. Raises InvalidEventError for a payload the wire has no form for."""
    message = decision_pb2.Decision()
    fill_decision(message, decision)
    return message


def decision_from_proto(message: decision_pb2.Decision) -> Decision:
    """The decision. Raises InvalidEventError when it names no trigger, reason, placement or subject."""
    decision_id, trigger_id = message.decision_id, message.trigger_id
    if not 0 < len(decision_id) <= ID_LENGTH_MAX or not 0 < len(trigger_id) <= ID_LENGTH_MAX:
        raise InvalidEventError("a decision without an id or a trigger", hint=f"1 to {ID_LENGTH_MAX} characters each")
    placement = _PLACEMENT_OF.get(message.placement)
    assignment = _ASSIGNMENT_OF.get(message.assignment)
    if placement is None or assignment is None or message.record < 0:
        raise InvalidEventError("a decision without a placement, or with an assignment or record number that is none")
    if len(message.evidence) > EVIDENCE_COUNT_MAX:
        raise InvalidEventError(f"a decision on {len(message.evidence)} scores", hint=f"at most {EVIDENCE_COUNT_MAX}")
    if len(message.policy_ids) > POLICY_COUNT_MAX:
        raise InvalidEventError(f"a decision that used {len(message.policy_ids)} caps", hint=f"at most {POLICY_COUNT_MAX}")
    if message.mode not in MODES:
        raise InvalidEventError("a decision in a mode that is none", hint=f"empty, {', '.join(filter(None, MODES))}")
    evidence = tuple(
        ScoreEvidence(
            held.model_id, held.artifact_digest, held.code, held.score, held.line,
            held.confidence if held.HasField("confidence") else None, held.confidence_min, held.where,
        )
        for held in message.evidence
    )  # fmt: skip
    return Decision(
        decision_id=decision_id,
        record=message.record,
        trigger_id=trigger_id,
        subject=subject_from_proto(message.subject),
        cause_id=message.cause_id,
        reason=reason_from_proto(message.reason),
        decision_time=checked_time(message.decision_time, "decision_time"),
        catalog_digest=message.catalog_digest,
        placement=placement,
        online=message.online,
        instance=message.instance,
        detail=message.detail,
        evidence=evidence,
        action=message.action,
        payload=map_from_proto(message.payload) if message.HasField("payload") else None,
        assignment=assignment,
        expire_time=checked_time(message.expire_time, "expire_time"),
        variant=message.variant,
        policy_ids=tuple(message.policy_ids),
        lease_id=message.lease_id,
        mode=message.mode,
    )
