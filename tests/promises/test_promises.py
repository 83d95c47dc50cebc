"""Every promise of the device's store at the figure of a pull request. `make test-soak` runs the same at night's figures."""

from __future__ import annotations

import pytest

from tests.promises.halves import OTHER_SEED, in_two
from tests.promises.outcome import Outcome, Promise, table
from tests.promises.promised import PROMISES


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: f"{promise.number}-{promise.of.replace(' ', '-')}")
def test_a_promise_is_kept(promise: Promise) -> None:
    outcome = promise.run(promise.pr, promise.seed)
    assert outcome.is_kept, f"promise {promise.number} ({promise.what}), seed {promise.seed}: {outcome}"


def test_two_halves_are_one_outcome() -> None:
    ours = Outcome(3, 1, 0, {"kills": 2, "slowest s": 0.5}, ["a"])
    theirs = Outcome(2, 0, 1, {"kills": 3, "slowest s": 0.9}, ["b"])
    assert ours + theirs == Outcome(5, 1, 1, {"kills": 5, "slowest s": 0.9}, ["a", "b"])


def test_a_second_process_that_says_nothing_breaks_the_promise() -> None:
    assert not in_two(_fails_next_door)(4, 1).is_kept


def _fails_next_door(count: int, seed: int) -> Outcome:
    if seed > OTHER_SEED:
        raise RuntimeError("next door")
    return Outcome(count)


def test_the_table_says_what_broke() -> None:
    promise = PROMISES[0]
    kept, broken = Outcome(200), Outcome(200, lost=1, wrong=["seed 1: gone"])
    text = table([(promise, 200, 1, kept, 2.0), (promise, 200, 2, broken, 2.0)])
    assert text.count("kept") == 1
    assert text.count("BROKEN (1)") == 1
