"""The certificate: a segment whose true rate is not over the line is certified in at most one calibration of five.

Enumerated exactly over every count a calibration can give, simulated through the whole way from codes to tables, and the price
of it: how often a segment that deserves the certificate gets it. All for the gate of 0.8, strict, on the integers hosts look up.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import comb, sqrt

import numpy as np
import pytest
from scipy.stats import binom

from reflexarc_core.model import GRID
from reflexarc_models.tables import confidence_grid, confidence_table, segment_counts, segment_starts

GATE = 0.8
LINES = (0.05, 0.3, 0.5, 0.7, 0.8, 0.95)
SMALL = tuple(range(1, 41))
LARGE = (60, 100, 200, 201, 350, 500, 1_000, 2_000, 3_500, 5_000)


@cache
def least_certified(n: int, line: float) -> int:
    """The least count of positives among n rows that is certified; n + 1 for none. Confidence grows with the count."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        if confidence_grid(n, middle, line) / GRID > GATE:
            high = middle
        else:
            low = middle + 1
    return low


def risks(line: float) -> list[Fraction]:
    """True rates at and under the line: the line itself, just under it, and a grid down to nothing."""
    exact = Fraction(repr(line))
    return [exact, exact - Fraction(1, 10**6), exact - Fraction(1, 200), *(exact * step / 20 for step in range(20))]


@pytest.mark.parametrize("line", LINES)
def test_small_segments_enumerated_in_fractions(line: float) -> None:
    """Every count by itself, not from the least certified one on: nothing is taken for granted of the table's shape."""
    for n in SMALL:
        certified = [k for k in range(n + 1) if confidence_grid(n, k, line) / GRID > GATE]
        for risk in risks(line):
            false = sum((comb(n, k) * risk**k * (1 - risk) ** (n - k) for k in certified), Fraction(0))
            assert false <= Fraction(1, 5), (n, risk)
        assert certified == list(range(least_certified(n, line), n + 1))


@pytest.mark.parametrize("line", LINES)
def test_large_segments_enumerated_up_to_five_thousand_rows(line: float) -> None:
    worst = 0.0
    for n in LARGE:
        least = least_certified(n, line)
        false = [float(binom.sf(least - 1, n, float(risk))) for risk in risks(line)]
        assert max(false) <= 0.2 + 1e-9, n
        assert false[0] == max(false), "the line itself is the worst case"
        worst = max(worst, false[0])
        # Not idle caution either: one positive less would break the promise or fall into the grid's last step.
        if least > 0:
            assert binom.sf(least - 2, n, line) > 0.2 - 2 / GRID
    assert worst > 0.15, "the promise is used, not only kept"


@pytest.mark.parametrize("line", [0.5, 0.7, 0.8])
def test_segments_that_deserve_it_get_it(line: float) -> None:
    """0.05 over the line with 500 rows: at least 85 in 100 calibrations certify them."""
    assert binom.sf(least_certified(500, line) - 1, 500, line + 0.05) >= 0.85


@pytest.mark.parametrize("line", [0.3, 0.7])
def test_simulated_from_codes_to_tables(line: float) -> None:
    """Worlds in which the true rate of every code is known: segments are drawn without labels, counted, tabled and judged."""
    seeded = np.random.default_rng(20261126)
    false = under = 0
    near_false = near = 0
    for _ in range(220):
        # The rate climbs to just around the line, so that most segments are not over it, and many by a hair.
        top = line + seeded.uniform(-0.04, 0.02)
        rate = np.clip(top * (1 - np.exp(-np.arange(256) / 60)) / (1 - np.exp(-255 / 60)), 0, 1)
        codes = np.minimum(255, (seeded.beta(2.0, 1.2, 2_400) * 256).astype(int))
        labels = (seeded.random(len(codes)) < rate[codes]).astype(int)
        starts = segment_starts(codes.tolist(), 256)
        counts = segment_counts(starts, codes.tolist(), labels.tolist())
        table = confidence_table(counts, line)
        place = np.searchsorted(starts, codes, side="right") - 1
        for segment in range(len(starts)):
            true_rate = rate[codes[place == segment]].mean()
            if true_rate <= line:
                certified = table[segment] / GRID > GATE
                under, false = under + 1, false + certified
                if true_rate > line - 0.01:
                    near, near_false = near + 1, near_false + certified
    assert near > 100
    assert false / under <= 0.2 + 3 * sqrt(0.2 * 0.8 / under)
    assert near_false / near <= 0.2 + 3 * sqrt(0.2 * 0.8 / near)
    assert near_false > 0, "worlds in which the certificate never errs prove nothing"
