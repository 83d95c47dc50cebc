"""Expressions from text, and evaluation in one line, for the tests of this folder."""

from __future__ import annotations

from typing import Any

from reflexarc_build.cel import check_expression
from reflexarc_core.condition import CelType, CheckedExpression, EvaluationError, compile_expression
from reflexarc_core.condition.walk import Walk

NAMES = {
    name: CelType.parse(kind)
    for name, kind in {
        "event.s": "string",
        "event.n": "int",
        "event.d": "double",
        "event.at": "timestamp",
        "event.took": "duration",
        "event.tags": "list(string)",
        "event.ds": "list(double)",
        "event.ns": "list(int)",
        "event.b": "bool",
        "features.views": "double",
        "features.visits": "double",
        "segments.vip": "bool",
        "subject.known": "bool",
        "predicted_churn_risk": "double",
        "churn_risk_factors": "map(string,double)",
        "content_interest_prediction": "bool",
    }.items()
}


def check(text: str) -> CheckedExpression:
    return check_expression(text, NAMES)


def operands(**given: Any) -> tuple[dict[str, Any], ...]:
    """`event_s="x"` is event.s; a name without one of the prefixes is an output, `subject_known` is subject.known."""
    held: dict[str, dict[str, Any]] = {"event": {}, "features": {}, "segments": {}, "": {}}
    for name, value in given.items():
        prefix, _, rest = name.partition("_")
        if prefix in held and rest:
            held[prefix][rest] = value
        else:
            held[""][f"{prefix}.{rest}" if prefix == "subject" else name] = value
    return tuple(held.values())


def evaluate(text: str, **given: Any) -> Any:
    """The value by both tiers, which must agree."""
    checked, held = check(text), operands(**given)
    value = compile_expression(checked).evaluate(*held)
    if not checked.result_type.holds_time:
        walked = Walk(*held).value(checked.tree)
        assert type(walked) is type(value)
        assert walked == value or (walked != walked and value != value)
    return value


def fails(text: str, **given: Any) -> EvaluationError:
    """The error the expression ends in."""
    try:
        value = compile_expression(check(text)).evaluate(*operands(**given))
    except EvaluationError as error:
        return error
    raise AssertionError(f"{text} is {value!r}, not an error")
