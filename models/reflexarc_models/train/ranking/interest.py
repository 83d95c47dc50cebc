"""Content interest: item factors from a log, and the claim about a subject's next three items, as one artifact.

Owns the order of a training run and the rows the claim is calibrated on. Must never look ahead: the factors behind a
row were fitted on interactions before every row.

The claim (`content_interest_prediction`) is P(the subject has to do with at least one of the next three items of its
ranking within seven days). Its rows are the moments behind a `content_view`; their inputs are the model's features and
`interest_strength`; they are boosted, distilled and calibrated like those of any other model, so what comes out is an
ordinary artifact with `items.bin` beside it. The log is walked in parts: the rows of each are made with factors fitted on
all parts before it. What is shipped are factors fitted once more, on the whole log with the same settings: new items
would be missing otherwise. The claim was calibrated with the older ones, and the manifest says so.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.catalog import Catalog
from reflexarc_core.interaction import INTEREST_STRENGTH, interact
from reflexarc_core.model import ModelDefinition
from reflexarc_models.artifact import Artifact
from reflexarc_models.interest import CLAIM_ITEM_COUNT, Interest
from reflexarc_models.item_factors import ITEMS_FILE, ItemFactors
from reflexarc_models.train.fit.forest import GRADIENT_BOOSTING
from reflexarc_models.train.fit.threads import one_thread
from reflexarc_models.train.forms import gates
from reflexarc_models.train.forms.compose import with_file
from reflexarc_models.train.ranking.interactions import Interactions, of_history
from reflexarc_models.train.ranking.tuning import InterestSettings, Note, fit_items, tune
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.rows.history import History, acted_on, fold_at
from reflexarc_models.train.train import NoData, TrainedModel, TrainSpec, train_model

ALGORITHM: Final = "collaborative_filtering"
CLAIM_LINE: Final = 0.5
CLAIM_HORIZON_MS: Final = 7 * 86_400_000

CUT_SHARES: Final = (0.2, 0.4, 0.6, 0.8)
"""Shares of the interactions at which factors are fitted for the claim's rows behind them."""
INTERACTIONS_MIN: Final = 200
CLAIM_ROWS_MAX: Final = 15_000


def train_interest(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Sequence[int]] | None = None,
    *,
    seed: int = 0,
    version: int = 1,
    note: Note = lambda text: None,
) -> TrainedModel | NoData:
    """Train content interest from a log; both forms carry `items.bin`.

    acted: subject -> times (ms) at which the model's triggers fired for it, as for `build_dataset`. Too little to learn
    from: NoData. Raises ManifestError when a gate refuses the export.
    """
    with one_thread():
        return _train(catalog, model, log, acted, seed, version, note)


def _train(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Sequence[int]] | None,
    seed: int,
    version: int,
    note: Note,
) -> TrainedModel | NoData:
    started = time.perf_counter()
    interactions = of_history(log)
    cuts = factors_cuts(interactions)
    if not cuts:
        reason = f"{len(interactions)} interactions with items, at least {INTERACTIONS_MIN} over four horizons are needed"
        return NoData(model.model_id, reason)
    settings = tune(interactions.until(cuts[-1]), seed, note)
    older = [(cut, fit_items(interactions.until(cut), settings, seed)) for cut in cuts]
    dataset = claim_dataset(catalog, model, log, older, acted)
    spec = TrainSpec(
        model_id=model.model_id,
        algorithm=GRADIENT_BOOSTING,
        lines=tuple(sorted({*catalog.lines(model.model_id), CLAIM_LINE})),
        confidence_min=model.confidence_min,
        horizon_ms=CLAIM_HORIZON_MS,
        update_interval_ms=model.update_ms,
        seed=seed,
        version=version,
    )
    trained = train_model(spec, dataset)
    if isinstance(trained, NoData):
        return trained
    newest = fit_items(interactions, settings, seed)
    evidence = _evidence(settings, newest, cuts, log.end_time)
    device, server = (_with_items(one, newest, evidence) for one in (trained.device, trained.server))
    return replace(trained, device=device, server=server, train_seconds=time.perf_counter() - started)


def factors_cuts(interactions: Interactions) -> list[int]:
    """The times (ms), ascending, up to which the factors of the claim's rows see; none when the log is too short.

    The first leaves three horizons of rows behind it, and INTERACTIONS_MIN / 2 interactions to learn from before it.
    """
    if len(interactions) < INTERACTIONS_MIN:
        return []
    ordered = np.sort(interactions.times)
    last = int(ordered[-1])
    wanted = [int(ordered[int(len(ordered) * share)]) for share in CUT_SHARES]
    first = min(wanted[0], last - 3 * CLAIM_HORIZON_MS)
    cuts = sorted({first, *(cut for cut in wanted if first < cut <= last - CLAIM_HORIZON_MS)})
    return [cut for cut in cuts if np.searchsorted(ordered, cut, side="right") >= INTERACTIONS_MIN // 2]


def claim_dataset(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    fitted: Sequence[tuple[int, ItemFactors]],
    acted: Mapping[str, Sequence[int]] | None = None,
) -> Dataset:
    """Rows of the claim at the scoring moments behind the first time of `fitted`.

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
    found = _moments(model, log, fitted)
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


def _moments(model: ModelDefinition, log: History, fitted: Sequence[tuple[int, ItemFactors]]) -> _Moments:
    """The scoring moments behind the first factors, each with its subject's state right behind it; about CLAIM_ROWS_MAX,
    thinned evenly within each subject, who keeps one at least.
    """
    found = _Moments()
    cuts = np.array([cut for cut, _ in fitted], dtype=np.int64)
    scoring = np.isin(log.types, log.types_of(model.score_on)) & (log.nows > cuts[0])
    stride = max(1, -(-int(scoring.sum()) // CLAIM_ROWS_MAX))
    end_time = log.end_time
    for s, name in enumerate(log.subjects):
        first, last = int(log.starts[s]), int(log.starts[s + 1])
        moments = first + np.flatnonzero(scoring[first:last])
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


def _with_items(artifact: Artifact, factors: ItemFactors, evidence: dict[str, Any]) -> Artifact:
    whole = with_file(
        artifact, ITEMS_FILE, factors.to_bytes(), algorithm=ALGORITHM, evidence={**artifact.evidence, "items": evidence}
    )
    gates.final_check(whole)
    return whole


def _evidence(settings: InterestSettings, factors: ItemFactors, cuts: Sequence[int], end_time: int) -> dict[str, Any]:
    return {
        "items": len(factors),
        "bytes": len(factors.to_bytes()),
        "dimension": factors.dimension,
        "unobserved_weight": settings.ials.unobserved_weight,
        "regulariser": settings.ials.regulariser,
        "links": settings.link_kind,
        "link_share": settings.link_share,
        "link_window": settings.link_window,
        "diversity": settings.diversity,
        "validation_ndcg_100": settings.tried,
        "claim_calibrated_with_factors_until": list(cuts),
        "factors_until": end_time,
    }
