"""Fresh processes to measure in: started, fed by arguments, answering with one JSON object on standard output.

Owns starting and ending them. A child that broke raises here with what it wrote to standard error.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STARTED = "REFLEXARC_BENCH_STARTED_NS"


class ChildError(RuntimeError):
    """A child process broke; the message holds the end of what it wrote."""


def environment() -> dict[str, str]:
    """The environment of a child: ours, with a stamp of its start (CLOCK_MONOTONIC is one for all processes)."""
    return {**os.environ, STARTED: str(time.monotonic_ns()), "PYTHONWARNINGS": "ignore"}


def since_start_ms() -> float:
    """In a child: milliseconds since its parent was about to start it."""
    return (time.monotonic_ns() - int(os.environ[STARTED])) / 1e6


ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_module(
    module: str, arguments: Sequence[str], *, killed: bool = False, one_thread: bool = False, timeout_s: float = 120
) -> dict[str, Any]:
    """Run `python -m module`, and give back the JSON object it printed last.

    one_thread: numeric libraries may not start threads of their own.
    killed: the child is expected to end itself by SIGKILL, and may print nothing. Raises ChildError otherwise.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT, env={**environment(), **(ONE_THREAD if one_thread else {})},
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    if done.returncode != (-9 if killed else 0):
        raise ChildError(f"{module} {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines and not killed:
        raise ChildError(f"{module} {' '.join(arguments)} printed no result: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found
