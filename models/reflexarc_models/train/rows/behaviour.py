"""A general set of features for any log of events: what is declared for a log that nobody has described.

Owns the choice (recency, tenure, counts in windows that follow from the horizon, visits, days, gaps, sums) and the columns
they are gathered from. Every feature is an ordinary declaration of `reflexarc_core.feature`, folded by the core's own steps as
`train.history` does. Must never look behind the cut it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.aggregation import DAY_MS
from reflexarc_core.feature import Contribution, FeatureDefinition, Layout
from reflexarc_models.train.rows.history import History

VISIT: Final = "visit_began"
DAY: Final = "day_began"
FIRST: Final = "first_seen"
LABELLED: Final = "label_event"
DERIVED: Final = (FIRST, VISIT, DAY, LABELLED)
GAP: Final = "gap_days"
VISIT_SILENCE_MS: Final = 30 * 60_000

WINDOWS: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Windows as multiples of the horizon: what somebody did in the last eighth of it says most of the next whole."""
BUCKETS: Final = 8
TYPES_MAX: Final = 10
NUMBERS_MAX: Final = 6
TEXTS_MAX: Final = 16
LEVELS_MAX: Final = 30


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """A log as columns, in any order. subject: int64 [n] into `subjects`. times: int64 [n], ms UTC. types: int64 [n] into
    `type_names`. numbers: by (event type, property) float64 [n], NaN where absent. texts: by (event type, property) the
    values, and int64 [n] into them, -1 where absent.
    """

    subjects: tuple[str, ...]
    subject: NDArray[np.int64]
    times: NDArray[np.int64]
    types: NDArray[np.int64]
    type_names: tuple[str, ...]
    numbers: dict[tuple[str, str], NDArray[np.float64]]
    texts: dict[tuple[str, str], tuple[tuple[str, ...], NDArray[np.int64]]]


def general_features(log: EventColumns, label_types: Sequence[str], horizon_ms: int, cut_time: int) -> list[FeatureDefinition]:
    """Declarations for this log. Looks at what occurs up to `cut_time` only, so that the future chooses nothing.

    horizon_ms: windows are multiples of it, those longer than the log left out. DERIVED types stand for the first event
    after VISIT_SILENCE_MS, the first of a (UTC) day, the first of all, and events of the label's types.
    """
    known = log.times <= cut_time
    span = int(cut_time - log.times[known].min()) if known.any() else horizon_ms
    windows = [ratio for ratio in WINDOWS if ratio * horizon_ms <= span] or [WINDOWS[0]]
    counts = np.bincount(log.types[known], minlength=len(log.type_names))
    types = [log.type_names[place] for place in np.argsort(-counts, kind="stable") if counts[place]]
    everything = tuple(Contribution(name) for name in types)
    found = [
        FeatureDefinition("recency_days", "recency", everything, unit="days"),
        FeatureDefinition("tenure_days", "recency", (Contribution(FIRST),), unit="days"),
        *_counted("events", everything, windows, horizon_ms),
        *_counted("visits", (Contribution(VISIT),), windows, horizon_ms),
        *_counted("days", (Contribution(DAY),), windows, horizon_ms),
    ]
    for name, ratio in (("quarter", 0.25), ("whole", 1.0)):
        found.append(FeatureDefinition(f"events_fading_{name}", "decayed_sum", everything, half_life_ms=int(ratio * horizon_ms)))
    longest = windows[-1]
    found += _measured("visit_gap", (Contribution(VISIT, 1.0, GAP),), longest, horizon_ms)
    if set(types) - set(label_types):
        labelled = (Contribution(LABELLED),)
        found.append(FeatureDefinition("label_recency_days", "recency", labelled, unit="days"))
        found += _counted("label", labelled, windows, horizon_ms)
        found += _measured("label_gap", (Contribution(LABELLED, 1.0, GAP),), longest, horizon_ms)
    if len(types) > 1:
        for name in types[:TYPES_MAX]:
            found += _noted(f"type.{name}", (Contribution(name),), horizon_ms)
    for (event_type, property_name), values in _telling(log.numbers, known)[:NUMBERS_MAX]:
        of = (Contribution(event_type, 1.0, property_name),)
        name = f"{event_type}.{property_name}"
        found += _measured(name, of, longest, horizon_ms)
        found.append(FeatureDefinition(f"{name}.total", "total", of))
        found.append(_window(f"{name}.sum", "sum", of, 1.0, horizon_ms))
        assert len(values) == len(log.times)
    for event_type, property_name, value in _frequent(log, known)[:TEXTS_MAX]:
        of = (Contribution(event_type, 1.0, "", ((property_name, (value,)),)),)
        found += _noted(f"{event_type}.{property_name}={value[:24]}", of, horizon_ms)
    return found


def _window(name: str, aggregation: str, of: tuple[Contribution, ...], ratio: float, horizon_ms: int) -> FeatureDefinition:
    bucket = max(1, int(ratio * horizon_ms) // BUCKETS)
    return FeatureDefinition(name, aggregation, of, window_ms=bucket * BUCKETS, bucket_ms=bucket)


def _counted(name: str, of: tuple[Contribution, ...], windows: Sequence[float], horizon_ms: int) -> list[FeatureDefinition]:
    found = [_window(f"{name}_{ratio:g}h", "count", of, ratio, horizon_ms) for ratio in windows]
    return [*found, FeatureDefinition(f"{name}_total", "total", of)]


def _noted(name: str, of: tuple[Contribution, ...], horizon_ms: int) -> list[FeatureDefinition]:
    return [
        FeatureDefinition(f"{name}.recency", "recency", of, unit="days"),
        _window(f"{name}.count", "count", of, 1.0, horizon_ms),
        FeatureDefinition(f"{name}.total", "total", of),
    ]


def _measured(name: str, of: tuple[Contribution, ...], ratio: float, horizon_ms: int) -> list[FeatureDefinition]:
    return [_window(f"{name}.{kind}", kind, of, ratio, horizon_ms) for kind in ("mean", "max")]


def _telling(
    numbers: dict[tuple[str, str], NDArray[np.float64]], known: NDArray[np.bool_]
) -> list[tuple[tuple[str, str], NDArray[np.float64]]]:
    """Number properties that vary, those with most values first."""
    counted = []
    for key, values in numbers.items():
        seen = values[known]
        seen = seen[np.isfinite(seen)]
        if len(seen) and seen.min() < seen.max():
            counted.append((-len(seen), key, values))
    return [(key, values) for _, key, values in sorted(counted, key=lambda one: one[:2])]


def _frequent(log: EventColumns, known: NDArray[np.bool_]) -> list[tuple[str, str, str]]:
    """(event type, property, value) of text properties with few values, the most frequent first."""
    counted = []
    for (event_type, property_name), (values, codes) in log.texts.items():
        counts = np.bincount(codes[known & (codes >= 0)], minlength=len(values))
        if 1 < (counts > 0).sum() <= LEVELS_MAX:
            of_values = zip(values, counts, strict=True)
            counted += [(-int(count), event_type, property_name, value) for value, count in of_values if count]
    return [(event_type, property_name, value) for _, event_type, property_name, value in sorted(counted)]


def to_history(log: EventColumns, features: Sequence[FeatureDefinition], label_types: Sequence[str]) -> History:
    """The log with its derived events, ready to fold: what `train.history.history` makes of the same events."""
    base = len(log.type_names)
    names = (*log.type_names, *DERIVED)
    order = np.lexsort((log.times, log.subject))
    subject, times, types = log.subject[order], log.times[order], log.types[order]
    begins = np.concatenate(([True], subject[1:] != subject[:-1])) if len(subject) else np.zeros(0, dtype=bool)
    silence = np.where(begins, np.iinfo(np.int64).max, np.concatenate(([0], np.diff(times))) if len(times) else times)
    labelled = np.isin(types, [i for i, name in enumerate(log.type_names) if name in set(label_types)])
    marks = {
        FIRST: begins,
        VISIT: silence >= VISIT_SILENCE_MS,
        DAY: begins | (times // DAY_MS != np.concatenate(([-1], times[:-1] // DAY_MS))),
        LABELLED: labelled,
    }
    rows = np.concatenate([np.arange(len(times)), *(np.flatnonzero(marks[name]) for name in DERIVED)])
    kinds = np.concatenate(
        [types, *(np.full(int(marks[name].sum()), base + place, dtype=np.int64) for place, name in enumerate(DERIVED))]
    )
    gaps = np.full(len(rows), np.nan)
    for place, name in enumerate(DERIVED):
        if name in (VISIT, LABELLED):
            inside = kinds == base + place
            gaps[inside] = _gaps(subject[rows[inside]], times[rows[inside]])
    settled = np.lexsort((kinds >= base, rows))  # an event, then what it began
    rows, kinds, gaps = rows[settled], kinds[settled], gaps[settled]
    layout = Layout(list(features))
    slots, values, owners = _contributions(log, layout, names, order[rows], kinds, gaps)
    present, counts = np.unique(subject, return_counts=True)
    sizes = np.bincount(subject[rows], minlength=len(log.subjects))[present]
    assert len(counts) == len(present)
    return History(
        subjects=tuple(log.subjects[place] for place in present),
        starts=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        times=times[rows], nows=times[rows], types=kinds.astype(np.int32), type_names=names,
        contributions=tuple((owners[slots == place], values[slots == place]) for place in range(len(layout.slots))),
        layout=layout,
        item_ids=(), items=np.full(len(rows), -1, dtype=np.int32), item_weights=np.zeros(len(rows), dtype=np.float32),
    )  # fmt: skip


def _gaps(subject: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days since the subject's one before, NaN for the first."""
    gaps = np.full(len(times), np.nan)
    gaps[1:] = np.where(subject[1:] == subject[:-1], np.diff(times) / DAY_MS, np.nan)
    return gaps


def _contributions(
    log: EventColumns, layout: Layout, names: Sequence[str], rows: NDArray[np.int64], kinds: NDArray[np.int64],
    gaps: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:  # fmt: skip
    """(slot, value, event) of everything that adds to a feature, by event."""
    slots, values, owners = [], [], []
    of_kind = {name: np.flatnonzero(kinds == place) for place, name in enumerate(names)}
    for place, slot in enumerate(layout.slots):
        for of in slot.definition.of:
            inside = of_kind.get(of.event_type, np.zeros(0, dtype=np.int64))
            for property_name, accepted in of.where:
                texts, codes = log.texts[of.event_type, property_name]
                inside = inside[np.isin(codes[rows[inside]], [texts.index(str(value)) for value in accepted])]
            added = np.full(len(inside), of.weight)
            if of.property_name == GAP and of.event_type in DERIVED:
                added = gaps[inside] * of.weight
            elif of.property_name:
                added = log.numbers[of.event_type, of.property_name][rows[inside]] * of.weight
            there = ~np.isnan(added)
            owners.append(inside[there])
            values.append(added[there])
            slots.append(np.full(int(there.sum()), place, dtype=np.int64))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(slots)[order], np.concatenate(values)[order], owner[order]
