"""The runtime: performs the engine's effects around one durable append per input.

capture -> engine -> scores -> decisions -> one durable append -> actions and questions go out. Owns the engine and the order
of writing: nothing is handed over before its record is durable. Must never open a connection or call a handler: both are ports.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Act, Effect, RequestScore
from reflexarc_core.engine import Engine
from reflexarc_core.errors import ScoringError
from reflexarc_core.event import CONSENT, IDENTIFY, OUTCOME, RESET, Event
from reflexarc_core.model import ItemScorer, LiveModel, Scored, Scorer
from reflexarc_core.plan import Plan
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    ControlInput,
    DecisionOutput,
    EventInput,
    Input,
    LeaseInput,
    Moment,
    Record,
    ScoresInput,
    TickInput,
    ValuesInput,
)
from reflexarc_core.state import SubjectState
from reflexarc_edge.entry import NORMAL, Taken
from reflexarc_edge.log import Log
from reflexarc_edge.outcome import Outcome, by_cause, scored_by
from reflexarc_edge.owed import Owed
from reflexarc_edge.recovery import recover
from reflexarc_edge.spool import breathe

SNAPSHOT_EVERY_RECORDS: Final = 20_000
SNAPSHOT_EVERY_SUBJECTS: Final = 500
LEASE_LATER_MS: Final = 3_600_000
"""A lease that ends later than known by less than this is no news."""
LEASE_ENDS_MS: Final = 6 * 3_600_000
"""A lease with less to go is asked for again, so that a device that goes offline then has one."""
CAPTURES_AT_ONCE: Final = 16
"""Folded under one hold of the lock, so that a caller never waits for a whole backlog."""
RESERVED: Final = (CONSENT, IDENTIFY, OUTCOME, RESET)


class Runtime:
    """One engine over one log. Thread-safe: every input runs under one lock, on the caller's thread.

    hand_over: takes a fired decision to its handlers, False when nobody will deliver it. ask: takes a question to the
    server; its answer comes back through `answer`. on_scoring_error: told of a model that failed. on_error: told of a
    port that raised. No port is called with the lock held.
    """

    def __init__(
        self,
        log: Log,
        scorer: Scorer,
        *,
        hand_over: Callable[[Decision], object],
        ask: Callable[[RequestScore], object],
        on_scoring_error: Callable[[ScoringError], None],
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._log = log
        self._spool = log.spool
        self._scorer = scorer
        self._hand_over = hand_over
        self._ask = ask
        self._on_scoring_error = on_scoring_error
        self._on_error = on_error
        self._refresh_time = 0
        self.lock: Final = threading.RLock()
        """Of the engine: held for one input. Whoever writes to the log holds it."""
        self._snapshot_seq = 0
        self._ahead = False
        self.recovered_count = 0
        self.decision_counts: dict[str, int] = {}
        self.owed: Final = Owed(log, self.lock, lambda: self.engine, self.decision_counts)
        self._captured_count = self._adopted_count = 0
        self._append_capture = log.append_capture
        self._waits_for: dict[str, bool] = {}
        self._late: list[Record] = []
        self.notes: list[str] = []
        """What a start had to give up of the kept state, one line each."""
        self.engine = self._recover()
        log.adopt = self.adopt
        log.spool.fold_some = self._fold_some
        log.spool.cover = self._cover

    @property
    def engine_time(self) -> int:
        """Engine time of the newest input, ms."""
        return self.engine.state.engine_time

    # -- inputs ---------------------------------------------------------------------------------------------------

    def capture(
        self, event: Event, moment: Moment, *, priority: int = NORMAL, held: bool = False, taken: Taken | None = None
    ) -> list[Decision]:
        """Take one event in; safe against `kill -9` when this returns. What was decided at once.

        held: kept in memory until the next input is written. taken: the other process's capture it was. Raises
        StorageError, nothing kept then.
        """
        outcome = self._decide(EventInput(moment, event), None, priority, held, taken)
        self._captured_count += 1
        if outcome.acts or outcome.questions or outcome.scoring_errors:
            self._deliver(outcome)
        return outcome.decisions

    def waits_for(self, event_type: str) -> bool:
        """Whether anything could be decided on such an event: a model scores on it or a trigger listens to it."""
        found = self._waits_for.get(event_type)
        if found is None:
            plan = self.engine.plan
            found = event_type in RESERVED or plan.waits_for(event_type)
            if event_type in plan.catalog.event_types:
                self._waits_for[event_type] = found
        return found

    @property
    def accepted_count(self) -> int:
        """Events taken in since the start, folded or waiting to be."""
        return self._captured_count + self._adopted_count + self._log.spool.captures_waiting

    def keep_capture(self, body: bytes) -> int:
        """Keep an event that nothing waits for, to be folded a moment later; safe against `kill -9` when this returns.

        Its number. Raises StorageError, nothing kept then.
        """
        with self.lock:
            return self._append_capture(body)

    def adopt(self) -> None:
        """Fold what was kept to be folded later."""
        while self._adopt_some():
            breathe()

    def tick(self, moment: Moment) -> list[Decision]:
        """Run what is due by engine time; does nothing when nothing is."""
        with self.lock:
            deadline = self.engine.next_deadline()
            if deadline is None or moment.now < deadline:
                return []
            return self._take(TickInput(moment))

    def answer(self, decision_id: str, scored: Scored | None, unavailable: str, moment: Moment) -> list[Decision]:
        """The end of an escalation."""
        return self._take(AnswerInput(moment, decision_id, scored, unavailable))

    def values(self, subject: str, as_of_time: int, values: Mapping[str, float], moment: Moment) -> None:
        """Subject-scoped values came down. The same ones are not written again while they are fresh, or known as of that time."""
        with self.lock:
            held = self.engine.state.subjects.get(subject)
            if held is not None and all(
                held.values.get(name, (None, 0))[0] == value
                and (held.values[name][1] >= as_of_time or not self._is_aging(name, held.values[name][1], moment.now))
                for name, value in values.items()
            ):
                return
            self._take(ValuesInput(moment, subject, as_of_time, values))

    def lease(self, given: tuple[str, str, str, int, int], moment: Moment) -> None:
        """The server gave uses of a global cap: (subject, cap, lease, tokens, when it ends in ms). One that only ends a little
        later than known is not written again."""
        subject, cap, lease_id, tokens, expire_time = given
        with self.lock:
            held = self.engine.state.subjects.get(subject)
            leases = held.ledger.leases.get(f"cap:{cap}", ()) if held is not None and held.ledger is not None else ()
            known = next((lease for lease in leases if lease.lease_id == lease_id), None)
            if known is None or known.tokens != tokens or expire_time - known.expire_time >= LEASE_LATER_MS:
                self._take(LeaseInput(moment, *given))

    def subjects_to_refresh(self, moment: Moment, count_max: int) -> list[str]:
        """Subjects with a subject-scoped value that is absent, or a quarter of the way to being STALE, or with a lease that ends.

        The caller fetches these before it asks again: after a look at everybody the next look may wait.
        """
        with self.lock:
            plan = self.engine.plan
            if not (plan.remote_features or plan.leased_caps) or moment.now < self._refresh_time:
                return []
            due = (subject for subject, held in self.engine.state.subjects.items() if self._is_due(held, moment.now))
            found = list(itertools.islice(due, count_max))
            if len(found) < count_max:
                lives = [definition.stale_ms for definition in plan.remote_features.values() if definition.stale_ms]
                self._refresh_time = moment.now + min(lives, default=LEASE_ENDS_MS) // 16
            return found

    def _is_due(self, held: SubjectState, now: int) -> bool:
        remote = self.engine.plan.remote_features
        if any(name not in held.values or self._is_aging(name, held.values[name][1], now) for name in remote):
            return True
        leases = held.ledger.leases if held.ledger is not None and self.engine.plan.leased_caps else {}
        return any(lease.is_open(now) and lease.expire_time - now < LEASE_ENDS_MS for given in leases.values() for lease in given)

    def newest_subjects(self, count_max: int) -> list[str]:
        """The subjects touched last, newest first."""
        with self.lock:
            return list(itertools.islice(reversed(self.engine.state.subjects), count_max))

    def _is_aging(self, name: str, as_of_time: int, now: int) -> bool:
        definition = self.engine.plan.remote_features.get(name)
        return definition is not None and definition.stale_ms > 0 and now - as_of_time > definition.stale_ms // 4

    def pause(self, triggers: tuple[str, ...], moment: Moment) -> None:
        """Replace the set of paused triggers; `*` pauses all. Does nothing when it is the same."""
        with self.lock:
            if set(triggers) != self.engine.state.paused:
                self._take(ControlInput(moment, tuple(sorted(triggers))))

    def switch(self, catalog: Catalog, models: Mapping[str, LiveModel], scorer: Scorer, moment: Moment) -> None:
        """Make a catalog and its models live, between two inputs. Raises DefinitionError and keeps the old ones.

        What it decides with is made before that, while events are taken in as ever.
        """
        plan = Plan(catalog, self.engine.placement, models)
        for _ in plan.preparing():
            breathe()
        kept = catalog.to_bytes()
        with self.lock:
            self._log.keep_catalog(catalog.digest, kept)
            given = CatalogInput(moment, catalog.digest, catalog.version, models)
            # Nothing scores during a switch: the scorer follows the engine, and not when the switch failed.
            outcome = self._decide(given, catalog, plan=plan)
            self._waits_for = {}
            self._scorer = scorer
            self._refresh_time = 0
        self._deliver(outcome)

    def use(self, scorer: Scorer) -> None:
        """Score by this from now on: the same artifacts, held by another object."""
        with self.lock:
            self._scorer = scorer

    def take_sent(self, decision: Decision, moment: Moment) -> None:
        """A decision of one of the server's triggers: delivered like the device's own, once. See `Owed.take`."""
        if self.owed.take(decision, moment):
            outcome = Outcome()
            outcome.acts.append(decision)
            self._deliver(outcome)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For the length of the block nothing changes, and everything captured before it is folded."""
        with self.lock:
            self.adopt()
            yield

    def condition_counts(self) -> dict[str, dict[str, int]]:
        """How often each clause of each trigger was the first to be false."""
        with self.reading():
            return {trigger_id: dict(clauses) for trigger_id, clauses in self.engine.condition_counts().items()}

    def drop_subject(self, subject: str) -> None:
        """Nothing is known of this subject any more."""
        with self.lock:
            state = self.engine.state
            held = state.subjects.pop(subject, None)
            if isinstance(self._scorer, ItemScorer):
                self._scorer.forget(subject)
            if held is not None:
                self.owed.undelivered.difference_update(held.open)
                state.dirty.discard(subject)
                state.dropped.add(subject)

    def keep_snapshot(self, *, force: bool = False, whole: bool = False) -> None:
        """Keep the state, when enough was written since the last time (or `force`). whole: every subject anew.

        Callers wait while what changed is copied, not while it is written.
        """
        spool = self._log.spool
        if force:
            self.adopt()
        with self.lock:
            self._catch_up()
            if self._log.held:
                self.adopt()
            state = self.engine.state
            seq = spool.folded_seq
            grown = seq - self._snapshot_seq
            whole = whole or spool.state_lost
            is_due = grown >= SNAPSHOT_EVERY_RECORDS or len(state.dirty) >= SNAPSHOT_EVERY_SUBJECTS or whole
            if not (grown or whole) or not (force or is_due):
                return
            self.engine.condition_counts()
            head = state.head_plain()
            keys = list(state.subjects) if whole else [s for s in state.dirty if s in state.subjects]
            changed = {key: state.subjects[key].to_plain() for key in keys}
            dropped = set(state.dropped)
            state.dirty.clear()
            state.dropped.clear()
        try:
            self._log.keep_snapshot(head, changed, dropped, upto_seq=seq, whole=whole)
        except BaseException:
            with self.lock:  # it is still to be kept
                self.engine.state.dirty |= changed.keys()
                self.engine.state.dropped |= dropped - self.engine.state.subjects.keys()
            raise
        self._snapshot_seq = seq
        if spool.state_lost and not whole:  # the store was mended while this was written: what it held besides is not known
            self.keep_snapshot(force=True, whole=True)

    def _cover(self) -> int:
        self.keep_snapshot(force=True)
        return self._snapshot_seq

    @property
    def snapshot_seq(self) -> int:
        """Number of the last record the kept state holds."""
        return self._snapshot_seq

    def expire_unhanded(self, moment: Moment) -> None:
        """After a restart: what was open at the server is answered, what was never handed over expires.

        An action with a life that is not over is handed over now.
        """
        with self.lock:
            waiting = [d for subject in self.engine.state.subjects.values() for d in subject.open]
            for decision_id in sorted(waiting):
                self._decide(AnswerInput(moment, decision_id, None, "restart"))
            owed = self.owed.expire_late(moment)
        outcome = Outcome()
        outcome.acts += owed
        self._deliver(outcome)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _take(self, given: Input) -> list[Decision]:
        outcome = self._decide(given)
        self._deliver(outcome)
        return outcome.decisions

    def _decide(
        self,
        given: Input,
        catalog: Catalog | None = None,
        priority: int = NORMAL,
        held: bool = False,
        taken: Taken | None = None,
        plan: Plan | None = None,
    ) -> Outcome:
        """One input through the engine and into the log: both, or neither."""
        outcome = Outcome([given])
        with self.lock:
            self._catch_up()
            if self._spool.captures_waiting:
                self.adopt()
            # Whatever goes wrong from here on, an interrupt too, leaves the engine ahead of the log.
            self._ahead = True
            self._perform(self.engine.receive(given, catalog, plan), given.moment, outcome)
            if held and not outcome.acts:
                self._log.hold(outcome.records, priority)
            else:
                self._log.append(outcome.records, priority=priority, taken=taken)
            self._ahead = False
            self.owed.undelivered.update([decision.decision_id for decision in outcome.acts])
            for decision in outcome.decisions:
                self.decision_counts[decision.reason] = self.decision_counts.get(decision.reason, 0) + 1
        return outcome

    def _catch_up(self) -> None:
        """Take the engine back to what the log holds, where it went ahead. Raises StorageError while there is no room."""
        if self._ahead:
            self._log.drain()
            self.engine = self._recover()
            self._waits_for = {}
            self._ahead = False

    def _fold_some(self, count: int) -> None:
        """Fold so many captures, a few under each hold of the lock."""
        while count > 0 and self._adopt_some(min(count, CAPTURES_AT_ONCE)):
            count -= CAPTURES_AT_ONCE
            breathe()

    def _adopt_some(self, count_max: int = CAPTURES_AT_ONCE) -> bool:
        """Fold some captures and, behind the last, write what was held in memory; whether there may be more."""
        with self.lock:
            count = 0
            outcome = Outcome()
            for record in self._log.take_captures(count_max):
                count += 1
                self._adopted_count += 1
                if not self._ahead:  # else the engine is made anew from the log, and this is in it
                    self._perform(self.engine.receive(record), record.moment, outcome)
            # A capture sets nothing off, but a new subject may end what waited for one that makes room.
            self._late += outcome.records
            if count == count_max:
                return True
            self._log.write_held()
            if self._late and not self._log.spool.captures_waiting:
                late, self._late = self._late, []
                self._log.append(late)
            return False

    def _deliver(self, outcome: Outcome) -> None:
        """What is in the log goes out. A port that fails makes nothing undone: an action stays pending in the store."""
        for error in outcome.scoring_errors:
            self._on_scoring_error(error)
        for decision in outcome.acts:
            if self._guarded(self._hand_over, decision) is False:
                self.owed.undelivered.discard(decision.decision_id)
        for question in outcome.questions:
            self._guarded(self._ask, question)

    def _guarded(self, port: Callable[[Any], object], given: Any) -> object:
        try:
            return port(given)
        except Exception as error:
            if self._on_error is not None:
                self._on_error(error)
            return False

    def _perform(self, effects: Sequence[Effect], moment: Moment, outcome: Outcome) -> None:
        """Perform effects until none is left; scores go straight back in, as inputs of their own."""
        wanted: list[RequestScore] = []
        for effect in effects:
            if type(effect) is DecisionOutput:
                outcome.records.append(effect)
                outcome.decisions.append(effect.decision)
            elif type(effect) is Act:
                outcome.acts.append(effect.decision)
            elif type(effect) is RequestScore:
                (wanted if effect.where == "host" else outcome.questions).append(effect)
        for cause_id, requests in by_cause(wanted) if wanted else ():
            self._score(cause_id, requests, moment, outcome)

    def _score(self, cause_id: str, requests: Sequence[RequestScore], moment: Moment, outcome: Outcome) -> None:
        scored = ScoresInput(moment, cause_id, scored_by(self._scorer, requests, outcome))
        outcome.records.append(scored)
        self._perform(self.engine.receive_scores(scored), moment, outcome)

    def _recover(self) -> Engine:
        found = recover(self._log)
        self._snapshot_seq = found.snapshot_seq
        self.recovered_count = found.record_count
        self.notes += [note for note in found.notes if note not in self.notes]
        return found.engine
