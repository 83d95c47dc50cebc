"""Simulation: what a catalog would have decided over a log that is there, by the same engine that decides live.

Owns how a log's inputs are given to another catalog: its events and what it recorded of scores and answers as they were, time
where this catalog waits for it. Nothing is scored anew: where the log holds no score, or no confidence for a line, there is none.
Must never act: decisions are all that comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.effect import Effect, RequestScore
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.evaluate import Cause, decided, matched
from reflexarc_core.model import LiveModel
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    EventInput,
    Input,
    Moment,
    Record,
    ScoresInput,
    TickInput,
)


class Simulation:
    """One catalog over one log. decisions: every record, in order. engine: as the log left it."""

    def __init__(self, catalog: Catalog, placement: str = "edge", device_id: str = "") -> None:
        self.engine = Engine(Catalog(), placement, device_id=device_id)
        self.decisions: list[Decision] = []
        self.event_count = 0
        self._catalog = catalog
        self._waiting: dict[str, set[tuple[str, str]]] = {}
        self._event_cause = ""
        self._asked: list[str] = []

    def run(self, records: Iterable[Record]) -> None:
        """Take in a log, in its order. Its own catalogs are replaced by this one; its models go live when they did."""
        held = [record for record in records if isinstance(record, Input)]
        answered = {record.decision_id for record in held if isinstance(record, AnswerInput)}
        if held and not isinstance(held[0], CatalogInput):
            self._switch(held[0].moment, {})
        for record in held:
            if not isinstance(record, ScoresInput):
                self._without_scores(record.moment)
            self._pass_time(record.moment)
            if isinstance(record, CatalogInput):
                self._switch(record.moment, record.models)
            elif isinstance(record, ScoresInput):
                self._scores(record)
            elif isinstance(record, EventInput):
                self.event_count += 1
                self._event_cause = record.event.event_id
                self._take(record)
            else:
                self._take(record)
            for decision_id in [one for one in self._asked if one not in answered]:
                self._take(AnswerInput(record.moment, decision_id, None, "the log holds no answer"))
            self._asked.clear()
        if held:
            self._without_scores(held[-1].moment)

    def preview(self, trigger_ids: Sequence[str], moment: Moment, count_max: int) -> list[Decision]:
        """What these triggers would decide for everybody known now, each as if asked without an event, until so many would fire.

        Subjects in the order of their keys; policies hold among them as they would.
        """
        engine, found, fired_count = self.engine, list[Decision](), 0
        for subject_key in sorted(engine.state.subjects):
            subject = engine.state.subjects[subject_key]
            for trigger_id in trigger_ids:
                group = engine.plan.alone(engine.plan.triggers[trigger_id])
                for match in matched(engine.plan, engine.state, group, "", subject_key, subject, None, None):
                    if fired_count >= count_max:
                        return found
                    cause = Cause(f"preview:{engine.state.engine_time}", engine.state.engine_time, None)
                    _, effects = decided(engine.plan, engine.state, match, subject_key, subject, cause, moment)
                    found += _decisions(effects)
                    fired_count += any(decision.reason is Reason.FIRED for decision in _decisions(effects))
        return found

    # -- inside ---------------------------------------------------------------------------------------------------

    def _switch(self, moment: Moment, models: Mapping[str, LiveModel]) -> None:
        live = {name: model for name, model in models.items() if name in self._catalog.models}
        given = CatalogInput(moment, self._catalog.digest, self._catalog.version, live)
        self._perform(self.engine.receive_catalog(given, self._catalog))

    def _take(self, given: Input) -> None:
        self._perform(self.engine.receive(given))

    def _perform(self, effects: list[Effect]) -> None:
        self.decisions += _decisions(effects)
        for effect in effects:
            if isinstance(effect, RequestScore) and effect.where == "host":
                self._waiting.setdefault(effect.cause_id, set()).add((effect.subject, effect.model_id))
            elif isinstance(effect, RequestScore):
                self._asked.append(effect.decision_id)

    def _scores(self, record: ScoresInput) -> None:
        """What the log holds of the scores that this catalog asked for."""
        wanted = self._waiting.pop(record.cause_id, None)
        if wanted is not None:
            given = tuple((subject, scored) for subject, scored in record.scores if (subject, scored.model_id) in wanted)
            self._take(replace(record, scores=given))

    def _without_scores(self, moment: Moment) -> None:
        """An event whose scores the log does not hold is evaluated without them, before anything else comes."""
        if self._waiting.pop(self._event_cause, None) is not None:
            self._take(ScoresInput(moment, self._event_cause, ()))

    def _pass_time(self, moment: Moment) -> None:
        """What this catalog waits for may be due before the next input."""
        while True:
            deadline = self.engine.next_deadline()
            if deadline is None or deadline > moment.now:
                return
            self._take(TickInput(replace(moment, now=max(deadline, self.engine.state.engine_time))))


def last_records(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """By decision, the record that counts."""
    found: dict[str, Decision] = {}
    for decision in decisions:
        held = found.get(decision.decision_id)
        if held is None or held.record <= decision.record:
            found[decision.decision_id] = decision
    return found


def _decisions(effects: Iterable[Effect]) -> Iterator[Decision]:
    return (effect.decision for effect in effects if isinstance(effect, RecordEffect))
