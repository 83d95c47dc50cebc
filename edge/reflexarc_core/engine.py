"""The engine: inputs in, effects out.

event -> feature state -> score (+ confidence) -> condition -> decision -> action. Owns what an input folds into and what
it sets off; how one decision is reached is `conclude`'s. A pure function of (catalog, state, input): no I/O, no clock, no
randomness, so the same log gives the same decisions byte for byte on a device, on the server and in replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reflexarc_core.bucket import stable_id
from reflexarc_core.catalog import Catalog
from reflexarc_core.conclude import Case
from reflexarc_core.decision import Reason
from reflexarc_core.effect import Effect, RequestScore, Schedule
from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.event import CONSENT, RESET, Event, Value
from reflexarc_core.feature import Layout
from reflexarc_core.feature_source import forget
from reflexarc_core.model import ModelDefinition, Scored
from reflexarc_core.operands import feature_value, group_operands, operands
from reflexarc_core.plan import Arrival, Plan, Reads
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    ControlInput,
    EventInput,
    Input,
    Moment,
    ScoresInput,
    TickInput,
    ValuesInput,
)
from reflexarc_core.state import KEYS_PER_SUBJECT_MAX, SUBJECTS_MAX, OpenDecision, Operands, State, SubjectState
from reflexarc_core.trigger import Trigger

_OF_THE_PERSON: Final = (CONSENT, RESET)

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
        self._reading: Reading | None = None
        self._open = {decision_id: key for key, kept in self.state.subjects.items() for decision_id in kept.open}

    # -- inputs ---------------------------------------------------------------------------------------------------

    def receive(self, given: Input, catalog: Catalog | None = None) -> list[Effect]:
        """Any input of the log. A CatalogInput needs the catalog it names. Returns the effects, in order."""
        if isinstance(given, EventInput):
            return self.receive_event(given.event, given.moment)
        if isinstance(given, ScoresInput):
            return self.receive_scores(given)
        if isinstance(given, AnswerInput):
            return self.receive_answer(given)
        if isinstance(given, TickInput):
            return self.receive_time(given.moment)
        if isinstance(given, ValuesInput):
            return self.receive_values(given)
        if isinstance(given, ControlInput):
            return self.receive_control(given)
        if catalog is None or catalog.digest != given.catalog_digest:
            raise DefinitionError(f"catalog {given.catalog_digest[:12]} is not at hand", hint="keep every catalog the log names")
        return self.receive_catalog(given, catalog)

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
        arrival = self.plan.arrivals.get(event_type) or self.plan.arrival(event_type)
        self._fold(subject, event, arrival, now)
        if event_type in _OF_THE_PERSON:
            if event_type == RESET:
                self._end(subject_key, moment, effects)
                return effects
            subject.consents[str(event.properties["purpose"])] = bool(event.properties["granted"])
        found = arrival.features(subject.vector, subject.older, subject.values, now)
        scores_due = False
        for scoring in arrival.scorings:
            vector = scoring.vector(found)
            if vector is not None:
                effects.append(RequestScore(cause_id, subject_key, scoring.model_id, vector, "host", scoring.factors_above))
                scores_due = True
        if scores_due:
            self._awaited[cause_id] = event
            self._reading = (cause_id, arrival.scored, found, now, self.state.touch_count)
        else:
            self._evaluate(subject_key, subject, event, cause_id, (), moment, effects, found)
        return effects

    def receive_scores(self, given: ScoresInput) -> list[Effect]:
        """Scores of the host's own models for one cause; evaluates what waited for them."""
        now = self._advance(given.moment)
        event = self._awaited.pop(given.cause_id, None)
        effects: list[Effect] = []
        by_subject = _by_subject(given.scores, event)
        for subject_key, scores in by_subject:
            models = (scores[0].model_id,) if len(scores) == 1 else tuple(sorted([scored.model_id for scored in scores]))
            found = self._read_on(given.cause_id, models, now) if event is not None and len(by_subject) == 1 else None
            subject = self._touch(subject_key, given.moment, effects)
            for scored in scores:
                subject.scores[scored.model_id] = scored
            self._evaluate(subject_key, subject, event, given.cause_id, models, given.moment, effects, found)
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
        case = self._case(trigger, subject_key, subject, held, given.decision_id, given.moment)
        return case.answered(given)

    def receive_time(self, moment: Moment) -> list[Effect]:
        """Engine time passed: models that score by the clock ask for every subject that is due."""
        now = self._advance(moment)
        effects: list[Effect] = []
        for model_id, model in self.plan.models.items():
            if model.every_ms == 0:
                continue
            index = now // model.every_ms
            if index <= self.state.ticks.get(model_id, -1):
                continue
            self.state.ticks[model_id] = index
            cause_id = f"tick:{model_id}:{index * model.every_ms}"
            scoring = self.plan.scoring(model_id)
            for subject_key, subject in self.state.subjects.items():
                if self._is_active(model, subject, now):
                    vector = scoring.vector(scoring.features(subject.vector, subject.older, subject.values, now))
                    if vector is not None:
                        effects.append(RequestScore(cause_id, subject_key, model_id, vector, "host", scoring.factors_above))
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
        return effects

    def receive_control(self, given: ControlInput) -> list[Effect]:
        """The set of paused triggers, whole."""
        self._advance(given.moment)
        self.state.paused = set(given.paused)
        return []

    def receive_catalog(self, given: CatalogInput, catalog: Catalog) -> list[Effect]:
        """Switch the catalog. Unchanged features keep their cells; changed ones start empty and are WARMING.

        What waits for the server is concluded first, as at its deadline, by the version that opened it.
        """
        now = self._advance(given.moment)
        old = self.plan
        effects: list[Effect] = []
        if old.catalog.digest != catalog.digest:
            for decision_id in sorted(self._open):
                effects += self.receive_answer(AnswerInput(given.moment, decision_id, None, "the catalog changed"))
        self._keep_counts()
        self.state.models = dict(given.models)
        self.state.catalog_digest = catalog.digest
        self.plan = Plan(catalog, self.placement, self.state.models)
        self._reading = None
        for model_id, model in self.plan.models.items():
            if model.every_ms and model_id not in self.state.ticks:
                self.state.ticks[model_id] = now // model.every_ms - 1
        if old.catalog.digest != catalog.digest:
            self._relay(old, now)
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
        due = [
            (self.state.ticks.get(model_id, -1) + 1) * model.every_ms
            for model_id, model in self.plan.models.items()
            if model.every_ms
        ]
        return min(due) if due else None

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

    def operands(self, subject: SubjectState, subject_key: str, event: Event | None, now: int, reads: Reads) -> Operands:
        """The values those names have now; absent ones are left out."""
        return operands(self.plan, subject, subject_key, event, now, reads)

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

    def _fold(self, subject: SubjectState, event: Event, arrival: Arrival, now: int) -> None:
        event_type, event_time, properties = event.event_type, event.event_time, event.properties
        subject.event_count += 1
        if arrival.is_declared and event_time > subject.last_seen.get(event_type, -1):
            subject.last_seen[event_type] = event_time
        locale = event.context.get("locale")
        if locale:
            subject.language = str(locale)
        for key, layout, fold in arrival.folds:
            if key == "":
                if event_time < now and subject.older:
                    forget(subject.older, event_time)
                fold(subject.vector, properties, event_time)
            elif key in properties:
                fold(_cells(subject, key, properties[key], layout), properties, event_time)

    def _is_active(self, model: ModelDefinition, subject: SubjectState, now: int) -> bool:
        if model.label is None or model.label.active_within_ms == 0:
            return True
        since = now - model.label.active_within_ms
        return any(subject.last_seen.get(event_type, -1) > since for event_type in model.label.events)

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
    ) -> None:
        """Evaluate what is due. found: features already read, at least those the conditions read."""
        plan, now = self.plan, self.state.engine_time
        held = plan.group(event.event_type if event is not None else "", scored)
        if held is None:
            return
        if found is None:
            found = held.features(subject.vector, subject.older, subject.values, now)
        given = group_operands(plan, held, subject, subject_key, event, now, found)
        matched, failed = held.group.evaluate(given.event, given.features, given.segments, given.outputs, held.counts)
        for index, error in failed:
            clauses = self.state.counts.setdefault(held.courses[index].trigger.trigger_id, {})
            # By kind: a message may hold a value, and there is no end of values.
            text = f"no value: {error.operand_name}" if error.operand_name else error.kind
            clauses[text] = clauses.get(text, 0) + 1
        for index in matched:
            course = held.courses[index]
            trigger = course.trigger
            seen = given if held.covered[index] else operands(plan, subject, subject_key, event, now, course.reads)
            scores = {one: subject.scores[one] for one in course.models if one in subject.scores} if course.models else {}
            waiting = OpenDecision(trigger.trigger_id, cause_id, "", event, seen, (), scores, False, "", subject.language)
            decision_id = stable_id(trigger.trigger_id, subject_key, waiting.instance, cause_id)
            case = Case(plan, self.state, course, trigger, subject_key, subject, waiting, decision_id, 0, moment, now)
            effects += case.matched()
            if decision_id in subject.open:
                # Kept with just what the trigger reads, whatever else was read for its neighbours.
                waiting.operands = operands(plan, subject, subject_key, event, now, course.reads)
                self._open[decision_id] = subject_key

    def _case(
        self, trigger: Trigger, subject_key: str, subject: SubjectState, held: OpenDecision, decision_id: str, moment: Moment
    ) -> Case:
        """A decision that was open, to be concluded."""
        plan, state = self.plan, self.state
        course = plan.course(trigger)
        return Case(plan, state, course, trigger, subject_key, subject, held, decision_id, 1, moment, state.engine_time)

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
        """Whatever of this subject waits for the server ends without an answer."""
        subject = self.state.subjects[subject_key]
        for decision_id, held in sorted(subject.open.items()):
            self._open.pop(decision_id, None)
            trigger = self.plan.triggers.get(held.trigger_id)
            if trigger is not None:
                case = self._case(trigger, subject_key, subject, held, decision_id, moment)
                effects.append(case.record(Reason.EXPIRED, why))
        subject.open.clear()

    def _keep_counts(self) -> None:
        for trigger_id, clauses in self.plan.condition_counts().items():
            kept = self.state.counts.setdefault(trigger_id, {})
            for text, count in clauses.items():
                kept[text] = kept.get(text, 0) + count
        self.plan.clear_counts()

    def _relay(self, old: Plan, now: int) -> None:
        """Move every subject's cells into the new layouts; note which features start from nothing."""
        kept = {slot.definition.digest for layout in old.layouts.values() for slot in layout.slots}
        for layout in self.plan.layouts.values():
            for slot in layout.slots:
                if slot.definition.digest not in kept and old.catalog.features:
                    self.state.warming[slot.definition.name] = now + slot.definition.covers_ms
        for subject_key, subject in self.state.subjects.items():
            subject.vector = self.plan.layouts[""].carry_over(old.layouts[""], subject.vector)
            subject.older.clear()
            subject.keyed = {
                key: {value: layout.carry_over(old.layouts[key], cells) for value, cells in subject.keyed.get(key, {}).items()}
                for key, layout in self.plan.layouts.items()
                if key and key in old.layouts
            }
            self.state.dirty.add(subject_key)


def _by_subject(scores: Sequence[tuple[str, Scored]], event: Event | None) -> Sequence[tuple[str, Sequence[Scored]]]:
    """The scores of each subject; the event's own is there also when nothing scored it."""
    if len(scores) == 1 and (event is None or event.subject == scores[0][0]):
        ((subject_key, scored),) = scores
        return ((subject_key, (scored,)),)
    by_subject: dict[str, list[Scored]] = {}
    for subject_key, scored in scores:
        by_subject.setdefault(subject_key, []).append(scored)
    if event is not None:
        by_subject.setdefault(event.subject, [])
    return tuple(by_subject.items())


def _cells(subject: SubjectState, key: str, value: Value, layout: Layout) -> list[float]:
    """The cells of one key value; the key least recently touched makes room."""
    by_value = subject.keyed.setdefault(key, {})
    cells = by_value.pop(str(value), None)
    if cells is None:
        cells = layout.empty()
        if len(by_value) >= KEYS_PER_SUBJECT_MAX:
            del by_value[next(iter(by_value))]
    by_value[str(value)] = cells
    return cells
