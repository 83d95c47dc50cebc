"""Exactly once: whatever a device sends, however often, in whatever pieces (rules 29, 31)."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_core.record import LossOutput
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.ingest import DUPLICATE, LATER, REJECTED, STORED, Ingest
from reflexarc_server.log_reader import LogReader, applied_event_ids
from reflexarc_server.store.sqlite import SqliteStore
from tests.server.kit import T0, ManualClock, Stubs, catalog, decision, event_record, message, page


def codes(answer: messages.PushResponse) -> list[int]:
    return [verdict.code for verdict in answer.verdicts]


def test_a_batch_sent_again_changes_nothing(stubs: Stubs, data: Path) -> None:
    batch = [event_record(i, page(i)) for i in range(1, 6)]
    assert codes(stubs.push(batch)) == [STORED] * 5
    again = stubs.push(batch)
    assert codes(again) == [DUPLICATE] * 5
    assert again.upto_seq == 5
    overlap = stubs.push([*batch[3:], event_record(6, page(6))])
    assert (codes(overlap), overlap.upto_seq) == ([DUPLICATE, DUPLICATE, STORED], 6)
    assert applied_event_ids(data) == [f"page-{i}" for i in range(1, 7)]
    status = stubs.folded()
    assert (status.event_count, status.folded_count, status.resent_count, status.duplicate_count) == (6, 6, 7, 0)


def test_an_event_that_comes_by_two_ways_is_kept_once(connect: Callable[[str], Stubs], data: Path) -> None:
    one, two = connect("device-1"), connect("device-2")
    assert codes(one.push([event_record(1, page(1))])) == [STORED]
    assert codes(two.push([event_record(1, page(1)), event_record(2, page(2))])) == [DUPLICATE, STORED]
    assert two.track(page(2), page(3), page(3)) == [DUPLICATE, STORED, DUPLICATE]
    assert codes(one.push([event_record(1, page(1))], incarnation="two")) == [DUPLICATE]
    status = one.folded()
    assert (status.event_count, status.folded_count, status.duplicate_count, status.stream_count) == (3, 3, 4, 3)
    assert applied_event_ids(data) == ["page-1", "page-2", "page-3"]


def test_a_gap_is_not_stored_over_and_the_sender_told_from_where(stubs: Stubs) -> None:
    stubs.push([event_record(1, page(1))])
    answer = stubs.push([event_record(4, page(4)), event_record(5, page(5))])
    assert (codes(answer), answer.upto_seq) == ([LATER, LATER], 1)
    assert answer.verdicts[0].reason == "send from 2"
    assert stubs.status().event_count == 1


def test_a_gap_that_explains_itself_is_passed(stubs: Stubs) -> None:
    stubs.push([event_record(1, page(1))])
    loss = record_pb2.Loss(reason="full", first_seq=2, last_seq=3, count=2)
    answer = stubs.push([event_record(4, page(4))], losses=[loss])
    assert (codes(answer), answer.upto_seq) == ([STORED], 4)
    assert stubs.status().record_count == 4  # with the loss and the server's own first catalog
    inside = stubs.push([event_record(5, page(5)), event_record(9, page(9))], losses=[record_pb2.Loss(first_seq=6, last_seq=8)])
    assert (codes(inside), inside.upto_seq) == ([STORED, STORED], 9)


def test_what_comes_late_at_numbers_that_were_a_loss_is_stored_once(stubs: Stubs, data: Path) -> None:
    """A file from before the device gave the records up, or a copy of the store that still has them."""
    batch = [event_record(i, page(i), check=100 + i) for i in range(1, 1_001)]
    loss = record_pb2.Loss(reason="evicted", first_seq=2, last_seq=800, count=799)
    assert codes(stubs.push([batch[0], *batch[800:]], losses=[loss])) == [STORED] * 201
    late = [DUPLICATE, *[STORED] * 799, *[DUPLICATE] * 200]
    for expected in (late, [DUPLICATE] * 1_000):
        answer = stubs.push(batch)
        assert (answer.rekey, codes(answer), answer.upto_seq) == (False, expected, 1_000)
    assert sorted(applied_event_ids(data)) == sorted(f"page-{i}" for i in range(1, 1_001))
    assert stubs.status().duplicate_count == 0
    other = [event_record(i, page(2_000 + i), check=5_000 + i) for i in range(500, 510)]
    assert stubs.push(other).rekey, "what came late tells histories apart from then on"


@pytest.mark.parametrize("numbers", [(1, 3), (2, 1), (1, 1), (0, 1)])
def test_a_batch_that_is_not_numbered_upwards_is_refused_whole(stubs: Stubs, numbers: tuple[int, int]) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stubs.push([event_record(n, page(i)) for i, n in enumerate(numbers)])
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert stubs.status().record_count == 1  # the server's own: its first catalog


def test_a_rejected_record_costs_its_neighbours_nothing(stubs: Stubs) -> None:
    batch = [event_record(i, page(i)) for i in range(1, 4)]
    batch[1].event.event.subject.Clear()
    answer = stubs.push(batch)
    assert (codes(answer), answer.upto_seq) == ([STORED, REJECTED, STORED], 3)
    assert "subject" in answer.verdicts[1].reason
    assert codes(stubs.push(batch)) == [DUPLICATE, REJECTED, DUPLICATE], "whoever lost the answer is told again"


@pytest.mark.parametrize("kind", [0, 65, -1])
def test_a_tombstone_of_no_kind_of_subject_is_rejected(stubs: Stubs, kind: int) -> None:
    nobody = record_pb2.LogRecord(seq=1, tombstone=record_pb2.Tombstone(erase_time=5))
    nobody.tombstone.subject.kind = kind  # type: ignore[assignment]
    nobody.tombstone.subject.id = "a"
    assert codes(stubs.push([nobody, event_record(2, page(2))])) == [REJECTED, STORED]


def test_a_cloned_numbering_is_told_to_begin_anew(stubs: Stubs) -> None:
    stubs.push([event_record(i, page(i), check=100 + i) for i in range(1, 4)])
    other = stubs.push([event_record(4, page(14), check=9)], previous_check=77)
    assert (other.rekey, other.upto_seq, len(other.verdicts)) == (True, 0, 0), "where they part, nobody knows"
    overlapping = stubs.push([event_record(i, page(20 + i), check=200 + i) for i in range(3, 5)])
    assert (overlapping.rekey, overlapping.upto_seq) == (True, 0), "nor here: nothing before them was shown"
    behind = stubs.push([event_record(1, page(1), check=101), event_record(2, page(22), check=202)])
    assert (behind.rekey, behind.upto_seq) == (True, 1), "numbers behind the cursor are compared one by one"
    gap = record_pb2.Loss(reason="evicted", first_seq=2, last_seq=2, count=1)
    lost = stubs.push([event_record(1, page(1), check=101), event_record(3, page(23), check=203)], losses=[gap])
    assert (lost.rekey, lost.upto_seq) == (True, 1), "what it has lost itself it has still to say"
    right = stubs.push([event_record(4, page(4), check=104)], previous_check=103)
    assert (right.rekey, right.upto_seq) == (False, 4)
    assert not stubs.push([event_record(5, page(5))]).rekey  # nothing given: nothing compared
    assert stubs.folded().event_count == 5


def test_what_a_copy_said_is_lost_is_not_taken_for_what_another_has(stubs: Stubs) -> None:
    """This server went back to before them, and a copy gave up records of its own under the same numbers."""
    stubs.push([event_record(i, page(i), check=100 + i) for i in range(1, 4)])
    gone = record_pb2.Loss(reason="evicted", first_seq=4, last_seq=8, count=5)
    assert stubs.push([event_record(9, page(109), check=309)], previous_check=103, previous_seq=3, losses=[gone]).upto_seq == 9
    here = [event_record(i, page(i), check=100 + i) for i in range(8, 11)]
    answer = stubs.push(here, previous_seq=7, previous_check=107)
    assert (answer.rekey, answer.upto_seq) == (True, 0), "the 7th is not here, though nothing here denies it"


def losses_held(data: Path) -> list[tuple[int, int]]:
    with sqlite3.connect(data / "server.db") as db:
        held = [record_pb2.LogRecord.FromString(body).loss for (body,) in db.execute("SELECT body FROM log WHERE kind = 18")]
    return [(loss.first_seq, loss.last_seq) for loss in held]


def test_what_a_copy_gave_up_is_said_though_the_other_stored_records_under_its_numbers(stubs: Stubs, data: Path) -> None:
    """Nobody can tell it from a device that gave up what it never knew to be stored: nothing of either is refused."""
    stubs.push([event_record(i, page(i), check=100 + i) for i in range(1, 10)])
    gone = record_pb2.Loss(reason="evicted", first_seq=6, last_seq=9, count=4)
    for expected in (STORED, DUPLICATE):
        answer = stubs.push([event_record(10, page(10), check=110)], losses=[gone])
        assert (answer.rekey, codes(answer), answer.upto_seq) == (False, [expected], 10)
    assert losses_held(data) == [(6, 9)]
    inside = record_pb2.Loss(reason="evicted", first_seq=3, last_seq=9, count=7)
    shown = stubs.push([event_record(10, page(10), check=110), event_record(11, page(11), check=111)], losses=[inside])
    assert (shown.rekey, codes(shown), shown.upto_seq) == (False, [DUPLICATE, STORED], 11)
    assert losses_held(data) == [(6, 9)], "the 10th is the one that is held, so what it lost before is here"


def test_a_loss_alone_behind_the_cursor_is_said_once(stubs: Stubs, data: Path) -> None:
    stubs.push([event_record(i, page(i), check=100 + i) for i in range(1, 10)])
    gone = record_pb2.Loss(reason="evicted", first_seq=3, last_seq=8, count=6)
    for _ in range(2):
        answer = stubs.push([], losses=[gone])
        assert (answer.rekey, answer.upto_seq) == (False, 9)
    assert losses_held(data) == [(3, 8)]


def test_a_tombstone_at_a_number_that_was_a_loss_is_taken(stubs: Stubs) -> None:
    """Else its device is asked to erase again with every answer."""
    gone = record_pb2.Loss(reason="evicted", first_seq=2, last_seq=4, count=3)
    stubs.push([event_record(1, page(1), check=101), event_record(5, page(5), check=105)], losses=[gone])
    stone = record_pb2.LogRecord(seq=3, check=103, tombstone=record_pb2.Tombstone(subject_digest="a" * 64, erase_time=5))
    for expected in (STORED, DUPLICATE):
        assert codes(stubs.push([stone])) == [expected]


def test_an_empty_batch_asks_for_the_cursor(stubs: Stubs) -> None:
    assert stubs.push([]).upto_seq == 0
    stubs.push([event_record(i, page(i)) for i in range(1, 4)])
    assert (stubs.push([]).upto_seq, stubs.push([], incarnation="two").upto_seq) == (3, 0)


def test_a_record_of_a_later_version_is_kept_unread(stubs: Stubs, data: Path) -> None:
    later = record_pb2.LogRecord.FromString(record_pb2.LogRecord(seq=2).SerializeToString() + b"\xfa\x06\x03new")
    tombstone = record_pb2.LogRecord(seq=3, tombstone=record_pb2.Tombstone(subject_digest="a" * 64, erase_time=5))
    empty = record_pb2.LogRecord(seq=4)
    answer = stubs.push([event_record(1, page(1)), later, tombstone, empty])
    assert codes(answer) == [STORED, STORED, STORED, REJECTED]
    assert stubs.folded().unfoldable_count == 0
    assert len(list(LogReader(data).events())) == 1


def test_a_call_without_an_installation_is_unauthenticated(connect: Callable[[str], Stubs]) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        connect("").push([event_record(1, page(1))])
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert connect("").track(page(1)) == [STORED]


def test_track_judges_by_the_live_catalog_and_keeps_types_it_does_not_know(stubs: Stubs, data: Path, clock: ManualClock) -> None:
    wrong = Event("w", "page_view", "known:1", T0, {"page_url": 7})
    odd = Event("o", "order_cancelled", "known:1", T0, {"why": "late"})
    undated = Event("u", "page_view", "known:1", 0, {"page_url": "/", "undeclared": 1})
    clock.now = T0 + 5
    assert stubs.track(wrong, odd, undated) == [REJECTED, STORED, STORED]
    kept = {event.event_id: (now, event) for now, event in LogReader(data).events()}
    assert kept["o"] == (T0, odd)  # no engine saw it at home: its own time is its moment
    assert (kept["u"][1].event_time, kept["u"][1].properties) == (T0 + 5, {"page_url": "/"})


def test_a_decision_is_kept_once_per_record_number(stubs: Stubs) -> None:
    first = decision("d", Reason.ESCALATED, "known:1", T0)
    second = decision("d", Reason.FIRED, "known:1", T0 + 9, record=1)
    assert codes(stubs.push([message(1, first), message(2, second), message(3, first)])) == [STORED, STORED, DUPLICATE]
    reasons = stubs.status().edge_decisions
    assert [(r.reason, r.count) for r in reasons] == [(1, 1)]


def test_a_loss_is_a_record_of_its_own(stubs: Stubs) -> None:
    assert codes(stubs.push([message(1, LossOutput("damaged", 5, 9, 5))])) == [STORED]


@settings(max_examples=25)
@given(st.data())
def test_any_schedule_of_sends_stores_each_record_once(draw: st.DataObject) -> None:
    """A sender that loses answers, sends again from anywhere it likes and is killed between: the log holds 1..n once."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder))
        ingest = Ingest(store, ManualClock(), catalog, lambda: None)
        records = [event_record(i, page(i), check=i * 7 + 1) for i in range(1, 31)]
        acked = 0
        for _ in range(draw.draw(st.integers(5, 15))):
            first = draw.draw(st.integers(max(1, acked - 3), acked + 1))
            batch = records[first - 1 : first - 1 + draw.draw(st.integers(0, 8))]
            previous = records[first - 2].check if first > 1 else 0
            request = messages.PushRequest(incarnation="i", records=batch, previous_check=previous)
            answer = ingest.push("d", request)
            assert not answer.rekey
            if draw.draw(st.booleans()):
                acked = answer.upto_seq
        while acked < len(records):
            request = messages.PushRequest(incarnation="i", records=records[acked : acked + 8])
            acked = ingest.push("d", request).upto_seq
        store.close()
        assert applied_event_ids(Path(folder)) == [f"page-{i}" for i in range(1, 31)]
