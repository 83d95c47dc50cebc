"""What is sent next: consecutive records, and the gaps between them explained.

Owns the make-up of one batch. Sends nothing, and nothing that a power cut could still undo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from reflexarc_core.record import RENUMBERED, EventInput, LossOutput, Record
from reflexarc_edge.entry import EVENT_KIND, HIGH
from reflexarc_edge.log import Log
from reflexarc_edge.store import Row, Store


class Outbox(Protocol):
    """Where batches are made from: the log, or a look at the log of another process."""

    @property
    def incarnation(self) -> str:
        """Of the numbering."""
        ...

    def meta(self, name: str, default: Any) -> Any:
        """A named value, or the default."""
        ...

    def check_of(self, seq: int) -> int:
        """Checksum of a record, 0 when nobody knows it."""
        ...

    def read_rows(self, after: int, count_max: int, upto: int) -> Iterator[tuple[Row, Record]]:
        """Rows behind `after` and not behind `upto`, in order; what cannot be read as the loss it is."""
        ...


@dataclass(slots=True)
class UploadBatch:
    """Consecutive records of one numbering: (number, checksum, record), and the losses before, between or behind them.

    previous_seq, previous_check: number and checksum of the record the server acknowledged last, 0 for none of this
    numbering. renumbered_upto: up to where the server was told everything under an earlier numbering, 0 where that is not said.
    last_seq: the last number that records and losses account for. early: records ahead of their turn, not consecutive.
    """

    incarnation: str
    previous_check: int
    records: list[tuple[int, int, Record]] = field(default_factory=list)
    losses: list[LossOutput] = field(default_factory=list)
    previous_seq: int = 0
    renumbered_upto: int = 0
    last_seq: int = 0
    early: bool = False


def upload_batch(log: Log, count_max: int, bytes_max: int) -> UploadBatch:
    """What the server does not hold yet, oldest first, within both bounds (at least one record).

    Nothing that `sync_to_disk` has not seen: a number that was sent must never be given out again after a power cut.
    """
    batch = batch_behind(log, log.acked_seq, log.spool.durable_seq, count_max, bytes_max)
    if batch.incarnation != log.incarnation:  # reading found the store damaged: it was mended, and its numbering is new
        batch = batch_behind(log, log.acked_seq, log.spool.durable_seq, count_max, bytes_max)
    return batch


def batch_behind(outbox: Outbox, after: int, upto: int, count_max: int, bytes_max: int) -> UploadBatch:
    """The same behind any number that was sent, up to one that outlives a power cut."""
    floor = outbox.meta("numbered_from", 0)  # numbers up to here were given out under an earlier numbering
    held_once = outbox.meta("held_once", 0)
    refused = frozenset(outbox.meta("refused", ()))
    batch = UploadBatch(outbox.incarnation, 0)
    if after > floor:
        batch.previous_seq, batch.previous_check = after, outbox.check_of(after)
    if 0 < after <= floor:
        batch.losses.append(LossOutput(RENUMBERED, 1, floor, 0))
        batch.renumbered_upto = after = floor
    expected = after + 1
    size = 0
    while len(batch.records) < count_max and size <= bytes_max:
        rows = list(outbox.read_rows(expected - 1, count_max - len(batch.records), upto))
        if not rows:
            break
        for row, record in rows:
            if row.seq < expected:
                continue
            if row.seq > expected:
                batch.losses += _gone(expected, row.seq - 1, held_once)
                expected = row.seq
            if isinstance(record, LossOutput) or row.seq in refused:
                batch.losses.append(record if isinstance(record, LossOutput) else LossOutput("refused", row.seq, row.seq, 1))
                expected = max(batch.losses[-1].last_seq, row.seq) + 1
                continue
            size += len(row.body)
            if batch.records and size > bytes_max:
                break
            batch.records.append((row.seq, row.crc, record))
            expected = row.seq + 1
        else:
            continue
        break
    batch.last_seq = expected - 1
    return batch


def urgent_batch(log: Log, after: int, upto: int, count_max: int, bytes_max: int) -> UploadBatch:
    """The important events behind `after` and not behind `upto`, ahead of their turn. Changes nothing: their turn comes.

    `last_seq` of the batch: where to look on.
    """
    batch = UploadBatch(log.incarnation, 0, last_seq=upto, early=True)
    query = f"SELECT seq FROM log WHERE seq > ? AND seq <= ? AND priority = {HIGH} AND kind = {EVENT_KIND} ORDER BY seq LIMIT ?"

    def numbers(store: Store) -> list[int]:
        with store.reading() as db:
            return [row[0] for row in db.execute(query, (after, upto, count_max + 1)).fetchall()]

    found = log.spool.ask(numbers)
    refused = frozenset(log.meta("refused", ()))
    size = 0
    for seq in found:
        pair = next(log.read_rows(seq - 1, 1, seq), None)
        if pair is None or not isinstance(pair[1], EventInput) or seq in refused:
            continue
        size += len(pair[0].body)
        if len(batch.records) == count_max or (batch.records and size > bytes_max):
            batch.last_seq = seq - 1
            break
        batch.records.append((seq, pair[0].crc, pair[1]))
    return batch


def _gone(first: int, last: int, held_once: int) -> list[LossOutput]:
    """What explains numbers that no row is left of: cut, since the server held them once; else what said so has rotted itself."""
    middle = min(max(first - 1, held_once), last)
    parts = (("cut", first, middle), ("damaged", middle + 1, last))
    return [LossOutput(reason, a, b, b - a + 1) for reason, a, b in parts if a <= b]
