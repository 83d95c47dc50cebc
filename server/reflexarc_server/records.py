"""From messages to rows of the store: what of a record the reports and the fold must find again.

Owns the identity of a record across sources. Judges nothing: the wire did.
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.decision import MODES, Decision
from reflexarc_core.event import OUTCOME, Event
from reflexarc_core.record import KIND_OF, DecisionOutput, EventInput, Moment, Record
from reflexarc_proto.v1 import decision_pb2, record_pb2
from reflexarc_proto.wire import record_to_proto
from reflexarc_proto.wire.event import check_event
from reflexarc_proto.wire.quick import event_record
from reflexarc_server.store.port import OWN_INSTALLATION, DecisionRow, NewRecord

_REASONS: Final = frozenset(decision_pb2.Reason.values())
_PLACEMENTS: Final = frozenset(decision_pb2.Placement.values())
_ASSIGNMENTS: Final = frozenset(decision_pb2.Assignment.values())
WEB_INCARNATION: Final = "web"
"""The numbering of browsers: they number nothing, and are told apart from services, whose events nobody holds."""
_EVENT: Final = KIND_OF[EventInput]
TRACK_INSTALLATION = "track"
"""Whose name events without a device log carry when their sender gave none."""


def row_of(record: Record, installation: str, incarnation: str, seq: int, receive_time: int, body: bytes) -> NewRecord:
    """The row of a record. receive_time: the server's, ms."""
    kind = KIND_OF[type(record)]
    if isinstance(record, EventInput):
        event = record.event
        return NewRecord(
            installation, incarnation, seq, kind, event.subject, event.event_type, event.event_time, event.event_id,
            receive_time, body, outcome=_outcome(event),
        )  # fmt: skip
    if isinstance(record, DecisionOutput):
        decision = record.decision
        return NewRecord(
            installation, incarnation, seq, kind, decision.subject, "", decision.decision_time,
            f"{decision.decision_id}/{decision.record}", receive_time, body, decision=_decision_row(decision),
        )  # fmt: skip
    return NewRecord(installation, incarnation, seq, kind, "", "", 0, "", receive_time, body)


def unread_row(kind: int, installation: str, incarnation: str, seq: int, receive_time: int, body: bytes) -> NewRecord:
    """The row of a record that a later version wrote: kept as it came."""
    return NewRecord(installation, incarnation, seq, kind, "", "", 0, "", receive_time, body)


def own_row(record: Record, receive_time: int) -> NewRecord:
    """The row of a record of the server's own engine."""
    return row_of(record, OWN_INSTALLATION, "", 0, receive_time, record_to_proto(0, record).SerializeToString())


def tracked_row(event: Event, installation: str, receive_time: int) -> NewRecord:
    """The row of an event that came without a device log; the server's time is its moment.

    Raises InvalidEventError for one that nobody could read again: it would stop whoever reads the log.
    """
    check_event(event)
    record = EventInput(Moment(receive_time, online=True), event)
    body = record_to_proto(0, record).SerializeToString()
    return row_of(record, installation or TRACK_INSTALLATION, "", 0, receive_time, body)


def web_row(event: Event, installation: str, receive_time: int) -> NewRecord:
    """The row of an event that a browser sent: its installation holds the subject, as a device's does.

    Raises InvalidEventError for a value the wire has no form for.
    """
    return NewRecord(
        installation, WEB_INCARNATION, 0, _EVENT, event.subject, event.event_type, event.event_time, event.event_id, receive_time,
        event_record(receive_time, event), outcome=_outcome(event),
    )  # fmt: skip


def is_later_kind(message: record_pb2.LogRecord) -> bool:
    """Whether a record without a known body holds one of a later version (and is not simply empty)."""
    known = record_pb2.LogRecord(seq=message.seq, check=message.check)
    return message.ByteSize() > known.ByteSize()


def is_later_decision(message: record_pb2.LogRecord) -> bool:
    """Whether a decision has a reason, a placement, an assignment or a mode that only a later version knows."""
    decision = message.decision
    return (
        decision.reason not in _REASONS
        or decision.placement not in _PLACEMENTS
        or decision.assignment not in _ASSIGNMENTS
        or decision.mode not in MODES
    )


def _outcome(event: Event) -> tuple[str, str] | None:
    if event.event_type != OUTCOME:
        return None
    return str(event.properties.get("decision_id", "")), str(event.properties.get("kind", ""))


def _decision_row(decision: Decision) -> DecisionRow:
    # What counts in no result has a reason of its own there: `dry_run:FIRED`.
    reason = f"{decision.mode}:{decision.reason.value}" if decision.mode else decision.reason.value
    return DecisionRow(
        decision.decision_id, decision.record, decision.trigger_id, decision.subject, reason, decision.decision_time,
        decision.placement, decision.variant,
    )  # fmt: skip
