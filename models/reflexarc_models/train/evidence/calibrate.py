"""From codes and labels to the score grid, the segments and their counts.

Owns the calibration of codes, a sigmoid or a beta curve, and the ranking measures. Must never let a label choose a segment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.tables import floor_to_grid, segment_counts, segment_starts

MARGIN_MAX = 500.0
"""Log-odds beyond which the probability is 0 or 1 to the last bit, and its exponential would overflow."""
SLOPE_MIN = 1e-3
"""Calibration may flatten a model that ranks the wrong way, never turn it round."""
BENT_PARTS = 5
BENT_LABELS_MIN = 50
BENT_ERRORS = 1.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Tables of one form, and whether the sigmoid had to be held flat (the model ranks no better than
    chance).
    """

    score_grid: tuple[int, ...]
    segment_starts: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]
    is_flat: bool


def calibrate(codes: Sequence[int], labels: NDArray[np.int8], logit_of_code: NDArray[np.float64]) -> Calibration:
    """Tables from the calibration rows (one per subject). logit_of_code: ascending, one per code.

    The curve is a sigmoid, or a beta curve where that is clearly better on rows it was not fitted on (`_is_bent`).
    """
    starts = segment_starts(codes, len(logit_of_code))
    logits = logit_of_code[np.asarray(codes)]
    slope, intercept = fit_sigmoid(logits, labels)
    flat = slope < SLOPE_MIN
    if flat:
        slope = SLOPE_MIN
        base = float(np.clip(labels.mean(), 1e-4, 1 - 1e-4))
        intercept = float(np.log(base / (1 - base)) - slope * logits.mean())
    margins = slope * logit_of_code + intercept
    if not flat and _is_bent(logits, labels):
        margins = fit_beta(logits, labels)(logit_of_code)
    probabilities = 1.0 / (1.0 + np.exp(-np.clip(margins, -MARGIN_MAX, MARGIN_MAX)))
    grid = np.maximum.accumulate([floor_to_grid(float(p)) for p in probabilities])
    return Calibration(tuple(int(g) for g in grid), starts, segment_counts(starts, codes, labels.tolist()), flat)


def calibrate_as(
    codes: Sequence[int],
    labels: NDArray[np.int8],
    shown: Sequence[int],
    grids: NDArray[np.int64],
    like: Calibration,
    code_count: int,
    lines: Iterable[float] = (),
) -> Calibration:
    """Tables of a model that imitates a calibrated one: a code's score is what that one says of its rows, on average and rising.

    codes, labels: of the calibration rows, which give the segments. shown, grids: codes of many rows and the other model's scores
    of them in 1/GRID, no labels. Fitted to the same few labels by itself, it would differ from the other by the luck of two fits.
    Codes that no row was shown of are between their neighbours. lines: at these, a code lies on the side that leaves the fewest
    rows on another side than the other model has them; the average alone draws the far ones in.
    """
    from sklearn.isotonic import IsotonicRegression

    at = np.asarray(shown)
    curve = IsotonicRegression(out_of_bounds="clip").fit(at, grids / GRID).predict(np.arange(code_count))
    grid = np.maximum.accumulate([floor_to_grid(float(share)) for share in curve])
    for line in lines:
        grid = _parted(grid, at, grids / GRID > line, line)
    starts = segment_starts(codes, code_count)
    return Calibration(tuple(int(g) for g in grid), starts, segment_counts(starts, codes, labels.tolist()), like.is_flat)


def _parted(grid: NDArray[np.int64], codes: NDArray[Any], is_over: NDArray[np.bool_], line: float) -> NDArray[np.int64]:
    """The rising `grid` with the codes over `line` from where on the fewest rows are on the wrong side of it."""
    if is_over.all() or not is_over.any():
        return grid
    over, under = (np.bincount(codes[side], minlength=len(grid)) for side in (is_over, ~is_over))
    # By the first code that is over the line: those over it that lie below, and those under it that do not.
    wrong = np.append(0, over.cumsum()) + np.append(under[::-1].cumsum()[::-1], 0)
    now = int(np.searchsorted(grid / GRID, line, side="right"))
    best = np.flatnonzero(wrong == wrong.min())
    first = int(best[np.abs(best - now).argmin()])
    highest = int(np.floor(line * GRID))
    return np.concatenate([np.minimum(grid[:first], highest), np.maximum(grid[first:], highest + 1)])


def fit_beta(logits: NDArray[np.float64], labels: NDArray[np.int8]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Log-odds to calibrated log-odds: a ln s - b ln(1 - s) + c with a, b >= 0 and s the given probability.

    Rises wherever it bends. Source: Kull, Silva Filho and Flach (2017), Beta calibration; a negative weight is set to 0 and
    the other fitted again, as there.
    """
    columns = _beta_inputs(logits)
    weights = _logistic(columns, labels)
    for place in (0, 1):
        if weights[place] < 0:
            weights = np.insert(_logistic(columns[:, [1 - place]], labels), place, 0.0)
            weights[:2] = np.maximum(weights[:2], 0.0)
            break
    return lambda given: np.asarray(_beta_inputs(given) @ weights[:2] + weights[2])


def _beta_inputs(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(ln s, -ln(1 - s)) of log-odds, without ever forming s."""
    return np.column_stack([-np.logaddexp(0.0, -logits), np.logaddexp(0.0, logits)])


def _logistic(columns: NDArray[np.float64], labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """(weights, intercept) by Newton's method with a little ridge, halving a step that does not help."""
    x = np.column_stack([columns, np.ones(len(columns))])
    ridge = np.full(x.shape[1], 1e-3)
    ridge[-1] = 1e-9
    found = np.zeros(x.shape[1])

    def loss(at: NDArray[np.float64]) -> float:
        margin = x @ at
        return float(np.sum(np.logaddexp(0.0, margin) - labels * margin) + 0.5 * np.dot(ridge, at * at))

    held = loss(found)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ found, -35, 35)))
        weight = p * (1.0 - p) + 1e-12
        move = np.linalg.solve((x * weight[:, None]).T @ x + np.diag(ridge), x.T @ (p - labels) + ridge * found)
        size = 1.0
        while size > 1e-6 and loss(found - size * move) > held:
            size /= 2
        found = found - size * move
        now = loss(found)
        if held - now < 1e-10 * max(1.0, held):
            break
        held = now
    return found


def _is_bent(logits: NDArray[np.float64], labels: NDArray[np.int8]) -> bool:
    """Whether the beta curve beats the sigmoid by more than BENT_ERRORS standard errors of the log loss, on rows of BENT_PARTS
    parts that the curves were not fitted on.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < BENT_LABELS_MIN:
        return False
    part = np.zeros(len(labels), dtype=np.int64)
    for side in (0, 1):
        of_side = np.flatnonzero(labels == side)
        part[of_side] = np.arange(len(of_side)) % BENT_PARTS
    gaps = np.zeros(len(labels))
    for number in range(BENT_PARTS):
        out = part == number
        slope, intercept = fit_sigmoid(logits[~out], labels[~out])
        straight, bent = slope * logits[out] + intercept, fit_beta(logits[~out], labels[~out])(logits[out])
        gaps[out] = np.logaddexp(0.0, straight) - np.logaddexp(0.0, bent) - labels[out] * (straight - bent)
    return bool(gaps.mean() > BENT_ERRORS * gaps.std() / np.sqrt(len(gaps)))


def fit_sigmoid(logits: NDArray[np.float64], labels: NDArray[np.int8]) -> tuple[float, float]:
    """(slope, intercept) of the logistic fit on one variable by Newton's method, with Platt's softened
    targets.

    Source: Platt (1999); Lin, Lin and Weng (2007) for the targets and the safeguarded step.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    high, low = (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0)
    target = np.where(labels == 1, high, low)
    centre, spread = float(logits.mean()), float(logits.std()) or 1.0
    z = (logits - centre) / spread
    a, b = 0.0, float(np.log((positives + 1.0) / (negatives + 1.0)))

    def loss(slope: float, intercept: float) -> float:
        margin = slope * z + intercept
        return float(np.sum(np.logaddexp(0.0, margin) - target * margin))

    held = loss(a, b)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-(a * z + b)))
        gap, weight = p - target, p * (1.0 - p) + 1e-12
        gradient = np.array([np.dot(gap, z), gap.sum()])
        hessian = np.array([[np.dot(weight, z * z) + 1e-9, np.dot(weight, z)], [np.dot(weight, z), weight.sum() + 1e-9]])
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(a - size * move[0], b - size * move[1]) > held:
            size /= 2
        a, b = a - size * float(move[0]), b - size * float(move[1])
        now = loss(a, b)
        if held - now < 1e-10 * max(1.0, held):
            break
        held = now
    return a / spread, b - a * centre / spread


def area_under_curve(values: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    """ROC AUC with ties counted half (Mann-Whitney); 0.5 when a label is missing."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2.0)[inverse.reshape(-1)]
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def brier(grids: NDArray[np.int64], labels: NDArray[np.int8]) -> float:
    """Mean squared gap between score (in 1/GRID) and label."""
    return float(np.mean((grids / GRID - labels) ** 2))


def quantile_codes(codes: NDArray[np.int64], count: int = 64) -> list[int]:
    """Codes at the middles of `count` equal shares of the rows, ascending: a small picture of where moments
    fall.
    """
    ordered = np.sort(codes)
    return [int(ordered[int((i + 0.5) * len(ordered) / count)]) for i in range(count)]
