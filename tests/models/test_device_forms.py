"""What devices may get instead of symmetric trees: a quantized network, or the forest itself; by declaration."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from model_worlds import spec, world

from reflexarc_build.reader import build_text
from reflexarc_core.errors import DefinitionError, ManifestError, ScoringError
from reflexarc_models.artifact import MODEL_FILE, OBLIVIOUS_INT8, ONNX_TREES5, QDQ_INT8, Artifact
from reflexarc_models.scorer import BUILT_IN, ArtifactScorer, self_test
from reflexarc_models.train.forms import network
from reflexarc_models.train.forms.publish import write_artifact
from reflexarc_models.train.train import NoData, TrainedModel, train_model

ROWS = 1_500


@pytest.fixture(scope="module")
def small_network() -> TrainedModel:
    return trained(QDQ_INT8)


def trained(form: str) -> TrainedModel:
    found = train_model(spec("gradient_boosting", device_form=form), world(ROWS))
    assert not isinstance(found, NoData)
    return found


def test_a_network_is_stored_in_bytes_and_ranks_as_the_forest_does(small_network: TrainedModel) -> None:
    device = small_network.device
    assert device.form == QDQ_INT8
    model = onnx.load_from_string(device.files[MODEL_FILE])
    weights = [tensor for tensor in model.graph.initializer if tensor.name.endswith("_quantized") and len(tensor.dims) == 2]
    assert [tensor.data_type for tensor in weights] == [onnx.TensorProto.INT8] * 3
    assert device.evidence["gates"]["int8"] == {"holds": True}
    assert device.download_bytes == device.evidence["gates"]["size"]["bytes"] <= 10_240
    assert abs(device.evidence["auc_drop"]) < 0.02
    assert all(line["agreement"] > 0.95 for line in device.evidence["against_server"]["lines"].values())


def test_a_network_is_written_read_and_scores_alone_as_in_a_batch(small_network: TrainedModel, tmp_path: Path) -> None:
    write_artifact(small_network, tmp_path / "churn", QDQ_INT8)
    with pytest.raises(KeyError):
        write_artifact(small_network, tmp_path / "trees", OBLIVIOUS_INT8)  # what was not made is not given another's name
    held = Artifact.load(tmp_path / "churn")
    self_test(held)
    scorer = ArtifactScorer({"churn": held})
    rows = world(ROWS).x[:300].tolist()  # some without a value
    many = scorer.score_many("churn", rows)
    assert [scorer.score("churn", row, None).code for row in rows] == [one.code for one in many]
    assert len({one.code for one in many}) > 50


def test_every_output_of_a_network_lies_in_the_middle_of_a_code(small_network: TrainedModel) -> None:
    """So that a last bit, rounded otherwise by another processor, changes no code."""
    import onnxruntime

    device = small_network.device
    session = onnxruntime.InferenceSession(device.files[MODEL_FILE], providers=["CPUExecutionProvider"])
    x = world(ROWS).x
    raw = session.run(None, {"x": np.where(np.isnan(x), device.absent_values, x).astype(np.float32)})[0].reshape(-1)
    place = (raw.astype(np.float64) - device.raw_low) * device.raw_scale
    assert np.abs(place - np.floor(place) - 0.5).max() < 1e-3


def test_a_host_without_a_runtime_says_what_a_network_needs(small_network: TrainedModel) -> None:
    with pytest.raises(ScoringError, match="qdq-int8") as said:
        ArtifactScorer({"churn": small_network.device}, BUILT_IN).score("churn", [1.0, 2.0, 0.0], None)
    assert said.value.hint is not None and "onnxruntime" in said.value.hint


def test_a_layer_left_in_floats_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    layers = ((3, 4), (4, 1))
    small = network.Network(
        np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32),
        tuple(random.normal(size=shape).astype(np.float32) for shape in layers),
        tuple(np.zeros(wide, dtype=np.float32) for _, wide in layers),
    )  # fmt: skip
    rows = random.normal(size=(100, 3))
    _, bins = network.export_network(small, rows)
    assert bins["scale"] > 0
    monkeypatch.setattr(network, "BYTE_KINDS", frozenset({"INT4"}))
    with pytest.raises(ManifestError, match="quantization gate"):
        network.export_network(small, rows)


def test_the_forest_itself_decides_on_the_device_as_on_the_server() -> None:
    found = trained(ONNX_TREES5)
    assert found.device.form == ONNX_TREES5
    assert "int8" not in found.device.evidence["gates"]
    lines = found.device.evidence["against_server"]["lines"].values()
    assert all(line["flips_to_fire"] == line["flips_to_silent"] == 0 and line["agreement"] == 1.0 for line in lines)
    assert found.device.evidence["auc_drop"] == 0.0


def test_a_catalog_declares_the_form() -> None:
    text = "include: standard\nmodels:\n  churn_at_home:\n    output: risk_at_home\n    algorithm: random_forest\n"
    text += "    features: [usage_frequency]\n    score_on: [page_view]\n    device_form: "
    assert build_text(text + "qdq-int8\n").models["churn_at_home"].device_form == "qdq-int8"
    with pytest.raises(DefinitionError, match="device_form"):
        build_text(text + "qdq\n")
    assert build_text("include: standard").models["churn"].device_form == "oblivious-int8"


def test_an_unknown_form_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(DefinitionError, match="no device form 'int4'"):
        train_model(spec("gradient_boosting", device_form="int4"), world(ROWS))
