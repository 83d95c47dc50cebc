"""The end of an interpreter is bounded, quiet, and loses nothing that was accepted (promise 23).

No exit waits for a server, a handler or a thread of ours. Measured from the moment the program is about to end until the
process is gone; what an interpreter needs that has loaded the same modules and opened no client is not ours.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc_server.app import start_server
from tests.processes import exits
from tests.processes.kit import ROOT, Ledger, catalog_in, end, held_in, start
from tests.server.kit import ManualClock, catalog

TURNS = 3
EXIT_S = 1.0 + 0.2
BUSY_S = 0.5
"""Granted on top, for a machine whose cores are taken."""

STATUS: dict[object, int] = {
    exits.calls_sys_exit: 3,
    exits.raises: 1,
    exits.is_terminated: -15,
    exits.is_interrupted: -2,
    exits.leaves_at_once: 3,
}

_BARE = """
import sys, time
import reflexarc.standing, grpc
print(time.monotonic(), flush=True)
"""


@pytest.fixture(scope="module")
def bare_s() -> float:
    """Seconds that an interpreter with our modules and no client needs to end."""
    took = []
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", _BARE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        started = float(process.stdout.readline())
        process.wait(20)
        took.append(time.monotonic() - started)
        process.stdout.close()
    return statistics.median(took)


@pytest.fixture
def blackhole() -> Iterator[str]:
    """A socket that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def absent() -> str:
    """Where nobody listens."""
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{once.getsockname()[1]}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A real server."""
    server = start_server(tmp_path / "server", "127.0.0.1:0", catalog(), ManualClock(), insecure=True)
    yield server.address
    server.stop()


def exit_of(way: object, folder: Path, *server: str) -> float:
    """One exit: as it should be, and how long it took."""
    name: str = way.__name__  # type: ignore[attr-defined]
    folder.mkdir(exist_ok=True)
    catalog_in(folder)
    ledger = Ledger(folder / "ledger")
    process = start("exits", name, folder, *server)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30.0)
    ended = time.monotonic()
    status, output, errors = end(process, 1.0)
    assert (status, output) == (STATUS.get(way, 0), "")
    if way is exits.raises:
        assert errors.splitlines()[-1] == "RuntimeError: the application's own fault"
        assert errors.count("Traceback") == 1
    elif way is exits.is_interrupted:
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert errors.count("Traceback") == 1
    else:
        assert errors == ""
    assert ledger.of("refused") == []
    ((moment,),) = ledger.of("ends")
    return ended - float(moment)


def keeps_all(folder: Path) -> None:
    """Every accepted event is there at the next start."""
    held = held_in(folder / "store")
    assert held.lost(Ledger(folder / "ledger").kept()) == []
    assert held.doubled == []
    assert (held.losses, held.dead) == (0, 0)


def exits_of(way: object, folder: Path, *server: str) -> list[float]:
    """Several, each with a store of its own."""
    took_s = []
    for turn in range(TURNS):
        took_s.append(exit_of(way, folder / str(turn), *server))
        keeps_all(folder / str(turn))
    return took_s


def is_soon(way: object, took_s: list[float], bare_s: float) -> None:
    print(f"promise 23: {way.__name__}: s {[round(s, 3) for s in took_s]}, a bare interpreter {bare_s:.3f}")  # type: ignore[attr-defined]
    assert statistics.median(took_s) <= bare_s + EXIT_S
    assert max(took_s) <= bare_s + EXIT_S + BUSY_S


@pytest.mark.parametrize("way", exits.WAYS, ids=lambda way: way.__name__)
def test_an_exit(way: object, tmp_path: Path, bare_s: float) -> None:
    is_soon(way, exits_of(way, tmp_path), bare_s)


@pytest.mark.parametrize("server", ["blackhole", "absent", "served"])
@pytest.mark.parametrize("way", exits.SERVED, ids=lambda way: way.__name__)
def test_an_exit_waits_for_no_server(
    way: object, server: str, tmp_path: Path, bare_s: float, request: pytest.FixtureRequest
) -> None:
    address = request.getfixturevalue(server)
    is_soon(way, exits_of(way, tmp_path, address), bare_s)


def test_closing_at_the_wrong_moment_says_nothing_either(tmp_path: Path, served: str, bare_s: float) -> None:
    is_soon(exits.closes_while_it_connects, [exit_of(exits.closes_while_it_connects, tmp_path, served)], bare_s)
    keeps_all(tmp_path)


@pytest.mark.parametrize("way", exits.CAPTURING, ids=lambda way: way.__name__)
def test_an_exit_of_a_process_that_only_captures(way: object, tmp_path: Path, bare_s: float) -> None:
    with Client(tmp_path / "store", catalog=catalog_in(tmp_path)):
        is_soon(way, [exit_of(way, tmp_path)], bare_s)
    keeps_all(tmp_path)


def test_the_run_makes_sixty_exits() -> None:
    assert TURNS * (len(exits.WAYS) + 3 * len(exits.SERVED)) + len(exits.CAPTURING) >= 60
