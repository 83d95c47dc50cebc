"""What an artifact refuses to be: tampered, incomplete, contradictory, or other than its parity rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from model_worlds import LINES, trained

from reflexarc_core.errors import DefinitionError, ManifestError
from reflexarc_core.model import GRID
from reflexarc_core.plain import to_plain
from reflexarc_core.purchase_window import HOURS_OF_WEEK, SCALE, Intensity
from reflexarc_models.artifact import (
    HOURS_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    PARITY_FILE,
    Artifact,
    assemble,
    canonical_json,
    sha256_hex,
)
from reflexarc_models.publish import publish_tables
from reflexarc_models.scorer import ONNXRUNTIME, ArtifactScorer, self_test
from reflexarc_models.tables import confidence_table
from reflexarc_models.train.forms.compose import with_file


@pytest.fixture
def device() -> Artifact:
    return trained("random_forest").device


def _changed(artifact: Artifact, **changes: Any) -> Artifact:
    manifest = {key: value for key, value in artifact.manifest.items() if key != "files"}
    return assemble({**manifest, **changes}, {n: c for n, c in artifact.files.items() if n != MANIFEST_FILE})


def test_written_and_read_back_it_is_the_same(device: Artifact, tmp_path: Path) -> None:
    device.write(tmp_path / "churn")
    again = Artifact.load(tmp_path / "churn")
    assert again.digest == device.digest == sha256_hex((tmp_path / "churn" / MANIFEST_FILE).read_bytes())
    assert dict(again.files) == dict(device.files)
    device.write(tmp_path / "churn")  # over an older one
    assert [path.name for path in tmp_path.iterdir()] == ["churn"]


@pytest.mark.parametrize("name", [MODEL_FILE, PARITY_FILE])
def test_one_changed_byte_is_refused(device: Artifact, name: str) -> None:
    content = bytearray(device.files[name])
    content[len(content) // 2] ^= 1
    with pytest.raises(ManifestError, match=name):
        Artifact.from_files({**device.files, name: bytes(content)})


def test_a_changed_manifest_is_another_artifact(device: Artifact) -> None:
    manifest = json.loads(device.files[MANIFEST_FILE])
    manifest["version"] += 1
    other = Artifact.from_files({**device.files, MANIFEST_FILE: canonical_json(manifest)})
    assert other.digest != device.digest


def test_missing_and_extra_files_are_refused(device: Artifact, tmp_path: Path) -> None:
    without = {name: content for name, content in device.files.items() if name != MODEL_FILE}
    for files in (
        without,
        {**device.files, "extra.bin": b"x"},
        {},
        {MANIFEST_FILE: b"[]"},
        {MANIFEST_FILE: b"\xff"},
    ):
        with pytest.raises(ManifestError):
            Artifact.from_files(files)
    with pytest.raises(ManifestError):
        Artifact.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../model.onnx", "a/b", "..", "C:evil"])
def test_file_names_that_leave_the_folder_are_refused(device: Artifact, name: str) -> None:
    manifest = json.loads(device.files[MANIFEST_FILE])
    manifest["files"][name] = {"sha256": sha256_hex(b"x"), "bytes": 1}
    with pytest.raises(ManifestError, match="plain file name"):
        Artifact.from_files({**device.files, name: b"x", MANIFEST_FILE: canonical_json(manifest)})


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "magic"},
        {"inputs": []},
        {"code_count": 255},
        {"score_grid": list(range(255, -1, -1))},
        {"score_grid": [0] * 255 + [GRID + 1]},
        {"segments": [[1, 2]], "segment_starts": [0], "lines": {}},
        {"segment_starts": [1]},
        {"lines": {"0.7": [1]}},
        {"lines": {"1.7": [0, 0, 0]}},
        {"reference": [0.0]},
        {"absent_values": {}},
        {"calibration": {}},
        {"format": 2},
    ],
    ids="-".join,
)
def test_contradictory_manifests_are_refused(device: Artifact, changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        _changed(device, **changes)


def test_the_self_test_notices_a_model_that_answers_otherwise(device: Artifact) -> None:
    self_test(device)
    self_test(device, ONNXRUNTIME)
    parity = json.loads(device.files[PARITY_FILE])
    parity["codes"][3] += 1
    manifest = {key: value for key, value in device.manifest.items() if key != "files"}
    payload = {MODEL_FILE: device.files[MODEL_FILE], PARITY_FILE: canonical_json(parity)}
    with pytest.raises(ManifestError, match="row 3"):
        self_test(assemble(manifest, payload))
    shifted = _changed(device, score_grid=[min(GRID, grid + 1) for grid in device.score_grid])
    with pytest.raises(ManifestError, match="self-test"):
        self_test(shifted)
    empty = assemble(manifest, {**payload, PARITY_FILE: b'{"rows":[],"codes":[],"scores":[]}'})
    with pytest.raises(ManifestError, match="no rows"):
        self_test(empty)


def test_tables_follow_from_the_segments(device: Artifact) -> None:
    assert set(device.lines) == set(LINES)
    for line, table in device.lines.items():
        assert table == confidence_table(device.segments, line)


def test_publishing_other_lines_changes_tables_and_nothing_else(device: Artifact) -> None:
    assert publish_tables(device, LINES) is device
    other = publish_tables(device, [0.55])
    assert set(other.lines) == {0.55}
    assert other.lines[0.55] == confidence_table(device.segments, 0.55)
    assert other.digest != device.digest
    assert other.score_grid == device.score_grid
    assert other.files[MODEL_FILE] == device.files[MODEL_FILE]
    self_test(other)
    back = publish_tables(other, LINES)
    assert back.digest == device.digest
    with pytest.raises(DefinitionError):
        publish_tables(device, [1.2])


def test_a_line_that_can_never_fire_is_a_warning(device: Artifact) -> None:
    never = publish_tables(device, [0.9999])
    assert any("can never fire" in warning and "a week" in warning for warning in never.warnings)
    assert never.manifest["line_reports"]["0.9999"]["can_fire"] is False
    assert device.manifest["line_reports"]["0.7"]["fires_per_week"] > 0


def test_scores_and_confidences_are_on_the_grid_and_strict_tests_are_integer_tests(device: Artifact) -> None:
    scorer = ArtifactScorer({"churn": device})
    for place in range(0, 3_000, 7):
        scored = scorer.score("churn", [place / 50, place % 11, place % 3], None)
        assert scored.score * GRID == device.score_grid[scored.code]
        assert scored.artifact_digest == device.digest
        for line, confidence in scored.confidences:
            assert (confidence * GRID).is_integer()
            assert confidence == scored.confidence_over(line)
        assert [line for line, _ in scored.confidences] == sorted(LINES)


def test_a_scorer_takes_a_new_artifact_as_a_new_scorer(device: Artifact) -> None:
    first = ArtifactScorer({"churn": device})
    second = first.with_artifact(publish_tables(device, [0.6]))
    assert first.artifact("churn").digest == device.digest != second.artifact("churn").digest


def test_hours_of_the_week_are_checked_when_an_artifact_is_read(device: Artifact) -> None:
    hours = Intensity((SCALE // HOURS_OF_WEEK,) * HOURS_OF_WEEK, (SCALE // 2, SCALE // 4), (), 3)
    assert device.hours is None
    assert with_file(device, HOURS_FILE, canonical_json(to_plain(hours))).hours == hours
    for wrong in (b"", b"[]", b"{}", b'{"everybody":[1],"near":[],"daily":[],"strength":1}', b"[" * 100_000, b"\xff"):
        with pytest.raises(ManifestError, match=HOURS_FILE):
            with_file(device, HOURS_FILE, wrong)
