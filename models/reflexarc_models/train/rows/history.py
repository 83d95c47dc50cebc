"""From a log to training rows: every subject's events, the moments rows are drawn at, and their labels.

Owns the form of a log that is folded in batch (`rows.fold` folds it, `rows.log_columns` makes it of columns) and the moments,
which are exactly those at which the model scores. Must never define a feature: what a device computes and what a model is
trained on are bit-equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core import aggregation
from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_core.feature import Layout, contribution_of
from reflexarc_core.interaction import interaction_of
from reflexarc_core.model import ModelDefinition
from reflexarc_models.train.rows import fold
from reflexarc_models.train.rows.dataset import NOT_A_ROW, UNMATURED, Dataset, churn_label, purchase_label

MOMENTS_MAX: Final = 80_000
"""Moments folded for one model; a longer log is thinned evenly over time and subjects."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """A log's events by subject, in log order, with what each adds to every feature.

    subjects: [s] names; starts: int64 [s+1], first event of each. times: int64 [n], event time ms. nows: int64 [n],
    engine time at capture, ms. types: int32 [n], index into `type_names`. contributions: for each feature the events that
    add to it (int64, ascending) and what each adds (float64). layout: the features, in vector order. items: int32 [n],
    index into `item_ids` of the item an event is about (-1: none), with its weight as an interaction
    (`reflexarc_core.interaction`) in item_weights, float32 [n].
    """

    subjects: tuple[str, ...]
    starts: NDArray[np.int64]
    times: NDArray[np.int64]
    nows: NDArray[np.int64]
    types: NDArray[np.int32]
    type_names: tuple[str, ...]
    contributions: tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]
    layout: Layout
    item_ids: tuple[str, ...]
    items: NDArray[np.int32]
    item_weights: NDArray[np.float32]

    @property
    def end_time(self) -> int:
        """Newest event time, ms: as far as the log is known to cover."""
        return int(self.times.max()) if len(self.times) else 0

    def types_of(self, names: Iterable[str]) -> NDArray[np.int32]:
        """Indices of those event types that occur."""
        wanted = set(names)
        return np.array([i for i, name in enumerate(self.type_names) if name in wanted], dtype=np.int32)


def history(catalog: Catalog, events: Iterable[tuple[int, Event]]) -> History:
    """Gather (engine time, event) pairs in log order; a subject's pairs that are not (a file imported as it was written)
    are put in order of their times. Features with a key are not inputs of models and are left out.
    """
    layout = Layout([feature for feature in catalog.features.values() if not feature.key])
    index = {slot.definition.name: i for i, slot in enumerate(layout.slots)}
    by_subject: dict[str, list[tuple[int, int, int, list[tuple[int, float]], int, float]]] = {}
    type_index: dict[str, int] = {}
    item_index: dict[str, int] = {}
    for now, event in events:
        added: list[tuple[int, float]] = []
        for slot, contribution in layout.contributions(event.event_type):
            value = contribution_of(slot.kind, contribution, event.properties)
            if value is not None:
                added.append((index[slot.definition.name], value))
        item, weight = -1, 0.0
        interaction = interaction_of(event.event_type, event.properties)
        if interaction is not None:
            item, weight = item_index.setdefault(interaction[0], len(item_index)), interaction[1]
        row = (event.event_time, now, type_index.setdefault(event.event_type, len(type_index)), added, item, weight)
        by_subject.setdefault(event.subject, []).append(row)
    for subject_rows in by_subject.values():
        subject_rows.sort(key=lambda row: row[1])
    rows = [row for subject_rows in by_subject.values() for row in subject_rows]
    adding: list[tuple[list[int], list[float]]] = [([], []) for _ in layout.slots]
    for i, row in enumerate(rows):
        for slot_number, value in row[3]:
            adding[slot_number][0].append(i)
            adding[slot_number][1].append(value)
    lengths = [len(subject_rows) for subject_rows in by_subject.values()]
    return History(
        subjects=tuple(by_subject),
        starts=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        times=np.array([row[0] for row in rows], dtype=np.int64),
        nows=np.array([row[1] for row in rows], dtype=np.int64),
        types=np.array([row[2] for row in rows], dtype=np.int32),
        type_names=tuple(type_index),
        contributions=tuple((np.array(at, dtype=np.int64), np.array(added, dtype=np.float64)) for at, added in adding),
        layout=layout,
        item_ids=tuple(item_index),
        items=np.array([row[4] for row in rows], dtype=np.int32),
        item_weights=np.array([row[5] for row in rows], dtype=np.float32),
    )


def fold_at(
    log: History, moment_starts: NDArray[np.int64], moment_times: NDArray[np.int64], behind: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Every feature at each moment, float64 [moments, features].

    moment_starts: int64 [s+1], the moments of each subject, ascending in `behind`. behind: the moment sees events up
    to and including this index of the log (the subject's first index minus one: none).
    """
    return fold.fold(log.layout.slots, log.contributions, log.starts, log.times, moment_starts, moment_times, behind)


def build_dataset(
    catalog: Catalog,
    model: ModelDefinition,
    log: History,
    acted: Mapping[str, Sequence[int]] | None = None,
    moments_max: int = MOMENTS_MAX,
) -> Dataset:
    """Labelled rows of one model at the moments it scores.

    acted: subject -> times (ms) at which the model's triggers fired for it; rows whose horizon holds one are left
    out and counted. Raises nothing for a log that says too little: the dataset is then empty.
    """
    label = model.label
    assert label is not None
    seen = set(log.type_names)
    inputs = tuple(
        name
        for name in model.features
        if seen.intersection(catalog.features[name].event_types) and not catalog.features[name].key
    )
    left_out = tuple(name for name in model.features if name not in inputs)
    moment_starts, times, behind = _moments(model, log, moments_max)
    features = fold_at(log, moment_starts, times, behind)
    columns = [i for i, slot in enumerate(log.layout.slots) if slot.definition.name in inputs]
    order = [log.layout.slots[i].definition.name for i in columns]
    features = features[:, [columns[order.index(name)] for name in inputs]]
    labels, recency = labels_at(model, log, moment_starts, times)
    subjects = np.repeat(np.array(log.subjects, dtype=object), np.diff(moment_starts))
    touched = acted_on(acted or {}, subjects, times, label.horizon_ms)
    keep = (labels >= 0) & ~touched
    return Dataset(
        inputs=inputs,
        x=features[keep],
        y=labels[keep].astype(np.int8),
        subjects=subjects[keep],
        score_time=times[keep],
        recency_days=recency[keep],
        horizon_ms=label.horizon_ms,
        inputs_left_out=left_out,
        unmatured_count=int((labels == UNMATURED).sum()),
        acted_on_count=int((touched & (labels >= 0)).sum()),
        excluded={"not active": int((labels == NOT_A_ROW).sum())},
    )


def _moments(
    model: ModelDefinition, log: History, moments_max: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Moments by subject: at each tick from the subject's first event on, or right behind each scoring event."""
    starts: list[int] = [0]
    times: list[NDArray[np.int64]] = []
    behind: list[NDArray[np.int64]] = []
    score_types = log.types_of(model.score_on)
    total = _moment_count(model, log, score_types)
    stride = max(1, -(-total // moments_max))
    count = 0
    for s in range(len(log.subjects)):
        first, last = int(log.starts[s]), int(log.starts[s + 1])
        nows = log.nows[first:last]
        phase = zlib.crc32(log.subjects[s].encode()) % stride
        if model.every_ms:
            lowest = int(nows[0]) // model.every_ms + 1
            highest = log.end_time // model.every_ms
            indices = np.arange(lowest, highest + 1, dtype=np.int64)
            at = indices[(indices + phase) % stride == 0] * model.every_ms
            see = first + np.searchsorted(nows, at, side="left").astype(np.int64) - 1
        else:
            scored = np.flatnonzero(np.isin(log.types[first:last], score_types))[phase::stride]
            at = nows[scored]
            see = (first + scored).astype(np.int64)
        times.append(at)
        behind.append(see)
        count += len(at)
        starts.append(count)
    empty = np.zeros(0, dtype=np.int64)
    return (
        np.array(starts, dtype=np.int64),
        np.concatenate(times) if times else empty,
        np.concatenate(behind) if behind else empty,
    )


def _moment_count(model: ModelDefinition, log: History, score_types: NDArray[np.int32]) -> int:
    if not len(log.subjects):
        return 0
    if model.every_ms:
        first_nows = log.nows[log.starts[:-1]]
        return int((log.end_time // model.every_ms - first_nows // model.every_ms).sum())
    return int(np.isin(log.types, score_types).sum())


def labels_at(
    model: ModelDefinition, log: History, moment_starts: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """(label, days since the subject's last event) of each moment. moment_starts: int64 [s+1], by subject of the log; times: ms.

    A label may be NOT_A_ROW or UNMATURED. The model must have one.
    """
    label = model.label
    assert label is not None
    qualifying = np.isin(log.types, log.types_of(label.events))
    labels = np.zeros(len(times), dtype=np.int8)
    recency = np.full(len(times), np.inf)
    end_time = log.end_time
    for s in range(len(log.subjects)):
        a, b = int(moment_starts[s]), int(moment_starts[s + 1])
        if a == b:
            continue
        part = slice(int(log.starts[s]), int(log.starts[s + 1]))
        all_times = np.sort(log.times[part])
        label_times = np.sort(log.times[part][qualifying[part]])
        at = times[a:b]
        if label.kind == "churn":
            labels[a:b] = churn_label(
                label_times, at, horizon_ms=label.horizon_ms, active_within_ms=label.active_within_ms, end_time=end_time
            )
        else:
            labels[a:b] = purchase_label(
                label_times, at, horizon_ms=label.horizon_ms, end_time=end_time,
                active_within_ms=label.active_within_ms, event_times=all_times,
            )  # fmt: skip
        # Strictly before: at a scoring event, recency is the silence that this event ended.
        before = np.searchsorted(all_times, at, side="left") - 1
        held = before >= 0
        recency[a:b][held] = (at[held] - all_times[before[held]]) / aggregation.DAY_MS
    return labels, recency


def times_acted_on(
    catalog: Catalog, model: ModelDefinition, fired: Mapping[str, Mapping[str, Sequence[int]]]
) -> dict[str, list[int]]:
    """Subject -> times (ms) at which a trigger that reads this model fired. fired: trigger -> subject -> times."""
    times: dict[str, list[int]] = {}
    for trigger in catalog.triggers.values():
        if any(line.model_id == model.model_id for line in trigger.lines):
            for subject, of_trigger in fired.get(trigger.trigger_id, {}).items():
                times.setdefault(subject, []).extend(of_trigger)
    return times


def acted_on(
    acted: Mapping[str, Sequence[int]], subjects: NDArray[Any], times: NDArray[np.int64], horizon_ms: int
) -> NDArray[np.bool_]:
    """Which moments have a decision of their subject within a horizon on either side: their label is not nature's."""
    out = np.zeros(len(times), dtype=bool)
    if not acted:
        return out
    for i, subject in enumerate(subjects):
        out[i] = any(times[i] - horizon_ms < at <= times[i] + horizon_ms for at in acted.get(subject, ()))
    return out
