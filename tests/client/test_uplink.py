"""A client and a real server: everything arrives once, and what the server knows comes down."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc import Client, Config, Reason
from reflexarc.backend import Backend
from reflexarc.definitions import load_catalog
from reflexarc.testing import ManualClock, TableScorer
from reflexarc.transport import Transport
from reflexarc_core.event import Event
from reflexarc_server.app import Server, start_server
from reflexarc_server.log_reader import LogReader

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
NEVER_SET = threading.Event()
QUICK = Config(offset_minutes=0, flush_interval_ms=10, backoff_ms_min=20, backoff_ms_max=100, poll_ms=50)


class ServerClock:
    """A server's clock for tests: as far as the device's."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.wall_ms()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def server(tmp_path: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), ServerClock(clock), insecure=True)
    yield started
    started.stop()


@pytest.fixture
def backend(server: Server) -> Iterator[Backend]:
    opened = Backend(server.address, insecure=True)
    yield opened
    opened.close()


def device(tmp_path: Path, server: str, clock: ManualClock, **more: object) -> Client:
    given = {"config": QUICK, **more}
    return Client(tmp_path / "device", server=server or None, insecure=True, clock=clock, **given)  # type: ignore[arg-type]


def until(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if holds():
            return True
        NEVER_SET.wait(0.01)
    return False


def test_everything_arrives_once_and_again_after_an_outage(tmp_path: Path, clock: ManualClock) -> None:
    data = tmp_path / "server"
    started = start_server(data, "127.0.0.1:0", load_catalog(None), ServerClock(clock), insecure=True)
    address = started.address
    with device(tmp_path, address, clock) as client:
        for i in range(300):
            client.track("page_view", {"page_url": f"/{i}"})
        assert client.flush(10).delivered
        assert client.moment().online
        started.stop()
        assert client.wait_online(False)
        for i in range(300, 500):
            client.track("page_view", {"page_url": f"/{i}"})
        assert not client.flush(0.2).delivered
        started = start_server(data, address, load_catalog(None), ServerClock(clock), insecure=True)
        assert client.flush(10).delivered
        assert client.stats()["acknowledged"] == client.stats()["records"]
        online = [r.event.context["online"] for _, r in client.log.records(0) if hasattr(r, "event")]
        assert not any(online[300:])
    started.stop()
    urls = [event.properties["page_url"] for _, event in LogReader(data).events()]
    assert urls == [f"/{i}" for i in range(500)]


def test_subject_values_come_down_from_every_source(tmp_path: Path, server: Server, backend: Backend, clock: ManualClock) -> None:
    ticket = Event("t1", "support_ticket", "known:1", T0, {"severity": "high"})
    assert backend.track([ticket]) == [("stored", "")]
    assert backend.track([ticket])[0][0] == "duplicate"
    assert until(lambda: backend.status()["fold_lag"] == 0)
    with device(tmp_path, server.address, clock) as client:
        client.track("page_view", {"page_url": "/"}, subject="known:1")
        assert client.flush(10).delivered
        assert until(lambda: client.runtime.engine.state.subjects["known:1"].values.get("support_tickets", (0.0,))[0] == 1.0)


def test_a_bundle_is_taken_by_itself_and_decides(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, published: tuple[str, Path]
) -> None:
    digest, folder = published
    shutil.copytree(folder, tmp_path / "server" / "bundles" / digest)
    with device(tmp_path, server.address, clock) as client:
        client.track("page_view", {"page_url": "/"}, subject="known:1")
        assert client.flush(10).delivered
        assert client.live_bundle == ""
        backend.activate(digest)
        assert until(lambda: client.live_bundle == digest)
        assert set(client.stats()["models"]) == {"churn"}
        for i in range(30):
            client.track("page_view", {"page_url": "/"}, subject=f"known:{i}")
        clock.advance(30 * DAY)
        client.run_due()
        assert client.settle()
        assert client.stats()["decisions"]["FIRED"] > 0
    with device(tmp_path, server.address, clock) as client:
        assert client.live_bundle == digest, "a restart goes on with the bundle it had"
        assert set(client.stats()["models"]) == {"churn"}


def unsure() -> TableScorer:
    return TableScorer({"churn": (("engagement_score", "usage_frequency"), lambda vector: (0.9, 0.1))}, {"churn": (0.7,)})


def ask_once(client: Client, clock: ManualClock) -> Reason:
    """Let the device be unsure about one person; the reason it ends with."""
    client.track("page_view", {"page_url": "/"}, subject="known:1")
    clock.advance(30 * DAY)
    client.run_due()
    assert client.settle()
    records = [d for d in client.log.recent_decisions(10) if d.trigger_id == "proactive_re_engagement"]
    assert [d.reason for d in records[1:]] == [Reason.ESCALATED]
    return records[0].reason


def test_an_unsure_device_is_upgraded_by_the_servers_heavier_model(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, published: tuple[str, Path]
) -> None:
    digest, folder = published
    shutil.copytree(folder, tmp_path / "server" / "bundles" / digest)
    backend.activate(digest)
    rules = unsure()
    with Client(
        tmp_path / "device", server=server.address, insecure=True, clock=clock, scorer=rules, models=rules.live_models,
        config=Config(offset_minutes=0, poll_ms=600_000),
    ) as client:  # fmt: skip
        assert client.wait_online()
        assert ask_once(client, clock) in (Reason.FIRED, Reason.HOLDOUT)
        last = client.log.recent_decisions(1)[0]
        assert (last.record, last.evidence[0].where) == (1, "server")


def test_a_server_that_never_answers_costs_the_deadline_and_no_more(tmp_path: Path, clock: ManualClock) -> None:
    rules = unsure()
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        address = f"127.0.0.1:{hole.getsockname()[1]}"
        with Client(
            tmp_path / "device",
            server=address,
            insecure=True,
            clock=clock,
            scorer=rules,
            models=rules.live_models,
            config=QUICK,
        ) as client:
            client.device.online = True  # it was, a moment ago
            assert ask_once(client, clock) is Reason.LOW_CONFIDENCE
            assert client.page("/").accepted


def test_a_pause_at_the_server_reaches_a_running_device(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock
) -> None:
    with device(tmp_path, server.address, clock) as client:
        assert client.wait_online()
        backend.pause("proactive_re_engagement")
        assert until(lambda: client.stats()["paused"] == ["proactive_re_engagement"])
        client.resume()
        assert client.stats()["paused"] == ["proactive_re_engagement"], "a device cannot lift the operator's pause"
        backend.pause()
        assert until(lambda: client.stats()["paused"] == [])


def test_a_host_that_never_pauses_does_not_keep_the_sync_thread_sending(
    tmp_path: Path, server: Server, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes while a batch is on its way travels with the next, an interval later: sending comes to an end."""
    with device(tmp_path, server.address, clock) as client:
        assert client.wait_online()
        push, pull, pulled = Transport.push, Transport.pull, threading.Event()

        def push_and_track(transport: Transport, *given: Any) -> Any:
            client.track("page_view", {"page_url": "/meanwhile"})
            return push(transport, *given)

        def tell_pull(transport: Transport, *given: Any) -> Any:
            pulled.set()
            return pull(transport, *given)

        monkeypatch.setattr(Transport, "push", push_and_track)
        monkeypatch.setattr(Transport, "pull", tell_pull)
        client.track("page_view", {"page_url": "/first"})
        assert pulled.wait(10), "it pushed on and on"
        monkeypatch.undo()
        assert client.flush(10).delivered
