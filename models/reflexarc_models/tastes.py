"""Tastes: the live interest of the subjects a host scored last, kept warm from one event to the next.

Owns a small cache over `Interest`, least recently used out: a taste follows from the interactions that come with each request, so
one that is not here, or no longer, is made anew and says the same. Must never be the only place where anything is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from reflexarc_models.interest import Interest
from reflexarc_models.item_factors import ItemFactors

TASTES_MAX: Final = 128
"""Of one artifact: 8 d^2 bytes each, a mebibyte in all at d = 32."""
RANKED_COUNT: Final = 10


class Tastes:
    """By one artifact's factors. Safe to use from several threads."""

    def __init__(self, factors: ItemFactors, count_max: int = TASTES_MAX) -> None:
        self._factors = factors
        self._count_max = count_max
        self._held: dict[str, Interest] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def look(self, subject: str, interactions: Sequence[tuple[str, float]]) -> tuple[float, tuple[str, ...]]:
        """(interest_strength, the RANKED_COUNT items to come next) of a subject after these (item, weight), most recent last.

        Raises ScoringError for a weight that is none.
        """
        with self._lock:
            taste = self._held.pop(subject, None)
            if taste is None:
                taste = Interest(self._factors, interactions)
            else:
                taste.follow(interactions)
            self._held[subject] = taste
            if len(self._held) > self._count_max:
                del self._held[next(iter(self._held))]
            ranked, strength = taste.progression(RANKED_COUNT)
            return strength, ranked

    def forget(self, subject: str) -> None:
        """Nothing of this subject is held any more."""
        with self._lock:
            self._held.pop(subject, None)
