"""Every core value survives the wire exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.decision import MODES, Decision, Reason, ScoreEvidence
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.record import (
    KINDS,
    AnswerInput,
    CatalogInput,
    ControlInput,
    DecisionOutput,
    EventInput,
    HandedOutput,
    LeaseInput,
    LossOutput,
    Moment,
    Record,
    ScoresInput,
    TickInput,
    TombstoneOutput,
    ValuesInput,
)
from reflexarc_proto import wire
from reflexarc_proto.v1 import decision_pb2, record_pb2

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
ints = st.integers(-(2**53), 2**53)
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(0, 2**53 - 1)
scalars = st.one_of(texts, ints, finite, st.booleans())
values = st.one_of(scalars, st.lists(scalars, max_size=4))
payload_values = st.recursive(
    st.one_of(st.none(), scalars),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
subjects = st.builds(lambda kind, i: f"{kind}:{i}", st.sampled_from(("device", "anonymous", "known", "session")), ids)
unit = st.integers(0, 65_536).map(lambda n: n / 65_536)
vectors = st.lists(st.one_of(finite, st.just(math.inf)), max_size=5).map(tuple)
int32 = st.integers(-(2**31), 2**31 - 1)
moments = st.builds(Moment, times, st.booleans(), st.booleans(), st.integers(-900, 900), times)
events = st.builds(
    Event, ids, ids, subjects, times, st.dictionaries(texts, values, max_size=4), st.dictionaries(texts, values, max_size=3),
    st.integers(-1, 2**53),
)  # fmt: skip
scored = st.builds(
    Scored, ids, texts, int32, unit, st.lists(st.tuples(unit, unit), max_size=3).map(tuple), vectors,
    st.none() | st.lists(st.tuples(texts, finite), max_size=3).map(tuple), st.lists(texts, max_size=3).map(tuple),
)  # fmt: skip
wheres = st.sampled_from(("host", "server", "device"))
evidence = st.builds(ScoreEvidence, ids, texts, int32, unit, unit, st.none() | unit, unit, wheres)
decisions = st.builds(
    Decision, decision_id=ids, record=st.integers(0, 9), trigger_id=ids, subject=subjects, cause_id=texts,
    reason=st.sampled_from(Reason), decision_time=times, catalog_digest=texts, placement=st.sampled_from(("edge", "server")),
    online=st.booleans(), instance=texts, detail=texts, evidence=st.lists(evidence, max_size=2).map(tuple), action=texts,
    payload=st.none() | st.dictionaries(texts, payload_values, max_size=3),
    assignment=st.sampled_from(("", "treated", "holdout")), expire_time=times, variant=texts,
    policy_ids=st.lists(texts, max_size=3).map(tuple), lease_id=texts, mode=st.sampled_from(MODES),
)  # fmt: skip
live = st.builds(LiveModel, texts, st.lists(texts, max_size=3).map(tuple), times)
records: dict[type, st.SearchStrategy[Record]] = {
    EventInput: st.builds(EventInput, moments, events),
    ScoresInput: st.builds(ScoresInput, moments, texts, st.lists(st.tuples(subjects, scored), max_size=3).map(tuple)),
    AnswerInput: st.builds(AnswerInput, moments, ids, st.none() | scored, texts),
    TickInput: st.builds(TickInput, moments),
    CatalogInput: st.builds(CatalogInput, moments, texts, texts, st.dictionaries(texts, live, max_size=2)),
    ValuesInput: st.builds(ValuesInput, moments, subjects, times, st.dictionaries(texts, finite, max_size=3)),
    LeaseInput: st.builds(LeaseInput, moments, subjects, ids, ids, st.integers(1, 100), times),
    ControlInput: st.builds(ControlInput, moments, st.lists(texts, max_size=3).map(tuple)),
    DecisionOutput: st.builds(DecisionOutput, decisions),
    HandedOutput: st.builds(HandedOutput, ids, times),
    LossOutput: st.builds(
        lambda reason, first, more, count: LossOutput(reason, first, first + more, count),
        texts, st.integers(1, 2**40), st.integers(0, 2**20), st.integers(0, 2**20),
    ),
    TombstoneOutput: st.builds(TombstoneOutput, st.text("0123456789abcdef", min_size=64, max_size=64), times),
}  # fmt: skip


def test_every_kind_of_record_is_covered() -> None:
    assert set(records) == set(KINDS.values())


@pytest.mark.parametrize("kind", records, ids=lambda kind: kind.__name__)
def test_records_round_trip_exactly(kind: type) -> None:
    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**62), records[kind])
    def check(seq: int, record: Record) -> None:
        sent = wire.record_to_proto(seq, record, 7).SerializeToString()
        message = record_pb2.LogRecord.FromString(sent)
        assert wire.record_from_proto(message) == (seq, record)
        assert KINDS[wire.body_kind(message)] is kind
        assert message.check == 7

    check()


def test_types_survive_and_not_only_equality() -> None:
    properties: dict[str, Any] = {
        "one": 1, "one_point": 1.0, "yes": True, "empty": [], "mixed": [1, 1.0, False, "a"], "zero": 0, "text": ""
    }  # fmt: skip
    event = Event("e", "t", "known:1", 0, properties)
    back = wire.event_from_proto(wire.event_to_proto(event)).properties
    assert {name: repr(value) for name, value in back.items()} == {name: repr(value) for name, value in properties.items()}


def test_absent_inputs_of_a_vector_stay_nan() -> None:
    given_vector = (1.0, math.nan, -0.0)
    back = wire.scored_from_proto(wire.scored_to_proto(Scored("m", "d", 1, 0.5, (), given_vector, None)))
    assert [repr(value) for value in back.vector] == [repr(value) for value in given_vector]


def test_an_escalations_answer_keeps_the_score() -> None:
    held = Scored("m", "d", 3, 0.75, ((0.5, 0.25), (0.7, 0.125)), (1.0, 2.0), (("a", 0.5), ("b", -0.25)))
    assert wire.result_from_proto("m", "d", wire.result_to_proto(held)) == held
    only = wire.result_from_proto("m", "d", wire.result_to_proto(held, (0.7,)))
    assert only.confidences == ((0.7, 0.125),)


def test_the_reasons_of_the_contract_are_the_cores() -> None:
    names = list(decision_pb2.Reason.keys())[1:]
    assert names == [f"REASON_{reason.value}" for reason in Reason]
    assert all(wire.reason_from_proto(wire.reason_to_proto(reason)) is reason for reason in Reason)
