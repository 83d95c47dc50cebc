"""One expression as a function: generated code first, the tree walk where that raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reflexarc_core.condition.checked import CheckedExpression
from reflexarc_core.condition.source import Source
from reflexarc_core.condition.types import outgoing
from reflexarc_core.condition.walk import Walk
from reflexarc_core.value import frozen

Operand = Mapping[str, Any]
Evaluate = Callable[[Operand, Operand, Operand, Operand], Any]


@frozen
class Compiled:
    """`evaluate(event, features, segments, outputs)` gives the value or raises EvaluationError, and nothing else.

    The four dicts hold operands by name (event properties, features, segments; in `outputs` bare names and
    `subject.*` by dotted name); an absent key is an absent value. Timestamps and durations are int milliseconds on both
    sides. source: the generated code, for a curious reader.
    """

    checked: CheckedExpression
    evaluate: Evaluate
    source: str


def compile_expression(checked: CheckedExpression) -> Compiled:
    """Compile once, evaluate often. A tree that was validated always compiles."""
    writer = Source()
    tree = checked.tree
    convert = outgoing(checked.result_type)

    def slow(event: Operand, features: Operand, segments: Operand, outputs: Operand) -> Any:
        value = Walk(event, features, segments, outputs).value(tree)
        return value if convert is None else convert(value)

    writer.globals["slow"] = slow
    expression = writer.expression(tree)
    result = expression if convert is None else f"{writer.keep(convert)}({expression})"
    source = (
        "def evaluate(event, features, segments, outputs):\n"
        "    try:\n"
        f"        return {result}\n"
        "    except Exception:\n"
        "        pass\n"
        "    return slow(event, features, segments, outputs)\n"
    )
    return Compiled(checked, writer.compile(source, "evaluate"), source)
