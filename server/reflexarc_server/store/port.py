"""The store as the server sees it: one ordered log, cursors, the engine's snapshot.

Owns the values that cross the port and what a transaction promises. Knows no SQL: another store (a server database, a
partitioned log) fits behind the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from reflexarc_core.value import frozen

OWN_INSTALLATION: Final = ""
"""Whose name the server's own records carry; no device can have it."""

COUNTERS: Final = ("records", "events", "duplicates", "resent", "rejected", "ahead", "rekeyed")

CHECKS_MAX: Final = 32_000
"""Records of one numbering whose checksums stay, so that another history with the same numbers is told apart."""


@dataclass(frozen=True, slots=True)
class Stream:
    """How far one numbering is stored. upto_seq: 0 for nothing. last_check: the sender's checksum of that record, 0 when
    it gave none or the number was lost."""

    upto_seq: int = 0
    last_check: int = 0


@frozen
class NewRecord:
    """A record to store. record_id: what makes it the same record wherever it comes from; empty for none.

    body: the record's LogRecord message. decision and outcome: what the reports look up, None for other kinds.
    """

    installation: str
    incarnation: str
    seq: int
    kind: int
    subject: str
    event_type: str
    event_time: int
    record_id: str
    receive_time: int
    body: bytes
    decision: DecisionRow | None = None
    outcome: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """The columns of a decision record that reports look at. decision_time: ms."""

    decision_id: str
    record: int
    trigger_id: str
    subject: str
    reason: str
    decision_time: int
    placement: str
    variant: str = ""


class Assigned(NamedTuple):
    """A record of a decision that reached the split: whose, when (ms), on which side, in which variant (empty for none).

    is_acted: it handed the action over; a decision that was held back by the hour may have another record that did.
    """

    subject: str
    decision_time: int
    is_held_out: bool
    is_acted: bool
    variant: str


@dataclass(frozen=True, slots=True)
class Foldable:
    """A record as the fold reads it. body: None for one that is not folded. of_service: it came without a device's log."""

    server_seq: int
    kind: int
    receive_time: int
    body: bytes | None
    of_service: bool = False


class Transaction(Protocol):
    """Changes that become durable together when the block ends, or not at all."""

    def run(self, query: str, parameters: Sequence[Any]) -> Any:
        """SQL, for tables that have a module of their own in this package; what it gives is the driver's cursor."""
        ...

    def stream(self, installation: str, incarnation: str) -> Stream:
        """How far this numbering is stored."""
        ...

    def held_upto(self, installation: str) -> int:
        """The largest number stored under any numbering of this installation, 0 for none."""
        ...

    def advance(self, installation: str, incarnation: str, stream: Stream) -> None:
        """Set how far this numbering is stored."""
        ...

    def checks(self, installation: str, incarnation: str, first_seq: int, last_seq: int) -> tuple[int, dict[int, int]]:
        """(oldest number that can still be compared, number -> checksum of the records from first to last).

        The oldest is 0 when nothing was ever kept. A number between that is not there was a loss.
        """
        ...

    def keep_checks(self, installation: str, incarnation: str, fresh: Sequence[tuple[int, int]]) -> None:
        """Remember (number, checksum) of records of this numbering, in order of their numbers, the newest CHECKS_MAX at least."""
        ...

    def insert(self, record: NewRecord) -> bool:
        """Append a record to the log; False when one with its id is already there, and nothing was changed."""
        ...

    def insert_all(self, records: Sequence[NewRecord]) -> list[bool]:
        """As `insert` of each in turn, at the price of few."""
        ...

    def count(self, name: str, by: int) -> None:
        """Add to one of COUNTERS."""
        ...

    def keep(self, name: str, value: Any) -> None:
        """Keep one small named value (what MessagePack can hold)."""
        ...

    def keep_catalog(self, digest: str, built: bytes) -> None:
        """Keep a built catalog for as long as the log may name it."""
        ...

    def keep_subjects(self, changed: Iterable[tuple[str, bytes]], dropped: Iterable[str]) -> None:
        """Replace the snapshot of these subjects (`Store.packed`), remove the others named."""
        ...


class Store(Protocol):
    """The port. Every method raises StorageError when the store fails; safe to call from several threads."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """The one writer's turn; committed and durable when the block ends."""
        ...

    def foldable(self, after: int, count_max: int) -> list[Foldable]:
        """Records behind `after` in the order they were stored."""
        ...

    def packed(self, state: Mapping[str, Any]) -> bytes:
        """A subject's state in the form that `Transaction.keep_subjects` takes."""
        ...

    def tidy(self) -> bool:
        """A small step of what can wait until nobody stores: what reports look up, the files. False when there is no more."""
        ...

    def last_seq(self) -> int:
        """Number of the newest record in the log, 0 for none."""
        ...

    def counters(self) -> dict[str, int]:
        """Every one of COUNTERS."""
        ...

    def kept(self, name: str, default: Any) -> Any:
        """A named value, or the default."""
        ...

    def catalogs(self) -> dict[str, bytes]:
        """Every kept catalog by digest."""
        ...

    def subjects(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The snapshot of every subject."""
        ...

    def stream_count(self) -> int:
        """How many numberings are known."""
        ...

    def last_reasons(self, trigger_id: str = "", since: int = 0, until: int = 0) -> list[tuple[str, str, str, int]]:
        """(trigger, placement, reason of the last record, how many decisions), of those that count. Empty and 0: no limit."""
        ...

    def assigned(self, trigger_id: str, since: int, until: int) -> list[Assigned]:
        """The records of a trigger that reached the split and count, oldest first. 0: no limit."""
        ...

    def reached(self, subject: str, event_types: Sequence[str], after: int, until: int) -> bool:
        """Whether the subject has such an event with `after` < event time <= `until` (ms)."""
        ...

    def events_of(self, subjects: Sequence[str], upto: int) -> list[tuple[int, bytes]]:
        """(time of receipt in ms, LogRecord) of these subjects' events up to that number, in log order."""
        ...

    def events_by_id(self, first: str, end: str, count_max: int = -1) -> list[tuple[str, bytes]]:
        """(id, LogRecord) of events whose id is at least `first` and less than `end`, as text; in the order of the ids, at most
        count_max of them, -1 for all."""
        ...

    def fired_of(self, subject: str) -> dict[str, int]:
        """Server trigger -> time (ms) of the subject's newest fired or held-out decision."""
        ...

    def outcomes(self, trigger_id: str) -> list[tuple[str, int]]:
        """(kind, how many) of outcomes that name a decision of the trigger."""
        ...

    def decisions(
        self, before: int, count_max: int, trigger_id: str = "", subject: str = "", reason: str = ""
    ) -> list[tuple[int, bytes]]:
        """(number in the log, LogRecord) of decision records, newest first, before that number (0: from the newest)."""
        ...

    def event_counts(self) -> list[tuple[str, int, int, int]]:
        """(event type, how many, oldest time, newest time) by name."""
        ...

    def close(self) -> None:
        """Give the store up. A second call does nothing."""
        ...
