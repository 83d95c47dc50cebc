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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from reflexarc_core.catalog import Catalog
from reflexarc_core.model import ModelDefinition
from reflexarc_models.artifact import Artifact
from reflexarc_models.item_factors import ITEMS_FILE, ItemFactors
from reflexarc_models.train.fit.forest import GRADIENT_BOOSTING
from reflexarc_models.train.fit.threads import one_thread
from reflexarc_models.train.forms import gates
from reflexarc_models.train.forms.compose import with_file
from reflexarc_models.train.ranking.claim import CLAIM_HORIZON_MS, claim_dataset
from reflexarc_models.train.ranking.interactions import Interactions, of_history
from reflexarc_models.train.ranking.tuning import InterestSettings, Note, fit_items, tune
from reflexarc_models.train.rows.history import History
from reflexarc_models.train.train import NoData, TrainedModel, TrainSpec, train_model

ALGORITHM: Final = "collaborative_filtering"
CLAIM_LINE: Final = 0.5

CUT_SHARES: Final = (0.2, 0.4, 0.6, 0.8)
"""Shares of the interactions at which factors are fitted for the claim's rows behind them."""
INTERACTIONS_MIN: Final = 200


def train_interest(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Sequence[int]] | None = None,
    *,
    seed: int = 0,
    version: int = 1,
    note: Note = lambda text: None,
    beside: Mapping[str, bytes] | None = None,
) -> TrainedModel | NoData:
    """Train content interest from a log; both forms carry `items.bin`.

    acted: subject -> times (ms) at which the model's triggers fired for it, as for `build_dataset`. beside: files that go into
    both forms as well. Too little to learn from: NoData. Raises ManifestError when a gate refuses the export.
    """
    with one_thread():
        return _train(catalog, model, log, acted, seed, version, note, beside or {})


def _train(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Sequence[int]] | None,
    seed: int,
    version: int,
    note: Note,
    beside: Mapping[str, bytes],
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
        device_form=model.device_form,
        beside=beside,
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
