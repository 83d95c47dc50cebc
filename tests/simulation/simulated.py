"""Exactly once, for a whole fleet: so many seeds, each a run of its own with every checker on."""

from __future__ import annotations

from tests.promises.kit import scratch
from tests.promises.outcome import Outcome
from tests.simulation.still import Broken
from tests.simulation.world import World

STEPS = 300


def run(count: int, seed: int) -> Outcome:
    """count runs, of the seeds from `seed` on."""
    outcome = Outcome(count)
    for one in range(seed, seed + count):
        with scratch("simulation") as place:
            world = World(one, place)
            try:
                world.run(STEPS)
            except Broken as broken:
                outcome.wrong.append(f"python -m tests.simulation --seed {one} --trace: {broken}")
            for name, figure in world.counts.items():
                outcome.add(name, figure)
    return outcome
