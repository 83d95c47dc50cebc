"""What a set of scores is worth: ranking, calibration and decisions, each with its source.

Owns the measures and their intervals. Must never fit anything nor see a model: scores and labels come in as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Z_95: Final = 1.959963984540054
BIN_COUNT: Final = 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval; the ends are NaN where there is too little to say."""

    value: float
    low: float
    high: float


def auc_interval(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> Interval:
    """ROC AUC (ties counted half) and its 95 % interval, drawn on the log-odds scale so that it stays inside (0, 1).

    Source: DeLong, DeLong and Clarke-Pearson (1988), by the mid-ranks of Sun and Xu (2014). NaN without both labels.
    """
    placements = _placements(scores, labels)
    if placements is None:
        return Interval(float("nan"), float("nan"), float("nan"))
    positive, negative = placements
    value = float(positive.mean())
    error = float(np.sqrt(_variance(positive) + _variance(negative)))
    if not 0.0 < value < 1.0:
        return Interval(value, float("nan"), float("nan"))
    centre, reach = np.log(value / (1 - value)), Z_95 * error / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-(centre + side * reach)))) for side in (-1, 1))
    return Interval(value, low, high)


def auc_difference(one: NDArray[np.float64], other: NDArray[np.float64], labels: NDArray[np.int8]) -> Interval:
    """AUC of `one` minus that of `other` over the same rows, paired, with its 95 % interval. Source: as `auc_interval`."""
    first, second = _placements(one, labels), _placements(other, labels)
    if first is None or second is None:
        return Interval(float("nan"), float("nan"), float("nan"))
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    value = float(first[0].mean() - second[0].mean())
    reach = Z_95 * float(np.sqrt(_variance(gaps[0]) + _variance(gaps[1])))
    return Interval(value, value - reach, value + reach)


def auc_gap(
    one: NDArray[np.float64], labels: NDArray[np.int8], other: NDArray[np.float64], other_labels: NDArray[np.int8]
) -> Interval:
    """AUC of `one` minus that of `other`, each by labels of its own, with its 95 % interval as of two samples. Source: as
    `auc_interval`.
    """
    first, second = _placements(one, labels), _placements(other, other_labels)
    if first is None or second is None:
        return Interval(float("nan"), float("nan"), float("nan"))
    value = float(first[0].mean() - second[0].mean())
    reach = Z_95 * float(np.sqrt(sum(_variance(part) for part in (*first, *second))))
    return Interval(value, value - reach, value + reach)


def average_precision(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    """Area under the precision-recall steps, equal scores taken together; NaN without a positive label."""
    curve = ranking(scores, labels)
    positives = int(labels.sum())
    if not positives:
        return float("nan")
    steps = np.diff(np.concatenate(([0], curve.hits))) / positives
    return float(np.sum(steps * curve.hits / curve.flagged))


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Cuts at every distinct score, from the highest down: rows flagged at it, and positives among them."""

    cuts: NDArray[np.float64]
    flagged: NDArray[np.int64]
    hits: NDArray[np.int64]


def ranking(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> Ranking:
    """The points that ROC and precision-recall curves are drawn from."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1) if len(ordered) else np.zeros(0, dtype=np.int64)
    return Ranking(ordered[ends], ends.astype(np.int64) + 1, np.cumsum(labels[order].astype(np.int64))[ends])


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of neighbouring scores: how many, their mean score, the share that was positive, and its 95 % interval."""

    rows: int
    score: float
    rate: float
    low: float
    high: float


def reliability(scores: NDArray[np.float64], labels: NDArray[np.int8], count: int = BIN_COUNT) -> list[Bin]:
    """Bins of about equal numbers of rows by score; equal scores are never parted. Intervals: Wilson (1927)."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, count + 1)[1:-1])) if len(scores) else np.zeros(0)
    place = np.searchsorted(edges, scores, side="left")
    found = []
    for number in range(len(edges) + 1):
        inside = place == number
        rows = int(inside.sum())
        if rows:
            hits = int(labels[inside].sum())
            low, high = wilson(hits, rows)
            found.append(Bin(rows, float(scores[inside].mean()), hits / rows, low, high))
    return found


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: mean gap between score and rate over the bins, by rows. Source: Naeini et al. (2015)."""
    rows = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.score - one.rate) for one in bins) / rows if rows else float("nan")


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """95 % score interval of a share; (0, 1) when there are no rows. Source: Wilson (1927)."""
    if not rows:
        return 0.0, 1.0
    share, square = hits / rows, Z_95**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    reach = Z_95 * np.sqrt(share * (1 - share) / rows + square / (4 * rows**2)) / (1 + square / rows)
    return max(0.0, min(share, float(centre - reach))), min(1.0, max(share, float(centre + reach)))


def flagged_report(flagged: NDArray[np.bool_], labels: NDArray[np.int8]) -> dict[str, Any]:
    """How many rows are flagged, which share of them is positive (None when none is), and which share of the positives."""
    count, hits, positives = int(flagged.sum()), int(labels[flagged].sum()), int(labels.sum())
    low, high = wilson(hits, count)
    return {
        "flagged": count,
        "hits": hits,
        "precision": hits / count if count else None,
        "precision_low": low if count else None,
        "precision_high": high if count else None,
        "recall": hits / positives if positives else None,
    }


def _placements(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Per positive the share of negatives under it, per negative the share of positives over it; ties count half."""
    high, low = scores[labels == 1], scores[labels == 0]
    if not len(high) or not len(low):
        return None
    sorted_low, sorted_high = np.sort(low), np.sort(high)
    under = np.searchsorted(sorted_low, high, "left") + np.searchsorted(sorted_low, high, "right")
    over = 2 * len(high) - np.searchsorted(sorted_high, low, "left") - np.searchsorted(sorted_high, low, "right")
    return under / (2 * len(low)), over / (2 * len(high))


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else float("nan")
