"""Systems that are broken in one place each: what the checkers must find, or they are no checkers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from reflexarc.transport import Pushed, Transport
from reflexarc_core.chain import Instance
from reflexarc_core.errors import TransportError
from reflexarc_core.ledger import Ledger
from reflexarc_core.policy import TREATED, Holdout
from reflexarc_edge.clock import EngineClock
from reflexarc_edge.cursor import Cursor
from reflexarc_edge.log import Log
from reflexarc_edge.store import Store as DeviceStore
from reflexarc_edge.upload import UploadBatch
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_server.fold import Fold
from reflexarc_server.ingest import Ingest
from reflexarc_server.store.port import NewRecord, Stream, Transaction
from tests.simulation.server import Parts, WatchedStore

# -- a server -----------------------------------------------------------------------------------------------------------


class AnswersFirst(Ingest):
    """Answers before anything is committed; stores with the next call."""

    _waiting: tuple[str, messages.PushRequest] | None = None

    def push(self, installation: str, request: messages.PushRequest) -> messages.PushResponse:
        waiting, self._waiting = self._waiting, (installation, request)
        if waiting is not None:
            super().push(*waiting)
        newest = max((record.seq for record in request.records), default=request.previous_seq)
        return messages.PushResponse(upto_seq=newest, server_time=self._clock.now_ms())


class Forgetful(Ingest):
    """Knows no cursor: what comes again is new."""

    def push(self, installation: str, request: messages.PushRequest) -> messages.PushResponse:
        first = min((record.seq for record in request.records), default=2**62)
        with self._store.transaction() as transaction:
            if not request.early and transaction.stream(installation, request.incarnation).upto_seq >= first:
                transaction.advance(installation, request.incarnation, Stream(first - 1))
        return super().push(installation, request)


class DropsLosses(Ingest):
    """Takes a loss's word for a gap, and does not keep it."""

    def _store_losses(self, *given: Any, **more: Any) -> None:
        return


class Changed:
    """A transaction that does one thing otherwise."""

    def __init__(self, real: Transaction) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Ahead(Changed):
    """Moves the cursor by one too many."""

    def advance(self, installation: str, incarnation: str, stream: Stream) -> None:
        self.real.advance(installation, incarnation, replace(stream, upto_seq=stream.upto_seq + 1))


class Nameless(Changed):
    """Does not know a record when it sees it again."""

    def insert_all(self, records: Sequence[NewRecord]) -> list[bool]:
        return self.real.insert_all([replace(record, record_id="", decision=None) for record in records])


def store_with(changed: type[Changed]) -> type[WatchedStore]:
    class BrokenStore(WatchedStore):
        @contextmanager
        def transaction(self) -> Iterator[Transaction]:
            with super().transaction() as transaction:
                yield changed(transaction)  # type: ignore[misc]  # the rest is the real one's

    return BrokenStore


class FoldsTwice(Fold):
    """Goes back one record too far after a restart."""

    def _restore(self, head: dict[str, Any]) -> Any:
        return super()._restore({**head, "cursor": max(0, head["cursor"] - 1)})


class SkipsOne(Fold):
    """Goes on one record too far after a restart."""

    def _restore(self, head: dict[str, Any]) -> Any:
        return super()._restore({**head, "cursor": head["cursor"] + 1})


def tells_no_copies_apart() -> AbstractContextManager[Any]:
    """Takes every numbering for the one it knows."""
    return mock.patch("reflexarc_server.ingest.same_upto", return_value=None)


# -- a device -----------------------------------------------------------------------------------------------------------


def believes_silence() -> AbstractContextManager[Any]:
    """Takes a batch that was not answered for stored."""
    push = Transport.push

    def pushed(transport: Transport, batch: UploadBatch, sent_time: int, timeout_s: float) -> Pushed:
        try:
            return push(transport, batch, sent_time, timeout_s)
        except TransportError:
            return Pushed(batch.last_seq, {}, 0, sent_time, False)

    return mock.patch.object(Transport, "push", pushed)


def ignores_a_rewind() -> AbstractContextManager[Any]:
    """Does not send again what a restored server lost."""
    return mock.patch.object(Cursor, "rewind", return_value=None)


def believes_its_clock() -> AbstractContextManager[Any]:
    """Takes the wall clock as it is."""
    return mock.patch.object(EngineClock, "now", lambda clock: (clock._clock.wall_ms(), True))


def keeps_in_memory() -> AbstractContextManager[Any]:
    """Says that an event is safe while it is in memory only."""
    append = Log.append

    def appended(log: Log, records: Any, *, priority: int = 1, taken: Any = None) -> int:
        if len(records) == 1:
            log.hold(records, priority)
            return log.last_seq
        return append(log, records, priority=priority, taken=taken)

    return mock.patch.object(Log, "append", appended)


def snapshots_too_much() -> AbstractContextManager[Any]:
    """Says that a snapshot holds one record more than it does."""
    keep = DeviceStore.keep_snapshot

    def kept(store: DeviceStore, seq: int, *given: Any) -> None:
        keep(store, seq + 1, *given)

    return mock.patch.object(DeviceStore, "keep_snapshot", kept)


def hands_over_again() -> AbstractContextManager[Any]:
    """Does not remember what it handed over."""
    insert = DeviceStore.insert

    def inserted(store: DeviceStore, entries: Any) -> None:
        insert(store, [entry._replace(handed=False) for entry in entries])

    return mock.patch.object(DeviceStore, "insert", inserted)


# -- an engine ----------------------------------------------------------------------------------------------------------


def forgets_a_use() -> AbstractContextManager[Any]:
    """A cap remembers one use fewer than it allows."""

    def used(ledger: Ledger, cap: str, now: int, count_max: int) -> None:
        ledger.uses[cap] = [*ledger.uses.get(cap, ()), now][-count_max:][1:]

    return mock.patch.object(Ledger, "use", used)


def knows_no_night() -> AbstractContextManager[Any]:
    """Every hour is open."""
    return mock.patch("reflexarc_core.conclude.opens_next", lambda quiet, window, moment, now: now)


def treats_everybody() -> AbstractContextManager[Any]:
    """Nobody is held out."""
    return mock.patch.object(Holdout, "assign", return_value=TREATED)


def waits_again() -> AbstractContextManager[Any]:
    """What waited goes on waiting when its time was over: it is over once more a little later."""
    forget = Ledger.forget_instance

    def forgotten(ledger: Ledger, trigger_id: str, key: str) -> Instance:
        instance = forget(ledger, trigger_id, key)
        ledger.instances.setdefault(trigger_id, {})[key] = replace(instance, wait_end=instance.wait_end + 3_600_000)
        return instance

    return mock.patch.object(Ledger, "forget_instance", forgotten)


def loses_waits() -> AbstractContextManager[Any]:
    """A snapshot holds no patterns."""
    to_plain = Ledger.to_plain
    return mock.patch.object(Ledger, "to_plain", lambda ledger: {**to_plain(ledger), "instances": {}})


def forgets_who_is_in() -> AbstractContextManager[Any]:
    """A snapshot holds everybody outside of every segment."""
    return mock.patch("reflexarc_core.state.membership_plain", lambda membership: [[], membership.due_time])


# -- all of them --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One broken system. says: words of the checkers that may find it. seeds_max: within so many runs. parts, within: how it
    is broken."""

    name: str
    says: tuple[str, ...]
    seeds_max: int
    parts: Parts | None = None
    within: Callable[[], AbstractContextManager[Any]] = nullcontext


LOST = "no loss says why"
UNEXPLAINED = "neither stored nor explained"
UNHELD = "after a restart"
MISFOLDED = "the server's state is not the fold of its log"

FAULTS_PLANTED = (
    Fault("the server answers before it commits", (UNHELD,), 6, Parts(ingest=AnswersFirst)),
    Fault("the cursor moves by one too many", ("has never been sent",), 6, Parts(store=store_with(Ahead))),
    Fault("the cursor is not looked at", ("is there twice",), 12, Parts(ingest=Forgetful)),
    Fault("nothing is deduped", ("times",), 12, Parts(store=store_with(Nameless), ingest=Forgetful)),
    Fault("losses are dropped", (LOST, UNEXPLAINED), 10, Parts(ingest=DropsLosses)),
    Fault("a record is folded twice after a restart", (MISFOLDED,), 10, Parts(fold=FoldsTwice)),
    Fault("a record is never folded after a restart", (MISFOLDED,), 10, Parts(fold=SkipsOne)),
    Fault("copies of a store are not told apart", (LOST,), 10, within=tells_no_copies_apart),
    Fault("a batch without an answer is skipped", ("the server never said more",), 6, within=believes_silence),
    Fault("a rewind is ignored", ("stays at", LOST), 12, within=ignores_a_rewind),
    Fault("the clock is taken raw", ("engine time",), 6, within=believes_its_clock),
    Fault("events are acknowledged from memory", (LOST, "twice"), 10, within=keeps_in_memory),
    Fault(
        "a snapshot covers one record too many",
        ("its state is not its log's", "of its log is", "replayed"),
        6,
        within=snapshots_too_much,
    ),
    Fault("an action is handed over twice", ("twice",), 12, within=hands_over_again),
    Fault("a cap forgets a use", ("is used again",), 6, within=forgets_a_use),
    Fault("quiet hours are not looked at", ("in quiet hours",), 6, within=knows_no_night),
    Fault("nobody is held out", ("who is held out",), 6, within=treats_everybody),
    Fault("a timer runs twice", ("patterns and timers",), 6, within=waits_again),
    Fault("a restart forgets who is in", (MISFOLDED, "its state is not its log's", "replayed"), 6, within=forgets_who_is_in),
    Fault("a restart loses waits", (MISFOLDED, "its state is not its log's", "of its log is", "replayed"), 6, within=loses_waits),
)
