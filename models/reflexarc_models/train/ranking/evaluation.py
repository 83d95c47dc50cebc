"""What content interest is worth on a log: the last new item of everybody, found by a ranking that never saw it.

Owns the order of an evaluation and what it reports. Must never let a held-back item reach a setting: everything is
chosen and fitted on what stands before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError
from reflexarc_models.interest import Interest, ItemFactors, fuse, linked, top
from reflexarc_models.train.fit.threads import one_thread
from reflexarc_models.train.ranking.ials import fit_ials, fold_in
from reflexarc_models.train.ranking.interactions import Interactions, leave_last_out
from reflexarc_models.train.ranking.measures import (
    MISSED,
    figures,
    interval,
    ndcg,
    neighbour_places,
    place_of,
    popularity_places,
    recall,
)
from reflexarc_models.train.ranking.tuning import (
    LINK_BUILDERS,
    LINKS_MAX,
    InterestSettings,
    Note,
    assembled,
    last_distinct,
    tune,
)

SUBJECTS_MIN: Final = 20
SUBJECTS_MAX: Final = 10_000
"""Subjects measured; of more, as many are drawn."""
DEPTH: Final = 100
LIST_LENGTH: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """The histories, numbered by popularity, and what is to be found. targets: -1 for an item that nobody else had."""

    log: Interactions
    subjects: NDArray[np.int64]
    targets: NDArray[np.int64]
    tied: NDArray[np.bool_]

    def judged(self) -> Iterator[tuple[int, int]]:
        return zip(self.subjects.tolist(), self.targets.tolist(), strict=True)


def evaluate_interest(log: Interactions, k: int = 20, seed: int = 0, note: Note = lambda text: None) -> dict[str, Any]:
    """Train on all but the last new item of each subject, rank all items new to the subject, and see where that item is.

    Reports recall and NDCG at k, 10 and 100 with 95 % bootstrap intervals over subjects, for the list a device shows, for
    factors and links alone, and for popularity and ItemKNN; what int8 costs; coverage; bytes; the time of a live update.
    Raises DefinitionError when fewer than SUBJECTS_MIN subjects have two different items.
    """
    with one_thread():
        return _evaluated(log, k, seed, note)


def _evaluated(log: Interactions, k: int, seed: int, note: Note) -> dict[str, Any]:
    started = time.perf_counter()
    held = leave_last_out(log)
    if len(held.subjects) < SUBJECTS_MIN:
        raise DefinitionError(
            f"{len(held.subjects)} subjects had to do with two different items, at least {SUBJECTS_MIN} are needed",
            hint="items are the content_id of content_view and social_share: does the mapping give them?",
        )
    test = _test_of(log, seed)
    settings = tune(held.history, seed, note)
    fit_started = time.perf_counter()
    vectors = fit_ials(test.log.matrix(), settings.ials, seed)
    factors = assembled(test.log, vectors, LINK_BUILDERS[settings.link_kind](test.log, LINKS_MAX), settings)
    fit_seconds = time.perf_counter() - fit_started
    note(f"{len(factors):,} items, {len(factors.to_bytes()):,} bytes")
    ks = tuple(dict.fromkeys((k, 10, DEPTH)))
    ours, shown = _places(factors, test, k)
    exact, rounded, overlap = _rounding(factors, vectors, test)
    neighbours = neighbour_places(test.log.matrix(), test.subjects, test.targets)
    popular = popularity_places(test.log.matrix(), test.log.counts(), test.subjects, test.targets)
    alone, _ = _places(replace(factors, link_share=0.0, diversity=0.0), test, k)
    by_links, _ = _places(replace(factors, link_share=1.0, diversity=0.0), test, k)
    update_us = _live_update_us(factors, test)
    variants = {"factors_alone": alone, "links_alone": by_links}
    rivals = {"popularity": popular, "item_knn_50": neighbours}
    return {
        "subjects": len(held.subjects),
        "measured": len(test.subjects),
        "items": len(factors),
        "interactions": len(log),
        "protocol": "each subject's last new item by time held back; all items new to the subject ranked",
        "targets_unknown_share": round(float((test.targets < 0).mean()), 5),
        "targets_tied_share": round(float(test.tied.mean()), 5),
        "k": k,
        **figures(ours, ks, seed),
        "untied": figures(ours[~test.tied], ks, seed) if (~test.tied).any() else None,
        "variants": {name: figures(places, ks, seed) for name, places in variants.items()},
        "baselines": {name: figures(places, ks, seed) for name, places in rivals.items()},
        "gain": {name: _gain(ours, places, k, seed) for name, places in rivals.items()},
        "int8_loss_ndcg_100": round(float((ndcg(exact, DEPTH) - ndcg(rounded, DEPTH)).mean()), 5),
        "int8_top_10_overlap": round(overlap, 5),
        f"coverage@{k}": round(len(np.unique(np.concatenate(shown))) / len(factors), 5),
        "bytes": len(factors.to_bytes()),
        "settings": _settings(settings),
        "live_update_us_p50": round(update_us, 1),
        "fit_seconds": round(fit_seconds, 2),
        "seconds": round(time.perf_counter() - started, 2),
        "interval": "95 % percentile bootstrap over subjects, 1,000 resamples",
    }


def _test_of(log: Interactions, seed: int) -> _Test:
    held = leave_last_out(log)
    ordered = held.history.by_popularity()
    numbers = {item_id: number for number, item_id in enumerate(ordered.item_ids)}
    chosen = np.arange(len(held.subjects))
    if len(chosen) > SUBJECTS_MAX:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, SUBJECTS_MAX, replace=False))
    targets = [numbers.get(held.history.item_ids[target], -1) for target in held.targets[chosen].tolist()]
    return _Test(ordered, held.subjects[chosen], np.array(targets, dtype=np.int64), held.tied[chosen])


def _places(factors: ItemFactors, test: _Test, k: int) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """(place of each target in the list a device would show, item numbers of the first k of each list)."""
    places: list[int] = []
    shown: list[NDArray[np.int64]] = []
    for subject, target in test.judged():
        ranked = Interest(factors, test.log.pairs(subject)).rank(max(DEPTH, k), test.log.seen(subject))
        numbers = np.array([factors.index[item_id] for item_id in ranked], dtype=np.int64)
        found = np.flatnonzero(numbers == target)
        places.append(int(found[0]) if len(found) else MISSED)
        shown.append(numbers[:k])
    return np.array(places, dtype=np.int64), shown


def _rounding(
    factors: ItemFactors, vectors: NDArray[np.float32], test: _Test
) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """(places by the factors as fitted, places by their int8 codes, mean share of the first ten in common); the rest alike."""
    seen = test.log.matrix()
    tastes = [
        fold_in(seen, each, factors.unobserved_weight, factors.regulariser).astype(np.float32)
        for each in (vectors, factors.vectors)
    ]
    places: tuple[list[int], list[int]] = ([], [])
    common = 0.0
    for subject, target in test.judged():
        part = slice(int(test.log.starts[subject]), int(test.log.starts[subject + 1]))
        spoken = linked(factors, last_distinct(test.log.items[part], factors.link_window))
        hidden = seen.items[seen.starts[subject] : seen.starts[subject + 1]].tolist()
        first: list[set[int]] = []
        for which, each in enumerate((vectors, factors.vectors)):
            fused = fuse(each @ tastes[which][subject], spoken, factors.link_share, hidden)
            places[which].append(place_of(fused, target) if target >= 0 else MISSED)
            first.append(set(top(fused, LIST_LENGTH).tolist()))
        common += len(first[0] & first[1]) / max(1, len(first[0]))
    exact, rounded = (np.array(one, dtype=np.int64) for one in places)
    return exact, rounded, common / len(test.subjects)


def _gain(ours: NDArray[np.int64], theirs: NDArray[np.int64], k: int, seed: int) -> dict[str, Any]:
    """Paired differences: recall@k and ndcg@10 of ours minus theirs, with intervals."""
    found: dict[str, Any] = {}
    for name, values in (
        (f"recall@{k}", recall(ours, k) - recall(theirs, k)),
        ("ndcg@10", ndcg(ours, 10) - ndcg(theirs, 10)),
    ):
        low, high = interval(values, seed)
        found[name], found[f"{name}_interval"] = round(float(values.mean()), 5), [round(low, 5), round(high, 5)]
    return found


def _live_update_us(factors: ItemFactors, test: _Test) -> float:
    """Median time of one more interaction and the next ten items, microseconds, on this machine."""
    taken: list[int] = []
    for subject in test.subjects[:200].tolist():
        pairs = test.log.pairs(subject)
        interest = Interest(factors, pairs[:-1])
        began = time.perf_counter_ns()
        interest.add(*pairs[-1])
        interest.rank(LIST_LENGTH)
        taken.append(time.perf_counter_ns() - began)
    return float(np.median(taken)) / 1e3


def _settings(settings: InterestSettings) -> dict[str, Any]:
    return {
        "dimension": settings.ials.dimension,
        "unobserved_weight": settings.ials.unobserved_weight,
        "regulariser": settings.ials.regulariser,
        "epochs": settings.ials.epoch_count,
        "links": settings.link_kind,
        "link_window": settings.link_window,
        "link_decay": settings.link_decay,
        "link_share": settings.link_share,
        "diversity": settings.diversity,
        "validation_ndcg_100": settings.tried,
    }
