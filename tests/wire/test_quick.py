"""Events written directly: the same record as the long way gives, or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event, EventType, PropertyType
from reflexarc_core.record import EventInput, Moment
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_to_proto
from reflexarc_proto.wire.quick import event_record, varint
from reflexarc_proto.wire.usual_event import plans_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["x" * 127, "é" * 64, "x" * 2_047, "é" * 4_000]
)
SCALARS = TEXT | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
VALUES = SCALARS | st.lists(SCALARS, max_size=3)
SUBJECTS = st.builds("{}:{}".format, st.sampled_from(["device", "anonymous", "known", "session"]), TEXT.filter(bool))
TIMES = st.integers(0, 2**53 - 1) | st.sampled_from([0, 1, 127, 128, 2**28 - 1, 2**28, 2**40])
DECLARED = EventType(
    "page_view",
    {
        "text": PropertyType("string", required=True), "number": PropertyType("double"), "flag": PropertyType("bool"),
        "count": PropertyType("int"), "kind": PropertyType("string", values=("a", "b")), "list": PropertyType("list(string)"),
    },
)  # fmt: skip


def long_way(now: int, event: Event) -> record_pb2.LogRecord:
    content = record_to_proto(0, EventInput(Moment(now, online=True), event)).SerializeToString()
    return record_pb2.LogRecord.FromString(content)


@given(TEXT.filter(bool), TEXT.filter(bool), SUBJECTS, TIMES, TIMES, st.dictionaries(TEXT, VALUES, max_size=6),
       st.dictionaries(TEXT, VALUES, max_size=3), st.integers(-1, 5))  # fmt: skip
def test_an_event_is_written_as_the_long_way_writes_it(
    its_id: str, its_type: str, subject: str, time: int, now: int, properties: Any, context: Any, position: int
) -> None:
    event = Event(its_id, its_type, subject, time, properties, context, position)
    assert record_pb2.LogRecord.FromString(event_record(now, event)) == long_way(now, event)


def test_what_is_usual_of_a_type() -> None:
    plans = plans_of({"page_view": DECLARED, "identify": DECLARED, "outcome": DECLARED})
    assert plans.keys() == {"page_view"}
    assert plans["page_view"].required == ("text",)
    kinds = {name: kind for name, (kind, _, _) in plans["page_view"].slots.items()}
    assert kinds == {"text": str, "number": float, "flag": bool, "count": int, "kind": str}


@pytest.mark.parametrize("event", [
    Event("e", "t", "nobody", 1), Event("e", "t", "known:", 1), Event("e", "t", "known:1", 1, {"a": 2**63}),
    Event("e", "t", "known:1", 1, {"a": None}), Event("e\ud800", "t", "known:1", 1),
])  # fmt: skip
def test_what_has_no_form_is_refused(event: Event) -> None:
    with pytest.raises(InvalidEventError):
        event_record(1, event)


def test_varints() -> None:
    assert [varint(n) for n in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]
    assert len(varint(-1)) == 10
