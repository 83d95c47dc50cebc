"""Payload templates: an action's fields rendered from what the decision saw.

Owns the choice of language and the text form of values. Must never fail a decision: a field whose value is absent
is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reflexarc_core.condition import CheckedExpression, EvaluationError, compile_expression
from reflexarc_core.state import Operands
from reflexarc_core.trigger import Action, Field, Template

Render = Callable[[Operands], Any]


def expressions(action: Action) -> Iterator[CheckedExpression]:
    """Every expression of an action's payload."""
    for payload_field in action.payload.values():
        for template in payload_field.languages.values():
            if template.expression is not None:
                yield template.expression
            yield from (part for part in template.text if not isinstance(part, str))


class Payload:
    """An action's payload, compiled once."""

    def __init__(self, action: Action) -> None:
        self._fallback = action.fallback
        self._fields: list[tuple[str, dict[str, Render], Render | None]] = []
        for name, payload_field in action.payload.items():
            by_language = {language: _compile(template) for language, template in payload_field.languages.items()}
            only = next(iter(by_language.values())) if len(by_language) == 1 else None
            self._fields.append((name, by_language, only))

    def render(self, operands: Operands, language: str) -> tuple[dict[str, Any], list[str]]:
        """The payload, and the names of fields left out because a value was absent.

        language: a BCP 47 tag such as `de-AT`; its primary part, then the fallback, is looked for.
        """
        rendered: dict[str, Any] = {}
        absent: list[str] = []
        for name, by_language, only in self._fields:
            render = only or self._choose(by_language, language)
            try:
                rendered[name] = render(operands)
            except EvaluationError:
                absent.append(name)
        return rendered, absent

    def _choose(self, by_language: dict[str, Render], language: str) -> Render:
        for wanted in (language, language.partition("-")[0], self._fallback, ""):
            if wanted in by_language:
                return by_language[wanted]
        return next(iter(by_language.values()))


def _compile(template: Template) -> Render:
    if template.expression is not None:
        return _expression(template.expression)
    if template.text:
        parts = [part if isinstance(part, str) else _expression(part) for part in template.text]
        return lambda operands: "".join(part if isinstance(part, str) else _text(part(operands)) for part in parts)
    literal = template.literal
    return lambda operands: literal


def _expression(checked: CheckedExpression) -> Render:
    evaluate = compile_expression(checked).evaluate
    return lambda operands: evaluate(operands.event, operands.features, operands.segments, operands.outputs)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


__all__ = ["Field", "Payload", "expressions"]
