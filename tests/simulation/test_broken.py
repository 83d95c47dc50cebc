"""The checkers can fail: each planted fault is found, by the checker that should, within a stated number of seeds."""

from __future__ import annotations

import pytest

from tests.promises.kit import scratch
from tests.simulation.broken import FAULTS_PLANTED, Fault
from tests.simulation.still import Broken
from tests.simulation.world import World

STEPS = 300


def found_by(fault: Fault, seed: int) -> str:
    """What a checker said of this run, empty when none did."""
    with scratch("broken") as place, fault.within():
        try:
            World(seed, place, parts=fault.parts).run(STEPS)
        except Broken as broken:
            return str(broken)
        return ""


@pytest.mark.parametrize("fault", FAULTS_PLANTED, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_planted_fault_is_found(fault: Fault) -> None:
    said = []
    for seed in range(1, 1 + fault.seeds_max):
        said.append(found_by(fault, seed))
        if any(words in said[-1] for words in fault.says):
            return
    pytest.fail(f"{fault.name}: not found in {fault.seeds_max} seeds, only {said}")
