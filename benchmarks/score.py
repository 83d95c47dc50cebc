"""`score`: the server's forest kernels beside ONNX Runtime and scikit-learn, and the student on the device; rotating rows.

Ours and ONNX Runtime score the same file, one thread each, ONNX Runtime by `io_binding` over buffers made beforehand; both
are handed a row in the form they take fastest (ours a list, as it comes out of a request; ONNX Runtime a float32 row). Owns
the models that are measured: the forest and the booster of the goals (200 trees, 12 inputs), and both in the sizes that are
shipped. Runs in one process.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.frame import Goal, Report, Row, interleaved, latency_figures, ratio
from benchmarks.machine import machine
from benchmarks.workload import train_student

GOALS = (
    Goal("forest_1row_vs_ort", at_most=0.33),
    Goal("gb_1row_vs_ort", at_most=0.25),
    Goal("forest_256_vs_ort", at_most=0.45),
    Goal("gb_256_vs_ort"),
    Goal("student_1row_us", at_most=12),
    Goal("student_bytes", at_most=10_240),
    Goal("max_abs_diff_kernel", at_most=1e-6),
    Goal("max_abs_diff_sklearn"),
)
BATCH = 256
SEED = 20261126


@dataclass(frozen=True, slots=True)
class Shape:
    """A model to measure: its name in the report, its algorithm, inputs and trees, and the most splits on a path or leaves."""

    name: str
    algorithm: str
    input_count: int
    tree_count: int
    depth: int | None
    leaves_max: int | None


SHAPES = (
    Shape("forest, 200 trees, 12 inputs", "random_forest", 12, 200, 10, None),
    Shape("booster, 200 trees, 12 inputs", "gradient_boosting", 12, 200, 3, None),
    Shape("forest as shipped, 300 trees, 3 inputs", "random_forest", 3, 300, None, 64),
    Shape("booster as shipped, 150 trees, 3 inputs", "gradient_boosting", 3, 150, 3, None),
)


def run(*, quick: bool) -> Report:
    """Measure everything; the report."""
    report = Report("score", machine(), goals=GOALS)
    rounds, calls, batches, trained_on = (3, 400, 5, 3_000) if quick else (7, 3_000, 20, 10_000)
    kernel_gaps: list[float] = []
    sklearn_gaps: list[float] = []
    for shape in SHAPES:
        estimator, model, rows = _trained(shape, trained_on, calls + batches * BATCH)
        ours, theirs = _kernel(shape, model), _Ort(model, shape.input_count)
        kernel_gaps.append(_gap(ours.raw(rows), theirs.session.run(None, {"x": rows})[0].reshape(-1)))
        sklearn_gaps.append(_gap(ours.raw(rows[:2_000]), _estimators_raw(shape, estimator, rows[:2_000])))
        _beside(report, f"{shape.name}, 1 row", _one_at_a_time(ours, theirs, estimator, rows[:calls]), rounds)
        _beside(report, f"{shape.name}, {BATCH} rows", _in_batches(ours, theirs, rows[calls:]), rounds)
    for key, shape in (("forest", SHAPES[0]), ("gb", SHAPES[1])):
        for name, case in (("1row", f"{shape.name}, 1 row"), (str(BATCH), f"{shape.name}, {BATCH} rows")):
            mine, peer = report.row("reflexarc", case), report.row("onnxruntime", case)
            report.ratios[f"{key}_{name}_vs_ort"] = ratio(
                mine.figure("p50_us") if mine else None, peer.figure("p50_us") if peer else None
            )
    report.ratios["max_abs_diff_kernel"] = max(kernel_gaps)
    report.ratios["max_abs_diff_sklearn"] = max(sklearn_gaps)
    _student(report, rounds, calls, quick)
    report.notes.append("max_abs_diff_kernel: raw values of the kernel and of ONNX Runtime, same file, all rows of all models")
    report.notes.append(
        "max_abs_diff_sklearn: probabilities or log-odds; the export rounds leaves so that sums are exact in float32"
    )
    return report


def _trained(shape: Shape, trained_on: int, rows: int) -> tuple[Any, bytes, Any]:
    """(estimator, ONNX file, float32 rows to score) of one shape."""
    import numpy as np
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    from reflexarc_models.train.fit.forest import export_heavy

    seeded = np.random.default_rng(SEED)
    x = seeded.normal(size=(trained_on + rows, shape.input_count)).astype(np.float32)
    margin = x @ seeded.normal(size=shape.input_count) + 2 * np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2]
    y = (margin + 1.5 * seeded.normal(size=len(x)) > 0).astype(int)
    if shape.algorithm == "random_forest":
        estimator: Any = RandomForestClassifier(
            shape.tree_count, max_depth=shape.depth, max_leaf_nodes=shape.leaves_max, n_jobs=1, random_state=SEED
        )
    else:
        estimator = GradientBoostingClassifier(n_estimators=shape.tree_count, max_depth=shape.depth, random_state=SEED)
    estimator.fit(x[:trained_on], y[:trained_on])
    model, _ = export_heavy(estimator, shape.input_count, shape.algorithm)
    return estimator, model, x[trained_on:]


def _kernel(shape: Shape, model: bytes) -> Any:
    from reflexarc_models.forest_kernel import ForestKernel

    low, scale = (0.0, 4_096.0) if shape.algorithm == "random_forest" else (-8.0, 256.0)
    return ForestKernel(model, shape.input_count, low=low, scale=scale, top=4_095)


class _Ort:
    """ONNX Runtime in its best usage: one thread, bound buffers, filled in place."""

    def __init__(self, model: bytes, input_count: int) -> None:
        import numpy as np
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = {n: np.zeros((n, input_count), dtype=np.float32) for n in (1, BATCH)}
        self._output = {n: np.zeros((n, 1), dtype=np.float32) for n in (1, BATCH)}
        self._bound = {}
        for n in (1, BATCH):
            given, made = self._input[n], self._output[n]
            binding = self.session.io_binding()
            binding.bind_input("x", "cpu", 0, np.float32, given.shape, given.ctypes.data)
            binding.bind_output("raw", "cpu", 0, np.float32, made.shape, made.ctypes.data)
            self._bound[n] = binding
        self._copy = np.copyto

    def one(self, row: Any) -> float:
        self._copy(self._input[1][0], row)
        self.session.run_with_iobinding(self._bound[1])
        return float(self._output[1].item(0))

    def many(self, rows: Any) -> Any:
        self._copy(self._input[BATCH], rows)
        self.session.run_with_iobinding(self._bound[BATCH])
        return self._output[BATCH]


def _estimators_raw(shape: Shape, estimator: Any, rows: Any) -> Any:
    return estimator.predict_proba(rows)[:, 1] if shape.algorithm == "random_forest" else estimator.decision_function(rows)


def _gap(ours: Any, theirs: Any) -> float:
    return float(f"{float(abs(ours - theirs).max()):.3g}")


def _one_at_a_time(ours: Any, theirs: _Ort, estimator: Any, rows: Any) -> dict[str, tuple[Callable[[Any], Any], list[Any]]]:
    few = [rows[i : i + 1] for i in range(20)]
    return {
        "reflexarc": (ours.code, rows.tolist()),
        "onnxruntime": (theirs.one, list(rows)),
        "scikit-learn": (estimator.predict_proba, few),
    }


def _in_batches(ours: Any, theirs: _Ort, rows: Any) -> dict[str, tuple[Callable[[Any], Any], list[Any]]]:
    batches = [rows[i : i + BATCH] for i in range(0, len(rows) - BATCH + 1, BATCH)]
    return {"reflexarc": (ours.code_array, batches), "onnxruntime": (theirs.many, batches)}


def _beside(report: Report, case: str, asked: dict[str, tuple[Callable[[Any], Any], list[Any]]], rounds: int) -> None:
    def timed(name: str, _: int) -> list[int]:
        call, given = asked[name]
        taken = []
        for one in given:
            start = time.perf_counter_ns()
            call(one)
            taken.append(time.perf_counter_ns() - start)
        return taken

    gc.collect()
    for name, results in interleaved(rounds, {name: partial(timed, name) for name in asked}).items():
        figures = latency_figures(results)
        if case.endswith(f"{BATCH} rows"):
            figures["rate"] = round(BATCH * 1e6 / figures["p50_us"])
        report.rows.append(Row(name, case, sum(map(len, results)), figures))


def _student(report: Report, rounds: int, calls: int, quick: bool) -> None:
    """The churn student by the built-in walk: rows whose cells were never seen, and the same rows again."""
    import numpy as np

    from reflexarc_models.scorer import ArtifactScorer

    with tempfile.TemporaryDirectory(prefix="reflexarc-score-") as made:
        student = train_student(Path(made) / "student", quick=quick)
    seeded = np.random.default_rng(SEED)
    many = 10 * calls
    rows = np.column_stack([np.exp(seeded.normal(size=many) + 1.5), seeded.poisson(3.0, many), seeded.poisson(1.0, many)])
    vectors = rows[_first_of_each_cell(student, rows)[:calls]].tolist()
    found: dict[str, list[list[int]]] = {"new cells": [], "seen cells": []}
    for _ in range(rounds):
        scorer = ArtifactScorer({"churn": student}, "built-in")
        scorer.score("churn", student.reference, None)
        for results in found.values():
            taken = []
            for vector in vectors:
                start = time.perf_counter_ns()
                scorer.score("churn", vector, None)
                taken.append(time.perf_counter_ns() - start)
            results.append(taken)
    for case, results in found.items():
        report.rows.append(Row("reflexarc", f"student, 1 row, {case}", rounds * len(vectors), latency_figures(results)))
    report.ratios["student_1row_us"] = report.rows[-2].figure("p50_us")
    report.ratios["student_bytes"] = student.download_bytes
    report.notes.append(
        "student: score and confidence of a whole `score` call from a list, plain Python; its goal is on rows of new cells, "
        "the walk remembers the ones it has seen"
    )


def _first_of_each_cell(student: Any, rows: Any) -> Any:
    """Numbers of rows no two of which lie between the same thresholds of the student: none profits from another."""
    import numpy as np

    from reflexarc_models.onnx_tensors import initializers
    from reflexarc_models.walk import FEATURE, THRESHOLD

    found = initializers(student.files["model.onnx"])
    features, thresholds = np.array(found[FEATURE].values), np.array(found[THRESHOLD].values, dtype=np.float32)
    cells = [np.searchsorted(np.sort(thresholds[features == place]), rows[:, place]) for place in range(rows.shape[1])]
    return np.sort(np.unique(np.column_stack(cells), axis=0, return_index=True)[1])
