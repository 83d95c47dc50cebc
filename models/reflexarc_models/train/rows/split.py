"""Which rows train, calibrate and test a model: by time where the log is long enough, and said where it is
not.

Owns the rule that no label of an older part reaches into the moments of a newer one. No randomness: subjects
are drawn by hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.model import GRID
from reflexarc_models.train.rows.dataset import Dataset

BY_TIME: Final = "time"
BY_SUBJECT: Final = "subject"

PART_ROWS_MIN: Final = 50
CALIBRATION_SUBJECTS_MIN: Final = 400
TRAIN_SHARE: Final = 0.7
CALIBRATION_SHARE: Final = 0.65


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Row numbers of the three parts (calibration: one row per subject) and how they were made."""

    layout: str
    statement: str
    train: NDArray[np.int64]
    calibration: NDArray[np.int64]
    test: NDArray[np.int64]


def subject_hash(subjects: NDArray[Any], salt: str) -> NDArray[np.int64]:
    """A stable number in [0, GRID) per row, equal for equal subjects."""
    names, inverse = np.unique(subjects.astype(str), return_inverse=True)
    drawn = np.fromiter((_draw(salt, name) for name in names), dtype=np.int64, count=len(names))
    return np.asarray(drawn[inverse.reshape(-1)])


def one_row_per_subject(dataset: Dataset, rows: NDArray[np.int64], salt: str) -> NDArray[np.int64]:
    """Of `rows`, the one of each subject whose (subject, score time) hashes lowest; ascending."""
    chosen: dict[str, tuple[int, int]] = {}
    for row in rows.tolist():
        name = str(dataset.subjects[row])
        drawn = (_draw(salt, f"{name}\x00{dataset.score_time[row]}"), row)
        if name not in chosen or drawn < chosen[name]:
            chosen[name] = drawn
    return np.array(sorted(row for _, row in chosen.values()), dtype=np.int64)


def split(dataset: Dataset) -> Split:
    """The strictest layout that leaves every part enough rows of both labels.

    `time`: train first; every train label matured before the first moment of calibration and test, which
    share the newest moments with no subject in both. Calibration is not put before test in time: its newest
    label would be older by the length of the test, and a model is stale by the age of that label. `subject`:
    all parts share all moments, no subject in two. `statement` says which and why.
    """
    times, horizon = dataset.score_time, dataset.horizon_ms
    first, last = int(times.min()), int(times.max())
    drawn = subject_hash(dataset.subjects, "split")
    train_span = int((last - first - horizon) * TRAIN_SHARE)
    # Training moments over less than one horizon have never seen a silence as long as the one they must judge.
    if train_span >= horizon:
        newest_from = first + horizon + train_span
        newest = times >= newest_from
        held_out = drawn >= int(GRID * CALIBRATION_SHARE)
        found = _parts(
            dataset,
            BY_TIME,
            "train labels matured before the calibration and test moments; no subject in both of these",
            times + horizon <= newest_from,
            newest & ~held_out,
            newest & held_out,
        )
        if found:
            return found
    low, high = int(GRID * 0.5), int(GRID * 0.8)
    found = _parts(
        dataset,
        BY_SUBJECT,
        "the log is too short for a split by time: parts share moments, no subject in two",
        drawn < low,
        (drawn >= low) & (drawn < high),
        drawn >= high,
        strict=False,
    )
    assert found is not None
    return found


def _parts(
    dataset: Dataset,
    layout: str,
    statement: str,
    train: NDArray[np.bool_],
    calibration: NDArray[np.bool_],
    test: NDArray[np.bool_],
    strict: bool = True,
) -> Split | None:
    rows = [np.flatnonzero(part) for part in (train, calibration, test)]
    if strict:
        for part in rows:
            labels = dataset.y[part]
            if len(part) < PART_ROWS_MIN or labels.min() == labels.max():
                return None
        if len(np.unique(dataset.subjects[rows[1]].astype(str))) < CALIBRATION_SUBJECTS_MIN:
            return None
    return Split(layout, statement, rows[0], one_row_per_subject(dataset, rows[1], "calibration"), rows[2])


def _draw(salt: str, name: str) -> int:
    digest = hashlib.sha256(f"{salt}\x00{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % GRID
