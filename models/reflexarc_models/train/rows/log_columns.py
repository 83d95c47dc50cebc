"""A log in columns: no object an event, and no more of it in memory than one part of the subjects.

Owns the way from columns to a `History` and the cut of a log into parts by subject. What an event adds to a feature is said
once, by `reflexarc_core.feature.contribution_of`; here it is applied to a column at a time, and a test holds the two together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from reflexarc_core.aggregation import DISTINCT
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Value
from reflexarc_core.feature import Contribution, Layout, key_hash
from reflexarc_models.train.rows.history import History, fold_at

FOLDED_AT_ONCE: Final = 131_072
"""Events, of whole subjects: their columns and features take some ten megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """A property that takes few values: codes int [n] into `values`, -1 where an event does not have it."""

    codes: NDArray[Any]
    values: Sequence[Value]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A log of n events in log order.

    subjects: int [n], index into `subject_names`. types: int [n], index into `type_names`. times: int64 [n], event time ms.
    nows: int64 [n], engine time at capture, ms. properties: by name, float64 [n] (a number; NaN where an event does not have
    it) or `Choices` (texts, booleans, and numbers whose text matters, as for `distinct`). Any column may be a memory map.
    """

    subjects: NDArray[Any]
    subject_names: Sequence[str]
    types: NDArray[Any]
    type_names: tuple[str, ...]
    times: NDArray[np.int64]
    nows: NDArray[np.int64]
    properties: Mapping[str, NDArray[np.float64] | Choices]

    def __post_init__(self) -> None:
        """Raises DefinitionError when the columns do not fit each other."""
        n = len(self.times)
        lengths = {len(c.codes if isinstance(c, Choices) else c) for c in self.properties.values()}
        if {n, len(self.subjects), len(self.types), len(self.nows), *lengths} != {n}:
            raise DefinitionError(f"a log of {n} events has columns of other lengths", hint="one value for each event")

    def __len__(self) -> int:
        return len(self.times)

    def taken(self, rows: NDArray[Any]) -> Columns:
        """Only these events, in this order. rows: indices, or a mask."""
        properties = {
            name: Choices(column.codes[rows], column.values) if isinstance(column, Choices) else column[rows]
            for name, column in self.properties.items()
        }
        return replace(
            self, subjects=self.subjects[rows], types=self.types[rows], times=self.times[rows], nows=self.nows[rows],
            properties=properties,
        )  # fmt: skip


def history_of(layout: Layout, log: Columns) -> tuple[History, NDArray[np.int64]]:
    """(the log by subject, for each of its events the place it had in the columns).

    As `history` of the same events: within a subject by engine time, those of one moment as they came. Subjects without an
    event are left out. It names no items: content interest is trained on events. Raises DefinitionError for a property that
    a feature cannot take from its column.
    """
    order, starts, nows = _by_subject(log)
    return _history(layout, log, _Adding(log), order, starts, nows, tuple(log.subject_names)), order


def _history(
    layout: Layout,
    log: Columns,
    adding: _Adding,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    nows: NDArray[np.int64],
    names: tuple[str, ...],
) -> History:
    """The events at these places by subject. starts: int64 [s + 1], of each subject that `names` has; nows: in this order."""
    held = np.flatnonzero(np.diff(starts))
    types = np.asarray(log.types)[order]
    found: dict[tuple[Contribution, bool], tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    contributions = []
    for slot in layout.slots:
        parts = []
        for contribution in slot.definition.of:
            key = _key(contribution, slot.kind)
            if key not in found:
                found[key] = adding.added(slot.kind, contribution, types, order)
            parts.append(found[key])
        contributions.append(parts[0] if len(parts) == 1 else _merged(parts))
    return History(
        subjects=names if len(held) == len(names) else tuple(names[s] for s in held.tolist()),
        starts=np.append(starts[held], len(order)).astype(np.int64),
        times=nows if log.times is log.nows else np.asarray(log.times)[order],
        nows=nows,
        types=types.astype(np.int32),
        type_names=log.type_names,
        contributions=tuple(contributions),
        layout=layout,
        item_ids=(),
        items=np.full(len(order), -1, dtype=np.int32),
        item_weights=np.zeros(len(order), dtype=np.float32),
    )


def in_parts(log: Columns, part_count: int) -> Iterator[tuple[Columns, NDArray[np.int64]]]:
    """The log cut by subject into parts that can be folded one after the other: (columns, their places in the whole).

    With memory-mapped columns no more than one part is held at a time. A subject is in one part, with all of its events.
    """
    for part in range(part_count):
        places = np.flatnonzero(np.asarray(log.subjects) % part_count == part)
        if len(places):
            yield log.taken(places), places


def features_behind_events(layout: Layout, log: Columns, part_count: int = 1) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """For each part (places in the columns, float64 [n, features] right behind each of these events, by subject).

    The features of a moment see the events up to and including the one it stands behind, never a later one.
    """
    for columns, places in in_parts(log, part_count) if part_count > 1 else [(log, None)]:
        order, rows = _behind_every_event(layout, columns)
        yield (order if places is None else places[order]), rows


def _behind_every_event(layout: Layout, log: Columns) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(places of the events by subject, float64 [n, features] right behind each), folded some subjects at a time: what lies
    between the columns and the features stays in the processor's cache.
    """
    order, starts, nows = _by_subject(log)
    adding, names = _Adding(log), tuple(log.subject_names)
    rows = np.empty((len(layout.slots), len(order)), dtype=np.float64)
    first = 0
    while first < len(names):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + FOLDED_AT_ONCE, side="right")) - 1)
        events = slice(int(starts[first]), int(starts[last]))
        own = starts[first : last + 1] - starts[first]
        its = _history(layout, log, adding, order[events], own, nows[events], names[first:last])
        rows[:, events] = fold_at(its, its.starts, its.nows, np.arange(len(its.nows))).T
        first = last
    return order, rows.T


class _Adding:
    """`contribution_of` for whole columns, or some of their events at a time."""

    def __init__(self, log: Columns) -> None:
        self._log = log
        self._numbers: dict[tuple[Contribution, bool], NDArray[np.float64]] = {}
        self._fits: dict[tuple[str, tuple[Value, ...]], NDArray[np.bool_]] = {}

    def added(
        self, kind: int, contribution: Contribution, types: NDArray[Any], order: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(events by their place in `order`, what each adds). order: places in the columns; types: of these events."""
        log = self._log
        if contribution.event_type not in log.type_names:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        at = np.flatnonzero(types == log.type_names.index(contribution.event_type))
        for name, accepted in contribution.where:
            column = log.properties.get(name)
            if isinstance(column, Choices):
                at = at[self._fitting(name, accepted, column)[column.codes[order[at]]]]
            elif column is not None:
                at = at[np.isin(column[order[at]], [value for value in accepted if isinstance(value, int | float)])]
            else:
                at = at[:0]
        if not contribution.property_name:
            return at, np.full(len(at), contribution.weight)
        column = log.properties.get(contribution.property_name)
        if column is None:
            return at[:0], np.zeros(0)
        if isinstance(column, Choices):
            values = self._numbers_of(kind, contribution, column)[column.codes[order[at]]]
        else:
            values = column[order[at]]
            if kind == DISTINCT:
                each, inverse = np.unique(values, return_inverse=True)
                values = np.array([key_hash(float(v)) if v == v else np.nan for v in each])[inverse.reshape(-1)]
            elif contribution.weight != 1.0:
                values = values * contribution.weight
        absent = np.isnan(values)
        if not absent.any():
            return at, np.asarray(values, dtype=np.float64)
        return at[~absent], np.asarray(values[~absent], dtype=np.float64)

    def _fitting(self, name: str, accepted: tuple[Value, ...], column: Choices) -> NDArray[np.bool_]:
        """Which choices are accepted, and last whether none is."""
        key = (name, accepted)
        if key not in self._fits:
            self._fits[key] = np.array([value in accepted for value in column.values] + [None in accepted])
        return self._fits[key]

    def _numbers_of(self, kind: int, contribution: Contribution, column: Choices) -> NDArray[np.float64]:
        """What each choice adds, and last what an event without one does."""
        key = _key(contribution, kind)
        if key not in self._numbers:
            self._numbers[key] = np.array([_number(kind, contribution, value) for value in column.values] + [np.nan])
        return self._numbers[key]


def _number(kind: int, contribution: Contribution, value: Value) -> float:
    if value is None:
        return float("nan")
    if kind == DISTINCT:
        return key_hash(value)
    if isinstance(value, str | list):
        raise DefinitionError(
            f"{contribution.event_type}.{contribution.property_name}: {value!r} cannot be summed", hint="give numbers"
        )
    return float(value) * contribution.weight


def _key(contribution: Contribution, kind: int) -> tuple[Contribution, bool]:
    """What decides the numbers of a contribution: itself, and whether they are hashes."""
    return (contribution, kind == DISTINCT)


def _merged(parts: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Contributions of several event types as one, by event; an event's own in the order of the definition."""
    at = np.concatenate([part[0] for part in parts])
    order = np.argsort(at, kind="stable")
    return at[order], np.concatenate([part[1] for part in parts])[order]


def _by_subject(log: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(int64 [n], places of the events by subject, each subject's by engine time and as they came; int64 [s + 1], first of each
    subject; int64 [n], the events' `nows` in this order).
    """
    subjects, nows = np.asarray(log.subjects, dtype=np.int64), np.asarray(log.nows)
    starts = np.zeros(len(log.subject_names) + 1, dtype=np.int64)
    # numpy lays them on large pages and numba would not: writing all over the place takes half as long.
    order, at = np.empty(len(subjects), dtype=np.int64), np.empty(len(subjects), dtype=np.int64)
    if not _compiled_sort()(subjects, nows, starts, order, at):
        order = order[np.lexsort((at, subjects[order]))]
        at = nows[order]
    return order, starts, at


@functools.cache
def _compiled_sort() -> Callable[..., bool]:
    compiled: Any = numba.njit(_counting_sort, cache=False)
    sort: Callable[..., bool] = compiled
    return sort


def _counting_sort(subjects, nows, starts, order, at):  # type: ignore[no-untyped-def]
    """Fills the last three; whether `at`, the nows in the new order, ascends within every subject."""
    for s in subjects:
        starts[s + 1] += 1
    for s in range(len(starts) - 1):
        starts[s + 1] += starts[s]
    free = starts[:-1].copy()
    is_in_order = True
    for i in range(len(subjects)):
        s, now = subjects[i], nows[i]
        place = free[s]
        order[place], at[place] = i, now
        free[s] = place + 1
        if place > starts[s] and now < at[place - 1]:
            is_in_order = False
    return is_in_order
