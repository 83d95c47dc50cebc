"""What comes from outside is refused with InvalidEventError, whatever it is, and never with anything else."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_core.record import DecisionOutput, EventInput, LossOutput, Moment, Record
from reflexarc_proto import wire
from reflexarc_proto.v1 import record_pb2, value_pb2

EVENT = Event("e1", "page_view", "known:1", 1_000, {"url": "/a", "n": 3, "tags": ["x", "y"]}, {"screen": "1x1"}, 4)
DECISION = Decision("d1", 0, "t", "known:1", "e1", Reason.FIRED, 5, "c", "edge", True, payload={"a": {"b": [1, None]}})


def _message(record: Record) -> record_pb2.LogRecord:
    return wire.record_to_proto(1, record)


def _no_id(m: record_pb2.LogRecord) -> None:
    m.event.event.event_id = ""


def _long_id(m: record_pb2.LogRecord) -> None:
    m.event.event.event_id = "x" * 201


def _no_type(m: record_pb2.LogRecord) -> None:
    m.event.event.event_type = ""


def _no_subject(m: record_pb2.LogRecord) -> None:
    m.event.event.ClearField("subject")


def _unknown_kind(m: record_pb2.LogRecord) -> None:
    m.event.event.subject.kind = 99  # type: ignore[assignment]


def _long_subject(m: record_pb2.LogRecord) -> None:
    m.event.event.subject.id = "x" * 513


def _before_1970(m: record_pb2.LogRecord) -> None:
    m.event.event.event_time = -1


def _far_future(m: record_pb2.LogRecord) -> None:
    m.event.moment.now_time = 2**53


def _not_finite(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["n"].double_value = math.inf


def _nan_in_list(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["l"].list_value.values.add(double_value=math.nan)


def _null(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["n"].Clear()


def _object(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["n"].map_value.SetInParent()


def _list_in_list(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["l"].list_value.values.add().list_value.SetInParent()


def _long_list(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["l"].list_value.values.extend([value_pb2.Value(int_value=1)] * 257)


def _long_text(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["t"].string_value = "x" * 8193


def _many_properties(m: record_pb2.LogRecord) -> None:
    for i in range(65):
        m.event.event.properties[f"p{i}"].int_value = i


def _long_name(m: record_pb2.LogRecord) -> None:
    m.event.event.properties["p" * 201].int_value = 1


def _context_object(m: record_pb2.LogRecord) -> None:
    m.event.event.context["n"].map_value.SetInParent()


def _negative_row(m: record_pb2.LogRecord) -> None:
    m.event.event.source_row = -1


def _negative_seq(m: record_pb2.LogRecord) -> None:
    m.seq = -1


def _nothing(m: record_pb2.LogRecord) -> None:
    m.ClearField("event")


@pytest.mark.parametrize(
    "spoil",
    [_no_id, _long_id, _no_type, _no_subject, _unknown_kind, _long_subject, _before_1970, _far_future, _not_finite, _nan_in_list,
     _null, _object, _list_in_list, _long_list, _long_text, _many_properties, _long_name, _context_object, _negative_row,
     _negative_seq, _nothing],
)  # fmt: skip
def test_a_spoiled_event_is_refused(spoil: Callable[[record_pb2.LogRecord], None]) -> None:
    message = _message(EventInput(Moment(1), EVENT))
    assert wire.record_from_proto(message) == (1, EventInput(Moment(1), EVENT))
    spoil(message)
    with pytest.raises(InvalidEventError):
        wire.record_from_proto(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [("reason", 0), ("reason", 77), ("placement", 0), ("placement", 9), ("assignment", 5), ("record", -1), ("decision_id", ""),
     ("trigger_id", ""), ("decision_time", -5)],
)  # fmt: skip
def test_a_spoiled_decision_is_refused(field: str, value: object) -> None:
    message = _message(DecisionOutput(DECISION))
    setattr(message.decision, field, value)
    with pytest.raises(InvalidEventError):
        wire.record_from_proto(message)


def test_a_payload_that_nests_too_deep_is_refused() -> None:
    message = _message(DecisionOutput(DECISION))
    inner = message.decision.payload.fields["deep"]
    for _ in range(12):
        inner = inner.list_value.values.add()
    inner.int_value = 1
    with pytest.raises(InvalidEventError):
        wire.record_from_proto(message)


def test_a_loss_that_is_no_range_is_refused() -> None:
    message = _message(LossOutput("full", 5, 4, 1))
    with pytest.raises(InvalidEventError):
        wire.record_from_proto(message)


def test_random_damage_raises_nothing_else() -> None:
    draw = random.Random(7)
    whole = [_message(EventInput(Moment(1), EVENT)).SerializeToString(), _message(DecisionOutput(DECISION)).SerializeToString()]
    parsed = refused = 0
    for _ in range(3_000):
        damaged = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            message = record_pb2.LogRecord.FromString(bytes(damaged))
        except Exception:  # no message at all: grpc answers those itself
            continue
        parsed += 1
        try:
            wire.record_from_proto(message)
        except InvalidEventError:
            refused += 1
    assert parsed > 100
    assert refused > 50


def test_a_value_without_a_form_is_refused_on_the_way_out() -> None:
    for value in (b"bytes", {1, 2}, object(), 2**63):
        with pytest.raises(InvalidEventError):
            wire.value_to_proto(value)
