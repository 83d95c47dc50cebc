"""The integers between a model's code and a decision: score grid, segments, confidence tables.

Owns the exact arithmetic of confidence. Standard library only, no floats in the result: two hosts can never
disagree about a table. Must never see a label or a row, only the counts of a segment.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import GRID

SEGMENT_ROWS_MIN: Final = 200
SEGMENT_ROWS_MAX: Final = 20_000
SEGMENT_COUNT_MAX: Final = 32


def line_key(line: float) -> str:
    """How a line is named in a manifest: the shortest text that reads back as the same float."""
    return repr(float(line))


def confidence_grid(n: int, k: int, line: float) -> int:
    """floor(GRID * (1 - p)) with p = P(Binomial(n, line) >= k): the exact test of "the true rate is <= line".

    n: rows of the segment, k: positives among them, line: in (0, 1), taken as the decimal it is written as.
    Computed in integers (no rounding before the floor). Raises DefinitionError for a line outside (0, 1) and
    ValueError for impossible counts. Source: exact one-sided binomial test, Clopper and Pearson (1934).
    """
    if not 0.0 < line < 1.0:
        raise DefinitionError(f"line {line!r} is not a probability", hint="write a number between 0 and 1, like 0.7")
    if not 0 <= k <= n:
        raise ValueError(f"{k} positives of {n} rows")
    # 1 - p = P(X <= k - 1). Terms of (a + b)^n with line = a / (a + b), from whichever end is nearer.
    rate = Fraction(line_key(line))
    a, b = rate.numerator, rate.denominator - rate.numerator
    whole: int = rate.denominator**n
    below = _tail(n, k, a, b) if k <= n - k else whole - _tail(n, n - k + 1, b, a)
    return GRID * below // whole


def _tail(n: int, count: int, a: int, b: int) -> int:
    """Sum of C(n, i) a^i b^(n-i) for i in [0, count); every term follows exactly from the one before."""
    total: int = 0
    term: int = b**n
    for i in range(count):
        total += term
        term = term * ((n - i) * a) // ((i + 1) * b)
    return total


def segment_starts(codes: Sequence[int], code_count: int) -> tuple[int, ...]:
    """First code of each segment, ascending, the first always 0; fixed from codes alone, before a label is
    seen.

    codes: one per calibration row. Segments are filled from the top code down to at least SEGMENT_ROWS_MIN
    rows (more when there are many rows, so that at most about SEGMENT_COUNT_MAX segments arise); a remainder
    at the bottom joins the segment above it.
    """
    per_code = [0] * code_count
    for code in codes:
        per_code[code] += 1
    wanted = min(max(SEGMENT_ROWS_MIN, -(-len(codes) // SEGMENT_COUNT_MAX)), SEGMENT_ROWS_MAX)
    starts: list[int] = []
    held = 0
    for code in range(code_count - 1, -1, -1):
        held += per_code[code]
        if held >= wanted:
            starts.append(code)
            held = 0
    if not starts:
        return (0,)
    starts[-1] = 0  # the rows under the lowest full segment, if any, are part of it
    return tuple(reversed(starts))


def segment_of(starts: Sequence[int], code: int) -> int:
    """Index of the segment that holds `code`."""
    return bisect_right(starts, code) - 1


def segment_counts(starts: Sequence[int], codes: Sequence[int], labels: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(rows, positives) of each segment."""
    rows = [0] * len(starts)
    positives = [0] * len(starts)
    for code, label in zip(codes, labels, strict=True):
        place = segment_of(starts, code)
        rows[place] += 1
        positives[place] += 1 if label else 0
    return tuple(zip(rows, positives, strict=True))


def confidence_table(segments: Sequence[tuple[int, int]], line: float) -> tuple[int, ...]:
    """Confidence (in GRID units) per segment that its true rate is over `line`."""
    return tuple(confidence_grid(n, k, line) for n, k in segments)


def is_monotone(table: Sequence[int]) -> bool:
    """Whether the table never falls from one entry to the next."""
    return all(low <= high for low, high in itertools.pairwise(table))


def firing_codes(
    score_grid: Sequence[int],
    starts: Sequence[int],
    table: Sequence[int],
    line: float,
    confidence_min: float,
) -> list[bool]:
    """Per code, whether it passes both strict tests: score over the line, confidence over
    `confidence_min`.
    """
    return [
        grid / GRID > line and table[segment_of(starts, code)] / GRID > confidence_min for code, grid in enumerate(score_grid)
    ]


def floor_to_grid(probability: float) -> int:
    """floor(probability * GRID), clamped to [0, GRID]."""
    return max(0, min(GRID, int(probability * GRID)))
