"""Deliveries: how a decision of a server trigger reaches the one device that acts on it.

A decision goes to the installation that holds its subject, which is the one that captured the subject's newest event: where
the person was last, an action can still reach them. It is given to one installation only; that one gets it again until it says it
is in its log, and hands it over at most once. Owns who is given what, and the end of what nobody fetched; what was given is the
device's to end.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.record import KIND_OF, DecisionOutput, HandedOutput
from reflexarc_proto.v1 import decision_pb2, record_pb2
from reflexarc_proto.wire import record_from_proto, record_to_proto
from reflexarc_server.judging import Judged
from reflexarc_server.links import Links
from reflexarc_server.records import WEB_INCARNATION, own_row, row_of
from reflexarc_server.store import deliveries as table
from reflexarc_server.store.deliveries import Delivery, DeliveryTable
from reflexarc_server.store.port import Transaction
from reflexarc_server.store.sqlite import SqliteStore

GIVEN_MAX: Final = 100
"""Decisions in one answer; the rest comes with the next."""
WAITING_SPARE: Final = 10_000
_DECISION: Final = KIND_OF[DecisionOutput]
_HANDED: Final = KIND_OF[HandedOutput]
_log = logging.getLogger(__name__)
NOT_FETCHED: Final = "no device fetched it"


class Deliveries:
    """One server's. hint: told of an installation for which something waits."""

    def __init__(self, store: SqliteStore, links: Links, hint: Callable[[str], None]) -> None:
        self._store = store
        self._table = DeliveryTable(store)
        self._links = links
        self._hint = hint
        self._waiting: dict[str, None] = {}
        """Subjects and installations for which something may wait; whoever is not among them has nothing to look for."""
        self._waiting_max = 0
        self._look_again()

    def decided(self, transaction: Transaction, decision: Decision) -> None:
        """A server trigger fired. Without an expiry its action is for no device."""
        if decision.reason is Reason.FIRED and decision.expire_time:
            table.add(transaction.run, decision.decision_id, decision.subject, decision.expire_time)

    def announce(self, decisions: Sequence[Decision]) -> None:
        """These are stored: address each to the device that holds its subject, and tell it."""
        for decision in decisions:
            if decision.reason is Reason.FIRED and decision.expire_time:
                holder = self._table.holder(self._links.members(decision.subject))
                self._waits(decision.subject, holder)
                if holder:
                    with self._store.transaction() as transaction:
                        table.address(transaction.run, decision.decision_id, holder)
                    self._hint(holder)

    def may_wait(self, installation: str, subjects: Sequence[str]) -> bool:
        """Whether `give` may find something: a look at memory. Never false when there is something."""
        waiting = self._waiting
        if not waiting:
            return False
        canonical = self._links.canonical
        return installation in waiting or any(subject in waiting or canonical(subject) in waiting for subject in subjects)

    def acknowledge(self, transaction: Transaction, installation: str, decision_ids: Sequence[str], now: int) -> None:
        """A page, which keeps no log, has taken these: what it was given is taken and handed over, and a record says so."""
        for decision_id in decision_ids:
            if table.acknowledge(transaction.run, decision_id, installation, now):
                record = HandedOutput(decision_id, now)
                body = record_to_proto(0, record).SerializeToString()
                transaction.insert(row_of(record, installation, WEB_INCARNATION, 0, now, body))
                transaction.count("records", 1)

    def give(self, installation: str, subjects: Sequence[str], now: int) -> list[decision_pb2.Decision]:
        """What this installation is to hand over: addressed to it, or about a subject of these that it holds now."""
        if not installation:
            return []
        asked = list({*subjects, *(self._links.canonical(subject) for subject in subjects)})
        for name in (installation, *asked):  # before the look: what is decided meanwhile puts it there again
            self._waiting.pop(name, None)
        found = {d.decision_id: d for d in (*self._table.addressed(installation), *self._table.of_subjects(asked))}
        for delivery in found.values():
            self._waits(delivery.subject, delivery.installation)
        wanted = [delivery for delivery in found.values() if self._is_for(delivery, installation, now)][:GIVEN_MAX]
        given: list[decision_pb2.Decision] = []
        for delivery in wanted:
            body = self._table.body(delivery.decision_id)
            if body is None:
                continue
            with self._store.transaction() as transaction:
                if table.give(transaction.run, delivery.decision_id, installation, now):
                    given.append(record_pb2.LogRecord.FromString(body).decision)
        return given

    def admit(self, transaction: Transaction, installation: str, judged: Sequence[Judged], now: int) -> list[Judged]:
        """A device's records: what it took and handed over is noted, a decision that it was never given is refused."""
        admitted: list[Judged] = []
        for one in judged:
            row = one.row
            if row is not None and row.decision is not None and row.decision.placement == "server":
                if not table.take(transaction.run, row.decision.decision_id, installation, now):
                    one = Judged(one.seq, one.check, None, "a server's decision that was not given to this installation")
            elif row is not None and row.kind == _HANDED:
                handed = record_pb2.LogRecord.FromString(row.body).handed
                table.hand(transaction.run, handed.decision_id, installation, handed.handed_time)
            admitted.append(one)
        return admitted

    def expire(self, now: int) -> int:
        """End what nobody was given in time, with a record of its own; how many."""
        if len(self._waiting) > self._waiting_max:
            self._look_again()
        over = self._table.over(now)
        for delivery in over:
            body = self._table.body(delivery.decision_id)
            with self._store.transaction() as transaction:
                if not table.close(transaction.run, delivery.decision_id, now) or body is None:
                    continue
                _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
                if isinstance(record, DecisionOutput):
                    end = dataclasses.replace(
                        record.decision, record=1, reason=Reason.EXPIRED, detail=NOT_FETCHED, decision_time=now,
                        payload=None, expire_time=0,
                    )  # fmt: skip
                    transaction.count("records", transaction.insert(own_row(DecisionOutput(end), now)))
        return len(over)

    def _look_again(self) -> None:
        """Forget who has nothing waiting any more."""
        self._waiting = {}
        for delivery in self._table.open():
            self._waits(delivery.subject, delivery.installation)
        self._waiting_max = 2 * len(self._waiting) + WAITING_SPARE

    def _waits(self, subject: str, installation: str) -> None:
        self._waiting[subject] = None
        if installation:
            self._waiting[installation] = None

    def _is_for(self, delivery: Delivery, installation: str, now: int) -> bool:
        if delivery.expire_time <= now:
            return False
        if delivery.given_time:
            return delivery.installation == installation
        return self._table.holder(self._links.members(delivery.subject)) == installation
