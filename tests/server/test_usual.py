"""The scan of usual records and the wire's own judge give the same rows and the same refusals, whatever comes."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, LossOutput, Moment, TickInput
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.batch import read_batch
from reflexarc_server.judging import Judged, judge_all
from reflexarc_server.usual import RECORDS_MAX, USUAL, WORTH_LOADING, Scan, _form, scan
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
def requests(draw: st.DrawFn) -> bytes:
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
    return bytes(damaged[: draw(st.integers(0, len(damaged)))] if draw(st.integers(0, 9)) == 0 else damaged)


def _judged(content: bytes, scan: Scan) -> list[Judged] | None:
    """What becomes of a request's bytes, the bodies in one form; None when they are no message."""
    try:
        judged = judge_all(read_batch(content, scan), "device", "one", T0)
    except DecodeError:
        return None
    return [one if one.row is None else replace(one, row=replace(one.row, body=_one_form(one.row.body))) for one in judged]


def _one_form(body: bytes) -> bytes:
    return record_pb2.LogRecord.FromString(body).SerializeToString(deterministic=True)


class Checked:
    """The scan as it is written, on bytes of which none can be read before the first or behind the last."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(self._content)

    def __getitem__(self, at: int) -> int:
        assert 0 <= at < len(self._content)
        return self._content[at]


@given(requests())
def test_both_roads_lead_to_the_same_rows(content: bytes) -> None:
    assert _judged(content, LOADED) == _judged(content, NONE)
    try:
        head = messages.PushRequest.FromString(content)
    except DecodeError:
        return
    scanned = LOADED.records(content)
    if scanned is not None:
        assert len(scanned[0]) == len(head.records)
        head.ClearField("records")
        assert messages.PushRequest.FromString(scanned[1]) == head


def _walk(content: bytes) -> None:
    room = np.zeros((4, 9), np.int64)
    scan(Checked(content), 2, _form(), np.zeros((6, 15), np.int64), np.zeros((64, 2), np.int64), *room)


@given(requests())
def test_it_reads_nothing_but_the_request(content: bytes) -> None:
    _walk(content)


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
    content = messages.PushRequest(incarnation="one", records=_edges()).SerializeToString()
    scanned = LOADED.records(content)
    assert scanned is not None
    assert {row[USUAL] for row in scanned[0]} == {0, 1}
    loaded, none = _judged(content, LOADED), _judged(content, NONE)
    assert loaded is not None
    assert none is not None
    for one, other in zip(loaded, none, strict=True):
        assert one == other


def _texts_of_bytes() -> list[bytes]:
    """UTF-8 and what is nearly that: every first byte, with the bounds of what may follow."""
    follows = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    texts = [bytes([first]) for first in range(256)]
    texts += [bytes([first, then]) for first in range(0xC0, 256) for then in follows]
    texts += [bytes([first, then, 0x80]) for first in range(0xE0, 256) for then in follows]
    texts += [bytes([first, then, 0xBF, last]) for first in range(0xF0, 256) for then in follows for last in (0x7F, 0x80, 0xC0)]
    return texts


def test_a_text_is_usual_when_the_decoder_takes_it() -> None:
    whole = messages.PushRequest(records=[event_record(1, page(1))])
    whole.records[0].event.event.context["t"].string_value = "1234567"
    content = whole.SerializeToString()
    seen = set()
    for text in _texts_of_bytes():
        changed = content.replace(b"1234567", text.rjust(7, b"."))
        _walk(changed)
        scanned = LOADED.records(changed)
        assert scanned is not None
        try:
            text.decode()
        except UnicodeDecodeError:
            assert not scanned[0][0][USUAL], text
            assert _judged(changed, LOADED) is None
            seen.add(False)
        else:
            assert scanned[0][0][USUAL], text
            seen.add(True)
    assert seen == {True, False}


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag << 3 | 2, len(content)]) + content


@pytest.mark.parametrize("again", ["subject", "event", "event_id", "seq", "value"])
def test_what_is_there_twice_is_left_to_the_decoder(again: str) -> None:
    """It takes the last of them, or puts them together."""
    record = event_record(1, Event("first", "page_view", "known:a", T0, {"a": 1}))
    more = {
        "subject": _field(3, _field(2, _field(3, _field(2, b"other")))),
        "event": _field(3, _field(2, _field(1, b"other"))),
        "event_id": _field(3, _field(2, _field(1, b"one") + _field(1, b"other"))),
        "seq": b"\x08\x09",
        "value": _field(3, _field(2, _field(5, _field(1, b"v") + _field(2, b"\x10\x01\x10\x02")))),
    }[again]
    body = record.SerializeToString() + more
    twice = b"\x12" + (bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])) + body
    scanned = LOADED.records(twice)
    assert scanned is not None
    assert not scanned[0][0][USUAL]
    judged = _judged(twice, NONE)
    assert judged is not None
    assert _judged(twice, LOADED) == judged


def test_what_devices_send_is_usual() -> None:
    """Else the test above would hold of a scan that recognises nothing."""
    events = [
        page(1),
        Event("é", "order", "session:ü", 0, {"list": [1, 2.5, True, "x"], "empty": []}, {"screen": "1x1", "online": False}, 7),
        Event("e" * 200, "t" * 200, "device:" + "x" * 512, 2**53 - 1, {"t": "x" * 8_192}),
    ]
    records = [message(i, EventInput(Moment(T0, True, False, -60, T0 + 1), event), i) for i, event in enumerate(events, 1)]
    scanned = LOADED.records(messages.PushRequest(incarnation="one", records=records).SerializeToString())
    assert scanned is not None
    assert [row[USUAL] for row in scanned[0]] == [1, 1, 1]


def test_a_small_batch_does_not_load_it() -> None:
    fresh = Scan()
    record = event_record(1, page(1))
    read_batch(messages.PushRequest(incarnation="one", records=[record]).SerializeToString(), fresh)
    assert not fresh.loading
    many = messages.PushRequest(incarnation="one", records=[record] * WORTH_LOADING).SerializeToString()
    assert len(read_batch(many, fresh).seqs) == WORTH_LOADING
    assert fresh.loading


def test_where_it_cannot_be_compiled_records_take_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    fresh = Scan()
    fresh.load()
    content = messages.PushRequest(incarnation="one", records=[event_record(1, page(1))]).SerializeToString()
    assert [one.seq for one in judge_all(read_batch(content, fresh), "device", "one", T0)] == [1]


def test_a_request_with_unknown_groups_is_not_walked() -> None:
    content = messages.PushRequest(incarnation="a", records=[event_record(1, page(1))]).SerializeToString()
    assert LOADED.records(content) is not None
    hostile = content + b"\x9b\x06\x10\x05\x9c\x06"
    messages.PushRequest.FromString(hostile)
    assert LOADED.records(hostile) is None


def test_a_request_of_more_records_than_may_be_is_left_to_the_decoder() -> None:
    assert LOADED.records(b"\x12\x00" * RECORDS_MAX) is not None
    assert LOADED.records(b"\x12\x00" * (RECORDS_MAX + 1)) is None
