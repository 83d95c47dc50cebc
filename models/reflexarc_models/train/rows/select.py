"""Which of many inputs a model is given: few enough to travel to a device, chosen by training rows alone.

Owns the choice. Must never look at a test or a calibration row.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.train.rows.dataset import Dataset

INPUTS_MAX: Final = 12
INPUTS_MIN: Final = 4
NAME_BYTES_MAX: Final = 190
"""Names of all inputs together: a manifest holds each twice, and it is downloaded."""
IMPORTANCE_KEPT: Final = 0.99
SAME_RANKS: Final = 0.97
ROWS_MAX: Final = 8_000
TREES: Final = 60


def strongest(dataset: Dataset, train: NDArray[np.int64], seed: int) -> Dataset:
    """The dataset with the inputs that carry IMPORTANCE_KEPT of a small forest's importance, at most INPUTS_MAX of
    NAME_BYTES_MAX together.

    Importance: mean decrease in impurity (Breiman, 2001) of a forest on at most ROWS_MAX training rows. Of inputs that order
    the rows alike (rank correlation over SAME_RANKS) the most important one stays and takes the others' weight: the forest is
    fitted once more without them. The order of the inputs stays. Deterministic by `seed`.
    """
    if len(dataset.inputs) <= INPUTS_MIN:
        return dataset
    rows = train
    if len(rows) > ROWS_MAX:
        rows = np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))
    seen, labels = dataset.x[rows], dataset.y[rows]
    highest = np.nanmax(np.where(np.isfinite(seen), seen, -1e30), axis=0)
    filled = np.where(np.isnan(seen), highest + 1.0, seen).astype(np.float32)
    apart = _apart(filled, np.argsort(-_importances(filled, labels, seed), kind="stable"))
    weights = _importances(filled[:, apart], labels, seed)
    order = np.argsort(-weights, kind="stable")
    count = int(np.searchsorted(np.cumsum(weights[order]), IMPORTANCE_KEPT)) + 1
    chosen = apart[order[: min(max(count, INPUTS_MIN), INPUTS_MAX)]]
    lengths = np.cumsum([len(dataset.inputs[place].encode()) for place in chosen])
    kept = np.sort(chosen[(lengths <= NAME_BYTES_MAX) | (np.arange(len(chosen)) < INPUTS_MIN)])
    return Dataset(
        inputs=tuple(dataset.inputs[place] for place in kept), x=dataset.x[:, kept], y=dataset.y, subjects=dataset.subjects,
        score_time=dataset.score_time, recency_days=dataset.recency_days, horizon_ms=dataset.horizon_ms,
    )  # fmt: skip


def _importances(x: NDArray[np.float32], labels: NDArray[np.int8], seed: int) -> NDArray[np.float64]:
    from sklearn.ensemble import RandomForestClassifier

    small: Any = RandomForestClassifier(
        n_estimators=TREES, min_samples_leaf=max(5, len(x) // 200), max_features=0.5, n_jobs=1, random_state=seed
    ).fit(x, labels)
    return np.asarray(small.feature_importances_, dtype=np.float64)


def _apart(x: NDArray[np.float32], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of `order`, the inputs that no earlier one says already."""
    ranks = np.empty(x.shape)
    for place in range(x.shape[1]):  # equal values, equal ranks
        _, inverse, counts = np.unique(x[:, place], return_inverse=True, return_counts=True)
        ranks[:, place] = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse.reshape(-1)]
    ranks -= ranks.mean(axis=0)
    lengths = np.sqrt((ranks**2).sum(axis=0)) + 1e-12
    kept: list[int] = []
    for place in order.tolist():
        alike = np.abs(ranks[:, kept].T @ ranks[:, place]) / (lengths[kept] * lengths[place])
        if not kept or alike.max() <= SAME_RANKS:
            kept.append(place)
    return np.array(kept, dtype=np.intp)
