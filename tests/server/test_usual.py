"""The scan of usual records and the wire's own judge give the same rows and the same refusals, whatever comes."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, LossOutput, Moment, TickInput
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.judging import judge_all
from reflexarc_server.usual import USUAL, WORTH_LOADING, Scan
from tests.server.kit import T0, decision, event_record, message, page

LOADED = Scan()
LOADED.load()
NONE = Scan()

_numbers = st.sampled_from([0, 1, -1, 5, 2**31 - 1, 2**53 - 1, 2**53, 2**63 - 1, -(2**63)]) | st.integers(0, 2**53)
_texts = st.sampled_from(["", "a", "page_view", "outcome", "x" * 200, "x" * 201, "é" * 200, "é" * 100, "x" * 513, "ü\U0001f600"])
_long = _texts | st.sampled_from(["x" * 8_192, "x" * 8_193, "é" * 8_192])
_doubles = st.sampled_from([0.0, -1.5, float("inf"), float("-inf"), float("nan"), 1.7976931348623157e308, 5e-324])


def _value(draw: st.DrawFn, into: Any, depth: int = 0) -> None:
    kind = draw(st.sampled_from(["string", "int", "double", "bool", "list", "map", "none", "string", "int"]))
    if kind == "string":
        into.string_value = draw(_long)
    elif kind == "int":
        into.int_value = draw(_numbers)
    elif kind == "double":
        into.double_value = draw(_doubles)
    elif kind == "bool":
        into.bool_value = draw(st.booleans())
    elif kind == "list":
        into.list_value.SetInParent()
        for _ in range(draw(st.sampled_from([0, 1, 3, 256, 257])) if depth < 1 else 1):
            if depth < 2:
                _value(draw, into.list_value.values.add(), depth + 1) if draw(st.integers(0, 30)) == 0 else setattr(
                    into.list_value.values.add(), "int_value", 7
                )
    elif kind == "map":
        into.map_value.SetInParent()


@st.composite
def event_records(draw: st.DrawFn) -> record_pb2.LogRecord:
    """Events, most of them valid but for one thing, in every field."""
    record = event_record(draw(st.integers(1, 2**40)), page(1), check=draw(st.integers(0, 2**32 - 1)))
    event = record.event.event
    for _ in range(draw(st.integers(0, 3))):
        match draw(st.integers(0, 12)):
            case 0:
                event.event_id = draw(_texts)
            case 1:
                event.event_type = draw(_texts)
            case 2:
                event.subject.id = draw(_texts)
            case 3:
                event.subject.kind = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 99, -1]))  # type: ignore[assignment]
            case 4:
                event.event_time = draw(_numbers)
            case 5:
                event.source_row = draw(_numbers)
            case 6:
                record.event.moment.now_time = draw(_numbers)
            case 7:
                record.event.moment.next_offset_time = draw(_numbers)
            case 8:
                record.event.moment.offset_minutes = draw(st.sampled_from([0, 60, -60, 2**31 - 1, -(2**31)]))
            case 9:
                for name in range(draw(st.sampled_from([1, 63, 64, 65]))):
                    event.context[f"c{name}"].int_value = name
            case 10:
                event.properties[draw(_texts)].SetInParent()
            case 11:
                record.event.moment.online = record.event.moment.trusted = True
            case _:
                event.ClearField("subject") if draw(st.booleans()) else record.event.ClearField("moment")
    for _ in range(draw(st.integers(0, 2))):
        _value(draw, (event.properties if draw(st.booleans()) else event.context)[draw(_texts)])
    return record


@st.composite
def requests(draw: st.DrawFn) -> messages.PushRequest:
    """Batches of events and of other records, some with fields that this version does not know, some damaged as bytes."""
    others = st.sampled_from([
        message(3, TickInput(Moment(T0))),
        message(4, LossOutput("full", 2, 3, 2)),
        message(5, decision("d", Reason.FIRED, "known:1", T0)),
        record_pb2.LogRecord(seq=6),
        record_pb2.LogRecord(seq=7, tombstone=record_pb2.Tombstone(erase_time=5)),
        record_pb2.LogRecord.FromString(record_pb2.LogRecord(seq=2).SerializeToString() + b"\xfa\x06\x03new"),
        record_pb2.LogRecord.FromString(event_record(8, page(8)).SerializeToString() + b"\xfa\x06\x03new"),
    ])  # fmt: skip
    records = draw(st.lists(event_records() | others, max_size=4))
    request = messages.PushRequest(
        incarnation=draw(_texts), records=records, previous_check=draw(st.integers(0, 2**32 - 1)), sent_time=draw(_numbers),
        losses=[record_pb2.Loss(reason="full", first_seq=1, last_seq=2, count=2)] * draw(st.integers(0, 2)),
    )  # fmt: skip
    damaged = bytearray(request.SerializeToString() + b"\xfa\x7f\x03new"[: draw(st.sampled_from([0, 6]))])
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        damaged[draw(st.integers(0, len(damaged) - 1))] = draw(st.integers(0, 255)) if damaged else 0
    try:
        return messages.PushRequest.FromString(bytes(damaged))
    except DecodeError:
        return request


@given(requests())
def test_both_roads_lead_to_the_same_rows(request: messages.PushRequest) -> None:
    long_way = judge_all(request, NONE, "device", "one", T0)
    assert judge_all(request, LOADED, "device", "one", T0) == long_way


def _edges() -> list[record_pb2.LogRecord]:
    """Every bound from both sides, one change a record."""
    made: list[record_pb2.LogRecord] = []

    def one() -> Any:
        made.append(event_record(len(made) + 1, page(1)))
        return made[-1].event

    for number in (-1, 0, 2**53 - 1, 2**53, 2**63 - 1):
        one().event.event_time = number
        one().event.source_row = number
        one().moment.now_time = number
        one().moment.next_offset_time = number
    for length in (0, 1, 199, 200, 201, 512, 513):
        one().event.event_id = "x" * length
        one().event.event_type = "x" * length
        one().event.subject.id = "x" * length
        one().event.properties["x" * length].int_value = 1
    for kind in range(-1, 7):
        one().event.subject.kind = kind
    for count in (63, 64, 65):
        for fields in ("properties", "context"):
            event = one().event
            event.ClearField(fields)
            for name in range(count):
                getattr(event, fields)[str(name)].bool_value = False
    for count in (0, 255, 256, 257):
        listed = one().event.properties["l"].list_value
        listed.SetInParent()
        for _ in range(count):
            listed.values.add(double_value=0.0)
    for double in (math.inf, -math.inf, math.nan, sys.float_info.max, -sys.float_info.max, 5e-324, 0.0):
        one().event.properties["d"].double_value = double
        one().event.properties["l"].list_value.values.add(double_value=double)
    for length in (8_191, 8_192, 8_193):
        one().event.context["t"].string_value = "x" * length
        one().event.properties["l"].list_value.values.add(string_value="x" * length)
    one().event.properties["null"].SetInParent()
    one().event.properties["object"].map_value.SetInParent()
    one().event.properties["l"].list_value.values.add()
    one().event.properties["l"].list_value.values.add().list_value.SetInParent()
    for part in ("subject", "properties", "context"):
        one().event.ClearField(part)
    one().ClearField("moment")
    one().ClearField("event")
    return made


def test_both_roads_agree_at_every_bound() -> None:
    request = messages.PushRequest(incarnation="one", records=_edges())
    scanned = LOADED.records(request, len(request.records))
    assert scanned is not None
    assert {row[USUAL] for row in scanned[1]} == {0, 1}
    for one, other in zip(
        judge_all(request, LOADED, "device", "one", T0), judge_all(request, NONE, "device", "one", T0), strict=True
    ):
        assert one == other


def test_what_devices_send_is_usual() -> None:
    """Else the test above would hold of a scan that recognises nothing."""
    events = [
        page(1),
        Event("é", "order", "session:ü", 0, {"list": [1, 2.5, True, "x"], "empty": []}, {"screen": "1x1", "online": False}, 7),
        Event("e" * 200, "t" * 200, "device:" + "x" * 512, 2**53 - 1, {"t": "x" * 8_192}),
    ]
    records = [message(i, EventInput(Moment(T0, True, False, -60, T0 + 1), event), i) for i, event in enumerate(events, 1)]
    scanned = LOADED.records(messages.PushRequest(incarnation="one", records=records), len(records))
    assert scanned is not None
    assert [row[USUAL] for row in scanned[1]] == [1, 1, 1]


def test_a_small_batch_does_not_load_it() -> None:
    scan = Scan()
    request = messages.PushRequest(incarnation="one", records=[event_record(1, page(1))])
    assert scan.records(request, 1) is None
    assert not scan.loading
    assert scan.records(request, WORTH_LOADING) is None
    assert scan.loading


def test_where_it_cannot_be_compiled_records_take_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    scan = Scan()
    scan.load()
    request = messages.PushRequest(incarnation="one", records=[event_record(1, page(1))])
    assert [one.seq for one in judge_all(request, scan, "device", "one", T0)] == [1]


def test_a_request_with_unknown_groups_is_not_walked() -> None:
    request = messages.PushRequest(incarnation="a")
    request.records.append(event_record(1, page(1)))
    group = b"\x9b\x06" + b"\x12\xff\xff\xff\x7f" * 3 + b"\x9c\x06"
    hostile = messages.PushRequest.FromString(request.SerializeToString() + b"\x9b\x06\x10\x05\x9c\x06")
    assert LOADED.records(request, 1) is not None
    assert LOADED.records(hostile, 1) is None
    with pytest.raises(DecodeError):
        messages.PushRequest.FromString(request.SerializeToString() + group)
