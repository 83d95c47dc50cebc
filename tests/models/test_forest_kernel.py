"""The server's kernel: the codes of ONNX Runtime and scikit-learn on every row there can be, from the same file."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_worlds import DAY_MS, HORIZON_MS, spec, trained, world
from numpy.typing import NDArray

from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_models import forest_kernel
from reflexarc_models.artifact import MODEL_FILE, PARITY_FILE, Artifact, assemble
from reflexarc_models.forest_kernel import ForestKernel
from reflexarc_models.onnx_trees import read_trees
from reflexarc_models.scorer import KERNEL, ONNXRUNTIME, ArtifactScorer
from reflexarc_models.train.forms import gates
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.train import NoData, train_model

ALGORITHMS = ("random_forest", "gradient_boosting")


def runtime_raw(model: bytes, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": rows})[0].reshape(-1), dtype=np.float64)


def kernel_of(model: bytes, input_count: int, low: float = 0.0, scale: float = 4_096.0) -> ForestKernel:
    """A kernel over a bare model file."""
    return ForestKernel(model, input_count, low=low, scale=scale, top=4_095)


def awkward_rows(model: bytes, width: int, count: int, seed: int) -> NDArray[np.float32]:
    """Rows on, just under and just over thresholds, among them NaN, both zeros, infinities and float32's ends."""
    trees = read_trees(model, width)
    random = np.random.default_rng(seed)
    splits = np.flatnonzero(trees.lefts != np.arange(len(trees.lefts)))
    rows = random.normal(size=(count, width)).astype(np.float32)
    if len(splits):
        near = trees.thresholds[random.choice(splits, size=rows.shape)]
        near = np.where(random.random(rows.shape) < 0.3, np.nextafter(near, np.float32(np.inf)), near)
        rows = np.where(random.random(rows.shape) < 0.7, near, rows).astype(np.float32)
    odd = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf, 3.4028235e38, -3.4028235e38, 1e-45, -1e-45], dtype=np.float32)
    return np.where(random.random(rows.shape) < 0.15, odd[random.integers(len(odd), size=rows.shape)], rows).astype(np.float32)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_codes_are_the_runtimes_alone_and_in_a_batch(algorithm: str) -> None:
    server = trained(algorithm).server
    rows = awkward_rows(server.files[MODEL_FILE], 3, 3_001, seed=1)  # not a multiple of what is walked at once
    vectors = rows.astype(np.float64).tolist()
    compiled, ran = ArtifactScorer({"churn": server}, KERNEL), ArtifactScorer({"churn": server}, ONNXRUNTIME)
    expected = [scored.code for scored in ran.score_many("churn", vectors)]
    assert len(set(expected)) > 100
    assert [scored.code for scored in compiled.score_many("churn", vectors)] == expected
    assert [compiled.score("churn", vector, None).code for vector in vectors] == expected
    kernel = ForestKernel.of(server)
    assert np.array_equal(kernel.raw(rows), runtime_raw(server.files[MODEL_FILE], rows))  # NaN goes in as NaN here
    assert isinstance(compiled._held["churn"].path(), ForestKernel)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_raw_values_are_scikit_learns(algorithm: str) -> None:
    import onnx
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

    random = np.random.default_rng(5)
    x = random.normal(size=(1_500, 12)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=1_500) > 0).astype(int)
    if algorithm == "random_forest":
        forest: Any = RandomForestRegressor(60, max_depth=8, random_state=1).fit(x, y.astype(float))
    else:
        forest = GradientBoostingRegressor(n_estimators=60, random_state=1).fit(x, y.astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the converter
        node = to_onnx(forest, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}).graph.node[0]
    fields = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    model = as_model(fields, 12, base=0.0)  # leaves as they were trained, not rounded to one unit
    raw = kernel_of(model, 12).raw(x)
    assert np.abs(raw - forest.predict(x)).max() <= 1e-6
    assert np.abs(raw - runtime_raw(model, x)).max() <= 1e-6


def grown(random: np.random.Generator, width: int, tree_count: int) -> dict[str, Any]:
    """Attributes of trees of any shape: lone leaves, chains, thresholds of 0.0 and -0.0, leaves in quarters."""
    fields: dict[str, list[Any]] = {name: [] for name in (
        "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
        "nodes_falsenodeids", "target_treeids", "target_nodeids", "target_ids", "target_weights",
    )}  # fmt: skip
    for tree in range(tree_count):
        pending, used = [(0, 0)], 1
        chains = random.random() < 0.3
        while pending:
            node, depth = pending.pop()
            inner = depth < (12 if chains else 5) and random.random() < (0.95 if chains else 0.7) and used < 60
            left, right = (used, used + 1) if inner else (0, 0)
            used += 2 if inner else 0
            if inner:
                pending += [(left, 99 if chains else depth + 1), (right, depth + 1)]
            else:
                fields["target_treeids"].append(tree * 3)
                fields["target_nodeids"].append(node)
                fields["target_ids"].append(0)
                fields["target_weights"].append(float(random.integers(-40, 41)) / 4.0)
            threshold = float(random.choice([0.0, -0.0, 1.0, -1.5, float(np.float32(random.normal()))]))
            for name, value in (("treeids", tree * 3), ("nodeids", node), ("featureids", int(random.integers(width)) * inner),
                                ("values", threshold * inner), ("modes", "BRANCH_LEQ" if inner else "LEAF"),
                                ("truenodeids", left), ("falsenodeids", right)):  # fmt: skip
                fields[f"nodes_{name}"].append(value)
    return fields


def as_model(fields: dict[str, Any], width: int, base: float = 0.25) -> bytes:
    """An ONNX file with one TreeEnsembleRegressor of these attributes."""
    import onnx
    from onnx import helper

    whole = {"n_targets": 1, "aggregate_function": "SUM", "post_transform": "NONE", "base_values": [base], **fields}
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["raw"], domain="ai.onnx.ml", **whole)
    graph = helper.make_graph(
        [node], "t", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("raw", onnx.TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    model.ir_version = 8
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), width=st.integers(1, 7), tree_count=st.integers(1, 19))
def test_trees_of_any_shape_give_the_runtimes_sums(seed: int, width: int, tree_count: int) -> None:
    model = as_model(grown(np.random.default_rng(seed), width, tree_count), width)
    rows = awkward_rows(model, width, 150, seed)
    kernel = kernel_of(model, width, low=-100.0, scale=16.0)
    expected = runtime_raw(model, rows)
    assert np.array_equal(kernel.raw(rows), expected)
    codes = np.clip(np.floor((expected + 100.0) * 16.0), 0, 4_095).astype(int).tolist()
    assert kernel.codes(rows) == codes
    assert [kernel.code(row) for row in rows.tolist()] == codes


def test_a_value_beyond_float32_is_an_infinity() -> None:
    fields = grown(np.random.default_rng(3), 1, 9)
    kernel = kernel_of(as_model(fields, 1), 1, low=-100.0, scale=16.0)
    assert kernel.code([1e300]) == kernel.code([math.inf]) == kernel.codes([[1e300]])[0]
    assert kernel.code([-1e300]) == kernel.code([-math.inf]) == kernel.codes([[-1e300]])[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes_truenodeids": lambda ids: [0] * len(ids)}, "form trees"),
        ({"nodes_falsenodeids": lambda ids: [10**6] * len(ids)}, "there are not"),
        ({"nodes_modes": lambda modes: ["BRANCH_LT" if mode != "LEAF" else mode for mode in modes]}, "BRANCH_LEQ"),
        ({"nodes_featureids": lambda ids: [7] * len(ids)}, "inputs that there are not"),
        ({"nodes_values": lambda values: [math.nan] * len(values)}, "finite"),
        ({"target_weights": lambda weights: [math.inf] * len(weights)}, "finite"),
        ({"target_nodeids": lambda ids: [0] * len(ids)}, "leaves"),
        ({"nodes_nodeids": lambda ids: ids[:-1] + ids[:1]}, "twice"),
        ({"nodes_values": lambda values: values[:-1]}, "different lengths"),
        ({"nodes_missing_value_tracks_true": lambda _: [1] * 999}, "absent"),
        ({"aggregate_function": lambda _: "MAX"}, "one target"),
        ({"post_transform": lambda _: "LOGISTIC"}, "transforms"),
    ],
)
def test_what_is_not_a_set_of_trees_is_refused(change: dict[str, Any], said: str) -> None:
    fields = grown(np.random.default_rng(4), 2, 5)
    for name, turned in change.items():
        fields[name] = turned(fields.get(name, []))
    with pytest.raises(ManifestError, match=said):
        read_trees(as_model(fields, 2), 2)


@pytest.mark.parametrize("cut", [0, 1, 40, 400, 4_000])
def test_bytes_that_are_no_model_are_refused(cut: int) -> None:
    model = trained("gradient_boosting").server.files[MODEL_FILE]
    with pytest.raises(ManifestError):
        read_trees(model[:cut], 3)
    with pytest.raises(ManifestError):
        read_trees(b"\xff" * cut, 3)


def test_without_numba_the_runtime_scores_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    server = trained("random_forest").server
    rows = world().x[:50].tolist()
    codes = [scored.code for scored in ArtifactScorer({"churn": server}, KERNEL).score_many("churn", rows)]
    monkeypatch.setattr(forest_kernel, "available", lambda: False)
    without = ArtifactScorer({"churn": server}, KERNEL)
    assert [scored.code for scored in without.score_many("churn", rows)] == codes
    assert not isinstance(without._held["churn"].path(), ForestKernel)
    with pytest.raises(ScoringError, match="numba"):
        ForestKernel.of(server)


def test_the_parity_gate_refuses_a_kernel_that_walks_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds moved by one step of float32: only rows that sit on one can tell."""
    server = trained("gradient_boosting").server
    plain = np.round(world(absent=False).x[:300] * 7) / 7 + 0.123456
    splits = [(0, float(t)) for t, i in zip(*_splits(server), strict=True) if i == 0]
    on_threshold = gates.threshold_rows(plain, splits, 300, seed=1)
    gates.parity_gate(server, on_threshold)
    packed = forest_kernel._packed

    def moved(*given: Any) -> Any:
        words = packed(*given)
        nodes, weights = int(words[3]), int(words[4])
        inner = words[nodes:weights] >> np.uint64(32) != 0xFFFF_FFFF
        words[nodes:weights][inner] -= np.uint64(1 << 32)
        return words

    monkeypatch.setattr(forest_kernel, "_packed", moved)
    with pytest.raises(ManifestError, match="kernel"):
        gates.parity_gate(server, on_threshold)


def _splits(server: Artifact) -> tuple[list[float], list[int]]:
    trees = read_trees(server.files[MODEL_FILE], len(server.inputs))
    inner = trees.lefts != np.arange(len(trees.lefts))
    return trees.thresholds[inner].tolist(), trees.inputs[inner].tolist()


def test_a_file_the_kernel_does_not_know_is_left_to_the_runtime() -> None:
    """An ensemble that sends absent values to the left is valid, only not ours."""
    import onnx

    server = trained("gradient_boosting").server
    model = onnx.load_from_string(server.files[MODEL_FILE])
    for entry in model.graph.node[0].attribute:
        if entry.name == "nodes_missing_value_tracks_true":
            entry.ints[:] = [1] * len(entry.ints)
    manifest = {key: value for key, value in server.manifest.items() if key != "files"}
    other = assemble(manifest, {MODEL_FILE: model.SerializeToString(), PARITY_FILE: server.files[PARITY_FILE]})
    scorer = ArtifactScorer({"churn": other}, KERNEL)
    assert (
        scorer.score("churn", [1.0, 0.0, 3.0], None).code
        == ArtifactScorer({"churn": server}).score("churn", [1.0, 0.0, 3.0], None).code
    )
    assert not isinstance(scorer._held["churn"].path(), ForestKernel)


# -- factors of any number of inputs -----------------------------------------------------------------------------


def by_every_coalition(model: bytes, row: list[float], reference: list[float]) -> list[float]:
    """Shapley values by the definition: 2^inputs mixtures, scored by ONNX Runtime."""
    count = len(row)
    mixtures = np.array(
        [[row[i] if chosen >> i & 1 else reference[i] for i in range(count)] for chosen in range(1 << count)], dtype=np.float32
    )
    raw = runtime_raw(model, mixtures)
    values = []
    for i in range(count):
        without = [chosen for chosen in range(1 << count) if not chosen >> i & 1]
        values.append(
            math.fsum(
                (raw[chosen | 1 << i] - raw[chosen]) / (count * math.comb(count - 1, chosen.bit_count())) for chosen in without
            )
        )
    return values


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100_000), width=st.integers(1, 11), tree_count=st.integers(1, 12))
def test_factors_of_the_raw_sum_are_those_of_the_definition(seed: int, width: int, tree_count: int) -> None:
    model = as_model(grown(np.random.default_rng(seed), width, tree_count), width)
    rows = awkward_rows(model, width, 2, seed).astype(np.float64).tolist()
    kernel = kernel_of(model, width)
    found = kernel.shapley(rows[0], rows[1])
    assert np.abs(np.array(found) - by_every_coalition(model, rows[0], rows[1])).max() <= 1e-6
    raw = kernel.raw(np.array(rows))
    assert math.fsum(found) == pytest.approx(raw[0] - raw[1], abs=1e-9)
    assert kernel.shapley(rows[1], rows[0]) == pytest.approx([-value for value in found], abs=1e-9)


def test_a_server_explains_more_inputs_than_a_device() -> None:
    """Twelve inputs, of which the label knows two: they come first, and all sum to score minus reference."""
    random = np.random.default_rng(2)
    rows = 3_000
    x = random.normal(size=(rows, 12))
    y = (random.random(rows) < 1 / (1 + np.exp(-2 * x[:, 4] - 1.5 * x[:, 9]))).astype(np.int8)
    moments = 1_600_000_000_000 + random.integers(0, 20, rows) * DAY_MS
    names = tuple(f"f{i}" for i in range(12))
    dataset = Dataset(names, x, y, np.array([f"u{i}" for i in range(rows)]), moments, np.ones(rows), HORIZON_MS)
    model = train_model(spec("gradient_boosting"), dataset)
    assert not isinstance(model, NoData)
    scorer = ArtifactScorer({"churn": model.server}, KERNEL)
    reference = scorer.score("churn", model.server.reference, None).score
    seen, sizes = 0, dict.fromkeys(names, 0.0)
    for vector in x[:100].tolist():
        scored = scorer.score("churn", vector, 0.6)
        if scored.factors is not None:
            seen += 1
            assert math.fsum(value for _, value in scored.factors) == pytest.approx(scored.score - reference, abs=1e-6)
            for name, value in scored.factors:
                sizes[name] += abs(value)
    assert seen > 10
    assert set(sorted(names, key=lambda name: -sizes[name])[:2]) == {"f4", "f9"}
    itself = scorer.score("churn", model.server.reference, 0.0).factors
    assert itself is not None and all(value == 0.0 for _, value in itself)
    assert ArtifactScorer({"churn": model.device}).score("churn", x[0].tolist(), 0.0).factors is None
