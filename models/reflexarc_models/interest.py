"""One subject's taste: folded in from interactions with items, moved by each new one, ranked into what comes next.

Owns the fold-in of implicit-feedback collaborative filtering, its exact rank-one update, the fusion with next-step links
and the order of a list. Must never learn factors (that is training's) nor keep anything but (item, weight) pairs: a
state is rebuilt from these alone, equal to the one that was updated. Imports numpy with the first subject.

The taste u of a subject minimises  sum_i a_i (1 - u.h_i)^2 + w0 sum_j (u.h_j)^2 + reg |u|^2  over the items i it had to do
with (weight a_i) and all items j. With P = (w0 HtH + reg I + sum_i a_i h_i h_i^T)^-1 one more weight a on h is

    k = P h / (1 + a h.P h);   u += a k (1 - u.h);   P -= a k (P h)^T          (Sherman and Morrison 1950)

Source of the objective: Hu, Koren and Volinsky (2008); Rendle, Krichene, Zhang and Koren (2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from reflexarc_core.errors import ScoringError
from reflexarc_core.interaction import WEIGHT_MAX
from reflexarc_models.item_factors import ITEMS_FILE, ItemFactors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CLAIM_ITEM_COUNT", "ITEMS_FILE", "STRENGTH_GRID", "WEIGHT_MAX", "Interest", "ItemFactors"]

CLAIM_ITEM_COUNT: Final = 3
"""The claim is about the next three items (docs/models.md)."""
STRENGTH_GRID: Final = 4_096
"""A strength is a multiple of 1/STRENGTH_GRID: what the last bits of a host's arithmetic say does not reach the model."""

POOL: Final = 40
"""Items among which a list is spread; behind them the order is by score alone."""
UPDATE_COUNT_MAX: Final = 1_000
"""Rank-one updates after which the state is built anew, long before rounding could be seen in a ranking."""
_BLOCK_COUNT: Final = 64
_PRODUCT_MAX: Final = 400_000


class Interest:
    """The state of one subject: what it had to do with, and the taste that follows.

    Unknown items are ignored. Not safe to use from two threads at once. About 8 d^2 bytes.
    """

    __slots__ = ("_factors", "_np", "_p", "_taste", "_updates", "_weights")
    _p: NDArray[np.float64]
    _taste: NDArray[np.float64]

    def __init__(self, factors: ItemFactors, interactions: Iterable[tuple[str, float]] = ()) -> None:
        """interactions: (item id, weight), most recent last."""
        import numpy as np

        self._np = np
        self._factors = factors
        self._weights: dict[int, float] = {}
        self.rebuild(interactions)

    def __len__(self) -> int:
        """How many known items the subject had to do with."""
        return len(self._weights)

    @property
    def taste(self) -> NDArray[np.float64]:
        """u, float64 [d]; zeros for a subject of whom nothing is known."""
        return self._taste

    def add(self, item_id: str, weight: float = 1.0) -> bool:
        """One more interaction: exact and O(d^2). Weights of one item add up to at most WEIGHT_MAX; the item is the
        most recent one then. False when the item is unknown (nothing changes).

        Raises ScoringError when the weight is not positive.
        """
        number = self._factors.index.get(item_id)
        _check(weight)
        if number is None:
            return False
        held = self._weights.pop(number, 0.0)
        self._weights[number] = whole = min(held + weight, WEIGHT_MAX)
        self._move(number, whole - held)
        return True

    def remove(self, item_id: str) -> bool:
        """Forget an item: exact and O(d^2). False when the subject had nothing to do with it."""
        number = self._factors.index.get(item_id)
        if number is None or number not in self._weights:
            return False
        self._move(number, -self._weights.pop(number))
        return True

    def rebuild(self, interactions: Iterable[tuple[str, float]]) -> None:
        """Start from these (item id, weight) pairs alone, most recent last. Raises ScoringError as `add` does."""
        self._weights = self._merged(interactions)
        self._solve()

    def follow(self, interactions: Sequence[tuple[str, float]]) -> None:
        """Become what `rebuild(interactions)` would make, by rank-one updates where few pairs differ from what is held.

        For whoever keeps a bounded list: give the whole list each time. Raises ScoringError as `add` does.
        """
        wanted, held = self._merged(interactions), self._weights
        moved = [(number, weight - held.get(number, 0.0)) for number, weight in wanted.items() if held.get(number) != weight]
        moved += [(number, -weight) for number, weight in held.items() if number not in wanted]
        self._weights = wanted
        if len(moved) > self._factors.dimension // 2:
            self._solve()
            return
        for number, change in moved:
            self._move(number, change)

    def scores(self) -> NDArray[np.float32]:
        """Predicted preference of every item, float32 [n], around 0 (unknown) to 1 (as an item one had to do with)."""
        return preferences(self._factors, self._taste)

    def strength(self) -> float:
        """How clear the interest in the next CLAIM_ITEM_COUNT items is: the mean of what speaks for each of them, a
        multiple of 1/STRENGTH_GRID. 0 for a subject of whom nothing is known. The input `interest_strength`.
        """
        return self.progression(CLAIM_ITEM_COUNT)[1]

    def progression(self, n: int) -> tuple[tuple[str, ...], float]:
        """(`rank(n)`, `strength()`) at the cost of one of them."""
        chosen, (preference, links) = self._ranked(max(n, CLAIM_ITEM_COUNT), (), None)
        item_ids = self._factors.item_ids
        ranked = tuple(item_ids[number] for number in chosen[: max(n, 0)].tolist())
        claimed = chosen[:CLAIM_ITEM_COUNT]
        if not self._weights or not len(claimed):
            return ranked, 0.0
        share = self._factors.link_share
        found = (1.0 - share) * preference[claimed]
        if links is not None:
            found = found + share * links[claimed]
        return ranked, math.floor(float(found.mean(dtype=self._np.float64)) * STRENGTH_GRID + 0.5) / STRENGTH_GRID

    def rank(self, n: int, seen: Iterable[str] = (), last_items: Sequence[str] | None = None) -> tuple[str, ...]:
        """The next `n` items, best first: the `interest_progression`. Never one the subject had to do with, one of `seen`,
        or the same twice; fewer only where there are no more. A shorter list is the beginning of a longer one.

        last_items: what the next step follows, most recent last; the subject's own by default. A subject of whom nothing
        is known gets the most popular items. Equal scores keep the order of popularity.
        """
        chosen, _ = self._ranked(n, seen, last_items)
        item_ids = self._factors.item_ids
        return tuple(item_ids[number] for number in chosen.tolist())

    def _ranked(
        self, n: int, seen: Iterable[str], last_items: Sequence[str] | None
    ) -> tuple[NDArray[Any], tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
        """(numbers of the items in order, (preference of all items, strength of the links to them or None))."""
        np, factors = self._np, self._factors
        preference = self.scores()
        index = factors.index
        if last_items is None:
            last = list(self._weights)[-factors.link_window :]
        else:
            last = [index[name] for name in last_items if name in index][-factors.link_window :]
        links = linked(factors, last) if factors.link_share > 0.0 and last else None
        hidden = list(self._weights)
        hidden += [index[name] for name in seen if name in index]
        if not self._weights and links is None:
            order = np.arange(len(factors))
            return order[~np.isin(order, hidden)][: max(n, 0)], (preference, None)
        fused = fuse(preference, links, factors.link_share, hidden)
        if factors.diversity > 0.0:
            pool = top(fused, POOL)
            spread = self._spread(pool, fused[pool], min(n, len(pool)))
            rest = top(fused, n)[POOL:] if n > POOL else pool[:0]
            return np.concatenate([spread, rest]), (preference, links)
        return top(fused, n), (preference, links)

    def _spread(self, pool: NDArray[Any], scores: NDArray[np.float32], n: int) -> NDArray[Any]:
        """The pool in the order of maximal marginal relevance (Carbonell and Goldstein 1998): each next item weighs its
        score against its likeness (cosine of the factors) to the nearest of those before it.
        """
        np, factors = self._np, self._factors
        if n < 2:
            return pool[: max(n, 0)]
        unit = factors.rows(pool)
        lengths = np.sqrt(np.einsum("ij,ij->i", unit, unit))
        unit /= np.where(lengths > 0, lengths, 1.0)[:, None]
        likeness = unit @ unit.T
        low, high = float(scores[-1]), float(scores[0])
        worth = (1.0 - factors.diversity) * (scores - low) / max(high - low, 1e-12)
        nearest = np.zeros(len(pool), dtype=np.float32)
        chosen: list[int] = []
        for _ in range(n):
            place = int(np.argmax(worth - factors.diversity * nearest))
            chosen.append(place)
            worth[place] = -np.inf
            nearest = np.maximum(nearest, likeness[place])
        return pool[chosen]

    def _merged(self, interactions: Iterable[tuple[str, float]]) -> dict[int, float]:
        merged: dict[int, float] = {}
        index = self._factors.index
        for item_id, weight in interactions:
            _check(weight)
            number = index.get(item_id)
            if number is not None:
                merged[number] = min(merged.pop(number, 0.0) + weight, WEIGHT_MAX)
        return merged

    def _move(self, number: int, change: float) -> None:
        """Add `change` to the weight of an item in P and u; negative takes away."""
        if change == 0.0:
            return
        if self._updates >= UPDATE_COUNT_MAX:
            self._solve()
            return
        self._updates += 1
        factors = self._factors
        h = (factors.codes[number] * factors.scales[number]).astype(self._np.float64)
        ph = self._p @ h
        step = ph * (change / (1.0 + change * float(h @ ph)))
        self._taste = self._taste + step * (1.0 - float(self._taste @ h))
        self._p -= step[:, None] * ph

    def _solve(self) -> None:
        np, factors = self._np, self._factors
        self._updates = 0
        if not self._weights:
            self._p = factors.prior.copy()
            self._taste = np.zeros(factors.dimension)
            return
        rows = factors.rows(list(self._weights))
        weighted = rows * np.array(list(self._weights.values()))[:, None]
        self._p = np.linalg.inv(factors.precision + weighted.T @ rows)
        self._taste = self._p @ weighted.sum(axis=0)


def preferences(factors: ItemFactors, taste: NDArray[np.float64]) -> NDArray[np.float32]:
    """u.h of every item, float32 [n].

    In blocks that OpenBLAS multiplies without its threads: it wakes them from 460,800 numbers on, and where the machine has
    other work, two of them take a thousand times as long as one.
    """
    import numpy as np

    narrow, columns = taste.astype(np.float32), factors.columns
    d, n = columns.shape
    width = _PRODUCT_MAX // d
    if n <= width:
        return np.asarray(narrow @ columns)
    found = np.empty(n, dtype=np.float32)
    for start in range(0, n, width):
        np.dot(narrow, columns[:, start : start + width], out=found[start : start + width])
    return found


def linked(factors: ItemFactors, last: Sequence[int]) -> NDArray[np.float32]:
    """What the last items (numbers, most recent last) say of every other, float32 [n]."""
    import numpy as np

    found = np.zeros(len(factors), dtype=np.float32)
    starts, loudness = factors.link_starts, 1.0
    for number in reversed(last):
        part = slice(starts[number], starts[number + 1])
        found[factors.link_targets[part]] += np.float32(loudness) * factors.link_strengths[part]
        loudness *= factors.link_decay
    return found


def fuse(
    preference: NDArray[np.float32], links: NDArray[np.float32] | None, link_share: float, hidden: Sequence[int]
) -> NDArray[np.float32]:
    """One score per item from its preference and what links say of it, each over its own largest value among the items
    that may be shown (so that neither's scale decides); -inf for `hidden` item numbers.
    """
    import numpy as np

    fused = preference.copy()
    if hidden:
        fused[hidden] = -np.inf
    if links is None:
        return fused
    largest = float(fused.max())
    spoken = links.copy()
    if hidden:
        spoken[hidden] = 0.0
    loudest = float(spoken.max())
    fused = preference * np.float32((1.0 - link_share) / largest if largest > 0.0 else 0.0)
    if loudest > 0.0:
        fused += spoken * np.float32(link_share / loudest)
    if hidden:
        fused[hidden] = -np.inf
    return fused


def top(scores: NDArray[np.float32], count: int) -> NDArray[Any]:
    """Numbers of the `count` highest scores, best first, equal ones ascending; none that is -inf."""
    import numpy as np

    count = max(0, min(count, len(scores)))
    if not count:
        return np.zeros(0, dtype=np.int64)
    if len(scores) > 16 * _BLOCK_COUNT and count <= _BLOCK_COUNT // 4:
        # The count-th largest of the blocks' maxima is a bound that at least `count` scores reach, and few more do.
        whole = len(scores) // _BLOCK_COUNT * _BLOCK_COUNT
        maxima = scores[:whole].reshape(-1, _BLOCK_COUNT).max(axis=0)
        bound = np.partition(maxima, _BLOCK_COUNT - count)[_BLOCK_COUNT - count]
    else:
        bound = np.partition(scores, len(scores) - count)[len(scores) - count]
    reached = np.flatnonzero(scores >= bound)
    values = scores[reached]
    order = reached[np.argsort(-values, kind="stable")[:count]]
    return order[scores[order] > -np.inf] if bound == -np.inf else order


def _check(weight: float) -> None:
    if not (0.0 < weight < math.inf):
        raise ScoringError(f"an interaction weighs {weight!r}", hint="weights are positive numbers")
