"""The fast tier: a checked tree as Python source.

The one law: generated code may raise too often, it must never give a wrong value. Then CEL's absorption of errors can
only matter where something raised, and the tree walk decides there. Nothing of an operand's text is pasted into code
but as the repr of a validated constant; every identifier is generated. Must never read an operand that is absent
through a stand-in value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Set
from typing import Any, Final

from reflexarc_core.condition.evaluation_error import EvaluationError
from reflexarc_core.condition.overloads import GLOBALS, OVERLOADS
from reflexarc_core.condition.tree import COMPREHENSIONS, Node, children
from reflexarc_core.condition.types import CelType, incoming
from reflexarc_core.condition.values import search_of
from reflexarc_core.condition.walk import ITERATION_COUNT_MAX, NAMESPACES, Walk, place

DICTS: Final = (*NAMESPACES, "outputs")
SET_SIZE_MIN: Final = 2
_LEAVES: Final = frozenset(("const", "operand", "has", "local"))
_NOTHING: Final = Walk({}, {}, {}, {})


def short(items: Any, count_max: int) -> Any:
    """The list, or an exception that sends a long one to the tree walk, which counts iterations."""
    if len(items) > count_max:
        raise OverflowError
    return items


class Source:
    """Emits expressions over the names event, features, segments, outputs, and gathers what they refer to."""

    def __init__(self) -> None:
        self.globals: dict[str, Any] = {**GLOBALS, "short": short}
        self.loaded: dict[str, str] = {}
        self._count = 0

    def compile(self, source: str, name: str) -> Any:
        """Run the source of one function and return it."""
        exec(compile(source, f"<{name}>", "exec"), self.globals)
        return self.globals[name]

    def expression(self, node: Node) -> str:
        """The node as one Python expression."""
        return self._emit(fold(node), {})

    def folded(self, node: Node) -> str:
        """As `expression`, of a node that `fold` was done to."""
        return self._emit(node, {})

    def load_shared(self, read: Counter[tuple[str, str]], needed: Set[str]) -> list[str]:
        """Statements that load operands into locals, which every expression emitted later reads.

        read: how often each is read, by name and type. Those are loaded that are read more than once, and those that are
        needed: without them something has no value whatever the rest is.
        """
        declared = Counter(name for name, _ in read)
        # A name that two conditions declare differently is read by each in its own way.
        loads: list[str] = []
        for (name, type_text), count in sorted(read.items()):
            if (count > 1 or name in needed) and declared[name] == 1:
                loads.append(f"e{len(loads)} = {self.load(name, type_text)}")
                self.loaded[name] = f"e{len(loads) - 1}"
        return loads

    def load(self, name: str, type_text: str) -> str:
        """Source that reads one operand; raises when it is absent."""
        index, key = place(name)
        read = f"{DICTS[index]}[{key!r}]"
        convert = incoming(CelType.parse(type_text))
        return read if convert is None else f"{self.keep(convert)}({read})"

    def presence(self, name: str) -> str:
        """Source that says whether an operand is there."""
        index, key = place(name)
        return f"({key!r} in {DICTS[index]})"

    def keep(self, value: Any) -> str:
        """A generated global name for a value that has no source form."""
        self._count += 1
        name = f"k{self._count}"
        self.globals[name] = value
        return name

    def constant(self, value: Any) -> str:
        """Source of a constant of a tree."""
        if isinstance(value, float) and not math.isfinite(value):
            return self.keep(value)
        if isinstance(value, (int, float)) and value < 0:
            return f"({value!r})"
        return repr(value)

    def _emit(self, node: Node, scope: dict[str, str]) -> str:
        tag = node[0]
        if tag == "call":
            return self._call(node, scope)
        if tag == "const":
            return self.constant(node[2])
        if tag == "operand":
            return self.loaded.get(node[1]) or self.load(node[1], node[2])
        if tag == "local":
            return scope[node[1]]
        if tag == "and" or tag == "or":
            return "(" + f" {tag} ".join(self._emit(clause, scope) for clause in node[1:]) + ")"
        if tag == "if":
            condition, then, otherwise = (self._emit(part, scope) for part in node[1:])
            return f"({then} if {condition} else {otherwise})"
        if tag == "has":
            return self.presence(node[1])
        if tag == "list":
            return "[" + ", ".join(self._emit(element, scope) for element in node[1:]) + "]"
        if tag == "map":
            parts = [self._emit(part, scope) for part in node[1:]]
            pairs = "".join(f"({key}, {value}), " for key, value in zip(parts[::2], parts[1::2], strict=True))
            return f"make_map(({pairs}))"
        return self._comprehension(node, scope)

    def _call(self, node: Node, scope: dict[str, str]) -> str:
        name, arguments = node[1], node[2:]
        if name == "matches_string" and arguments[1][0] == "const":
            try:
                search = self.keep(search_of(arguments[1][2]))
            except EvaluationError:  # the walk will say why, each time it is asked
                return f"matches({self._emit(arguments[0], scope)}, {self.constant(arguments[1][2])})"
            return f"({search}({self._emit(arguments[0], scope)}) is not None)"
        if name in ("in_list", "in_list_double") and _is_constant_list(arguments[1]):
            items = ", ".join(self.constant(element[2]) for element in arguments[1][1:])
            return f"({self._emit(arguments[0], scope)} in {{{items}}})"
        return OVERLOADS[name].template.format(*(self._emit(argument, scope) for argument in arguments))

    def _comprehension(self, node: Node, scope: dict[str, str]) -> str:
        tag = node[0]
        count_max = int(ITERATION_COUNT_MAX ** (1.0 / _levels(node)))
        items = f"short({self._emit(node[2], scope)}, {count_max})"
        self._count += 1
        variable = f"v{self._count}"
        inner = {**scope, node[1]: variable}
        body = self._emit(node[3], inner)
        if tag == "exists":
            return f"any({body} for {variable} in {items})"
        if tag == "all":
            return f"all({body} for {variable} in {items})"
        if tag == "exists_one":
            return f"(sum(1 for {variable} in {items} if {body}) == 1)"
        return f"[{self._emit(node[4], inner)} for {variable} in {items} if {body}]"


def _levels(node: Node) -> int:
    below = max((_levels(child) for child in children(node)), default=0)
    return below + 1 if node[0] in COMPREHENSIONS else below


def _is_constant_list(node: Node) -> bool:
    return (
        node[0] == "list"
        and len(node) > SET_SIZE_MIN
        and all(element[0] == "const" and element[2] == element[2] for element in node[1:])
    )


def fold(node: Node) -> Node:
    """Calls over constants alone, done once; what has an error stays as it is."""
    if node[0] in _LEAVES:
        return node
    if (
        node[0] == "call"
        and len(node) == 4
        and "operand" in (node[2][0], node[3][0])
        and _LEAVES.issuperset((node[2][0], node[3][0]))
    ):
        return node  # an operand beside a constant, as in most clauses: nothing to do
    folded: Node = tuple(fold(part) if isinstance(part, tuple) else part for part in node)
    if folded[0] != "call":
        return folded
    result = OVERLOADS[folded[1]].result
    if result and len(folded) > 2 and all(argument[0] == "const" for argument in folded[2:]):
        try:
            return ("const", result, _NOTHING.value(folded))
        except EvaluationError:
            return folded
    return folded
