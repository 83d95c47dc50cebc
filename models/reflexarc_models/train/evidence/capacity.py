"""Lines from what a team can handle: which line flags the top share of score moments, and what it flags is worth.

Owns the table that a manifest keeps of it. Must never choose a line: an author does, and writes it into a condition.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.artifact import Artifact
from reflexarc_models.tables import confidence_table, firing_codes

SHARES: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
LINE_DIGITS: Final = 4
DAYS_A_WEEK: Final = 7.0


def capacity(
    artifact: Artifact,
    moment_codes: NDArray[np.int64],
    moments_per_week: float,
    test_codes: NDArray[np.int64],
    labels: NDArray[np.int8],
) -> list[dict[str, Any]]:
    """One row a share of SHARES, the smallest first: the lowest line over which at most that share of the moments score.

    moment_codes: codes of recent score moments, labelled or not. test_codes, labels: rows no fit has seen. Of a row:
    `line`; `flagged_a_day`, moments with a score over it; `fires_a_day`, those whose confidence passes the model's gate as well;
    `precision` and `recall` of the flagged among the test rows, None where none is flagged or none is positive.
    """
    grid = np.asarray(artifact.score_grid, dtype=np.int64)
    scores, tested = grid[moment_codes], grid[test_codes]
    per_day = moments_per_week / DAYS_A_WEEK
    rows: list[dict[str, Any]] = []
    for share in SHARES:
        line = line_at(scores, share)
        if not 0.0 < line < 1.0:
            continue
        fires = firing_codes(
            artifact.score_grid,
            artifact.segment_starts,
            confidence_table(artifact.segments, line),
            line,
            artifact.confidence_min,
        )
        flagged = tested / GRID > line
        hits, positives = int(labels[flagged].sum()), int(labels.sum())
        rows.append(
            {
                "share": share,
                "line": line,
                "flagged_a_day": round(float(np.mean(scores / GRID > line)) * per_day, 2),
                "fires_a_day": round(float(np.mean(np.asarray(fires)[moment_codes])) * per_day, 2),
                "precision": round(hits / int(flagged.sum()), 4) if flagged.any() else None,
                "recall": round(hits / positives, 4) if positives else None,
            }
        )
    return rows


def line_at(grids: NDArray[np.int64], share: float) -> float:
    """The lowest line, to four digits, over which at most `share` of these scores (in 1/GRID) lie; the comparison is strict."""
    if not len(grids):
        return 1.0
    ordered = np.sort(grids)[::-1]
    allowed = int(share * len(ordered))
    edge = int(ordered[allowed]) if allowed < len(ordered) else 0
    unit = 10**LINE_DIGITS
    return math.ceil(edge * unit / GRID) / unit
