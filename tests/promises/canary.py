"""Promise 27: nothing of what a person gave is in a log, an error, a reason, a counter or a repr."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.conftest import ROOT
from tests.promises import kit
from tests.promises.outcome import Outcome


def run(count: int, seed: int) -> Outcome:
    """count runs of a host whose every value is a canary."""
    outcome = Outcome(count)
    for case in range(count):
        case_seed = seed * 100_000 + case
        with kit.scratch("canary") as place:
            out = place / "found"
            command = [sys.executable, "-X", "dev", "-W", "ignore", "-m", "tests.promises.canary_child", str(place / "store"),
                       str(case_seed), str(out)]  # fmt: skip
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, f"seed {case_seed}: {done.stderr[-3_000:]}"
            told = json.loads(out.read_text())
        outcome.wrong += [f"seed {case_seed}: {said!r} ({where})" for said, where in told["found"].items()]
        for name, text in (("stdout", done.stdout), ("stderr and the logs", done.stderr)):
            for made in sorted(set(re.findall(r"canary[0-9a-f]{16}", text))):
                line = next(line for line in text.splitlines() if made in line)
                outcome.wrong.append(f"seed {case_seed}: <{told['made'].get(made, 'model')}> on {name}: {line[:300]}")
        outcome.add("canaries", told["canaries"])
        outcome.add("things looked at", told["looked"])
    outcome.details["found"] = len(outcome.wrong)
    return outcome
