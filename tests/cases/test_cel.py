"""Small expressions and what they are by the CEL language definition: a table for every SDK, in `cel.json`.

A case has an expression, inputs by name (types in `names`; absent inputs have no value) and an outcome: `value` with its
type, `error`, or `refused` when the catalog is built, be it by the type check or because it is outside the profile. Values
are JSON: bytes as hex, whole numbers over 2^53 as text, doubles that JSON has no word for as `nan`, `inf`, `-inf`, times in
milliseconds.
"""

from __future__ import annotations

import functools
import json
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reflexarc_build.cel import ExpressionError, check_expression
from reflexarc_core.condition import CelType, EvaluationError, compile_expression
from reflexarc_core.condition.types import outgoing
from reflexarc_core.condition.walk import Walk

TABLE = json.loads((Path(__file__).parent / "cel.json").read_text())
NAMES = {name: CelType.parse(kind) for name, kind in TABLE["names"].items()}
TOPICS = ("basic", "arithmetic", "fp_math", "comparisons", "logic", "lists", "fields", "macros", "string", "string_ext",
          "timestamps", "durations", "conversions", "outside")  # fmt: skip
VALUE, REFUSED, ERROR = "value", "refused", "error"


def read(cel_type: CelType, value: Any) -> Any:
    """A value of the table."""
    if cel_type.kind == "list":
        return [read(cel_type.arguments[0], item) for item in value]
    if cel_type.kind == "map":
        return {key: read(cel_type.arguments[1], item) for key, item in value.items()}
    if cel_type.kind == "bytes":
        return bytes.fromhex(value)
    if cel_type.kind == "double":
        return float(value)
    return int(value) if cel_type.kind not in ("string", "bool") else value


def operands(inputs: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    held: dict[str, dict[str, Any]] = {"event": {}, "": {}}
    for name, value in inputs.items():
        space, _, field = name.rpartition(".")
        held[space][field] = read(NAMES[name], value)
    return held["event"], {}, {}, held[""]


def outcomes(case: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """(outcome, type, value) of the expression: one when it is refused, else by the compiled function and by the walk."""
    try:
        checked = check_expression(case["expression"], NAMES)
    except ExpressionError:
        return [(REFUSED, "", None)]
    held = operands(case.get("inputs", {}))
    convert = outgoing(checked.result_type) or (lambda value: value)
    found: list[tuple[str, str, Any]] = []
    for ask in (
        functools.partial(compile_expression(checked).evaluate, *held),
        lambda: convert(Walk(*held).value(checked.tree)),
    ):
        try:
            found.append((VALUE, str(checked.result_type), ask()))
        except EvaluationError:
            found.append((ERROR, "", None))
    return found


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['topic']}: {case['expression']}"[:60])
def test_an_expression_is_what_the_language_says(case: dict[str, Any]) -> None:
    for outcome, kind, value in outcomes(case):
        assert (outcome, kind) == (case["outcome"], case.get("type", ""))
        if outcome != VALUE:
            continue
        want = read(CelType.parse(kind), case["value"])
        assert type(value) is type(want)
        if isinstance(want, float):  # which of the zeros it is counts too, and NaN is NaN
            assert struct.pack("<d", abs(value)) == struct.pack("<d", abs(want))
            assert want != want or math.copysign(1.0, value) == math.copysign(1.0, want)
        else:
            assert value == want


def test_the_table_covers_every_topic_and_every_outcome() -> None:
    topics = Counter(case["topic"] for case in TABLE["cases"])
    assert set(topics) == set(TOPICS)
    assert min(topics.values()) >= 15, topics
    assert Counter(case["outcome"] for case in TABLE["cases"])[ERROR] > 80
