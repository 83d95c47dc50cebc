"""A server that stopped in the middle of a sentence never slows the application, and gets everything later (promise 12)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

from reflexarc_server.log_reader import applied_event_ids
from tests.processes.kit import catalog_in, end, held_in, kill, start

CALLS: Final = int(os.environ.get("REFLEXARC_TRACK_CALLS", "100000"))
P99_MS: Final = 1.0
P999_MS: Final = 5.0
TRIES: Final = 2
"""A time is measured on a machine that others use: what was late once is asked again, once."""


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def measured(folder: Path, *, stopped: bool = True) -> dict[str, Any]:
    """Track beside a stopped server; what `track()` took. Nothing is lost, and all of it arrives once the server goes on.

    stopped: False for the same beside one that runs, to compare with.
    """
    folder.mkdir()
    catalog_in(folder)
    server = start("serve", folder / "server")
    try:
        app = start("slow", folder, line_of(server), CALLS)
        try:
            assert line_of(app) == "online"
            if stopped:
                os.kill(server.pid, signal.SIGSTOP)
            tell(app)
            found: dict[str, Any] = json.loads(line_of(app))
            os.kill(server.pid, signal.SIGCONT)
            tell(app)
            after = json.loads(line_of(app))
            assert end(app) == (0, "", "")
        finally:
            kill(app)
        os.kill(server.pid, signal.SIGCONT)
        assert end(server) == (0, "", "")
    finally:
        kill(server)
    assert (found["refused"], found["errors"]) == (0, [])
    assert after == {"flushed": True, "position": CALLS - 1}
    held = held_in(folder / "store")
    applied = applied_event_ids(folder / "server")
    assert len(applied) == len(set(applied)) == CALLS
    assert held.doubled == []
    return found


def test_a_stopped_server_slows_no_call(tmp_path: Path) -> None:
    for turn in range(TRIES):
        ms = measured(tmp_path / str(turn))["ms"]
        print(f"promise 12: {CALLS} calls beside a stopped server: ms {ms}")
        if ms["p99"] <= P99_MS and ms["p99.9"] <= P999_MS:
            return
    # A machine on which calls are as late beside a server that runs is what is slow, and no stopped server.
    running = measured(tmp_path / "running", stopped=False)["ms"]
    print(f"promise 12: {CALLS} calls beside a running server: ms {running}")
    assert ms["p99"] <= max(P99_MS, running["p99"])
    assert ms["p99.9"] <= max(P999_MS, running["p99.9"])
