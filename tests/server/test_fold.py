"""The fold: the server's own triggers, and a state that does not depend on when it was interrupted (laws 1 and 2)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_models.train.train import TrainedModel
from reflexarc_proto.v1 import admin_service_pb2, report_service_pb2
from reflexarc_proto.wire import decision_from_proto
from reflexarc_server import fold as fold_module
from reflexarc_server.app import start_server
from reflexarc_server.distribution import write_bundle
from reflexarc_server.log_reader import LogReader
from tests.server.kit import DAY, T0, ManualClock, Stubs, catalog, page, wait_for


def _history(seed: int, count: int) -> list[Event]:
    draw = random.Random(seed)
    events = []
    for i in range(count):
        subject = f"known:{draw.randrange(40)}"
        event_time = T0 + i * DAY // 200
        if draw.random() < 0.1:
            events.append(Event(f"t{i}", "support_ticket", subject, event_time, {"ticket_id": str(i)}))
        else:
            events.append(page(i, subject, event_time))
    return events


def _decisions(data: Path) -> list[tuple[str, int, str, str, int, str]]:
    return [
        (d.decision_id, d.record, d.subject, d.reason.value, d.decision_time, d.placement) for d in LogReader(data).decisions()
    ]


def test_a_server_trigger_decides_on_what_every_device_sent(stubs: Stubs, data: Path, clock: ManualClock) -> None:
    events = _history(1, 600)
    clock.now = events[-1].event_time
    stubs.track(*events)
    status = stubs.folded()
    wait_for(lambda: bool(stubs.status().server_decisions))
    pages: dict[str, int] = {}
    expected = set()
    for event in events:
        if event.event_type == "page_view":
            pages[event.subject] = pages.get(event.subject, 0) + 1
            if pages[event.subject] == 3:
                expected.add((event.subject, event.event_id))
    made = list(LogReader(data).decisions())
    assert {(d.subject, d.cause_id) for d in made} == expected
    assert {d.reason for d in made} == {Reason.FIRED, Reason.HOLDOUT}
    assert {d.placement for d in made} == {"server"}
    assert (status.folded_count, status.unfoldable_count) == (600, 0)
    after = stubs.status()
    assert sum(r.count for r in after.server_decisions) == len(expected)
    assert not after.edge_decisions
    listed = stubs.reports.ListDecisions(report_service_pb2.ListDecisionsRequest(page_size=1000), timeout=10).decisions
    assert {decision_from_proto(d).decision_id for d in listed} == {d.decision_id for d in made}
    results = stubs.reports.GetResults(report_service_pb2.GetResultsRequest(trigger_ids=["third_page"]), timeout=10).triggers[0]
    assert results.treated.subject_count + results.held_out.subject_count == len(expected)


def test_a_pause_holds_the_servers_triggers_back_from_its_place_in_the_log(stubs: Stubs, data: Path, clock: ManualClock) -> None:
    clock.now = T0 + DAY
    stubs.track(*(page(i, "known:1") for i in range(3)))
    stubs.admin.SetPaused(admin_service_pb2.SetPausedRequest(trigger_ids=["*"]), timeout=10)
    stubs.track(*(page(10 + i, "known:2") for i in range(3)))
    stubs.folded()
    wait_for(lambda: len(_decisions(data)) == 2)
    assert {subject: reason for _, _, subject, reason, _, _ in _decisions(data)}["known:2"] == "PAUSED"


@pytest.mark.parametrize("snapshot_every", [1, 100, 10**9])
def test_an_interrupted_fold_ends_where_a_whole_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot_every: int
) -> None:
    """Copies of the folder stand for kills: each is what a dead process leaves, snapshot behind or not."""
    monkeypatch.setattr(fold_module, "SNAPSHOT_EVERY", snapshot_every)
    monkeypatch.setattr(fold_module, "BATCH", 37)
    clock = ManualClock(T0 + 5 * DAY)
    events = _history(2, 900)
    live = tmp_path / "live"
    server = start_server(live, "127.0.0.1:0", catalog(), clock, insecure=True)
    stubs = Stubs(server.address)
    copies = []
    for start in range(0, 900, 150):
        stubs.track(*events[start : start + 150])
        copies.append(tmp_path / f"copy-{start}")
        shutil.copytree(live, copies[-1])
    stubs.folded()
    stubs.close()
    server.stop()
    whole = sorted(_decisions(live))
    assert len(whole) >= 38
    for done, copy in enumerate(copies, 1):
        again = start_server(copy, "127.0.0.1:0", catalog(), clock, insecure=True)
        resumed = Stubs(again.address)
        resumed.track(*events[: 150 * done])
        for start in range(0, 900, 150):
            resumed.track(*events[start : start + 150])
        status = resumed.folded()
        assert (status.event_count, status.folded_count, status.subject_count) == (900, 900, 40)
        resumed.close()
        again.stop()
        assert sorted(_decisions(copy)) == whole


def test_an_event_that_fits_no_definition_stops_nobody(stubs: Stubs) -> None:
    from reflexarc_core.record import EventInput, Moment
    from tests.server.kit import message

    bad = Event("bad", "consent", "known:1", T0, {"unexpected": 1})
    worse = Event("worse", "purchase", "known:1", T0, {"amount": "much"})
    batch = [EventInput(Moment(T0), event) for event in (page(1), bad, worse, page(2))]
    stubs.push([message(i, record) for i, record in enumerate(batch, 1)])
    status = stubs.folded()
    assert status.folded_count == 4
    assert status.unfoldable_count >= 1
    assert stubs.track(page(3)) == [1]
    assert stubs.folded().folded_count == 5


def test_a_model_that_a_server_trigger_reads_scores_on_the_server(
    tmp_path: Path, data: Path, clock: ManualClock, churn: TrainedModel
) -> None:
    from reflexarc_build.reader import build_text

    text = """
include: standard
triggers:
  leaving:
    placement: server
    condition: predicted_churn_risk > 0.5
    confidence: off
    cooldown: 30d
    action: mail
actions:
  mail: {channel: email, payload: {risk: "${predicted_churn_risk}"}}
"""
    built = build_text(text)
    folders = {"device": tmp_path / "d", "server": tmp_path / "s"}
    churn.device.write(folders["device"])
    churn.server.write(folders["server"])
    digest = write_bundle(data, built, {"churn": folders})
    for again in (False, True):
        server = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
        stubs = Stubs(server.address)
        if not again:
            stubs.admin.ActivateBundle(admin_service_pb2.ActivateBundleRequest(digest=digest), timeout=20)
        stubs.folded()
        number = 100 * again
        stubs.track(*(page(number + i, f"known:{number + i}", clock.now) for i in range(5)))
        clock.now += DAY  # past the model's next tick: silent people are scored by it
        wait_for(lambda: len(list(LogReader(data).decisions())) >= (1 + again))  # noqa: B023
        stubs.folded()
        stubs.close()
        server.stop()
    made = list(LogReader(data).decisions())
    assert {d.evidence[0].artifact_digest for d in made} == {churn.server.digest}
    assert all(d.payload is not None and d.payload["risk"] == d.evidence[0].score for d in made if d.reason is Reason.FIRED)
