"""Judging a batch: which of its records can be stored, and as what rows.

Owns the two roads of a record: the usual one, recognised in the request's bytes (`usual`), and the long way through the core's
values, which says what is wrong. Both give the same rows; neither stores anything.
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import OUTCOME, SUBJECT_KINDS
from reflexarc_core.record import KIND_OF, DecisionOutput, EventInput, erased_digest
from reflexarc_core.value import frozen
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import body_kind, record_from_proto, subject_from_proto
from reflexarc_proto.wire.record import TOMBSTONE_KIND, UNKNOWN_KIND
from reflexarc_server.batch import Batch
from reflexarc_server.records import is_later_decision, is_later_kind, row_of, unread_row
from reflexarc_server.store.port import NewRecord

_EVENT: Final = KIND_OF[EventInput]
_DECISION: Final = KIND_OF[DecisionOutput]
_SUBJECT: Final = ("", *(f"{kind}:" for kind in SUBJECT_KINDS))
"""What a subject's text begins with, by the number of its kind on the wire."""


@frozen
class Judged:
    """One record of a batch: its row, or why it is refused for good. check: the sender's checksum of it."""

    seq: int
    check: int
    row: NewRecord | None
    refusal: str = ""


def judge_all(batch: Batch, installation: str, incarnation: str, now: int) -> list[Judged]:
    """Every record of a batch, in its order. now: the server's time, ms."""
    records = batch.records
    if not batch.rows:
        return [judge(message, installation, incarnation, now) for message in records.values()]
    raw = batch.raw
    judged: list[Judged] = []
    for place, (
        usual, start, end, seq, check, id_at, id_end, type_at, type_end, kind, subject_at, subject_end, event_time,
    ) in enumerate(batch.rows):  # fmt: skip
        if not usual:
            judged.append(judge(records[place], installation, incarnation, now))
            continue
        event_type = raw[type_at:type_end].decode()
        if event_type == OUTCOME:  # an outcome's row holds what its properties say
            judged.append(judge(record_pb2.LogRecord.FromString(raw[start:end]), installation, incarnation, now))
            continue
        row = NewRecord(
            installation, incarnation, seq, _EVENT, _SUBJECT[kind] + raw[subject_at:subject_end].decode(), event_type, event_time,
            raw[id_at:id_end].decode(), now, raw[start:end],
        )  # fmt: skip
        judged.append(Judged(seq, check, row))
    return judged


def judge(message: record_pb2.LogRecord, installation: str, incarnation: str, now: int) -> Judged:
    """One record, the long way: the definition of what is valid is `reflexarc_proto.wire`."""
    kind = body_kind(message)
    seq, check = message.seq, message.check
    if kind == _DECISION and is_later_decision(message):
        kind = UNKNOWN_KIND  # kept, and read by nobody until this server is updated
        return Judged(seq, check, unread_row(kind, installation, incarnation, seq, now, message.SerializeToString()))
    if kind == UNKNOWN_KIND and is_later_kind(message):
        return Judged(seq, check, unread_row(kind, installation, incarnation, seq, now, message.SerializeToString()))
    try:
        if kind == TOMBSTONE_KIND and message.tombstone.HasField("subject"):
            named = message.tombstone  # nothing of an erased subject is kept, its name neither
            named.subject_digest = erased_digest(installation, subject_from_proto(named.subject))
            named.ClearField("subject")
        _, record = record_from_proto(message)
    except InvalidEventError as error:
        return Judged(seq, check, None, str(error))
    return Judged(seq, check, row_of(record, installation, incarnation, seq, now, message.SerializeToString()))
