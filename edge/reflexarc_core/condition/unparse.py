"""A tree as text a person reads: CEL again, canonical, so two spellings of one clause count as one."""

from __future__ import annotations

import json
from typing import Any, Final

from reflexarc_core.condition import times
from reflexarc_core.condition.overloads import OVERLOADS
from reflexarc_core.condition.tree import TRUE, Node

_RANKS: Final = {"?": 0, "||": 1, "&&": 2, "in": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "!": 6}
_RANKS_COMPARED: Final = ("==", "!=", "<", "<=", ">", ">=")
_TIGHT: Final = 7


def unparse(node: Node) -> str:
    """CEL text of the tree."""
    return _text(node)[0]


def _rank(sign: str) -> int:
    return 3 if sign in _RANKS_COMPARED else _RANKS[sign]


def _within(node: Node, rank: int) -> str:
    text, own = _text(node)
    return text if own >= rank else f"({text})"


def _text(node: Node) -> tuple[str, int]:
    tag = node[0]
    if tag == "const":
        return _constant(node[1], node[2])
    if tag in ("operand", "local"):
        return node[1], _TIGHT
    if tag == "has":
        return f"has({node[1]})", _TIGHT
    if tag in ("and", "or"):
        sign, rank = ("&&", 2) if tag == "and" else ("||", 1)
        return f" {sign} ".join(_within(part, rank + 1) for part in node[1:]), rank
    if tag == "if":
        return f"{_within(node[1], 1)} ? {_within(node[2], 1)} : {_within(node[3], 0)}", 0
    if tag == "list":
        return "[" + ", ".join(unparse(part) for part in node[1:]) + "]", _TIGHT
    if tag == "map":
        pairs = [f"{unparse(node[i])}: {unparse(node[i + 1])}" for i in range(1, len(node), 2)]
        return "{" + ", ".join(pairs) + "}", _TIGHT
    if tag == "call":
        return _call(node)
    return _comprehension(node), _TIGHT


def _comprehension(node: Node) -> str:
    tag, variable, body = node[0], node[1], unparse(node[3])
    items = _within(node[2], _TIGHT)
    if tag != "collect":
        return f"{items}.{tag}({variable}, {body})"
    if node[4] == ("local", variable):
        return f"{items}.filter({variable}, {body})"
    if node[3] == TRUE:
        return f"{items}.map({variable}, {unparse(node[4])})"
    return f"{items}.map({variable}, {body}, {unparse(node[4])})"


def _call(node: Node) -> tuple[str, int]:
    overload, arguments = OVERLOADS[node[1]], node[2:]
    text = overload.text
    if text == "[]":
        return f"{_within(arguments[0], _TIGHT)}[{unparse(arguments[1])}]", _TIGHT
    if text.startswith("."):
        rest = ", ".join(unparse(argument) for argument in arguments[1:])
        return f"{_within(arguments[0], _TIGHT)}{text}({rest})", _TIGHT
    if (text.isalpha() and text != "in") or text == "strings.quote":
        return f"{text}({unparse(arguments[0])})", _TIGHT
    if len(arguments) == 1:
        inner = _within(arguments[0], 6)
        return (f"{text}({inner})" if inner.startswith(text) else f"{text}{inner}"), 6  # two signs would read as one
    rank = _rank(text)
    return f"{_within(arguments[0], rank)} {text} {_within(arguments[1], rank + 1)}", rank


def _constant(kind: str, value: Any) -> tuple[str, int]:
    if kind == "bool":
        return ("true" if value else "false"), _TIGHT
    if kind == "string":
        return json.dumps(value, ensure_ascii=False), _TIGHT
    if kind == "bytes":
        return "b'" + "".join(f"\\x{byte:02x}" for byte in value) + "'", _TIGHT
    if kind == "timestamp":
        return f'timestamp("{times.timestamp_text(value)}")', _TIGHT
    if kind == "duration":
        return f'duration("{times.duration_text(value)}")', _TIGHT
    if kind == "double" and (value != value or value in (float("inf"), float("-inf"))):
        return f'double("{value!r}")', _TIGHT
    text = f"{value}u" if kind == "uint" else repr(value)
    return text, _TIGHT if not text.startswith("-") else 6
