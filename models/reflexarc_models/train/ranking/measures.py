"""How well a ranking finds what people did next: places of the held-back items, and what they come to.

Owns the measures and their intervals, and the simple rankings that ours is held against. Must never choose a setting.

One held-back item a subject, ranked among all items that the subject had nothing to do with yet: no sampled negatives,
which are known to turn orders round (Krichene and Rendle, "On sampled metrics for item recommendation", 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.train.ranking.ials import Matrix
from reflexarc_models.train.ranking.links import similar_links

MISSED: Final = 1 << 40
"""The place of an item that was never seen in training: no ranking can hold it."""
NEIGHBOUR_COUNT: Final = 50
RESAMPLE_COUNT: Final = 1_000


def place_of(scores: NDArray[np.floating[Any]], target: int) -> int:
    """How many items stand before `target`, equal scores in the order of their numbers; MISSED when it is hidden (-inf)."""
    value = scores[target]
    if value == -np.inf:
        return MISSED
    return int((scores > value).sum() + (scores[:target] == value).sum())


def recall(places: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 where the held-back item is among the first k, per subject."""
    return (places < k).astype(np.float64)


def ndcg(places: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / log2(place + 2) where the held-back item is among the first k, else 0, per subject (the ideal gain is 1)."""
    return np.where(places < k, 1.0 / np.log2(np.minimum(places, k) + 2.0), 0.0)


def figures(places: NDArray[np.int64], ks: Sequence[int], seed: int) -> dict[str, Any]:
    """recall@k and ndcg@k for each k, each with its 95 % bootstrap interval over subjects."""
    found: dict[str, Any] = {}
    for k in ks:
        for name, values in ((f"recall@{k}", recall(places, k)), (f"ndcg@{k}", ndcg(places, k))):
            low, high = interval(values, seed)
            found[name] = round(float(values.mean()), 5)
            found[f"{name}_interval"] = [round(low, 5), round(high, 5)]
    return found


def interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over RESAMPLE_COUNT resamples of the subjects (Efron)."""
    random = np.random.default_rng(seed)
    n = len(values)
    means = [float(values[random.integers(0, n, n)].mean()) for _ in range(RESAMPLE_COUNT)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def popularity_places(
    seen: Matrix, counts: NDArray[np.int64], subjects: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Places when everybody is shown what most subjects had to do with. targets: -1 for an unknown item."""
    scores = counts.astype(np.float64)
    return np.array(
        [_place(scores, seen, subject, target) for subject, target in zip(subjects.tolist(), targets.tolist(), strict=True)],
        dtype=np.int64,
    )


def neighbour_places(seen: Matrix, subjects: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places by ItemKNN: an item's score sums the cosines of the subject's items among its own 50 nearest neighbours."""
    links = similar_links(seen, NEIGHBOUR_COUNT)
    owner = np.repeat(np.arange(seen.item_count), np.diff(links.starts))
    by_target = np.argsort(links.targets, kind="stable")
    back = np.concatenate(([0], np.cumsum(np.bincount(links.targets, minlength=seen.item_count)))).astype(np.int64)
    found: list[int] = []
    for subject, target in zip(subjects.tolist(), targets.tolist(), strict=True):
        items = seen.items[seen.starts[subject] : seen.starts[subject + 1]]
        scores = np.zeros(seen.item_count)
        for item in items.tolist():
            reached = by_target[back[item] : back[item + 1]]
            scores[owner[reached]] += links.strengths[reached]
        found.append(_place(scores, seen, subject, target))
    return np.array(found, dtype=np.int64)


def _place(scores: NDArray[np.float64], seen: Matrix, subject: int, target: int) -> int:
    if target < 0:
        return MISSED
    items = seen.items[seen.starts[subject] : seen.starts[subject + 1]]
    held = scores[items]
    scores[items] = -np.inf
    place = place_of(scores, target)
    scores[items] = held
    return place
