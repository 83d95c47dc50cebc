"""The rows of the claim about a subject's next three items: the moments behind each view, as a device had them then.

Owns which moments these are, and what the ranking and the strength were at each. Must never look ahead: the factors behind a row
were fitted on interactions before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.catalog import Catalog
from reflexarc_core.interaction import INTEREST_STRENGTH, interact
from reflexarc_core.model import ModelDefinition
from reflexarc_models.artifact import Artifact
from reflexarc_models.interest import CLAIM_ITEM_COUNT, Interest
from reflexarc_models.item_factors import ITEMS_FILE, ItemFactors
from reflexarc_models.train.rows.dataset import Dataset, Rows
from reflexarc_models.train.rows.history import History, acted_on, fold_at
from reflexarc_models.train.rows.split import PART_ROWS_MIN

CLAIM_HORIZON_MS: Final = 7 * 86_400_000
CLAIM_ROWS_MAX: Final = 15_000


def claim_dataset(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    fitted: Sequence[tuple[int, ItemFactors]],
    acted: Mapping[str, Sequence[int]] | None = None,
    only: Mapping[str, Collection[int]] | None = None,
) -> Dataset:
    """Rows of the claim at the scoring moments behind the first time of `fitted`, or of these at the times (ms) of
    `only`, by subject.

    fitted: (time in ms, factors of the interactions up to it), ascending; a row takes the last ones before it.

    A row's ranking and strength are those a device has right behind the event. Label 1: the subject has to do with one of
    the three items within CLAIM_HORIZON_MS. Moments whose horizon ends behind the log, and those without a known item,
    are no rows.
    """
    seen = set(log.type_names)
    inputs = tuple(
        name
        for name in model.features
        if seen.intersection(catalog.features[name].event_types) and not catalog.features[name].key
    )
    found = _moments(model, log, fitted, only)
    names = [slot.definition.name for slot in log.layout.slots]
    vectors = fold_at(log, found.starts, found.times, found.behind)[:, [names.index(name) for name in inputs]]
    subjects = np.repeat(np.array(log.subjects, dtype=object), np.diff(found.starts))
    touched = acted_on(acted or {}, subjects, found.times, CLAIM_HORIZON_MS)
    keep = ~touched
    return Dataset(
        inputs=(*inputs, INTEREST_STRENGTH),
        x=np.column_stack([vectors, found.strengths])[keep],
        y=found.labels[keep],
        subjects=subjects[keep],
        score_time=found.times[keep],
        recency_days=found.recency_days[keep],
        horizon_ms=CLAIM_HORIZON_MS,
        inputs_left_out=tuple(name for name in model.features if name not in inputs),
        unmatured_count=found.unmatured_count,
        acted_on_count=int(touched.sum()),
    )


class _Moments:
    """Claim rows by subject while they are gathered."""

    def __init__(self) -> None:
        self._starts = [0]
        self._rows: list[tuple[int, int, int, float, float]] = []
        self.unmatured_count = 0

    def add(self, time_ms: int, behind: int, label: int, strength: float, recency_days: float) -> None:
        self._rows.append((time_ms, behind, label, strength, recency_days))

    def end_subject(self) -> None:
        self._starts.append(len(self._rows))

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.array(self._starts, dtype=np.int64)

    @property
    def times(self) -> NDArray[np.int64]:
        return np.array([row[0] for row in self._rows], dtype=np.int64)

    @property
    def behind(self) -> NDArray[np.int64]:
        return np.array([row[1] for row in self._rows], dtype=np.int64)

    @property
    def labels(self) -> NDArray[np.int8]:
        return np.array([row[2] for row in self._rows], dtype=np.int8)

    @property
    def strengths(self) -> NDArray[np.float64]:
        return np.array([row[3] for row in self._rows], dtype=np.float64)

    @property
    def recency_days(self) -> NDArray[np.float64]:
        return np.array([row[4] for row in self._rows], dtype=np.float64)


def own_rows(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    artifact: Artifact,
    moments: Rows,
    acted: Mapping[str, Sequence[int]] | None = None,
) -> Rows | None:
    """The moments of `moments` as they are by the items of `artifact`: its own ranking, strength and label.

    Only those behind the last interaction its factors were fitted on, for it has seen the others. None where fewer than
    PART_ROWS_MIN are left, or one label only.
    """
    until = artifact.evidence.get("items", {}).get("factors_until")
    if until is None or ITEMS_FILE not in artifact.files:
        return None
    only: dict[str, set[int]] = {}
    for subject, at in zip(moments.subjects.tolist(), moments.score_time.tolist(), strict=True):
        if at > until:
            only.setdefault(str(subject), set()).add(at)
    if sum(map(len, only.values())) < PART_ROWS_MIN:
        return None
    found = claim_dataset(catalog, model, log, [(until, ItemFactors.from_bytes(artifact.files[ITEMS_FILE]))], acted, only)
    if len(found) < PART_ROWS_MIN or found.y.min() == found.y.max():
        return None
    return found.rows(np.arange(len(found)))


def _moments(
    model: ModelDefinition,
    log: History,
    fitted: Sequence[tuple[int, ItemFactors]],
    only: Mapping[str, Collection[int]] | None,
) -> _Moments:
    """The scoring moments behind the first factors, each with its subject's state right behind it: those of `only`, or about
    CLAIM_ROWS_MAX, thinned evenly within each subject, who keeps one at least.
    """
    found = _Moments()
    cuts = np.array([cut for cut, _ in fitted], dtype=np.int64)
    scoring = np.isin(log.types, log.types_of(model.score_on)) & (log.nows > cuts[0])
    stride = max(1, -(-int(scoring.sum()) // CLAIM_ROWS_MAX))
    end_time = log.end_time
    for s, name in enumerate(log.subjects):
        first, last = int(log.starts[s]), int(log.starts[s + 1])
        moments = first + np.flatnonzero(scoring[first:last])
        if only is not None:
            times = only.get(name, ())
            chosen = {place for place in moments.tolist() if int(log.nows[place]) in times}
        else:
            phase = zlib.crc32(name.encode()) % stride
            chosen = set(moments[phase::stride].tolist() or moments[phase % len(moments) :][:1].tolist() if len(moments) else [])
        kept: dict[str, float] = {}
        interest, era = Interest(fitted[0][1]), 0
        for place in range(first, max(chosen, default=first - 1) + 1):
            if log.items[place] >= 0:
                _follow(interest, kept, log.item_ids[log.items[place]], float(log.item_weights[place]))
            if place not in chosen:
                continue
            at = int(log.nows[place])
            if at + CLAIM_HORIZON_MS > end_time:
                found.unmatured_count += 1
                continue
            newest = int(np.searchsorted(cuts, at, side="left")) - 1
            if newest != era:
                interest, era = Interest(fitted[newest][1], kept.items()), newest
            if not len(interest):
                continue
            items, strength = interest.progression(CLAIM_ITEM_COUNT)
            hit = _met(log, place + 1, last, at, set(items))
            recency = (log.nows[place] - log.nows[place - 1]) / 86_400_000 if place > first else np.inf
            found.add(at, place, int(hit), strength, float(recency))
        found.end_subject()
    return found


def _follow(interest: Interest, kept: dict[str, float], item_id: str, weight: float) -> None:
    """One more interaction, as an engine keeps it: what makes room for it is no longer part of the taste."""
    oldest = next(iter(kept), None)
    interact(kept, item_id, weight)
    interest.add(item_id, weight)
    if oldest is not None and oldest not in kept:
        interest.remove(oldest)


def _met(log: History, first: int, last: int, at: int, items: set[str]) -> bool:
    """Whether one of `items` is met by the events [first, last) within the horizon of `at`."""
    until = first + int(np.searchsorted(log.nows[first:last], at + CLAIM_HORIZON_MS, side="right"))
    met = log.items[first:until]
    return any(log.item_ids[item] in items for item in np.unique(met[met >= 0]).tolist())
