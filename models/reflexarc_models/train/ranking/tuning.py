"""The settings of content interest, chosen by the last item of each training sequence, and the factors they give.

Owns what is tried, in which order and by which measure. Must never see an interaction that is later than the ones it
was given: a test's are not among them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.interest import Interest, fuse, linked
from reflexarc_models.item_factors import ItemFactors, quantized
from reflexarc_models.train.ranking.ials import IalsSettings, fit_ials, fold_in
from reflexarc_models.train.ranking.interactions import Interactions, LastOut, leave_last_out
from reflexarc_models.train.ranking.links import Links, sequence_links, similar_links
from reflexarc_models.train.ranking.measures import MISSED, ndcg, place_of

SEQUENCE: Final = "sequence"
SIMILAR: Final = "similar"
LINK_BUILDERS: Final[dict[str, Callable[[Interactions, int], Links]]] = {
    SEQUENCE: sequence_links,
    SIMILAR: lambda log, links_max: similar_links(log.matrix(), links_max),
}
LINKS_MAX: Final = 24

CHECKED_MAX: Final = 1_000
"""Subjects whose last item judges the settings; more change little but the time."""
CHECKED_MIN: Final = 30
TUNING_INTERACTIONS_MAX: Final = 400_000
TUNING_EPOCH_COUNT: Final = 6

WEIGHTS_TRIED: Final = (0.02, 0.1, 0.4)
REGULARISERS_TRIED: Final = (1.0, 3.0, 10.0)
STEPS_BEYOND_MAX: Final = 2
STEP_GAIN_MIN: Final = 0.01
"""Share of NDCG@100 that a step beyond what is tried must gain: on a plateau the last digit is chance."""
DIMENSIONS_TRIED: Final = (16, 32, 64)
FIRST_DIMENSION: Final = 32
# (kind of links, how many of the last items speak, how much louder each is than the one behind it)
FOLLOWED: Final = (
    (SEQUENCE, 1, 1.0), (SEQUENCE, 10, 0.8), (SEQUENCE, 30, 0.95), (SIMILAR, 10, 0.8), (SIMILAR, 200, 1.0),
)  # fmt: skip
SHARES_TRIED: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
DIVERSITIES_TRIED: Final = (0.3, 0.2, 0.1)
DIVERSITY_PRICE_MAX: Final = 0.02
"""Share of the NDCG@10 that a spread list may cost."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class InterestSettings:
    """What `fit_items` is given. tried: NDCG@100 on the validation items of every setting that was tried, by its name."""

    ials: IalsSettings = field(default_factory=IalsSettings)
    link_kind: str = SEQUENCE
    link_window: int = 10
    link_decay: float = 0.8
    link_share: float = 0.2
    diversity: float = 0.0
    tried: dict[str, float] = field(default_factory=dict)


def fit_items(log: Interactions, settings: InterestSettings, seed: int) -> ItemFactors:
    """Factors, links and order of every item that somebody had to do with. Deterministic. Raises nothing but
    ManifestError, where `log` holds no item at all.
    """
    ordered = log.by_popularity()
    vectors = fit_ials(ordered.matrix(), settings.ials, seed)
    return assembled(ordered, vectors, LINK_BUILDERS[settings.link_kind](ordered, LINKS_MAX), settings)


def assembled(ordered: Interactions, vectors: NDArray[np.float32], links: Links, settings: InterestSettings) -> ItemFactors:
    """`ItemFactors` of parts whose items are numbered by popularity."""
    codes, scales = quantized(vectors)
    starts, targets, link_codes, link_scales = links.quantized()
    return ItemFactors(
        item_ids=ordered.item_ids,
        codes=codes,
        scales=scales,
        unobserved_weight=settings.ials.unobserved_weight,
        regulariser=settings.ials.regulariser,
        link_starts=starts,
        link_targets=targets,
        link_codes=link_codes,
        link_scales=link_scales,
        link_share=settings.link_share,
        link_decay=settings.link_decay,
        link_window=settings.link_window,
        diversity=settings.diversity,
    )


def tune(log: Interactions, seed: int, note: Note = lambda text: None) -> InterestSettings:
    """Settings by NDCG@100 of the last new item of each subject's sequence, from the ones behind which it stands.

    First the weight of what was not seen with the regulariser, then the dimension, then what the last items add, then how
    far lists may be spread. Fewer than CHECKED_MIN sequences to judge by: the defaults.
    """
    held = leave_last_out(_sampled(log))
    if len(held.subjects) < CHECKED_MIN:
        return InterestSettings()
    check = _Check(held, seed)
    best = InterestSettings(ials=replace(IalsSettings(), epoch_count=TUNING_EPOCH_COUNT, dimension=FIRST_DIMENSION))
    tried: dict[str, float] = {}

    def value(one: IalsSettings) -> float:
        name = f"d={one.dimension} w0={one.unobserved_weight:g} reg={one.regulariser:g}"
        if name not in tried:
            tried[name] = round(check.of_factors(one), 5)
            note(f"{name}: NDCG@100 {tried[name]:.4f}")
        return tried[name]

    ials = _climbed(best.ials, "unobserved_weight", WEIGHTS_TRIED, value)
    ials = _climbed(ials, "regulariser", REGULARISERS_TRIED, value)
    ials = max((replace(ials, dimension=dimension) for dimension in DIMENSIONS_TRIED), key=value)
    best = replace(best, ials=ials)
    for settings, reached in check.of_links(best):
        name = f"{settings.link_kind} window={settings.link_window} share={settings.link_share}"
        if reached > tried.get("fused", -1.0):
            tried["fused"], best = round(reached, 5), settings
        tried[name] = round(reached, 5)
    note(f"{best.link_kind} links, share {best.link_share}: NDCG@100 {tried['fused']:.4f}")
    best = replace(best, diversity=check.diversity(best))
    return replace(best, ials=replace(best.ials, epoch_count=IalsSettings().epoch_count), tried=tried)


def _climbed(base: IalsSettings, name: str, values: tuple[float, ...], value: Callable[[IalsSettings], float]) -> IalsSettings:
    """The best of `values` (ascending) for one setting; from either end on, up to STEPS_BEYOND_MAX steps further out."""
    ratio = values[1] / values[0]

    def with_value(each: float) -> IalsSettings:
        changed: dict[str, Any] = {name: each}
        return replace(base, **changed)

    candidates = [with_value(each) for each in values]
    best = max(candidates, key=value)
    for _ in range(STEPS_BEYOND_MAX):
        if best is not candidates[0] and best is not candidates[-1]:
            break
        factor = 1.0 / ratio if best is candidates[0] else ratio
        beyond = with_value(getattr(best, name) * factor)
        if value(beyond) < value(best) * (1.0 + STEP_GAIN_MIN):
            break
        candidates.insert(0 if factor < 1.0 else len(candidates), beyond)
        best = beyond
    return best


def _sampled(log: Interactions) -> Interactions:
    """At most about TUNING_INTERACTIONS_MAX interactions, whole subjects drawn by hash."""
    share = TUNING_INTERACTIONS_MAX / max(1, len(log))
    if share >= 1.0:
        return log
    drawn = np.array([zlib.crc32(name.encode()) < share * 2**32 for name in log.subjects])
    return log.kept(np.repeat(drawn, np.diff(log.starts)))


class _Check:
    """Held-back last items, and what settings come to on them."""

    def __init__(self, held: LastOut, seed: int) -> None:
        # Numbered by popularity of the histories; targets that nobody else had to do with are misses for every setting.
        place = {name: number for number, name in enumerate(held.history.item_ids)}
        self.log = held.history.by_popularity()
        number = np.full(len(place), -1, dtype=np.int64)
        number[[place[name] for name in self.log.item_ids]] = np.arange(len(self.log.item_ids))
        chosen = np.arange(len(held.subjects))
        if len(chosen) > CHECKED_MAX:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, CHECKED_MAX, replace=False))
        self.subjects, self.targets = held.subjects[chosen], number[held.targets[chosen]]
        self.seen = self.log.matrix()
        self.seed = seed
        self._vectors: dict[IalsSettings, NDArray[np.float32]] = {}

    def of_factors(self, settings: IalsSettings) -> float:
        """NDCG@100 by factors alone."""
        tastes = self._tastes(settings)
        vectors = self._vectors[settings]
        places = []
        for subject, target in self._judged():
            places.append(self._place(vectors @ tastes[subject], subject, target))
        return self._value(places)

    def of_links(self, base: InterestSettings) -> Iterator[tuple[InterestSettings, float]]:
        """(settings, NDCG@100) of every fusion that is tried, the plainest first."""
        tastes, vectors = self._tastes(base.ials), self._vectors[base.ials]
        links = {kind: build(self.log, LINKS_MAX) for kind, build in LINK_BUILDERS.items()}
        for kind, window, decay in FOLLOWED:
            settings = replace(base, link_kind=kind, link_window=window, link_decay=decay)
            factors = assembled(self.log, vectors, links[kind], settings)
            places: dict[float, list[int]] = {share: [] for share in SHARES_TRIED}
            for subject, target in self._judged():
                preference = vectors @ tastes[subject]
                part = slice(self.log.starts[subject], self.log.starts[subject + 1])
                last = last_distinct(self.log.items[part], window)
                spoken = linked(factors, last)
                hidden = self._items(subject)
                for share, of_share in places.items():
                    of_share.append(place_of(fuse(preference, spoken, share, hidden), target) if target >= 0 else MISSED)
            for share, of_share in places.items():
                yield replace(settings, link_share=share), self._value(of_share)

    def diversity(self, settings: InterestSettings) -> float:
        """The widest spread of those tried that costs at most DIVERSITY_PRICE_MAX of the NDCG@10."""
        vectors = self._vectors[settings.ials]
        plain = assembled(self.log, vectors, LINK_BUILDERS[settings.link_kind](self.log, LINKS_MAX), settings)
        value = self._shown(plain)
        for diversity in DIVERSITIES_TRIED:
            if self._shown(replace(plain, diversity=diversity)) >= (1.0 - DIVERSITY_PRICE_MAX) * value:
                return diversity
        return 0.0

    def _shown(self, factors: ItemFactors) -> float:
        total = 0.0
        for subject, target in self._judged():
            ranked = Interest(factors, self.log.pairs(subject)).rank(10, self.log.seen(subject))
            name = factors.item_ids[target] if target >= 0 else None
            if name in ranked:
                total += 1.0 / np.log2(ranked.index(name) + 2.0)
        return total / len(self.subjects)

    def _judged(self) -> Iterator[tuple[int, int]]:
        return zip(self.subjects.tolist(), self.targets.tolist(), strict=True)

    def _items(self, subject: int) -> list[int]:
        found: list[int] = self.seen.items[self.seen.starts[subject] : self.seen.starts[subject + 1]].tolist()
        return found

    def _tastes(self, settings: IalsSettings) -> NDArray[np.float32]:
        if settings not in self._vectors:
            self._vectors[settings] = fit_ials(self.seen, settings, self.seed)
        vectors = self._vectors[settings]
        return fold_in(self.seen, vectors, settings.unobserved_weight, settings.regulariser).astype(np.float32)

    def _place(self, scores: NDArray[Any], subject: int, target: int) -> int:
        if target < 0:
            return MISSED
        scores[self._items(subject)] = -np.inf
        return place_of(scores, target)

    def _value(self, places: list[int]) -> float:
        return float(ndcg(np.array(places, dtype=np.int64), 100).mean())


def last_distinct(items: NDArray[np.int32], count: int) -> list[int]:
    """The last `count` distinct items, most recent last, as a device keeps them."""
    found: dict[int, None] = {}
    for item in reversed(items.tolist()):
        found.setdefault(item)
        if len(found) == count:
            break
    return list(found)[::-1]
