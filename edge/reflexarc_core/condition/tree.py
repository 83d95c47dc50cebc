"""The checked tree: its node forms, its limits, its JSON, and walks over it.

A node is a tuple whose first element is its tag:
    ("const", type, value)                 timestamps and durations as int nanoseconds
    ("operand", name, type)                a dotted name such as event.page_url; absent = no value
    ("has", name)                          whether that operand is there
    ("local", name)                        the variable of an enclosing exists, all, exists_one or collect
    ("list", element ...)   ("map", key, value, key, value ...)
    ("and", clause, clause ...)   ("or", ...)   ("if", condition, then, otherwise)
    ("exists", variable, range, predicate)   ("all", ...)   ("exists_one", ...)
    ("collect", variable, range, predicate, value)     CEL's filter and map
    ("call", overload, argument ...)       the overload is resolved: see `overloads`
Devices read trees from a bundle, so everything here refuses what is malformed or over a limit. Must never evaluate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from reflexarc_core.condition.overloads import OVERLOADS
from reflexarc_core.condition.types import CelType
from reflexarc_core.errors import DefinitionError

Node = tuple[Any, ...]

NODE_COUNT_MAX: Final = 1_000
DEPTH_MAX: Final = 40
NEST_MAX: Final = 3  # comprehensions within comprehensions
NAME_LENGTH_MAX: Final = 200
STRING_LENGTH_MAX: Final = 4_096
SAFE_INT: Final = 2**53  # larger whole numbers travel as text: many JSON readers would round them

COMPREHENSIONS: Final = ("exists", "all", "exists_one", "collect")
TRUE: Final[Node] = ("const", "bool", True)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?\Z")
_ENCODED_DOUBLES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_INT_RANGES = {
    "int": (-(2**63), 2**63 - 1),
    "uint": (0, 2**64 - 1),
    "timestamp": (-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1),
    "duration": (-(2**63), 2**63 - 1),
}


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    tag = node[0]
    if tag in ("const", "operand", "has", "local"):
        return ()
    if tag in COMPREHENSIONS or tag == "call":
        return node[2:]
    return node[1:]


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, parents first."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(children(current)))


def reads(node: Node) -> tuple[str, ...]:
    """Every operand name in the tree, sorted."""
    return tuple(sorted({found[1] for found in walk(node) if found[0] in ("operand", "has")}))


def needs(node: Node) -> tuple[str, ...]:
    """Operands without which the node has an error whatever the rest: what no rule can absorb, in the order it is read."""
    tag = node[0]
    if tag == "operand":
        return (node[1],)
    if tag in ("and", "or"):
        return _common([needs(part) for part in node[1:]])
    if tag == "if":
        return _joined([needs(node[1]), _common([needs(node[2]), needs(node[3])])])
    if tag in COMPREHENSIONS:
        return needs(node[2])
    return _joined([needs(part) for part in children(node)])


def _common(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for name in parts[0] if all(name in part for part in parts[1:]))


def _joined(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part))


def clause_trees(node: Node) -> tuple[Node, ...]:
    """A top-level conjunction's parts; the node itself when it is none."""
    return node[1:] if node[0] == "and" else (node,)


def to_json(node: Node) -> list[Any]:
    """Lists, text, numbers, booleans; the same tree gives the same JSON."""
    tag = node[0]
    if tag == "const":
        return ["const", node[1], _constant_to_json(node[1], node[2])]
    return [part if isinstance(part, str) else to_json(part) for part in node]


def _constant_to_json(kind: str, value: Any) -> Any:
    if kind == "bytes":
        return value.hex()
    if kind == "double" and not math.isfinite(value):
        return "nan" if value != value else ("inf" if value > 0 else "-inf")
    if type(value) is int and abs(value) > SAFE_INT:
        return str(value)
    return value


def from_json(read: Any) -> Node:
    """The tree. Raises DefinitionError on an unknown form, a wrong count, an unbound variable or a broken limit."""
    return _Reader().node(read, 1, ())


def validate(node: Node) -> None:
    """Raises DefinitionError where `from_json` would."""
    from_json(to_json(node))


class _Reader:
    """Reads one tree, counting its nodes."""

    def __init__(self) -> None:
        self.count = 0

    def node(self, read: Any, depth: int, bound: tuple[str, ...]) -> Node:
        self.count += 1
        if self.count > NODE_COUNT_MAX:
            raise DefinitionError(f"an expression has more than {NODE_COUNT_MAX} nodes", hint="split it into segments")
        if depth > DEPTH_MAX:
            raise DefinitionError(f"an expression is nested more than {DEPTH_MAX} deep", hint="split it into segments")
        if not isinstance(read, (list, tuple)) or not read or not isinstance(read[0], str):
            raise _malformed(read)
        leaf = _LEAVES.get(read[0])
        if leaf is not None:
            return leaf(read, bound)
        branch = _BRANCHES.get(read[0])
        if branch is None:
            raise _malformed(read)
        return branch(self, read, depth + 1, bound)

    def several(self, read: Any, depth: int, bound: tuple[str, ...]) -> Node:
        tag, count = read[0], len(read) - 1
        fits = {"list": True, "map": count % 2 == 0, "and": count >= 2, "or": count >= 2, "if": count == 3}[tag]
        if not fits:
            raise _malformed(read)
        return (tag, *(self.node(part, depth, bound) for part in read[1:]))

    def comprehension(self, read: Any, depth: int, bound: tuple[str, ...]) -> Node:
        if len(read) != (5 if read[0] == "collect" else 4) or not isinstance(read[1], str):
            raise _malformed(read)
        if not _VARIABLE.match(read[1]) or len(read[1]) > NAME_LENGTH_MAX:
            raise _malformed(read)
        if len(bound) >= NEST_MAX:
            raise DefinitionError(
                f"more than {NEST_MAX} of exists, all, exists_one, map, filter within each other", hint="nest fewer"
            )
        inner = (*bound, read[1])
        rest = (self.node(part, depth, inner) for part in read[3:])
        return (read[0], read[1], self.node(read[2], depth, bound), *rest)

    def call(self, read: Any, depth: int, bound: tuple[str, ...]) -> Node:
        overload = OVERLOADS.get(read[1]) if len(read) > 1 and isinstance(read[1], str) else None
        if overload is None:
            raise DefinitionError(f"this version knows no function {read[1:2]}", hint="update reflexarc on this host")
        if len(read) - 2 != overload.arity:
            raise _malformed(read)
        return ("call", read[1], *(self.node(part, depth, bound) for part in read[2:]))


def _constant(read: Any, _: tuple[str, ...]) -> Node:
    if len(read) != 3:
        raise _malformed(read)
    return ("const", read[1], _constant_from_json(read[1], read[2]))


def _operand(read: Any, _: tuple[str, ...]) -> Node:
    if len(read) != 3 or not isinstance(read[2], str):
        raise _malformed(read)
    return ("operand", _name(read[1]), str(CelType.parse(read[2])))


def _has(read: Any, _: tuple[str, ...]) -> Node:
    if len(read) != 2:
        raise _malformed(read)
    return ("has", _name(read[1]))


def _local(read: Any, bound: tuple[str, ...]) -> Node:
    if len(read) != 2 or read[1] not in bound:
        raise _malformed(read)
    return ("local", read[1])


_LEAVES: Final[dict[str, Callable[[Any, tuple[str, ...]], Node]]] = {
    "const": _constant,
    "operand": _operand,
    "has": _has,
    "local": _local,
}
_BRANCHES: Final[dict[str, Callable[[_Reader, Any, int, tuple[str, ...]], Node]]] = {
    "call": _Reader.call,
    **dict.fromkeys(("list", "map", "and", "or", "if"), _Reader.several),
    **dict.fromkeys(COMPREHENSIONS, _Reader.comprehension),
}


def _constant_from_json(kind: Any, value: Any) -> Any:
    if kind == "bool" and type(value) is bool:
        return value
    if kind == "string" and type(value) is str and len(value) <= STRING_LENGTH_MAX:
        return value
    if kind == "bytes" and type(value) is str and len(value) <= 2 * STRING_LENGTH_MAX:
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise _malformed(value) from None
    if kind == "double":
        if type(value) is str and value in _ENCODED_DOUBLES:
            return _ENCODED_DOUBLES[value]
        if type(value) in (int, float) and abs(value) <= 1.7976931348623157e308:
            return float(value)
    if isinstance(kind, str) and kind in _INT_RANGES:
        if type(value) is str and re.fullmatch(r"-?[0-9]{1,22}", value):
            value = int(value)
        low, high = _INT_RANGES[kind]
        if type(value) is int and low <= value <= high:
            return value
    raise _malformed(["const", kind, value])


def _name(read: Any) -> str:
    if not isinstance(read, str) or len(read) > NAME_LENGTH_MAX or not _NAME.match(read):
        raise _malformed(read)
    return read


def _malformed(read: Any) -> DefinitionError:
    shown = repr(read)
    return DefinitionError(f"no expression: {shown if len(shown) <= 80 else shown[:77] + '...'}", hint="build the catalog again")
