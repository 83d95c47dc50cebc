"""What must hold before an artifact is written, and what its evidence says it cost.

Owns the parity gate (refuses) and the measured gates (recorded). Must never change a model to make a gate
hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import ManifestError
from reflexarc_core.model import GRID
from reflexarc_models.artifact import OBLIVIOUS_INT8, ONNX_FOREST, Artifact
from reflexarc_models.forest_kernel import ForestKernel
from reflexarc_models.ort import OnnxRunner
from reflexarc_models.scorer import BUILT_IN, KERNEL, ONNXRUNTIME, ArtifactScorer, self_test

DEVICE_BYTES_MAX: Final = 10_240
PARITY_ROWS_MAX: Final = 4_000


def threshold_rows(x: NDArray[np.float64], splits: Sequence[tuple[int, float]], count: int, seed: int) -> NDArray[np.float64]:
    """Rows of `x` moved so that one input sits on, just under or just over a threshold.

    Half of the values are float32 neighbours of the threshold, half float64 ones that round onto it.
    """
    random = np.random.default_rng(seed)
    rows = x[random.integers(len(x), size=count)].copy()
    for number in range(count if splits else 0):
        place, threshold = splits[int(random.integers(len(splits)))]
        near = np.float32(threshold)
        if number % 2:
            toward = np.float32((-np.inf, np.inf)[int(random.integers(2))])
            rows[number, place] = (near, np.nextafter(near, toward))[int(random.integers(2))]
        else:
            above = float(np.nextafter(near, np.float32(np.inf)))
            middle = (float(near) + above) / 2
            rows[number, place] = (middle, np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf))[number % 3]
    return rows


def parity_gate(
    artifact: Artifact,
    rows: NDArray[np.float64],
    raw_of: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    tolerance: float = 0.0,
) -> float:
    """Largest raw difference between the export and its origin; refuses the export when it is too large.

    Any form must give equal codes one by one and in a batch, an oblivious student by the built-in walk too. A
    forest's graph must stay within `tolerance` of the estimator (`raw_of`) and give equal codes alone and in
    a batch, by ONNX Runtime and by the server's kernel, where values are absent too. Raises ManifestError
    naming the gate.
    """
    name = artifact.model_id
    vectors = rows.tolist()
    by_runtime = ArtifactScorer({name: artifact}, ONNXRUNTIME)
    codes = [scored.code for scored in by_runtime.score_many(name, vectors)]
    sample = range(0, len(vectors), max(1, len(vectors) // 500))
    if any(by_runtime.score(name, vectors[place], None).code != codes[place] for place in sample):
        raise ManifestError(f"parity gate: {name} scores a row alone otherwise than in a batch")
    if artifact.form == OBLIVIOUS_INT8:
        walked = [scored.code for scored in ArtifactScorer({name: artifact}, BUILT_IN).score_many(name, vectors)]
        wrong = sum(one != other for one, other in zip(walked, codes, strict=True))
        if wrong:
            raise ManifestError(f"parity gate: {name}: {wrong} of {len(codes)} codes differ between walk and runtime")
    elif artifact.form == ONNX_FOREST:
        _kernel_gate(artifact, rows, codes)
    if raw_of is None:
        return 0.0
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact.files["model.onnx"], providers=["CPUExecutionProvider"])
    exported = session.run(None, {"x": rows.astype(np.float32)})[0].reshape(-1).astype(np.float64)
    gap = float(np.abs(exported - raw_of(rows)).max())
    if not gap <= tolerance:
        raise ManifestError(f"parity gate: {name} is {gap:.2g} off its estimator, {tolerance:.2g} is allowed")
    return gap


def _kernel_gate(artifact: Artifact, rows: NDArray[np.float64], codes: Sequence[int]) -> None:
    """The kernel's codes are the runtime's, alone and in a batch; so they are for rows with a NaN in turn in every input."""
    kernel, runtime = ForestKernel.of(artifact), OnnxRunner(artifact)
    holed = rows[: 16 * rows.shape[1]].copy()
    at = np.arange(len(holed))
    holed[at, at % rows.shape[1]] = np.nan
    for given, wanted in ((rows, codes), (holed, runtime.codes(holed))):
        alone = [kernel.code(row) for row in given[:: max(1, len(given) // 500)].tolist()]
        if kernel.codes(given) != list(wanted) or alone != list(wanted)[:: max(1, len(given) // 500)]:
            raise ManifestError(f"parity gate: {artifact.model_id}: the kernel's codes are not the runtime's")


def decisions(artifact: Artifact, codes: NDArray[np.int64], line: float) -> NDArray[np.bool_]:
    """Which codes fire at `line`: score over it and confidence over the artifact's gate, both strict."""
    score = np.asarray(artifact.score_grid)[codes]
    segment = np.searchsorted(np.asarray(artifact.segment_starts), codes, side="right") - 1
    confidence = np.asarray(artifact.lines[line])[segment]
    return np.asarray((score / GRID > line) & (confidence / GRID > artifact.confidence_min))


def compared(
    device: Artifact, server: Artifact, device_codes: NDArray[np.int64], server_codes: NDArray[np.int64]
) -> dict[str, Any]:
    """Per line: share of rows whose score falls on the same side, and decisions that flip either way."""
    result: dict[str, Any] = {}
    device_score = np.asarray(device.score_grid)[device_codes] / GRID
    server_score = np.asarray(server.score_grid)[server_codes] / GRID
    for line in sorted(device.lines):
        here, there = decisions(device, device_codes, line), decisions(server, server_codes, line)
        result[repr(line)] = {
            "agreement": round(float(np.mean((device_score > line) == (server_score > line))), 5),
            "fires_device": int(here.sum()),
            "fires_server": int(there.sum()),
            "flips_to_fire": int((here & ~there).sum()),
            "flips_to_silent": int((~here & there).sum()),
        }
    gaps = np.abs(device_score - server_score)
    return {
        "rows": len(device_codes),
        "lines": result,
        "score_gap_p50": round(float(np.quantile(gaps, 0.5)), 5),
        "score_gap_p999": round(float(np.quantile(gaps, 0.999)), 5),
        "score_gap_max": round(float(gaps.max()), 5),
    }


def final_check(artifact: Artifact) -> None:
    """The written form passes the self-test a host will run. Raises ManifestError."""
    self_test(artifact, KERNEL)
    self_test(artifact, ONNXRUNTIME)
