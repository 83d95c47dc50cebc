"""The plan: a catalog compiled for one placement.

Owns everything that is derived from definitions once per catalog: layouts, who scores when, fused conditions,
payloads. Must never hold a subject's state.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final

from reflexarc_core.catalog import Catalog
from reflexarc_core.chain import Follower
from reflexarc_core.condition import CheckedExpression, Compiled, Group, compile_expression, compiling_group, finished
from reflexarc_core.feature import FeatureDefinition, Layout
from reflexarc_core.feature_source import Fold, Read, compile_read
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_core.model import ABSENT, LiveModel, ModelDefinition, Output, output_of
from reflexarc_core.policy import Cap, Policy
from reflexarc_core.purchase_window import Intensity
from reflexarc_core.reads import Reads
from reflexarc_core.segment import Watch, Watched
from reflexarc_core.template import Payload, expressions
from reflexarc_core.trigger import Trigger
from reflexarc_core.value import frozen

COURSES_AT_ONCE: Final = 8
"""Looked at before whoever prepares a plan may let others run."""


@frozen
class Course:
    """What reaching a decision of one trigger looks at.

    reads: names its condition and its action's payload read. inputs: features it rests on, also through a segment or a
    score. aging: (model, when its calibration turns STALE, ms). sent: (subject-scoped feature, age past which it is
    STALE, ms). models, minimums: the model and its confidence_min for each of the trigger's lines. can_ask: whether it
    may ask the server. can_be_stale: whether there is anything in `aging` or `sent`. caps: (the name its uses are kept under,
    cap) of each that covers it, its own first. is_governed: whether anything but a cooldown and a holdout may hold it back behind
    its confidence. has_mode: whether a decision of it may count in no result. ranking: those of `models` that rank items.
    progressions: names of ranked items that its condition or a payload reads: without one of them there is nothing to show.
    weeks_of: the model whose hours of the week it waits for, empty for none; hours: what was learned of them, None for nothing.
    """

    trigger: Trigger
    reads: Reads
    inputs: tuple[str, ...]
    aging: tuple[tuple[str, int], ...]
    sent: tuple[tuple[str, int], ...]
    models: tuple[str, ...]
    minimums: tuple[float, ...]
    can_ask: bool
    can_be_stale: bool
    caps: tuple[tuple[str, Cap], ...]
    is_governed: bool
    has_mode: bool
    ranking: tuple[str, ...] = ()
    progressions: tuple[str, ...] = ()
    weeks_of: str = ""
    hours: Intensity | None = None


@frozen
class TriggerGroup:
    """The triggers one arrival evaluates, their conditions fused, and one counter per clause.

    reads: what the conditions read. covered: for each trigger, whether that is all its payload needs too. The rest is what
    they read through segments too. features: reads them but for the keyed ones, which depend on a property of the event.
    event, subject: whether anything of the event is read, or of the subject's key. outputs: what is read of models.
    """

    courses: tuple[Course, ...]
    group: Group
    reads: Reads
    covered: tuple[bool, ...]
    features: Read
    keyed: tuple[str, ...]
    event: bool
    subject: bool
    outputs: tuple[Output, ...]
    counts: list[int]


@frozen
class Scoring:
    """How one model's vector is taken from features by name; features: reads just those. factors_above: see `RequestScore`.
    ranks: whether its request carries the subject's interactions."""

    model_id: str
    inputs: tuple[str, ...]
    features: Read
    sent: frozenset[str]
    pick: Callable[[Mapping[str, float]], tuple[float, ...]]
    factors_above: float | None
    ranks: bool = False

    def vector(self, found: Mapping[str, float]) -> tuple[float, ...] | None:
        """The model's inputs; None when a subject-scoped one never came down: unknown is not zero."""
        try:
            return self.pick(found)
        except KeyError:
            if not self.sent <= found.keys():
                return None
            return tuple([found.get(name, ABSENT) for name in self.inputs])


@frozen
class Arrival:
    """What an event of one type sets off.

    folds: (key property, its layout, fold) of the layouts that listen to it. scorings: models that score on it, and
    scored: their ids. features: all that those models, and the conditions behind them, read of the vector. followers: patterns
    that it may move. exits: triggers that a subject leaves by it. watched: segments that it may lead into, or out of.
    items: (model that it tells of an item, its `items`). weeks: models that foresee it, for whose triggers its hour counts.
    """

    is_declared: bool
    folds: tuple[tuple[str, Layout, Fold], ...]
    scorings: tuple[Scoring, ...]
    scored: tuple[str, ...]
    features: Read
    followers: tuple[Follower, ...]
    exits: tuple[Trigger, ...]
    watched: tuple[Watched, ...]
    items: tuple[tuple[str, Mapping[str, str]], ...] = ()
    weeks: tuple[str, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether anything is waited for on such an event besides what a condition alone says."""
        return bool(self.scored or self.followers or self.exits or self.watched)


class Plan:
    """A catalog as the engine of one placement uses it. `models`: what is live, only these score.

    Everything is in the order of its name, never of the author's text: the same catalog read back from its bytes must
    read the cells, and decide in the order, of the first one.
    """

    def __init__(self, catalog: Catalog, placement: str, models: Mapping[str, LiveModel]) -> None:
        self.catalog = catalog
        self.placement = placement
        folded = [f for f in catalog.features.values() if placement == "server" or f.scope == "device"]
        self.remote_features: dict[str, FeatureDefinition] = (
            {} if placement == "server" else {f.name: f for f in catalog.features.values() if f.scope == "subject"}
        )
        keys = sorted({feature.key for feature in folded})
        self.layouts = {key: Layout([f for f in folded if f.key == key]) for key in keys}
        self.layouts.setdefault("", Layout([]))
        self.triggers = {name: t for name, t in sorted(catalog.triggers.items()) if t.placement == placement}
        # Ranking items is dear: it is done only where a trigger reads what comes of it, and then before any artifact is there.
        self.ranking = {name: model for name, model in sorted(catalog.models.items()) if model.items and self._is_read(model)}
        declared = [(name, catalog.models[name]) for name in sorted(models) if name in catalog.models]
        self.models = {name: model for name, model in declared if name in self.ranking or not model.items}
        self.live = {name: models[name] for name in self.models}
        waiting = sorted({catalog.weeks_of(t) for t in self.triggers.values() if t.policy.best_hours})
        self._weeks = {name: label.events for name in waiting if name and (label := catalog.models[name].label) is not None}
        self.followers = {name: Follower(name, t.pattern) for name, t in self.triggers.items() if t.pattern is not None}
        self.test_subjects = frozenset(catalog.test_subjects)
        self.leased_caps = tuple(sorted(n for n, cap in catalog.caps.items() if cap.scope == "global" and placement == "edge"))
        self.payloads = {name: Payload(action) for name, action in catalog.actions.items()}
        self.segments: dict[str, tuple[Compiled, Reads]] = {
            name: (compile_expression(checked), Reads.of([checked])) for name, checked in catalog.segments.items()
        }
        tracked = catalog.tracked if placement == "server" else ()
        self.watch = Watch(catalog.segments, tracked, self.triggers, lambda name: self.segments[name][0])
        self.watch.lay_out(self.layouts[""], catalog.features, self.reading)
        self.factors_above = {model_id: self._factors_above(model) for model_id, model in self.models.items()}
        self.arrivals: dict[str, Arrival] = {}
        self._scorings: dict[str, Scoring] = {}
        self._groups: dict[tuple[str, tuple[str, ...]], TriggerGroup | None] = {}
        self._made: dict[tuple[str, ...], TriggerGroup] = {}
        self._named_by: dict[str, list[Trigger]] = {}
        self._after_scores: list[Trigger] = []
        for trigger in self.triggers.values():
            if trigger.pattern is None and not trigger.crossed:  # else it is evaluated when that is complete, that is crossed
                for event_type in dict.fromkeys(trigger.on):
                    self._named_by.setdefault(event_type, []).append(trigger)
                if not trigger.on:
                    self._after_scores.append(trigger)
        self._courses: dict[str, Course] = {}
        self._conditions: dict[str, Compiled] = {}

    def arrival(self, event_type: str) -> Arrival:
        """What such an event sets off; `arrivals` holds those that were asked for."""
        found = self.arrivals.get(event_type)
        if found is None:
            found = self._arrival(event_type)
            if found.is_declared:  # names nobody declared must not fill the memory
                self.arrivals[event_type] = found
        return found

    def scoring(self, model_id: str) -> Scoring:
        """How a live model's vector is taken."""
        found = self._scorings.get(model_id)
        if found is None:
            inputs = tuple(name for name in self.live[model_id].inputs if name != INTEREST_STRENGTH)
            sent = frozenset(name for name in inputs if name in self.remote_features)
            read, above = self.reading(inputs), self.factors_above[model_id]
            found = Scoring(model_id, inputs, read, sent, _picker(inputs), above, model_id in self.ranking)
            self._scorings[model_id] = found
        return found

    def reading(self, names: Iterable[str]) -> Read:
        """What reads these features of a vector. Those split by a key are no part of it: they depend on the event."""
        wanted = list(dict.fromkeys(names))
        own = [name for name in wanted if name not in self.remote_features and not self.catalog.features[name].key]
        sent = [name for name in wanted if name in self.remote_features]
        return compile_read([self.layouts[""].by_name[name] for name in own], sent)

    def group(self, event_type: str, scored: tuple[str, ...]) -> TriggerGroup | None:
        """Triggers to evaluate on an arrival: an event type (empty for a tick) and the models that just scored."""
        key = (event_type, scored)
        try:
            return self._groups[key]
        except KeyError:
            if event_type and event_type not in self.catalog.event_types:
                return None  # no trigger can name it
        due = self._due(event_type, scored)
        found = self._groups[key] = finished(self.making(due)) if due else None
        return found

    def alone(self, trigger: Trigger) -> TriggerGroup:
        """One trigger as a group of its own: what a pattern that is complete evaluates."""
        found = self._made.get((trigger.trigger_id,))
        return found if found is not None else finished(self.making([trigger]))

    def preparing(self) -> Generator[None, None, None]:
        """Everything that is made when it is asked for, made before that. Yields after each piece of work, none longer than a
        millisecond or so, where others may run. Nobody else may use the plan meanwhile."""
        for event_type in self.catalog.event_types:
            scored = self.arrival(event_type).scored
            yield
            for models in dict.fromkeys(((), scored)):
                yield from self.making(self._due(event_type, models))
        for model_id, model in self.models.items():
            if model.every_ms:
                yield from self.making(self._due("", (model_id,)))
        for trigger in self.triggers.values():
            if trigger.pattern is not None or trigger.crossed:
                yield from self.making([trigger])

    def waits_for(self, event_type: str) -> bool:
        """Whether anything could be decided, or begun or ended, on such an event."""
        is_declared = event_type in self.catalog.event_types
        return self.arrival(event_type).decides or (is_declared and bool(self._due(event_type, ())))

    def course(self, trigger: Trigger) -> Course:
        """What a decision of this trigger looks at."""
        found = self._courses.get(trigger.trigger_id)
        if found is None:
            found = self._courses[trigger.trigger_id] = self._course(trigger)
        return found

    def scored_on(self, event_type: str) -> tuple[str, ...]:
        """Live models that score the subject of such an event."""
        return self.arrival(event_type).scored

    def decision_reads(self, trigger: Trigger) -> Reads:
        """What a trigger's condition and its action's payload read."""
        return self.course(trigger).reads

    def condition(self, trigger: Trigger) -> Compiled:
        """One trigger's condition on its own."""
        compiled = self._conditions.get(trigger.trigger_id)
        if compiled is None:
            compiled = self._conditions[trigger.trigger_id] = compile_expression(trigger.condition)
        return compiled

    def condition_counts(self) -> dict[str, dict[str, int]]:
        """How often each clause was the first that was false, by trigger."""
        counted: dict[str, dict[str, int]] = {}
        for held in self._made.values():
            for index, false in enumerate(held.group.false_counts(held.counts)):
                for clause, count in enumerate(false):
                    if count:
                        text = held.group.clause_text(index, clause)
                        clauses = counted.setdefault(held.courses[index].trigger.trigger_id, {})
                        clauses[text] = clauses.get(text, 0) + count
        return counted

    def clear_counts(self) -> None:
        """Start counting from zero; the caller has kept what was counted."""
        for held in self._made.values():
            held.counts[:] = [0] * len(held.counts)

    def _due(self, event_type: str, scored: tuple[str, ...]) -> list[Trigger]:
        def follows(trigger: Trigger) -> bool:
            return any(line.model_id in scored for line in trigger.lines) or any(
                self.catalog.models[m].output in trigger.condition.reads for m in scored
            )

        due = list(self._named_by.get(event_type, ()))
        if scored:
            due += filter(follows, self._after_scores)
        return sorted(due, key=lambda trigger: (-trigger.policy.priority, trigger.trigger_id))

    def _behind(self, reads: Reads) -> Reads:
        """What is read where that is read, also through segments."""
        inner = [self.segments[name][1] for name in reads.segments]
        return Reads(
            reads.event or any(one.event for one in inner),
            tuple(dict.fromkeys((*reads.features, *(name for one in inner for name in one.features)))),
            reads.segments,
            tuple(dict.fromkeys((*reads.outputs, *(name for one in inner for name in one.outputs)))),
        )

    def making(self, due: Sequence[Trigger]) -> Generator[None, None, TriggerGroup]:
        """The group of these triggers, the one that is there already if it is. Yields where others may run."""
        names = tuple(trigger.trigger_id for trigger in due)
        if names in self._made:
            return self._made[names]
        courses = []
        for trigger in due:
            courses.append(self.course(trigger))
            if len(courses) % COURSES_AT_ONCE == 0:
                yield
        conditions = [trigger.condition for trigger in due]
        group = yield from compiling_group(conditions)
        reads = Reads.of(conditions)
        behind = self._behind(reads)
        models = self.catalog.models.values()
        own = {name for model in models for name in (model.factors, model.progression)}
        yield
        self._made[names] = TriggerGroup(
            courses=tuple(courses),
            group=group,
            reads=reads,
            # Factors are a map, ranked items a list: each payload has its own.
            covered=tuple(course.reads.within(reads) and not own.intersection(course.reads.outputs) for course in courses),
            features=self.reading(behind.features),
            keyed=tuple(n for n in behind.features if n not in self.remote_features and self.catalog.features[n].key),
            event=behind.event,
            subject=any(name.startswith("subject.") for name in behind.outputs),
            outputs=tuple(output for model in models if (output := output_of(model, behind.outputs)) is not None),
            counts=[0] * group.count_total,
        )
        return self._made[names]

    def _arrival(self, event_type: str) -> Arrival:
        is_declared = event_type in self.catalog.event_types
        folds = [(key, layout, layout.folding(event_type)) for key, layout in self.layouts.items()]
        scorings = tuple(self.scoring(m) for m, model in self.models.items() if event_type in model.score_on)
        scored = tuple(scoring.model_id for scoring in scorings)
        names = [name for scoring in scorings for name in scoring.inputs]
        # Whichever of the models do score, what is evaluated then reads no more than when all of them do.
        names += self._behind(Reads.of([trigger.condition for trigger in self._due(event_type, scored)])).features
        watched = self.watch.touched_by(event_type)
        names += [name for one in watched for name in one.features]
        followers = tuple(follower for follower in self.followers.values() if event_type in follower.event_types)
        exits = tuple(trigger for trigger in self.triggers.values() if event_type in trigger.policy.exit)
        return Arrival(
            is_declared=is_declared,
            folds=tuple((key, layout, fold) for key, layout, fold in folds if fold is not None),
            scorings=scorings,
            scored=scored,
            features=self.reading(names),
            followers=followers,
            exits=exits,
            watched=watched,
            items=tuple((name, m.items) for name, m in self.ranking.items() if m.items and event_type in m.items),
            weeks=tuple(name for name, events in self._weeks.items() if event_type in events),
        )

    def _course(self, trigger: Trigger) -> Course:
        reads = Reads.of([trigger.condition, *self._payload_expressions(trigger)])
        inputs = list(self._behind(reads).features)
        for name in trigger.crossed:
            inputs += self.segments[name][1].features
        aging: list[tuple[str, int]] = []
        for line in trigger.lines:
            live = self.live.get(line.model_id)
            if live is not None:
                inputs += live.inputs
                if live.newest_label_time:
                    aging.append((line.model_id, live.newest_label_time + self.models[line.model_id].calibration_age_max_ms))
        inputs = list(dict.fromkeys(inputs))
        week_model = self.catalog.weeks_of(trigger) if trigger.policy.best_hours else ""
        stale_ms = {name: feature.stale_ms for name, feature in self.remote_features.items() if feature.stale_ms}
        sent = tuple((name, stale_ms[name]) for name in inputs if name in stale_ms)
        return Course(
            trigger=trigger,
            reads=reads,
            inputs=tuple(inputs),
            aging=tuple(aging),
            sent=sent,
            models=tuple(line.model_id for line in trigger.lines),
            minimums=tuple(self.catalog.models[line.model_id].confidence_min for line in trigger.lines),
            can_ask=(trigger.placement == "edge" and bool(trigger.lines) and trigger.escalate != "never" and trigger.confidence),
            can_be_stale=bool(aging or sent),
            caps=self._caps(trigger),
            is_governed=self._is_governed(trigger),
            has_mode=trigger.dry_run or bool(self.test_subjects),
            ranking=tuple(line.model_id for line in trigger.lines if line.model_id in self.ranking),
            progressions=tuple(m.progression for m in self.ranking.values() if m.progression in reads.outputs),
            weeks_of=week_model,
            hours=self.live[week_model].hours if week_model in self.live else None,
        )

    def _is_governed(self, trigger: Trigger) -> bool:
        policy = trigger.policy
        plain = Policy(cooldown_ms=policy.cooldown_ms, purpose=policy.purpose, holdout=policy.holdout, priority=policy.priority)
        return policy != plain or bool(trigger.follows or trigger.dry_run or self._caps(trigger))

    def _caps(self, trigger: Trigger) -> tuple[tuple[str, Cap], ...]:
        own = trigger.policy.cap
        found = [] if own is None else [(f"trigger:{trigger.trigger_id}", own)]
        if trigger.dry_run:
            return tuple(found)  # what it only would do must take nothing from the others
        action = self.catalog.actions.get(trigger.action)
        channel = action.channel if action is not None else ""
        for name, cap in sorted(self.catalog.caps.items()):
            if name not in trigger.policy.exempt and cap.covers(trigger.trigger_id, channel):
                found.append((f"cap:{name}", cap))
        return tuple(found)

    def _payload_expressions(self, trigger: Trigger) -> list[CheckedExpression]:
        actions = [self.catalog.actions[name] for name in trigger.actions if name in self.catalog.actions]
        return [checked for action in actions for checked in expressions(action)]

    def _is_read(self, model: ModelDefinition) -> bool:
        """Whether a trigger of this placement reads anything of a model."""
        names = {model.output, model.progression} - {""}
        return any(
            not names.isdisjoint(trigger.condition.reads) or not names.isdisjoint(self.decision_reads_of_action(trigger))
            for trigger in self.triggers.values()
        )

    def _factors_above(self, model: ModelDefinition) -> float | None:
        lines = [
            line.line
            for trigger in self.triggers.values()
            for line in trigger.lines
            if line.model_id == model.model_id and model.factors and model.factors in self.decision_reads_of_action(trigger)
        ]
        return min(lines) if lines else None

    def decision_reads_of_action(self, trigger: Trigger) -> set[str]:
        """Names the trigger's payloads read."""
        return {name for checked in self._payload_expressions(trigger) for name in checked.reads}


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, float]], tuple[float, ...]]:
    """The values of these names as a tuple, or KeyError."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda found: tuple([found[name] for name in names])
