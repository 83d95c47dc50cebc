"""A walk over every record of a log: which of them are what was written, and whether the numbers between them are explained.

Owns what a sound row is. Says numbers and kinds only, never what a record holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from reflexarc_cli.store.look import LogRow
from reflexarc_core.errors import StorageError
from reflexarc_core.record import (
    KINDS,
    AnswerInput,
    CatalogInput,
    ControlInput,
    DecisionOutput,
    EventInput,
    HandedOutput,
    LeaseInput,
    LossOutput,
    Record,
    ScoresInput,
    TickInput,
    TombstoneOutput,
    ValuesInput,
)
from reflexarc_edge.codec import checksum, decode
from reflexarc_edge.entry import LOSS_KIND
from reflexarc_edge.seal import Seal

NAMES: Final[dict[type, str]] = {
    EventInput: "event",
    ScoresInput: "scores",
    AnswerInput: "answer",
    TickInput: "tick",
    CatalogInput: "catalog",
    ValuesInput: "values",
    LeaseInput: "lease",
    ControlInput: "control",
    DecisionOutput: "decision",
    HandedOutput: "handed",
    LossOutput: "loss",
    TombstoneOutput: "tombstone",
}
"""What a kind of record is called by the tools."""

RUNS_MAX: Final = 1_000

Next = Callable[[int], list[LogRow]]
"""The rows behind a number, in order, some at once; none at the end."""


def kind_name(kind: object) -> str:
    """The name of a kind by its number."""
    known = KINDS.get(kind) if isinstance(kind, int) else None
    return NAMES[known] if known is not None else "unknown"


def reason_name(reason: object) -> str:
    """A reason as it may be shown: one of ours is a few small letters, and what rotted may be anything.

    What a server said about a record stands behind a colon and may quote it.
    """
    text = str(reason)
    if text.startswith(("refused: ", "rejected: ")):
        text = text.partition(":")[0]
    return text if text.isascii() and text.replace("_", "").isalpha() and len(text) <= 40 else "unknown"


@dataclass(slots=True)
class Runs:
    """Stretches of numbers, in order; past RUNS_MAX they are only counted."""

    runs: list[tuple[int, int]] = field(default_factory=list)
    count: int = 0

    def add(self, first: int, last: int) -> None:
        """Add a stretch behind those that are there."""
        self.count += last - first + 1
        if self.runs and first == self.runs[-1][1] + 1:
            self.runs[-1] = (self.runs[-1][0], last)
        elif len(self.runs) < RUNS_MAX:
            self.runs.append((first, last))

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(slots=True)
class Walked:
    """What a walk met. gaps: numbers that are not there and nothing says why. misfiled: (number, whose decision it is) of rows
    that stand under another decision. losses: numbers lost, by reason. upto: the last number met or explained."""

    record_count: int = 0
    upto: int = 0
    damaged: Runs = field(default_factory=Runs)
    unreadable: Runs = field(default_factory=Runs)
    gaps: Runs = field(default_factory=Runs)
    misfiled: list[tuple[int, str]] = field(default_factory=list)
    misfiled_count: int = 0
    losses: Counter[str] = field(default_factory=Counter)

    def end(self, given: int, floor: int) -> None:
        """Numbers behind the last record were given out too."""
        if self.upto < given and (self.record_count or given > floor):
            self.gaps.add(self.upto + 1, given)
            self.upto = given


def each(following: Next) -> Iterator[LogRow]:
    """Every row of a log."""
    after = 0
    while rows := following(after):
        yield from rows
        after = rows[-1].seq


def read_row(row: LogRow, seal: Seal | None) -> Record:
    """What a row says. Raises StorageError when it is not what was written, or cannot be read."""
    if not is_sound(row):
        raise StorageError(f"record {row.seq} is damaged")
    body = row.body
    if seal is not None and seal.is_closed and row.kind != LOSS_KIND:
        body = seal.open(f"{row.seq} {row.kind}", body)
    try:
        return decode(row.kind, body)
    except (ValueError, RecursionError):
        raise StorageError(f"record {row.seq} cannot be read") from None


def is_sound(row: LogRow) -> bool:
    """Whether a row is what was written."""
    return type(row.body) is bytes and type(row.kind) is int and row.crc == checksum(row.seq, row.kind, row.body)


def walk(rows: Iterable[LogRow], floor: int, seal: Seal | None, *, decodes: bool = True) -> Walked:
    """Go over rows in order.

    floor: the oldest numbers, up to this one, may be gone: a server holds them. decodes: False where there is no key, so that
    only losses, which are never sealed, are read.
    """
    found = Walked(upto=floor)
    for row in rows:
        found.record_count += 1
        if found.record_count == 1:
            found.upto = min(floor, row.seq - 1)
        if row.seq > found.upto + 1:
            found.gaps.add(found.upto + 1, row.seq - 1)
        found.upto = max(found.upto, row.seq)
        if not is_sound(row):
            found.damaged.add(row.seq, row.seq)
        elif decodes or row.kind == LOSS_KIND:
            _read(row, seal, found)
    return found


def _read(row: LogRow, seal: Seal | None, found: Walked) -> None:
    try:
        record = read_row(row, seal)
    except StorageError:
        found.unreadable.add(row.seq, row.seq)
        return
    if isinstance(record, LossOutput):
        found.upto = max(found.upto, record.last_seq)
        found.losses[reason_name(record.reason)] += record.count
    decision_id = decision_of(record)
    if decision_id != row.decision_id and decision_id is not None:
        found.misfiled_count += 1
        if len(found.misfiled) < RUNS_MAX:
            found.misfiled.append((row.seq, decision_id))


def decision_of(record: Record) -> str | None:
    """The decision a record belongs to, as its column says it."""
    if isinstance(record, DecisionOutput):
        return record.decision.decision_id
    return record.decision_id if isinstance(record, HandedOutput) else None
