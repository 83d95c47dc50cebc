"""Triggers and the actions they hand over: definitions only.

Owns what an author declares. Must never evaluate anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from reflexarc_core.condition import CheckedExpression
from reflexarc_core.event import Value
from reflexarc_core.policy import Policy
from reflexarc_core.value import frozen

PLACEMENTS = ("edge", "server")
ESCALATIONS = ("when_unsure", "confirm", "never")


@frozen
class Goal:
    """The effect a trigger aims at: any of these events by the same subject within `within_ms` of the decision."""

    event_types: tuple[str, ...]
    within_ms: int


@frozen
class Line:
    """A model operand's line in a condition: the literal its score is compared with, strictly."""

    model_id: str
    line: float


@frozen
class Trigger:
    """One trigger of the catalog.

    on: event types whose arrival evaluates it; empty for a model trigger that is evaluated at each new score.
    lines: the lines of its condition, found at build. confidence: False only where the author wrote `confidence: off`.
    escalate: see ESCALATIONS; deadline_ms: real time the server has to answer. life_ms: how long an action that was
    decided may still be handed over after a restart; 0 = a restart expires it. test: evaluated, recorded, never acted on.
    """

    trigger_id: str
    condition: CheckedExpression
    action: str
    on: tuple[str, ...] = ()
    placement: str = "edge"
    lines: tuple[Line, ...] = ()
    confidence: bool = True
    escalate: str = "when_unsure"
    deadline_ms: int = 150
    policy: Policy = field(default_factory=Policy)
    goal: Goal | None = None
    life_ms: int = 0
    description: str = ""


@frozen
class Template:
    """One payload field: exactly one of a literal, an expression, or text with expressions in it."""

    literal: Value | None = None
    expression: CheckedExpression | None = None
    text: tuple[str | CheckedExpression, ...] = ()


@frozen
class Field:
    """A payload field in each of the action's languages; the key "" is for a field that is the same in all."""

    languages: Mapping[str, Template]


@frozen
class Action:
    """A name, and a payload rendered by the engine.

    channel: in_app, email, webhook ... ; an in-app action is handed to `on()` handlers, at most once.
    fallback: the language used when the subject's is not there.
    """

    name: str
    channel: str = "in_app"
    payload: Mapping[str, Field] = field(default_factory=dict)
    fallback: str = "en"
    description: str = ""
