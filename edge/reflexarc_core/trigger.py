"""Triggers and the actions they hand over: definitions only.

Owns what an author declares. Must never evaluate anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from reflexarc_core.condition import CheckedExpression
from reflexarc_core.event import Value
from reflexarc_core.pattern import Pattern
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
class Follow:
    """A further step of a content sequence: its action, taken on an outcome of the step before (`on`: impression, click,
    dismissal) or once `wait_ms` have passed since that step, whichever comes first; 0 = only on the outcome."""

    action: str
    on: tuple[str, ...] = ()
    wait_ms: int = 0


@frozen
class Trigger:
    """One trigger of the catalog.

    on: event types whose arrival evaluates it; pattern: what has to have happened instead; segment_entered, segment_left: which
    segments its subject comes into or goes out of, instead of both. All empty for a model trigger that is evaluated at each new
    score. lines: the lines of its condition, found at build. confidence: False only where the author wrote `confidence: off`.
    escalate: see ESCALATIONS; deadline_ms: real time the server has to answer. follows: the further steps of a content sequence
    (rule 22). life_ms: how long an action that was decided may still be handed over after a restart; 0 = a restart expires it.
    dry_run: evaluated, recorded, never acted on, and no other trigger's allowance is used.
    """

    trigger_id: str
    condition: CheckedExpression
    action: str
    on: tuple[str, ...] = ()
    pattern: Pattern | None = None
    placement: str = "edge"
    lines: tuple[Line, ...] = ()
    confidence: bool = True
    escalate: str = "when_unsure"
    deadline_ms: int = 150
    policy: Policy = field(default_factory=Policy)
    goal: Goal | None = None
    follows: tuple[Follow, ...] = ()
    life_ms: int = 0
    dry_run: bool = False
    description: str = ""
    segment_entered: tuple[str, ...] = ()
    segment_left: tuple[str, ...] = ()

    @property
    def crossed(self) -> tuple[str, ...]:
        """Segments it waits for, whichever way they are crossed."""
        return tuple(dict.fromkeys((*self.segment_entered, *self.segment_left)))

    @property
    def seen(self) -> tuple[str, ...]:
        """Event types whose properties its condition and payload may read."""
        return self.on if self.pattern is None else self.pattern.completing

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action it may take: its own, its variants', its further steps'."""
        variants = self.policy.variants.ways if self.policy.variants is not None else ()
        named = (self.action, *(way.action for way in variants), *(step.action for step in self.follows))
        return tuple(dict.fromkeys(name for name in named if name))


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
