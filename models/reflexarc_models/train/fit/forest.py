"""The heavy models: a random forest and gradient boosting, as the server runs them.

Owns their fit and their export. The exported graph sums dyadic fractions that are exact in float32, so its
raw value does not depend on the order of summation: every runtime, batch size and kernel gives the same code.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError, ManifestError
from reflexarc_models.train.fit.tuning import LEARNING_RATE, SUBSAMPLE, boosting_shape, forest_leaf_rows

RANDOM_FOREST: Final = "random_forest"
GRADIENT_BOOSTING: Final = "gradient_boosting"
ALGORITHMS: Final = (RANDOM_FOREST, GRADIENT_BOOSTING)

TREE_COUNT: Final = {RANDOM_FOREST: 300, GRADIENT_BOOSTING: 150}
"""Of boosting: at most."""
LEAVES_MAX: Final = 64
OPSET: Final = {"": 17, "ai.onnx.ml": 3}
FLOAT32_BITS: Final = 24
CODE_COUNT: Final = 4_096
LOGIT_MAX: Final = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class HeavyModel:
    """A fitted estimator with its graph. raw = probability (forest) or log-odds (boosting)."""

    algorithm: str
    estimator: Any
    onnx: bytes
    raw_low: float
    raw_scale: float
    tolerance: float
    settings: dict[str, int]

    def raw(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The estimator's own raw value per row, the yardstick of the parity gate."""
        rows = x.astype(np.float32)
        if self.algorithm == RANDOM_FOREST:
            return np.asarray(self.estimator.predict_proba(rows)[:, 1], dtype=np.float64)
        return np.asarray(self.estimator.decision_function(rows), dtype=np.float64)

    def logits(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds per row."""
        raw = self.raw(x)
        if self.algorithm != RANDOM_FOREST:
            return raw
        share = np.clip(raw, 1e-6, 1 - 1e-6)
        return np.asarray(np.log(share / (1 - share)))

    def logit_of_code(self) -> NDArray[np.float64]:
        """Log-odds at the middle of each code's bin, ascending."""
        middle = self.raw_low + (np.arange(CODE_COUNT) + 0.5) / self.raw_scale
        return np.asarray(np.log(middle / (1.0 - middle)) if self.algorithm == RANDOM_FOREST else middle)

    def codes(self, raw: NDArray[np.float64]) -> NDArray[np.int64]:
        """Codes of raw values, by the manifest's rule."""
        return np.clip(np.floor((raw - self.raw_low) * self.raw_scale), 0, CODE_COUNT - 1).astype(np.int64)

    def thresholds(self) -> list[tuple[int, float]]:
        """(input, threshold) of every split, for rows that sit exactly on one."""
        trees = self.estimator.estimators_
        found = set()
        for tree in np.ravel(np.asarray(trees, dtype=object)):
            inner = tree.tree_
            for feature, threshold in zip(inner.feature, inner.threshold, strict=True):
                if feature >= 0:
                    found.add((int(feature), float(threshold)))
        return sorted(found)


def fit_heavy(algorithm: str, x: NDArray[np.float64], y: NDArray[np.int8], subjects: NDArray[Any], seed: int) -> HeavyModel:
    """Fit and export. x: float64 [n, F] without NaN (trained on its float32 values, which is what hosts
    compare).

    Raises DefinitionError for an algorithm outside ALGORITHMS, ManifestError when the export does not hold.
    """
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

    rows = x.astype(np.float32)
    if algorithm == RANDOM_FOREST:
        leaf_rows = forest_leaf_rows(rows, y, subjects, LEAVES_MAX, seed)
        estimator: Any = RandomForestClassifier(
            n_estimators=TREE_COUNT[algorithm], min_samples_leaf=leaf_rows, max_leaf_nodes=LEAVES_MAX,
            max_features="sqrt", n_jobs=1, random_state=seed,
        )  # fmt: skip
        low, scale, settings = (
            0.0,
            float(CODE_COUNT),
            {"trees": TREE_COUNT[algorithm], "leaf_rows_min": leaf_rows},
        )
    elif algorithm == GRADIENT_BOOSTING:
        leaf_rows = max(5, min(50, len(y) // 200))
        depth, trees = boosting_shape(rows, y, subjects, leaf_rows, TREE_COUNT[algorithm], seed)
        estimator = GradientBoostingClassifier(
            n_estimators=trees, max_depth=depth, learning_rate=LEARNING_RATE, subsample=SUBSAMPLE,
            min_samples_leaf=leaf_rows, random_state=seed,
        )  # fmt: skip
        low, scale = -LOGIT_MAX, CODE_COUNT / (2 * LOGIT_MAX)
        settings = {"trees": trees, "depth": depth, "leaf_rows_min": leaf_rows}
    else:
        raise DefinitionError(f"no algorithm {algorithm!r}", hint=f"one of {', '.join(ALGORITHMS)}")
    estimator.fit(rows, y)
    onnx, tolerance = export_heavy(estimator, x.shape[1], algorithm)
    return HeavyModel(algorithm, estimator, onnx, low, scale, tolerance, settings)


def export_heavy(estimator: Any, input_count: int, algorithm: str) -> tuple[bytes, float]:
    """(ONNX file, largest raw difference that rounding the leaves can cause).

    skl2onnx converts the estimator (thresholds rounded towards the side that keeps float32 comparisons
    equal); the ensemble node then becomes a regressor that adds dyadic leaves. Raises ManifestError when the
    graph is not the one tree ensemble it must be.
    """
    import onnx
    from onnx import helper
    from skl2onnx import to_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the converter are not ours to act on
        converted = to_onnx(
            estimator,
            np.zeros((1, input_count), np.float32),
            options={"zipmap": False},
            target_opset=dict(OPSET),
        )
    nodes = [node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(nodes) != 1:
        raise ManifestError(f"export gate: the converter made {len(nodes)} tree ensembles, not one")
    fields = {entry.name: helper.get_attribute_value(entry) for entry in nodes[0].attribute}
    prefix = "class" if nodes[0].op_type == "TreeEnsembleClassifier" else "target"
    of_one = _positive_class(fields, prefix)
    tree_ids = np.asarray(fields[f"{prefix}_treeids"])[of_one]
    node_ids = np.asarray(fields[f"{prefix}_nodeids"])[of_one]
    leaves = np.asarray(fields[f"{prefix}_weights"], dtype=np.float64)[of_one]
    base = float(np.ravel(fields.get("base_values") or [0.0])[-1])
    largest = np.zeros(int(tree_ids.max()) + 1)
    np.maximum.at(largest, tree_ids, np.abs(leaves))
    unit = _unit(largest, base)
    attributes: dict[str, Any] = {name: value for name, value in fields.items() if name.startswith("nodes_")}
    attributes |= {
        "target_treeids": tree_ids.tolist(),
        "target_nodeids": node_ids.tolist(),
        "target_ids": [0] * len(leaves),
        "target_weights": (np.round(leaves / unit) * unit).tolist(),
        "base_values": [round(base / unit) * unit],
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
    }
    graph = helper.make_graph(
        [helper.make_node("TreeEnsembleRegressor", ["x"], ["raw"], domain="ai.onnx.ml", **attributes)],
        algorithm,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, input_count])],
        [helper.make_tensor_value_info("raw", onnx.TensorProto.FLOAT, [None, 1])],
    )
    # One entry per domain: the converter lists the default one twice, which other tools trip over.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSET.items()])
    model.ir_version = 8
    model.producer_name = "reflexarc"
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True), unit * (len(largest) + 1) / 2 + 1e-6


def _unit(largest: NDArray[np.float64], base: float) -> float:
    """The finest power of two in which no sum of leaves and base needs more bits than float32 has. largest: |leaf|, a tree."""
    bits = FLOAT32_BITS - math.ceil(math.log2(max(largest.sum() + abs(base), 2.0**-20)))
    while (np.round(largest * 2.0**bits)).sum() + round(abs(base) * 2.0**bits) > 2**FLOAT32_BITS:
        bits -= 1  # rounding up has carried it over
    return 2.0**-bits


def _positive_class(fields: dict[str, Any], prefix: str) -> NDArray[np.bool_]:
    """Which leaf entries speak for label 1: a binary ensemble may list one weight per leaf or one per
    class.
    """
    ids = np.asarray(fields[f"{prefix}_ids"])
    return np.asarray(ids == ids.max())
