"""Both forms of one fitted model: the server's forest, and what devices are given of it.

Owns the order: the server's form first, for a student's codes are given the meaning that the forest's calibrated scores have;
then the device's form, as large as a download may be; last what is measured of both. A form that fails its parity gate is
never handed out.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.artifact import MODEL_FILE, OBLIVIOUS_INT8, ONNX_FOREST, ONNX_TREES5, PARITY_FILE, QDQ_INT8, Artifact
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
from reflexarc_models.train.fit.forest import CODE_COUNT as HEAVY_CODE_COUNT
from reflexarc_models.train.fit.forest import HeavyModel
from reflexarc_models.train.forms import gates, network
from reflexarc_models.train.forms.compose import Form, Prepared, TrainSpec, compose, draft, with_evidence
from reflexarc_models.train.forms.distill import (
    TREE_COUNT,
    TREE_COUNT_MIN,
    distillation_rows,
    export_student,
    fit_student,
    near_lines,
)
from reflexarc_models.train.forms.lossless import lossless
from reflexarc_models.train.rows.dataset import Dataset, thinned

WEEK_MS: Final = 7 * 86_400_000


class Forms:
    """The forms of one fitted model, made one by one from the same rows."""

    def __init__(self, spec: TrainSpec, dataset: Dataset, prepared: Prepared, heavy: HeavyModel) -> None:
        self._spec, self._dataset, self._prepared, self._heavy = spec, dataset, prepared, heavy
        parts = prepared.parts
        self._shown = np.concatenate([parts.train, parts.calibration])
        newest_from = int(dataset.score_time[np.concatenate([parts.calibration, parts.test])].min())
        newest = np.flatnonzero(dataset.score_time >= newest_from)
        weeks = max(1.0, (int(dataset.score_time.max()) - newest_from) / WEEK_MS)
        self._moments_per_week = spec.moments_per_week or len(newest) / weeks
        self._moments = thinned(newest, spec.seed)
        self._test_codes: dict[str, NDArray[np.int64]] = {}
        self._newest_codes: dict[str, NDArray[np.int64]] = {}

    def both(self) -> tuple[Artifact, Artifact]:
        """(the device's form, the server's). Raises ManifestError when a gate refuses the export."""
        # A student imitates the heavy model on rows whose labels nobody looks at; test rows stay unseen.
        known, counts = distillation_rows(self._prepared.x[self._shown], self._spec.seed)
        logits = self._heavy.logits(known)
        server = self._server()
        if self._spec.device_form == ONNX_TREES5:
            device = self._whole_forest(server)
        elif self._spec.device_form == QDQ_INT8:
            device = self._quantized_network(server, known, logits)
        else:
            device = self._symmetric_trees(server, known, logits, counts)
        at_capacity = {
            each.form: capacity(
                each,
                self._newest_codes[each.form],
                self._moments_per_week,
                self._test_codes[each.form],
                self._dataset.y[self._prepared.parts.test],
            )
            for each in (device, server)
        }
        lines = {"device": at_capacity[device.form], "server": at_capacity[server.form]}
        server = with_evidence(server, {**server.evidence, "capacity": lines})
        gates.final_check(server)
        gates.final_check(device)
        return device, server

    # -- the server's ------------------------------------------------------------------------------------------------

    def _server(self) -> Artifact:
        heavy = self._heavy
        form = Form(ONNX_FOREST, heavy.onnx, HEAVY_CODE_COUNT, {"low": heavy.raw_low, "scale": heavy.raw_scale})
        rows = self._gate_rows([])
        bare = draft(self._spec, self._dataset, self._prepared, form)
        gap = gates.parity_gate(bare, rows, heavy.raw, heavy.tolerance)
        x, parts = self._prepared.x, self._prepared.parts
        runner = OnnxRunner(bare)  # the gate has shown that every path gives these codes
        self._tables = calibrate(runner.codes(x[parts.calibration]), self._dataset.y[parts.calibration], heavy.logit_of_code())
        self._scores_shown = np.asarray(self._tables.score_grid)[runner.codes(x[self._shown])]
        more = {
            "parity_diff_max": gap,
            # The device's download has no room for what only the server compares.
            "input_shares": shares_of(_of(self._dataset, self._prepared.inputs, parts.train), self._prepared.inputs),
        }
        return self._composed(form, self._tables, runner, rows, more)

    # -- the device's ------------------------------------------------------------------------------------------------

    def _symmetric_trees(
        self, server: Artifact, known: NDArray[np.float64], logits: NDArray[np.float64], counts: NDArray[np.float64]
    ) -> Artifact:
        thresholds = self._heavy.thresholds()
        scores = np.asarray(self._tables.score_grid)[OnnxRunner(server).codes(known)] / GRID
        counts = counts * near_lines(scores, self._spec.lines)
        tree_count = TREE_COUNT
        while True:
            student = fit_student(known, logits, thresholds, tree_count, counts=counts)
            splits = [(int(place), float(edge)) for place, edge in zip(student.features, student.thresholds, strict=True)]
            onnx = export_student(student, len(self._prepared.inputs))
            form = Form(OBLIVIOUS_INT8, onnx, student.code_count, None)
            device = self._measured(self._student(form, splits), server, is_int8=True)
            over = device.download_bytes - gates.DEVICE_BYTES_MAX
            if over <= 0 or tree_count == TREE_COUNT_MIN:
                return device
            # Its splits and tables take what they take: the trees make room.
            tree_count = max(TREE_COUNT_MIN, tree_count - 1 - over // student.bytes_per_tree)

    def _quantized_network(self, server: Artifact, known: NDArray[np.float64], logits: NDArray[np.float64]) -> Artifact:
        fitted = network.fit_network(known, logits, self._spec.seed)
        onnx, bins = network.export_network(fitted, known)
        return self._measured(self._student(Form(QDQ_INT8, onnx, network.CODE_COUNT, bins), []), server, is_int8=True)

    def _whole_forest(self, server: Artifact) -> Artifact:
        for codes in (self._test_codes, self._newest_codes):
            codes[ONNX_TREES5] = codes[ONNX_FOREST]  # its gate has shown that every sum is the same
        return self._measured(lossless(server), server, is_int8=False)

    def _student(self, form: Form, splits: list[tuple[int, float]]) -> Artifact:
        rows = self._gate_rows(splits)
        bare = draft(self._spec, self._dataset, self._prepared, form)
        gates.parity_gate(bare, rows)
        x, parts = self._prepared.x, self._prepared.parts
        runner = OnnxRunner(bare)
        tables = calibrate_as(
            runner.codes(x[parts.calibration]), self._dataset.y[parts.calibration],
            runner.codes(x[self._shown]), self._scores_shown, self._tables, form.code_count, self._spec.lines,
        )  # fmt: skip
        return self._composed(form, tables, runner, rows, {"parity_diff_max": 0.0})

    # -- what both have ----------------------------------------------------------------------------------------------

    def _composed(
        self, form: Form, tables: Calibration, runner: OnnxRunner, gate_rows: NDArray[np.float64], more: dict[str, Any]
    ) -> Artifact:
        x, parts = self._prepared.x, self._prepared.parts
        self._test_codes[form.name] = np.array(runner.codes(x[parts.test]), dtype=np.int64)
        self._newest_codes[form.name] = np.array(runner.codes(x[self._moments]), dtype=np.int64)
        evidence = {
            **_evidence(self._dataset, self._prepared, self._test_codes[form.name], tables),
            "settings": self._heavy.settings,
            "gates": {"parity": {"rows": len(gate_rows), "holds": True}},
            "bytes": {MODEL_FILE: len(form.onnx)},
            **more,
        }
        codes = quantile_codes(self._newest_codes[form.name])
        return compose(
            self._spec, self._dataset, self._prepared, form, tables, codes, self._moments_per_week, evidence, gate_rows
        )  # fmt: skip

    def _gate_rows(self, splits: list[tuple[int, float]]) -> NDArray[np.float64]:
        """Held-out rows, rows on and beside thresholds of the heavy model and of `splits`, one without any value, extremes."""
        prepared, seed = self._prepared, self._spec.seed
        half = gates.PARITY_ROWS_MAX // 4
        held_out = prepared.x[np.concatenate([prepared.parts.test, prepared.parts.calibration])][: 2 * half]
        thresholds = self._heavy.thresholds()
        return np.vstack(
            [
                held_out,
                gates.threshold_rows(held_out, thresholds, half, seed),
                gates.threshold_rows(held_out, splits or thresholds, half, seed + 1),
                np.array([prepared.absent_values]),
                prepared.x.min(axis=0, keepdims=True) - 1.0,
                prepared.x.max(axis=0, keepdims=True) * 2.0 + 1.0,
            ]
        )

    def _measured(self, device: Artifact, server: Artifact, *, is_int8: bool) -> Artifact:
        """The device's form with what its size, its speed and its distance from the server's form were."""
        model_bytes, parity_bytes = len(device.files[MODEL_FILE]), len(device.files[PARITY_FILE])
        evidence = {
            **{key: value for key, value in device.evidence.items() if key != "input_shares"},
            "against_server": gates.compared(device, server, self._test_codes[device.form], self._test_codes[ONNX_FOREST]),
            "auc_drop": round(server.evidence["auc"] - device.evidence["auc"], 5),
            "latency_us_p50": round(_latency_us(device, self._prepared.x[self._prepared.parts.test]), 2),
            "bytes": {MODEL_FILE: model_bytes, PARITY_FILE: parity_bytes, "server": len(server.files[MODEL_FILE])},
        }
        passed = device.evidence["gates"] | ({"int8": {"holds": True}} if is_int8 else {})
        # The manifest's own size is part of what it states: a few rounds until the number's width has settled.
        total = 0
        while total != device.download_bytes:
            total = device.download_bytes
            size = {"bytes": total, "limit": gates.DEVICE_BYTES_MAX, "holds": total <= gates.DEVICE_BYTES_MAX}
            device = with_evidence(device, {**evidence, "gates": {**passed, "size": size}})
        return device


def _of(dataset: Dataset, inputs: tuple[str, ...], part: NDArray[np.int64]) -> NDArray[np.float64]:
    columns = np.array([dataset.inputs.index(name) for name in inputs], dtype=np.int64)
    return np.asarray(dataset.x[np.ix_(part, columns)])


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
