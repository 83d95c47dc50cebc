"""The slow tier: a walk over the tree with CEL's full error rules.

Run for the one expression whose generated code raised, and for explanations. `false && error` is false,
`error || true` is true, `exists` and `all` likewise; every other error passes through. Must never raise anything but
EvaluationError, whatever the operands are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from reflexarc_core.condition import evaluation_error as kinds
from reflexarc_core.condition.evaluation_error import EvaluationError, no_value
from reflexarc_core.condition.overloads import OVERLOADS
from reflexarc_core.condition.tree import Node
from reflexarc_core.condition.types import CelType, Converter, incoming
from reflexarc_core.condition.values import make_map

ITERATION_COUNT_MAX: Final = 10_000  # of all comprehensions in one evaluation, as the reference implementation
NAMESPACES: Final = ("event", "features", "segments")

Operand = Mapping[str, Any]


@functools.cache
def _converter(type_text: str) -> Converter | None:
    return incoming(CelType.parse(type_text))


@functools.lru_cache(maxsize=4096)
def place(name: str) -> tuple[int, str]:
    """Which of the four dicts holds an operand (3 = outputs) and under which key."""
    prefix, dot, rest = name.partition(".")
    return (NAMESPACES.index(prefix), rest) if dot and prefix in NAMESPACES else (3, name)


class Walk:
    """One evaluation over given operands."""

    __slots__ = ("held", "left")

    def __init__(self, event: Operand, features: Operand, segments: Operand, outputs: Operand) -> None:
        self.held = (event, features, segments, outputs)
        self.left = ITERATION_COUNT_MAX

    def value(self, node: Node) -> Any:
        """The node's value. Raises EvaluationError."""
        return self._guarded(self._value, node)

    def truth(self, node: Node) -> bool:
        """The value of a node that must be true or false. Raises EvaluationError."""
        return bool(self._guarded(self._truth, node))

    def _guarded(self, evaluate: Callable[[Node, dict[str, Any]], Any], node: Node) -> Any:
        try:
            return evaluate(node, {})
        except EvaluationError:
            raise
        except Exception as error:  # an operand of another type than declared, in a place no function looks at
            raise EvaluationError(kinds.TYPE, None, f"{type(error).__name__}: {error}") from None

    def operand(self, name: str, type_text: str) -> Any:
        """One operand's value, in the condition's units. Raises EvaluationError when it is absent or mistyped."""
        index, key = place(name)
        found = self.held[index]
        if key not in found:
            raise no_value(name)
        convert = _converter(type_text)
        if convert is None:
            return found[key]
        try:
            return convert(found[key])
        except (TypeError, AttributeError):
            raise EvaluationError(kinds.TYPE, None, f"{name} is no {type_text}") from None

    def _value(self, node: Node, bound: dict[str, Any]) -> Any:
        tag = node[0]
        if tag == "call":
            arguments = [self._value(argument, bound) for argument in node[2:]]
            try:
                return OVERLOADS[node[1]].apply(*arguments)
            except EvaluationError:
                raise
            except Exception as error:  # operands of another type than declared: no fault of the language or the host app
                raise EvaluationError(kinds.TYPE, None, f"{node[1]}: {type(error).__name__}: {error}") from None
        if tag == "const":
            return node[2]
        if tag == "operand":
            return self.operand(node[1], node[2])
        if tag == "local":
            return bound[node[1]]
        if tag == "and" or tag == "or":
            return self._absorb(node[1:], tag == "or", bound)
        if tag == "if":
            return self._value(node[2] if self._truth(node[1], bound) else node[3], bound)
        if tag == "has":
            index, key = place(node[1])
            return key in self.held[index]
        if tag == "list":
            return [self._value(element, bound) for element in node[1:]]
        if tag == "map":
            return make_map([(self._value(node[i], bound), self._value(node[i + 1], bound)) for i in range(1, len(node), 2)])
        return self._comprehension(node, bound)

    def _truth(self, node: Node, bound: dict[str, Any]) -> bool:
        value = self._value(node, bound)
        if type(value) is not bool:
            raise EvaluationError(kinds.TYPE, None, f"a {type(value).__name__} where true or false is needed")
        return value

    def _absorb(self, clauses: tuple[Node, ...], decides: bool, bound: dict[str, Any]) -> bool:
        """`decides` (true for or, false for and) from any clause wins over every error; else the first error."""
        first: EvaluationError | None = None
        for clause in clauses:
            try:
                if self._truth(clause, bound) is decides:
                    return decides
            except EvaluationError as error:
                first = first or error
        if first is not None:
            raise first
        return not decides

    def _comprehension(self, node: Node, bound: dict[str, Any]) -> Any:
        tag, variable, body = node[0], node[1], node[3]
        items = self._value(node[2], bound)
        if not isinstance(items, (list, tuple, Mapping)):
            raise EvaluationError(kinds.TYPE, None, f"{tag} over a {type(items).__name__}")
        inner = dict(bound)
        first: EvaluationError | None = None
        collected: list[Any] = []
        count = 0
        for item in items:
            self.left -= 1
            if self.left < 0:
                raise EvaluationError(kinds.LIMIT, None, f"more than {ITERATION_COUNT_MAX} iterations")
            inner[variable] = item
            if tag == "exists" or tag == "all":
                try:
                    if self._truth(body, inner) is (tag == "exists"):
                        return tag == "exists"
                except EvaluationError as error:
                    if error.kind == kinds.LIMIT:
                        raise
                    first = first or error
            elif self._truth(body, inner):
                count += 1
                if tag == "collect":
                    collected.append(self._value(node[4], inner))
        if first is not None:
            raise first
        if tag == "collect":
            return collected
        return count == 1 if tag == "exists_one" else tag == "all"
