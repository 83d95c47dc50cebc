"""Confidence integers against an independent binomial, the bound they promise, and segments fixed without labels."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import GRID
from reflexarc_models.tables import (
    SEGMENT_ROWS_MIN,
    confidence_grid,
    confidence_table,
    segment_counts,
    segment_of,
    segment_starts,
)


@pytest.mark.parametrize("line", [0.05, 0.3, 0.5, 0.7, 0.8, 0.999])
@pytest.mark.parametrize("n", [1, 7, 200, 1500])
def test_confidence_is_one_minus_the_exact_p_value(n: int, line: float) -> None:
    for k in sorted({0, 1, n // 4, n // 2, round(n * line), n - 1, n}):
        expected = GRID * (1.0 - binom.sf(k - 1, n, line))
        got = confidence_grid(n, k, line)
        assert abs(got - math.floor(expected)) <= 1  # scipy rounds, we do not
        if abs(expected - round(expected)) > 1e-6:
            assert got == math.floor(expected)


def test_no_rows_or_no_positives_give_no_confidence() -> None:
    assert confidence_grid(0, 0, 0.7) == 0
    assert confidence_grid(500, 0, 0.7) == 0
    assert confidence_grid(500, 500, 0.7) == GRID - 1  # certain only to the grid: never 1


def test_large_segments_are_exact_and_quick() -> None:
    assert abs(confidence_grid(20_000, 14_100, 0.7) / GRID - (1 - binom.sf(14_099, 20_000, 0.7))) < 2 / GRID


@pytest.mark.parametrize("line", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_line_must_be_a_probability(line: float) -> None:
    with pytest.raises(DefinitionError):
        confidence_grid(10, 5, line)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 400),
    line=st.sampled_from([0.3, 0.5, 0.7, 0.8]),
    below=st.floats(0.01, 1.0),
    gate=st.sampled_from([0.7, 0.75, 0.8, 0.95]),
)
def test_a_segment_at_or_under_the_line_is_certified_with_at_most_one_minus_gate(
    n: int, line: float, below: float, gate: float
) -> None:
    """The promise itself, over every possible draw of the calibration rows, not a sample of them."""
    true_rate = line * below
    certified = sum(binom.pmf(k, n, true_rate) for k in range(n + 1) if confidence_grid(n, k, line) / GRID > gate)
    assert certified <= 1 - gate + 1e-9


@given(n=st.integers(1, 300), line=st.sampled_from([0.3, 0.7]))
@settings(max_examples=20, deadline=None)
def test_confidence_grows_with_the_positives(n: int, line: float) -> None:
    table = [confidence_grid(n, k, line) for k in range(n + 1)]
    assert table == sorted(table)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(0, 9_000), code_count=st.sampled_from([1, 16, 256]))
def test_segments_cover_all_codes_with_enough_rows_each(seed: int, rows: int, code_count: int) -> None:
    source = random.Random(seed)
    codes = [min(code_count - 1, int(source.expovariate(6 / code_count))) for _ in range(rows)]
    starts = segment_starts(codes, code_count)
    counts = segment_counts(starts, codes, [0] * rows)
    assert starts[0] == 0
    assert list(starts) == sorted(set(starts))
    assert sum(n for n, _ in counts) == rows
    if rows >= SEGMENT_ROWS_MIN:
        assert all(n >= SEGMENT_ROWS_MIN for n, _ in counts)
    else:
        assert starts == (0,)
    assert [segment_of(starts, start) for start in starts] == list(range(len(starts)))


def test_segments_are_filled_from_the_top() -> None:
    codes = [0] * 150 + [1] * 100 + [2] * 150 + [3] * 60
    assert segment_starts(codes, 4) == (0, 2)  # 210 rows in {2, 3}; the 250 below make the other
    assert segment_starts([0] * 10 + [3] * 250, 4) == (0,)  # a remainder joins the segment above it


def test_labels_do_not_move_segments() -> None:
    codes = [code for code in range(16) for _ in range(60)]
    starts = segment_starts(codes, 16)
    for labels in ([0] * 960, [1] * 960):
        assert len(segment_counts(starts, codes, labels)) == len(starts)
    assert confidence_table([(200, 180), (200, 100)], 0.7)[0] > confidence_table([(200, 180), (200, 100)], 0.7)[1]
