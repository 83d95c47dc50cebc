"""Promises that are proved by tests of their own, run again at night's figures.

Owns how such a run becomes an outcome: the tests decide, and their own failures are what was wrong.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final

from tests.promises.outcome import Outcome, Promise, Run

SECONDS_MAX: Final = 6 * 3_600.0


def sized(path: str, variable: str) -> Run:
    """One run of the tests at `path`; this variable of the environment says how much they try."""

    def run(count: int, seed: int) -> Outcome:
        outcome = Outcome(count)
        _run(outcome, path, {variable: str(count)})
        return outcome

    return run


def repeated(path: str, each: int) -> Run:
    """The tests at `path`, which try `each` of it, as often as it takes."""

    def run(count: int, seed: int) -> Outcome:
        outcome = Outcome(0)
        while outcome.runs < count and not outcome.wrong:
            _run(outcome, path, {})
            outcome.runs += each
        return outcome

    return run


def _run(outcome: Outcome, path: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rf", "-p", "no:cacheprovider", path]
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, timeout=SECONDS_MAX, check=False
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    outcome.add("tests passed", int(passed[1]) if passed else 0)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode:
        print(done.stdout)
        outcome.wrong += failed or [f"{path}: pytest ended with {done.returncode}"]


PROVED_BY_TESTS: Final = (
    # No promise of the store's either: the HTTP port under those who send slowly.
    Promise(101, "slow senders cost nobody anything", sized("tests/collect/test_connections.py", "REFLEXARC_SLOW"),
            300, 5_000, "connections"),
    Promise(2, "power cut loses nothing", sized("tests/power", "REFLEXARC_POWER_IMAGES"), 2_000, 50_000, "images"),
    Promise(12, "stopped server slows no call", sized("tests/processes/test_slow_server.py", "REFLEXARC_TRACK_CALLS"),
            100_000, 1_000_000, "calls"),
    Promise(21, "several processes, one store", sized("tests/processes/test_several.py", "REFLEXARC_PROCESSES_EVENTS"),
            5_000, 20_000, "events of each"),
    Promise(22, "forks", repeated("tests/processes/test_fork.py", 600), 600, 3_000, "forks"),
    Promise(23, "exits", repeated("tests/processes/test_exit.py", 60), 60, 1_000, "exits"),
)  # fmt: skip
