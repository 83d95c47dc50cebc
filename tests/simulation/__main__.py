"""`python -m tests.simulation --seed N`: one run again, with its trace."""

from __future__ import annotations

import argparse
import sys

from tests.promises.kit import scratch
from tests.simulation.still import Broken
from tests.simulation.world import FAULTS, World


def main() -> int:
    """Run one seed. 0 when every checker held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--until", type=int, help="stop before this step, without healing")
    parser.add_argument("--without", default="", help=f"kinds of fault to leave out, comma-separated: {', '.join(FAULTS)}")
    parser.add_argument("--trace", action="store_true", help="print every step")
    given = parser.parse_args()
    without = frozenset(filter(None, given.without.split(",")))
    if without - set(FAULTS):
        parser.error(f"no such faults: {', '.join(sorted(without - set(FAULTS)))}")
    with scratch("simulation") as place:
        world = World(given.seed, place, without=without, trace=print if given.trace else None)
        try:
            world.run(given.steps, given.until)
            verdict = "every checker held"
        except Broken as broken:
            verdict = f"BROKEN at {broken}"
        print(f"seed {given.seed}, {given.steps} steps: {verdict}; {dict(world.counts)}; trace {world.digest[:16]}")
        return int(verdict.startswith("BROKEN"))


if __name__ == "__main__":
    sys.exit(main())
