"""A server trigger's decision reaches the device that holds its subject: once, there only, and not when its time is over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reflexarc.backend import Backend
from reflexarc_core.decision import Reason
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_proto.v1 import event_service_pb2, report_service_pb2
from reflexarc_proto.wire import reason_from_proto, subject_to_proto
from reflexarc_server.app import Server, start_server
from reflexarc_server.store import deliveries
from reflexarc_server.store.sqlite import SqliteStore
from tests.control.kit import HOUR, Kiosk, catalog
from tests.server.kit import T0, ManualClock, Stubs, decision, event_record, message, page, wait_for

Opened = Callable[..., Kiosk]


@pytest.fixture
def server(data: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    yield started
    started.stop()


@pytest.fixture
def kiosk(tmp_path: Path, server: Server) -> Iterator[Opened]:
    opened: list[Kiosk] = []

    def one(name: str = "a", **more: object) -> Kiosk:
        opened.append(Kiosk(tmp_path / f"device-{name}", server.address, **more))  # type: ignore[arg-type]
        return opened[-1]

    yield one
    for kiosk in opened:
        kiosk.close()


def last_reasons(stubs: Stubs, trigger_id: str) -> list[str]:
    """By decision, on the server: the newest record of each."""
    answer = stubs.reports.ListDecisions(report_service_pb2.ListDecisionsRequest(trigger_id=trigger_id), timeout=10)
    newest: dict[str, tuple[int, str]] = {}
    for one in answer.decisions:
        newest[one.decision_id] = max(newest.get(one.decision_id, (-1, "")), (one.record, reason_from_proto(one.reason).value))
    return [reason for _, reason in newest.values()]


def pulled(stubs: Stubs, *subjects: str) -> list[str]:
    request = event_service_pb2.PullRequest(subjects=[subject_to_proto(subject) for subject in subjects])
    return [one.trigger_id for one in stubs.events.Pull(request, metadata=stubs.metadata, timeout=10).decisions]


def test_it_is_handed_over_once_and_its_outcome_joins(kiosk: Opened, stubs: Stubs) -> None:
    device = kiosk().listen()
    device.client.identify("1")
    device.pages(3)
    wait_for(lambda: len(device.shown) == 1)
    shown = device.shown[0]
    assert (shown.trigger_id, shown.subject, shown.placement) == ("third_page", "known:1", "server")
    assert shown.payload == {"title": "Hello"}
    assert device.reasons(shown.decision_id) == ["FIRED", "handed"]
    assert device.client.outcome(shown.decision_id, "click").accepted
    assert device.client.flush(10).delivered
    results = stubs.reports.GetResults(report_service_pb2.GetResultsRequest(trigger_ids=["third_page"]), timeout=10)
    assert [(o.kind, o.count) for o in results.triggers[0].outcomes] == [("click", 1)]
    assert last_reasons(stubs, "third_page") == ["FIRED"]
    device.pages(1)
    assert device.client.settle()
    assert len(device.shown) == 1


def test_a_service_elsewhere_sets_it_off_and_the_stream_brings_it(kiosk: Opened, stubs: Stubs) -> None:
    device = kiosk().listen()
    device.client.identify("1")
    device.pages(1)
    stubs.track(Event("t1", "support_ticket", "known:1", T0, {"severity": "high"}))
    wait_for(lambda: [one.trigger_id for one in device.shown] == ["every_ticket"])


def test_only_the_device_that_held_the_subject_last_is_given_it(kiosk: Opened, stubs: Stubs) -> None:
    first, second = kiosk("a").listen(), kiosk("b").listen()
    first.pages(1, "known:1")
    second.pages(1, "known:1")
    wait_for(lambda: stubs.status().fold_lag_count == 0)
    stubs.track(Event("t1", "support_ticket", "known:1", T0, {"severity": "high"}))
    wait_for(lambda: len(second.shown) == 1)
    first.pages(2, "known:2")
    assert first.client.settle()
    assert (len(first.shown), len(second.shown)) == (0, 1)
    assert pulled(stubs, "known:1") == [], "and nobody else, whoever asks"


def test_who_moved_on_before_it_was_fetched_finds_it_where_they_are(kiosk: Opened, stubs: Stubs, clock: ManualClock) -> None:
    first = kiosk("a").listen()
    first.pages(1, "known:1")
    first.close()
    stubs.track(Event("t1", "support_ticket", "known:1", T0, {"severity": "high"}))
    wait_for(lambda: stubs.status().fold_lag_count == 0)
    second = kiosk("b").listen()
    second.pages(1, "known:1")
    wait_for(lambda: len(second.shown) == 1)


def test_who_left_is_not_acted_on(kiosk: Opened, stubs: Stubs) -> None:
    device = kiosk().listen()
    device.client.identify("1")
    device.pages(1)
    device.client.reset()
    assert device.client.flush(10).delivered
    stubs.track(Event("t1", "support_ticket", "known:1", T0, {"severity": "high"}))
    wait_for(lambda: last_reasons(stubs, "every_ticket") == ["FIRED"])
    device.pages(2, "known:2")
    assert device.client.settle()
    assert device.shown == []


def test_what_nobody_fetches_expires_on_the_server(kiosk: Opened, stubs: Stubs, clock: ManualClock) -> None:
    stubs.track(Event("t1", "support_ticket", "known:1", T0, {"severity": "high"}))
    wait_for(lambda: last_reasons(stubs, "every_ticket") == ["FIRED"])
    clock.now += HOUR
    wait_for(lambda: last_reasons(stubs, "every_ticket") == ["EXPIRED"])
    late = kiosk().listen()
    late.pages(1, "known:1")
    assert late.client.settle()
    assert late.shown == []


def test_what_nobody_hands_over_in_time_expires_on_the_device(kiosk: Opened, stubs: Stubs, clock: ManualClock) -> None:
    device = kiosk()  # no handler
    device.pages(3, "known:1")
    wait_for(lambda: len(device.client.log.pending()) == 1)
    clock.now += HOUR
    device.clock.advance(HOUR)
    device.listen()
    assert device.client.settle()
    assert device.shown == []
    assert device.client.flush(10).delivered
    wait_for(lambda: last_reasons(stubs, "third_page") == ["EXPIRED"])


def test_a_pause_and_a_consent_are_asked_for_again_at_delivery(kiosk: Opened, stubs: Stubs) -> None:
    device = kiosk()
    device.client.identify("1")
    device.client.consent("marketing", True)
    device.client.track("purchase", {"order_id": "o1", "amount": 3.0})
    device.pages(3)
    wait_for(lambda: len(device.client.log.pending()) == 2)
    device.client.consent("marketing", False)
    device.client.pause("third_page")
    device.listen()
    assert device.client.settle()
    assert device.shown == []
    assert device.client.flush(10).delivered
    wait_for(lambda: last_reasons(stubs, "third_page") == ["PAUSED"])
    wait_for(lambda: last_reasons(stubs, "with_consent") == ["CONSENT"])


def test_restarts_of_both_sides_lose_and_double_nothing(tmp_path: Path, data: Path, clock: ManualClock, server: Server) -> None:
    device = Kiosk(tmp_path / "device", server.address)
    device.pages(1, "known:1")
    device.close()
    stubs = Stubs(server.address)
    stubs.track(Event("t1", "support_ticket", "known:1", T0, {"severity": "high"}))
    wait_for(lambda: last_reasons(stubs, "every_ticket") == ["FIRED"])
    stubs.close()
    server.stop()
    again = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    device = Kiosk(tmp_path / "device", again.address)
    wait_for(lambda: len(device.client.log.pending()) == 1)
    device.close()  # taken, and handed to nobody yet
    device = Kiosk(tmp_path / "device", again.address).listen()
    wait_for(lambda: len(device.shown) == 1)
    decision_id = device.shown[0].decision_id
    assert device.client.flush(10).delivered
    device.close()
    again.stop()
    third = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    device = Kiosk(tmp_path / "device", third.address).listen()
    device.pages(1, "known:1")
    assert device.client.settle()
    assert device.shown == []
    assert device.reasons(decision_id) == ["FIRED", "handed"]
    device.close()
    third.stop()


def test_an_answer_that_was_lost_is_given_again_to_the_same_device_only(stubs: Stubs, connect: Callable[[str], Stubs]) -> None:
    other = connect("device-2")
    for seq in range(1, 4):
        stubs.push([event_record(seq, page(seq))])
    wait_for(lambda: last_reasons(stubs, "third_page") == ["FIRED"])
    assert pulled(other, "known:1") == [], "it never held the subject"
    wait_for(lambda: pulled(stubs, "known:1") == ["third_page"])
    assert pulled(stubs) == ["third_page"]
    other.push([event_record(1, page(99))])
    assert pulled(other, "known:1") == [], "it holds the subject now, and another device has the action"


def test_two_that_ask_at_once_are_not_both_given_it(data: Path) -> None:
    store = SqliteStore(data)
    with store.transaction() as transaction:
        deliveries.add(transaction.run, "d", "known:1", T0)
        assert deliveries.give(transaction.run, "d", "first", T0)
        assert not deliveries.give(transaction.run, "d", "second", T0)
        assert deliveries.give(transaction.run, "d", "first", T0 + 1), "again, while it does not say that it has it"
    store.close()


def test_a_decision_that_is_sent_twice_is_taken_once(kiosk: Opened) -> None:
    device = kiosk().listen()
    device.pages(3, "known:1")
    wait_for(lambda: len(device.shown) == 1)
    device.client.runtime.take_sent(device.shown[0], device.client.moment())
    assert device.client.settle()
    assert len(device.shown) == 1
    assert device.reasons(device.shown[0].decision_id) == ["FIRED", "handed"]


def test_a_device_cannot_speak_for_the_server(stubs: Stubs) -> None:
    forged = decision("f" * 32, Reason.FIRED, "known:1", T0)
    forged = dataclasses.replace(forged, decision=dataclasses.replace(forged.decision, placement="server"))
    verdicts = stubs.push([message(1, forged)]).verdicts
    assert [verdict.code for verdict in verdicts] == [event_service_pb2.VERDICT_CODE_REJECTED]


def test_a_decision_without_an_expiry_is_for_no_device(kiosk: Opened, stubs: Stubs) -> None:
    device = kiosk().listen()
    device.pages(1, "known:1", "/plain")
    wait_for(lambda: last_reasons(stubs, "for_no_device") == ["FIRED"])
    device.pages(1, "known:1")
    assert device.client.settle()
    assert device.shown == []


def test_the_server_says_why_its_trigger_would_or_would_not_act(server: Server, tmp_path: Path) -> None:
    kiosk = Kiosk(tmp_path / "kiosk", server.address)
    kiosk.pages(2, "known:9")
    backend = Backend(server.address, insecure=True)
    wait_for(lambda: server.parts.fold.lag == 0)
    told = backend.explain("third_page", "known:9")
    assert told.text.splitlines()[:2] == [
        "third_page for known:9, catalog down",
        "  false: features.page_views == 3.0   [features.page_views = 2.0]",
    ]
    assert [(clause.outcome, dict(clause.values)) for clause in told.clauses] == [("false", {"features.page_views": "2.0"})]
    assert [check.name for check in told.checks] == ["paused"]
    kiosk.pages(1, "known:9")
    wait_for(lambda: bool(backend.explain("third_page", "known:9").records))
    assert [one.reason for one in backend.explain("third_page", "known:9").records] == [Reason.FIRED]
    nobody = backend.explain("third_page", "known:nobody")
    assert (nobody.note, nobody.clauses, nobody.checks) == ("nothing is known of this subject here", (), ())
    with pytest.raises(InvalidEventError, match="no such trigger"):
        backend.explain("nothing", "known:9")
    backend.close()
    kiosk.close()
