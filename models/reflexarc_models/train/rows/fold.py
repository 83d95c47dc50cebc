"""The batch fold: every feature of every subject at every moment asked for, one feature after the other, one thread.

Owns how a fold is executed. What a feature is stays with `reflexarc_core.aggregation`, whose own functions are compiled here;
only sums over windows have a second execution, which keeps the buckets that hold something in a list in place of all of them in
a ring. It adds the same numbers in the same order, and sums of whole numbers, where no order matters, as running totals: equal
to the bit, as tests say. Must never read a log.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from reflexarc_core import aggregation
from reflexarc_core.feature import Slot

_WINDOW_SUMS: Final = (aggregation.COUNT, aggregation.SUM, aggregation.RATE)
_ALIKE_MAX: Final = 4
"""Features folded together: each pair of numbers (that add whole numbers, all) is compiled by itself."""

Contributions = tuple[NDArray[np.int64], NDArray[np.float64]]
"""The events that add to a feature, ascending, and what each of them adds."""


def fold(
    slots: Sequence[Slot],
    contributions: Sequence[Contributions],
    starts: NDArray[np.int64],
    times: NDArray[np.int64],
    moment_starts: NDArray[np.int64],
    moment_times: NDArray[np.int64],
    behind: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Every feature at each moment, float64 [moments, features], stored feature by feature.

    contributions: for each slot the events that add to it, ascending indices into `times`, and what each adds. starts: int64
    [s + 1], first event of each subject. times: int64 [n], event times in ms, in log order within a subject. moment_starts:
    int64 [s + 1], first moment of each subject. behind: the moment sees events up to and including this index.
    """
    decayed, any_kind = _compiled()
    rows = np.empty((len(slots), len(moment_times)), dtype=np.float64)
    moments = (moment_starts, moment_times, behind)
    for (width, count), members in _windows(slots, contributions, times).items():
        for alike in _alike(members, contributions):
            events, firsts = _firsts(contributions[alike[0]][0], starts, times)
            room = int(np.diff(firsts).max()) + 1 if len(firsts) > 1 else 1
            whole = [place for place in alike if _all_whole()(contributions[place][1])]
            ordered = whole + [place for place in alike if place not in whole]
            added = tuple(np.ascontiguousarray(contributions[place][1]) for place in ordered)
            per = np.array([slots[place].per for place in ordered], dtype=np.float64)
            _compiled_windows(len(whole), len(ordered))(
                events, added, firsts, times, *moments, width, count, per, np.empty(room, dtype=np.int64),
                np.empty((room, len(ordered))), np.array(ordered, dtype=np.int64), rows,
            )  # fmt: skip
    for place, (slot, (events, values)) in enumerate(zip(slots, contributions, strict=True)):
        if _is_listed(slot, times):
            continue
        events, firsts = _firsts(events, starts, times)
        if slot.kind == aggregation.DECAYED_SUM:
            decayed(events, values, firsts, times, *moments, slot.width_ms, rows[place])
        else:
            any_kind(
                events, values, firsts, times, *moments, np.array(slot.empty(), dtype=np.float64),
                slot.kind, slot.width_ms, slot.bucket_count, slot.slot_count, slot.per, rows[place],
            )  # fmt: skip
    return rows.T


def _is_listed(slot: Slot, times: NDArray[np.int64]) -> bool:
    """Whether the list of buckets is another execution of this feature; before 1970 a ring has no place for its newest bucket."""
    return slot.kind in _WINDOW_SUMS and not (len(times) and int(times.min()) < 0)


def _windows(slots: Sequence[Slot], contributions: Sequence[Contributions], times: NDArray[np.int64]) -> dict[Any, list[int]]:
    """Numbers of the slots that sum over the same buckets, by (width, count)."""
    found: dict[Any, list[int]] = {}
    for place, slot in enumerate(slots):
        if _is_listed(slot, times):
            found.setdefault((slot.width_ms, slot.bucket_count), []).append(place)
    return found


def _alike(places: Sequence[int], contributions: Sequence[Contributions]) -> list[list[int]]:
    """Those of `places` that the same events add to, together: their buckets come and go at the same events."""
    groups: list[list[int]] = []
    for place in places:
        events = contributions[place][0]
        for group in groups:
            first = contributions[group[0]][0]
            if len(group) < _ALIKE_MAX and (first is events or np.array_equal(first, events)):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _firsts(
    events: NDArray[np.int64], starts: NDArray[np.int64], times: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(events, first contribution of each subject)."""
    every_event_once = len(events) == len(times) and bool((events[1:] > events[:-1]).all())
    return events, starts if every_event_once else np.searchsorted(events, starts).astype(np.int64)


@functools.cache
def _all_whole() -> Callable[[NDArray[np.float64]], bool]:
    compiled: Any = numba.njit(_are_whole, nogil=True)
    all_whole: Callable[[NDArray[np.float64]], bool] = compiled
    return all_whole


def _are_whole(values):  # type: ignore[no-untyped-def]
    """Whether every sum of these is exact in any order: whole numbers, and none of their sums over 2^53."""
    largest = 0.0
    for value in values:
        if value != np.floor(value):
            return False
        largest += abs(value)
    return largest < 9007199254740992.0


@functools.cache
def _compiled_windows(whole_count: int, feature_count: int) -> Callable[..., None]:
    """The fold of this many features over one window, those that add whole numbers first: numbers known beforehand leave no
    loop over them.
    """
    scope = {"np": np, "WHOLE_COUNT": whole_count, "FEATURE_COUNT": feature_count}
    compiled: Any = numba.njit(types.FunctionType(_window_sums.__code__, scope, "_window_sums"), nogil=True, error_model="numpy")
    fold_windows: Callable[..., None] = compiled
    return fold_windows


@functools.cache
def _compiled() -> tuple[Callable[..., None], Callable[..., None]]:
    """Both other folds, seeing the aggregations of the core compiled from their own code objects.

    Nothing is kept on disk: numba would not notice that a function of the core has changed.
    """
    scope: dict[str, Any] = dict(vars(aggregation))
    scope["np"] = np
    # As arrays, for numba would copy a tuple to look one number up.
    scope |= {name: np.array(scope[name]) for name in ("HALF_FRACTION", "HALF_WHOLE")}
    for function in aggregation.COMPILE_ORDER:
        copied = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
        scope[function.__name__] = numba.njit(copied)
    found: list[Any] = [
        numba.njit(types.FunctionType(function.__code__, scope, function.__name__), nogil=True)
        for function in (_decayed_sums, _any_kind)
    ]
    return found[0], found[1]


def _any_kind(  # type: ignore[no-untyped-def]
    events, values, firsts, times, moment_starts, moment_times, behind, empty, kind, width, n, slots, per, row
):
    """One feature by the core's `step` and `read`."""
    for s in range(len(firsts) - 1):
        vector = empty.copy()
        c, last = firsts[s], firsts[s + 1]
        for m in range(moment_starts[s], moment_starts[s + 1]):
            while c < last and events[c] <= behind[m]:
                step(vector, 0, kind, times[events[c]], values[c], width, n, slots)  # type: ignore[name-defined]  # noqa: F821
                c += 1
            row[m] = read(vector, 0, kind, moment_times[m], width, n, slots, per)  # type: ignore[name-defined]  # noqa: F821


def _decayed_sums(events, values, firsts, times, moment_starts, moment_times, behind, width, row):  # type: ignore[no-untyped-def]
    """One decayed sum by the core's `step_decayed` and `read_decayed`, without the choice among kinds for every event."""
    vector = np.empty(2, dtype=np.float64)
    for s in range(len(firsts) - 1):
        vector[0], vector[1] = 0.0, -1.0
        c, last = firsts[s], firsts[s + 1]
        for m in range(moment_starts[s], moment_starts[s + 1]):
            while c < last and events[c] <= behind[m]:
                step_decayed(vector, 0, times[events[c]], values[c], width, 0, 0)  # type: ignore[name-defined]  # noqa: F821
                c += 1
            row[m] = read_decayed(vector, 0, moment_times[m], width, 0, 0, 1.0)  # type: ignore[name-defined]  # noqa: F821


def _window_sums(  # type: ignore[no-untyped-def]
    events, values, firsts, times, moment_starts, moment_times, behind, width, n, per, buckets, sums, places, rows
):
    """Features that sum over one window: `step_sum` and `read_sum` over the list of buckets that hold something.

    values: of each feature, what each contribution adds; places: the features' rows in `rows`. buckets [room], sums [room,
    features]: the list of one subject, ascending from `low` up to `high`. newest: the newest bucket, which begins at `begin`.
    total: sums over the list, of whole numbers. older: for the others the sums of `start` up to `stop` of the list, oldest
    first, which go on from there as long as the window begins with the same bucket; start -1: none.
    """
    whole, count = WHOLE_COUNT, FEATURE_COUNT  # type: ignore[name-defined]  # noqa: F821
    total, older = np.zeros(count), np.zeros(count)
    for s in range(len(firsts) - 1):
        low = high = 0
        newest = begin = start = stop = -1
        total[:] = 0.0
        c, last = firsts[s], firsts[s + 1]
        for m in range(moment_starts[s], moment_starts[s + 1]):
            limit = behind[m]
            while c < last and events[c] <= limit:
                t = times[events[c]]
                place = high - 1
                if begin < 0 or not begin <= t < begin + width:
                    bucket = t // width
                    if bucket > newest:
                        newest, begin = bucket, bucket * width
                        while low < high and buckets[low] <= newest - n:
                            for k in range(whole):
                                total[k] -= sums[low, k]
                            low += 1
                        if low == high:
                            low = high = 0
                            start = -1
                        place = high
                        buckets[place] = bucket
                        for k in range(count):
                            sums[place, k] = 0.0
                        high += 1
                    elif bucket > newest - n:
                        while place >= low and buckets[place] > bucket:
                            place -= 1
                        if place < low or buckets[place] != bucket:
                            place += 1
                            for i in range(high, place, -1):
                                buckets[i] = buckets[i - 1]
                                sums[i] = sums[i - 1]
                            buckets[place] = bucket
                            sums[place] = 0.0
                            high += 1
                        start = -1
                    else:  # late: its bucket has left the window
                        c += 1
                        continue
                for k in range(count):
                    v = values[k][c]
                    sums[place, k] += v
                    if k < whole:
                        total[k] += v
                c += 1
            now = moment_times[m]
            first, ends = low, newest
            if newest >= 0 and now >= begin + width:
                ends = now // width
                while first < high and buckets[first] <= ends - n:
                    first += 1
            if newest < 0 or first == high:
                for k in range(count):
                    rows[places[k], m] = 0.0 / per[k]
                continue
            for k in range(whole):
                held = total[k]
                for i in range(low, first):
                    held -= sums[i, k]
                rows[places[k], m] = held / per[k]
            if whole < count:
                if first != start:
                    start = stop = first
                    older[:] = 0.0
                for k in range(whole, count):
                    held = older[k]
                    for i in range(stop, high - 1):
                        held += sums[i, k]
                    older[k] = held
                    rows[places[k], m] = (held + sums[high - 1, k]) / per[k]
                stop = high - 1
