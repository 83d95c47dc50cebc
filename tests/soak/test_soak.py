"""The promises at night's figures, in one table.

REFLEXARC_SOAK_SCALE multiplies every figure but the minutes of the memory run (0.01 for a look), REFLEXARC_SOAK_SEED is the
first seed, REFLEXARC_SOAK_MINUTES the length of the memory run, REFLEXARC_SOAK_OUT where its samples go,
REFLEXARC_SOAK_ONLY the numbers of the promises to run, comma-separated (100: the conditions, 101: slow senders over HTTP).
"""

from __future__ import annotations

import os
import time

from tests.build import differential
from tests.promises.halves import in_two
from tests.promises.outcome import Outcome, Promise, table
from tests.promises.promised import PROMISES
from tests.soak.by_tests import PROVED_BY_TESTS

SCALE = float(os.environ.get("REFLEXARC_SOAK_SCALE", "1"))
SEED = int(os.environ.get("REFLEXARC_SOAK_SEED", "1"))
MINUTES = float(os.environ.get("REFLEXARC_SOAK_MINUTES", "30"))
# No promise of the store's: a device means by a condition what CEL means by it.
CONDITIONS = Promise(100, "conditions mean what CEL does", in_two(differential.run), 100_000, 10_000_000, "evaluations")
ONLY = {int(number) for number in os.environ.get("REFLEXARC_SOAK_ONLY", "").split(",") if number}


def count_of(promise: Promise) -> int:
    """How many, as asked for."""
    return int(MINUTES * 60) if promise.number == 25 else max(1, int(promise.nightly * SCALE))


def test_the_promises_hold_through_the_night() -> None:
    rows: list[tuple[Promise, int, int, Outcome, float]] = []
    for promise in sorted((*PROMISES, *PROVED_BY_TESTS, CONDITIONS), key=lambda promise: promise.number):
        if ONLY and promise.number not in ONLY:
            continue
        started = time.monotonic()
        try:
            outcome = promise.run(count_of(promise), SEED)
        except Exception as error:  # one that cannot be proved must not hide the others
            outcome = Outcome(0, wrong=[f"{type(error).__name__}: {error}"])
        rows.append((promise, count_of(promise), SEED, outcome, time.monotonic() - started))
        print(f"\n{promise.number} {promise.what}: {outcome}", flush=True)
    print(f"\n{table(rows)}\n", flush=True)
    broken = [promise.number for promise, _, _, outcome, _ in rows if not outcome.is_kept]
    assert not broken, f"broken with seed {SEED}: promises {broken}"
