"""A checked CEL expression, as its library serialises it, to our canonical tree.

Owns profile 1: what of CEL a condition may use. Overloads are resolved here, macros recognised, times folded to
constants; everything else is refused by name. Must never keep the library's bytes: they are not deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reflexarc_build.glob import glob_node
from reflexarc_core.condition import times
from reflexarc_core.condition.evaluation_error import EvaluationError
from reflexarc_core.condition.overloads import OVERLOADS
from reflexarc_core.condition.tree import TRUE, Node
from reflexarc_core.condition.types import KEYS, CelType
from reflexarc_core.condition.values import search_of
from reflexarc_proto.cel import checked_pb2 as pb

_PRIMITIVES: Final = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN: Final = {2: "timestamp", 3: "duration"}
_MEMBER_SIZES: Final = {f"{kind}_size": f"size_{kind}" for kind in ("string", "bytes", "list", "map")}
_LITERAL_TIMES: Final = {
    "string_to_timestamp": ("timestamp", times.parse_timestamp),
    "string_to_duration": ("duration", times.parse_duration),
}
_INSTEAD: Final = {
    "string_format": "join the parts with +",
    "to_dyn": "every value has one type; convert with int(), double() or string()",
    "type": "types are known when the catalog is built",
    "int64_to_duration": 'write duration("90s")',
    "duration_to_int64": "write .getSeconds()",
    "string_to_timestamp": 'only a literal, timestamp("2026-01-31T08:00:00Z"); declare the property as a timestamp instead',
    "string_to_duration": 'only a literal, duration("1h30m")',
}

_MIXED: Final = ("values of several or unknown types are outside the profile", "lists and maps hold values of one type each")
_OUTSIDE: Final = {
    "null": ("null is outside the profile", "a value is there or not: write has(event.NAME)"),
    "message_type": ("a namespace or a message is no value", "name one of its fields"),
}


class OutsideProfile(Exception):
    """The expression is CEL, but not of profile 1. offset: where in the text, -1 when unknown."""

    def __init__(self, message: str, hint: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offset = offset


class TreeReader:
    """Converts one checked expression. `names`: the types of operands by dotted name."""

    def __init__(self, checked: pb.CheckedExpr, names: Mapping[str, CelType]) -> None:
        self.checked = checked
        self.names = names
        self.namespaces = {name.partition(".")[0] for name in names if "." in name}

    def read(self) -> tuple[Node, CelType]:
        """The tree and the type of its result. Raises OutsideProfile."""
        root = self.checked.expr
        return self._node(root, frozenset()), self._type(root)

    def _refuse(self, expr: Any, message: str, hint: str = "") -> OutsideProfile:
        return OutsideProfile(message, hint, self.checked.source_info.positions.get(expr.id, -1))

    def _type(self, expr: Any) -> CelType:
        given = self.checked.type_map[expr.id] if expr.id in self.checked.type_map else pb.Type(dyn=pb.Type.Empty())
        found = self._cel_type(given)
        if found is None:
            message, hint = _OUTSIDE.get(given.WhichOneof("type_kind") or "", _MIXED)
            raise self._refuse(expr, message, hint)
        return found

    def _cel_type(self, found: Any) -> CelType | None:
        kind = found.WhichOneof("type_kind")
        if kind == "primitive":
            return CelType(_PRIMITIVES[found.primitive])
        if kind == "well_known" and found.well_known in _WELL_KNOWN:
            return CelType(_WELL_KNOWN[found.well_known])
        if kind == "list_type":
            element = self._cel_type(found.list_type.elem_type)
            return CelType("list", (element,)) if element else None
        if kind == "map_type":
            key, value = self._cel_type(found.map_type.key_type), self._cel_type(found.map_type.value_type)
            return CelType("map", (key, value)) if key and value and key.kind in KEYS else None
        return None

    def _node(self, expr: Any, bound: frozenset[str]) -> Node:
        kind = expr.WhichOneof("expr_kind")
        if kind == "const_expr":
            return self._constant(expr)
        if kind == "ident_expr":
            return self._name(expr, bound)
        if kind == "select_expr":
            return self._select(expr, bound)
        if kind == "call_expr":
            return self._call(expr, bound)
        if kind == "comprehension_expr":
            return self._comprehension(expr, bound)
        if kind == "list_expr":
            if expr.list_expr.optional_indices:
                raise self._refuse(expr, "optional elements are outside the profile")
            elements = [self._node(element, bound) for element in expr.list_expr.elements]
            if elements:
                self._type(expr)
            return ("list", *elements)
        if kind == "struct_expr":
            return self._map(expr, bound)
        raise self._refuse(expr, "an expression of a form outside the profile")

    def _constant(self, expr: Any) -> Node:
        constant = expr.const_expr
        kind = constant.WhichOneof("constant_kind")
        if kind == "null_value":
            raise self._refuse(expr, *_OUTSIDE["null"])
        names = {"bool_value": "bool", "int64_value": "int", "uint64_value": "uint", "double_value": "double",
                 "string_value": "string", "bytes_value": "bytes"}  # fmt: skip
        return ("const", names[kind], getattr(constant, kind))

    def _name(self, expr: Any, bound: frozenset[str]) -> Node:
        name = expr.ident_expr.name
        if name in bound:
            return ("local", name)
        if name in self.names:
            return ("operand", name, str(self.names[name]))
        if name in self.namespaces:
            example = min(known for known in self.names if known.startswith(f"{name}."))
            raise self._refuse(expr, f"{name} stands alone", f"write {name}.NAME, for example {example}")
        raise self._refuse(expr, f"{name} is a type, not a value", "types are outside the profile")

    def _select(self, expr: Any, bound: frozenset[str]) -> Node:
        select = expr.select_expr
        root = select.operand.ident_expr.name if select.operand.WhichOneof("expr_kind") == "ident_expr" else ""
        if root in self.namespaces and root not in bound:
            name = f"{root}.{select.field}"
            return ("has", name) if select.test_only else ("operand", name, str(self.names[name]))
        held = self._type(select.operand)
        if held.kind != "map":
            raise self._refuse(expr, f".{select.field} of a {held}", "only maps and namespaces have fields")
        overload = "in_map" if select.test_only else "index_map"
        key: Node = ("const", "string", select.field)
        target = self._node(select.operand, bound)
        return ("call", overload, key, target) if select.test_only else ("call", overload, target, key)

    def _map(self, expr: Any, bound: frozenset[str]) -> Node:
        struct = expr.struct_expr
        if struct.message_name:
            hint = 'write the value: 5, "text", timestamp("2026-01-31T08:00:00Z")'
            raise self._refuse(expr, f"messages ({struct.message_name}) are outside the profile", hint)
        if struct.entries:
            key = self._cel_type(self.checked.type_map[struct.entries[0].map_key.id])
            if key is not None and key.kind not in KEYS:
                raise self._refuse(expr, f"a map with keys of {key}", f"keys are {', '.join(KEYS)}")
            self._type(expr)
        parts: list[Node] = []
        for entry in struct.entries:
            if entry.optional_entry:
                raise self._refuse(expr, "optional entries are outside the profile")
            parts += [self._node(entry.map_key, bound), self._node(entry.value, bound)]
        return ("map", *parts)

    def _call(self, expr: Any, bound: frozenset[str]) -> Node:
        call = expr.call_expr
        arguments = [*([call.target] if call.HasField("target") else []), *call.args]
        overload = self._overload(expr, arguments)
        if overload in _LITERAL_TIMES:
            return self._literal_time(expr, overload, arguments[0])
        if overload == "string_glob":
            return self._glob(arguments, bound)
        nodes = [self._node(argument, bound) for argument in arguments]
        if overload in ("logical_and", "logical_or"):
            tag = overload[8:]
            clauses = [part for node in nodes for part in (node[1:] if node[0] == tag else (node,))]
            return (tag, *clauses)
        if overload == "conditional":
            return ("if", *nodes)
        if overload not in OVERLOADS:
            raise self._refuse(expr, f"{call.function} ({overload}) is outside the profile", _INSTEAD.get(overload, ""))
        node: Node = ("call", overload, *nodes)
        self._check_pattern(node, arguments[-1])
        return node

    def _overload(self, expr: Any, arguments: list[Any]) -> str:
        function = expr.call_expr.function
        found = list(self.checked.reference_map[expr.id].overload_id) if expr.id in self.checked.reference_map else []
        if len(found) != 1:
            raise self._refuse(expr, f"{function} over values whose types are not known", "every value has one type")
        name = str(found[0])
        if name.endswith("_tz"):
            self._check_offset(arguments[1], function)
            name = f"{name.removesuffix('_tz').removesuffix('_with')}_with_tz"  # the library has both spellings
        if name in ("equals", "not_equals", "in_list"):
            return self._by_operands(expr, name, arguments)
        return "matches_string" if name == "matches" else _MEMBER_SIZES.get(name, name)

    def _by_operands(self, expr: Any, name: str, arguments: list[Any]) -> str:
        kinds = {self._type(argument).kind for argument in arguments[: 1 if name == "in_list" else 2] if not _empty(argument)}
        if kinds <= {"list", "map"}:
            return f"{name}_deep"
        if len(kinds) > 1:
            raise self._refuse(expr, f"{' and '.join(sorted(kinds))} are never equal", "convert one of them")
        return "in_list_double" if name == "in_list" and kinds == {"double"} else name

    def _check_offset(self, argument: Any, function: str) -> None:
        """A time zone by name means another offset every year, and hosts hold no database of them."""
        hint = 'write a fixed offset, "+02:00", or leave it out for UTC'
        if argument.const_expr.WhichOneof("constant_kind") != "string_value":
            raise self._refuse(argument, f"{function} with a time zone that is no literal", hint)
        text = argument.const_expr.string_value
        try:
            times.parse_offset(text)
        except ValueError:
            raise self._refuse(argument, f"{function} with the time zone {text!r}", hint) from None

    def _glob(self, arguments: list[Any], bound: frozenset[str]) -> Node:
        target, argument = arguments
        if argument.const_expr.WhichOneof("constant_kind") != "string_value":
            raise self._refuse(argument, "glob() of a pattern that is no literal", 'write it in quotes: glob("/shop/*")')
        try:
            node = glob_node(self._node(target, bound), argument.const_expr.string_value)
        except ValueError as error:
            raise self._refuse(argument, f"{argument.const_expr.string_value!r} is no glob", str(error)) from None
        self._check_pattern(node, argument)
        return node

    def _check_pattern(self, node: Node, argument: Any) -> None:
        """A constant pattern must be one that every host takes."""
        if node[1] == "matches_string" and node[3][0] == "const":
            try:
                search_of(node[3][2])
            except EvaluationError as error:
                raise self._refuse(argument, error.message, "patterns are RE2: github.com/google/re2/wiki/Syntax") from None

    def _literal_time(self, expr: Any, overload: str, argument: Any) -> Node:
        kind, parse = _LITERAL_TIMES[overload]
        if argument.const_expr.WhichOneof("constant_kind") != "string_value":
            raise self._refuse(expr, f"{kind}() of a value that is no literal", _INSTEAD[overload])
        text = argument.const_expr.string_value
        try:
            ns = parse(text)
        except ValueError as error:
            raise self._refuse(argument, f"{text!r} is no {kind}", str(error)) from None
        if kind == "timestamp" and not times.TIMESTAMP_MIN <= ns <= times.TIMESTAMP_MAX:
            raise self._refuse(argument, f"{text!r} is outside the years 1 to 9999", "years have four digits, from 0001 on")
        if kind == "duration" and abs(ns) > times.DURATION_MAX:
            raise self._refuse(argument, f"{text!r} is beyond 292 years", "a duration is at most 2562047h")
        return ("const", kind, ns)

    def _comprehension(self, expr: Any, bound: frozenset[str]) -> Node:
        """The five standard macros, known by the shape of what they expand to."""
        loop = expr.comprehension_expr
        if loop.iter_var2:
            raise self._refuse(expr, "macros over two variables are outside the profile")
        inner = bound | {loop.iter_var}
        items = self._node(loop.iter_range, bound)
        start = loop.accu_init.const_expr.WhichOneof("constant_kind")
        step = loop.loop_step.call_expr
        if start == "bool_value":
            tag = "all" if loop.accu_init.const_expr.bool_value else "exists"
            return (tag, loop.iter_var, items, self._node(step.args[1], inner))
        if start == "int64_value":
            return ("exists_one", loop.iter_var, items, self._node(step.args[0], inner))
        predicate = TRUE
        if step.function == "_?_:_":
            predicate = self._node(step.args[0], inner)
            step = step.args[1].call_expr
        value = self._node(step.args[1].list_expr.elements[0], inner)
        return ("collect", loop.iter_var, items, predicate, value)


def _empty(expr: Any) -> bool:
    kind = expr.WhichOneof("expr_kind")
    return (kind == "list_expr" and not expr.list_expr.elements) or (
        kind == "struct_expr" and not expr.struct_expr.entries and not expr.struct_expr.message_name
    )
