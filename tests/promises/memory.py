"""Promise 25: a device that sees no server for days holds no more memory for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.promises import kit
from tests.promises.outcome import Outcome

RATE = 200.0
PR_BYTES_MAX = 2 * kit.MIB
SOAK_BYTES_MAX = 32 * kit.MIB
SOAK_FROM_S = 600
GROWTH_BYTES_MAX = 3 * kit.MIB
"""Of a run too short for a slope: what is still being filled (SQLite's cache, the interpreter's free lists) is not a leak."""
SLOPE_MIB_H_MAX = 1.0
QUEUED_MAX = 5_000


def run(count: int, seed: int) -> Outcome:
    """count seconds at RATE events a second. The samples go to the file that REFLEXARC_SOAK_OUT names."""
    is_soak = count >= SOAK_FROM_S
    bytes_max = SOAK_BYTES_MAX if is_soak else PR_BYTES_MAX
    outcome = Outcome(int(count * RATE))
    with kit.scratch("memory") as place:
        command = [sys.executable, "-m", "tests.promises.memory_child", str(place / "store"), str(count), str(RATE),
                   str(bytes_max), str(min(5.0, count / 40)), str(seed)]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=count * 2 + 120, check=False)
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-2_000:]}"
    *samples, end = [json.loads(line) for line in done.stdout.splitlines()]
    if os.environ.get("REFLEXARC_SOAK_OUT"):
        written = {"seed": seed, "rate": RATE, "bytes_max": bytes_max, "samples": samples, "end": end}
        Path(os.environ["REFLEXARC_SOAK_OUT"]).write_text(json.dumps(written))
    # The first third is warm-up: caches, the interpreter's own lists, the first snapshot.
    steady = [s for s in samples if s["s"] >= count / 3]
    slope = _slope(steady)
    growth = steady[-1]["rss"] - steady[0]["rss"]
    outcome.details |= {
        "RSS MiB": f"{samples[0]['rss'] / kit.MIB:.1f} -> {samples[-1]['rss'] / kit.MIB:.1f}",
        "slope MiB/h": f"{slope:.2f}" if is_soak else "too short",
        "growth KiB": growth // 1024,
        "evicted": sum(end["losses"].values()),
        "largest KiB": end["largest"] // 1024,
    }
    where = f"seed {seed}"
    if is_soak:
        outcome.check(slope < SLOPE_MIB_H_MAX, f"{where}: memory grows by {slope:.2f} MiB/h")
    else:
        outcome.check(growth < GROWTH_BYTES_MAX, f"{where}: memory grew by {growth / kit.MIB:.1f} MiB after the warm-up")
    for name in samples[0]["queued"]:
        most = max(sample["queued"][name] for sample in samples)
        outcome.check(most <= QUEUED_MAX, f"{where}: {most} {name} waited in memory")
        outcome.details[f"most {name}"] = most
    outcome.check(end["refused"] == 0, f"{where}: {end['refused']} events were refused")
    outcome.check(end["largest"] <= bytes_max + kit.MIB, f"{where}: the store grew to {end['largest']} bytes of {bytes_max}")
    outcome.check(set(end["losses"]) == {"evicted"}, f"{where}: losses {end['losses']}; the run is there to evict")
    outcome.lost = end["unnamed"]
    outcome.check(not outcome.lost, f"{where}: {end['unnamed']} numbers are nowhere and nothing says why")
    return outcome


def _slope(samples: list[dict[str, Any]]) -> float:
    """Of memory over time by least squares, MiB an hour."""
    xs = [sample["s"] / 3600 for sample in samples]
    ys = [sample["rss"] / kit.MIB for sample in samples]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return float(sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs))
