"""Moments: when time alone changes what is read of a feature, or may carry it over a line.

Owns these times, for whoever has to look again without an event. Pure; the values are `aggregation`'s. Must never be so late that
a change is missed; too early only costs a look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from reflexarc_core.aggregation import COUNT, DAY_MS, DECAYED_SUM, DISTINCT, RATE, RECENCY, TOTAL
from reflexarc_core.feature import Slot

LOOK_MS_MIN: Final = 1_000
"""Buckets that are shorter are not looked at one by one."""
STEADY_LOOK_MS: Final = 3_600_000
"""How often a value that changes all the time is looked at."""
HALF_LIVES: Final = 64
"""After so many a decayed sum is 0 (`aggregation.half`)."""
NEVER: Final = float("inf")

Lines = tuple[float, ...] | None
"""The literals that a value is compared with; None where it is used in any other way."""


def next_look(slot: Slot, vector: Sequence[float], now: int, lines: Lines = None, value: float | None = None) -> int:
    """The next moment behind `now` (ms) at which time may change anything for these cells; 0 for never.

    lines: nothing that matters changes but where the value may come to one of them; of a window only when it `only_falls`.
    value: what is read now, where that is known already.
    """
    until, look_ms = _moves_until(slot, vector), look_every_ms(slot)
    if now >= until:
        return 0
    following = (now // look_ms + 1) * look_ms
    if lines is None:
        return following
    reads = slot.read(vector, now) if value is None else value
    if slot.kind not in (DECAYED_SUM, RECENCY):
        return 0 if all(reads < line for line in lines) else following
    time = min(_crossings(slot, vector, now, reads, lines), default=NEVER)
    # A millisecond earlier: the logarithm may be off by far less.
    return 0 if time == NEVER else max(following, math.ceil((time - 1.0) / look_ms) * look_ms)


def last_look(slot: Slot, vector: Sequence[float], now: int) -> int:
    """The newest of these moments, not behind `now` (ms), whatever the lines; 0 for none."""
    until, look_ms = _moves_until(slot, vector), look_every_ms(slot)
    if until < 0.0:
        return 0
    newest = now // look_ms * look_ms
    return newest if now < until else min(newest, math.ceil(until / look_ms) * look_ms)


def look_every_ms(slot: Slot) -> int:
    """Time alone changes the value at multiples of this; one that changes all the time is looked at then."""
    if slot.kind in (DECAYED_SUM, RECENCY):
        return STEADY_LOOK_MS
    return slot.width_ms * -(-LOOK_MS_MIN // slot.width_ms)


def _moves_until(slot: Slot, vector: Sequence[float]) -> float:
    """From when on (ms) time alone changes nothing any more; -1 = it never does."""
    o = slot.offset
    if slot.kind == TOTAL:
        return -1.0
    if slot.kind == DECAYED_SUM:
        return vector[o + 1] + HALF_LIVES * slot.width_ms if vector[o] != 0.0 else -1.0
    if slot.kind == RECENCY:
        return NEVER if vector[o] >= 0.0 else -1.0
    newest = vector[o]
    if slot.kind == DISTINCT:
        cells = range(o + 1, o + 1 + 2 * slot.slot_count, 2)
        newest = max((vector[cell + 1] for cell in cells if vector[cell] != 0.0), default=-1.0)
    return (newest + slot.bucket_count) * slot.width_ms if newest >= 0.0 else -1.0


def only_falls(slot: Slot) -> bool:
    """Whether a window's value can only become less as time passes: it counts, and nothing, no property either, against it."""
    counts = all(part.weight >= 0.0 and not part.property_name for part in slot.definition.of)
    return slot.kind == DISTINCT or (slot.kind in (COUNT, RATE) and counts)


def _crossings(slot: Slot, vector: Sequence[float], now: int, value: float, lines: tuple[float, ...]) -> Iterator[float]:
    """When (ms) a value that changes all the time reaches each line that still lies before it."""
    for line in lines:
        if slot.kind == RECENCY:  # it grows, a day a day
            if value <= line:
                yield vector[slot.offset] + line * DAY_MS
        elif line == 0.0 or value / line >= 1.0:  # it goes towards 0, from either side, and is 0 in the end
            half_lives = math.log2(value / line) if line else float(HALF_LIVES)
            since = vector[slot.offset + 1]
            yield min(max(float(now), since) + slot.width_ms * half_lives, since + HALF_LIVES * slot.width_ms)
