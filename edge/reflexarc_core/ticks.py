"""Ticks: models that score by the clock, and whom.

Owns when the next is due and which subjects are scored on it; what is due is kept in the state. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from reflexarc_core.effect import RequestScore, with_interactions
from reflexarc_core.model import ModelDefinition
from reflexarc_core.plan import Plan
from reflexarc_core.state import State, SubjectState


def due_scores(plan: Plan, state: State, now: int) -> Iterator[RequestScore]:
    """The scores that are due by engine time `now` (ms): of every active subject, for each model whose tick has come."""
    for model_id, model in plan.models.items():
        if model.every_ms == 0:
            continue
        index = now // model.every_ms
        if index <= state.ticks.get(model_id, -1):
            continue
        state.ticks[model_id] = index
        cause_id = f"tick:{model_id}:{index * model.every_ms}"
        if state.device_id:
            cause_id += f":{state.device_id}"  # two devices of one person decide for themselves
        scoring = plan.scoring(model_id)
        for subject_key, subject in state.subjects.items():
            if is_active(model, subject, now):
                vector = scoring.vector(scoring.features(subject.vector, subject.older, subject.values, now))
                if vector is not None:
                    ask = RequestScore(cause_id, subject_key, model_id, vector, "host", scoring.factors_above)
                    yield ask if not scoring.ranks else with_interactions(ask, subject.interactions)


def begin_ticks(plan: Plan, state: State, now: int) -> None:
    """A model that is new scores at once, one that was there goes on."""
    for model_id, model in plan.models.items():
        if model.every_ms and model_id not in state.ticks:
            state.ticks[model_id] = now // model.every_ms - 1


def next_tick(plan: Plan, state: State) -> int | None:
    """Engine time (ms) of the next tick; None without such a model."""
    due = [(state.ticks.get(name, -1) + 1) * model.every_ms for name, model in plan.models.items() if model.every_ms]
    return min(due, default=None)


def is_active(model: ModelDefinition, subject: SubjectState, now: int) -> bool:
    """Whether a model that scores by the clock scores this subject: it was seen within the label's time, where there is one."""
    if model.label is None or model.label.active_within_ms == 0:
        return True
    since = now - model.label.active_within_ms
    return any(subject.last_seen.get(event_type, -1) > since for event_type in model.label.events)
