"""Links between items: what comes next after one, and what the same people had to do with.

Owns the counting, in numba, and the choice of each item's strongest links. Must never know of factors.

Source of the sequential rules: Ludewig and Jannach, "Evaluation of session-based recommendation algorithms" (2018),
whose rules weigh a pair by 1 / distance; of the neighbours: Sarwar et al., "Item-based collaborative filtering" (2001).
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from reflexarc_models.train.ranking.ials import Matrix
from reflexarc_models.train.ranking.interactions import Interactions

RULE_WINDOW: Final = 20
"""How far behind an item what follows still counts."""
RULE_POWER: Final = 0.5
"""A rule's strength is its count over the item's own count to this power: 1 would favour whatever was seen once."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Each item's strongest links. starts: int64 [i + 1]; targets: int64 [m], ascending within an item; strengths:
    float32 [m], positive.
    """

    starts: NDArray[np.int64]
    targets: NDArray[np.int64]
    strengths: NDArray[np.float32]

    def quantized(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8], NDArray[np.float32]]:
        """(starts, targets, uint8 codes, float32 scale per item); a link too weak for a code is dropped."""
        counts = np.diff(self.starts)
        owner = np.repeat(np.arange(len(counts)), counts)
        largest = np.zeros(len(counts))
        np.maximum.at(largest, owner, self.strengths)
        scales = (largest / 255.0).astype(np.float32)
        codes = np.rint(self.strengths / np.where(scales > 0, scales, np.float32(1))[owner])
        keep = codes >= 1
        starts = np.concatenate(([0], np.cumsum(np.bincount(owner[keep], minlength=len(counts))))).astype(np.int64)
        return starts, self.targets[keep], np.minimum(codes[keep], 255).astype(np.uint8), scales


def sequence_links(log: Interactions, links_max: int) -> Links:
    """What follows each item within RULE_WINDOW steps, nearer ones more."""
    count = len(log.item_ids)
    by_item = np.argsort(log.items, kind="stable")
    item_counts = np.bincount(log.items, minlength=count)
    postings = np.concatenate(([0], np.cumsum(item_counts))).astype(np.int64)
    ends = np.repeat(log.starts[1:], np.diff(log.starts))
    given = (by_item, postings, ends, log.items, RULE_WINDOW)
    starts, targets, values = _counting(_count_sequences)(count, links_max, given)
    weight = np.maximum(item_counts, 1).astype(np.float64) ** -RULE_POWER
    return Links(starts, targets, (values * np.repeat(weight, np.diff(starts))).astype(np.float32))


def similar_links(seen: Matrix, links_max: int) -> Links:
    """Each item's nearest neighbours by the cosine of who had to do with them."""
    by_item = seen.transposed()
    counts = np.maximum(np.diff(by_item.starts), 1).astype(np.float64)
    given = (by_item.starts, by_item.items, seen.starts, seen.items, counts**-0.5)
    starts, targets, values = _counting(_count_together)(len(counts), links_max, given)
    return Links(starts, targets, values.astype(np.float32))


@functools.cache
def _counting(count: Callable[..., Any]) -> Callable[..., Any]:
    """`_links_of_all` compiled around one way to count."""
    counted: dict[str, Any] = {"_add": numba.njit(_add)}
    whole: dict[str, Any] = {
        "np": np,
        "_strongest": numba.njit(_strongest),
        "_count": numba.njit(types.FunctionType(count.__code__, counted, count.__name__)),
    }
    compiled: Callable[..., Any] = numba.njit(types.FunctionType(_links_of_all.__code__, whole, count.__name__))
    return compiled


def _count(item, given, total, touched):  # type: ignore[no-untyped-def]
    """The name under which `_links_of_all` calls its way to count: one of the two below."""
    raise NotImplementedError


def _links_of_all(item_count, links_max, given):  # type: ignore[no-untyped-def]
    """For numba: (starts, targets, values) of each item's strongest links; `given` is what the way to count reads."""
    total = np.zeros(item_count)
    touched = np.empty(item_count, dtype=np.int64)
    starts = np.zeros(item_count + 1, dtype=np.int64)
    targets = np.empty(item_count * links_max, dtype=np.int64)
    values = np.empty(item_count * links_max)
    at = 0
    for item in range(item_count):
        touched_count = _count(item, given, total, touched)  # type: ignore[no-untyped-call]
        at = _strongest(total, touched, touched_count, links_max, targets, values, at)  # type: ignore[no-untyped-call]
        starts[item + 1] = at
    return starts, targets[:at].copy(), values[:at].copy()


def _add(total, touched, touched_count, other, amount):  # type: ignore[no-untyped-def]
    """For numba: that much more for another item; how many items have something now."""
    if total[other] == 0.0:
        touched[touched_count] = other
        touched_count += 1
    total[other] += amount
    return touched_count


def _strongest(total, touched, touched_count, links_max, targets, values, at):  # type: ignore[no-untyped-def]
    """For numba: write the strongest of the touched totals, ascending by item, and clear them; the new end."""
    mine = np.sort(touched[:touched_count])
    size = min(links_max, touched_count)
    bound = np.sort(total[mine])[touched_count - size] if size else 0.0
    above = 0
    for item in mine:
        if total[item] > bound:
            above += 1
    ties = size - above
    for item in mine:
        value = total[item]
        total[item] = 0.0
        if value > bound or (value == bound and ties > 0):
            if value == bound:
                ties -= 1
            targets[at] = item
            values[at] = value
            at += 1
    return at


def _count_sequences(item, given, total, touched):  # type: ignore[no-untyped-def]
    """For numba: sum of 1 / distance to each other item behind this one."""
    by_item, postings, ends, items, window = given
    touched_count = 0
    for posting in range(postings[item], postings[item + 1]):
        place = by_item[posting]
        for distance in range(1, window + 1):
            if place + distance >= ends[place]:
                break
            other = items[place + distance]
            if other != item:
                touched_count = _add(total, touched, touched_count, other, 1.0 / distance)  # type: ignore[no-untyped-call]
    return touched_count


def _count_together(item, given, total, touched):  # type: ignore[no-untyped-def]
    """For numba: the cosine with every other item that a subject had to do with as well."""
    item_starts, item_subjects, subject_starts, subject_items, weight = given
    touched_count = 0
    for posting in range(item_starts[item], item_starts[item + 1]):
        subject = item_subjects[posting]
        for place in range(subject_starts[subject], subject_starts[subject + 1]):
            other = subject_items[place]
            if other != item:
                both = weight[item] * weight[other]
                touched_count = _add(total, touched, touched_count, other, both)  # type: ignore[no-untyped-call]
    return touched_count
