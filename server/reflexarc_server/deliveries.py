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
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.judging import Judged
from reflexarc_server.links import Links
from reflexarc_server.records import own_row
from reflexarc_server.store import deliveries as table
from reflexarc_server.store.deliveries import Delivery, DeliveryTable
from reflexarc_server.store.port import Transaction
from reflexarc_server.store.sqlite import SqliteStore

GIVEN_MAX: Final = 100
"""Decisions in one answer; the rest comes with the next."""
_DECISION: Final = KIND_OF[DecisionOutput]
_HANDED: Final = KIND_OF[HandedOutput]
_log = logging.getLogger(__name__)


class Deliveries:
    """One server's. hint: told of an installation for which something waits."""

    def __init__(self, store: SqliteStore, links: Links, hint: Callable[[str], None]) -> None:
        self._store = store
        self._table = DeliveryTable(store)
        self._links = links
        self._hint = hint

    def decided(self, transaction: Transaction, decision: Decision) -> None:
        """A server trigger fired. Without an expiry its action is for no device."""
        if decision.reason is Reason.FIRED and decision.expire_time:
            table.add(transaction.run, decision.decision_id, decision.subject, decision.expire_time)

    def announce(self, decisions: Sequence[Decision]) -> None:
        """These are stored: address each to the device that holds its subject, and tell it."""
        for decision in decisions:
            if decision.reason is Reason.FIRED and decision.expire_time:
                holder = self._table.holder(self._links.members(decision.subject))
                if holder:
                    with self._store.transaction() as transaction:
                        table.address(transaction.run, decision.decision_id, holder)
                    self._hint(holder)

    def give(self, installation: str, subjects: Sequence[str], now: int) -> list[decision_pb2.Decision]:
        """What this installation is to hand over: addressed to it, or about a subject of these that it holds now."""
        if not installation:
            return []
        asked = list({*subjects, *(self._links.canonical(subject) for subject in subjects)})
        found = {d.decision_id: d for d in (*self._table.addressed(installation), *self._table.of_subjects(asked))}
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
        over = self._table.over(now)
        for delivery in over:
            body = self._table.body(delivery.decision_id)
            with self._store.transaction() as transaction:
                if not table.close(transaction.run, delivery.decision_id, now) or body is None:
                    continue
                _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
                if isinstance(record, DecisionOutput):
                    end = dataclasses.replace(
                        record.decision, record=1, reason=Reason.EXPIRED, detail="no device fetched it", decision_time=now,
                        payload=None, expire_time=0,
                    )  # fmt: skip
                    transaction.count("records", transaction.insert(own_row(DecisionOutput(end), now)))
        return len(over)

    def _is_for(self, delivery: Delivery, installation: str, now: int) -> bool:
        if delivery.expire_time <= now:
            return False
        if delivery.given_time:
            return delivery.installation == installation
        return self._table.holder(self._links.members(delivery.subject)) == installation
