"""One model from one dataset: split, fit, then both forms of it; or a plain `NoData`.

Owns the order of these steps and what is left of a dataset before anything is fitted. Must never raise because a log says too
little.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import DEVICE_FORMS
from reflexarc_models.artifact import Artifact
from reflexarc_models.train.fit.forest import ALGORITHMS, fit_heavy
from reflexarc_models.train.forms.compose import Prepared, TrainSpec
from reflexarc_models.train.forms.making import Forms
from reflexarc_models.train.rows.dataset import Dataset, Rows, thinned
from reflexarc_models.train.rows.split import PART_ROWS_MIN, Split, split

__all__ = ["NoData", "TrainSpec", "TrainedModel", "train_model"]


@dataclass(frozen=True, slots=True)
class NoData:
    """Why there is no model. A result, not an error: the rest of the catalog goes on without it."""

    model_id: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """Both forms of one model, gated and ready to write. train_seconds is wall time, not part of any
    manifest. calibration, test: the newest rows, which judge it against what is live.
    """

    model_id: str
    device: Artifact
    server: Artifact
    train_seconds: float
    calibration: Rows
    test: Rows


def train_model(spec: TrainSpec, dataset: Dataset, parts: Split | None = None) -> TrainedModel | NoData:
    """Train, calibrate, distil, export and gate one model. parts: which rows do what, `split(dataset)` by default.

    Raises DefinitionError when spec and dataset contradict each other and ManifestError when a gate refuses
    the export. Too few rows, one label only or no varying input: NoData.
    """
    started = time.perf_counter()
    if spec.algorithm not in ALGORITHMS:
        raise DefinitionError(f"no algorithm {spec.algorithm!r}", hint=f"one of {', '.join(ALGORITHMS)}")
    if spec.device_form not in DEVICE_FORMS:
        raise DefinitionError(f"no device form {spec.device_form!r}", hint=f"one of {', '.join(DEVICE_FORMS)}")
    if spec.horizon_ms != dataset.horizon_ms:
        raise DefinitionError(f"model {spec.model_id}: its horizon is not the one its rows were labelled with")
    prepared = _prepare(spec, dataset, parts)
    if isinstance(prepared, NoData):
        return prepared
    x, y, parts = prepared.x, dataset.y, prepared.parts
    heavy = fit_heavy(spec.algorithm, x[parts.train], y[parts.train], dataset.subjects[parts.train], spec.seed)
    device, server = Forms(spec, dataset, prepared, heavy).both()
    calibration, test = (dataset.rows(part) for part in (parts.calibration, parts.test))
    return TrainedModel(spec.model_id, device, server, time.perf_counter() - started, calibration, test)


def _prepare(spec: TrainSpec, dataset: Dataset, parts: Split | None) -> Prepared | NoData:
    n, positives = len(dataset), int(dataset.y.sum())
    if n < PART_ROWS_MIN:
        return NoData(spec.model_id, f"{n} labelled rows, at least {PART_ROWS_MIN} are needed")
    if positives in (0, n):
        return NoData(spec.model_id, f"no {'positive' if positives == 0 else 'negative'} label in {n} rows")
    whole = parts or split(dataset)
    parts = replace(whole, train=thinned(whole.train, spec.seed), test=thinned(whole.test, spec.seed))
    for name, rows in (("training", parts.train), ("calibration", parts.calibration), ("test", parts.test)):
        labels = dataset.y[rows]
        if not len(labels) or labels.min() == labels.max():
            return NoData(spec.model_id, f"{len(labels)} {name} rows without both labels")
    seen = dataset.x[parts.train]
    varies = [
        bool(np.isfinite(column).any() and len(np.unique(column[np.isfinite(column)])) + np.isnan(column).any() > 1)
        for column in seen.T
    ]
    given = [not spec.inputs or name in spec.inputs for name in dataset.inputs]
    kept = [place for place, (is_given, goes) in enumerate(zip(given, varies, strict=True)) if is_given and goes]
    if not kept:
        return NoData(spec.model_id, f"none of {', '.join(spec.inputs or dataset.inputs)} varies in the training rows")
    # Behind every value seen in training, so a tree can tell an absent value from all others by one split.
    absent = tuple(float(np.ceil(np.nanmax(seen[:, place])) + 1.0) for place in kept)
    x = np.where(np.isnan(dataset.x[:, kept]), np.array(absent), dataset.x[:, kept])
    dropped = tuple(name for name, is_given, goes in zip(dataset.inputs, given, varies, strict=True) if is_given and not goes)
    return Prepared(tuple(dataset.inputs[place] for place in kept), (*dataset.inputs_left_out, *dropped), absent, x, parts)
