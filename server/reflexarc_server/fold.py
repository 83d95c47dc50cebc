"""The fold: the server's log through the server's engine, on a thread of its own.

The log holds every input (events of everybody, and the server's own catalog switches, pauses and ticks), so the state
is a function of it: snapshot and cursor are kept in one transaction, and what a kill cut off is folded again with the
same result. Decisions go into the log under their id, so a second fold of the same event adds nothing. Owns the engine;
the rest of the server reads through `values`.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from reflexarc_core.catalog import Catalog
from reflexarc_core.effect import Effect, RequestScore, score_of
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.errors import ScoringError
from reflexarc_core.explain import Standing, standing
from reflexarc_core.model import Scored
from reflexarc_core.plan import Plan
from reflexarc_core.record import (
    CatalogInput,
    DecisionOutput,
    EventInput,
    Input,
    Moment,
    ScoresInput,
    TickInput,
)
from reflexarc_core.state import State
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.channels.acting import Acting
from reflexarc_server.clock import Clock
from reflexarc_server.deliveries import Deliveries
from reflexarc_server.distribution import Distribution
from reflexarc_server.links import Links
from reflexarc_server.live import scorer_for
from reflexarc_server.precedence import SLICE_S, Precedence
from reflexarc_server.records import own_row
from reflexarc_server.refold import refolded
from reflexarc_server.store.port import Foldable, Store

BATCH: Final = 1_000
SUBJECTS_SLICE: Final = 50
SNAPSHOT_EVERY: Final = 50_000
IDLE_S: Final = 2.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Fold:
    """The server's engine and the thread that feeds it."""

    def __init__(
        self, store: Store, distribution: Distribution, clock: Clock, deliveries: Deliveries, links: Links, acting: Acting
    ) -> None:
        self._store = store
        self._distribution = distribution
        self._clock = clock
        self._deliveries = deliveries
        self._acting = acting
        self._links = links
        self.precedence: Final = Precedence()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stop = threading.Event()
        self.chores: Final[list[Callable[[], bool]]] = []
        """Steps of others' work on the state, on this thread, once the fold has caught up; each says whether it did something."""
        self.on_changed: Callable[[set[str]], object] = lambda subjects: None
        """Told of subjects whose values changed by what no device of theirs has sent."""
        self._elsewhere: set[str] = set()
        self._scorer = ArtifactScorer({})
        self._outputs: list[DecisionOutput] = []
        head = store.kept("snapshot", None)
        self._cursor = 0
        self._kept_cursor = 0
        self.folded_count = 0
        self.unfoldable_count = 0
        if head is None:
            self._engine = Engine(Catalog(), "server", State())
        else:
            self._engine = self._restore(head)
        self._thread = threading.Thread(target=self._run, name="reflexarc-fold", daemon=True)

    # -- for the server -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fold."""
        self._thread.start()

    def wake(self) -> None:
        """Something new is in the log."""
        self._news.set()

    def stop(self) -> None:
        """Stop the thread and keep a snapshot."""
        self._stop.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        self._keep(force=True)

    @property
    def lag(self) -> int:
        """Records in the log behind the fold."""
        return max(0, self._store.last_seq() - self._cursor)

    @property
    def subject_count(self) -> int:
        """Subjects the engine knows."""
        return len(self._engine.state.subjects)

    def values(self, subjects: Sequence[str]) -> tuple[int, list[dict[str, float]]]:
        """(as-of time in ms, subject-scoped features of each subject); a subject never seen has those of no event.

        Features that have no value, or that are split by a key, are left out.
        """
        with self._lock:
            engine = self._engine
            plan, state = engine.plan, engine.state
            now = state.engine_time if self.lag else max(self._clock.now_ms(), state.engine_time)
            layout = plan.layouts[""]
            wanted = [slot for slot in layout.slots if slot.definition.scope == "subject"]
            nothing = layout.empty()
            given: list[dict[str, float]] = []
            for key in subjects:
                held = state.subjects.get(self._links.canonical(key))
                vector = nothing if held is None else held.vector
                read = ((slot.definition.name, slot.read(vector, now)) for slot in wanted)
                given.append({name: value for name, value in read if value == value})
            return now, given

    def read(self, look: Callable[[Plan, State, int], T]) -> T:
        """What `look` sees of the plan, the state and the time there (ms), for a moment in which nothing is folded.

        It must change nothing, and keep nothing of a subject.
        """
        with self._lock:
            plan, state = self._engine.plan, self._engine.state
            return look(plan, state, state.engine_time if self.lag else max(self._clock.now_ms(), state.engine_time))

    def explained(self, trigger_id: str, subject: str) -> Standing | None:
        """How it stands between one of the server's triggers and a subject; None when either is not known here."""
        with self._lock:
            plan, state = self._engine.plan, self._engine.state
            trigger, person = plan.triggers.get(trigger_id), self._links.canonical(subject)
            if trigger is None or person not in state.subjects:
                return None
            return standing(plan, state, trigger, person, Moment(max(self._clock.now_ms(), state.engine_time), online=True))

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self.step():
                    continue
                if not self._news.wait(IDLE_S):
                    self._keep(force=True)
                self._news.clear()
            except Exception:  # a full disk, say: what is stored stays, the fold goes on when it can
                _log.exception("the fold failed and tries again")
                self._stop.wait(1.0)

    def step(self) -> bool:
        """One piece of what is due; False when nothing is. On the fold's thread, or on the only one there is."""
        if self._advance() or any(chore() for chore in self.chores) or self._tick_due():
            return True
        if self._deliveries.expire(self._clock.now_ms()):
            return True
        if self._store.tidy():
            self.precedence.give_way()
            return True
        return False

    def _advance(self) -> bool:
        """Fold the next batch; False when there is none."""
        rows = self._store.foldable(self._cursor, BATCH)
        if not rows:
            return False
        waiting = iter(rows)
        row = next(waiting, None)
        while row is not None and not self._stop.is_set():
            self.precedence.give_way()
            until = time.monotonic() + SLICE_S
            with self._lock:
                while row is not None:
                    if row.body is not None:
                        self._take(row, row.body)
                    self._cursor = row.server_seq
                    row = next(waiting, None)
                    if time.monotonic() > until:
                        break
        self.precedence.give_way()
        self._flush()
        changed, self._elsewhere = self._elsewhere, set()
        self.on_changed(changed)
        self._keep(force=False)
        return True

    def _take(self, row: Foldable, body: bytes) -> None:
        try:
            _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
            if isinstance(record, EventInput):
                # The server's own moment, not the device's: engine time here is the order of arrival.
                self.folded_count += 1
                event = record.event
                self._links.identified(row.server_seq, row.receive_time, event)
                person = self._links.canonical(event.subject)
                its = event if person == event.subject else dataclasses.replace(event, subject=person)
                self._receive(EventInput(Moment(row.receive_time, online=True), its))
                if row.of_service:
                    self._elsewhere.update(self._links.members(person))
            elif isinstance(record, CatalogInput):
                self._switch(record)
            else:
                self._receive(record)  # type: ignore[arg-type]  # the store hands over inputs only
        except Exception:  # one event that fits no definition must not stop those behind it
            self.unfoldable_count += 1
            _log.exception("record %d could not be folded", row.server_seq)

    def _switch(self, given: CatalogInput) -> None:
        catalog = Catalog.from_bytes(self._store.catalogs()[given.catalog_digest])
        self._scorer = scorer_for(given.models, self._distribution)
        self._perform(self._engine.receive(given, catalog), given.moment)

    def _receive(self, given: Input) -> None:
        self._perform(self._engine.receive(given), given.moment)

    def _perform(self, effects: list[Effect], moment: Moment) -> None:
        wanted: dict[str, list[RequestScore]] = {}
        for effect in effects:
            if isinstance(effect, RecordEffect):
                self._outputs.append(DecisionOutput(effect.decision))
            elif isinstance(effect, RequestScore):
                wanted.setdefault(effect.cause_id, []).append(effect)
        for cause_id, requests in wanted.items():
            scored = ScoresInput(moment, cause_id, tuple(self._scores(requests)))
            self._perform(self._engine.receive_scores(scored), moment)

    def _scores(self, requests: list[RequestScore]) -> Iterator[tuple[str, Scored]]:
        for request in requests:
            try:
                yield request.subject, score_of(self._scorer, request)
            except ScoringError:
                _log.exception("model %s failed", request.model_id)

    def _tick_due(self) -> bool:
        """Write a tick into the log when engine time has reached a deadline."""
        deadline = self._engine.next_deadline()
        now = self._clock.now_ms()
        if deadline is None or now < deadline:
            return False
        with self._store.transaction() as transaction:
            transaction.insert(own_row(TickInput(Moment(now, online=True)), now))
            transaction.count("records", 1)
        return True

    def rebuild(self, subject: str) -> None:
        """Make a subject's state anew from what the log holds now of it and of whoever is linked to it, or forget it: nothing is
        folded for a subject that is somebody. For `chores`: on this thread only.
        """
        self._flush()
        events = []
        members = self._links.members(subject) if self._links.canonical(subject) == subject else ()
        for receive_time, body in self._store.events_of(members, self._cursor) if members else ():
            _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
            if isinstance(record, EventInput):
                events.append((receive_time, record.event))
        state = self._engine.state
        plan = self._engine.plan
        fired = self._store.fired_of(subject)
        held, now = state.subjects.get(subject), state.engine_time
        made = refolded(plan.catalog, state.models, subject, events, self._scores, fired, held, now) if events else None
        with self._lock:
            if made is None:
                state.subjects.pop(subject, None)
                state.dirty.discard(subject)
                state.dropped.add(subject)
            else:
                state.touch_count += held is None
                made.touched = held.touched if held is not None else state.touch_count
                state.subjects[subject] = made
                self._engine.resume(subject)
                state.dirty.add(subject)
                state.dropped.discard(subject)
        self._kept_cursor = -1  # what is kept is not the state, however little was folded since
        self._keep(force=True)

    # -- keeping --------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write decisions, and who is who; an id that is there already came from an earlier run over the same events."""
        self._links.write()
        if not self._outputs:
            return
        now = self._clock.now_ms()
        with self._store.transaction() as transaction:
            fresh = [record for record in self._outputs if transaction.insert(own_row(record, now))]
            for_devices = [one.decision for one in fresh if not self._acting.decided(transaction, one.decision)]
            for decision in for_devices:
                self._deliveries.decided(transaction, decision)
            transaction.count("records", len(fresh))
        self._outputs.clear()
        self._deliveries.announce(for_devices)

    def _keep(self, *, force: bool) -> None:
        """Keep state and cursor in one transaction, when enough was folded (or `force`)."""
        if self._cursor == self._kept_cursor or (not force and self._cursor - self._kept_cursor < SNAPSHOT_EVERY):
            return
        self._flush()
        state = self._engine.state
        # Packed here, where nobody waits for it; in the transaction everybody who stores would. Only this thread changes the
        # state, so it needs no lock to read it.
        changed = []
        for key in state.dirty:
            if key in state.subjects:
                changed.append((key, self._store.packed(state.subjects[key].to_plain())))
                if len(changed) % SUBJECTS_SLICE == 0:
                    self.precedence.give_way()
        with self._lock:
            self._engine.condition_counts()
            head = {
                "cursor": self._cursor,
                "folded": self.folded_count,
                "unfoldable": self.unfoldable_count,
                "state": state.head_plain(),
            }
            with self._store.transaction() as transaction:
                transaction.keep_subjects(changed, state.dropped)
                transaction.keep("snapshot", head)
            state.dirty.clear()
            state.dropped.clear()
            self._kept_cursor = self._cursor

    def _restore(self, head: dict[str, Any]) -> Engine:
        state = State.from_plain(head["state"], dict(self._store.subjects()))
        built = self._store.catalogs().get(state.catalog_digest)
        self._cursor = self._kept_cursor = head["cursor"]
        self.folded_count = head["folded"]
        self.unfoldable_count = head["unfoldable"]
        self._scorer = scorer_for(state.models, self._distribution)
        return Engine(Catalog.from_bytes(built) if built is not None else Catalog(), "server", state)
