"""From codes and labels to the score grid, the segments and their counts.

Owns the sigmoid calibration of codes and the ranking measures. Must never let a label choose a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.tables import floor_to_grid, segment_counts, segment_starts

SLOPE_MIN = 1e-3
"""Calibration may flatten a model that ranks the wrong way, never turn it round."""


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
    """Tables from the calibration rows (one per subject). logit_of_code: ascending, one per code."""
    starts = segment_starts(codes, len(logit_of_code))
    slope, intercept = fit_sigmoid(logit_of_code[np.asarray(codes)], labels)
    flat = slope < SLOPE_MIN
    if flat:
        slope = SLOPE_MIN
        base = float(np.clip(labels.mean(), 1e-4, 1 - 1e-4))
        intercept = float(np.log(base / (1 - base)) - slope * logit_of_code[np.asarray(codes)].mean())
    probabilities = 1.0 / (1.0 + np.exp(-(slope * logit_of_code + intercept)))
    grid = np.maximum.accumulate([floor_to_grid(float(p)) for p in probabilities])
    return Calibration(tuple(int(g) for g in grid), starts, segment_counts(starts, codes, labels.tolist()), flat)


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
