"""The rows a model is trained on, and the labels that the definitions of churn and purchase give them.

Owns label arithmetic over sorted event times. Must never read a log or fold a feature: rows come in as
arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.errors import DefinitionError

NOT_A_ROW: Final = -1
"""The label of a moment at which the definition makes no claim (the subject was not active)."""
UNMATURED: Final = -2
"""The label of a moment whose horizon ends behind the log."""
ROWS_MAX: Final = 20_000
"""Rows used of the training part, of the test part and of the newest moments; more change nothing but the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Labelled score moments.

    inputs: feature names. x: float64 [n, F] in that order, NaN where the feature has no value. y: int8 [n], 0
    or 1. subjects: [n] text. score_time: int64 [n], ms UTC. recency_days: float64 [n], days since the
    subject's last event at the moment, the baseline's only input. horizon_ms: H of the label.
    inputs_left_out: features whose event types never occur in the log. unmatured_count, acted_on_count:
    moments left out, and why.
    """

    inputs: tuple[str, ...]
    x: NDArray[np.float64]
    y: NDArray[np.int8]
    subjects: NDArray[Any]
    score_time: NDArray[np.int64]
    recency_days: NDArray[np.float64]
    horizon_ms: int
    inputs_left_out: tuple[str, ...] = ()
    unmatured_count: int = 0
    acted_on_count: int = 0
    excluded: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises DefinitionError when the arrays do not fit each other."""
        n = len(self.y)
        fits = self.x.shape == (n, len(self.inputs)) and all(
            len(column) == n for column in (self.subjects, self.score_time, self.recency_days)
        )
        if not fits:
            raise DefinitionError(f"a dataset of {n} labels has arrays of other lengths")
        if n and not np.isin(self.y, (0, 1)).all():
            raise DefinitionError("labels must be 0 or 1", hint="leave out moments without a label")

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, part: NDArray[np.int64]) -> Rows:
        """These row numbers of it, for whoever judges by them."""
        times = self.score_time[part]
        return Rows(self.inputs, self.x[part], self.y[part], self.subjects[part], times, int(times.max()) + self.horizon_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Labelled rows that no fit has seen, one subject each or many.

    inputs: feature names. x: float64 [n, F], NaN where the feature has no value. y: int8 [n]. subjects: [n] text.
    score_time: int64 [n], ms. newest_label_time: when the newest of the labels matured, ms.
    """

    inputs: tuple[str, ...]
    x: NDArray[np.float64]
    y: NDArray[np.int8]
    subjects: NDArray[Any]
    score_time: NDArray[np.int64]
    newest_label_time: int

    def part(self, chosen: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        columns = self.x[chosen], self.y[chosen], self.subjects[chosen], self.score_time[chosen]
        return Rows(self.inputs, *columns, self.newest_label_time)

    def vectors_for(self, inputs: tuple[str, ...]) -> list[list[float]]:
        """The rows in another model's order; NaN for an input that is not among these."""
        place = {name: at for at, name in enumerate(self.inputs)}
        absent = np.full(len(self.y), np.nan)
        columns = [self.x[:, place[name]] if name in place else absent for name in inputs]
        return np.column_stack(columns).tolist() if columns else []


def churn_label(
    event_times: NDArray[np.int64],
    score_times: NDArray[np.int64],
    *,
    horizon_ms: int,
    active_within_ms: int,
    end_time: int,
) -> NDArray[np.int8]:
    """1 where no event falls in (t, t+H], 0 where one does, for one subject's moments t.

    event_times: the subject's qualifying events, ascending. NOT_A_ROW where no event falls in (t-A, t];
    UNMATURED where t+H is behind `end_time`, the newest time the log is known to cover.
    """
    labels = _none_within(event_times, score_times, horizon_ms).astype(np.int8)
    return _excluded(labels, event_times, score_times, horizon_ms, active_within_ms, end_time)


def purchase_label(
    purchase_times: NDArray[np.int64],
    score_times: NDArray[np.int64],
    *,
    horizon_ms: int,
    end_time: int,
    active_within_ms: int = 0,
    event_times: NDArray[np.int64] | None = None,
) -> NDArray[np.int8]:
    """1 where a purchase falls in (t, t+H], else 0, for one subject's moments t.

    UNMATURED as for churn. With `active_within_ms`, NOT_A_ROW where none of `event_times` falls in (t-A, t].
    """
    labels = (~_none_within(purchase_times, score_times, horizon_ms)).astype(np.int8)
    seen = purchase_times if event_times is None else event_times
    return _excluded(labels, seen, score_times, horizon_ms, active_within_ms, end_time)


def _none_within(times: NDArray[np.int64], score_times: NDArray[np.int64], horizon_ms: int) -> NDArray[np.bool_]:
    after = np.searchsorted(times, score_times, side="right")
    until = np.searchsorted(times, score_times + horizon_ms, side="right")
    return np.asarray(after == until)


def _excluded(
    labels: NDArray[np.int8],
    event_times: NDArray[np.int64],
    score_times: NDArray[np.int64],
    horizon_ms: int,
    active_within_ms: int,
    end_time: int,
) -> NDArray[np.int8]:
    if active_within_ms > 0:
        since = np.searchsorted(event_times, score_times - active_within_ms, side="right")
        until = np.searchsorted(event_times, score_times, side="right")
        labels[since == until] = NOT_A_ROW
    labels[(labels != NOT_A_ROW) & (score_times + horizon_ms > end_time)] = UNMATURED
    return labels


def thinned(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most ROWS_MAX of `rows`, ascending."""
    if len(rows) <= ROWS_MAX:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, ROWS_MAX, replace=False))
