"""The forest re-encoded for devices: smaller, nothing rounded, nothing called what it is not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_worlds import trained, world
from test_forest_kernel import as_model, awkward_rows, grown, runtime_raw

from reflexarc_core.errors import ManifestError
from reflexarc_models.artifact import MODEL_FILE, ONNX_TREES5, Artifact
from reflexarc_models.onnx_trees import read_trees
from reflexarc_models.scorer import ArtifactScorer, self_test
from reflexarc_models.train.forms import lossless as module
from reflexarc_models.train.forms.lossless import encoded, gate, lossless
from reflexarc_models.train.forms.publish import write_artifact


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting"])
def test_every_code_is_the_forests_at_a_third_of_the_size(algorithm: str, tmp_path: Path) -> None:
    model = trained(algorithm)
    write_artifact(model, tmp_path / "churn", ONNX_TREES5)
    small = Artifact.load(tmp_path / "churn")
    self_test(small)
    assert small.form == ONNX_TREES5
    assert len(small.files[MODEL_FILE]) * 2.5 < len(model.server.files[MODEL_FILE])
    assert small.evidence["bytes"][MODEL_FILE] == len(small.files[MODEL_FILE])
    rows = world().x[:500].tolist()
    ours, theirs = ArtifactScorer({"churn": small}), ArtifactScorer({"churn": model.server})
    codes = [scored.code for scored in theirs.score_many("churn", rows)]
    assert [scored.code for scored in ours.score_many("churn", rows)] == codes
    assert [ours.score("churn", row, None).code for row in rows[:50]] == codes[:50]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 100_000), width=st.integers(1, 6), tree_count=st.integers(1, 9))
def test_trees_of_any_shape_keep_their_sums(seed: int, width: int, tree_count: int) -> None:
    model = as_model(grown(np.random.default_rng(seed), width, tree_count), width)
    trees = read_trees(model, width)
    again = encoded(trees, width)
    gate(model, again, trees, width)
    rows = awkward_rows(model, width, 150, seed)
    assert np.array_equal(runtime_raw(again, rows), runtime_raw(model, rows))


def test_the_gate_refuses_a_threshold_moved_by_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    server = trained("gradient_boosting").server
    honest = module.read_trees

    def moved(model: bytes, width: int) -> object:
        trees = honest(model, width)
        trees.thresholds[:] = np.nextafter(trees.thresholds, np.float32(np.inf))
        return trees

    monkeypatch.setattr(module, "read_trees", moved)
    with pytest.raises(ManifestError, match="export gate"):
        lossless(server)


def test_only_a_forest_is_re_encoded() -> None:
    with pytest.raises(ManifestError, match="oblivious-int8"):
        lossless(trained("gradient_boosting").device)
