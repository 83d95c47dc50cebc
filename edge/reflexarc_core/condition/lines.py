"""The lines of model operands: the literals their scores are compared with, and every other use they are put to.

A line is clean when the score must be strictly over it for the condition to be helped along: `score > 0.7`.
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.condition.checked import CheckedExpression
from reflexarc_core.condition.tree import COMPREHENSIONS, Node, children, walk
from reflexarc_core.condition.unparse import unparse

_SIGNS: Final = {
    f"{name}_double": (sign, mirrored)
    for name, sign, mirrored in (
        ("less", "<", ">"), ("less_equals", "<=", ">="), ("greater", ">", "<"), ("greater_equals", ">=", "<="),
    )
}  # fmt: skip


def compare_lines(checked: CheckedExpression, operand: str) -> tuple[float, ...]:
    """The literals this operand is compared with by >, >=, < or <=, ascending, each once."""
    found = (_comparison(node, operand) for node in walk(checked.tree))
    return tuple(sorted({comparison[1] for comparison in found if comparison}))


def only_lines(checked: CheckedExpression, operand: str) -> tuple[float, ...] | None:
    """The literals this operand is compared with by >, >=, < or <=; None where it is used in any other way too."""
    nodes = list(walk(checked.tree))
    found = [comparison[1] for node in nodes if (comparison := _comparison(node, operand))]
    uses = sum(node[:2] == ("operand", operand) for node in nodes)
    return tuple(sorted(set(found))) if len(found) == uses else None


def line_misuse(checked: CheckedExpression, operand: str) -> str:
    """What else than `operand > LITERAL` the operand is used for, as a sentence; empty when there is nothing."""
    return _misuse(checked.tree, operand, True)


def claim_is_turned(checked: CheckedExpression, operand: str) -> bool:
    """Whether this bool operand stands anywhere where its being true does not just help the condition to be true."""
    return _turned(checked.tree, operand, True)


def _turned(node: Node, operand: str, helps: bool) -> bool:
    if node[:2] == ("operand", operand):
        return not helps
    return any(_turned(part, operand, position) for part, position in _parts(node, helps))


def _comparison(node: Node, operand: str) -> tuple[str, float] | None:
    """(sign, literal) with the operand on the left."""
    if node[0] != "call" or node[1] not in _SIGNS:
        return None
    sign, mirrored = _SIGNS[node[1]]
    left, right = node[2], node[3]
    if left[:2] == ("operand", operand) and right[0] == "const":
        return sign, right[2]
    if right[:2] == ("operand", operand) and left[0] == "const":
        return mirrored, left[2]
    return None


def _misuse(node: Node, operand: str, helps: bool) -> str:
    """helps: whether this node being true can only help the whole condition to be true."""
    compared = _comparison(node, operand)
    if compared:
        if compared[0] != ">":
            return f"{unparse(node)} is no line: only a score strictly over a literal is confident"
        return "" if helps else f"{unparse(node)} is negated or used as a value, so it is no line"
    if node[:2] == ("operand", operand):
        return f"{operand} is used other than compared with a literal"
    return next((found for part, position in _parts(node, helps) if (found := _misuse(part, operand, position))), "")


def _parts(node: Node, helps: bool) -> list[tuple[Node, bool]]:
    """The parts of a node, and whether each being true can only help the whole condition to be true."""
    tag = node[0]
    if tag in ("and", "or"):
        inner = [(part, helps) for part in node[1:]]
    elif tag == "if":
        inner = [(node[1], False), (node[2], helps), (node[3], helps)]
    elif tag in COMPREHENSIONS:
        inner = [(node[2], False), (node[3], helps and tag in ("exists", "all"))]
        inner += [(part, False) for part in node[4:]]
    else:
        inner = [(part, False) for part in children(node)]
    return inner
