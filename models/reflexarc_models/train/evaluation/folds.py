"""A labelled table in parts: trained here, measured there, no row and no duplicate of it on both sides.

Owns which rows of a table train, calibrate and test, and the baseline that goes with them. Must never read a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import GRID
from reflexarc_models.train.evaluation.worth import Part
from reflexarc_models.train.evidence.calibrate import area_under_curve
from reflexarc_models.train.rows.columns import binned_shares, fit_encoding
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.rows.select import strongest
from reflexarc_models.train.rows.split import Split, subject_hash

FOLD_COUNT: Final = 5
CALIBRATION_ROWS: Final = 2_000
CALIBRATION_SHARES: Final = (0.2, 0.35)
TRAIN_SHARE: Final = 0.7
BEST_INPUT: Final = "best_input"
ROWS_MIN: Final = 200
LABEL_ROWS_MIN: Final = 25
"""Of either label: five test folds of fewer than five say nothing."""


def by_fold(table: Mapping[str, Sequence[str]], labels: NDArray[np.int8], keys: NDArray[Any], seed: int) -> Iterator[Part]:
    """FOLD_COUNT parts: every row is tested once, by a model that saw neither it nor another row of its key.

    table: texts by column. keys: text per row, equal for rows that belong together (one person, or one row twice).
    Raises DefinitionError where rows or labels are too few.
    """
    check_rows(labels)
    folds = _dealt(labels, keys, seed)
    statement = f"{FOLD_COUNT} folds by hash (seed {seed}): each row tested by a model that saw neither it nor a copy of it"
    for number in range(FOLD_COUNT):
        yield _part(table, labels, keys, np.flatnonzero(folds != number), np.flatnonzero(folds == number), statement, seed)


def by_time(
    table: Mapping[str, Sequence[str]], labels: NDArray[np.int8], keys: NDArray[Any], times: NDArray[np.float64], column: str,
    seed: int,
) -> Iterator[Part]:  # fmt: skip
    """One part: trained on the older rows, tested on the newer, parted between two times nearest to TRAIN_SHARE.

    times: an ascending number per row. Raises DefinitionError where rows or labels are too few or all times are equal.
    """
    check_rows(labels)
    values, counts = np.unique(times, return_counts=True)
    if len(values) < 2:
        raise DefinitionError(f"{column} is the same in every row", hint="split by folds: leave --time out")
    shares = np.cumsum(counts)[:-1] / len(times)
    cut = values[int(np.argmin(np.abs(shares - TRAIN_SHARE)))]
    train, test = np.flatnonzero(times <= cut), np.flatnonzero(times > cut)
    for name, rows in (("older", train), ("newer", test)):
        if labels[rows].min() == labels[rows].max():
            raise DefinitionError(f"the {name} rows by {column} hold one label only", hint="split by folds: leave --time out")
    statement = f"by {column}: trained on the older {len(train):,} rows, tested on the newer {len(test):,}"
    yield _part(table, labels, keys, train, test, statement, seed)


def calibration_share(rows: int) -> float:
    """The share of training rows held back: CALIBRATION_ROWS of them, for confidence is counted in segments of two hundred, but
    within CALIBRATION_SHARES.
    """
    return min(max(CALIBRATION_ROWS / max(1, rows), CALIBRATION_SHARES[0]), CALIBRATION_SHARES[1])


def check_rows(labels: NDArray[np.int8]) -> None:
    """Raises DefinitionError when there are too few rows, or too few of one label, to say anything."""
    rows, positives = len(labels), int(labels.sum())
    if positives in (0, rows):
        raise DefinitionError(
            f"every one of {rows:,} rows has the same label",
            hint="a model needs both: is it the right column, the right --positive?",
        )
    if rows < ROWS_MIN:
        raise DefinitionError(f"{rows} labelled rows, at least {ROWS_MIN} are needed to train and to measure")
    if min(positives, rows - positives) < LABEL_ROWS_MIN:
        raise DefinitionError(
            f"{positives:,} positive and {rows - positives:,} negative rows, at least {LABEL_ROWS_MIN} of each are needed"
        )


def _dealt(labels: NDArray[np.int8], keys: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """The fold of each row: keys are dealt out in an order drawn by the seed, those of each label by themselves."""
    drawn = subject_hash(keys, f"fold {seed}")
    names, first, inverse = np.unique(keys.astype(str), return_index=True, return_inverse=True)
    folds = np.zeros(len(names), dtype=np.int64)
    for side in (0, 1):
        of_side = np.flatnonzero(labels[first] == side)
        order = of_side[np.lexsort((names[of_side], drawn[first][of_side]))]
        folds[order] = np.arange(len(order)) % FOLD_COUNT
    return np.asarray(folds[inverse.reshape(-1)])


def _part(
    table: Mapping[str, Sequence[str]], labels: NDArray[np.int8], keys: NDArray[Any], train: NDArray[np.int64],
    test: NDArray[np.int64], statement: str, seed: int,
) -> Part:  # fmt: skip
    held = subject_hash(keys[train], "calibration") < int(GRID * calibration_share(len(train)))
    fitted, calibration = train[~held], train[held]
    if not len(calibration) or labels[calibration].min() == labels[calibration].max():
        raise DefinitionError("too few rows to hold some back for calibration", hint="at least 20 of each label in five hundred")
    encoding, seen = fit_encoding(_rows_of(table, fitted), labels[fitted], keys[fitted])
    if not encoding.inputs:
        raise DefinitionError("no column can be an input", hint="; ".join(f"{k}: {v}" for k, v in encoding.left_out.items()))
    x = np.empty((len(labels), len(encoding.inputs)))
    x[fitted] = seen  # of columns with many levels: a value that its own label had no part in
    others = np.concatenate([calibration, test])
    x[others] = encoding.rows(_rows_of(table, others))
    whole = Dataset(
        inputs=encoding.inputs, x=x, y=labels, subjects=keys, score_time=np.zeros(len(labels), dtype=np.int64),
        recency_days=np.full(len(labels), np.nan), horizon_ms=0,
    )  # fmt: skip
    whole = strongest(whole, fitted, seed)
    baseline = _best_input(x, labels, fitted, test)
    warnings = (*encoding.warnings, *(f"left out: {column}, {reason}" for column, reason in encoding.left_out.items()))
    return Part(
        whole, Split("table", "by rows of a table", fitted, calibration, test), {BEST_INPUT: baseline}, statement, warnings
    )


def _rows_of(table: Mapping[str, Sequence[str]], rows: NDArray[np.int64]) -> dict[str, list[str]]:
    wanted = rows.tolist()
    return {name: [texts[row] for row in wanted] for name, texts in table.items()}


def _best_input(
    x: NDArray[np.float64], labels: NDArray[np.int8], train: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The one input that ranks the training rows best, with the share of positives in its bins as the score of the rest."""
    best, found = -1.0, np.zeros(len(test))
    for place in range(x.shape[1]):
        shares = binned_shares(x[train, place], labels[train], x[:, place])
        area = area_under_curve(shares[train], labels[train])
        if area > best:
            best, found = area, shares[test]
    return found
