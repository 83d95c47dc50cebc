"""Refolding: a subject's state made anew from the log, as if its past had always been what it is now.

Owns what a refold keeps of what was done: a cooldown stands for an action that went out. The fold is over the whole log under the
live catalog. Must never decide: what the events would set off today is thrown away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from reflexarc_core.catalog import Catalog
from reflexarc_core.effect import Effect, RequestScore
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
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
) -> SubjectState | None:
    """The state of a subject after these events: (time of receipt in ms, event) in log order; None without any.

    fired: trigger -> when its last decision that used the cooldown was made.
    """
    engine = Engine(catalog, "server", State(models=dict(models)))
    for receive_time, event in events:
        moment = Moment(receive_time, online=True)
        its = event if event.subject == subject else dataclasses.replace(event, subject=subject)
        _scored(engine, engine.receive(EventInput(moment, its)), moment, score)
    state = engine.state.subjects.get(subject)
    if state is not None:
        state.fired = dict(fired)
    return state


def _scored(engine: Engine, effects: list[Effect], moment: Moment, score: Score) -> None:
    wanted: dict[str, list[RequestScore]] = {}
    for effect in effects:
        if isinstance(effect, RequestScore):
            wanted.setdefault(effect.cause_id, []).append(effect)
    for cause_id, requests in wanted.items():
        _scored(engine, engine.receive_scores(ScoresInput(moment, cause_id, tuple(score(requests)))), moment, score)
