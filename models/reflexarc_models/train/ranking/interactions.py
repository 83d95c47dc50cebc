"""Who had to do with which item and when: the sequences that factors, links and their evaluation are made from.

Owns the gathering of a log's interactions and the leave-last-out split by time. Must never weigh an event itself: that
is `reflexarc_core.interaction`'s.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflexarc_core.event import Event
from reflexarc_core.interaction import WEIGHT_MAX, interact, interaction_of
from reflexarc_models.item_factors import ITEM_COUNT_MAX, ITEM_ID_BYTES_MAX
from reflexarc_models.train.ranking.ials import Matrix
from reflexarc_models.train.rows.history import History


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Sequences by subject, each in the order of time (equal times keep the log's order).

    subjects: [s] names. item_ids: [i] names, in no order that means anything. starts: int64 [s + 1]. items: int32 [n];
    weights: float32 [n]; times: int64 [n], event time ms. repeated: bool [n], the subject had to do with it before.
    """

    subjects: tuple[str, ...]
    item_ids: tuple[str, ...]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    times: NDArray[np.int64]
    repeated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.items)

    def counts(self) -> NDArray[np.int64]:
        """To how many subjects each item is known, int64 [i]."""
        return np.bincount(self.items[~self.repeated], minlength=len(self.item_ids)).astype(np.int64)

    def by_popularity(self) -> Interactions:
        """The same with items numbered from the best known on (ties: as before), those that nobody had to do with left out."""
        counts = self.counts()
        order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
        number = np.full(len(counts), -1, dtype=np.int32)
        number[order] = np.arange(len(order), dtype=np.int32)
        item_ids = tuple(self.item_ids[place] for place in order.tolist())
        return Interactions(self.subjects, item_ids, self.starts, number[self.items], self.weights, self.times, self.repeated)

    def until(self, time: int) -> Interactions:
        """The interactions up to this time (ms); subjects and items keep their numbers."""
        return self.kept(self.times <= time)

    def kept(self, keep: NDArray[np.bool_]) -> Interactions:
        """Some of the interactions; subjects and items keep their numbers."""
        before = np.concatenate(([0], np.cumsum(keep))).astype(np.int64)
        return _of_sequences(
            self.subjects, self.item_ids, before[self.starts], self.items[keep], self.weights[keep], self.times[keep]
        )

    def matrix(self) -> Matrix:
        """Weights by subject, those of one item added up to at most WEIGHT_MAX."""
        subjects = np.repeat(np.arange(len(self.subjects), dtype=np.int64), np.diff(self.starts))
        key = subjects * len(self.item_ids) + self.items
        distinct, inverse = np.unique(key, return_inverse=True)
        weights = np.minimum(np.bincount(inverse, weights=self.weights, minlength=len(distinct)), WEIGHT_MAX)
        counts = np.bincount(distinct // max(1, len(self.item_ids)), minlength=len(self.subjects))
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        items = (distinct % max(1, len(self.item_ids))).astype(np.int32)
        return Matrix(starts, items, weights.astype(np.float32), len(self.item_ids))

    def pairs(self, subject: int) -> list[tuple[str, float]]:
        """A subject's (item id, weight), most recent last, as an engine keeps them: the last INTERACTIONS_MAX items."""
        part = slice(int(self.starts[subject]), int(self.starts[subject + 1]))
        held: dict[str, float] = {}
        for item, weight in zip(self.items[part].tolist(), self.weights[part].tolist(), strict=True):
            interact(held, self.item_ids[item], weight)
        return list(held.items())

    def seen(self, subject: int) -> set[str]:
        """Every item that a subject had to do with."""
        part = slice(int(self.starts[subject]), int(self.starts[subject + 1]))
        return {self.item_ids[item] for item in np.unique(self.items[part]).tolist()}


@dataclass(frozen=True, slots=True, eq=False)
class LastOut:
    """Histories without each subject's last new item. subjects: int64 [m] of those that have a history and a last item;
    targets: int32 [m]; tied: bool [m], the target has the time of the interaction before it, so their order says little.
    """

    history: Interactions
    subjects: NDArray[np.int64]
    targets: NDArray[np.int32]
    tied: NDArray[np.bool_]


def gather(events: Iterable[Event]) -> Interactions:
    """Interactions of events in any order of time. Beyond ITEM_COUNT_MAX the least known items are left out, and ids that
    an artifact cannot hold.
    """
    subjects: dict[str, int] = {}
    item_ids: dict[str, int] = {}
    subject, times, items, weights = array("q"), array("q"), array("i"), array("f")
    for event in events:
        found = interaction_of(event.event_type, event.properties)
        if found is not None and len(found[0].encode()) <= ITEM_ID_BYTES_MAX:
            subject.append(subjects.setdefault(event.subject, len(subjects)))
            times.append(event.event_time)
            items.append(item_ids.setdefault(found[0], len(item_ids)))
            weights.append(found[1])
    return sequences(
        tuple(subjects), tuple(item_ids), np.array(subject, dtype=np.int64), np.array(times, dtype=np.int64),
        np.array(items, dtype=np.int32), np.array(weights, dtype=np.float32),
    )  # fmt: skip


def of_history(log: History) -> Interactions:
    """Interactions of a log that was gathered for training, in its order. Beyond ITEM_COUNT_MAX as `gather`."""
    held = np.flatnonzero(log.items >= 0)
    subject = np.repeat(np.arange(len(log.subjects), dtype=np.int64), np.diff(log.starts))[held]
    return sequences(log.subjects, log.item_ids, subject, log.nows[held], log.items[held], log.item_weights[held])


def sequences(
    subjects: tuple[str, ...],
    item_ids: tuple[str, ...],
    subject: NDArray[np.int64],
    times: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> Interactions:
    """Interactions of columns in log order: subject number, time, item number, weight."""
    if len(item_ids) > ITEM_COUNT_MAX:
        popular = np.argsort(-np.bincount(items, minlength=len(item_ids)), kind="stable")[:ITEM_COUNT_MAX]
        number = np.full(len(item_ids), -1, dtype=np.int32)
        number[np.sort(popular)] = np.arange(ITEM_COUNT_MAX, dtype=np.int32)
        keep = number[items] >= 0
        subject, times, items, weights = subject[keep], times[keep], number[items[keep]], weights[keep]
        item_ids = tuple(item_ids[place] for place in np.sort(popular).tolist())
    order = np.lexsort((np.arange(len(times)), times, subject))
    subject, items = subject[order], items[order]
    starts = np.concatenate(([0], np.cumsum(np.bincount(subject, minlength=len(subjects))))).astype(np.int64)
    return _of_sequences(subjects, item_ids, starts, items, weights[order], times[order])


def _of_sequences(
    subjects: tuple[str, ...],
    item_ids: tuple[str, ...],
    starts: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.float32],
    times: NDArray[np.int64],
) -> Interactions:
    subject = np.repeat(np.arange(len(subjects), dtype=np.int64), np.diff(starts))
    _, first = np.unique(subject * max(1, len(item_ids)) + items, return_index=True)
    repeated = np.ones(len(items), dtype=bool)
    repeated[first] = False
    return Interactions(subjects, item_ids, starts, items, weights, times, repeated)


def leave_last_out(log: Interactions) -> LastOut:
    """Hold back each subject's last item that was new to it, and whatever came behind."""
    keep = np.ones(len(log), dtype=bool)
    subjects, targets, tied = [], [], []
    for subject in range(len(log.subjects)):
        first, last = int(log.starts[subject]), int(log.starts[subject + 1])
        new = np.flatnonzero(~log.repeated[first:last])
        if not len(new):
            continue
        place = first + int(new[-1])
        if place > first:
            keep[place:last] = False
            subjects.append(subject)
            targets.append(int(log.items[place]))
            tied.append(bool(log.times[place] == log.times[place - 1]))
    return LastOut(
        log.kept(keep),
        np.array(subjects, dtype=np.int64),
        np.array(targets, dtype=np.int32),
        np.array(tied, dtype=bool),
    )
