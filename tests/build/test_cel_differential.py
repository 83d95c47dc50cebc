"""Conditions on a device mean what they mean in the reference implementation, errors included.

`make test-soak` runs the same with a hundred times as many. Left out, and tested by hand: bytes with a NUL, which the
reference's Python binding cuts short, and times from text that is no literal, which no condition has.
"""

from __future__ import annotations

import os

from tests.build import differential
from tests.promises.halves import in_two

CASES = int(os.environ.get("REFLEXARC_CEL_CASES", "100000"))
SEED = int(os.environ.get("REFLEXARC_CEL_SEED", "20261124"))


def test_random_expressions_mean_on_the_device_what_they_mean_in_the_reference() -> None:
    outcome = in_two(differential.run)(CASES, SEED)
    assert outcome.is_kept, f"seed {SEED}: {outcome}"
    assert outcome.runs >= CASES
    found = {name: int(str(outcome.details.get(name, 0))) for name in ("errors", "values", "absorbed")}
    assert found["errors"] > CASES / 10, "the inputs no longer reach the error rules"
    assert found["values"] > CASES / 10, "the inputs no longer reach values"
    assert found["absorbed"] > CASES / 1000, "no error was absorbed, so absorption is not tested"
