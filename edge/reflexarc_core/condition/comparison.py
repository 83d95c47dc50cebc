"""Clauses, and those among them that compare a value with constants: what many conditions can ask of the same value at once.

Owns how such a clause is recognised. Must never decide what a clause means where its value is of another type than declared:
whoever looks values up lets the look-up raise, and the clause is evaluated by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reflexarc_core.condition.source import fold
from reflexarc_core.condition.tree import Node, clause_trees, needs, walk
from reflexarc_core.value import frozen

BELOW: Final = "below"
"""`>` and `<=`: what is asked is whether the constant lies below the value."""
NOT_ABOVE: Final = "not above"
"""`>=` and `<`: what is asked is whether the constant lies at the value or below it."""
EQUAL: Final = "equal"

_ORDERED: Final = {"greater": (BELOW, True), "less_equals": (BELOW, False), "greater_equals": (NOT_ABOVE, True),
                   "less": (NOT_ABOVE, False)}  # fmt: skip
_MIRRORED: Final = {"greater": "less", "less": "greater", "greater_equals": "less_equals", "less_equals": "greater_equals"}
NUMBERS: Final = ("int64", "uint64", "double", "timestamp", "duration")
"""Kinds of which a value may be NaN, which lies nowhere."""
_TEXTS: Final = ("string", "bytes")
_MEMBER_OF: Final = ("in_list", "in_list_double")


@frozen
class Comparison:
    """A clause over `value`, a tree. way: BELOW, NOT_ABOVE or EQUAL; wanted: the answer that makes the clause true, for any
    of the constants. kind: of what is put in order, as in an overload's name.
    """

    value: Node
    way: str
    constants: tuple[Any, ...]
    wanted: bool
    kind: str = ""


@frozen
class Clause:
    """A part of a condition's top-level conjunction, what is constant in it folded.

    compares: None when it is no comparison. reads: (name, type) of an operand, each time it is read. needs: operands without
    which it has no value.
    """

    tree: Node
    compares: Comparison | None
    reads: tuple[tuple[str, str], ...]
    needs: tuple[str, ...]

    @property
    def line(self) -> Any:
        """Clauses with an equal line can be answered together."""
        return self.tree if self.compares is None else (self.compares.value, self.compares.way, self.compares.kind)


def clauses_of(tree: Node) -> tuple[Clause, ...]:
    """The clauses of a condition."""
    return tuple(_clause(fold(part)) for part in clause_trees(tree))


def weakest(clauses: Sequence[Clause]) -> Node | None:
    """What is true when any of these clauses of one line is, or raises when they do; None where there is nothing simple."""
    asked = [clause.compares for clause in clauses if clause.compares is not None]
    if not asked:
        return clauses[0].tree
    if asked[0].way != EQUAL:
        pick = min if asked[0].wanted else max
        return pick(clauses, key=lambda clause: clause.compares.constants[0] if clause.compares is not None else 0).tree
    if not asked[0].wanted:
        return None
    constants = dict.fromkeys(constant for one in asked for constant in one.constants)
    return ("call", "in_list", asked[0].value, ("list", *(("const", "", constant) for constant in constants)))


def _clause(folded: Node) -> Clause:
    compares = _comparison(folded)
    if compares is not None and compares.value[0] == "operand":  # as most are: a catalog may have thousands
        _, name, type_text = compares.value
        return Clause(folded, compares, ((name, type_text),), (name,))
    reads = tuple((node[1], node[2]) for node in walk(folded) if node[0] == "operand")
    return Clause(folded, compares, reads, needs(folded))


def _comparison(clause: Node) -> Comparison | None:
    if clause[0] != "call" or len(clause) != 4:
        return None
    name, left, right = clause[1], clause[2], clause[3]
    if name in _MEMBER_OF:
        constants = right[1:] if right[0] == "list" else ()
        if not constants or left[0] == "const" or not all(_is_constant(item) for item in constants):
            return None
        return Comparison(left, EQUAL, tuple(item[2] for item in constants), True)
    if name in ("equals", "not_equals"):
        if left[0] == "const":
            left, right = right, left
        if left[0] == "const" or not _is_constant(right):
            return None
        return Comparison(left, EQUAL, (right[2],), name == "equals")
    relation, _, kind = name.rpartition("_")
    if relation not in _ORDERED or kind not in (*NUMBERS, *_TEXTS):
        return None
    if left[0] == "const":
        left, right, relation = right, left, _MIRRORED[relation]
    if left[0] == "const" or not _is_constant(right):
        return None
    way, wanted = _ORDERED[relation]
    return Comparison(left, way, (right[2],), wanted, kind)


def _is_constant(node: Node) -> bool:
    return node[0] == "const" and bool(node[2] == node[2])  # NaN is equal to nothing, a look-up would find it
