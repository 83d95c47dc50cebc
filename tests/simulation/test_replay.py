"""A seed is a run: the same twice over, in this process and in another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.simulation.world import FAULTS, World


def trace_of(seed: int, place: Path, steps: int, without: frozenset[str] | None = None) -> tuple[list[str], str]:
    lines: list[str] = []
    place.mkdir()
    world = World(seed, place, trace=lines.append) if without is None else World(seed, place, without=without, trace=lines.append)
    world.run(steps)
    return lines, world.digest


def test_a_seed_gives_the_same_run_twice(tmp_path: Path) -> None:
    first, digest = trace_of(7, tmp_path / "first", 200)
    second, again = trace_of(7, tmp_path / "second", 200)
    assert first == second
    assert digest == again
    assert trace_of(8, tmp_path / "other", 200)[1] != digest


def test_another_process_gives_the_same_run(tmp_path: Path) -> None:
    _, digest = trace_of(3, tmp_path / "here", 150)
    command = [sys.executable, "-m", "tests.simulation", "--seed", "3", "--steps", "150"]
    # Whatever order this process happens to keep its sets in.
    told = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "4242"}, capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"trace {digest[:16]}" in told.stdout


def test_a_kind_of_fault_can_be_left_out(tmp_path: Path) -> None:
    lines, _ = trace_of(5, tmp_path / "calm", 100, frozenset(FAULTS))
    assert not [line for line in lines if "killed" in line or "cut off" in line or "boots" in line or "backup" in line]
    assert [line for line in lines if "track" in line]
