"""Slow and shapeless senders: they end, they cost nobody anything, and memory stays flat."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_server.app import Server
from tests.collect.kit import Page, started, view
from tests.server.kit import wait_for

SLOW = int(os.environ.get("REFLEXARC_SLOW", "300"))
"""Connections that never finish; the soak has 5,000."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = started(tmp_path / "server")
    yield server
    server.stop()


def connected(server: Server, sent: bytes = b"") -> socket.socket:
    assert server.http is not None
    host, _, port = server.http.address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(sent)
    return connection


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_slow_senders_end_and_nobody_else_waits(server: Server) -> None:
    assert server.http is not None
    watch = server.http.watch
    watch.head_s, watch.heads_max, watch.fresh_s = 2.0, SLOW // 5, 0.2
    begun = rss_mb()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(server, b"POST /e HTTP/1.1\r\nHost: x\r\nX-A: ")) for _ in range(SLOW)]
        page = Page(server)
        taken = time.monotonic()
        assert page.send(view("one"))[1]["verdicts"] == [["one", "stored"]]
        assert time.monotonic() - taken < 5
        wait_for(lambda: watch.ended_count >= SLOW)
        assert not watch.heads
        page.connection.close()
        for connection in slow[:3]:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    assert rss_mb() - begun < 60


def test_a_body_that_never_ends_is_given_up(server: Server) -> None:
    assert server.http is not None
    server.http.watch.body_s = 0.5
    with connected(server, b"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{") as connection:
        wait_for(lambda: server.http is not None and server.http.watch.ended_count == 1)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_endless_headers_are_refused(server: Server) -> None:
    with connected(server, b"POST /e HTTP/1.1\r\nHost: x\r\n") as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(40):
                connection.sendall(b"X-A: " + b"a" * 1_000 + b"\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(64).startswith(b"HTTP/1.1 431 ")


def test_a_large_body_behind_its_headers_is_no_header(server: Server) -> None:
    page = Page(server)
    assert page.send(*[view(f"v{number}") for number in range(400)])[0] == 200
    assert page.send(*[view(f"w{number}") for number in range(400)])[0] == 200
    page.connection.close()


def test_huge_bodies_are_refused_and_leave_no_memory(server: Server) -> None:
    begun = rss_mb()
    head = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n"
    for _ in range(20):
        with connected(server, head) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            assert connection.recv(64).startswith(b"HTTP/1.1 413 ")
            for _ in range(100):
                connection.sendall(b"x" * 65_536)
    assert rss_mb() - begun < 30


def test_stopping_answers_what_is_open(tmp_path: Path) -> None:
    """Whoever is in the middle of a request when the server stops has an answer, and what it says is true."""
    server = started(tmp_path / "server")
    told: list[tuple[int, str]] = []
    begun = threading.Barrier(5)

    def sending(number: int) -> None:
        page = Page(server, f"a{number}")
        begun.wait()
        for turn in range(1_000):
            try:
                status, said = page.send(view(f"{number}-{turn}"))
            except OSError:
                break
            except Exception:  # the connection was closed before this request was read
                break
            if status == 200:
                told.append((status, said["verdicts"][0][0]))
        page.connection.close()

    threads = [threading.Thread(target=sending, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    wait_for(lambda: len(told) > 20)
    server.stop()
    for thread in threads:
        thread.join()
    again = started(tmp_path / "server")
    rows = again.parts.store.ask("SELECT record_id FROM log WHERE kind = 1", ())
    again.stop()
    kept = [str(row[0]) for row in rows]
    assert len(set(kept)) == len(kept)
    assert {f"web:shop:{its_id}" for _, its_id in told} <= set(kept)
