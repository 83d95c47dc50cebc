"""Manifests: an artifact put together from a model file, its tables and its evidence.

Owns what goes into a manifest at training time and the parity rows beside it. Must never fit or measure
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.artifact import (
    FORMAT,
    MANIFEST_FILE,
    MODEL_FILE,
    OBLIVIOUS_INT8,
    PARITY_FILE,
    Artifact,
    assemble,
    canonical_json,
)
from reflexarc_models.publish import line_entries
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.train.evidence.calibrate import Calibration
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.rows.split import BY_TIME, Split

PARITY_ROWS_KEPT: Final = 24
PARITY_VALUES_KEPT: Final = 48
"""Rows times inputs: a wide model keeps fewer rows (four at least), for they are downloaded with it."""


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """What to train. lines: the literals live conditions compare this model with. algorithm: one of
    ALGORITHMS.

    confidence_min: the model's gate. moments_per_week: score moments to expect, 0 to take the dataset's own
    rate. inputs: features of the dataset to learn from, none for all of them; the others stay beside for what
    else is to be scored on these rows. device_form: which of the core's DEVICE_FORMS devices get. beside: files that go into
    both forms as they are, and count in the size of the download.
    """

    model_id: str
    algorithm: str
    lines: tuple[float, ...]
    confidence_min: float
    horizon_ms: int
    update_interval_ms: int
    seed: int = 0
    version: int = 1
    moments_per_week: float = 0.0
    inputs: tuple[str, ...] = ()
    device_form: str = OBLIVIOUS_INT8
    beside: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Rows without NaN over the inputs that vary, with what was left out and why."""

    inputs: tuple[str, ...]
    left_out: tuple[str, ...]
    absent_values: tuple[float, ...]
    x: NDArray[np.float64]
    parts: Split


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One form of the model: its file and how its codes are made. raw_bins: none where the file gives the code itself."""

    name: str
    onnx: bytes
    code_count: int
    raw_bins: dict[str, float] | None


def draft(spec: TrainSpec, dataset: Dataset, prepared: Prepared, form: Form) -> Artifact:
    """An artifact without tables, whose codes can be asked for before anything is calibrated."""
    empty = Calibration(tuple([0] * form.code_count), (0,), ((0, 0),), False)
    payload = {MODEL_FILE: form.onnx, PARITY_FILE: b"{}"}
    return assemble(_manifest(spec, dataset, prepared, form, empty, (), [], 0.0, {}), payload)


def compose(
    spec: TrainSpec,
    dataset: Dataset,
    prepared: Prepared,
    form: Form,
    tables: Calibration,
    moment_codes: list[int],
    moments_per_week: float,
    evidence: dict[str, Any],
    gate_rows: NDArray[np.float64],
) -> Artifact:
    """The whole artifact of one form: tables for the spec's lines, evidence, parity rows."""
    manifest = _manifest(spec, dataset, prepared, form, tables, spec.lines, moment_codes, moments_per_week, evidence)
    bare = assemble(manifest, {MODEL_FILE: form.onnx, PARITY_FILE: b"{}"})
    return assemble(manifest, {**spec.beside, MODEL_FILE: form.onnx, PARITY_FILE: _parity_file(bare, gate_rows)})


def with_evidence(artifact: Artifact, evidence: dict[str, Any]) -> Artifact:
    """The same artifact with other evidence (and so another digest)."""
    return _changed(artifact, {"evidence": evidence}, {})


def with_file(artifact: Artifact, name: str, content: bytes, **changes: Any) -> Artifact:
    """The same artifact with one file more, and entries of the manifest changed (and so another digest)."""
    return _changed(artifact, changes, {name: content})


def _changed(artifact: Artifact, entries: Mapping[str, Any], files: Mapping[str, bytes]) -> Artifact:
    manifest = {key: value for key, value in artifact.manifest.items() if key != "files"}
    payload = {name: content for name, content in artifact.files.items() if name != MANIFEST_FILE}
    return assemble({**manifest, **entries}, {**payload, **files})


def _manifest(
    spec: TrainSpec,
    dataset: Dataset,
    prepared: Prepared,
    form: Form,
    tables: Calibration,
    lines: tuple[float, ...],
    moment_codes: list[int],
    moments_per_week: float,
    evidence: dict[str, Any],
) -> dict[str, Any]:
    parts = prepared.parts
    training_warnings = []
    if tables.is_flat:
        training_warnings.append("the scores rank the calibration rows no better than chance: calibrated flat")
    if parts.layout != BY_TIME:
        training_warnings.append(parts.statement)
    entries = line_entries(
        lines,
        score_grid=tables.score_grid,
        segment_starts=tables.segment_starts,
        segments=tables.segments,
        confidence_min=spec.confidence_min,
        moment_codes=moment_codes,
        moments_per_week=moments_per_week,
    )
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "model_id": spec.model_id,
        "version": spec.version,
        "algorithm": spec.algorithm,
        "form": form.name,
        "inputs": list(prepared.inputs),
        "inputs_left_out": list(prepared.left_out),
        "absent_values": dict(zip(prepared.inputs, prepared.absent_values, strict=True)),
        "code_count": form.code_count,
        "score_grid": list(tables.score_grid),
        "segment_starts": list(tables.segment_starts),
        "segments": [list(pair) for pair in tables.segments],
        **entries,
        "confidence_min": spec.confidence_min,
        "reference": [float(f"{value:.6g}") for value in np.median(prepared.x[parts.train], axis=0)],
        "calibration": {
            "newest_label_time": int(dataset.score_time[parts.calibration].max()) + spec.horizon_ms,
            "horizon_ms": spec.horizon_ms,
            "update_interval_ms": spec.update_interval_ms,
        },
        "moment_codes": moment_codes,
        "moments_per_week": round(moments_per_week, 2),
        "training_warnings": training_warnings,
        "warnings": entries["warnings"] + training_warnings,
        "evidence": evidence,
    }
    if form.raw_bins is not None:
        manifest["raw"] = form.raw_bins
    return manifest


def _parity_file(artifact: Artifact, gate_rows: NDArray[np.float64]) -> bytes:
    """A few rows spread over the gate's (held-out, threshold-equal, extremes) and one without any value."""
    count = max(4, min(PARITY_ROWS_KEPT, PARITY_VALUES_KEPT // gate_rows.shape[1]))
    chosen = np.unique(np.linspace(0, len(gate_rows) - 1, count).astype(int))
    # float32 values in their shortest text: what a host reads back rounds to the very same float32.
    rows = [[float(str(value)) for value in row] for row in gate_rows[chosen].astype(np.float32)]
    vectors = [[float("nan")] * len(artifact.inputs), *rows]
    scored = ArtifactScorer({artifact.model_id: artifact}).score_many(artifact.model_id, vectors)
    return canonical_json(
        {
            "rows": [[None] * len(artifact.inputs), *rows],
            "codes": [one.code for one in scored],
            "scores": [int(one.score * GRID) for one in scored],
        }
    )
