"""The control stream: a pause reaches a running process at once, and soon enough without it."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from reflexarc import Client, Config
from reflexarc.control import ControlStream
from reflexarc.testing import ManualClock
from reflexarc_build.reader import build_text
from reflexarc_proto.v1 import admin_service_pb2, event_service_pb2
from reflexarc_proto.wire import INSTALLATION_KEY
from reflexarc_server.app import Server
from reflexarc_server.control import Control
from tests.control.proxy import Proxy
from tests.processes import kit as processes
from tests.server.kit import T0, Stubs, event_record, page, wait_for

CATALOG = """
include: standard
version: control
triggers:
  every_page:
    condition: event.page_url != ""
    on: [page_view]
    action: show
actions:
  show: {payload: {text: hello}}
"""
SLOW_POLL = Config(insecure=True, offset_minutes=0, poll_ms=60_000, flush_interval_ms=10, backoff_ms_min=20, backoff_ms_max=200)
QUICK_POLL = Config(insecure=True, offset_minutes=0, poll_ms=50, flush_interval_ms=10, backoff_ms_min=20, backoff_ms_max=200)
SOON_S = 2.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server in a process of its own."""
    process = processes.start("serve", tmp_path / "server", stdin=subprocess.PIPE)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    assert processes.end(process)[0] == 0


def opened(tmp_path: Path, server: str, config: Config) -> Client:
    return Client(tmp_path / "device", catalog=build_text(CATALOG), server=server, clock=ManualClock(T0), config=config)


def set_paused(stubs: Stubs, *trigger_ids: str) -> None:
    stubs.admin.SetPaused(admin_service_pb2.SetPausedRequest(trigger_ids=trigger_ids), timeout=10)


def reason_now(client: Client) -> str:
    return client.track("page_view", {"page_url": "/"}).decisions[0].reason


def set_paused_and_see(stubs: Stubs, client: Client, *paused: str) -> float:
    """Seconds from the operator's call until the device decides accordingly."""
    assert client.flush(10).delivered  # else its next pull, behind what it still sends, might bring it
    began = time.monotonic()
    set_paused(stubs, *paused)
    wait_for(lambda: client.runtime.engine.state.paused == set(paused))
    assert reason_now(client) == ("PAUSED" if paused else "FIRED")
    return time.monotonic() - began


@pytest.mark.parametrize("paused", ["every_page", "*"])
def test_a_pause_reaches_a_running_process_long_before_it_polls(
    tmp_path: Path, served: str, paused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stubs = Stubs(served)
    with opened(tmp_path, served, SLOW_POLL) as client:
        assert client.flush(10).delivered
        assert reason_now(client) == "FIRED"
        took = []
        for _ in range(5):
            took += [set_paused_and_see(stubs, client, paused), set_paused_and_see(stubs, client)]
        with capsys.disabled():
            print(f"\n{paused}: a pause arrived after {1000 * min(took):.0f} to {1000 * max(took):.0f} ms, polling every 60 s")
        assert max(took) < SOON_S
    stubs.close()


@pytest.mark.parametrize("swallow", [False, True])
def test_without_the_stream_polling_brings_the_pause(tmp_path: Path, served: str, swallow: bool) -> None:
    stubs = Stubs(served)
    proxy = Proxy(served, swallow=swallow)
    with opened(tmp_path, proxy.address, QUICK_POLL) as client:
        assert client.flush(10).delivered
        wait_for(lambda: proxy.watch_count > 0)
        set_paused_and_see(stubs, client, "every_page")
        set_paused_and_see(stubs, client)
    proxy.stop()
    stubs.close()


def test_many_watchers_hold_no_thread_and_hinder_no_push(server: Server, stubs: Stubs) -> None:
    streams = 600
    threads_before = threading.active_count()
    calls = [
        stubs.events.Watch(event_service_pb2.WatchRequest(), metadata=((INSTALLATION_KEY, f"watcher-{i}"),), timeout=60)
        for i in range(streams)
    ]
    for call in calls:
        assert list(next(call).paused) == []
    for seq in range(1, 51):
        assert stubs.push([event_record(seq, page(seq))]).upto_seq == seq
    assert threading.active_count() < threads_before + 50
    set_paused(stubs, "*")
    for call in calls:
        assert list(next(call).paused) == ["*"]
    for call in calls:
        call.cancel()
    assert stubs.status().event_count == 50


def test_a_newer_stream_of_an_installation_ends_the_older(stubs: Stubs) -> None:
    older = watched(stubs, "device-1")
    assert next(older).heartbeat_ms > 0  # it is open: two that are opened at once may arrive in either order
    newer = watched(stubs, "device-1")
    assert next(newer).heartbeat_ms > 0
    assert list(older) == []
    set_paused(stubs, "x")
    assert list(next(newer).paused) == ["x"]
    newer.cancel()


def test_a_stream_of_nobody_is_refused(stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        next(stubs.events.Watch(event_service_pb2.WatchRequest(), timeout=10))
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_a_stopping_server_ends_its_streams(server: Server, stubs: Stubs) -> None:
    stream = watched(stubs, "device-1")
    next(stream)
    server.stop()
    assert list(stream) == [], "ended, not cut off"


def test_a_silent_stream_beats() -> None:
    async def heard() -> list[bool]:
        control = Control(asyncio.get_running_loop(), heartbeat_s=0.001)
        said = []
        async for pull in control.watch("one"):
            said.append(pull)
            if len(said) == 2:
                control.hint("one")
                await asyncio.sleep(0)  # the hint is put down by the loop
            if len(said) == 4:
                control.end_all()
        assert control.watcher_count == 0
        return said

    said = asyncio.run(heard())
    assert said[:2] == [False, False]
    assert said.count(True) == 1, "a hint is said once"


def test_what_a_pull_says_gives_way_to_what_was_heard_since(tmp_path: Path) -> None:
    with Client(tmp_path / "device", catalog=build_text(CATALOG)) as client:
        stream = ControlStream(None, client.device, lambda: None)  # type: ignore[arg-type]  # never opened here
        client.device.pause_there({"every_page"})
        stream.heard_count = 1
        stream.polled(set(), heard_before=0)
        assert client.runtime.engine.state.paused == {"every_page"}
        stream.polled(set(), heard_before=1)
        assert client.runtime.engine.state.paused == set()


def watched(stubs: Stubs, installation: str) -> Any:
    return stubs.events.Watch(event_service_pb2.WatchRequest(), metadata=((INSTALLATION_KEY, installation),), timeout=60)
