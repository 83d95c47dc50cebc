"""`capture`: one call of ours beside one call of each peer.

Owns the cases and what the ratios are taken of: our side keeps every event durably in a catalog with nothing to decide
(`decide` measures the rest); the same with the whole shipped catalog is printed beside it. Peers run with their
defaults against a local endpoint.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.child import run_module
from benchmarks.endpoint import MODES, Endpoint, endpoint
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, ratio
from benchmarks.machine import machine
from benchmarks.server import ServerMissing, server
from benchmarks.workload import capture_catalog

GOALS = (
    Goal("burst_p50_vs_fastest_peer", at_most=0.25),
    Goal("burst_p99_vs_fastest_peer", at_most=0.167),
    Goal("paced_p99_vs_fastest_peer", at_most=0.5),
    Goal("lost_after_kill", at_most=0),
    Goal("rss_mb_per_100k_offline", at_most=1),
    Goal("dropped_offline", at_most=0),
)
OURS = "reflexarc"
OURS_WHOLE = "reflexarc, shipped catalog"
THREADS = 8
PACE = 1_000


@dataclass(slots=True)
class Bench:
    """One run: sizes, where things are, and the report that fills up."""

    report: Report
    folder: Path
    quick: bool
    peers: tuple[str, ...]
    catalogs: Mapping[str, str]
    stores: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def arguments(self, who: str, case: str, port: int, **more: object) -> dict[str, Any]:
        """What a child is told; every one of ours gets a store of its own."""
        ours = who not in self.peers
        given: dict[str, Any] = {"who": who, "case": case, "ours": ours, "port": port, **more}
        if ours:
            given |= {
                "folder": str(self.folder / f"store-{next(self.stores)}"),
                "catalog": self.catalogs[who],
                "server": f"127.0.0.1:{port}" if port else "",
            }
        return given

    def run_child(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """One child to its end."""
        killed = given["case"] == "kill"
        return run_module("benchmarks.capture_child", [json.dumps(given)], killed=killed)


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("capture", machine(), goals=GOALS, missing=peers.missing_peers())
    names = tuple(name for name in peers.PEERS if name not in report.missing)
    with tempfile.TemporaryDirectory(prefix="reflexarc-capture-") as made:
        folder = Path(made)
        only = folder / "capture.json"
        only.write_bytes(capture_catalog().to_bytes())
        bench = Bench(report, folder, quick, names, {OURS: str(only), OURS_WHOLE: str(_shipped(folder))})
        with contextlib.ExitStack() as stack:
            up = stack.enter_context(endpoint("up"))
            ours_up = _server_port(stack, bench)
            _latencies(bench, "burst", 2_000 if quick else 10_000, 2 if quick else 3, up, ours_up)
            _latencies(bench, "paced", 1_000 if quick else 3_000, 1 if quick else 3, up, ours_up)
            _kills(bench, ours_up)
            _memory(bench)
    for figure in ("p50", "p99"):
        _compare(report, f"burst_{figure}_vs_fastest_peer", "burst", f"{figure}_us", names)
    _compare(report, "paced_p99_vs_fastest_peer", "paced", "p99_us", names)
    report.notes.append("refused: what a library says it refused; opentelemetry drops past its queue without saying so")
    if quick:
        report.notes.append("quick: memory is measured over 20,000 events and scaled, which scales what is fixed as well")
    return report


def _latencies(bench: Bench, case: str, n: int, rounds: int, up: Endpoint, ours_up: int) -> None:
    def variant(who: str, _: int) -> dict[str, Any]:
        port = up.port if who in bench.peers else ours_up
        return bench.run_child(bench.arguments(who, case, port, n=n, rate=PACE))

    everyone = (*bench.catalogs, *bench.peers)
    found = interleaved(rounds, {who: partial(variant, who) for who in everyone})
    up.taken()
    for who, results in found.items():
        figures = latency_figures([one["ns"] for one in results], [one["rate"] for one in results])
        figures["refused"] = sum(one["refused"] for one in results)
        bench.report.rows.append(Row(who, case, n * rounds, figures))


def _kills(bench: Bench, ours_up: int) -> None:
    """SIGKILL after the last of n calls (ours: also in the middle of them), endpoint up, down and blackholed."""
    n = 2_000 if bench.quick else 10_000
    lost_in_all = 0
    for mode in MODES:
        with endpoint(mode) as peers_end:
            for middle in (False, True):
                port = ours_up if mode == "up" else peers_end.port
                accepted, lost = _kill_ours(bench, port, n, middle)
                lost_in_all += lost
                when = "while calling" if middle else "after the last call"
                bench.report.rows.append(Row(OURS, f"kill -9 {when}, {mode}", accepted, {"lost": lost}))
            for who in bench.peers if mode == "up" or not bench.quick else ():
                taken = len(_kill_child(bench, who, peers_end.port, n, False)[1])
                figures = {"lost": max(0, taken - peers_end.taken())}
                bench.report.rows.append(Row(who, f"kill -9 after the last call, {mode}", taken, figures))
    bench.report.ratios["lost_after_kill"] = lost_in_all


def _kill_child(bench: Bench, who: str, port: int, n: int, middle: bool) -> tuple[dict[str, Any], set[int]]:
    marks = bench.folder / f"marks-{next(bench.stores)}"
    marks.write_bytes(bytes(n))
    given = bench.arguments(
        who, "kill", port, n=n, threads=THREADS, marks=str(marks), kill_in_the_middle=middle, seed=7
    )  # fmt: skip
    bench.run_child(given)
    return given, {number for number, mark in enumerate(marks.read_bytes()) if mark}


def _kill_ours(bench: Bench, port: int, n: int, middle: bool) -> tuple[int, int]:
    """Accepted events, and those of them that the store does not hold."""
    from reflexarc_core.record import EventInput
    from reflexarc_edge.log import Log

    given, accepted = _kill_child(bench, OURS, port, n, middle)
    log = Log(Path(given["folder"]))
    kept = {record.event.source_position for _, record in log.records(0) if isinstance(record, EventInput)}
    log.close()
    return len(accepted), len(accepted - kept)


def _memory(bench: Bench) -> None:
    n = 20_000 if bench.quick else 100_000
    with endpoint("down") as down:
        for who in (OURS, *bench.peers):
            found = bench.run_child(bench.arguments(who, "memory", down.port, n=n))
            grown = round(found["rss_grown_bytes"] / 2**20 * 100_000 / n, 2)
            bench.report.rows.append(Row(who, "offline", n, {"rss_mb_per_100k": grown, "refused": found["refused"]}))
            if who == OURS:
                bench.report.ratios["rss_mb_per_100k_offline"] = grown
                bench.report.ratios["dropped_offline"] = found["refused"]


def _compare(report: Report, key: str, case: str, figure: str, names: tuple[str, ...]) -> None:
    ours = report.row(OURS, case)
    report.ratios[key] = ratio(ours.figure(figure) if ours else None, report.fastest(names, case, figure))


def _server_port(stack: contextlib.ExitStack, bench: Bench) -> int:
    """Our own server, live while ours is measured; 0, and a note, where it cannot run here."""
    try:
        return stack.enter_context(server(bench.folder / "server", Path(bench.catalogs[OURS_WHOLE])))
    except ServerMissing as error:
        bench.report.notes.append(f"ours ran without a server: {error}")
        return 0


def _shipped(folder: Path) -> Path:
    from reflexarc.definitions import load_catalog

    path = folder / "shipped.json"
    path.write_bytes(load_catalog(None).to_bytes())
    return path
