"""The server of a run: the real ingest, store and fold in one folder, which can be killed, restarted and restored.

Owns its folder and what it ever acknowledged. Requests and answers cross as bytes, the way they do on a wire.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.record import (
    AnswerInput,
    DecisionOutput,
    EventInput,
    HandedOutput,
    LeaseInput,
    Record,
    ScoresInput,
    ValuesInput,
)
from reflexarc_core.state import State
from reflexarc_edge.codec import pack
from reflexarc_proto.sync_file import verified
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1 import sync_file_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server import parts as putting_together
from reflexarc_server.channels.acting import Acting
from reflexarc_server.channels.outbox import Outbox
from reflexarc_server.deliveries import Deliveries
from reflexarc_server.distribution import Distribution
from reflexarc_server.fold import Fold
from reflexarc_server.identity.registry import Registry
from reflexarc_server.ingest import Ingest
from reflexarc_server.links import Links
from reflexarc_server.records import row_of
from reflexarc_server.store.port import Transaction
from reflexarc_server.store.sqlite import FILE, SqliteStore
from tests.simulation.still import Broken, Killed

Numbering = tuple[str, str]
"""Installation and incarnation."""
ANYBODY = "?"


class WatchedStore(SqliteStore):
    """A store that tells when a transaction is about to end and when it has."""

    at: Callable[[str], None] = staticmethod(lambda point: None)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as transaction:
            yield transaction
            self.at("before the commit")
        self.at("after the commit")


@dataclass
class Parts:
    """What the server is made of; a broken variant takes another class."""

    store: type[WatchedStore] = WatchedStore
    ingest: type[Ingest] = Ingest
    fold: type[Fold] = Fold


@dataclass
class Row:
    """A record as the server keeps it."""

    server_seq: int
    kind: int
    installation: str
    incarnation: str
    seq: int
    subject: str
    record_id: str
    body: bytes


@dataclass
class Acknowledged:
    """upto: what was ever answered for a numbering. since_backup: what this history of the server answered."""

    ever: dict[Numbering, int] = field(default_factory=dict)
    now: dict[Numbering, int] = field(default_factory=dict)


@dataclass
class Sent:
    """What was ever served under each numbering. records: number -> (kind, id). subjects: number -> whom it is about. highest:
    the largest number. rejected: number -> why it was refused for good."""

    records: dict[Numbering, dict[int, set[tuple[int, str]]]] = field(default_factory=lambda: defaultdict(dict))
    subjects: dict[Numbering, dict[int, set[str]]] = field(default_factory=lambda: defaultdict(dict))
    highest: dict[Numbering, int] = field(default_factory=lambda: defaultdict(int))
    rejected: dict[Numbering, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))

    def note(self, key: Numbering, request: messages.PushRequest) -> None:
        held = self.records[key]
        for message in request.records:
            _, record = record_from_proto(message)
            row = row_of(record, "", "", message.seq, 0, b"")
            held.setdefault(message.seq, set()).add((row.kind, row.record_id))
            self.subjects[key].setdefault(message.seq, set()).update(subjects_of(record))
        self.highest[key] = max((self.highest[key], *held, *(loss.last_seq for loss in request.losses)))


def subjects_of(record: Record) -> set[str]:
    """Whom a record is about; ANYBODY where it names a decision only."""
    if isinstance(record, EventInput):
        return {record.event.subject}
    if isinstance(record, DecisionOutput):
        return {record.decision.subject}
    if isinstance(record, (AnswerInput, HandedOutput)):
        return {ANYBODY}
    if isinstance(record, (ValuesInput, LeaseInput)):
        return {record.subject}
    if isinstance(record, ScoresInput):
        return {key for key, _ in record.scores}
    return set()


class SimulatedServer:
    """Down until `start`. doom: asked at each point where a process may end, whether it does."""

    def __init__(self, place: Path, now_ms: Callable[[], int], parts: Parts, doom: Callable[[str], bool]) -> None:
        self._place = place
        self.now_ms = now_ms
        self.parts = parts
        self._doom = doom
        self._folders = 0
        self.folder = self._next_folder()
        self.is_up = False
        self.was_restored = False
        self.acknowledged = Acknowledged()
        self.sent = Sent()
        self.tracked: dict[int, Event] = {}
        """Serial -> event of a backend that was told it is stored."""
        self.backups: list[tuple[Path, dict[Numbering, int], dict[int, Event]]] = []

    # -- its life -------------------------------------------------------------------------------------------------

    def start(self, catalog: Catalog) -> None:
        """Open the folder as it is."""
        self.store = self.parts.store(self.folder)
        self._registry = Registry(self.folder)
        with mock.patch.multiple(putting_together, Ingest=self.parts.ingest, Fold=self.parts.fold):
            made = putting_together.put_together(
                self.folder, self.store, self._registry, catalog, self, hint=lambda installation: None
            )
        self.distribution, self.switch, self.fold = made.distribution, made.switch, made.fold
        self.ingest, self.down, self.files = made.ingest, made.down, made.sync_files
        self.store.at = self._at
        self._watch_pushes()
        self.is_up = True

    def _watch_pushes(self) -> None:
        """Whatever way a batch comes, it is noted: what was sent under each number, and what was said to it."""
        push = self.ingest.push

        def watched(installation: str, request: messages.PushRequest) -> messages.PushResponse:
            key = (installation, request.incarnation)
            self.sent.note(key, request)
            answer = push(installation, request)
            cursor = max(answer.upto_seq, self.streams().get(key, 0))
            if cursor > self.sent.highest[key]:
                raise Broken(f"the server is at {cursor} of {key}; more than {self.sent.highest[key]} has never been sent")
            for verdict in answer.verdicts:
                if verdict.code == messages.VERDICT_CODE_REJECTED:
                    self.sent.rejected[key][verdict.seq] = verdict.reason
            return answer

        self.ingest.push = watched  # type: ignore[method-assign]

    def kill(self) -> None:
        """End it between two steps, as SIGKILL does."""
        self._freeze()
        self.abandon()

    def back_up(self) -> None:
        """Keep a copy of the folder; there is no transaction under way."""
        copy = self._next_folder()
        shutil.copytree(self.folder, copy)
        self.backups = [*self.backups[-1:], (copy, dict(self.acknowledged.now), dict(self.tracked))]

    def restore(self) -> None:
        """Go back to the older of the copies that are kept. It is down afterwards."""
        copy, self.acknowledged.now, self.tracked = self.backups.pop(0)
        self.backups.clear()
        if self.is_up:
            self.abandon()
        self.folder = copy
        self.was_restored = True

    # -- calls ----------------------------------------------------------------------------------------------------

    def push(self, installation: str, content: bytes) -> bytes:
        """EventService.Push."""
        request = messages.PushRequest.FromString(content)
        answer = self.ingest.push(installation, request)
        return answer.SerializeToString()

    def postpone(self, installation: str, content: bytes) -> bytes:
        """EventService.Push, when there are too many others."""
        request = messages.PushRequest.FromString(content)
        return self.ingest.postpone(installation, request.incarnation, 5_000).SerializeToString()

    def pull(self, installation: str, content: bytes) -> bytes:
        """EventService.Pull."""
        return self.down.pull(installation, messages.PullRequest.FromString(content)).SerializeToString()

    def track(self, content: bytes) -> bytes:
        """EventService.Track, for backends."""
        return self.ingest.track("", messages.TrackRequest.FromString(content)).SerializeToString()

    def import_file(self, content: bytes) -> bytes:
        """A file with batches that somebody carried here: the file with the answers."""
        digest = hashlib.sha256(content).hexdigest()
        self.files.receive(digest, len(content), 0, content)
        return b"".join(self.files.apply([digest], allow_unsigned=True))

    def answered_by_file(self, path: Path) -> None:
        """The same, for every numbering that a file of answers tells of."""
        file = verified(path, sync_file_pb2.SYNC_FILE_KIND_ANSWERS, lambda _: None, allow_unsigned=True)
        for frame in file.frames():
            if frame.WhichOneof("body") == "stream":
                self.answered(file.header.installation, frame.stream.incarnation, frame.stream.answer.upto_seq)

    def answered(self, installation: str, incarnation: str, upto: int) -> None:
        """The answer has left for the device: from now on it may delete what it holds up to this number."""
        key = (installation, incarnation)
        for held in (self.acknowledged.ever, self.acknowledged.now):
            held[key] = max(held.get(key, 0), upto)

    # -- looking --------------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """Everything in the log, from a connection of its own."""
        return [
            Row(*found)
            for found in self._query(
                "SELECT server_seq, kind, installation, incarnation, seq, subject, coalesce(record_id, ''), body FROM log"
                " ORDER BY server_seq"
            )
        ]

    def streams(self) -> dict[Numbering, int]:
        """How far each numbering is stored."""
        return {
            (installation, incarnation): upto
            for installation, incarnation, upto in self._query("SELECT installation, incarnation, upto_seq FROM streams")
        }

    def folded_anew(self, erased: Set[str]) -> tuple[bytes, set[str]]:
        """(state, record ids of its decisions) of a fold of the whole log from its beginning, without who was erased."""
        fresh = Refold(self.store, self.distribution, self)
        fresh.run()
        decided = {f"{one.decision_id}/{one.record}" for one in fresh.decided if one.subject not in erased}
        return state_of(fresh.engine, erased), decided

    def state(self, erased: Set[str]) -> bytes:
        """The state of the fold that has been running, without who was erased."""
        return state_of(self.fold._engine, erased)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _query(self, text: str) -> list[Any]:
        connection = sqlite3.connect(self.folder / FILE)
        try:
            return connection.execute(text).fetchall()
        finally:
            connection.close()

    def _at(self, point: str) -> None:
        if self._doom(point):
            self._freeze()
            raise Killed(point)

    def _freeze(self) -> None:
        """The folder as a kill leaves it at this moment: from now on it is a copy that nobody writes to."""
        copy = self._next_folder()
        shutil.copytree(self.folder, copy)
        self._frozen = copy

    def abandon(self) -> None:
        """The process is gone: what of it is left in this one goes too."""
        self.is_up = False
        self.store.close()
        self._registry.close()
        frozen = getattr(self, "_frozen", None)
        if frozen is not None:
            shutil.rmtree(self.folder)
            self.folder, self._frozen = frozen, None

    def _next_folder(self) -> Path:
        self._folders += 1
        return self._place / f"server-{self._folders}"


class Refold(Fold):
    """A fold that begins at the beginning and writes nothing."""

    def __init__(self, store: SqliteStore, distribution: Distribution, clock: Any) -> None:
        links = Links(store, clock)
        deliveries = Deliveries(store, links, lambda installation: None)
        super().__init__(store, distribution, clock, deliveries, links, Acting(Outbox(store, clock), store))
        self._engine = self.engine = Engine(Catalog(), "server", State())
        self._cursor = 0
        self.decided: list[Decision] = []

    def run(self) -> None:
        while self._advance():
            pass

    def _flush(self) -> None:
        self.decided += [record.decision for record in self._outputs]
        self._outputs.clear()

    def _keep(self, *, force: bool) -> None:
        return


def state_of(engine: Engine, erased: Set[str] = frozenset()) -> bytes:
    """An engine's state, in one form whatever order its subjects came in.

    erased: subjects that were. The log no longer says how their state came to be, nor how often anybody was touched: what is
    compared is everybody else.
    """
    engine.condition_counts()
    state = engine.state
    subjects = {subject: kept.to_plain() for subject, kept in sorted(state.subjects.items()) if subject not in erased}
    if not erased:
        return pack([state.head_plain(), subjects])
    return pack([{**kept, "touched": 0} for kept in subjects.values()])
