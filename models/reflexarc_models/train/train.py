"""One model from one dataset: split, fit, distil, calibrate, export, gate; two artifacts or a plain `NoData`.

Owns the order of these steps and the evidence in the manifests. Must never hand out a model that failed its
parity gate, nor raise because a log says too little.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import GRID
from reflexarc_models.artifact import MODEL_FILE, OBLIVIOUS_INT8, ONNX_FOREST, PARITY_FILE, Artifact
from reflexarc_models.ort import OnnxRunner
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.train.evidence.calibrate import (
    Calibration,
    area_under_curve,
    brier,
    calibrate,
    calibrate_as,
    quantile_codes,
)
from reflexarc_models.train.evidence.capacity import capacity
from reflexarc_models.train.evidence.drift import shares_of
from reflexarc_models.train.fit.forest import ALGORITHMS, RANDOM_FOREST, HeavyModel, fit_heavy
from reflexarc_models.train.fit.forest import CODE_COUNT as HEAVY_CODE_COUNT
from reflexarc_models.train.forms import gates
from reflexarc_models.train.forms.compose import Form, Prepared, TrainSpec, compose, draft, with_evidence
from reflexarc_models.train.forms.distill import CODE_COUNT as STUDENT_CODE_COUNT
from reflexarc_models.train.forms.distill import TREE_COUNT, TREE_COUNT_MIN, distillation_rows, export_student, fit_student
from reflexarc_models.train.rows.dataset import Dataset, Rows
from reflexarc_models.train.rows.split import PART_ROWS_MIN, Split, split

__all__ = ["NoData", "TrainSpec", "TrainedModel", "train_model"]

WEEK_MS: Final = 7 * 86_400_000
ROWS_MAX: Final = 20_000
"""Rows used of the training part, of the test part and of the newest moments; more change nothing but the
time.
"""


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
    if spec.horizon_ms != dataset.horizon_ms:
        raise DefinitionError(f"model {spec.model_id}: its horizon is not the one its rows were labelled with")
    prepared = _prepare(spec, dataset, parts)
    if isinstance(prepared, NoData):
        return prepared
    x, y, parts = prepared.x, dataset.y, prepared.parts
    heavy = fit_heavy(spec.algorithm, x[parts.train], y[parts.train], dataset.subjects[parts.train], spec.seed)

    # The student imitates the heavy model on rows whose labels nobody looks at; test rows stay unseen.
    known, counts = distillation_rows(x[np.concatenate([parts.train, parts.calibration])], spec.seed)
    raw = heavy.raw(known)
    if spec.algorithm == RANDOM_FOREST:
        raw = np.clip(raw, 1e-6, 1 - 1e-6)
        raw = np.log(raw / (1 - raw))
    newest_from = int(dataset.score_time[np.concatenate([parts.calibration, parts.test])].min())
    newest = np.flatnonzero(dataset.score_time >= newest_from)
    weeks = max(1.0, (int(dataset.score_time.max()) - newest_from) / WEEK_MS)
    moments_per_week = spec.moments_per_week or len(newest) / weeks
    moments = _thinned(newest, spec.seed)
    test_codes: dict[str, NDArray[np.int64]] = {}
    newest_codes: dict[str, NDArray[np.int64]] = {}

    shown = np.concatenate([parts.train, parts.calibration])
    forests: list[tuple[Calibration, NDArray[np.int64]]] = []

    def built(form: Form, gate_rows: NDArray[np.float64]) -> Artifact:
        of_forest = form.name == ONNX_FOREST
        bare = draft(spec, dataset, prepared, form)
        gap = gates.parity_gate(bare, gate_rows, *((heavy.raw, heavy.tolerance) if of_forest else ()))
        runner = OnnxRunner(bare)  # the gate has shown that every path gives these codes
        codes, labels = runner.codes(x[parts.calibration]), y[parts.calibration]
        if of_forest:
            tables = calibrate(codes, labels, heavy.logit_of_code())
            forests.append((tables, np.asarray(tables.score_grid)[runner.codes(x[shown])]))
        else:
            tables = calibrate_as(codes, labels, runner.codes(x[shown]), forests[0][1], forests[0][0], STUDENT_CODE_COUNT)
        test_codes[form.name] = np.array(runner.codes(x[parts.test]), dtype=np.int64)
        evidence = _evidence(dataset, prepared, test_codes[form.name], tables)
        evidence["settings"] = heavy.settings
        evidence["gates"] = {"parity": {"rows": len(gate_rows), "holds": True}}
        evidence["parity_diff_max"] = gap if of_forest else 0.0
        evidence["bytes"] = {MODEL_FILE: len(form.onnx)}
        if of_forest:  # the device's download has no room for what only the server compares
            evidence["input_shares"] = shares_of(_of(dataset, prepared.inputs, parts.train), prepared.inputs)
        newest_codes[form.name] = np.array(runner.codes(x[moments]), dtype=np.int64)
        moment_codes = quantile_codes(newest_codes[form.name])
        return compose(spec, dataset, prepared, form, tables, moment_codes, moments_per_week, evidence, gate_rows)

    server: Artifact | None = None
    tree_count = TREE_COUNT
    while True:
        student = fit_student(known, raw, heavy.thresholds(), tree_count, counts=counts)
        splits = [(int(place), float(edge)) for place, edge in zip(student.features, student.thresholds, strict=True)]
        gate_rows = _gate_rows(prepared, heavy, splits, spec.seed)
        if server is None:
            forest = Form(ONNX_FOREST, heavy.onnx, HEAVY_CODE_COUNT, {"low": heavy.raw_low, "scale": heavy.raw_scale})
            server = built(forest, gate_rows)
        form = Form(OBLIVIOUS_INT8, export_student(student, len(prepared.inputs)), STUDENT_CODE_COUNT, None)
        device = _with_device_evidence(built(form, gate_rows), server, test_codes, x[parts.test])
        over = device.download_bytes - gates.DEVICE_BYTES_MAX
        if over <= 0 or tree_count == TREE_COUNT_MIN:
            break
        # Its splits and tables take what they take: the trees make room.
        tree_count = max(TREE_COUNT_MIN, tree_count - 1 - over // student.bytes_per_tree)
    lines = {
        name: capacity(artifact, newest_codes[form], moments_per_week, test_codes[form], y[parts.test])
        for name, artifact, form in (("device", device, OBLIVIOUS_INT8), ("server", server, ONNX_FOREST))
    }
    server = with_evidence(server, {**server.evidence, "capacity": lines})
    gates.final_check(server)
    gates.final_check(device)
    calibration, test = (dataset.rows(part) for part in (parts.calibration, parts.test))
    return TrainedModel(spec.model_id, device, server, time.perf_counter() - started, calibration, test)


def _of(dataset: Dataset, inputs: tuple[str, ...], part: NDArray[np.int64]) -> NDArray[np.float64]:
    columns = np.array([dataset.inputs.index(name) for name in inputs], dtype=np.int64)
    return np.asarray(dataset.x[np.ix_(part, columns)])


def _prepare(spec: TrainSpec, dataset: Dataset, parts: Split | None) -> Prepared | NoData:
    n, positives = len(dataset), int(dataset.y.sum())
    if n < PART_ROWS_MIN:
        return NoData(spec.model_id, f"{n} labelled rows, at least {PART_ROWS_MIN} are needed")
    if positives in (0, n):
        return NoData(spec.model_id, f"no {'positive' if positives == 0 else 'negative'} label in {n} rows")
    whole = parts or split(dataset)
    parts = replace(whole, train=_thinned(whole.train, spec.seed), test=_thinned(whole.test, spec.seed))
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


def _thinned(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most ROWS_MAX of `rows`, ascending."""
    if len(rows) <= ROWS_MAX:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))


def _gate_rows(prepared: Prepared, heavy: HeavyModel, splits: list[tuple[int, float]], seed: int) -> NDArray[np.float64]:
    half = gates.PARITY_ROWS_MAX // 4
    held_out = prepared.x[np.concatenate([prepared.parts.test, prepared.parts.calibration])][: 2 * half]
    return np.vstack(
        [
            held_out,
            gates.threshold_rows(held_out, heavy.thresholds(), half, seed),
            gates.threshold_rows(held_out, splits, half, seed + 1),
            np.array([prepared.absent_values]),
            prepared.x.min(axis=0, keepdims=True) - 1.0,
            prepared.x.max(axis=0, keepdims=True) * 2.0 + 1.0,
        ]
    )


def _evidence(dataset: Dataset, prepared: Prepared, test_codes: NDArray[np.int64], tables: Calibration) -> dict[str, Any]:
    y, parts, test = dataset.y, prepared.parts, prepared.parts.test
    grid = np.asarray(tables.score_grid)[test_codes]
    recency = np.where(np.isnan(dataset.recency_days), 1e9, dataset.recency_days)
    # The baseline looks at the training rows once: to learn whether silence speaks for or against.
    sign = 1.0 if area_under_curve(recency[parts.train], y[parts.train]) >= 0.5 else -1.0
    return {
        "rows": len(dataset),
        "positives": int(y.sum()),
        "unmatured": dataset.unmatured_count,
        "acted_on": dataset.acted_on_count,
        "split": {
            "layout": parts.layout,
            "statement": parts.statement,
            "train_rows": len(parts.train),
            "calibration_rows": len(parts.calibration),
            "test_rows": len(test),
        },
        "auc": round(area_under_curve(test_codes.astype(np.float64), y[test]), 5),
        "auc_recency": round(area_under_curve(sign * recency[test], y[test]), 5),
        "brier": round(brier(grid, y[test]), 5),
        "brier_base_rate": round(float(np.mean((y[parts.train].mean() - y[test]) ** 2)), 5),
        "positive_rate_test": round(float(y[test].mean()), 5),
        "score_mean_test": round(float((grid / GRID).mean()), 5),
    }


def _with_device_evidence(
    device: Artifact,
    server: Artifact,
    test_codes: dict[str, NDArray[np.int64]],
    test_rows: NDArray[np.float64],
) -> Artifact:
    """The device form with what its size, its speed and its distance from the server's form were."""
    model_bytes, parity_bytes = len(device.files[MODEL_FILE]), len(device.files[PARITY_FILE])
    evidence = {
        **device.evidence,
        "against_server": gates.compared(device, server, test_codes[OBLIVIOUS_INT8], test_codes[ONNX_FOREST]),
        "auc_drop": round(server.evidence["auc"] - device.evidence["auc"], 5),
        "latency_us_p50": round(_latency_us(device, test_rows), 2),
        "bytes": {
            MODEL_FILE: model_bytes,
            PARITY_FILE: parity_bytes,
            "server": len(server.files[MODEL_FILE]),
        },
    }
    # The manifest's own size is part of what it states: a few rounds until the number's width has settled.
    total = 0
    while total != device.download_bytes:
        total = device.download_bytes
        evidence["gates"] = {
            **device.evidence["gates"],
            "int8": {"holds": True},
            "size": {
                "bytes": total,
                "limit": gates.DEVICE_BYTES_MAX,
                "holds": total <= gates.DEVICE_BYTES_MAX,
            },
        }
        device = with_evidence(device, evidence)
    return device


def _latency_us(artifact: Artifact, x: NDArray[np.float64]) -> float:
    """Median time of one score over rotating rows, in microseconds, on the training machine."""
    scorer, name = ArtifactScorer({artifact.model_id: artifact}), artifact.model_id
    rows = x[:2_000].tolist()
    scorer.score(name, rows[0], None)
    taken = []
    for row in rows:
        began = time.perf_counter_ns()
        scorer.score(name, row, None)
        taken.append(time.perf_counter_ns() - began)
    return float(np.median(taken)) / 1e3
