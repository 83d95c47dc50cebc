"""Factors: exact Shapley values of a calibrated score against one stated reference row.

Owns the combination of the 2^F scores, and for more inputs than that allows the scaling of a forest's own values. Must never
choose the reference: the manifest states it. Source: Shapley (1953), with the value of a coalition = score of the row whose
other inputs are the reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial
from typing import Final

from reflexarc_core.errors import ScoringError
from reflexarc_core.model import GRID

FACTOR_INPUT_COUNT_MAX: Final = 8


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


def scaled_factors(
    names: Sequence[str], raw: Sequence[float], grids: tuple[int, int], grid_per_raw: float
) -> tuple[tuple[str, float], ...]:
    """(input, contribution to the score) by falling size, for more inputs than `factors` takes.

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
