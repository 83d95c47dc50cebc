"""A layout's folds and reads as straight code: one call of an aggregation's `step` or `read` per feature, its numbers
written in, so that an event costs neither a loop over definitions nor a look at what kind each of them is.

Owns the writing. The arithmetic is `aggregation`'s alone; the one thing added is that what the older buckets of a window
add up to is not added up again for every event. Must never keep state: it is handed the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reflexarc_core.aggregation import COUNT, DISTINCT, RATE, READS, STEPS, SUM, State, read_sum, sum_older

if TYPE_CHECKING:
    from reflexarc_core.feature import Contribution, Slot

Older = dict[int, tuple[float, float, int, int, int]]
"""By a feature's offset: its newest bucket, what the window's other buckets add up to, the cell of the newest, and from when
to when (ms) the window holds just these."""

Fold = Callable[[State, Mapping[str, Any], int], None]
"""fold(vector, properties, event_time): one event's contributions."""

Read = Callable[[State, Older, Mapping[str, tuple[float, int]], int], dict[str, float]]
"""read(vector, older, values, now): features by name as of `now` (ms), those without a value left out."""


def compile_fold(steps: Iterable[tuple[Slot, Contribution]], key_hash: Callable[[Any], float]) -> Fold:
    """What events of one type add, in the order given. Equal to `contribution_of` and `aggregation.step` for each."""
    scope: dict[str, Any] = {"key_hash": key_hash, **{function.__name__: function for function in STEPS}}

    def keep(constant: Any) -> str:
        name = f"k{len(scope)}"
        scope[name] = constant
        return name

    lines = ["def fold(s, properties, t):"]
    for slot, contribution in steps:
        indent = "    "
        for name, accepted in contribution.where:
            lines.append(f"{indent}if properties.get({name!r}) in {keep(accepted)}:")
            indent += "    "
        added = keep(contribution.weight)
        if contribution.property_name:
            lines.append(f"{indent}v = properties.get({contribution.property_name!r})")
            lines.append(f"{indent}if v is not None:")
            indent += "    "
            added = "key_hash(v)" if slot.kind == DISTINCT else f"float(v) * {added}"
        numbers = f"{slot.width_ms}, {slot.bucket_count}, {slot.slot_count}"
        step = f"{STEPS[slot.kind].__name__}(s, {slot.offset}, t, {added}, {numbers})"
        if slot.kind in (COUNT, SUM, RATE):
            # What `step_sum` does first, and mostly at once: the newest bucket, nothing to make room for.
            lines.append(f"{indent}b = t // {slot.width_ms}")
            lines.append(f"{indent}if b == s[{slot.offset}]: s[{slot.offset + 2} + b % {slot.bucket_count}] += {added}")
            step = f"else: {step}"
        lines.append(f"{indent}{step}")
    fold: Fold = _run(lines, scope, "fold")
    return fold


def compile_read(slots: Sequence[Slot], sent: Sequence[str]) -> Read:
    """The values of these features; `sent`: those that come down from the server instead of being folded here."""
    if not slots and not sent:
        return read_nothing
    scope: dict[str, Any] = {"sum_again": sum_again, **{function.__name__: function for function in READS}}
    lines = ["def read(s, older, values, now):", "    found = {}"]
    for slot in slots:
        numbers = f"{slot.width_ms}, {slot.bucket_count}"
        if slot.kind in (COUNT, SUM, RATE):
            # What `sum_again` does first, and mostly at once.
            lines += [
                f"    h = older.get({slot.offset})",
                f"    if h is not None and h[0] == s[{slot.offset}] and h[3] <= now < h[4]: v = (h[1] + s[h[2]]) / {slot.per!r}",
                f"    else: v = sum_again(s, {slot.offset}, now, {numbers}, {slot.per!r}, older)",
            ]
        else:
            read_one = READS[slot.kind].__name__
            lines.append(f"    v = {read_one}(s, {slot.offset}, now, {numbers}, {slot.slot_count}, {slot.per!r})")
        lines.append(f"    if v == v: found[{slot.definition.name!r}] = v")
    for name in sent:
        lines += [f"    v = values.get({name!r})", f"    if v is not None: found[{name!r}] = v[0]"]
    read: Read = _run([*lines, "    return found"], scope, "read")
    return read


def read_nothing(s: State, older: Older, values: Mapping[str, tuple[float, int]], now: int) -> dict[str, float]:
    """What is read where nobody reads a feature."""
    return {}


def sum_again(s: State, o: int, now: int, width: int, n: int, per: float, older: Older) -> float:
    """`read_sum`, remembering in `older` what an event in the newest bucket does not change."""
    held = older.get(o)
    if held is not None:
        newest, total, cell, begin, end = held
        if newest == s[o] and begin <= now < end:
            value: float = (total + s[cell]) / per
            return value
    bucket = now // width
    if s[o] < 0.0 or not bucket - n < s[o] <= bucket:
        return read_sum(s, o, now, width, n, 0, per)
    older[o] = (s[o], *sum_older(s, o, now, width, n), bucket * width, (bucket + 1) * width)
    return sum_again(s, o, now, width, n, per, older)


def forget(older: Older, event_time: int) -> None:
    """An event that lies before a newest bucket may change a bucket that was added up."""
    for offset in [offset for offset, held in older.items() if event_time < held[3]]:
        del older[offset]


def _run(lines: list[str], scope: dict[str, Any], name: str) -> Any:
    exec(compile("\n".join(lines) + "\n", f"<{name}>", "exec"), scope)
    return scope[name]
