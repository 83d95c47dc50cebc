"""The aggregations: one `step` and one `read` each, over a flat vector of floats.

Owns the arithmetic of every feature. The functions below are written in the scalar subset that runs both as plain
Python over a list (device) and under numba over a float64 array (server): no libm calls, no `pow`, no `sum`, so
the two are bit-equal. Times and widths are ints in milliseconds; `o` is the offset of the feature's own cells in
the vector `s`. A read never changes the state, it ages it: buckets that left the window do not count.

All steps take (s, o, t, v, width, n, slots) and all reads (s, o, now, width, n, slots, per), whatever of it they use, so
that a kind is one entry in a table; `per` is what a sum is divided by, 1.0 unless it is a rate.

Cells: window aggregations keep [newest bucket (-1 none), late events left out, one cell (mean: two) per bucket];
distinct keeps [overflow count, (key, newest bucket) per slot]; recency [newest time (-1 none)];
decayed sum [value, its time (-1 none)]; total [value].
"""

from __future__ import annotations

from typing import Any, Final

State = Any  # list[float] on the device, a row of a float64 array in batch

NAN: Final = float("nan")
DAY_MS: Final = 86_400_000

_LN2_64 = 0.6931471805599453 / 64.0
# 2^-(k/64) for k in 0..63, and 2^-n for n in 0..63: exact products of these and a short polynomial replace pow.
HALF_FRACTION: Final[tuple[float, ...]] = tuple(2.0 ** (-k / 64.0) for k in range(64))
HALF_WHOLE: Final[tuple[float, ...]] = tuple(2.0**-n for n in range(64))


def half(x: float) -> float:
    """2 to the power -x for x >= 0, from a table and a degree-5 Taylor polynomial; 0 beyond 64 half-lives."""
    if x >= 64.0:
        return 0.0
    scaled = x * 64.0
    steps = int(scaled)
    r = (steps - scaled) * _LN2_64
    taylor = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0)))))
    return HALF_WHOLE[steps >> 6] * HALF_FRACTION[steps & 63] * taylor


def roll(s: State, o: int, bucket: int, n: int, cells: int, empty: float) -> int:
    """Make room for `bucket`: empties what it pushes out. Returns the bucket's place, -1 when it is too late."""
    newest = int(s[o])
    if newest < 0:
        s[o] = float(bucket)
    elif bucket > newest:
        gap = bucket - newest
        if gap > n:
            gap = n
        for i in range(1, gap + 1):
            place = (newest + i) % n
            for c in range(cells):
                s[o + 2 + c * n + place] = empty
        s[o] = float(bucket)
    elif bucket <= newest - n:
        s[o + 1] += 1.0
        return -1
    return bucket % n


def span(s: State, o: int, now: int, width: int, n: int) -> tuple[int, int, int]:
    """Where the window of `n` buckets that ends with the bucket of `now` stands, oldest first: the cells from the first
    number up to the second, then those from the start of the ring up to the third.
    """
    newest = int(s[o])
    last = now // width
    if newest > last:
        last = newest
    ring = o + 2
    if newest < 0 or newest <= last - n:
        return ring, ring, ring
    start = ring + (last + 1) % n
    end = ring + newest % n + 1
    if start < end:
        return start, end, ring
    return start, ring + n, end


def step_sum(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Add `v` to the bucket of time `t`."""
    bucket = t // width
    if bucket == s[o]:  # most events: the newest bucket, nothing to make room for
        s[o + 2 + bucket % n] += v
        return
    place = roll(s, o, bucket, n, 1, 0.0)
    if place >= 0:
        s[o + 2 + place] += v


def read_sum(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Sum over the window, oldest bucket first, divided by `per`."""
    start, stop, rest = span(s, o, now, width, n)
    total = 0.0
    for held in s[start:stop]:
        total += held
    for held in s[o + 2 : rest]:
        total += held
    return total / per


def sum_older(s: State, o: int, now: int, width: int, n: int) -> tuple[float, int]:
    """(sum over the window as of `now` without its newest bucket, the cell of that one): added up, `read_sum` to the bit.

    The newest bucket must lie in the window.
    """
    start, stop, rest = span(s, o, now, width, n)
    total = 0.0
    if rest == o + 2:
        for held in s[start : stop - 1]:
            total += held
        return total, stop - 1
    for held in s[start:stop]:
        total += held
    for held in s[o + 2 : rest - 1]:
        total += held
    return total, rest - 1


def step_mean(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Add `v` to the sum and 1 to the count of the bucket of time `t`."""
    place = roll(s, o, t // width, n, 2, 0.0)
    if place >= 0:
        s[o + 2 + place] += v
        s[o + 2 + n + place] += 1.0


def read_mean(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Mean over the window, NaN when it is empty."""
    start, stop, rest = span(s, o, now, width, n)
    total = 0.0
    count = 0.0
    for held in s[start:stop]:
        total += held
    for held in s[o + 2 : rest]:
        total += held
    for held in s[start + n : stop + n]:
        count += held
    for held in s[o + 2 + n : rest + n]:
        count += held
    if count == 0.0:
        return NAN
    return total / count


def step_min(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Lower the bucket of time `t` to `v`."""
    place = roll(s, o, t // width, n, 1, NAN)
    if place >= 0:
        held = s[o + 2 + place]
        if held != held or v < held:
            s[o + 2 + place] = v


def step_max(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Raise the bucket of time `t` to `v`."""
    place = roll(s, o, t // width, n, 1, NAN)
    if place >= 0:
        held = s[o + 2 + place]
        if held != held or v > held:
            s[o + 2 + place] = v


def read_min(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Least value in the window, NaN when it is empty."""
    start, stop, rest = span(s, o, now, width, n)
    least = NAN
    for held in s[start:stop]:
        if held == held and (least != least or held < least):
            least = held
    for held in s[o + 2 : rest]:
        if held == held and (least != least or held < least):
            least = held
    return least


def read_max(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Greatest value in the window, NaN when it is empty."""
    start, stop, rest = span(s, o, now, width, n)
    greatest = NAN
    for held in s[start:stop]:
        if held == held and (greatest != greatest or held > greatest):
            greatest = held
    for held in s[o + 2 : rest]:
        if held == held and (greatest != greatest or held > greatest):
            greatest = held
    return greatest


def step_distinct(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Note the key `v` (a hash over 0) at time `t`; counted as overflow when every slot holds a living key."""
    bucket = t // width
    start = int(v) % slots
    free = -1
    for i in range(slots):
        cell = o + 1 + 2 * ((start + i) % slots)
        if s[cell] == v:
            if bucket > s[cell + 1]:
                s[cell + 1] = float(bucket)
            return
        if s[cell] == 0.0:
            if free < 0:
                free = cell
            break
        if free < 0 and s[cell + 1] <= bucket - n:
            free = cell
    if free < 0:
        s[o] += 1.0
        return
    s[free] = v
    s[free + 1] = float(bucket)


def read_distinct(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Number of distinct keys seen in the window."""
    oldest = now // width - n
    count = 0.0
    for i in range(slots):
        cell = o + 1 + 2 * i
        if s[cell] != 0.0 and s[cell + 1] > oldest:
            count += 1.0
    return count


def step_recency(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Keep the newest time."""
    if t > s[o]:
        s[o] = float(t)


def read_recency(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Days since the newest event, NaN when there was none."""
    if s[o] < 0.0:
        return NAN
    elapsed: float = now - s[o]
    if elapsed < 0.0:
        elapsed = 0.0
    return elapsed / 86400000.0


def step_decayed(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Add `v` as of time `t` to a sum whose every part halves each half-life (`width`); exact for late events too."""
    held = s[o + 1]
    if held < 0.0:
        s[o] = v
        s[o + 1] = float(t)
    elif t >= held:
        s[o] = s[o] * half((t - held) / width) + v
        s[o + 1] = float(t)
    else:
        s[o] = s[o] + v * half((held - t) / width)


def read_decayed(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """The decayed sum as of `now`, `width` being the half-life; 0 when nothing was added."""
    held = s[o + 1]
    if held < 0.0:
        return 0.0
    if now <= held:
        value: float = s[o]
        return value
    faded: float = s[o] * half((now - held) / width)
    return faded


def step_total(s: State, o: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """Add `v`, for good."""
    s[o] += v


def read_total(s: State, o: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """Everything that was ever added."""
    value: float = s[o]
    return value


# Kinds by number, the form in which a batch fold dispatches on them. The order is part of the snapshot format.
COUNT, SUM, MEAN, MIN, MAX, DISTINCT, RECENCY, RATE, DECAYED_SUM, TOTAL = range(10)
KINDS: Final = ("count", "sum", "mean", "min", "max", "distinct", "recency", "rate", "decayed_sum", "total")
STEPS: Final = (
    step_sum, step_sum, step_mean, step_min, step_max, step_distinct, step_recency, step_sum, step_decayed,
    step_total,
)  # fmt: skip
READS: Final = (
    read_sum, read_sum, read_mean, read_min, read_max, read_distinct, read_recency, read_sum, read_decayed,
    read_total,
)  # fmt: skip


def step(s: State, o: int, kind: int, t: int, v: float, width: int, n: int, slots: int) -> None:
    """`STEPS[kind]` for a batch fold, which cannot call through a table: one event's value `v` at time `t`."""
    if kind == DECAYED_SUM:
        step_decayed(s, o, t, v, width, n, slots)
    elif kind == TOTAL:
        step_total(s, o, t, v, width, n, slots)
    elif kind == COUNT or kind == SUM or kind == RATE:
        step_sum(s, o, t, v, width, n, slots)
    elif kind == RECENCY:
        step_recency(s, o, t, v, width, n, slots)
    elif kind == MEAN:
        step_mean(s, o, t, v, width, n, slots)
    elif kind == MIN:
        step_min(s, o, t, v, width, n, slots)
    elif kind == MAX:
        step_max(s, o, t, v, width, n, slots)
    else:
        step_distinct(s, o, t, v, width, n, slots)


def read(s: State, o: int, kind: int, now: int, width: int, n: int, slots: int, per: float) -> float:
    """`READS[kind]` for a batch fold: one feature's value as of `now`, NaN for none."""
    if kind == DECAYED_SUM:
        return read_decayed(s, o, now, width, n, slots, per)
    if kind == TOTAL:
        return read_total(s, o, now, width, n, slots, per)
    if kind == COUNT or kind == SUM or kind == RATE:
        return read_sum(s, o, now, width, n, slots, per)
    if kind == RECENCY:
        return read_recency(s, o, now, width, n, slots, per)
    if kind == MEAN:
        return read_mean(s, o, now, width, n, slots, per)
    if kind == MIN:
        return read_min(s, o, now, width, n, slots, per)
    if kind == MAX:
        return read_max(s, o, now, width, n, slots, per)
    return read_distinct(s, o, now, width, n, slots, per)


def cell_count(kind: int, n: int, slots: int) -> int:
    """How many cells of the vector one feature takes."""
    if kind == DECAYED_SUM:
        return 2
    if kind == RECENCY or kind == TOTAL:
        return 1
    if kind == DISTINCT:
        return 1 + 2 * slots
    return 2 + (2 * n if kind == MEAN else n)


def empty_cells(kind: int, n: int, slots: int) -> list[float]:
    """The cells of a feature that has seen nothing."""
    if kind == DECAYED_SUM:
        return [0.0, -1.0]
    if kind == TOTAL:
        return [0.0]
    if kind == RECENCY:
        return [-1.0]
    if kind == DISTINCT:
        return [0.0] * (1 + 2 * slots)
    fill = NAN if kind in (MIN, MAX) else 0.0
    return [-1.0, 0.0] + [fill] * (2 * n if kind == MEAN else n)


# The batch fold compiles these in this order, each after the ones it calls.
COMPILE_ORDER: Final = (
    half, roll, span, step_sum, read_sum, step_mean, read_mean, step_min, step_max, read_min, read_max,
    step_distinct, read_distinct, step_recency, read_recency, step_decayed, read_decayed,
    step_total, read_total, step, read,
)  # fmt: skip
