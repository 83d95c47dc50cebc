"""Events written directly: the same record as the long way gives, or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import CONTEXT_TYPES, Event, EventType, PropertyType
from reflexarc_core.record import EventInput, Moment
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_to_proto
from reflexarc_proto.wire.quick import event_record, varint
from reflexarc_proto.wire.usual_event import moment_of, plans_of, slots_of, subject_part, usual_record

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
PLAN = plans_of({"page_view": DECLARED})["page_view"]
CONTEXT = EventType("context", {name: PropertyType(kind) for name, kind in CONTEXT_TYPES.items()})
SLOTS = slots_of(CONTEXT.properties)


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


NAMES = st.sampled_from([*DECLARED.properties, "other"])
CONTEXT_NAMES = st.sampled_from(["session_id", "session_step", "online", "locale", "else"])


@given(
    st.dictionaries(NAMES, VALUES | st.none() | st.sampled_from(["a", 2, 0.5]), max_size=5),
    st.dictionaries(CONTEXT_NAMES, VALUES | st.sampled_from(["s", 3, True]), max_size=3),
)
def test_the_usual_event_is_the_conformed_one(properties: dict[str, Any], context: dict[str, Any]) -> None:
    made = usual_record(moment_of(7), subject_part("known:1"), PLAN, "e", 9, properties, SLOTS, context)
    try:
        conformed, unknown = DECLARED.conform(properties)
        its_context, more = CONTEXT.conform(context)
    except InvalidEventError:
        assert made is None, "it never takes what the declaration refuses"
        return
    if made is None:
        return
    assert not unknown and not more, "nothing is left out"
    expected = long_way(7, Event("e", "page_view", "known:1", 9, conformed, its_context))
    assert record_pb2.LogRecord.FromString(made) == expected


def test_usual_is_what_pages_send() -> None:
    given_properties = {"text": "é", "number": 2, "flag": True, "count": -5, "kind": "a"}
    assert usual_record(moment_of(7), subject_part("known:1"), PLAN, "e", 9, given_properties, SLOTS, {"session_step": 300})
    assert plans_of({"identify": DECLARED, "outcome": DECLARED}) == {}


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
