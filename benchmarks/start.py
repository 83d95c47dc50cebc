"""`start`: what an application pays before the first event: import, first decision, size on disk and in memory.

Every figure is of a fresh process with byte code already written. Owns the variants; peers' imports are printed beside.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.child import ROOT, ChildError, run_module
from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, ratio
from benchmarks.installed import device_mb
from benchmarks.machine import machine
from benchmarks.workload import decide_catalog, train_student

GOALS = (
    Goal("import_vs_bare_interpreter", at_most=1.3),
    Goal("client_import_vs_bare_interpreter", at_most=2.5),
    Goal("first_decision_ms", at_most=400),
    Goal("device_install_mb"),
    Goal("device_rss_mb"),
)
BARE = "bare interpreter"
OURS = "import reflexarc"
OURS_CLIENT = "from reflexarc import Client"
KEPT_EVENTS = 2_000


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("start", machine(), goals=GOALS, missing=peers.missing_peers())
    _imports(report, 7 if quick else 25)
    _first_decision(report, 3 if quick else 9, quick=quick)
    sizes = device_mb()
    report.ratios["device_install_mb"] = round(sum(sizes.values()), 1)
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    report.rows.append(Row("reflexarc[edge]", "installed", len(sizes), {f"{name}_mb": sizes[name] for name in largest}))
    return report


def _imports(report: Report, rounds: int) -> None:
    statements = {BARE: "pass", OURS: "import reflexarc", OURS_CLIENT: OURS_CLIENT}
    statements |= {f"import {m}": f"import {m}" for n, (m, _) in peers.PEERS.items() if n not in report.missing}
    for statement in statements.values():
        _python_ns(statement, 0)  # writes the byte code
    found = interleaved(rounds, {name: partial(_python_ns, statement) for name, statement in statements.items()})
    for name, taken_ns in found.items():
        report.rows.append(Row(name, "new process", rounds, latency_figures([taken_ns])))
    bare = statistics.median(found[BARE])
    report.ratios["import_vs_bare_interpreter"] = ratio(statistics.median(found[OURS]), bare)
    report.ratios["client_import_vs_bare_interpreter"] = ratio(statistics.median(found[OURS_CLIENT]), bare)


def _python_ns(statement: str, _: int) -> int:
    start = time.perf_counter_ns()
    process = subprocess.Popen([sys.executable, "-c", statement], cwd=ROOT, stderr=subprocess.DEVNULL)
    # Without a timeout: with one, the standard library polls in steps that double, and the steps are what one measures.
    status = process.wait()
    taken_ns = time.perf_counter_ns() - start
    if status != 0:
        raise ChildError(f"`{statement}` ended with {status}")
    return taken_ns


def _first_decision(report: Report, rounds: int, *, quick: bool) -> None:
    """From before the process is started to the decision in the caller's hand: on a new store, and on one in use."""
    with tempfile.TemporaryDirectory(prefix="reflexarc-start-") as made:
        folder = Path(made)
        train_student(folder / "student", quick=quick)
        (folder / "catalog.json").write_bytes(decide_catalog(fires=True).to_bytes())

        def child(store: str, more: int) -> dict[str, Any]:
            given = {"folder": str(folder / store), "catalog": str(folder / "catalog.json"),
                     "student": str(folder / "student"), "now": int(time.time() * 1000), "more": more}  # fmt: skip
            found = run_module("benchmarks.start_child", [json.dumps(given)])
            if not found["accepted"] or not found["decisions"]:
                raise ChildError(f"the first event was not decided: {found}")
            return found

        child("used", KEPT_EVENTS)
        found = interleaved(
            rounds,
            {"new store": lambda number: child(f"new-{number}", 0), f"store of {KEPT_EVENTS} events": lambda _: child("used", 0)},
        )
    for name, results in found.items():
        figures = {
            step: round(statistics.median(one[step] for one in results), 1)
            for step in ("began_ms", "imported_ms", "opened_ms", "decided_ms")
        }
        figures["rss_mb"] = round(statistics.median(one["rss_bytes"] for one in results) / 2**20, 1)
        report.rows.append(Row("reflexarc", f"first decision, {name}", rounds, {**figures, "loaded": results[0]["loaded"]}))
        if name == "new store":
            report.ratios["first_decision_ms"] = figures["decided_ms"]
            report.ratios["device_rss_mb"] = figures["rss_mb"]
