"""What a kind of model is worth on somebody's data: trained, then measured on rows that it never saw.

Owns the order (train each part, score its test rows by both forms, pool, measure) and the figures that come out. Must never
let a test row choose anything: encodings, settings and calibration belong to the training rows of each part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import GRID
from reflexarc_models.artifact import ONNX_TREES5, Artifact
from reflexarc_models.ort import OnnxRunner
from reflexarc_models.publish import publish_tables
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.train.evidence.measures import (
    Interval,
    auc_difference,
    auc_interval,
    average_precision,
    calibration_error,
    flagged_report,
    reliability,
)
from reflexarc_models.train.forms.compose import TrainSpec
from reflexarc_models.train.forms.gates import DEVICE_BYTES_MAX
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.rows.split import Split
from reflexarc_models.train.train import NoData, TrainedModel, train_model

NEAR: Final = 0.1
JACCARD_ROWS_MIN: Final = 100
LATENCY_ROWS: Final = 2_000
DRIFT_NAMED: Final = 0.05
"""Mean score and share of positives this far apart are not chance on any set worth measuring."""
DIGITS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One training with the rows it is measured on. baselines: per name a score for each of the split's test rows, made
    without looking at their labels. statement: how the rows were parted. warnings: of the making of the rows."""

    dataset: Dataset
    split: Split
    baselines: Mapping[str, NDArray[np.float64]]
    statement: str
    warnings: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Scores:
    """Everything measured, row by row over all test rows. server, device: calibrated scores of the two forms. server_fires,
    device_fires: by line, whether score and confidence are both over. part: which training each row was tested by.
    """

    labels: NDArray[np.int8]
    server: NDArray[np.float64]
    device: NDArray[np.float64]
    server_fires: dict[float, NDArray[np.bool_]]
    device_fires: dict[float, NDArray[np.bool_]]
    baselines: dict[str, NDArray[np.float64]]
    part: NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Evaluation:
    """An evaluation: the rows' scores, the models of the parts, and the time it took (s)."""

    spec: TrainSpec
    scores: Scores
    lines: tuple[float, ...]
    models: list[TrainedModel]
    rows_trained: int
    seconds: float
    statement: str
    warnings: list[str] = field(default_factory=list)
    last: Part | None = None


def evaluate(
    spec: TrainSpec, parts: Iterable[Part], lines: Iterable[float], done: Callable[[int], object] = lambda _: None
) -> Evaluation:
    """Train and measure every part. lines: where decisions are measured. done: called with 1 after each part.

    Raises DefinitionError when a part cannot be trained, saying why: there is no evaluation of half of the rows.
    """
    began = time.perf_counter()
    gathered: list[Scores] = []
    models: list[TrainedModel] = []
    warnings: dict[str, None] = {}
    last: Part | None = None
    wanted = tuple(sorted(set(lines)))
    for number, part in enumerate(parts):
        trained = train_model(spec, part.dataset, part.split)
        if isinstance(trained, NoData):
            raise DefinitionError(f"no model: {trained.reason}", hint="more rows, or rows with both labels")
        gathered.append(_score(wanted, trained, part, number))
        models.append(trained)
        flat = (warning for warning in trained.server.manifest["training_warnings"] if warning != part.split.statement)
        warnings |= dict.fromkeys((*part.warnings, *flat))
        last = part
        done(1)
    assert last is not None
    return Evaluation(
        spec, _pooled(gathered), wanted, models, len(last.split.train), time.perf_counter() - began, last.statement,
        list(warnings), last,
    )  # fmt: skip


def report(found: Evaluation) -> dict[str, Any]:
    """The figures as plain values: what `--json` prints."""
    scores, labels = found.scores, found.scores.labels
    bins = reliability(scores.server, labels)
    base_rate = float(labels.mean())
    device = found.models[-1].device
    device_bytes = max(model.device.download_bytes for model in found.models)
    p50, p99 = latency(device, found.last) if found.last is not None else (None, None)
    return {
        "rows": len(labels),
        "positives": int(labels.sum()),
        "positive_rate": _rounded(base_rate),
        "rows_trained": found.rows_trained,
        "split": found.statement,
        "algorithm": found.spec.algorithm,
        "inputs": list(found.models[-1].server.inputs),
        "inputs_left_out": list(found.models[-1].server.inputs_left_out),
        "settings": found.models[-1].server.evidence["settings"],
        **_with_interval("auc", auc_interval(scores.server, labels)),
        "auc_parts": [
            _rounded(auc_interval(scores.server[inside], labels[inside]).value)
            for number in range(len(found.models))
            if (inside := scores.part == number).any()
        ],
        "interval": "95 %: AUC by DeLong, shares by Wilson",
        "average_precision": _rounded(average_precision(scores.server, labels)),
        "baselines": {
            **{
                name: {
                    **_with_interval("auc", auc_interval(values, labels)),
                    **_with_interval("gain", auc_difference(scores.server, values, labels)),
                }
                for name, values in scores.baselines.items()
            },
            "majority": {"auc": 0.5, "accuracy": _rounded(max(base_rate, 1 - base_rate))},
        },
        "brier": _rounded(float(np.mean((scores.server - labels) ** 2))),
        "brier_base_rate": _rounded(base_rate * (1 - base_rate)),
        "ece": _rounded(calibration_error(bins)),
        "ece_bins": len(bins),
        "calibration": [
            {
                "rows": one.rows,
                "score": _rounded(one.score),
                "rate": _rounded(one.rate),
                "low": _rounded(one.low),
                "high": _rounded(one.high),
            }
            for one in bins
        ],
        "confidence_min": found.spec.confidence_min,
        "lines": [_line(found, line) for line in found.lines],
        "student": {
            "form": device.form,
            **_with_interval("auc", auc_interval(scores.device, labels)),
            **_with_interval("auc_loss", auc_difference(scores.server, scores.device, labels)),
            "brier": _rounded(float(np.mean((scores.device - labels) ** 2))),
            "score_gap_p50": _rounded(float(np.quantile(np.abs(scores.server - scores.device), 0.5))),
            "score_gap_p999": _rounded(float(np.quantile(np.abs(scores.server - scores.device), 0.999))),
            "bytes": device_bytes,
            "server_bytes": max(sum(map(len, model.server.files.values())) for model in found.models),
            "p50_us": p50,
            "p99_us": p99,
        },
        "bytes": device_bytes,
        "device_p50_us": p50,
        "device_p99_us": p99,
        "warnings": [*found.warnings, *_drift(float(scores.server.mean()), base_rate), *_large(device.form, device_bytes)],
        "seconds": round(found.seconds, 1),
    }


def _drift(said: float, came: float) -> list[str]:
    if abs(said - came) <= DRIFT_NAMED:
        return []
    return [
        f"scores say {said:.1%} on average and {came:.1%} came: the rows that calibrated them are not like the rows measured"
        " (another season, another crowd); their order is worth more than their size"
    ]


def _large(form: str, device_bytes: int) -> list[str]:
    if device_bytes <= DEVICE_BYTES_MAX:
        return []
    why = "it is the forest itself" if form == ONNX_TREES5 else "shorter column names help"
    return [f"{device_bytes:,} bytes to download, over the {DEVICE_BYTES_MAX:,} a device is promised: {why}"]


def latency(artifact: Artifact, part: Part) -> tuple[float, float]:
    """(median, 99th percentile) of one score on the device's path over rotating test rows, microseconds, this machine."""
    scorer, name = ArtifactScorer({artifact.model_id: artifact}), artifact.model_id
    rows = _inputs(artifact, part.dataset, part.split.test[:LATENCY_ROWS]).tolist()
    scorer.score(name, rows[0], None)
    taken = []
    for row in rows:
        began = time.perf_counter_ns()
        scorer.score(name, row, None)
        taken.append(time.perf_counter_ns() - began)
    return round(float(np.quantile(taken, 0.5)) / 1e3, 2), round(float(np.quantile(taken, 0.99)) / 1e3, 2)


def scores_of(artifact: Artifact, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(score, code) of each row, float64 [n, inputs], NaN for what has no value."""
    filled = np.where(np.isnan(rows), np.array(artifact.absent_values), rows)
    codes = np.array(OnnxRunner(artifact).codes(filled), dtype=np.int64)
    return np.asarray(artifact.score_grid)[codes] / GRID, codes


def _score(lines: tuple[float, ...], trained: TrainedModel, part: Part, number: int) -> Scores:
    test = part.split.test
    found: dict[str, tuple[NDArray[np.float64], dict[float, NDArray[np.bool_]]]] = {}
    for name, trained_artifact in (("server", trained.server), ("device", trained.device)):
        artifact = publish_tables(trained_artifact, lines)
        score, codes = scores_of(artifact, _inputs(artifact, part.dataset, test))
        segment = np.searchsorted(np.asarray(artifact.segment_starts), codes, side="right") - 1
        fires = {
            line: (score > line) & (np.asarray(artifact.lines[line])[segment] / GRID > artifact.confidence_min) for line in lines
        }
        found[name] = score, fires
    return Scores(
        part.dataset.y[test], found["server"][0], found["device"][0], found["server"][1], found["device"][1],
        dict(part.baselines), np.full(len(test), number, dtype=np.int64),
    )  # fmt: skip


def _inputs(artifact: Artifact, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    columns = [dataset.inputs.index(name) for name in artifact.inputs]
    return np.asarray(dataset.x[rows][:, columns])


def _pooled(gathered: list[Scores]) -> Scores:
    first = gathered[0]
    if len(gathered) == 1:
        return first
    return Scores(
        np.concatenate([one.labels for one in gathered]),
        np.concatenate([one.server for one in gathered]),
        np.concatenate([one.device for one in gathered]),
        {line: np.concatenate([one.server_fires[line] for one in gathered]) for line in first.server_fires},
        {line: np.concatenate([one.device_fires[line] for one in gathered]) for line in first.device_fires},
        {name: np.concatenate([one.baselines[name] for one in gathered]) for name in first.baselines},
        np.concatenate([one.part for one in gathered]),
    )


def _line(found: Evaluation, line: float) -> dict[str, Any]:
    """What happens at one line: flagged by the score alone, and by score and confidence; how the student differs."""
    scores = found.scores
    server, device = scores.server > line, scores.device > line
    near = np.abs(scores.server - line) <= NEAR
    flips = server != device
    both, either = int((server & device).sum()), int((server | device).sum())
    fires, device_fires = scores.server_fires[line], scores.device_fires[line]
    return {
        "line": line,
        "score": _shown(flagged_report(server, scores.labels)),
        "score_and_confidence": _shown(flagged_report(fires, scores.labels)),
        "student": {
            "score": _shown(flagged_report(device, scores.labels)),
            "score_and_confidence": _shown(flagged_report(device_fires, scores.labels)),
            "agreement": _rounded(float(np.mean(~flips))),
            "flips": int(flips.sum()),
            "flips_to_flagged": int((device & ~server).sum()),
            "flips_to_silent": int((server & ~device).sum()),
            "rows_near": int(near.sum()),
            "flips_near": int((flips & near).sum()),
            "jaccard": _rounded(both / either) if max(int(server.sum()), int(device.sum())) >= JACCARD_ROWS_MIN else None,
            "decision_flips": int((fires != device_fires).sum()),
        },
    }


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in values.items()}


def _with_interval(name: str, found: Interval) -> dict[str, float | None]:
    return {name: _rounded(found.value), f"{name}_low": _rounded(found.low), f"{name}_high": _rounded(found.high)}


def _rounded(value: float) -> float | None:
    return round(value, DIGITS) if np.isfinite(value) else None
