"""A server's own trigger on content interest: items ranked by everybody's events, under the action that names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reflexarc_build.reader import build_text
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.event import Event
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_models.artifact import Artifact
from reflexarc_models.interest import Interest
from reflexarc_models.item_factors import ITEMS_FILE
from reflexarc_models.publish import publish_tables
from reflexarc_models.scorer import items_of
from reflexarc_models.train.forms.compose import with_file
from reflexarc_models.train.ranking.interactions import gather
from reflexarc_models.train.ranking.tuning import InterestSettings, fit_items
from reflexarc_models.train.train import TrainedModel
from reflexarc_proto.v1 import admin_service_pb2
from reflexarc_server.app import start_server
from reflexarc_server.distribution import write_bundle
from reflexarc_server.log_reader import LogReader
from tests.server.kit import DAY, T0, ManualClock, Stubs, wait_for

CATALOG = build_text("""
include: standard
version: interest-test
triggers:
  recommend:
    placement: server
    condition: content_interest_prediction
    on: [content_view]
    cooldown: 1d
    action: show
actions:
  show: {payload: {first: "${interest_progression[0]}", then: "${interest_progression}"}}
""")
MODEL = CATALOG.models["content_interest"]


def _view(number: int, subject: str, item: int, at: int) -> Event:
    return Event(f"view-{number}", "content_view", subject, at, {"content_id": f"item-{item}", "time_spent": 300.0})


def _readers(count: int) -> list[Event]:
    """Everybody reads one of three series in its order."""
    return [
        _view(100 * reader + part, f"known:{reader}", reader % 3 * 20 + (reader + part) % 20, T0 + part * 3_600_000)
        for reader in range(count)
        for part in range(12)
    ]


def _fired(data: Path) -> list[Decision]:
    return [decision for decision in LogReader(data).decisions() if decision.reason is Reason.FIRED]


@pytest.fixture(scope="module")
def claim(churn: TrainedModel) -> TrainedModel:
    """The tests' one model taken for a claim: it says yes of whoever shares and buys nothing. The readers' items beside it."""
    items = fit_items(gather(_readers(60)), InterestSettings(link_kind="sequence", link_share=0.5), seed=1).to_bytes()
    inputs = ["sharing_behavior", "product_interactions", INTEREST_STRENGTH]

    def claiming(artifact: Artifact) -> Artifact:
        absent = dict(zip(inputs, artifact.absent_values, strict=True))
        of_items = with_file(
            artifact, ITEMS_FILE, items, model_id=MODEL.model_id, algorithm=MODEL.algorithm, inputs=inputs, absent_values=absent,
            calibration={**artifact.manifest["calibration"], "newest_label_time": T0},
        )  # fmt: skip
        return publish_tables(of_items, (0.5,), MODEL.confidence_min)

    return replace(churn, model_id=MODEL.model_id, device=claiming(churn.device), server=claiming(churn.server))


def test_a_server_trigger_ranks_by_what_every_installation_sent_and_a_restart_changes_nothing(
    claim: TrainedModel, data: Path, tmp_path: Path, clock: ManualClock
) -> None:
    folders = {"device": tmp_path / "d", "server": tmp_path / "s"}
    claim.device.write(folders["device"])
    claim.server.write(folders["server"])
    digest = write_bundle(data, CATALOG, {"content_interest": folders})
    clock.now = T0 + DAY // 2
    seen: list[Event] = []
    for again in (False, True):
        server = start_server(data, "127.0.0.1:0", CATALOG, clock, insecure=True)
        phone, laptop = Stubs(server.address, "phone"), Stubs(server.address, "laptop")
        if not again:
            phone.admin.ActivateBundle(admin_service_pb2.ActivateBundleRequest(digest=digest), timeout=20)
        for number, stubs in enumerate((phone, laptop, phone)):
            seen.append(_view(9_000 + 10 * again + number, "known:new", 20 + 3 * again + number, clock.now + number))
            assert stubs.track(seen[-1]) == [1]
        phone.folded()
        wait_for(lambda: len(_fired(data)) == 1 + again)  # noqa: B023
        phone.close()
        laptop.close()
        server.stop()
        clock.now += 2 * DAY
    fired = [decision.cause_id for decision in _fired(data)]
    assert fired == [seen[0].event_id, seen[3].event_id], list(LogReader(data).decisions())
    items, ids = items_of(claim.server), [event.event_id for event in seen]
    for decision in _fired(data):
        ranked = Interest(items, gather(seen[: ids.index(decision.cause_id) + 1]).pairs(0)).rank(3)
        assert decision.payload is not None and decision.payload["first"] == ranked[0], "what its own events say, of all devices"
        assert decision.evidence[0].artifact_digest == claim.server.digest
    assert _fired(data)[1].payload != _fired(data)[0].payload
