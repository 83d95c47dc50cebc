"""`http`: the intake over HTTP, beside an empty route on the same uvicorn that reads the same body.

Owns the cases and what the ratio is taken of. Ours parses, checks, deduplicates and syncs every event to disk before it
answers, and its engine folds behind; the empty route answers `{}`. The load comes from wrk, one thread, every event's id its
own; how much of its core wrk used is printed, so that it can be seen which of the two was the limit. What a request costs in
processor time is printed too: on a busy machine that says more than the rate.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.child import ROOT
from benchmarks.frame import Goal, Report, Row, interleaved, ratio
from benchmarks.machine import machine

GOALS = (Goal("vs_bare_asgi", at_least=0.7),)
BARE, OURS = "bare ASGI", "reflexarc"
CONNECTIONS = 256
"""Enough that nobody waits for the disk alone: a group of requests is one sync."""
SIZES = (2, 20)
"""Events of a batch: what a page sends now and then, and a queue that was offline."""
MAIN = "batches of 2"
_SCRIPT = Path(__file__).with_name("http_load.lua")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_COUNT = re.compile(r"(\d+) requests in")
_LATENCY = re.compile(r"\s(50|99)%\s+([\d.]+)(us|ms|s)")
_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("http", machine(), goals=GOALS)
    if shutil.which("wrk") is None:
        report.missing["wrk"] = "it is not installed: make setup-e2e"
        return report
    rounds, seconds = (3, 3) if quick else (7, 5)
    with tempfile.TemporaryDirectory(prefix="reflexarc-http-") as made, contextlib.ExitStack() as stack:
        ports = {who: stack.enter_context(_served(who, Path(made))) for who in (BARE, OURS)}
        for size in SIZES:
            case = f"batches of {size}"
            for who in (BARE, OURS):  # once before it counts: connections, code and files are warm
                _load(ports[who], size, 2, f"w{size}")
            variants = {who: partial(_round, ports[who], size, seconds) for who in (BARE, OURS)}
            found = interleaved(rounds, variants)
            for who, results in found.items():
                report.rows.append(Row(who, case, sum(one["n"] for one in results), _figures(results)))
            rates = {who: statistics.median(one["rate"] for one in results) for who, results in found.items()}
            spent = {who: statistics.median(one["cpu_us"] for one in results) for who, results in found.items()}
            report.ratios[f"cpu_vs_bare_asgi_{size}"] = ratio(spent[BARE], spent[OURS])
            report.ratios["vs_bare_asgi" if case == MAIN else f"vs_bare_asgi_{size}"] = ratio(rates[OURS], rates[BARE])
        report.notes.append(_said(ports[OURS]))
    report.notes.append(
        "rates are of requests; wrk_cpu: the share of one core that the load took; cpu_us: the server's, a request"
    )
    return report


def _figures(results: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {
        name: round(statistics.median(one[name] for one in results), 2) for name in ("p50_us", "p99_us", "wrk_cpu", "cpu_us")
    }
    figures["rate"] = round(statistics.median(one["rate"] for one in results))
    figures["rate_rounds"] = [round(one["rate"]) for one in results]
    return figures


def _round(port: "Served", size: int, seconds: int, number: int) -> dict[str, Any]:
    done = _load(port, size, seconds, f"r{number}-{size}")
    port.settle()
    return done


def _load(port: "Served", size: int, seconds: int, prefix: str) -> dict[str, Any]:
    before, served_before = resource.getrusage(resource.RUSAGE_CHILDREN), port.cpu_s()
    begun = time.monotonic()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", "--timeout", "20s", "-s", str(_SCRIPT),
         f"http://127.0.0.1:{port.port}/e", "--", prefix, str(size)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    taken = time.monotonic() - begun
    after, served_s = resource.getrusage(resource.RUSAGE_CHILDREN), port.cpu_s() - served_before
    said = done.stdout
    rate, count = _RATE.search(said), _COUNT.search(said)
    if _BAD.search(said) or "Socket errors" in said or rate is None or count is None:
        raise RuntimeError(f"not every request was answered: {said[-400:]}")
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / taken
    latencies = {f"p{share}_us": float(value) * _US[unit] for share, value, unit in _LATENCY.findall(said)}
    return {"rate": float(rate[1]), "n": int(count[1]), "wrk_cpu": cpu, "cpu_us": served_s / int(count[1]) * 1e6, **latencies}


class Served:
    """A process that serves one of the two. port: where."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.port = port
        self._process = process

    def cpu_s(self) -> float:
        """Seconds of processor time that the process has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self) -> dict[str, Any]:
        """Wait until nothing is behind; what the process says of itself."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("settle\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said


def _said(served: Served) -> str:
    said = served.settle()
    return f"reflexarc stored {said['events']} events, {said['duplicates']} duplicates, {said['rejected']} rejected"


@contextlib.contextmanager
def _served(who: str, folder: Path) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_child", "bare" if who == BARE else "ours", str(folder / "data")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{who} did not start: {line}")
        yield Served(process, int(line))
    finally:
        process.kill()
        process.wait()
