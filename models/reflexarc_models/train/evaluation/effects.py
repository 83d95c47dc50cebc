"""What moves a model's scores: each input's share of the ranking, and how the mean score follows its value.

Owns both measures. They describe the model on these rows, not the world: an input that merely travels with a cause has an
effect here too. Must never fit anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.artifact import Artifact
from reflexarc_models.train.evaluation.worth import Part, scores_of
from reflexarc_models.train.evidence.calibrate import area_under_curve

ROWS_MAX: Final = 2_000
CURVE_ROWS: Final = 300
CURVE_POINTS: Final = 16
SHUFFLES: Final = 3


@dataclass(frozen=True, slots=True)
class Effect:
    """One input. auc_drop: AUC lost when its values are shuffled among the rows (mean of SHUFFLES). points: (value, mean score
    when every row had it), at quantiles of its values.
    """

    name: str
    auc_drop: float
    points: tuple[tuple[float, float], ...]


def effects(artifact: Artifact, part: Part, seed: int) -> list[Effect]:
    """Effects on the part's test rows, the strongest first. Permutation importance: Breiman (2001); partial dependence:
    Friedman (2001). Deterministic by `seed`.
    """
    random = np.random.default_rng(seed)
    test = part.split.test
    rows = test if len(test) <= ROWS_MAX else np.sort(random.choice(test, ROWS_MAX, replace=False))
    columns = [part.dataset.inputs.index(name) for name in artifact.inputs]
    x, y = part.dataset.x[rows][:, columns], part.dataset.y[rows]
    whole = area_under_curve(scores_of(artifact, x)[0], y)
    sample = x[random.permutation(len(x))[:CURVE_ROWS]]
    found = []
    for place, name in enumerate(artifact.inputs):
        drops = []
        for _ in range(SHUFFLES):
            moved = x.copy()
            moved[:, place] = random.permutation(moved[:, place])
            drops.append(whole - area_under_curve(scores_of(artifact, moved)[0], y))
        found.append(Effect(name, float(np.mean(drops)), _curve(artifact, sample, x[:, place], place)))
    return sorted(found, key=lambda one: -one.auc_drop)


def _curve(
    artifact: Artifact, sample: NDArray[np.float64], values: NDArray[np.float64], place: int
) -> tuple[tuple[float, float], ...]:
    seen = values[np.isfinite(values)]
    if not len(seen):
        return ()
    grid = np.unique(np.quantile(seen, np.linspace(0.02, 0.98, CURVE_POINTS), method="nearest"))
    rows = np.repeat(sample, len(grid), axis=0)
    rows[:, place] = np.tile(grid, len(sample))
    means = scores_of(artifact, rows)[0].reshape(len(sample), len(grid)).mean(axis=0)
    return tuple((float(value), float(mean)) for value, mean in zip(grid, means, strict=True))
