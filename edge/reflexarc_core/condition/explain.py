"""Why a condition is true, false or without a value: each clause with what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reflexarc_core.condition.checked import CheckedExpression
from reflexarc_core.condition.evaluation_error import EvaluationError
from reflexarc_core.condition.tree import Node, clause_trees, reads
from reflexarc_core.condition.unparse import unparse
from reflexarc_core.condition.walk import Walk, place
from reflexarc_core.value import frozen

Operand = Mapping[str, Any]


@frozen
class Clause:
    """outcome: `true`, `false` or `error`, then with a message. values: operands it reads, those that are there."""

    text: str
    outcome: str
    values: Mapping[str, Any]
    message: str = ""


def explain(checked: CheckedExpression, event: Operand, features: Operand, segments: Operand, outputs: Operand) -> list[Clause]:
    """Every clause of a condition's top-level conjunction, in order. Operands as for `Compiled`."""
    held = (event, features, segments, outputs)
    explained = []
    for text, tree in clauses(checked):
        seen = {name: held[place(name)[0]][place(name)[1]] for name in reads(tree) if place(name)[1] in held[place(name)[0]]}
        try:
            outcome, message = ("true" if Walk(event, features, segments, outputs).truth(tree) else "false"), ""
        except EvaluationError as error:
            outcome, message = "error", error.message
        explained.append(Clause(text, outcome, seen, message))
    return explained


def clauses(checked: CheckedExpression) -> list[tuple[str, Node]]:
    """The parts of a top-level conjunction with their text; one part when it is none."""
    return [(unparse(tree), tree) for tree in clause_trees(checked.tree)]
