"""Rows of a model at chosen moments of a log: what was known then, what came after.

Owns which moments train and which one tests, and the baselines beside. Must never let a row see an event after its moment,
nor let a training label reach behind the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.aggregation import DAY_MS
from reflexarc_core.errors import DefinitionError
from reflexarc_core.model import GRID
from reflexarc_models.train.evaluation.folds import calibration_share, check_rows
from reflexarc_models.train.evaluation.worth import Part
from reflexarc_models.train.evidence.calibrate import area_under_curve
from reflexarc_models.train.rows.behaviour import DERIVED, EventColumns, general_features, to_history
from reflexarc_models.train.rows.dataset import NOT_A_ROW, ROWS_MAX, Dataset, churn_label, purchase_label
from reflexarc_models.train.rows.history import History, fold_at
from reflexarc_models.train.rows.select import strongest
from reflexarc_models.train.rows.split import BY_TIME, Split, subject_hash

CHURN: Final = "churn"
PURCHASE: Final = "purchase"
MOMENT_STEP: Final = 0.25
"""Training moments lie a quarter of the horizon apart: nearer ones say nearly the same again."""
MOMENTS_MAX: Final = 8
HISTORY_MIN: Final = 0.25
"""Of the horizon: a training moment with less log behind it knows nobody."""
SHORT_SHARE_MAX: Final = 0.02


@dataclass(frozen=True, slots=True)
class LabelRule:
    """kind: `churn` (none of `types` in (t, t+H]) or `purchase` (any). active_within_ms: only subjects with an event of the
    label's types (purchase: any event) in (t-A, t]; 0 for everybody who had one by t.
    """

    kind: str
    types: tuple[str, ...]
    horizon_ms: int
    active_within_ms: int = 0


def rows_at(log: History, rule: LabelRule, moments: Sequence[int], end_time: int, inputs: Sequence[str]) -> Dataset:
    """Labelled rows of every subject at each moment (ms), a moment seeing what happened up to and including it.

    A subject is a row once it has an event that could speak for it: of the label's types for churn, any for purchase.
    end_time: as far as the log is known to cover; a moment whose horizon ends behind it gives no row.
    """
    at = np.array(sorted(moment for moment in moments if moment + rule.horizon_ms <= end_time), dtype=np.int64)
    count = len(log.subjects)
    moment_starts = np.arange(count + 1, dtype=np.int64) * len(at)
    behind = np.empty(count * len(at), dtype=np.int64)
    labels = np.full(count * len(at), NOT_A_ROW, dtype=np.int8)
    recency = np.full(count * len(at), np.inf)
    wanted = np.isin(log.types, log.types_of(rule.types))
    own = ~np.isin(log.types, log.types_of(DERIVED))
    for s in range(count if len(at) else 0):
        part = slice(int(log.starts[s]), int(log.starts[s + 1]))
        inside = slice(s * len(at), (s + 1) * len(at))
        behind[inside] = log.starts[s] + np.searchsorted(log.nows[part], at, side="right") - 1
        seen, told = log.times[part][own[part]], log.times[part][wanted[part]]
        speaking = told if rule.kind == CHURN else seen
        if rule.kind == CHURN:
            found = churn_label(told, at, horizon_ms=rule.horizon_ms, active_within_ms=rule.active_within_ms, end_time=end_time)
        else:
            found = purchase_label(
                told, at, horizon_ms=rule.horizon_ms, end_time=end_time, active_within_ms=rule.active_within_ms, event_times=seen
            )
        found[np.searchsorted(speaking, at, side="right") == 0] = NOT_A_ROW
        labels[inside] = found
        last = np.searchsorted(seen, at, side="right") - 1
        held = last >= 0
        recency[inside][held] = (at[held] - seen[last[held]]) / DAY_MS
    times = np.tile(at, count)
    features = fold_at(log, moment_starts, times, behind)
    place = {slot.definition.name: i for i, slot in enumerate(log.layout.slots)}
    keep = labels >= 0
    return Dataset(
        inputs=tuple(inputs), x=features[keep][:, [place[name] for name in inputs]], y=labels[keep],
        subjects=np.repeat(np.array(log.subjects, dtype=object), len(at))[keep], score_time=times[keep],
        recency_days=recency[keep], horizon_ms=rule.horizon_ms,
    )  # fmt: skip


def outcome_part(log: EventColumns, rule: LabelRule, cut_time: int, seed: int) -> Part:
    """Trained on moments whose labels were known at the cut, tested on every subject at the cut.

    Calibration takes the newest of the training moments and a share of the subjects, who train nothing. Raises
    DefinitionError, saying which cut would do, where the log is too short on either side of it.
    """
    first, last, horizon = int(log.times.min()), int(log.times.max()), rule.horizon_ms
    short = cut_time + horizon - last
    if short > SHORT_SHARE_MAX * horizon:
        raise DefinitionError(
            f"the log ends {_days(short)} before the horizon of the cut does: what came of it is not known",
            hint=f"a cut up to {_date(last - horizon)}, or a shorter horizon",
        )
    moments = training_moments(first, cut_time, horizon, len(log.subjects))
    if not moments:
        gap = f"{_days(abs(cut_time - first))} {'before' if first <= cut_time else 'after'} it"
        raise DefinitionError(
            f"no label was known at the cut: the log begins {gap}, the horizon is {_days(horizon)}",
            hint=f"a cut after {_date(first + horizon)}, or a shorter horizon",
        )
    features = general_features(log, rule.types, horizon, cut_time)
    names = [feature.name for feature in features]
    history = to_history(log, features, rule.types)
    train = rows_at(history, rule, moments, cut_time, names)
    test = rows_at(history, rule, [cut_time], cut_time + horizon, names)
    for what, rows in (("rows known at the cut", train), ("rows after it", test)):
        try:
            check_rows(rows.y)
        except DefinitionError as error:
            raise DefinitionError(f"{what}: {error.message}", hint=error.hint or "another cut or horizon") from None
    held = subject_hash(train.subjects, "calibration") < int(GRID * calibration_share(len(np.unique(train.subjects.astype(str)))))
    calibration = np.flatnonzero(held & (train.score_time == max(moments)))
    whole = _joined(train, test)
    rivals = _rivals(whole)
    tested = np.arange(len(train), len(whole))
    sign = {name: _sign(values[: len(train)], train.y) for name, values in rivals.items()}
    whole = strongest(whole, np.flatnonzero(~held), seed)
    statement = (
        f"trained on {len(moments)} moments from {_date(min(moments))} to {_date(max(moments))}, whose labels were known at the"
        f" cut; tested on {len(test):,} subjects at {_date(cut_time)} with what they did in the {_days(horizon)} after"
    )
    parts = Split(BY_TIME, "moments known at a cut", np.flatnonzero(~held), calibration, tested)
    baselines = {name: sign[name] * values[tested] for name, values in rivals.items()}
    warnings = (f"the log ends {_days(short)} before the horizon does",) if short > 0 else ()
    return Part(whole, parts, baselines, statement, warnings)


def training_moments(first_time: int, cut_time: int, horizon_ms: int, subject_count: int) -> list[int]:
    """Moments whose labels are known at the cut, newest first: as many as the rows a training uses, at most MOMENTS_MAX."""
    newest = cut_time - horizon_ms
    if newest <= first_time:
        return []
    wanted = min(MOMENTS_MAX, max(1, ROWS_MAX // max(1, subject_count)))
    step = max(1, int(MOMENT_STEP * horizon_ms))
    earliest = first_time + int(HISTORY_MIN * horizon_ms)
    return [newest, *(newest - i * step for i in range(1, wanted) if newest - i * step >= earliest)]


def _rivals(rows: Dataset) -> dict[str, NDArray[np.float64]]:
    total = rows.x[:, rows.inputs.index("events_total")]
    return {"recency": np.where(np.isfinite(rows.recency_days), rows.recency_days, 1e9), "frequency": total}


def _sign(values: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    """Which way the training rows say that it points."""
    return 1.0 if area_under_curve(values, labels) >= 0.5 else -1.0


def _joined(one: Dataset, other: Dataset) -> Dataset:
    return Dataset(
        inputs=one.inputs, x=np.vstack([one.x, other.x]), y=np.concatenate([one.y, other.y]),
        subjects=np.concatenate([one.subjects, other.subjects]), score_time=np.concatenate([one.score_time, other.score_time]),
        recency_days=np.concatenate([one.recency_days, other.recency_days]), horizon_ms=one.horizon_ms,
    )  # fmt: skip


def _days(span_ms: int) -> str:
    days = span_ms / DAY_MS
    return f"{days:,.0f} days" if abs(days) >= 100 else f"{days:.3g} days"


def _date(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms").astype("datetime64[m]")) + " UTC"
