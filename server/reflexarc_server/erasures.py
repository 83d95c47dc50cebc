"""Erasures: a subject is forgotten, here and on every device that holds something of it.

A device says so with a tombstone in its log, an operator with a call. Both name the subject by a digest or leave nothing but one:
the server keeps a digest of its own and the time. From then on whatever happened until that time is refused, whoever sends
it; the devices that sent something of the subject are told with their next pull, until their own tombstone comes. Owns who is
erased and who was told. The erasing runs on the fold's thread, and goes on after a kill.
"""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_core.event import IDENTIFY
from reflexarc_core.record import KIND_OF, EventInput, LeaseInput, ScoresInput, TombstoneOutput, ValuesInput, erased_digest
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import subject_from_proto
from reflexarc_server.clock import Clock
from reflexarc_server.judging import Judged
from reflexarc_server.links import Links
from reflexarc_server.store import erased as table
from reflexarc_server.store.erased import ErasedTable
from reflexarc_server.store.port import NewRecord, Transaction
from reflexarc_server.store.sqlite import SqliteStore

REFUSAL: Final = "ERASED: the subject was erased after this happened"
SALT: Final = "erase_salt"
REWRITE_DUE: Final = "rewrite_due"
_EVENT, _TOMBSTONE = KIND_OF[EventInput], KIND_OF[TombstoneOutput]
_INSIDE: Final = (KIND_OF[ScoresInput], KIND_OF[ValuesInput], KIND_OF[LeaseInput])
_UNSEEN: Final = "?"
"""In place of a subject: a tombstone whose subject was not looked for yet."""


class Erasures:
    """One server's. hint: told of a device for which something waits. wake: there is something to erase."""

    def __init__(
        self, store: SqliteStore, links: Links, clock: Clock, hint: Callable[[str], None], wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._links = links
        self._clock = clock
        self._hint = hint
        self._wake = wake
        self._table = ErasedTable(store)
        self._lock = threading.Lock()
        self._done = threading.Condition()
        self._salt = str(store.kept(SALT, ""))
        if not self._salt:
            self._salt = secrets.token_hex(16)
            with store.transaction() as transaction:
                transaction.keep(SALT, self._salt)
        self._times: dict[str, int] = {}
        self._unresolved: dict[tuple[str, str], int] = {}
        self._unseen: set[tuple[str, str]] = set()
        self._open: dict[str, int] = {}
        for digest, erase_time, subject in self._table.all():
            installation, separator, its = digest.rpartition(":")
            if separator:
                self._unresolved[installation, its] = erase_time
                if subject == _UNSEEN:
                    self._unseen.add((installation, its))
            else:
                self._times[digest] = erase_time
                if subject:
                    self._open[subject] = erase_time
        self._rewrite_due = bool(store.kept(REWRITE_DUE, False)) or bool(self._open)

    # -- asked for ------------------------------------------------------------------------------------------------

    def forget(self, subject: str, timeout_s: float) -> tuple[int, bool]:
        """Erase a subject from now on: (time of the erase in ms, whether nothing of it is left when this returns)."""
        erase_time = self._clock.now_ms()
        with self._store.transaction() as transaction:
            told = self._begin(transaction, subject, erase_time, "")
        for installation in told:
            self._hint(installation)
        self._wake()
        with self._done:
            return erase_time, self._done.wait_for(lambda: subject not in self._open and not self._rewrite_due, timeout_s)

    def due(self, installation: str) -> list[record_pb2.Tombstone]:
        """What this device has to erase."""
        return [record_pb2.Tombstone(subject_digest=d, erase_time=t) for d, t in self._table.due(installation)]

    def covers(self, subject: str, time: int) -> bool:
        """Whether something of the subject that happened at that time (ms) is erased."""
        return bool(self._times) and time <= self._times.get(erased_digest(self._salt, subject), -1)

    # -- what comes in --------------------------------------------------------------------------------------------

    def admit(self, transaction: Transaction, installation: str, judged: Sequence[Judged], now: int) -> Sequence[Judged]:
        """Refuse what happened to somebody before they were erased; take tombstones at their word."""
        rows = [one.row for one in judged if one.row is not None]
        stones = [row for row in rows if row.kind == _TOMBSTONE]
        for row in stones:
            stone = record_pb2.LogRecord.FromString(row.body).tombstone
            if not table.done(transaction, installation, stone.subject_digest, stone.erase_time):
                self._told(transaction, installation, stone.subject_digest, min(stone.erase_time, now))
        return self.admit_events(transaction, installation, judged)

    def admit_events(self, transaction: Transaction, installation: str, judged: Sequence[Judged]) -> Sequence[Judged]:
        """As `admit`, of records among which is no tombstone."""
        if not (self._times or self._unresolved):
            return judged
        times: dict[str, int] = {}
        return [self._looked_at(transaction, installation, one, times) for one in judged]

    def _told(self, transaction: Transaction, installation: str, digest: str, erase_time: int) -> None:
        key = (installation, digest)
        table.tell(transaction, f"{installation}:{digest}", erase_time, _UNSEEN)
        with self._lock:
            self._unresolved[key] = max(erase_time, self._unresolved.get(key, -1))
            self._unseen.add(key)
        self._wake()

    def _looked_at(self, transaction: Transaction, installation: str, one: Judged, times: dict[str, int]) -> Judged:
        row = one.row
        if row is None:
            return one
        if row.subject:
            if row.event_time <= self._time_of(transaction, row.subject, times):
                self._owe(transaction, installation, row.subject, self._time_of(transaction, row.subject, times))
                return Judged(one.seq, one.check, None, REFUSAL)
            if row.kind == _EVENT and row.event_type == IDENTIFY:
                known = table.identified(row.body)
                if known and row.event_time <= self._time_of(transaction, known, times):
                    self._owe(transaction, installation, known, self._time_of(transaction, known, times))
                    return Judged(one.seq, one.check, None, REFUSAL)
            return one
        if row.kind in _INSIDE:
            return self._taken_out(transaction, one, row, times)
        return one

    def _taken_out(self, transaction: Transaction, one: Judged, row: NewRecord, times: dict[str, int]) -> Judged:
        message = record_pb2.LogRecord.FromString(row.body)
        body: bytes | None = row.body
        for subject in {subject_from_proto(each) for each in table.named(message)}:
            erase_time = self._time_of(transaction, subject, times)
            if body is not None and erase_time >= 0:
                body = table.without(body, subject, erase_time)
        if body is None:
            return Judged(one.seq, one.check, None, REFUSAL)
        return one if body == row.body else Judged(one.seq, one.check, dataclasses.replace(row, body=body))

    def _time_of(self, transaction: Transaction, subject: str, times: dict[str, int]) -> int:
        """When a subject was erased, -1 for never. times: of this batch."""
        known = times.get(subject)
        if known is None:
            self._resolve(transaction, subject)
            known = times[subject] = self._times.get(erased_digest(self._salt, subject), -1)
        return known

    def _owe(self, transaction: Transaction, installation: str, subject: str, erase_time: int) -> None:
        """A device that sends something of the subject holds it still."""
        if installation:
            table.owe(transaction, installation, erased_digest(installation, subject), erase_time)

    # -- erasing --------------------------------------------------------------------------------------------------

    def work(self, drop: Callable[[str], None]) -> bool:
        """A step of what is left to do; False when there is nothing. drop: makes the fold know of a subject what the log does."""
        if self._unseen:
            self._find()
            return True
        for subject, erase_time in list(self._open.items()):
            digest = erased_digest(self._salt, subject)
            self._table.erase(subject, erase_time)
            self._links.reload()
            drop(subject)
            with self._store.transaction() as transaction:
                table.settle(transaction, digest)
                transaction.keep(REWRITE_DUE, True)
            with self._done:
                if self._open.get(subject) == erase_time:
                    del self._open[subject]
            for installation in self._table.owing():  # whoever found out who was meant, its devices are told now at the latest
                self._hint(installation)
            return True
        if self._rewrite_due:
            self._store.rewrite()
            with self._store.transaction() as transaction:
                transaction.keep(REWRITE_DUE, False)
            with self._done:
                self._rewrite_due = False
                self._done.notify_all()
            return True
        return False

    def _find(self) -> None:
        """Look for the subjects of new tombstones among those the store knows; the others wait for whoever sends them."""
        looking = set(self._unseen)
        for subject in set(self._table.known()):
            if any(erased_digest(installation, subject) == digest for installation, digest in looking):
                with self._store.transaction() as transaction:
                    told = self._resolve(transaction, subject)
                for installation in told:
                    self._hint(installation)
        with self._store.transaction() as transaction:
            for installation, digest in looking:
                if (installation, digest) in self._unresolved:
                    table.settle(transaction, f"{installation}:{digest}")
        with self._lock:
            self._unseen -= looking

    def _resolve(self, transaction: Transaction, subject: str) -> list[str]:
        """Whether a tombstone means this subject: then it goes on under our own digest. The devices to be told."""
        told: list[str] = []
        by_installation: dict[str, str] = {}
        for (installation, digest), erase_time in list(self._unresolved.items()):
            if installation not in by_installation:
                by_installation[installation] = erased_digest(installation, subject)
            if by_installation[installation] == digest:
                told += self._begin(transaction, subject, erase_time, installation)
                table.drop(transaction, f"{installation}:{digest}")
                with self._lock:
                    self._unresolved.pop((installation, digest), None)
                    self._unseen.discard((installation, digest))
        return told

    def _begin(self, transaction: Transaction, subject: str, erase_time: int, by: str) -> list[str]:
        """From here on it is erased, and whoever is linked to it, being the same person. The devices to be told.

        by: the device that says so, empty for an operator.
        """
        digest = erased_digest(self._salt, subject)
        if table.time_of(transaction, digest) >= erase_time:  # what is kept counts: a transaction may have failed
            return []
        holders = [installation for installation in self._table.holders(subject) if installation != by]
        table.tell(transaction, digest, erase_time, subject)
        for installation in holders:
            table.owe(transaction, installation, erased_digest(installation, subject), erase_time)
        with self._done:
            self._times[digest] = erase_time
            self._open[subject] = erase_time
            self._rewrite_due = True
        for member in self._links.members(subject)[1:]:
            holders += self._begin(transaction, member, erase_time, "")
        return holders
