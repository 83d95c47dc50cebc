"""What a condition or a payload is given to read: values of one subject at one moment, by name.

Owns where each namespace's values come from. Pure; must never change a subject's state.
"""

from __future__ import annotations

from typing import Any

from reflexarc_core.condition import EvaluationError
from reflexarc_core.event import Event, about
from reflexarc_core.model import ModelDefinition, Scored
from reflexarc_core.plan import Plan, TriggerGroup
from reflexarc_core.reads import Reads
from reflexarc_core.state import Operands, SubjectState


def operands(plan: Plan, subject: SubjectState, subject_key: str, event: Event | None, now: int, reads: Reads) -> Operands:
    """The values those names have now; absent ones are left out."""
    given = Operands({}, {}, {}, {})
    if reads.event and event is not None:
        given.event = {**event.context, **event.properties}
    for name in reads.features:
        value = feature_value(plan, subject, name, now, event)
        if value is not None:
            given.features[name] = value
    for name in reads.segments:
        compiled, inner = plan.segments[name]
        read = operands(plan, subject, subject_key, event, now, inner)
        try:
            given.segments[name] = compiled.evaluate(read.event, read.features, read.segments, read.outputs)
        except EvaluationError:
            continue
    if reads.outputs:
        given.outputs = about(subject_key)
        for model_id, scored in subject.scores.items():
            model = plan.catalog.models.get(model_id)
            if model is not None:
                given.outputs.update(said(model, scored))
    return given


def group_operands(
    plan: Plan,
    held: TriggerGroup,
    subject: SubjectState,
    subject_key: str,
    event: Event | None,
    now: int,
    found: dict[str, float],
) -> Operands:
    """As `operands`, for all that a group of triggers reads. found: its features but for the keyed ones, which are added."""
    for name in held.keyed:
        value = feature_value(plan, subject, name, now, event)
        if value is not None:
            found[name] = value
    outputs = about(subject_key) if held.subject else {}
    for one in held.outputs:
        scored = subject.scores.get(one.model_id)
        if scored is not None:
            outputs[one.output] = scored.score if one.line is None else scored.score > one.line
            if one.factors and scored.factors is not None:
                outputs[one.factors] = dict(scored.factors)
            if one.progression and scored.ranked:
                outputs[one.progression] = list(scored.ranked)
    given = Operands({**event.context, **event.properties} if held.event and event is not None else {}, found, {}, outputs)
    for name in held.reads.segments:
        compiled, inner = plan.segments[name]
        read = operands(plan, subject, subject_key, event, now, inner) if inner.segments else given
        try:
            given.segments[name] = compiled.evaluate(read.event, read.features, read.segments, read.outputs)
        except EvaluationError:
            continue
    return given


def said(model: ModelDefinition, scored: Scored) -> dict[str, Any]:
    """What a score says under the names of its model: the score or the claim, its factors, its ranked items."""
    found: dict[str, Any] = {model.output: scored.score if model.output_type == "double" else scored.score > model.line}
    if model.factors and scored.factors is not None:
        found[model.factors] = dict(scored.factors)
    if model.progression and scored.ranked:
        found[model.progression] = list(scored.ranked)
    return found


def feature_value(plan: Plan, subject: SubjectState, name: str, now: int, event: Event | None) -> float | None:
    """One feature as of `now` (ms): aged if it is folded here, as it came if it was sent. None when it has no value."""
    if name in plan.remote_features:
        held = subject.values.get(name)
        return None if held is None else held[0]
    definition = plan.catalog.features[name]
    layout = plan.layouts[definition.key]
    cells = subject.vector
    if definition.key:
        key_value = event.properties.get(definition.key) if event is not None else None
        held_cells = subject.keyed.get(definition.key, {}).get(str(key_value))
        if key_value is None or held_cells is None:
            return None
        cells = held_cells
    value = layout.by_name[name].read(cells, now)
    return value if value == value else None
