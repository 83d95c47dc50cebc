"""Training: labels and splits that do not leak, honest `NoData`, tables that hold, gates that refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_worlds import DAY_MS, HORIZON_MS, INPUTS, spec, trained, world

from reflexarc_core.errors import DefinitionError, ManifestError
from reflexarc_core.model import GRID
from reflexarc_models.artifact import MODEL_FILE, ONNX_FOREST, PARITY_FILE, Artifact, assemble
from reflexarc_models.onnx_tensors import initializers
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.tables import is_monotone
from reflexarc_models.train.evidence.calibrate import area_under_curve, calibrate, fit_sigmoid
from reflexarc_models.train.forms import gates
from reflexarc_models.train.forms.distill import fit_student
from reflexarc_models.train.forms.publish import write_artifact
from reflexarc_models.train.rows.dataset import NOT_A_ROW, UNMATURED, Dataset, churn_label, purchase_label
from reflexarc_models.train.rows.split import BY_SUBJECT, BY_TIME, split
from reflexarc_models.train.train import NoData, train_model
from reflexarc_models.walk import LEAF


def _times(*days: float) -> np.ndarray:
    return np.array([int(day * DAY_MS) for day in days], dtype=np.int64)


def test_churn_label_counts_the_open_left_and_closed_right_end() -> None:
    events, moments = _times(0, 10, 40), _times(0, 10, 9.9, 10.1, 25, 39, 40, 60)
    labels = churn_label(events, moments, horizon_ms=30 * DAY_MS, active_within_ms=15 * DAY_MS, end_time=int(70 * DAY_MS))
    # t=0: event at 10. t=10: event at 40 = t+H counts. 9.9: event at 10. 10.1: event at 40. 25: last event at 10 is
    # outside (t-A, t]. 39: likewise. 40: active now, nothing after, matured at 70. 60: not active.
    assert labels.tolist() == [0, 0, 0, 0, NOT_A_ROW, NOT_A_ROW, 1, NOT_A_ROW]
    unmatured = churn_label(events, _times(41), horizon_ms=30 * DAY_MS, active_within_ms=15 * DAY_MS, end_time=int(70 * DAY_MS))
    assert unmatured.tolist() == [UNMATURED]


def test_purchase_label_is_a_purchase_behind_the_moment() -> None:
    bought, moments = _times(5, 20), _times(4, 5, 19, 20, 29.5)
    labels = purchase_label(bought, moments, horizon_ms=DAY_MS, end_time=int(30 * DAY_MS))
    assert labels.tolist() == [1, 0, 1, 0, UNMATURED]
    active = purchase_label(
        bought,
        moments,
        horizon_ms=DAY_MS,
        end_time=int(30 * DAY_MS),
        active_within_ms=2 * DAY_MS,
        event_times=bought,
    )
    assert active.tolist() == [NOT_A_ROW, 0, NOT_A_ROW, 0, NOT_A_ROW]


def test_no_training_label_reaches_into_the_newer_moments() -> None:
    dataset = world()
    parts = split(dataset)
    assert parts.layout == BY_TIME
    newest = np.concatenate([parts.calibration, parts.test])
    assert (dataset.score_time[parts.train] + HORIZON_MS).max() <= dataset.score_time[newest].min()
    held = set(dataset.subjects[parts.calibration])
    assert len(held) == len(parts.calibration)  # one row per subject
    assert not held & set(dataset.subjects[parts.test])


def test_a_short_log_is_split_by_subject_and_says_so() -> None:
    dataset = world(days=20)
    parts = split(dataset)
    assert parts.layout == BY_SUBJECT
    assert "too short" in parts.statement
    names = [set(dataset.subjects[rows]) for rows in (parts.train, parts.calibration, parts.test)]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
    model = train_model(spec("gradient_boosting"), dataset)
    assert not isinstance(model, NoData)
    assert any("too short" in warning for warning in model.device.warnings)
    assert model.device.evidence["split"]["layout"] == BY_SUBJECT


def test_too_little_is_no_data_with_a_reason() -> None:
    whole = world(rows=300)
    one_label = replace(whole, y=np.zeros_like(whole.y))
    few = Dataset(
        INPUTS, whole.x[:40], whole.y[:40], whole.subjects[:40], whole.score_time[:40],
        whole.recency_days[:40], HORIZON_MS,
    )  # fmt: skip
    constant = replace(whole, x=np.ones_like(whole.x))
    empty = Dataset(
        INPUTS,
        whole.x[:0],
        whole.y[:0],
        whole.subjects[:0],
        whole.score_time[:0],
        whole.recency_days[:0],
        HORIZON_MS,
    )
    for dataset, reason in (
        (one_label, "no positive label"),
        (replace(whole, y=np.ones_like(whole.y)), "no negative label"),
        (few, "40 labelled rows"),
        (constant, "varies"),
        (empty, "0 labelled rows"),
    ):
        result = train_model(spec("random_forest"), dataset)
        assert isinstance(result, NoData)
        assert reason in result.reason


def test_a_contradictory_order_is_refused() -> None:
    with pytest.raises(DefinitionError):
        train_model(spec("neural"), world(rows=100))
    with pytest.raises(DefinitionError):
        train_model(spec("random_forest", horizon_ms=1), world(rows=100))
    with pytest.raises(DefinitionError):
        replace(world(rows=100), y=np.full(100, 2, dtype=np.int8))
    with pytest.raises(DefinitionError):
        replace(world(rows=100), recency_days=np.zeros(3))


def test_inputs_without_data_are_left_out_and_named() -> None:
    dataset = world(rows=3_000)
    x = dataset.x.copy()
    x[:, 2] = 0.0
    model = train_model(spec("gradient_boosting"), replace(dataset, x=x))
    assert not isinstance(model, NoData)
    assert model.device.inputs == INPUTS[:2]
    assert model.device.inputs_left_out == ("email_engagement", "support_tickets")


def test_training_twice_gives_the_same_model() -> None:
    again = train_model(spec("gradient_boosting"), world())
    assert not isinstance(again, NoData)
    first = trained("gradient_boosting")
    assert again.server.digest == first.server.digest
    for name in (MODEL_FILE, PARITY_FILE):
        assert again.device.files[name] == first.device.files[name]  # the manifest also states a latency


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting"])
def test_the_model_says_something_and_the_manifest_says_how_much(algorithm: str) -> None:
    model = trained(algorithm)
    for artifact in (model.device, model.server):
        evidence = artifact.evidence
        assert evidence["auc"] > evidence["auc_recency"] + 0.05
        assert evidence["auc"] > 0.8
        assert evidence["brier"] < evidence["brier_base_rate"]
        assert abs(evidence["score_mean_test"] - evidence["positive_rate_test"]) < 0.06
        assert is_monotone(artifact.score_grid)
        assert artifact.score_grid[0] < artifact.score_grid[-1]
        assert sum(n for n, _ in artifact.segments) == evidence["split"]["calibration_rows"]
        assert artifact.newest_label_time > int(world().score_time.max())  # the newest moments' labels are in
    device = model.device.evidence
    assert abs(device["auc_drop"]) <= 0.005
    for line in device["against_server"]["lines"].values():
        assert line["agreement"] >= 0.97
        assert {"flips_to_fire", "flips_to_silent"} <= set(line)
    assert device["against_server"]["score_gap_p50"] < 0.015
    assert model.device.download_bytes == device["gates"]["size"]["bytes"] <= gates.DEVICE_BYTES_MAX
    # Boosting is as small as its training rows allow, a forest never is.
    assert model.device.download_bytes * (5 if algorithm == "random_forest" else 1) < len(model.server.files[MODEL_FILE])


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting"])
def test_a_forest_sums_exactly_so_any_order_gives_the_same_code(algorithm: str) -> None:
    import onnx

    graph = onnx.load_from_string(trained(algorithm).server.files[MODEL_FILE]).graph
    fields = {entry.name: onnx.helper.get_attribute_value(entry) for entry in graph.node[0].attribute}
    leaves = np.asarray(fields["target_weights"], dtype=np.float64)
    trees = np.asarray(fields["target_treeids"])
    largest = np.zeros(trees.max() + 1)
    np.maximum.at(largest, trees, np.abs(leaves))
    unit = np.min(np.abs(leaves[leaves != 0]) / 2.0 ** np.floor(np.log2(np.abs(leaves[leaves != 0]))))
    assert unit >= 1.0
    # every leaf is a multiple of one power of two, and no partial sum needs more than float32's 24 bits of it
    step = next(2.0**-bits for bits in range(64) if np.all(leaves * 2.0**bits == np.round(leaves * 2.0**bits)))
    assert (largest.sum() + abs(fields["base_values"][0])) / step <= 2**24
    domains = [entry.domain for entry in onnx.load_from_string(trained(algorithm).server.files[MODEL_FILE]).opset_import]
    assert sorted(domains) == ["", "ai.onnx.ml"]


def _with_model(artifact: Artifact, onnx_bytes: bytes) -> Artifact:
    manifest = {key: value for key, value in artifact.manifest.items() if key != "files"}
    return assemble(manifest, {MODEL_FILE: onnx_bytes, PARITY_FILE: artifact.files[PARITY_FILE]})


def test_the_parity_gate_refuses_a_broken_forest() -> None:
    import onnx

    server = trained("gradient_boosting").server
    model = onnx.load_from_string(server.files[MODEL_FILE])
    rows = np.nan_to_num(world().x)[:500]
    session_raw = _raw(server, rows)
    assert gates.parity_gate(server, rows, lambda _: session_raw, 1e-9) == 0.0
    for entry in model.graph.node[0].attribute:
        if entry.name == "target_weights":
            entry.floats[0] += 0.25
    broken = _with_model(server, model.SerializeToString())
    with pytest.raises(ManifestError, match="parity gate"):
        gates.parity_gate(broken, rows, lambda _: session_raw, 1e-4)


def test_the_parity_gate_refuses_a_student_whose_graph_says_otherwise() -> None:
    """The graph compares with >= where the walk compares with >: only threshold-equal rows can tell."""
    import onnx

    device = trained("random_forest").device
    model = onnx.load_from_string(device.files[MODEL_FILE])
    for node in model.graph.node:
        if node.op_type == "Greater":
            node.op_type = "GreaterOrEqual"
    broken = _with_model(device, model.SerializeToString())
    found = initializers(device.files[MODEL_FILE])
    splits = [(int(f), float(t)) for f, t in zip(found["f"].values, found["t"].values, strict=True)]
    plain = world(seed=99, absent=False).x[:500] + 0.123456
    gates.parity_gate(broken, plain)
    with pytest.raises(ManifestError, match="parity gate"):
        gates.parity_gate(broken, gates.threshold_rows(plain, splits, 500, seed=1))
    assert LEAF in found


def _raw(server: Artifact, rows: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(server.files[MODEL_FILE], providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": rows.astype(np.float32)})[0].reshape(-1).astype(np.float64))


def test_fewer_than_200_people_are_one_flagged_segment() -> None:
    model = train_model(spec("gradient_boosting"), world(rows=600, days=20))
    assert not isinstance(model, NoData)
    assert len(model.device.segments) == 1
    assert model.device.segments[0][0] < 200
    assert any("fewer than 200" in warning for warning in model.device.warnings)


def test_written_artifacts_load_and_score(tmp_path: Path) -> None:
    model = trained("random_forest")
    written = write_artifact(model, tmp_path / "server", ONNX_FOREST)
    loaded = Artifact.load(tmp_path / "server")
    assert loaded.digest == written.digest == model.server.digest
    score = ArtifactScorer({"churn": loaded}).score("churn", [1.0, 0.0, 3.0], None)
    assert score.score > 0.7 > ArtifactScorer({"churn": loaded}).score("churn", [40.0, 9.0, 0.0], None).score
    assert json.loads((tmp_path / "server" / "manifest.json").read_bytes())["form"] == ONNX_FOREST


def test_sigmoid_recovers_a_known_calibration() -> None:
    random = np.random.default_rng(1)
    z = random.normal(0, 2, 60_000)
    labels = (random.random(60_000) < 1 / (1 + np.exp(-(0.6 * z - 1.0)))).astype(np.int8)
    slope, intercept = fit_sigmoid(z, labels)
    assert slope == pytest.approx(0.6, abs=0.03)
    assert intercept == pytest.approx(-1.0, abs=0.05)


def test_a_model_that_ranks_the_wrong_way_is_held_flat_not_turned_round() -> None:
    codes = [code for code in range(256) for _ in range(4)]
    labels = np.array([1 if code < 128 else 0 for code in codes], dtype=np.int8)
    tables = calibrate(codes, labels, np.linspace(-5, 5, 256))
    assert tables.is_flat
    assert is_monotone(tables.score_grid)
    assert abs(tables.score_grid[0] - tables.score_grid[-1]) < 300
    assert abs(tables.score_grid[128] / GRID - labels.mean()) < 0.01  # what is left is the base rate


def test_area_under_curve_counts_ties_half() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(3)
    values, labels = random.integers(0, 6, 500).astype(float), random.integers(0, 2, 500).astype(np.int8)
    assert area_under_curve(values, labels) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_a_student_of_rare_labels_ranks_them_too() -> None:
    """One in four hundred: all log-odds lie where those of balanced labels are cut off."""
    draw = np.random.default_rng(8)
    x = draw.normal(size=(3_000, 2))
    logits = -6.0 + 0.8 * x[:, 0] - 0.4 * x[:, 1]
    edges = [(place, float(edge)) for place in (0, 1) for edge in np.linspace(-2, 2, 33)]
    student = fit_student(x, logits, edges)
    bits = np.stack([x.astype(np.float32)[:, student.features[splits]] > student.thresholds[splits] for splits in student.splits])
    leaves = (bits * (1 << np.arange(student.splits.shape[1]))).sum(axis=2)
    sums = np.sum([student.leaves[tree].astype(int)[leaves[tree]] for tree in range(len(leaves))], axis=0)
    assert np.corrcoef(sums, logits)[0, 1] > 0.98
    assert np.abs(sums * student.scale + student.bias - logits).mean() < 0.1
