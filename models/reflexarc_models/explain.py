"""Factors: exact Shapley values of a calibrated score against one stated reference row.

Owns the combination of the 2^F scores, and for more inputs than are combined the scaling of a forest's own values. Must never
choose the reference: the manifest states it. Source: Shapley (1953), with the value of a coalition = score of the row whose
other inputs are the reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Any, Final

from reflexarc_core.errors import ScoringError
from reflexarc_core.model import GRID

FACTOR_INPUT_COUNT_MAX: Final = 8
"""Inputs a device explains, in plain Python."""
COMPILED_INPUT_COUNT_MAX: Final = 16
"""Inputs that part a row from the reference and are explained exactly where the rows are scored by a compiled kernel."""


def factors(
    names: Sequence[str],
    vector: Sequence[float],
    reference: Sequence[float],
    grids_of: Callable[[Sequence[Sequence[float]]], Sequence[int]],
) -> tuple[tuple[str, float], ...]:
    """(input, contribution to the score) by falling size; they sum to score(vector) - score(reference).

    grids_of: scores of many rows, in units of 1/GRID. The sums are made in integers and divided once.
    Raises ScoringError over FACTOR_INPUT_COUNT_MAX inputs (2^F rows would be scored).
    """
    count = len(names)
    if count > FACTOR_INPUT_COUNT_MAX:
        raise ScoringError(
            f"factors of {count} inputs were asked for",
            hint=f"at most {FACTOR_INPUT_COUNT_MAX} inputs have factors",
        )
    rows = [
        [vector[place] if chosen >> place & 1 else reference[place] for place in range(count)] for chosen in range(1 << count)
    ]
    grids = grids_of(rows)
    weights = [factorial(size) * factorial(count - size - 1) for size in range(count)]
    whole = factorial(count) * GRID
    found = []
    for place, name in enumerate(names):
        bit = 1 << place
        total = sum(
            weights[chosen.bit_count()] * (grids[chosen | bit] - grids[chosen])
            for chosen in range(1 << count)
            if not chosen & bit
        )
        found.append((name, total / whole))
    return tuple(sorted(found, key=lambda item: -abs(item[1])))


def factors_by_array(
    names: Sequence[str], vector: Sequence[float], reference: Sequence[float], grids_of: Callable[[Any], Any]
) -> tuple[tuple[str, float], ...] | None:
    """As `factors`, by arrays; None where more than COMPILED_INPUT_COUNT_MAX inputs part the row from the reference.

    grids_of: scores int64 [n], in 1/GRID, of rows float64 [n, inputs]. An input that has the reference's value has no part in
    any coalition: it gets 0, and the others' values do not depend on it. Needs numpy. The sums are made in integers.
    """
    import numpy as np

    given, other = np.asarray(vector, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    parted = np.flatnonzero(given != other).tolist()
    count = len(parted)
    if count > COMPILED_INPUT_COUNT_MAX:
        return None
    found = dict.fromkeys(names, 0.0)
    if count:
        chosen = np.arange(1 << count)
        rows = np.tile(other, (1 << count, 1))
        sizes = np.zeros(1 << count, dtype=np.int64)
        for bit, place in enumerate(parted):
            holds = (chosen >> bit & 1).astype(np.bool_)
            rows[holds, place] = given[place]
            sizes += holds
        grids = np.asarray(grids_of(rows), dtype=np.int64)
        weights = [factorial(size) * factorial(count - size - 1) for size in range(count)]
        for bit, place in enumerate(parted):
            without = np.flatnonzero(chosen >> bit & 1 == 0)
            gains = np.zeros(count, dtype=np.int64)
            np.add.at(gains, sizes[without], grids[without | 1 << bit] - grids[without])
            total = sum(weight * gain for weight, gain in zip(weights, gains.tolist(), strict=True))
            found[names[place]] = total / (factorial(count) * GRID)
    return tuple(sorted(found.items(), key=lambda item: -abs(item[1])))


def scaled_factors(
    names: Sequence[str], raw: Sequence[float], grids: tuple[int, int], grid_per_raw: float
) -> tuple[tuple[str, float], ...]:
    """(input, contribution to the score) by falling size, for more inputs than are combined.

    raw: exact Shapley values of the forest's raw sum. They are what is exact here: the score is the raw sum bent by the
    calibration, and the score's difference is given to the inputs in proportion to them, so that the factors sum to
    score(vector) - score(reference). grids: both scores in 1/GRID. grid_per_raw: the slope to take where the raw sums are equal
    (the factors then sum to 0 as they must).
    """
    difference = sum(raw)
    bend = (grids[0] - grids[1]) / difference if abs(difference) > 1e-12 else grid_per_raw
    return tuple(
        sorted(((name, value * bend / GRID) for name, value in zip(names, raw, strict=True)), key=lambda one: -abs(one[1]))
    )
