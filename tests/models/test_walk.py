"""The built-in walk against ONNX Runtime: equal codes on every row, the ones on a threshold included."""

import json
import struct

import numpy as np
import pytest
from model_worlds import trained, world

from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_models import walk as walk_module
from reflexarc_models.artifact import MODEL_FILE, OBLIVIOUS_INT8, Artifact
from reflexarc_models.onnx_tensors import INT8, initializers
from reflexarc_models.scorer import BUILT_IN, ONNXRUNTIME, ArtifactScorer
from reflexarc_models.train.forms.distill import Student, export_student
from reflexarc_models.train.forms.gates import threshold_rows
from reflexarc_models.walk import FEATURE, LEAF, THRESHOLD, ObliviousWalk, _edge


def _splits(artifact: Artifact) -> list[tuple[int, float]]:
    found = initializers(artifact.files[MODEL_FILE])
    return [
        (int(place), float(threshold)) for place, threshold in zip(found[FEATURE].values, found[THRESHOLD].values, strict=True)
    ]


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting"])
def test_walk_and_runtime_give_equal_codes(algorithm: str) -> None:
    device = trained(algorithm).device
    x = world().x
    near = threshold_rows(np.nan_to_num(x), _splits(device), 4_000, seed=3)
    odd = np.array([[np.nan] * 3, [1e30, -1e30, 0.0], [np.inf, -np.inf, -0.0], [1e300, 5e-324, -1e300]])
    rows = np.vstack([x, near, odd]).tolist()
    walked = ArtifactScorer({"churn": device}, BUILT_IN).score_many("churn", rows)
    ran = ArtifactScorer({"churn": device}, ONNXRUNTIME)
    with np.errstate(over="ignore"):  # 1e300 is infinite as float32, on both paths
        batch = ran.score_many("churn", rows)
        single = [ran.score("churn", row, None) for row in rows[::10]]
    assert [one.code for one in walked] == [one.code for one in batch]
    assert [one.code for one in walked[::10]] == [one.code for one in single]
    assert len({one.code for one in walked}) > 100  # the rows do exercise the codes


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, 0.1, -0.1, 3.5, 1e-40, -1e-40, 1e30, -7.25, 16_777_216.0])
def test_the_edge_is_where_float32_rounding_crosses_the_threshold(threshold: float) -> None:
    exact = struct.unpack("<f", struct.pack("<f", threshold))[0]
    edge = _edge(exact)
    assert np.float32(edge) <= np.float32(exact)
    assert np.float32(np.nextafter(edge, np.inf)) > np.float32(exact)


def test_leaves_are_really_stored_as_int8() -> None:
    for algorithm in ("random_forest", "gradient_boosting"):
        leaves = initializers(trained(algorithm).device.files[MODEL_FILE])[LEAF]
        assert leaves.data_type == INT8
        assert len(set(leaves.values)) > 20


def test_a_student_whose_leaves_are_not_int8_is_not_exported() -> None:
    student = Student(
        features=np.array([0], np.uint8), thresholds=np.array([1.0], np.float32),
        splits=np.zeros((1, 1), np.int64), leaves=np.array([[0.5, 1.5]], np.float32),  # type: ignore[arg-type]
        offset=0, step=1, code_count=256, scale=1.0, bias=0.0,
    )  # fmt: skip
    with pytest.raises(ManifestError):
        export_student(student, 1)


def test_a_hand_made_forest() -> None:
    """Two trees of depth 2, every leaf by hand."""
    student = Student(
        features=np.array([0, 1], np.uint8), thresholds=np.array([1.0, 5.0], np.float32),
        splits=np.array([[0, 1], [1, 0]]), leaves=np.array([[1, 2, 4, 8], [10, 20, 30, 40]], np.int8),
        offset=-11, step=2, code_count=256, scale=1.0, bias=0.0,
    )  # fmt: skip
    walk = ObliviousWalk(export_student(student, 2), 2)
    # leaf index: bit 0 the first split of the tree, bit 1 the second
    for row, total in (
        ((1.0, 5.0), 1 + 10),
        ((1.1, 5.0), 2 + 30),
        ((1.0, 5.1), 4 + 20),
        ((9.0, 9.0), 8 + 40),
    ):
        assert walk.code(row) == (total - 11) // 2


def test_codes_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_module, "CELLS_KEPT_MAX", 8)
    model = trained("random_forest").device.files[MODEL_FILE]
    walk = ObliviousWalk(model, 3)
    rows = np.nan_to_num(world().x[:120]).tolist()
    for row in [*rows, *reversed(rows)]:
        assert walk.code(row) == ObliviousWalk(model, 3).code(row) == walk.code(row)
        assert 0 < len(walk._codes) <= 8


def test_files_that_are_no_forest_are_refused() -> None:
    good = trained("random_forest").device.files[MODEL_FILE]
    for broken in (b"", b"\xff" * 50, good[: len(good) // 2], json.dumps({}).encode()):
        with pytest.raises(ManifestError):
            ObliviousWalk(broken, 3)
    with pytest.raises(ManifestError):
        ObliviousWalk(good, 2)  # reads an input there is not


def test_vectors_that_do_not_fit_are_refused() -> None:
    device = trained("random_forest").device
    for runtime in (BUILT_IN, ONNXRUNTIME):
        scorer = ArtifactScorer({"churn": device}, runtime)
        assert scorer.inputs("churn") == device.inputs
        for vector in ([1.0, 2.0], [1.0] * 4, [1.0, None, 2.0], ["a", 1.0, 2.0]):
            with pytest.raises(ScoringError):
                scorer.score("churn", vector, None)  # type: ignore[arg-type]
        with pytest.raises(ScoringError):
            scorer.score("unknown", [1.0] * 3, None)
        with pytest.raises(ScoringError):
            scorer.inputs("unknown")
    with pytest.raises(ScoringError):
        ArtifactScorer({"churn": trained("random_forest").server}, BUILT_IN).score("churn", [1.0] * 3, None)


def test_an_absent_value_scores_as_the_manifest_says() -> None:
    device = trained("random_forest").device
    assert device.form == OBLIVIOUS_INT8
    scorer = ArtifactScorer({"churn": device})
    given = scorer.score("churn", [float("nan"), 3.0, 1.0], None)
    filled = scorer.score("churn", [device.absent_values[0], 3.0, 1.0], None)
    assert (given.code, given.confidences) == (filled.code, filled.confidences)
    assert given.vector[0] != given.vector[0]
    assert given.vector[1:] == (3.0, 1.0)
