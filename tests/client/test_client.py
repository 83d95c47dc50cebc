"""The front door: what an application sees of a client that has no server at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc import Client, Config, Decision, Reason
from reflexarc.testing import ManualClock, TableScorer
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, StorageError

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY

CATALOG = """
include: standard
version: shop
triggers:
  hesitating:
    condition: event.page_url == "/pricing" && features.page_views > 2.0
    on: [page_view]
    cooldown: 1d
    action: offer
  slow:
    condition: event.page_url == "/slow"
    on: [page_view]
    life: 1h
    action: offer
  re_engage:
    condition: predicted_churn_risk > 0.7
    cooldown: 3d
    action: campaign
actions:
  offer: {payload: {text: "page ${event.session_step} of this visit"}}
  campaign: {payload: {risk: "${predicted_churn_risk}", why: "${churn_risk_factors}"}}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return build_text(CATALOG)


def churn(confidence: float) -> TableScorer:
    def rule(vector: object) -> tuple[float, float]:
        return (0.9 if vector[0] < 1.0 else 0.1), confidence  # type: ignore[index]

    return TableScorer({"churn": (("engagement_score", "usage_frequency"), rule)}, {"churn": (0.7,)})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def client(tmp_path: Path, catalog: Catalog, clock: ManualClock) -> Iterator[Client]:
    with Client(tmp_path / "store", catalog=catalog, clock=clock, config=Config(locale="en-GB", offset_minutes=60)) as opened:
        yield opened


def test_a_trigger_fires_offline_and_its_handler_is_called_once(client: Client) -> None:
    seen: list[Decision] = []
    client.on("hesitating", seen.append)
    for url in ("/", "/docs", "/pricing", "/pricing"):
        assert client.track("page_view", {"page_url": url}).accepted
    assert client.settle()
    assert [d.payload for d in seen] == [{"text": "page 3 of this visit"}]
    assert client.stats()["decisions"] == {"FIRED": 1, "COOLDOWN": 1}


def test_the_decorator_form_registers_too(client: Client) -> None:
    seen = []

    @client.on("slow")
    def show(decision: Decision) -> None:
        seen.append(decision.trigger_id)

    client.page("/slow")
    assert client.settle()
    assert seen == ["slow"]


def test_handlers_run_on_one_other_thread_and_a_raising_one_harms_nobody(client: Client) -> None:
    threads = set()

    def broken(decision: Decision) -> None:
        threads.add(threading.current_thread().name)
        raise RuntimeError("the host's own fault")

    client.on("slow", broken)
    assert client.page("/slow").accepted
    assert client.settle()
    assert threads == {"reflexarc-handlers"}
    assert client.stats()["handler_errors"] == 1
    assert client.page("/").accepted


def test_post_runs_handlers_where_the_host_says(tmp_path: Path, catalog: Catalog, clock: ManualClock) -> None:
    posted = []
    seen: list[str] = []
    with Client(tmp_path, catalog=catalog, clock=clock, post=posted.append) as client:
        client.on("slow", lambda decision: seen.append(threading.current_thread().name))
        client.page("/slow")
        assert seen == []
        for call in posted:
            call()
    assert seen == ["MainThread"]


def test_a_model_scores_offline_and_the_confidence_gates_it(tmp_path: Path, catalog: Catalog, clock: ManualClock) -> None:
    for confidence, expected in ((0.9, Reason.FIRED), (0.5, Reason.LOW_CONFIDENCE)):
        clock = ManualClock(T0)
        scorer = churn(confidence)
        folder = tmp_path / str(confidence)
        with Client(folder, catalog=catalog, clock=clock, scorer=scorer, models=scorer.live_models) as client:
            acted: list[Decision] = []
            client.on("re_engage", acted.append)
            client.page("/")
            clock.advance(40 * DAY)
            client.run_due()
            client.settle()
            (decision,) = client.log.recent_decisions(10)
            assert decision.reason is expected
            assert decision.online is False
            assert len(acted) == (expected is Reason.FIRED)
            if acted:
                assert acted[0].payload == {
                    "risk": decision.evidence[0].score,
                    "why": {"engagement_score": decision.evidence[0].score},
                }


@pytest.mark.parametrize(
    ("event_type", "properties", "reason"),
    [
        ("page_vew", {"page_url": "/"}, "no event type 'page_vew'"),
        ("page_view", {}, "page_view.page_url is missing"),
        ("page_view", {"page_url": 3}, "page_url is int (a string"),
        ("button_click", {"kind": "hover"}, "one of cta, download, video"),
    ],
)
def test_a_bad_event_is_refused_in_words_and_nothing_raises(
    client: Client, event_type: str, properties: dict[str, object], reason: str
) -> None:
    receipt = client.track(event_type, properties)
    assert not receipt.accepted
    assert reason in receipt.reason
    assert client.stats()["counts"]["errors_invalid_event"] == 1
    assert client.page("/").accepted


@pytest.mark.parametrize("wrong", [{"subject": "robot:1"}, {"event_time": "now"}, {"event_time": -1}])
def test_bad_arguments_are_refused_too(client: Client, wrong: dict[str, object]) -> None:
    assert not client.track("page_view", {"page_url": "/"}, **wrong).accepted  # type: ignore[arg-type]


def test_undeclared_properties_are_dropped_and_counted(client: Client) -> None:
    assert client.track("page_view", {"page_url": "/", "mood": "good"}).accepted
    assert client.stats()["counts"]["properties_undeclared"] == 1


def test_the_callers_dict_may_change_afterwards(client: Client) -> None:
    properties: dict[str, object] = {"page_url": "/first"}
    client.track("page_view", properties)
    properties["page_url"] = "/second"
    events = [record.event for _, record in client.log.records(0) if hasattr(record, "event")]
    assert events[0].properties == {"page_url": "/first"}


def test_enrichment_says_what_the_device_knows(client: Client, clock: ManualClock) -> None:
    client.track("page_view", {"page_url": "/a", "referrer": "https://search.example/q"})
    clock.advance(1_000)
    client.track("page_view", {"page_url": "/b", "utm_source": "mail"})
    clock.advance(31 * 60_000)
    client.track("product_interaction", {})
    first, second, third = (record.event.context for _, record in client.log.records(0) if hasattr(record, "event"))
    assert first["session_id"] == second["session_id"] != third["session_id"]
    assert [c["session_step"] for c in (first, second, third)] == [1, 2, 1]
    assert (second["first_touch"], second["last_touch"]) == ("search.example", "mail")
    assert (first["locale"], first["offset_minutes"], first["online"], first["device_class"]) == ("en-GB", 60, False, "desktop")
    assert (second["screen"], third["first_touch"]) == ("/b", "search.example")


def test_a_referrer_that_is_no_url_costs_nothing(client: Client) -> None:
    assert client.track("page_view", {"page_url": "/", "referrer": "http://[not-an-address"}).accepted


def test_identify_changes_the_subject_and_a_second_person_is_never_linked(client: Client) -> None:
    device = client.subject
    client.identify("ann")
    assert client.subject == "known:ann"
    client.identify("bob")
    assert client.subject == "known:bob"
    links = [
        (r.event.subject, r.event.properties)
        for _, r in client.log.records(0)
        if getattr(r, "event", None) and r.event.event_type == "identify"
    ]
    assert links[0] == (device, {"known_id": "ann"})
    assert links[1][0].startswith("session:"), "bob is linked to a new session, not to ann"
    client.reset()
    assert client.subject.startswith("session:")


def test_pausing_records_and_does_not_act_and_outlives_a_restart(tmp_path: Path, catalog: Catalog, clock: ManualClock) -> None:
    with Client(tmp_path, catalog=catalog, clock=clock) as client:
        client.pause()
        assert [d.reason for d in client.page("/slow").decisions] == [Reason.PAUSED]
    with Client(tmp_path, clock=clock) as client:
        assert [d.reason for d in client.page("/slow").decisions] == [Reason.PAUSED]
        client.resume()
        assert [d.reason for d in client.page("/slow").decisions] == [Reason.FIRED]


def test_a_pause_that_was_kept_and_not_applied_is_applied(
    tmp_path: Path, catalog: Catalog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise StorageError("the disk is full")

    with Client(tmp_path, catalog=catalog, clock=clock) as client:
        client.log.keep_meta("paused", [[], ["slow"]])  # killed here
    with Client(tmp_path, clock=clock) as client:
        assert [d.reason for d in client.page("/slow").decisions] == [Reason.PAUSED]
        client.device.pause_there(set())
        monkeypatch.setattr(client.runtime, "pause", full)
        client.device.pause_there({"slow"})
        monkeypatch.undo()
        client.device.pause_there({"slow"})
        assert [d.reason for d in client.page("/slow").decisions] == [Reason.PAUSED]


def test_what_was_not_handed_over_expires_at_a_restart_unless_it_has_a_life(
    tmp_path: Path, catalog: Catalog, clock: ManualClock
) -> None:
    client = Client(tmp_path, catalog=catalog, clock=clock)
    for url in ("/", "/docs", "/pricing", "/slow"):
        client.page(url)
    client.close()
    clock.advance(60_000)
    seen: list[str] = []
    with Client(tmp_path, clock=clock) as client:
        client.on("slow", lambda decision: seen.append(decision.trigger_id))
        client.on("hesitating", lambda decision: seen.append(decision.trigger_id))
        client.settle()
        last = {d.trigger_id: d.reason for d in reversed(client.log.recent_decisions(10))}
    assert last == {"hesitating": Reason.EXPIRED, "slow": Reason.FIRED}
    assert seen == ["slow"]


def test_an_outcome_is_an_event_of_the_decisions_subject(client: Client) -> None:
    receipt = client.track("page_view", {"page_url": "/slow"}, subject="known:7")
    assert client.outcome(receipt.decisions[0].decision_id, "click").accepted
    event = [record.event for _, record in client.log.records(0) if hasattr(record, "event")][-1]
    assert (event.event_type, event.subject, event.properties["kind"]) == ("outcome", "known:7", "click")


def test_explain_shows_the_clause_that_blocks(client: Client) -> None:
    client.page("/pricing")
    told = client.explain("hesitating")
    assert any(clause.outcome == "false" and "page_views" in clause.text for clause in told.clauses)
    assert "features.page_views = 1.0" in told.text
    receipt = client.page("/slow")
    told = client.explain(decision_id=receipt.decisions[0].decision_id)
    assert told.records[0].reason is Reason.FIRED
    with pytest.raises(DefinitionError, match="no trigger"):
        client.explain("hesitatng")


def test_flush_without_a_server_says_so(client: Client) -> None:
    client.page("/")
    result = client.flush(0.1)
    assert (result.delivered, result.reason) == (False, "no server")


def test_a_closed_client_refuses_and_never_raises(client: Client) -> None:
    client.close()
    client.close()
    receipt = client.page("/")
    assert (receipt.accepted, receipt.reason) == (False, "storage: the client is closed")


def test_a_catalog_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        Client(tmp_path / "s", catalog=tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DefinitionError, match="no JSON"):
        Client(tmp_path / "s", catalog=tmp_path / "bad.json")
    (tmp_path / "bad.yaml").write_text("triggers: {x: {condition: 1 +}}")
    with pytest.raises(DefinitionError, match="bad.yaml"):
        Client(tmp_path / "s", catalog=tmp_path / "bad.yaml")


FORKED = """
import os, sys
from reflexarc import Client
client = Client(sys.argv[1])
assert client.page("/before").accepted
child = os.fork()
if child == 0:
    receipt = client.page("/child")
    os._exit(0 if receipt.accepted and receipt.engine == "elsewhere" else 1)
assert os.waitpid(child, 0)[1] == 0
assert client.page("/after").accepted
client.close()
"""


def test_a_forked_child_captures_for_the_parent_that_owns_the_store(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", FORKED, str(tmp_path / "s")], capture_output=True, text=True, timeout=30, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    with Client(tmp_path / "s") as client:
        urls = [r.event.properties["page_url"] for _, r in client.log.records(0) if hasattr(r, "event")]
    assert sorted(urls) == ["/after", "/before", "/child"]


KILLED = """
import os, sys
from reflexarc import Client
client = Client(sys.argv[1])
ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(client.position + 1, 100_000):
    receipt = client.track("page_view", {"page_url": f"/{i}"}, position=i)
    assert receipt.accepted, receipt.reason
    os.write(ledger, b"%d\\n" % i)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """The process writes to a ledger of its own after each receipt, and dies at whatever it is doing."""
    store, ledger = tmp_path / "store", tmp_path / "ledger"
    for round_number in range(4):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(store), str(ledger)])
        target = 150 * (round_number + 1)
        while not ledger.exists() or ledger.stat().st_size < 5 * target:
            assert process.poll() is None
        process.kill()
        process.wait()
    acked = [int(line) for line in ledger.read_text().split()]
    with Client(store) as client:
        kept = [record.event.source_position for _, record in client.log.records(0) if hasattr(record, "event")]
    assert kept == list(range(len(kept))), "in order, none twice"
    assert set(acked) <= set(kept)
    assert len(acked) > 100
