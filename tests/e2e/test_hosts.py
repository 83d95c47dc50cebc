"""Hosts that applications run in: gunicorn, which forks what it has loaded, and gevent, whose threads are none.

Whatever the host does with processes and threads, an accepted event is in the store once, and the host ends when it is told.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reflexarc_server.app import start_server
from reflexarc_server.log_reader import applied_event_ids
from tests.processes.kit import ROOT, Ledger, catalog_in, end, held_in, kill, start, wait_for
from tests.server.kit import ManualClock, catalog

pytest.importorskip("gunicorn")
pytest.importorskip("gevent")

WORKERS = 2
REQUESTS = 300
STOP_S = 10.0


class Host:
    """gunicorn over the test's application, on a socket of ours."""

    def __init__(self, folder: Path, *options: str, server: str = "") -> None:
        self.folder = folder
        catalog_in(folder)
        self.ledger = Ledger(folder / "ledger")
        self._requests = 0
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            self._port = listening.getsockname()[1]
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}", "--workers", str(WORKERS),
                    "--log-level", "error", "--graceful-timeout", "5", "--no-control-socket", *options, "tests.processes.web:app",
                ],
                cwd=ROOT, pass_fds=(listening.fileno(),), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "REFLEXARC_WEB_FOLDER": str(folder), "REFLEXARC_WEB_SERVER": server}, start_new_session=True,
            )  # fmt: skip

    def get(self, position: int) -> tuple[int, str] | None:
        """(worker, where its engine is) that tracked this event; None when the worker died meanwhile."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{position}", timeout=20) as answer:
                pid, engine = answer.read().decode().split()
                return int(pid), engine
        except (OSError, urllib.error.URLError):
            return None

    def track(self, count: int = REQUESTS) -> set[tuple[int, str]]:
        """Requests from several threads at once; who answered."""
        first, self._requests = self._requests, self._requests + count
        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(self.get, range(first, first + count)))
        return {answer for answer in answers if answer is not None}

    def track_in_every_worker(self) -> set[tuple[int, str]]:
        """Until each has had some."""
        found = self.track()
        deadline = time.monotonic() + 20.0
        while len({pid for pid, _ in found}) < WORKERS:
            assert time.monotonic() < deadline, f"only {found} ever answered"
            found |= self.track(50)
        return found

    def stop(self) -> None:
        """SIGTERM: it ends with nothing said, and no process of it is left."""
        self.process.send_signal(signal.SIGTERM)
        assert end(self.process, STOP_S) == (0, "", "")

    def is_kept_once(self) -> None:
        held = held_in(self.folder / "store")
        kept = self.ledger.kept()
        assert len(kept) >= self._requests - 2 * WORKERS
        assert self.ledger.of("refused") == []
        assert self.ledger.of("error") == []
        assert held.lost(kept) == []
        assert held.doubled == []
        assert {position: held.ids[position] for position in kept} == kept


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a real server."""
    started = start_server(tmp_path / "server", "127.0.0.1:0", catalog(), ManualClock(), insecure=True)
    yield started.address
    started.stop()


def ended(host: Host) -> None:
    """Whatever a failed test left of the host and its workers."""
    kill(host.process)


@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_a_client_made_before_the_fork_serves_every_worker(kind: str, tmp_path: Path) -> None:
    host = Host(tmp_path, "--preload", "--worker-class", kind)
    try:
        found = host.track_in_every_worker()
        assert {engine for _, engine in found} == {"elsewhere"}
        host.stop()
    finally:
        ended(host)
    host.is_kept_once()


@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_workers_that_load_the_application_themselves_share_the_store(kind: str, tmp_path: Path) -> None:
    host = Host(tmp_path, "--worker-class", kind)
    try:
        found = host.track_in_every_worker()
        assert {engine for _, engine in found} == {"here", "elsewhere"}
        host.stop()
    finally:
        ended(host)
    host.is_kept_once()


def test_a_worker_that_is_killed_is_replaced_and_loses_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    try:
        for _ in range(3):
            owner = next(pid for pid, engine in host.track_in_every_worker() if engine == "here")
            os.kill(owner, signal.SIGKILL)
            wait_for(lambda: "here" in {engine for _, engine in host.track(20)}, "another worker owns the store")
        host.process.send_signal(signal.SIGTERM)
        status, output, _ = end(host.process, STOP_S)  # gunicorn says that workers were killed
        assert (status, output) == (0, "")
    finally:
        ended(host)
    host.is_kept_once()


@pytest.mark.parametrize("options", [("--preload",), (), ("--worker-class", "gevent")], ids=["preload", "sync", "gevent"])
def test_a_server_is_told_everything_once(options: tuple[str, ...], tmp_path: Path, server: str) -> None:
    """Workers come and go. With `--preload` the one that forks them sends meanwhile, and must not harm them."""
    host = Host(tmp_path, *options, "--max-requests", "60", "--max-requests-jitter", "30", server=server)
    try:
        host.track_in_every_worker()
        kept = host.ledger.kept()
        wait_for(lambda: set(kept.values()) <= set(applied_event_ids(tmp_path / "server")), "the server has everything")
        host.stop()
    finally:
        ended(host)
    applied = applied_event_ids(tmp_path / "server")
    assert len(applied) == len(set(applied))
    host.is_kept_once()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("peer", ["", "server", "silent"], ids=["alone", "server", "silent"])
def test_greenlets(peer: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What waits for a server must not keep every greenlet waiting."""
    catalog_in(tmp_path)
    ledger = Ledger(tmp_path / "ledger")
    arguments = [request.getfixturevalue(peer)] if peer else []
    assert end(start("greenlets", tmp_path, *arguments), 60.0) == (0, "", "")
    held = held_in(tmp_path / "store")
    assert ledger.of("refused") == []
    assert ledger.of("error") == []
    assert len(ledger.kept()) == 100 * 50
    assert held.ids == ledger.kept()
    assert held.doubled == []
    assert ledger.of("settled") == [["True", str(100 * 50 // 10)]]
    assert ledger.of("flushed") == [[str(peer == "server")]]
    assert float(ledger.of("tracked")[0][0]) <= 10.0
    assert float(ledger.of("closed")[0][0]) <= 1.5
