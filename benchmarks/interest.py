"""`interest`: content interest beside `implicit`: the quality of the factors, what int8 costs, and one live update.

Both learn from the same people and are judged by others: four fifths of what these had to do with are folded in, one
fifth is to be found (NDCG@100, all items ranked). Owns the goals and the report; the measuring is in `interest_child`.
With the MovieLens ratings of `REFLEXARC_DATA` where they are, else with a made-up audience, and it says which.
"""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.child import run_module
from benchmarks.frame import Goal, Report, Row, latency_figures, ratio
from benchmarks.machine import machine

GOALS = (
    Goal("ndcg_100_difference_low", at_least=-0.01),
    Goal("ndcg_100_difference"),
    Goal("int8_loss_ndcg_100", at_most=0.002),
    Goal("live_update_vs_implicit", at_most=0.6),
)
PEER = "implicit"
TIMEOUT_S = 3_600.0


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    if importlib.util.find_spec(PEER) is None:
        missing = {PEER: f"{PEER} is not installed: pip install -c constraints.txt -e '.[bench]'"}
        return Report("interest", machine(), goals=GOALS, missing=missing)
    report = Report("interest", machine(), goals=GOALS)
    file = Path(os.environ.get("REFLEXARC_DATA", "")) / "content_ml_latest_small" / "ratings.csv"
    given = str(file) if "REFLEXARC_DATA" in os.environ and file.is_file() else ""
    report.notes.append(f"data: {'MovieLens ml-latest-small' if given else 'a made-up audience (REFLEXARC_DATA is not set)'}")
    quality = _child({"what": "quality", "file": given, "splits": 2 if quick else 10, "quick": quick})
    live = _child({"what": "live", "file": given, "rounds": 3 if quick else 7})
    for who in ("reflexarc", PEER):
        w0, regulariser, dimension = quality["chosen"][who]
        figures = {
            "ndcg_100": round(quality["ndcg"][who], 5), "fit_s": round(quality["fit_s"][who], 3),
            "w0": w0, "regulariser": regulariser, "dimension": dimension,
        }  # fmt: skip
        report.rows.append(Row(who, "quality", quality["tested"], figures))
        report.rows.append(Row(who, "live update, next ten", sum(map(len, live["ns"][who])), latency_figures(live["ns"][who])))
    report.notes.append(
        f"NDCG@100 of reflexarc minus {PEER}: {quality['difference']:+.4f}, 95 % {quality['difference_low']:+.4f} to"
        f" {quality['difference_high']:+.4f} (bootstrap over {quality['people']:,} people, {quality['tested']:,} tests)"
    )
    ours, theirs = (report.row(who, "live update, next ten") for who in ("reflexarc", PEER))
    assert ours is not None and theirs is not None
    report.ratios = {
        "ndcg_100_difference_low": round(quality["difference_low"], 5),
        "ndcg_100_difference": round(quality["difference"], 5),
        "int8_loss_ndcg_100": round(quality["int8_loss"], 5),
        "live_update_vs_implicit": ratio(ours.figure("p50_us"), theirs.figure("p50_us")),
    }
    return report


def _child(given: dict[str, object]) -> dict[str, Any]:
    # One thread: a library with more threads than cores waits for itself.
    return run_module("benchmarks.interest_child", [json.dumps(given)], one_thread=True, timeout_s=TIMEOUT_S)
