"""The engine: inputs in, effects out.

event -> feature state -> score (+ confidence) -> condition -> decision -> action. Owns what an input folds into and what
it sets off; how one decision is reached is `conclude`'s. A pure function of (catalog, state, input): no I/O, no clock, no
randomness, so the same log gives the same decisions byte for byte on a device, on the server and in replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from reflexarc_core.bucket import stable_id
from reflexarc_core.catalog import Catalog
from reflexarc_core.crossing import cross, cross_by_time, cross_on_values
from reflexarc_core.effect import Effect, RequestScore, Schedule, with_interactions
from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.evaluate import Cause, Completed, Match, by_subject, completions, decided, follow, matched
from reflexarc_core.event import CONSENT, OUTCOME, RESET, Event
from reflexarc_core.fold import fold_event
from reflexarc_core.ledger import Lease
from reflexarc_core.operands import feature_value
from reflexarc_core.plan import Plan
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    ControlInput,
    EventInput,
    Input,
    LeaseInput,
    Moment,
    ScoresInput,
    TickInput,
    ValuesInput,
)
from reflexarc_core.state import SUBJECTS_MAX, State, SubjectState
from reflexarc_core.switch import carry_over
from reflexarc_core.ticks import begin_ticks, due_scores, next_tick
from reflexarc_core.timers import HELD, LOOK, WAIT, Timers, Waiter, timer_id, waits_of
from reflexarc_core.waiting import expired, left, next_step, opened, outcome_of, released

_OF_THE_PERSON: Final = (CONSENT, RESET)
TIMERS_AT_ONCE: Final = 1_000
"""Looked at on one tick: what is left is due at once, on the next."""

Reading = tuple[str, tuple[str, ...], dict[str, float], int, int]
"""What was read on an event whose scores are due: its id, the models, the features, engine time, touches so far."""


class Engine:
    """One engine over one state. `placement` is `edge` or `server`; it loads only that placement's triggers.
    `device_id`: the installation, the unit of a holdout by device; a snapshot keeps it.

    The shell performs the effects in order and must answer every `RequestScore(where="host")` with a ScoresInput
    before the next input.
    """

    def __init__(self, catalog: Catalog, placement: str, state: State | None = None, device_id: str = "") -> None:
        self.state: Final = state if state is not None else State()
        self.state.device_id = device_id or self.state.device_id
        self.placement: Final = placement
        self.plan = Plan(catalog, placement, self.state.models)
        self.state.catalog_digest = catalog.digest
        self._awaited: dict[str, Event] = {}
        self._completed: dict[str, list[Completed]] = {}
        self._reading: Reading | None = None
        self._open = {decision_id: key for key, kept in self.state.subjects.items() for decision_id in kept.open}
        self._timers = Timers(self.state.subjects)

    # -- inputs ---------------------------------------------------------------------------------------------------

    def receive(self, given: Input, catalog: Catalog | None = None, plan: Plan | None = None) -> list[Effect]:
        """Any input of the log. A CatalogInput needs the catalog it names, and may have its plan. The effects, in order."""
        if not isinstance(given, CatalogInput):
            return _RECEIVE[type(given)](self, given)
        if catalog is None or catalog.digest != given.catalog_digest:
            raise DefinitionError(f"catalog {given.catalog_digest[:12]} is not at hand", hint="keep every catalog the log names")
        return self.receive_catalog(given, catalog, plan)

    def receive_event(self, event: Event, moment: Moment) -> list[Effect]:
        """Fold one event, ask for the scores that are due on it, evaluate what is due on it.

        Raises InvalidEventError, and nothing has changed, for a consent that does not say what for.
        """
        event_type = event.event_type
        if event_type == CONSENT and not {"purpose", "granted"} <= event.properties.keys():
            raise InvalidEventError("a consent without its purpose or its answer")
        now = self._advance(moment)
        effects: list[Effect] = []
        subject_key, cause_id = event.subject, event.event_id
        subject = self._touch(subject_key, moment, effects)
        if subject.ledger is not None and subject.ledger.instances:
            self._end_waits(subject_key, subject, min(now, event.event_time), moment, effects)
        arrival = self.plan.arrivals.get(event_type) or self.plan.arrival(event_type)
        fold_event(subject, event, arrival, now)
        if event_type in _OF_THE_PERSON:
            if event_type == RESET:
                self._end(subject_key, moment, effects)
                return effects
            subject.consents[str(event.properties["purpose"])] = bool(event.properties["granted"])
        if arrival.exits:
            effects += left(self.state, subject, arrival.exits, moment)
        if event_type == OUTCOME:  # behind the exits: whoever has left takes no further step
            self._go_on(subject_key, subject, event, moment, effects)
        completed = follow(self.plan, self._timers, subject_key, subject, arrival, event, now) if arrival.followers else []
        found = arrival.features(subject.vector, subject.older, subject.values, now)
        if arrival.watched:
            completed += cross(self.plan, self.state, self._timers, subject_key, subject, arrival.watched, found, now)
        scores_due = False
        for scoring in arrival.scorings:
            vector = scoring.vector(found)
            if vector is not None:
                ask = RequestScore(cause_id, subject_key, scoring.model_id, vector, "host", scoring.factors_above)
                effects.append(ask if not scoring.ranks else with_interactions(ask, subject.interactions))
                scores_due = True
        if scores_due:
            self._awaited[cause_id] = event
            if completed:
                self._completed[cause_id] = completed
            self._reading = (cause_id, arrival.scored, found, now, self.state.touch_count)
        else:
            self._evaluate(subject_key, subject, event, cause_id, (), moment, effects, found, completed)
        return effects

    def receive_scores(self, given: ScoresInput) -> list[Effect]:
        """Scores of the host's own models for one cause; evaluates what waited for them."""
        now = self._advance(given.moment)
        event = self._awaited.pop(given.cause_id, None)
        completed = self._completed.pop(given.cause_id, []) if self._completed else []
        effects: list[Effect] = []
        scored_of = by_subject(given.scores, event)
        for subject_key, scores in scored_of:
            models = (scores[0].model_id,) if len(scores) == 1 else tuple(sorted([scored.model_id for scored in scores]))
            found = self._read_on(given.cause_id, models, now) if event is not None and len(scored_of) == 1 else None
            subject = self._touch(subject_key, given.moment, effects)
            for scored in scores:
                subject.scores[scored.model_id] = scored
            its = completed if event is not None and event.subject == subject_key else []
            self._evaluate(subject_key, subject, event, given.cause_id, models, given.moment, effects, found, its)
        return effects

    def receive_answer(self, given: AnswerInput) -> list[Effect]:
        """The end of an escalation. The answer keeps the decision's id and adds its second record."""
        self._advance(given.moment)
        subject_key = self._open.pop(given.decision_id, "")
        subject = self.state.subjects.get(subject_key)
        if subject is None or given.decision_id not in subject.open:
            return []
        held = subject.open.pop(given.decision_id)
        self.state.dirty.add(subject_key)
        trigger = self.plan.triggers.get(held.trigger_id)
        if trigger is None:
            return []
        case = opened(self.plan, self.state, trigger, subject_key, subject, held, given.decision_id, given.moment)
        effects = case.answered(given)
        self._timers.set_for(subject_key, held.trigger_id, given.decision_id)
        return effects

    def receive_time(self, moment: Moment) -> list[Effect]:
        """Engine time passed: waits are over, held actions may act, segments are left, models that score by the clock ask."""
        now = self._advance(moment)
        effects: list[Effect] = []
        self._run_timers(now, moment, effects)
        effects += due_scores(self.plan, self.state, now)
        deadline = self.next_deadline()
        if deadline is not None:
            effects.append(Schedule(deadline))
        return effects

    def receive_values(self, given: ValuesInput) -> list[Effect]:
        """Subject-scoped values from the server. Never merged with local counts; older ones are ignored."""
        self._advance(given.moment)
        effects: list[Effect] = []
        if given.subject.startswith("session:") and given.subject not in self.state.subjects:
            return effects  # it has ended: what the server still knows of it must not bring it back
        subject = self._touch(given.subject, given.moment, effects)
        for name, value in given.values.items():
            held = subject.values.get(name)
            if held is None or held[1] <= given.as_of_time:
                subject.values[name] = (value, given.as_of_time)
        crossed = cross_on_values(self.plan, self.state, self._timers, given.subject, subject, given.values)
        if crossed:
            cause_id = stable_id("values", given.subject, str(given.as_of_time), self.state.device_id)
            self._complete(crossed, given.subject, subject, Cause(cause_id, given.as_of_time, None), given.moment, effects)
        return effects

    def receive_lease(self, given: LeaseInput) -> list[Effect]:
        """Uses of a global cap, given in advance."""
        now = self._advance(given.moment)
        effects: list[Effect] = []
        if not given.subject.startswith("session:"):  # a session lives on this device alone and needs none
            subject = self._touch(given.subject, given.moment, effects)
            granted = Lease(given.lease_id, given.tokens, given.expire_time)
            subject.its_ledger().grant(f"cap:{given.cap}", granted, now)
        return effects

    def receive_control(self, given: ControlInput) -> list[Effect]:
        """The set of paused triggers, whole."""
        self._advance(given.moment)
        self.state.paused = set(given.paused)
        return []

    def receive_catalog(self, given: CatalogInput, catalog: Catalog, plan: Plan | None = None) -> list[Effect]:
        """Switch the catalog. Unchanged features keep their cells; changed ones start empty and are WARMING. What waits for the
        server is concluded first, as at its deadline, by the version that opened it; looks that are due too.

        plan: of this catalog and these models, prepared ahead; made here without one."""
        now = self._advance(given.moment)
        old = self.plan
        effects: list[Effect] = []
        if old.catalog.digest != catalog.digest:
            for decision_id in sorted(self._open):
                effects += self.receive_answer(AnswerInput(given.moment, decision_id, None, "the catalog changed"))
            for subject_key, subject in list(self.state.subjects.items()) if old.watch.names else ():
                self._look(subject_key, subject, given.moment, effects)
        self._keep_counts()
        self.state.models = dict(given.models)
        self.state.catalog_digest = catalog.digest
        self.plan = plan or Plan(catalog, self.placement, self.state.models)
        self._reading = None
        begin_ticks(self.plan, self.state, now)
        if old.catalog.digest != catalog.digest:
            carry_over(self.state, old, self.plan, now)
            for subject_key in self.state.subjects if self.plan.watch.names else ():
                self._timers.resume(subject_key)
        for model_id in old.live.keys() - self.plan.live.keys():
            for subject_key, subject in self.state.subjects.items():
                if subject.scores.pop(model_id, None) is not None:
                    self.state.dirty.add(subject_key)
        deadline = self.next_deadline()
        if deadline is not None:
            effects.append(Schedule(deadline))
        return effects

    def next_deadline(self) -> int | None:
        """Engine time (ms) at which a TickInput is due; None when nothing waits for time."""
        due = (next_tick(self.plan, self.state), self._timers.next_due(self.plan.triggers))
        return min((time for time in due if time is not None), default=None)

    def resume(self, subject_key: str) -> None:
        """A subject's state was put in place by somebody else: wait for what it waits for."""
        self._timers.resume(subject_key)

    # -- reading --------------------------------------------------------------------------------------------------

    def feature_values(self, subject_key: str, now: int) -> dict[str, float]:
        """Every feature of a subject as of `now` (ms): folded ones aged, sent ones as they came. Absent ones left out."""
        subject = self.state.subjects.get(subject_key)
        if subject is None:
            return {}
        values = {name: feature_value(self.plan, subject, name, now, None) for name in self.plan.catalog.features}
        return {name: value for name, value in values.items() if value is not None}

    def condition_counts(self) -> dict[str, dict[str, int]]:
        """How often each clause of each trigger was the first to be false, or had no value."""
        self._keep_counts()
        return self.state.counts

    # -- inside ---------------------------------------------------------------------------------------------------

    def _advance(self, moment: Moment) -> int:
        if moment.now > self.state.engine_time:
            self.state.engine_time = moment.now
        return self.state.engine_time

    def _touch(self, subject_key: str, moment: Moment, effects: list[Effect]) -> SubjectState:
        """The subject, made the most recent one; a new one may cost the least recent its place."""
        state = self.state
        count = state.touch_count
        subject = state.subjects.get(subject_key)
        if subject is None or not 0 < subject.touched == count:  # else it is the most recent one already
            subject = self._moved_up(subject_key, subject, moment, effects)
        state.touch_count = subject.touched = count + 1
        state.dirty.add(subject_key)
        if subject.membership is not None:
            self._look(subject_key, subject, moment, effects)
        return subject

    def _moved_up(self, subject_key: str, subject: SubjectState | None, moment: Moment, effects: list[Effect]) -> SubjectState:
        subjects = self.state.subjects
        subjects.pop(subject_key, None)
        if subject is None:
            subject = SubjectState(self.plan.layouts[""].empty())
            if len(subjects) >= SUBJECTS_MAX:
                oldest = next(iter(subjects))
                self._expire_open(oldest, moment, "the subject made room for another", effects)
                self._drop(oldest)
        subjects[subject_key] = subject
        return subject

    def _read_on(self, cause_id: str, models: tuple[str, ...], now: int) -> dict[str, float] | None:
        """The features read on the event itself, where no time has passed and nothing was touched since; else None."""
        if self._reading is None:
            return None
        read_for, asked, found, then, touch_count = self._reading
        if read_for != cause_id or then != now or touch_count != self.state.touch_count:
            return None
        return found if models == asked or set(models) <= set(asked) else None

    def _evaluate(
        self,
        subject_key: str,
        subject: SubjectState,
        event: Event | None,
        cause_id: str,
        scored: tuple[str, ...],
        moment: Moment,
        effects: list[Effect],
        found: dict[str, float] | None,
        completed: Sequence[Completed] = (),
    ) -> None:
        """Evaluate what is due. found: features already read, at least those the conditions read. completed: patterns."""
        now = self.state.engine_time
        held = self.plan.group(event.event_type if event is not None else "", scored)
        if held is None and not completed:
            return
        matches: list[Match] = []
        if held is not None:
            matches = matched(self.plan, self.state, held, "", subject_key, subject, event, found)
        if matches or completed:
            cause = Cause(cause_id, event.event_time if event is not None else now, event)
            self._complete(completed, subject_key, subject, cause, moment, effects, matches)

    def _complete(
        self,
        completed: Sequence[Completed],
        subject_key: str,
        subject: SubjectState,
        cause: Cause,
        moment: Moment,
        effects: list[Effect],
        matches: Sequence[Match] = (),
    ) -> None:
        """Patterns that are complete, segments that were crossed: decided among the matches of the same cause, in one order."""
        if completed:
            matches = [*matches, *completions(self.plan, self.state, completed, subject_key, subject, cause.event)]
            matches.sort(key=lambda one: (-one.course.trigger.policy.priority, one.course.trigger.trigger_id, one.instance))
        for match in matches:
            self._decide(match, subject_key, subject, cause, moment, effects)

    def _decide(
        self, match: Match, subject_key: str, subject: SubjectState, cause: Cause, moment: Moment, effects: list[Effect]
    ) -> None:
        """One condition is true: the decision, and what waits for it."""
        decision_id, concluded = decided(self.plan, self.state, match, subject_key, subject, cause, moment)
        effects += concluded
        if decision_id in subject.open:
            self._open[decision_id] = subject_key
        if subject.ledger is not None:
            self._timers.set_for(subject_key, match.course.trigger.trigger_id, decision_id)

    # -- patterns, and what waits for time ------------------------------------------------------------------------

    def _go_on(self, subject_key: str, subject: SubjectState, event: Event, moment: Moment, effects: list[Effect]) -> None:
        """An outcome: the content sequence it belongs to may take its next step."""
        found = outcome_of(self.plan, subject, event)
        if found is not None:
            trigger, journey = found
            cause = Cause(event.event_id, event.event_time, event)
            effects += next_step(self.plan, self.state, subject_key, subject, trigger, journey, cause, moment)
            self._timers.set_for(subject_key, trigger.trigger_id, journey.decision_id)

    def _run_timers(self, now: int, moment: Moment, effects: list[Effect]) -> None:
        """What has waited until now, in the order in which it was due."""
        for _ in range(TIMERS_AT_ONCE):
            found = self._timers.pop_due(now, self.plan.triggers)
            if found is None:
                return
            due_time, waiter = found
            subject_key, kind, of, _ = waiter
            if kind == LOOK:
                self._look(subject_key, self.state.subjects[subject_key], moment, effects)
                continue
            subject = self._touch(subject_key, moment, effects)
            ledger = subject.its_ledger()
            if kind == HELD:
                held = ledger.held[of]
                effects += released(self.plan, self.state, subject, held, moment)
                self._timers.set_for(subject_key, held.fired.trigger_id, of)
                continue
            if kind == WAIT:
                self._end_wait(waiter, subject, due_time, moment, effects)
                continue
            trigger, journey = self.plan.triggers[of], ledger.journeys[of]
            cause = Cause(timer_id(waiter, due_time, self.state.device_id), due_time, None)
            effects += next_step(self.plan, self.state, subject_key, subject, trigger, journey, cause, moment)
            self._timers.set_for(subject_key, of, journey.decision_id)

    def _look(self, subject_key: str, subject: SubjectState, moment: Moment, effects: list[Effect]) -> None:
        """Time alone may have changed which segments it is in: seen before whatever else becomes of it."""
        membership, now = subject.membership, self.state.engine_time
        if membership is None or not 0 < membership.due_time <= now:
            return
        time, crossed = cross_by_time(self.plan, self.state, self._timers, subject_key, subject, now)
        if crossed:
            cause_id = timer_id(Waiter(subject_key, LOOK, ""), time, self.state.device_id)
            self._complete(crossed, subject_key, subject, Cause(cause_id, time, None), moment, effects)

    def _end_wait(self, waiter: Waiter, subject: SubjectState, due_time: int, moment: Moment, effects: list[Effect]) -> None:
        """What must not come did not: the pattern is complete."""
        subject_key, _, of, instance = waiter
        event = subject.its_ledger().forget_instance(of, instance).event
        cause = Cause(timer_id(waiter, due_time, self.state.device_id), due_time, event)
        group = self.plan.alone(self.plan.triggers[of])
        for match in matched(self.plan, self.state, group, instance, subject_key, subject, event, None):
            self._decide(match, subject_key, subject, cause, moment, effects)

    def _end_waits(self, subject_key: str, subject: SubjectState, upto: int, moment: Moment, effects: list[Effect]) -> None:
        """Its waits that were over when its event happened, though no tick has said so yet: the event must not undo them."""
        if self._timers.is_idle_until(upto):
            return
        for due_time, waiter in waits_of(subject_key, subject.its_ledger(), upto):
            if waiter.of in self.plan.triggers:
                self._end_wait(waiter, subject, due_time, moment, effects)

    def _end(self, subject_key: str, moment: Moment, effects: list[Effect]) -> None:
        """A session subject ended: what waited for it expires, its state goes."""
        self._expire_open(subject_key, moment, "the session ended", effects)
        if subject_key.startswith("session:"):
            self._drop(subject_key)

    def _drop(self, subject_key: str) -> None:
        del self.state.subjects[subject_key]
        self.state.dirty.discard(subject_key)
        self.state.dropped.add(subject_key)

    def _expire_open(self, subject_key: str, moment: Moment, why: str, effects: list[Effect]) -> None:
        """Whatever of this subject waits, for the server or for its hour, ends."""
        for decision_id in self.state.subjects[subject_key].open:
            self._open.pop(decision_id, None)
        effects += expired(self.plan, self.state, subject_key, moment, why)

    def _keep_counts(self) -> None:
        for trigger_id, clauses in self.plan.condition_counts().items():
            kept = self.state.counts.setdefault(trigger_id, {})
            for text, count in clauses.items():
                kept[text] = kept.get(text, 0) + count
        self.plan.clear_counts()


_RECEIVE: Final[dict[type, Callable[[Engine, Any], list[Effect]]]] = {
    EventInput: lambda engine, given: engine.receive_event(given.event, given.moment),
    ScoresInput: Engine.receive_scores,
    AnswerInput: Engine.receive_answer,
    TickInput: lambda engine, given: engine.receive_time(given.moment),
    ValuesInput: Engine.receive_values,
    LeaseInput: Engine.receive_lease,
    ControlInput: Engine.receive_control,
}
