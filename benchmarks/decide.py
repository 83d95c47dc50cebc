"""`decide`: event in, decision out, durable; beside a peer's capture call alone.

Our side keeps the event, folds the shipped features, scores the churn student on it, evaluates 100 conditions and keeps
the decision, all before the call returns. The peer only queues the event in memory. Owns the cases: `decision` (one
trigger fires on every event), `decision, handler` (and its action is handed to a handler on another thread, marked in
the store before: once for every event, which no application does) and `no decision` (all 100 are false).
"""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.child import ChildError, run_module
from benchmarks.endpoint import endpoint
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, ratio
from benchmarks.machine import machine
from benchmarks.workload import decide_catalog, train_student

GOALS = (
    Goal("p50_vs_segment_track", at_most=1.0),
    Goal("p99_over_p50", at_most=5),
)
PEER = "segment"


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    missing = {name: why for name, why in peers.missing_peers().items() if name == PEER}
    report = Report("decide", machine(), goals=GOALS, missing=missing)
    n, rounds = (2_000, 2) if quick else (10_000, 5)
    with tempfile.TemporaryDirectory(prefix="reflexarc-decide-") as made, endpoint("up") as up:
        folder = Path(made)
        student = train_student(folder / "student", quick=quick)
        for fires in (True, False):
            (folder / f"fires-{fires}.json").write_bytes(decide_catalog(fires=fires).to_bytes())

        def ours(case: str, number: int) -> dict[str, Any]:
            fires = case != "no decision"
            given = {
                "folder": str(folder / f"{case}-{number}"),
                "catalog": str(folder / f"fires-{fires}.json"),
                "student": str(folder / "student"),
                "handler": case == "decision, handler",
                "n": n,
            }
            found = run_module("benchmarks.decide_child", [json.dumps(given)])
            if found["refused"] or found["scored"] < n or (fires and found["decided"] < n):
                shown = {key: value for key, value in found.items() if key != "ns"}
                raise ChildError(f"{case}: not every event was taken, scored and decided: {shown}")
            return found

        def theirs(_: int) -> dict[str, Any]:
            return run_module("benchmarks.capture_child", [
                json.dumps({"who": PEER, "ours": False, "case": "burst", "port": up.port, "n": n})
            ])  # fmt: skip

        variants = {case: partial(ours, case) for case in ("decision", "decision, handler", "no decision")}
        found = interleaved(rounds, variants | ({} if missing else {PEER: theirs}))
    for case, results in found.items():
        figures = latency_figures([one["ns"] for one in results], [one["rate"] for one in results])
        if case == PEER:
            report.rows.append(Row(PEER, "track() alone", n * rounds, figures))
        else:
            figures |= {name: sum(one[name] for one in results) for name in ("scored", "decided", "handled")}
            report.rows.append(Row("reflexarc", case, n * rounds, figures))
    report.notes.append(f"the student: {student.form}, {student.download_bytes:,} bytes, scored by the built-in walk")
    mine, peer = report.row("reflexarc", "decision"), report.row(PEER, "track() alone")
    assert mine is not None
    p50, p99 = mine.figure("p50_us"), mine.figure("p99_us")
    report.ratios["p50_vs_segment_track"] = ratio(p50, peer.figure("p50_us") if peer else None)
    report.ratios["p99_over_p50"] = ratio(p99, p50)
    report.ratios["p50_us"] = p50
    return report
