"""Settings of the heavy models, chosen inside the training rows: by subjects that the trial fits never saw.

Owns the trials and the rule of choice. Must never see a calibration or a test row.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.train.rows.split import subject_hash

HELD_SHARE: Final = 0.25
HELD_ROWS_MIN: Final = 50
TRIAL_ROWS_MAX: Final = 5_000
LEAF_ROWS_TRIED: Final = (10, 40, 160, 400)
DEPTHS_TRIED: Final = (2, 3, 4)
STAGE: Final = 10
"""Boosting is judged after every so many trees."""
LEARNING_RATE: Final = 0.05
SUBSAMPLE: Final = 0.7


def forest_leaf_rows(rows: NDArray[np.float32], y: NDArray[np.int8], subjects: NDArray[Any], leaves_max: int, seed: int) -> int:
    """The largest leaf size whose log loss on a quarter of the subjects is within one standard error of the least one's, by small
    forests: the smoothest forest that the rows do not speak against.
    """
    from sklearn.ensemble import RandomForestClassifier

    held = _held(rows, y, subjects)
    if held is None:
        return LEAF_ROWS_TRIED[1]
    tried: list[tuple[int, NDArray[np.float64]]] = []
    for leaf_rows in sorted(LEAF_ROWS_TRIED, reverse=True):
        small = RandomForestClassifier(
            n_estimators=40, min_samples_leaf=leaf_rows, max_leaf_nodes=leaves_max, n_jobs=1, random_state=seed
        ).fit(rows[~held], y[~held])
        tried.append((leaf_rows, _losses(small.predict_proba(rows[held])[:, 1], y[held])))
    return tried[_smallest_as_good([losses for _, losses in tried])][0]


def boosting_shape(
    rows: NDArray[np.float32], y: NDArray[np.int8], subjects: NDArray[Any], leaf_rows: int, trees_max: int, seed: int
) -> tuple[int, int]:
    """(depth, trees): the smallest boosting whose log loss on a quarter of the subjects is within one standard error of the
    least one's. A smaller model holds better where the world drifts, which held-out subjects of the same days cannot show.

    Trials see at most TRIAL_ROWS_MAX rows. Source of the rule: Breiman et al. (1984), Classification and Regression Trees.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    held = _held(rows, y, subjects)
    if held is None:
        return 3, trees_max
    fit = np.flatnonzero(~held)
    if len(fit) > TRIAL_ROWS_MAX:
        fit = np.sort(np.random.default_rng(seed).choice(fit, TRIAL_ROWS_MAX, replace=False))
        if len(np.unique(y[fit])) < 2:
            return 3, trees_max
    tried: list[tuple[int, int, NDArray[np.float64]]] = []
    for depth in DEPTHS_TRIED:
        trial = GradientBoostingClassifier(
            n_estimators=trees_max, max_depth=depth, learning_rate=LEARNING_RATE, subsample=SUBSAMPLE,
            min_samples_leaf=leaf_rows, random_state=seed,
        ).fit(rows[fit], y[fit])  # fmt: skip
        for count, stage in enumerate(trial.staged_predict_proba(rows[held]), 1):
            if count % STAGE == 0:
                tried.append((count, depth, _losses(stage[:, 1], y[held])))
    tried.sort(key=lambda one: (one[0] << one[1], one[0]))
    count, depth, _ = tried[_smallest_as_good([losses for _, _, losses in tried])]
    return depth, count


def _smallest_as_good(losses: list[NDArray[np.float64]]) -> int:
    """Of trials from the smallest model to the largest, the first that is within one standard error of the best: the error of
    the mean gap, row by row.
    """
    best = min(losses, key=lambda one: float(one.mean()))
    for place, one in enumerate(losses):
        gap = one - best
        if gap.mean() <= gap.std() / np.sqrt(len(gap)):
            return place
    return len(losses) - 1  # the best itself is always within


def _held(rows: NDArray[np.float32], y: NDArray[np.int8], subjects: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Rows of the subjects that judge; None where either side would say nothing."""
    held = subject_hash(subjects, "tune") < int(GRID * HELD_SHARE)
    if held.sum() < HELD_ROWS_MIN or len(np.unique(y[~held])) < 2:
        return None
    return held


def _losses(probabilities: NDArray[np.float64], y: NDArray[np.int8]) -> NDArray[np.float64]:
    p = np.clip(probabilities, 1e-3, 1 - 1e-3)
    return np.asarray(-np.where(y == 1, np.log(p), np.log(1 - p)))
