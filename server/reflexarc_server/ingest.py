"""Ingest: a batch in, a verdict per record out, exactly once.

decode -> validate -> one transaction that stores the batch and moves the stream's cursor -> answer. Owns the cursor
rules (rule 29 of docs/rules.md): a prefix sent again is passed over, a gap must be explained, another history's numbering is told
to begin anew. Must never answer before the transaction is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Concatenate, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_core.record import KIND_OF, RENUMBERED, EventInput, LossOutput, TombstoneOutput
from reflexarc_proto.v1 import event_pb2
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.wire import event_from_proto, record_to_proto
from reflexarc_proto.wire.record import loss_from_proto
from reflexarc_server.batch import Batch, batch_of, read_batch
from reflexarc_server.clock import Clock
from reflexarc_server.history import same_upto, unshown
from reflexarc_server.judging import Judged, judge_all
from reflexarc_server.precedence import Precedence
from reflexarc_server.records import row_of, tracked_row
from reflexarc_server.store.port import Store, Stream, Transaction
from reflexarc_server.usual import RECORDS_MAX, Scan

P = ParamSpec("P")
T = TypeVar("T")
INCARNATION_LENGTH_MAX: Final = 64

STORED: Final = messages.VERDICT_CODE_STORED
DUPLICATE: Final = messages.VERDICT_CODE_DUPLICATE
REJECTED: Final = messages.VERDICT_CODE_REJECTED
LATER: Final = messages.VERDICT_CODE_LATER
_log = logging.getLogger(__name__)
EVENT_KIND: Final = KIND_OF[EventInput]
TOMBSTONE_KIND: Final = KIND_OF[TombstoneOutput]
Verdicts = Iterable[messages.Verdict]


class Refusal(NamedTuple):
    """In an event's place: what came could not be read as one. reason: for its sender."""

    reason: str


class Told(NamedTuple):
    """What became of one event. verdict: stored, duplicate or rejected. reason: empty when it was stored."""

    verdict: str
    reason: str = ""


STORED_TOLD: Final = Told("stored")
DUPLICATE_TOLD: Final = Told("duplicate", "an equal id is held")


class Arrival(NamedTuple):
    """Events of one request over HTTP, judged. handed: server decisions that their installation has taken."""

    installation: str
    judged: Sequence[Judged]
    handed: Sequence[str] = ()


class Gate(Protocol):
    """May refuse what is valid in itself."""

    def admit(self, transaction: Transaction, installation: str, judged: Sequence[Judged], now: int) -> Sequence[Judged]:
        """The same records in the same order, some of them refused now. In the transaction that stores the others."""
        ...


def _before_the_fold(call: Callable[Concatenate[Ingest, P], T]) -> Callable[Concatenate[Ingest, P], T]:
    """A call that stores: the fold gives way to it."""

    def called(self: Ingest, /, *given: P.args, **more: P.kwargs) -> T:
        with self.precedence.storing():
            return call(self, *given, **more)

    return called


class Ingest:
    """What comes in goes through here. on_stored: told after each commit that stored something."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        catalog: Callable[[], Catalog],
        on_stored: Callable[[], None],
        precedence: Precedence | None = None,
        scan: Scan | None = None,
        gates: Sequence[Gate] = (),
        admit_events: Callable[[Transaction, str, Sequence[Judged]], Sequence[Judged]] = lambda _, installation, judged: judged,
        on_handed: Callable[[Transaction, str, Sequence[str], int], object] = lambda *_: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._catalog = catalog
        self._on_stored = on_stored
        self.precedence: Final = precedence or Precedence()
        self.scan: Final = scan or Scan()
        self._gates = tuple(gates)
        self._admit_events = admit_events
        self._on_handed = on_handed

    def read(self, content: bytes) -> Batch:
        """The batch in a PushRequest's bytes. Raises DecodeError."""
        return read_batch(content, self.scan)

    def push(self, installation: str, request: messages.PushRequest) -> messages.PushResponse:
        """As `take`, of a decoded request."""
        return self.take(installation, batch_of(request, self.scan))

    @_before_the_fold
    def take(self, installation: str, batch: Batch) -> messages.PushResponse:
        """A device's batch. Raises InvalidEventError when the batch as a whole cannot be read, StorageError."""
        request = batch.head
        now = self._clock.now_ms()
        incarnation = request.incarnation
        if not 0 < len(incarnation) <= INCARNATION_LENGTH_MAX:
            raise InvalidEventError("a batch without an incarnation", hint=f"1 to {INCARNATION_LENGTH_MAX} characters")
        losses = [loss_from_proto(loss) for loss in request.losses]
        _check_numbering(batch.seqs, losses, has_gaps=request.early)
        judged = judge_all(batch, installation, incarnation, now)
        acked = request.previous_seq or (judged[0].seq - 1 if judged else 0)
        name = (installation, incarnation)
        with self._store.transaction() as transaction:
            stream = transaction.stream(*name)
            answer = messages.PushResponse(server_time=now, upto_seq=stream.upto_seq)
            if request.early:
                self._store_early(transaction, self._admitted(transaction, installation, judged, now), answer)
                return self._told(answer)
            checks = [(one.seq, one.check) for one in judged]
            previous = (acked, request.previous_check)
            same = same_upto(transaction, stream, name, previous, checks)
            if same is not None:
                transaction.count("rekeyed", 1)
                _log.warning("%s goes on with the numbers of another history; it begins a new numbering", installation)
                answer.rekey, answer.upto_seq = True, same
                return answer
            self._store_losses(transaction, unshown(transaction, stream, name, previous, checks, losses), name, now)
            fresh = [one for one in judged if one.seq > stream.upto_seq]
            resent = judged[: len(judged) - len(fresh)]
            late = self._store_late(transaction, name, resent, now)
            for one in resent:
                if one.seq in late:
                    answer.verdicts.append(late[one.seq])
                elif one.row is None:
                    answer.verdicts.add(seq=one.seq, code=REJECTED, reason=one.refusal)
                else:
                    answer.verdicts.add(seq=one.seq, code=DUPLICATE, reason="stored before")
            transaction.count("resent", len(resent) - len(late))
            newest = fresh[-1].seq if fresh else stream.upto_seq
            upto = _explained_upto(newest, losses)
            if request.previous_seq > stream.upto_seq and not _explained(stream.upto_seq + 1, request.previous_seq, losses):
                transaction.count("ahead", 1)
                _log.warning(
                    "%s was acknowledged %d records that are not held: this store was restored from an older copy, or lost"
                    " them; they are asked for again", installation, request.previous_seq - stream.upto_seq,
                )  # fmt: skip
            renumbered_upto = max((loss.last_seq for loss in losses if loss.reason == RENUMBERED), default=0)
            if stream.upto_seq < renumbered_upto and transaction.held_upto(installation) < renumbered_upto:
                transaction.count("ahead", 1)
                _log.warning(
                    "%s was acknowledged %d records under an earlier numbering that are not held: this store was restored from"
                    " an older copy, or lost them; they are asked for again", installation, renumbered_upto,
                )  # fmt: skip
                for one in fresh:
                    answer.verdicts.add(seq=one.seq, code=LATER, reason="send from where this numbering began")
            elif fresh and not _explained(stream.upto_seq + 1, fresh[0].seq - 1, losses):
                for one in fresh:
                    answer.verdicts.add(seq=one.seq, code=LATER, reason=f"send from {stream.upto_seq + 1}")
            elif upto > stream.upto_seq:
                self._store_losses(transaction, [loss for loss in losses if loss.last_seq > stream.upto_seq], name, now)
                self._store_all(transaction, self._admitted(transaction, installation, fresh, now), answer)
                if any(one.check for one in fresh):
                    transaction.keep_checks(*name, [(one.seq, one.check) for one in fresh])
                transaction.advance(*name, Stream(upto, fresh[-1].check if fresh and upto == newest else 0))
                answer.upto_seq = upto
        return self._told(answer)

    def _told(self, answer: messages.PushResponse) -> messages.PushResponse:
        if any(verdict.code == STORED for verdict in answer.verdicts):
            self._on_stored()
        return answer

    def postpone(self, installation: str, incarnation: str, retry_after_ms: int) -> messages.PushResponse:
        """Nothing is taken now: where the stream stands, no verdict, and when to send the same again."""
        with self._store.transaction() as transaction:
            upto_seq = transaction.stream(installation, incarnation).upto_seq
        return messages.PushResponse(upto_seq=upto_seq, retry_after_ms=retry_after_ms, server_time=self._clock.now_ms())

    def _store_early(self, transaction: Transaction, judged: Sequence[Judged], answer: messages.PushResponse) -> None:
        """Store records before their turn. Only what has an id: in its turn it comes again, and the id says so."""
        self._store_all(transaction, [one for one in judged if one.row is None or one.row.record_id], answer)
        for one in judged:
            if one.row is not None and not one.row.record_id:
                answer.verdicts.add(seq=one.seq, code=LATER, reason="only in its turn")

    def _store_late(
        self, transaction: Transaction, name: tuple[str, str], resent: Sequence[Judged], now: int
    ) -> dict[int, messages.Verdict]:
        """Store what comes at numbers that were a loss here, by its id: a file from before the loss, or a copy of the store that
        kept the record; a tombstone too, or its device would be asked to erase for ever. The verdicts by number."""
        named = [one for one in resent if one.row is not None and (one.row.record_id or one.row.kind == TOMBSTONE_KIND)]
        sent = [one for one in named if one.check]
        if not sent:
            return {}
        oldest, held = transaction.checks(*name, sent[0].seq, sent[-1].seq)
        late = [one for one in sent if oldest and one.seq not in held]
        if not late:
            return {}
        answer = messages.PushResponse()
        self._store_all(transaction, self._admitted(transaction, name[0], late, now), answer)
        transaction.keep_checks(*name, [(one.seq, one.check) for one in late])
        return {verdict.seq: verdict for verdict in answer.verdicts}

    @_before_the_fold
    def track(self, installation: str, request: messages.TrackRequest) -> messages.TrackResponse:
        """Events without a device log. Raises InvalidEventError when there are too many at once, StorageError."""
        return self._keep(installation, [_read_event(message) for message in request.events])

    @_before_the_fold
    def accept(
        self,
        source: str,
        events: Sequence[Event | Refusal],
        also: Callable[[Transaction, Sequence[Told]], object] = lambda transaction, told: None,
    ) -> list[Told]:
        """Events that did not come by gRPC, a verdict for each, durable when this returns.

        source: whose they are, as an installation's name. also: what belongs to them, such as a message of the outbox: done in
        the transaction that stores them, and when it raises, nothing of it all is stored. Raises InvalidEventError when there
        are too many at once, StorageError.
        """
        verdicts = self._keep(source, events, lambda transaction, stored: also(transaction, _told(stored))).verdicts
        return _told(verdicts)

    @_before_the_fold
    def commit(self, arrivals: Sequence[Arrival]) -> list[list[Told]]:
        """What several requests brought, in one transaction: verdicts of each, durable when this returns. Raises StorageError."""
        now = self._clock.now_ms()
        passed: list[Sequence[Judged]] = []
        with self._store.transaction() as transaction:
            for arrival in arrivals:
                passed.append(self._admit_events(transaction, arrival.installation, arrival.judged))
                if arrival.handed:
                    self._on_handed(transaction, arrival.installation, arrival.handed, now)
            rows = [one.row for judged in passed for one in judged if one.row is not None]
            stored = transaction.insert_all(rows)
            new = sum(stored)
            transaction.count("records", new)
            transaction.count("events", new)
            transaction.count("duplicates", len(rows) - new)
            transaction.count("rejected", sum(len(judged) for judged in passed) - len(rows))
        if new:
            self._on_stored()
        flags = iter(stored)
        return [
            [
                Told("rejected", one.refusal) if one.row is None else STORED_TOLD if next(flags) else DUPLICATE_TOLD
                for one in judged
            ]
            for judged in passed
        ]

    def _keep(
        self,
        installation: str,
        events: Sequence[Event | Refusal],
        also: Callable[[Transaction, Verdicts], object] = lambda transaction, verdicts: None,
    ) -> messages.TrackResponse:
        now = self._clock.now_ms()
        if len(events) > RECORDS_MAX:
            raise InvalidEventError(f"{len(events)} events", hint=f"at most {RECORDS_MAX} at once")
        catalog = self._catalog()
        judged = [_judge(place, event, catalog, installation, now) for place, event in enumerate(events)]
        answer = messages.TrackResponse(server_time=now)
        with self._store.transaction() as transaction:
            self._store_all(transaction, self._admitted(transaction, installation, judged, now), answer)
            also(transaction, answer.verdicts)
        self._on_stored()
        return answer

    def _admitted(self, transaction: Transaction, installation: str, judged: Sequence[Judged], now: int) -> Sequence[Judged]:
        for gate in self._gates:
            judged = gate.admit(transaction, installation, judged, now)
        return judged

    def _store_all(
        self, transaction: Transaction, judged: Sequence[Judged], answer: messages.PushResponse | messages.TrackResponse
    ) -> None:
        rows = [one.row for one in judged if one.row is not None]
        stored = transaction.insert_all(rows)
        places = iter(stored)
        verdicts = answer.verdicts
        for one in judged:
            if one.row is None:
                verdicts.add(seq=one.seq, code=REJECTED, reason=one.refusal)
            elif next(places):
                verdict = verdicts.add()  # nearly always; by name it takes half as long again
                verdict.seq, verdict.code = one.seq, STORED
            else:
                verdicts.add(seq=one.seq, code=DUPLICATE, reason="an equal id is held")
        transaction.count("records", sum(stored))
        transaction.count("events", sum(row.kind == EVENT_KIND for row, new in zip(rows, stored, strict=True) if new))
        transaction.count("duplicates", len(rows) - sum(stored))
        transaction.count("rejected", len(judged) - len(rows))

    def _store_losses(self, transaction: Transaction, losses: Iterable[LossOutput], name: tuple[str, str], now: int) -> None:
        """Keep what explains a gap, once, under the gap's first number."""
        for loss in losses:
            body = record_to_proto(loss.first_seq, loss).SerializeToString()
            row = row_of(loss, *name, loss.first_seq, now, body)
            identified = replace(row, record_id=f"{'/'.join(name)}/{loss.first_seq}-{loss.last_seq}")
            if transaction.insert(identified):
                transaction.count("records", 1)


def _told(verdicts: Verdicts) -> list[Told]:
    names = messages.VerdictCode.Name
    return [Told(names(one.code).removeprefix("VERDICT_CODE_").lower(), one.reason) for one in verdicts]


def _read_event(message: event_pb2.Event) -> Event | Refusal:
    try:
        return event_from_proto(message)
    except InvalidEventError as error:
        return Refusal(str(error))


def _judge(place: int, event: Event | Refusal, catalog: Catalog, installation: str, now: int) -> Judged:
    if isinstance(event, Refusal):
        return Judged(place, 0, None, event.reason)
    try:
        return Judged(place, 0, tracked_row(_conform(event, catalog, now), installation, now))
    except InvalidEventError as error:
        return Judged(place, 0, None, str(error))


def _conform(event: Event, catalog: Catalog, now: int) -> Event:
    """The event as its type declares it. A type the live catalog does not know is kept as it came: a device's newer
    catalog may know it."""
    if event.event_time == 0:
        event = replace(event, event_time=now)
    declared = catalog.event_types.get(event.event_type)
    if declared is None:
        return event
    properties, _ = declared.conform(event.properties)
    return replace(event, properties=properties)


def _check_numbering(seqs: Sequence[int], losses: Sequence[LossOutput], *, has_gaps: bool) -> None:
    if len(seqs) > RECORDS_MAX:
        raise InvalidEventError(f"{len(seqs)} records", hint=f"at most {RECORDS_MAX} at once")
    if seqs and seqs[0] > 0 and seqs == list(range(seqs[0], seqs[0] + len(seqs))):  # nearly always
        return
    before = 0
    for seq in seqs:
        if seq <= before:
            raise InvalidEventError(f"record {seq} behind record {before}", hint="number records upwards from 1")
        is_gap = before and seq != before + 1 and not has_gaps
        if is_gap and not _explained(before + 1, seq - 1, losses):
            raise InvalidEventError(f"records {before + 1} to {seq - 1} are missing", hint="name the gap in losses")
        before = seq


def _explained(first: int, last: int, losses: Sequence[LossOutput]) -> bool:
    """Whether every number from first to last lies in a loss; true when there is none."""
    for loss in sorted(losses, key=lambda loss: loss.first_seq):
        if first > last:
            break
        if loss.first_seq <= first <= loss.last_seq:
            first = loss.last_seq + 1
    return first > last


def _explained_upto(seq: int, losses: Sequence[LossOutput]) -> int:
    """The last number behind `seq` that losses account for without a gap."""
    for loss in sorted(losses, key=lambda loss: loss.first_seq):
        if loss.first_seq <= seq + 1 <= loss.last_seq:
            seq = loss.last_seq
    return seq
