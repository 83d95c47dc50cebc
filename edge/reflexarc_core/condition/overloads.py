"""The functions of profile 1, by overload, and how each is written in generated code.

Names are those of the CEL language definition's overloads, so another SDK finds them in its own library; two are
ours: `equals_deep` and its kin, where operands are lists or maps. `template` is Python source over the arguments; it
may raise where CEL has a value (the tree walk then decides), it must never give a wrong value. Everything a template
names is in GLOBALS. Must hold no state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reflexarc_core.condition import times, values
from reflexarc_core.value import frozen


@frozen
class Overload:
    """One resolved function. result: its type where it is a scalar, else empty. text: how a person reads it:
    an operator between or before, `.name` for a member, `name` for a global function, `[]` for an index."""

    arity: int
    result: str
    template: str
    apply: Callable[..., Any]
    text: str


def _by_name(arity: int, result: str, function: Callable[..., Any], text: str) -> Overload:
    arguments = ", ".join(f"{{{i}}}" for i in range(arity))
    return Overload(arity, result, f"{function.__name__}({arguments})", function, text)


def _operator(result: str, template: str, apply: Callable[..., Any], text: str) -> Overload:
    return Overload(template.count("{"), result, template, apply, text)


def _same(value: Any) -> Any:
    return value


_COMPARED: Final = ("bool", "int64", "uint64", "double", "string", "bytes", "timestamp", "duration")
_BETWEEN: Final[dict[str, tuple[str, Callable[[Any, Any], Any]]]] = {
    "less": ("<", lambda a, b: a < b),
    "less_equals": ("<=", lambda a, b: a <= b),
    "greater": (">", lambda a, b: a > b),
    "greater_equals": (">=", lambda a, b: a >= b),
}
_WHOLE: Final[dict[str, Callable[..., Any]]] = {"int64": values.in_int, "uint64": values.in_uint}
_DOUBLE: Final[dict[str, tuple[str, Callable[[Any, Any], Any]]]] = {
    "add": ("+", lambda a, b: a + b),
    "subtract": ("-", lambda a, b: a - b),
    "multiply": ("*", lambda a, b: a * b),
}
_TIMES: Final[dict[str, tuple[str, Callable[[int], int], str]]] = {
    "add_timestamp_duration": ("+", times.as_timestamp, "timestamp"),
    "add_duration_timestamp": ("+", times.as_timestamp, "timestamp"),
    "add_duration_duration": ("+", times.as_duration, "duration"),
    "subtract_timestamp_timestamp": ("-", times.as_duration, "duration"),
    "subtract_timestamp_duration": ("-", times.as_timestamp, "timestamp"),
    "subtract_duration_duration": ("-", times.as_duration, "duration"),
}
_SAME: Final = {
    "bool_to_bool": "bool", "int64_to_int64": "int", "uint64_to_uint64": "uint", "double_to_double": "double",
    "string_to_string": "string", "bytes_to_bytes": "bytes", "timestamp_to_timestamp": "timestamp",
    "duration_to_duration": "duration",
}  # fmt: skip

_GETTERS: Final = (
    ("timestamp_to_year", times.year, ".getFullYear"),
    ("timestamp_to_month", times.month, ".getMonth"),
    ("timestamp_to_day_of_month", times.day_of_month, ".getDayOfMonth"),
    ("timestamp_to_day_of_month_1_based", times.date, ".getDate"),
    ("timestamp_to_day_of_week", times.day_of_week, ".getDayOfWeek"),
    ("timestamp_to_day_of_year", times.day_of_year, ".getDayOfYear"),
    ("timestamp_to_hours", times.hours, ".getHours"),
    ("timestamp_to_minutes", times.minutes, ".getMinutes"),
    ("timestamp_to_seconds", times.seconds, ".getSeconds"),
    ("timestamp_to_milliseconds", times.milliseconds, ".getMilliseconds"),
)


def _checked(check: Callable[[Any], Any], act: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: check(act(a, b))


def _table() -> dict[str, Overload]:
    table: dict[str, Overload] = {}
    for name, (sign, act) in _BETWEEN.items():
        for kind in _COMPARED:
            table[f"{name}_{kind}"] = _operator("bool", f"({{0}} {sign} {{1}})", act, sign)
    for name, (sign, act) in _DOUBLE.items():
        table[f"{name}_double"] = _operator("double", f"({{0}} {sign} {{1}})", act, sign)
        for kind, check in _WHOLE.items():
            template = f"{check.__name__}({{0}} {sign} {{1}})"
            table[f"{name}_{kind}"] = _operator(kind[:-2], template, _checked(check, act), sign)
    for name, (sign, check, result) in _TIMES.items():
        act = _DOUBLE["add" if sign == "+" else "subtract"][1]
        table[name] = _operator(result, f"{check.__name__}({{0}} {sign} {{1}})", _checked(check, act), sign)
    for name, kind in _SAME.items():
        table[name] = _operator(kind, "{0}", _same, kind)
    for name, get, text in _GETTERS:
        table[name] = _by_name(1, "int", get, text)
        table[f"{name}_with_tz"] = Overload(2, "int", f"{get.__name__}(shifted({{0}}, {{1}}))", _at_offset(get), text)
    return table


def _at_offset(get: Callable[[int], int]) -> Callable[[int, str], int]:
    return lambda ns, offset: get(times.shifted(ns, offset))


OVERLOADS: Final[dict[str, Overload]] = {
    **_table(),
    "logical_not": _operator("bool", "(not {0})", lambda a: not a, "!"),
    "equals": _operator("bool", "({0} == {1})", lambda a, b: a == b, "=="),
    "not_equals": _operator("bool", "({0} != {1})", lambda a, b: a != b, "!="),
    "equals_deep": _by_name(2, "bool", values.equal_deep, "=="),
    "not_equals_deep": _by_name(2, "bool", values.unequal_deep, "!="),
    "in_list": _operator("bool", "({0} in {1})", lambda a, b: a in b, "in"),
    "in_list_double": _by_name(2, "bool", values.in_doubles, "in"),
    "in_list_deep": _by_name(2, "bool", values.in_deep, "in"),
    "in_map": _operator("bool", "({0} in {1})", lambda a, b: a in b, "in"),
    "index_list": _by_name(2, "", values.index_list, "[]"),
    "index_map": _operator("", "{0}[{1}]", values.index_map, "[]"),
    "divide_int64": _by_name(2, "int", values.divide_int, "/"),
    "divide_uint64": _by_name(2, "uint", values.divide_uint, "/"),
    "divide_double": _by_name(2, "double", values.divide_double, "/"),
    "modulo_int64": _by_name(2, "int", values.modulo_int, "%"),
    "modulo_uint64": _by_name(2, "uint", values.modulo_uint, "%"),
    "negate_int64": _operator("int", "in_int(-{0})", lambda a: values.in_int(-a), "-"),
    "negate_double": _operator("double", "(-{0})", lambda a: -a, "-"),
    "add_string": _by_name(2, "string", values.add_text, "+"),
    "add_bytes": _by_name(2, "bytes", values.add_text, "+"),
    "add_list": _by_name(2, "", values.add_list, "+"),
    "size_string": _operator("int", "len({0})", len, "size"),
    "size_bytes": _operator("int", "len({0})", len, "size"),
    "size_list": _operator("int", "len({0})", len, "size"),
    "size_map": _operator("int", "len({0})", len, "size"),
    "contains_string": _operator("bool", "({1} in {0})", lambda a, b: b in a, ".contains"),
    "starts_with_string": _operator("bool", "{0}.startswith({1})", str.startswith, ".startsWith"),
    "ends_with_string": _operator("bool", "{0}.endswith({1})", str.endswith, ".endsWith"),
    "matches_string": _by_name(2, "bool", values.matches, ".matches"),
    "uint64_to_int64": _by_name(1, "int", values.in_int, "int"),
    "double_to_int64": _by_name(1, "int", values.double_to_int, "int"),
    "string_to_int64": _by_name(1, "int", values.string_to_int, "int"),
    "timestamp_to_int64": _by_name(1, "int", times.to_seconds, "int"),
    "int64_to_uint64": _by_name(1, "uint", values.in_uint, "uint"),
    "double_to_uint64": _by_name(1, "uint", values.double_to_uint, "uint"),
    "string_to_uint64": _by_name(1, "uint", values.string_to_uint, "uint"),
    "int64_to_double": _operator("double", "float({0})", float, "double"),
    "uint64_to_double": _operator("double", "float({0})", float, "double"),
    "string_to_double": _by_name(1, "double", values.string_to_double, "double"),
    "string_to_bool": _by_name(1, "bool", values.string_to_bool, "bool"),
    "bool_to_string": _operator("string", "('true' if {0} else 'false')", lambda a: "true" if a else "false", "string"),
    "int64_to_string": _operator("string", "str({0})", str, "string"),
    "uint64_to_string": _operator("string", "str({0})", str, "string"),
    "double_to_string": _by_name(1, "string", values.double_to_string, "string"),
    "bytes_to_string": _by_name(1, "string", values.bytes_to_string, "string"),
    "timestamp_to_string": _by_name(1, "string", times.timestamp_text, "string"),
    "duration_to_string": _by_name(1, "string", times.duration_text, "string"),
    "string_to_bytes": _operator("bytes", "{0}.encode()", str.encode, "bytes"),
    "int64_to_timestamp": _by_name(1, "timestamp", times.seconds_to_timestamp, "timestamp"),
    "duration_to_hours": _by_name(1, "int", times.whole_hours, ".getHours"),
    "duration_to_minutes": _by_name(1, "int", times.whole_minutes, ".getMinutes"),
    "duration_to_seconds": _by_name(1, "int", times.whole_seconds, ".getSeconds"),
    "duration_to_milliseconds": _by_name(1, "int", times.whole_milliseconds, ".getMilliseconds"),
    "string_char_at_int": _by_name(2, "string", values.char_at, ".charAt"),
    "string_index_of_string": _by_name(2, "int", values.index_of, ".indexOf"),
    "string_index_of_string_int": _by_name(3, "int", values.index_of, ".indexOf"),
    "string_last_index_of_string": _by_name(2, "int", values.last_index_of, ".lastIndexOf"),
    "string_last_index_of_string_int": _by_name(3, "int", values.last_index_of, ".lastIndexOf"),
    "string_lower_ascii": _by_name(1, "string", values.lower_ascii, ".lowerAscii"),
    "string_upper_ascii": _by_name(1, "string", values.upper_ascii, ".upperAscii"),
    "string_replace_string_string": _by_name(3, "string", values.replace, ".replace"),
    "string_replace_string_string_int": _by_name(4, "string", values.replace, ".replace"),
    "string_split_string": _by_name(2, "", values.split, ".split"),
    "string_split_string_int": _by_name(3, "", values.split, ".split"),
    "string_substring_int": _by_name(2, "string", values.substring, ".substring"),
    "string_substring_int_int": _by_name(3, "string", values.substring, ".substring"),
    "string_trim": _by_name(1, "string", values.trim, ".trim"),
    "string_reverse": _operator("string", "{0}[::-1]", lambda text: text[::-1], ".reverse"),
    "strings_quote": _by_name(1, "string", values.quote, "strings.quote"),
    "list_join": _by_name(1, "string", values.join, ".join"),
    "list_join_string": _by_name(2, "string", values.join, ".join"),
}

# What templates may name; generated code sees nothing else of Python but this.
GLOBALS: Final[dict[str, Any]] = {
    "__builtins__": {"Exception": Exception, "len": len, "str": str, "float": float, "any": any, "all": all, "sum": sum},
    "make_map": values.make_map,
    **{
        overload.apply.__name__: overload.apply
        for overload in OVERLOADS.values()
        if overload.template.startswith(f"{overload.apply.__name__}(") and overload.apply.__module__ == values.__name__
    },
    **{
        overload.apply.__name__: overload.apply
        for overload in OVERLOADS.values()
        if overload.template.startswith(f"{overload.apply.__name__}(") and overload.apply.__module__ == times.__name__
    },
    "in_int": values.in_int,
    "in_uint": values.in_uint,
    "as_timestamp": times.as_timestamp,
    "as_duration": times.as_duration,
    "shifted": times.shifted,
}
