"""The type check of expressions: CEL text and the names it may read in, a checked expression out.

The reference implementation parses and checks; `checked_tree` turns what it found into our tree. Owns the messages an
author sees. Must never evaluate anything, and never be imported on a device.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, timestamp_pb2

from reflexarc_build.checked_tree import OutsideProfile, TreeReader
from reflexarc_core.condition import CelType, CheckedExpression, compare_lines, line_misuse
from reflexarc_core.condition import tree as trees
from reflexarc_core.condition.checked import TEXT_LENGTH_MAX, make
from reflexarc_core.condition.explain import clauses
from reflexarc_core.errors import DefinitionError
from reflexarc_proto.cel import checked_pb2 as pb

__all__ = ["ExpressionError", "check_expression", "clauses", "compare_lines", "line_misuse"]

_PACKAGE: Final = "reflexarc.names"
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_FIELD_TYPES: Final = {
    "bool": _FIELD.TYPE_BOOL, "int": _FIELD.TYPE_INT64, "uint": _FIELD.TYPE_UINT64, "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING, "bytes": _FIELD.TYPE_BYTES,
}  # fmt: skip
_MESSAGES: Final = {"timestamp": ".google.protobuf.Timestamp", "duration": ".google.protobuf.Duration"}
# Declared, never run: `checked_tree` puts what it means in its place.
_GLOB: Final = cel.FunctionDecl(
    "glob",
    [cel.Overload("string_glob", return_type=cel.Type.BOOL, parameters=[cel.Type.STRING, cel.Type.STRING], is_member=True)],
)

_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_UNSUPPORTED = re.compile(r"unsupported syntax '([^']*)'")
_TWO_VARIABLES = re.compile(r"\.(all|exists|exists_one|existsOne|transform\w+)\(\s*\w+\s*,\s*\w+\s*,")
_EXTENSIONS: Final = {
    "optional": "a value is there or not: has(event.NAME)",
    "cel": "a part that occurs twice is a segment",
    "math": "compare: a > b ? a : b",
    "sets": "all and exists: a.all(x, x in b)",
    "lists": "all, exists, exists_one, map and filter",
    "base64": "compare the text as it came",
    "regex": "matches()",
    "proto": "name the fields of an event: event.NAME",
    "net": "compare the text",
}
_NO_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '(?:.*\.)?([^'.]*)'")
_NO_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '([^']*)'")
_WELL_KNOWN = re.compile(r"google\.protobuf\.(Timestamp|Duration)")
_INT_LITERAL = re.compile(r"(?<![\w.])(\d+)(?![\w.])")
_DOUBLE_LITERAL = re.compile(r"(?<![\w.])(\d+\.\d+)(?![\w.])")


class ExpressionError(DefinitionError):
    """An expression that cannot be meant. line and column: from 1, within the expression; 0 when not known."""

    def __init__(self, message: str, *, hint: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.column = column


def check_expression(text: str, names: Mapping[str, CelType]) -> CheckedExpression:
    """Parse and type-check one expression.

    names: types by dotted operand name (`event.page_url`) or bare name (`predicted_churn_risk`). Raises ExpressionError
    with what to write instead. The result is not asked to be bool: a condition's owner does that.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise ExpressionError(f"an expression of {len(text)} characters", hint=f"at most {TEXT_LENGTH_MAX}; use segments")
    known = tuple(sorted((name, str(cel_type)) for name, cel_type in names.items()))
    try:
        compiled = _environment(known).compile(text)
    except RuntimeError as error:  # the library has one exception for everything an author can get wrong
        raise _explained(str(error), text, names) from None
    packed = any_pb2.Any()
    packed.ParseFromString(compiled.serialize())
    checked = pb.CheckedExpr()
    checked.ParseFromString(packed.value)
    try:
        tree, result_type = TreeReader(checked, names).read()
    except OutsideProfile as outside:
        line, column = _line_and_column(text, outside.offset)
        raise ExpressionError(outside.message, hint=outside.hint, line=line, column=column) from None
    try:
        trees.validate(tree)
    except DefinitionError as error:
        raise ExpressionError(error.message, hint=error.hint) from None
    return make(text, result_type, tree)


@functools.lru_cache(maxsize=64)
def _environment(known: tuple[tuple[str, str], ...]) -> Any:
    """Bare names are variables; a namespace is a message type made here, so that has() and unknown fields are checked."""
    variables: dict[str, Any] = {}
    spaces: dict[str, list[tuple[str, CelType]]] = {}
    for name, type_text in known:
        space, dot, field = name.partition(".")
        if dot:
            spaces.setdefault(space, []).append((field, CelType.parse(type_text)))
        else:
            variables[name] = _library_type(CelType.parse(type_text))
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, duration_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="reflexarc/names.proto", package=_PACKAGE, syntax="proto2",
        dependency=["google/protobuf/timestamp.proto", "google/protobuf/duration.proto"],
    )  # fmt: skip
    for space, fields in spaces.items():
        if space in variables:
            raise DefinitionError(f"{space} is both a name and a namespace", hint="rename one of them")
        message = file.message_type.add(name=space)
        for number, (field, cel_type) in enumerate(fields, 1):
            _add_field(message, f"{_PACKAGE}.{space}", field, number, cel_type)
        variables[space] = cel.Type(f"{_PACKAGE}.{space}")
    pool.AddSerializedFile(file.SerializeToString())
    return cel.NewEnv(descriptor_pool=pool, variables=variables, extensions=[ext_strings.ExtStrings()], functions=[_GLOB])


def _library_type(cel_type: CelType) -> Any:
    if cel_type.kind == "list":
        return cel.Type.List(_library_type(cel_type.arguments[0]))
    if cel_type.kind == "map":
        return cel.Type.Map(_library_type(cel_type.arguments[0]), _library_type(cel_type.arguments[1]))
    return getattr(cel.Type, cel_type.kind.upper())


def _add_field(message: Any, path: str, name: str, number: int, cel_type: CelType) -> None:
    # A name of its own in JSON for each field: protobuf refuses two that differ in case or underscores only.
    field = message.field.add(name=name, number=number, json_name=f"f{number}", label=_FIELD.LABEL_OPTIONAL)
    if cel_type.kind == "list":
        field.label = _FIELD.LABEL_REPEATED
        cel_type = cel_type.arguments[0]
    if cel_type.kind == "map":
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, path, "key", 1, cel_type.arguments[0])
        _add_field(entry, path, "value", 2, cel_type.arguments[1])
        entry.field[0].json_name, entry.field[1].json_name = "key", "value"
        field.label, field.type, field.type_name = _FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE, f".{path}.{entry_name}"
    elif cel_type.kind in _MESSAGES:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, _MESSAGES[cel_type.kind]
    elif cel_type.kind in _FIELD_TYPES:
        field.type = _FIELD_TYPES[cel_type.kind]
    else:
        raise DefinitionError(f"{name}: a {cel_type} within a list in a namespace", hint="give it a bare name")


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    if offset < 0:
        return 0, 0
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _explained(said: str, text: str, names: Mapping[str, CelType]) -> ExpressionError:
    """The library's first complaint with advice. It has no codes, so its text is read here, and only to add a hint."""
    found = _PLACE.search(said)
    if "recursion limit" in said:
        return ExpressionError("an expression nested too deeply", hint="take parts of it out as segments")
    if not found:
        return ExpressionError(said.strip().splitlines()[0] if said.strip() else "no expression")
    line, column = int(found[1]), int(found[2])
    message, hint = found[3].replace(" [INVALID_ARGUMENT]", ""), ""
    if unknown := _UNDECLARED.search(message):
        message, hint = f"nothing is named {unknown[1]}", _nearest(unknown[1], names)
        message, hint = _of_an_extension(unknown[1], text) or (message, hint)
    elif unsupported := _UNSUPPORTED.search(message):
        message, hint = f"{unsupported[1]} (optional values) is outside the profile", "a value is there or not: has(event.NAME)"
    elif no_field := _NO_FIELD.search(message):
        name = f"{no_field[2]}.{no_field[1]}"
        message, hint = f"nothing is named {name}", _nearest(name, names)
    elif overload := _NO_OVERLOAD.search(message):
        message, hint = _no_overload(overload[1], overload[2], text, line, column)
    elif "has()" in message:
        hint = "has(event.NAME) asks whether a value is there; a model's output is compared, purchase_intent_score > 0.8"
    elif "Syntax error" in message:
        message = re.sub(r", expecting \{.*|expecting \{.*", "", message).strip()
    return ExpressionError(message, hint=hint, line=line, column=column)


def _of_an_extension(name: str, text: str) -> tuple[str, str] | None:
    """What a name is that only other extensions of CEL know, and what to write; None when it is no such name."""
    space, dot, _ = name.partition(".")
    called = dot or re.search(rf"\b{re.escape(name)}\s*\.\s*\w+\(", text)
    if space in _EXTENSIONS and called:
        return f"the extension {space} is outside the profile", _EXTENSIONS[space]
    if not dot:
        bound = re.search(rf"\bcel\.bind\(\s*{re.escape(name)}\s*,", text)
        if bound:
            return "the extension cel is outside the profile", _EXTENSIONS["cel"]
        two = _TWO_VARIABLES.search(text)
        if two:
            return f"{two[1]} over two variables is outside the profile", "macros have one variable: event.tags.all(x, x != '')"
    return None


def _operand_types(types: str) -> list[str]:
    """`(int, map(string, int))` as its parts."""
    parts, depth = [""], 0
    for character in types.removeprefix("(").removesuffix(")"):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [_WELL_KNOWN.sub(lambda found: found[1].lower(), part.strip()) for part in parts]


def _no_overload(function: str, types: str, text: str, line: int, column: int) -> tuple[str, str]:
    sign = function.strip("_@").replace("_", "")
    kinds = _operand_types(types)
    message = f"{sign or function} does not go with {' and '.join(kinds)}"
    if sorted(kinds) != ["double", "int"]:
        if sign == "[]":
            return message, "only lists and maps are indexed; a field is named: event.NAME"
        if sign == "%":
            return message, "% is for whole numbers: int() around a double"
        hints = {"bool": "a condition joins what is true or false", "string": "compare text with text in quotes"}
        return message, next((hints[kind] for kind in kinds if kind in hints), "")
    rows = text.split("\n")
    row = rows[line - 1] if line <= len(rows) else text
    after, before = row[column - 1 :], row[: column - 1]
    literal = _INT_LITERAL.search(after) if kinds[1] == "int" else None
    if literal is None and kinds[0] == "int":
        literal = next(reversed(list(_INT_LITERAL.finditer(before))), None)
    if literal is not None:
        return message, f"write {literal[1]}.0 instead of {literal[1]}"
    double = _DOUBLE_LITERAL.search(after) or _DOUBLE_LITERAL.search(before)
    if double is not None:
        return message, f"write a whole number instead of {double[1]}, or double(...) around the int"
    return message, "write double(...) around the int"


def _nearest(name: str, known: Iterable[str]) -> str:
    """Names that may have been meant."""
    names = sorted(known)
    space = name.partition(".")[0] + "."
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    close = close or [other for other in names if other.rpartition(".")[2] == name.rpartition(".")[2]][:3]
    if close:
        return f"perhaps {' or '.join(close)}"
    inside = [other for other in names if other.startswith(space)][:8]
    return f"known: {', '.join(inside or names[:8])}" if names else "nothing can be read here"
