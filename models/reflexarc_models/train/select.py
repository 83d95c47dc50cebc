"""Which of many inputs a model is given: few enough to travel to a device, chosen by training rows alone.

Owns the choice. Must never look at a test or a calibration row.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.train.dataset import Dataset

INPUTS_MAX: Final = 20
INPUTS_MIN: Final = 4
IMPORTANCE_KEPT: Final = 0.985
ROWS_MAX: Final = 8_000
TREES: Final = 60


def strongest(dataset: Dataset, train: NDArray[np.int64], seed: int) -> Dataset:
    """The dataset with the inputs that carry IMPORTANCE_KEPT of a small forest's importance, at most INPUTS_MAX.

    Importance: mean decrease in impurity (Breiman, 2001) of a forest on at most ROWS_MAX training rows. The order of the
    inputs stays. Deterministic by `seed`.
    """
    from sklearn.ensemble import RandomForestClassifier

    if len(dataset.inputs) <= INPUTS_MIN:
        return dataset
    rows = train
    if len(rows) > ROWS_MAX:
        rows = np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))
    seen = dataset.x[rows]
    highest = np.nanmax(np.where(np.isfinite(seen), seen, -1e30), axis=0)
    filled = np.where(np.isnan(seen), highest + 1.0, seen).astype(np.float32)
    small = RandomForestClassifier(
        n_estimators=TREES, min_samples_leaf=max(5, len(rows) // 200), max_features=0.5, n_jobs=1, random_state=seed
    ).fit(filled, dataset.y[rows])
    order = np.argsort(-small.feature_importances_, kind="stable")
    carried = np.cumsum(small.feature_importances_[order])
    count = int(np.searchsorted(carried, IMPORTANCE_KEPT)) + 1
    kept = np.sort(order[: min(max(count, INPUTS_MIN), INPUTS_MAX)])
    return Dataset(
        inputs=tuple(dataset.inputs[place] for place in kept), x=dataset.x[:, kept], y=dataset.y, subjects=dataset.subjects,
        score_time=dataset.score_time, recency_days=dataset.recency_days, horizon_ms=dataset.horizon_ms,
    )  # fmt: skip
