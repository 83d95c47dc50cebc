"""Promise 16: hostile bytes break nothing. REFLEXARC_FUZZ_S seconds a target (10 by default), guided by coverage."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import targets

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("REFLEXARC_FUZZ_S", "10"))
RUNS_MIN = 50


@pytest.mark.skipif(sys.platform != "linux" or sys.version_info >= (3, 14), reason="the fuzzer has no wheel here")
@pytest.mark.parametrize("group", targets.groups())
def test_hostile_bytes_break_nothing(group: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz", group, str(SECONDS)],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)},  # the fuzzer ends without cleaning up
        capture_output=True, text=True, errors="replace", timeout=SECONDS + 120, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    runs = re.search(r"Done (\d+) runs", said)
    assert runs is not None, said[-2_000:]
    assert int(runs[1]) >= RUNS_MIN


def test_every_call_is_fuzzed() -> None:
    fuzzed = [name for members in targets.groups().values() for name in members]
    assert len(fuzzed) == len(set(fuzzed))
    assert set(targets.call_names()) <= set(fuzzed)


def test_a_target_that_breaks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of the above would hold of a fuzzer that looks away."""
    from reflexarc_server.ingest import Ingest

    monkeypatch.setattr(Ingest, "take", lambda *_: 1 // 0)
    with targets.opened("EventService/Push") as (target, seeds), pytest.raises(targets.Broken, match="UNKNOWN"):
        target(seeds[0])
