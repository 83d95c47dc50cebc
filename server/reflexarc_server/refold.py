"""Refolding: a subject's state made anew from the log, as if its past had always been what it is now.

Owns what a refold keeps of what was done: a cooldown stands for an action that went out. The fold is over the whole log under the
live catalog. Must never decide: what the events would set off today is thrown away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from reflexarc_core.catalog import Catalog
from reflexarc_core.crossing import settle
from reflexarc_core.effect import Effect, RequestScore
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.ledger import Ledger
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.record import EventInput, Moment, ScoresInput
from reflexarc_core.state import State, SubjectState

Score = Callable[[list[RequestScore]], Iterable[tuple[str, Scored]]]


def refolded(
    catalog: Catalog,
    models: Mapping[str, LiveModel],
    subject: str,
    events: Iterable[tuple[int, Event]],
    score: Score,
    fired: Mapping[str, int],
    before: SubjectState | None,
    now: int,
) -> SubjectState | None:
    """The state of a subject after these events: (time of receipt in ms, event) in log order; None without any.

    fired: trigger -> when its last decision that used the cooldown was made. before: the state it takes the place of, whose
    policies were used up by what went out. now: engine time, ms: what would have come of a wait that is over came already.
    """
    engine = Engine(catalog, "server", State(models=dict(models)))
    for receive_time, event in events:
        moment = Moment(receive_time, online=True)
        its = event if event.subject == subject else dataclasses.replace(event, subject=subject)
        _scored(engine, engine.receive(EventInput(moment, its)), moment, score)
    state = engine.state.subjects.get(subject)
    if state is not None:
        state.fired = dict(fired)
        state.ledger = _ledger(state.ledger, None if before is None else before.ledger, now)
        settle(engine.plan, subject, state, now)
    return state


def _ledger(made: Ledger | None, before: Ledger | None, now: int) -> Ledger | None:
    """Patterns as the events say; everything that was done, or waits to be, as it was."""
    if made is None and before is None:
        return None
    kept = Ledger() if before is None else dataclasses.replace(before)
    kept.instances = {
        trigger_id: going
        for trigger_id, instances in (made.instances if made is not None else {}).items()
        if (going := {key: one for key, one in instances.items() if not 0 < one.wait_end <= now})
    }
    return kept


def _scored(engine: Engine, effects: list[Effect], moment: Moment, score: Score) -> None:
    wanted: dict[str, list[RequestScore]] = {}
    for effect in effects:
        if isinstance(effect, RequestScore):
            wanted.setdefault(effect.cause_id, []).append(effect)
    for cause_id, requests in wanted.items():
        _scored(engine, engine.receive_scores(ScoresInput(moment, cause_id, tuple(score(requests)))), moment, score)
