"""Records of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.policy import CAP_COUNT_MAX
from reflexarc_core.record import (
    KIND_OF,
    AnswerInput,
    CatalogInput,
    ControlInput,
    DecisionOutput,
    EventInput,
    HandedOutput,
    LeaseInput,
    LossOutput,
    Record,
    ScoresInput,
    TickInput,
    TombstoneOutput,
    ValuesInput,
)
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire.decision import decision_from_proto, fill_decision
from reflexarc_proto.wire.event import (
    ID_LENGTH_MAX,
    checked_time,
    event_from_proto,
    fill_event,
    fill_moment,
    fill_subject,
    moment_from_proto,
    subject_from_proto,
)
from reflexarc_proto.wire.score import fill_scored, live_model_to_proto, live_models_from_proto, scored_from_proto

SCORES_COUNT_MAX: Final = 4_096
NAMES_COUNT_MAX: Final = 4_096
DIGEST_LENGTH: Final = 64
TOMBSTONE_KIND: Final = KIND_OF[TombstoneOutput]
UNKNOWN_KIND: Final = 0

_KIND_OF_FIELD: Final = {
    "event": KIND_OF[EventInput],
    "scores": KIND_OF[ScoresInput],
    "answer": KIND_OF[AnswerInput],
    "tick": KIND_OF[TickInput],
    "catalog": KIND_OF[CatalogInput],
    "values": KIND_OF[ValuesInput],
    "control": KIND_OF[ControlInput],
    "lease": KIND_OF[LeaseInput],
    "decision": KIND_OF[DecisionOutput],
    "handed": KIND_OF[HandedOutput],
    "loss": KIND_OF[LossOutput],
    "tombstone": TOMBSTONE_KIND,
}


def record_to_proto(seq: int, record: Record, check: int = 0) -> record_pb2.LogRecord:
    """The message of one record. check: the sender's own checksum of it, 32 bits, 0 for none.

    Raises InvalidEventError for a value the wire has no form for.
    """
    message = record_pb2.LogRecord(seq=seq, check=check)
    _TO[type(record)](message, record)
    return message


def record_from_proto(message: record_pb2.LogRecord) -> tuple[int, Record]:
    """(seq, record). Raises InvalidEventError when it is no record of this version; see `body_kind` for later kinds."""
    seq = message.seq
    if seq < 0:
        raise InvalidEventError(f"a record with number {seq}", hint="numbers count from 1")
    field = message.WhichOneof("body")
    read = _FROM.get(field) if field is not None else None
    if read is None:
        raise InvalidEventError(f"record {seq} holds {field or 'nothing this version knows'}")
    return seq, read(getattr(message, field))  # type: ignore[arg-type]


def body_kind(message: record_pb2.LogRecord) -> int:
    """The record's kind by number (`reflexarc_core.record.KINDS`), TOMBSTONE_KIND, or UNKNOWN_KIND when nothing known is set."""
    field = message.WhichOneof("body")
    return _KIND_OF_FIELD[field] if field is not None else UNKNOWN_KIND


# -- core to wire ---------------------------------------------------------------------------------------------------


def _event_to(message: record_pb2.LogRecord, record: EventInput) -> None:
    fill_moment(message.event.moment, record.moment)
    fill_event(message.event.event, record.event)


def _scores_to(message: record_pb2.LogRecord, record: ScoresInput) -> None:
    body = message.scores
    fill_moment(body.moment, record.moment)
    body.cause_id = record.cause_id
    for subject, scored in record.scores:
        held = body.scores.add()
        fill_subject(held.subject, subject)
        fill_scored(held.scored, scored)


def _answer_to(message: record_pb2.LogRecord, record: AnswerInput) -> None:
    body = message.answer
    fill_moment(body.moment, record.moment)
    body.decision_id = record.decision_id
    body.unavailable = record.unavailable
    if record.scored is not None:
        fill_scored(body.scored, record.scored)


def _tick_to(message: record_pb2.LogRecord, record: TickInput) -> None:
    fill_moment(message.tick.moment, record.moment)


def _catalog_to(message: record_pb2.LogRecord, record: CatalogInput) -> None:
    body = message.catalog
    fill_moment(body.moment, record.moment)
    body.catalog_digest = record.catalog_digest
    body.version = record.version
    for model_id, live in record.models.items():
        body.models[model_id].CopyFrom(live_model_to_proto(live))


def _values_to(message: record_pb2.LogRecord, record: ValuesInput) -> None:
    body = message.values
    fill_moment(body.moment, record.moment)
    fill_subject(body.subject, record.subject)
    body.as_of_time = record.as_of_time
    for name, value in record.values.items():
        body.values[name] = value


def _lease_to(message: record_pb2.LogRecord, record: LeaseInput) -> None:
    fill_moment(message.lease.moment, record.moment)
    held = message.lease.lease
    fill_subject(held.subject, record.subject)
    held.cap = record.cap
    held.lease_id = record.lease_id
    held.tokens = record.tokens
    held.expire_time = record.expire_time


def _control_to(message: record_pb2.LogRecord, record: ControlInput) -> None:
    fill_moment(message.control.moment, record.moment)
    message.control.paused.extend(record.paused)


def _decision_to(message: record_pb2.LogRecord, record: DecisionOutput) -> None:
    fill_decision(message.decision, record.decision)


def _handed_to(message: record_pb2.LogRecord, record: HandedOutput) -> None:
    message.handed.decision_id = record.decision_id
    message.handed.handed_time = record.handed_time


def _tombstone_to(message: record_pb2.LogRecord, record: TombstoneOutput) -> None:
    message.tombstone.subject_digest = record.subject_digest
    message.tombstone.erase_time = record.erase_time


def _loss_to(message: record_pb2.LogRecord, record: LossOutput) -> None:
    body = message.loss
    body.SetInParent()
    body.reason = record.reason
    body.first_seq = record.first_seq
    body.last_seq = record.last_seq
    body.count = record.count


_TO: Final[dict[type, Callable[[record_pb2.LogRecord, Any], None]]] = {
    EventInput: _event_to,
    ScoresInput: _scores_to,
    AnswerInput: _answer_to,
    TickInput: _tick_to,
    CatalogInput: _catalog_to,
    ValuesInput: _values_to,
    ControlInput: _control_to,
    LeaseInput: _lease_to,
    DecisionOutput: _decision_to,
    HandedOutput: _handed_to,
    LossOutput: _loss_to,
    TombstoneOutput: _tombstone_to,
}


# -- wire to core ---------------------------------------------------------------------------------------------------


def event_input_from_proto(body: record_pb2.EventInput) -> EventInput:
    """An event's record. Raises InvalidEventError as `event_from_proto` does."""
    return EventInput(moment_from_proto(body.moment), event_from_proto(body.event))


def _scores_from(body: record_pb2.ScoresInput) -> ScoresInput:
    _bounded(len(body.scores), SCORES_COUNT_MAX, "scores")
    scores = tuple((subject_from_proto(held.subject), scored_from_proto(held.scored)) for held in body.scores)
    return ScoresInput(moment_from_proto(body.moment), body.cause_id, scores)


def _answer_from(body: record_pb2.AnswerInput) -> AnswerInput:
    scored = scored_from_proto(body.scored) if body.HasField("scored") else None
    return AnswerInput(moment_from_proto(body.moment), _id(body.decision_id), scored, body.unavailable)


def _tick_from(body: record_pb2.TickInput) -> TickInput:
    return TickInput(moment_from_proto(body.moment))


def _catalog_from(body: record_pb2.CatalogInput) -> CatalogInput:
    _bounded(len(body.models), NAMES_COUNT_MAX, "models")
    return CatalogInput(moment_from_proto(body.moment), body.catalog_digest, body.version, live_models_from_proto(body.models))


def _values_from(body: record_pb2.ValuesInput) -> ValuesInput:
    _bounded(len(body.values), NAMES_COUNT_MAX, "values")
    return ValuesInput(
        moment_from_proto(body.moment), subject_from_proto(body.subject), checked_time(body.as_of_time, "as_of_time"),
        dict(body.values),
    )  # fmt: skip


def _lease_from(body: record_pb2.LeaseInput) -> LeaseInput:
    return LeaseInput(moment_from_proto(body.moment), *lease_from_proto(body.lease))


def lease_from_proto(given: record_pb2.Lease) -> tuple[str, str, str, int, int]:
    """(subject, cap, lease, tokens, when it ends in ms). Raises InvalidEventError for one that allows nothing, or too much."""
    if not 0 < given.tokens <= CAP_COUNT_MAX or not 0 < len(given.cap) <= ID_LENGTH_MAX:
        raise InvalidEventError(f"a lease of {given.tokens} uses", hint=f"1 to {CAP_COUNT_MAX} of a cap with a name")
    expire_time = checked_time(given.expire_time, "expire_time")
    return subject_from_proto(given.subject), given.cap, _id(given.lease_id), given.tokens, expire_time


def _control_from(body: record_pb2.ControlInput) -> ControlInput:
    _bounded(len(body.paused), NAMES_COUNT_MAX, "triggers")
    return ControlInput(moment_from_proto(body.moment), tuple(body.paused))


def _decision_from(body: Any) -> DecisionOutput:
    return DecisionOutput(decision_from_proto(body))


def _handed_from(body: record_pb2.Handed) -> HandedOutput:
    return HandedOutput(_id(body.decision_id), checked_time(body.handed_time, "handed_time"))


def loss_from_proto(body: record_pb2.Loss) -> LossOutput:
    """A gap that explains itself. Raises InvalidEventError when it is no range."""
    if not 0 < body.first_seq <= body.last_seq or body.count < 0:
        raise InvalidEventError(f"a loss from {body.first_seq} to {body.last_seq}", hint="first_seq to last_seq, ascending")
    return LossOutput(body.reason, body.first_seq, body.last_seq, body.count)


def tombstone_from_proto(body: record_pb2.Tombstone) -> TombstoneOutput:
    """Raises InvalidEventError when it does not say whose it is."""
    digest = body.subject_digest
    if len(digest) != DIGEST_LENGTH or not set(digest) <= set("0123456789abcdef"):
        raise InvalidEventError("a tombstone of nobody", hint="subject_digest: 64 hex digits")
    return TombstoneOutput(digest, checked_time(body.erase_time, "erase_time"))


_FROM: Final[dict[str, Callable[[Any], Record]]] = {
    "event": event_input_from_proto,
    "scores": _scores_from,
    "answer": _answer_from,
    "tick": _tick_from,
    "catalog": _catalog_from,
    "values": _values_from,
    "control": _control_from,
    "lease": _lease_from,
    "decision": _decision_from,
    "handed": _handed_from,
    "loss": loss_from_proto,
    "tombstone": tombstone_from_proto,
}


def _id(given: str) -> str:
    if not 0 < len(given) <= ID_LENGTH_MAX:
        raise InvalidEventError(f"an id of {len(given)} characters", hint=f"1 to {ID_LENGTH_MAX}")
    return given


def _bounded(count: int, count_max: int, what: str) -> None:
    if count > count_max:
        raise InvalidEventError(f"a record with {count} {what}", hint=f"at most {count_max}")
