"""Forgetting travels: from a device to the server, from the server to devices, and what comes late is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_core.model import Scored
from reflexarc_core.record import EventInput, Moment, ScoresInput, TombstoneOutput, ValuesInput, erased_digest
from reflexarc_proto.v1 import admin_service_pb2, event_service_pb2
from reflexarc_proto.wire import subject_to_proto
from reflexarc_server.app import Server, start_server
from reflexarc_server.erasures import Erasures
from reflexarc_server.links import Links
from reflexarc_server.store.sqlite import SqliteStore
from tests.control.kit import Kiosk, catalog
from tests.server.kit import T0, ManualClock, Stubs, decision, event_record, message, page, wait_for

CANARY = "zebrafinch-7731"
WHO = f"known:{CANARY}"
REJECTED = event_service_pb2.VERDICT_CODE_REJECTED
STORED = event_service_pb2.VERDICT_CODE_STORED


@pytest.fixture
def server(data: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    yield started
    started.stop()


def forget(stubs: Stubs, subject: str = WHO) -> admin_service_pb2.ForgetSubjectResponse:
    request = admin_service_pb2.ForgetSubjectRequest(subject=subject_to_proto(subject))
    answer: admin_service_pb2.ForgetSubjectResponse = stubs.admin.ForgetSubject(request, timeout=30)
    return answer


def hits(folder: Path) -> list[str]:
    """Files in which the person's name or words can be read."""
    return [path.name for path in sorted(folder.rglob("*")) if path.is_file() and CANARY.encode() in path.read_bytes()]


def everything(stubs: Stubs) -> None:
    """One record of every kind that can hold something of a person, and the same of somebody else."""
    seq = 0
    for who, word in ((WHO, CANARY), ("known:other", "other")):
        score = Scored("churn", "a" * 64, 7, 0.9, (), (1.0, 2.0), None)
        for record in (
            EventInput(Moment(T0), Event(f"e-{word}", "page_view", who, T0, {"page_url": f"/{word}"})),
            EventInput(Moment(T0), Event(f"i-{word}", "identify", f"session:{seq}", T0, {"known_id": who.partition(":")[2]})),
            ScoresInput(Moment(T0), f"cause-{word}", ((who, score),)),
            ScoresInput(Moment(T0), f"tick-{seq}", ((who, score), ("known:third", score))),
            ValuesInput(Moment(T0), who, T0, {"support_tickets": 1.0}),
            decision(f"d-{word}", Reason.FIRED, who, T0),
        ):
            seq += 1
            assert stubs.push([message(seq, record)]).upto_seq == seq
    stubs.track(Event(f"t-{CANARY}", "support_ticket", WHO, T0, {"severity": CANARY}))
    wait_for(lambda: stubs.status().fold_lag_count == 0)


def test_an_operator_erases_and_no_byte_is_left(stubs: Stubs, data: Path, clock: ManualClock, server: Server) -> None:
    everything(stubs)
    assert hits(data) != []
    clock.now += 1
    assert forget(stubs).done
    assert hits(data) == []
    assert stubs.status().subject_count == 1, "the other, whose session is linked to them"
    server.stop()
    assert hits(data) == []
    again = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    reopened = Stubs(again.address)
    assert reopened.track(Event("o2", "page_view", "known:other", T0, {"page_url": "/"})) == [STORED], "nobody else is touched"
    assert reopened.track(Event("z2", "page_view", WHO, T0, {"page_url": f"/{CANARY}"})) == [REJECTED], "after a restart too"
    reopened.close()
    again.stop()
    assert hits(data) == []


def test_what_comes_later_from_before_is_refused_and_what_is_new_is_taken(stubs: Stubs, clock: ManualClock, data: Path) -> None:
    stubs.push([event_record(1, page(1, WHO))])
    clock.now += 10
    assert forget(stubs).done
    late = [
        event_record(2, page(2, WHO, T0 + 5)),
        message(3, decision("d", Reason.FIRED, WHO, T0)),
        message(4, ValuesInput(Moment(T0), WHO, T0, {"support_tickets": 1.0})),
        message(5, EventInput(Moment(T0), Event("i", "identify", "session:s", T0, {"known_id": CANARY}))),
        event_record(6, page(6, "known:other")),
        event_record(7, page(7, WHO, T0 + 11)),
    ]
    answer = stubs.push(late)
    assert [verdict.code for verdict in answer.verdicts] == [REJECTED] * 4 + [STORED] * 2
    assert answer.verdicts[0].reason.startswith("ERASED")
    assert answer.upto_seq == 7, "the sender keeps none of it"


def test_the_rest_of_a_record_of_several_is_kept(stubs: Stubs, clock: ManualClock, data: Path) -> None:
    clock.now += 10
    assert forget(stubs).done
    score = Scored("churn", "a" * 64, 7, 0.9, (), (1.0, 2.0), None)
    both = ScoresInput(Moment(T0), "tick", ((WHO, score), ("known:other", score)))
    assert [verdict.code for verdict in stubs.push([message(1, both)]).verdicts] == [STORED]
    assert hits(data) == []


def test_a_device_forgets_and_the_server_and_the_other_device_follow(
    tmp_path: Path, server: Server, stubs: Stubs, data: Path, clock: ManualClock
) -> None:
    first, second = Kiosk(tmp_path / "first", server.address), Kiosk(tmp_path / "second", server.address)
    for device in (first, second):
        device.client.identify(CANARY)
        device.pages(2, url=f"/{CANARY}")
        device.pages(1, "known:other")
    clock.now += 10
    first.clock.advance(10)
    second.clock.advance(10)
    assert first.client.forget(WHO) > 0
    assert first.client.flush(10).delivered
    wait_for(lambda: not second.client.subject.startswith("known:"))
    wait_for(lambda: hits(data) == [])
    wait_for(lambda: hits(tmp_path / "second") == [])
    assert WHO not in second.client.runtime.engine.state.subjects
    assert "known:other" in second.client.runtime.engine.state.subjects
    assert second.client.flush(10).delivered

    def still_told(device: Kiosk) -> int:
        sender = (("reflexarc-installation", device.client.log.installation),)
        return len(stubs.events.Pull(event_service_pb2.PullRequest(), metadata=sender, timeout=10).erased)

    wait_for(lambda: still_told(first) == still_told(second) == 0)  # both have said that it is done
    first.close()
    second.close()
    for folder in ("first", "second", "server"):
        assert hits(tmp_path / folder) == [], folder


def test_a_device_that_was_away_sends_its_past_in_vain_and_then_forgets(
    tmp_path: Path, server: Server, stubs: Stubs, data: Path, clock: ManualClock
) -> None:
    away = Kiosk(tmp_path / "away", None)
    away.client.track("page_view", {"page_url": f"/{CANARY}"}, subject=WHO)
    away.close()
    clock.now += 10
    assert forget(stubs).done
    back = Kiosk(tmp_path / "away", server.address)
    back.clock.advance(10)
    assert back.client.flush(10).delivered
    assert back.client.stats()["uplink"]["rejected"] > 0
    wait_for(lambda: hits(tmp_path / "away") == [])
    back.close()
    assert hits(data) == []


def test_a_tombstone_of_somebody_never_seen_waits_for_them(stubs: Stubs, connect: Callable[[str], Stubs], data: Path) -> None:
    stone = TombstoneOutput(erased_digest("device-1", WHO), T0)
    assert [verdict.code for verdict in stubs.push([message(1, stone)]).verdicts] == [STORED]
    other = connect("device-2")
    assert [v.code for v in other.push([event_record(1, page(1, WHO)), event_record(2, page(2))]).verdicts] == [REJECTED, STORED]
    wait_for(lambda: hits(data) == [])
    told = other.events.Pull(event_service_pb2.PullRequest(), metadata=other.metadata, timeout=10).erased
    assert [one.subject_digest for one in told] == [erased_digest("device-2", WHO)]


def test_an_erasure_that_was_cut_off_goes_on(data: Path, clock: ManualClock, server: Server, stubs: Stubs) -> None:
    everything(stubs)
    clock.now += 10
    server.stop()
    store = SqliteStore(data)
    idle = Erasures(store, Links(store, clock), clock, lambda installation: None, lambda: None)
    idle.forget(WHO, 0.0)  # told, and nobody works
    store.close()
    assert hits(data) != []
    again = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    wait_for(lambda: hits(data) == [])
    again.stop()
    assert hits(data) == []


def test_what_a_person_did_since_stays(data: Path, clock: ManualClock, server: Server, stubs: Stubs) -> None:
    stubs.push([event_record(1, page(1, WHO)), event_record(2, page(2, WHO, T0 + 20))])
    stubs.track(Event("t", "support_ticket", WHO, T0 + 20, {"severity": "high"}))
    wait_for(lambda: stubs.status().fold_lag_count == 0)
    clock.now += 10
    assert forget(stubs).done
    request = event_service_pb2.PullRequest(subjects=[subject_to_proto(WHO)])
    values = stubs.events.Pull(request, metadata=stubs.metadata, timeout=10).values[0].values
    assert values["support_tickets"] == 1.0
    assert stubs.status().subject_count == 1
