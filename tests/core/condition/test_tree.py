"""The tree as devices read it from a bundle: exact there and back, refused when malformed or over a limit."""

from __future__ import annotations

import json
import math

import pytest

from reflexarc_core.condition import CelType, CheckedExpression, compile_expression
from reflexarc_core.condition import tree as trees
from reflexarc_core.condition.checked import make
from reflexarc_core.errors import DefinitionError

from .texts import check

OPERAND = ["operand", "event.n", "int"]


def deep(depth: int, wrap: object) -> object:
    node: object = OPERAND if wrap("x")[0] == "call" else ["const", "bool", True]  # type: ignore[operator]
    for _ in range(depth - 1):
        node = wrap(node)  # type: ignore[operator]
    return node


@pytest.mark.parametrize(
    "text",
    [
        "predicted_churn_risk > 0.1",
        "event.n in [9223372036854775807, -9223372036854775808]",
        "event.s == '\\u00e9\\n\\''",
        "b'\\xff\\x00' == bytes(event.s)",
        "18446744073709551615u > uint(event.n)",
        "event.d > 1e308 && event.d < 5e-324",
        "event.tags.map(t, size(t) > 1, t + 'x').exists(t, t in {'a': 1})",
        "event.at > timestamp('2026-01-01T00:00:00.000000001Z')",
        "event.b ? {'a': [1.0]} : {'b': [2.0]}",
    ],
)
def test_json_there_and_back_is_exact(text: str) -> None:
    checked = check(text)
    encoded = json.dumps(checked.to_json(), sort_keys=True, allow_nan=False)
    again = CheckedExpression.from_json(json.loads(encoded))
    assert again == checked
    assert json.dumps(again.to_json(), sort_keys=True) == encoded


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_constants_that_json_cannot_hold_travel_as_text(value: float) -> None:
    again = trees.from_json(json.loads(json.dumps(trees.to_json(("const", "double", value)), allow_nan=False)))
    assert repr(again[2]) == repr(value)
    compiled = compile_expression(make("x", CelType("double"), ("call", "negate_double", again)))
    assert repr(compiled.evaluate({}, {}, {}, {})) == repr(-value)


def test_reads_are_sorted_and_count_has() -> None:
    assert check("has(event.s) && features.views > 1.0 && event.n > 1").reads == ("event.n", "event.s", "features.views")


@pytest.mark.parametrize(
    "read",
    [
        None,
        1,
        "const",
        [],
        {},
        ["nothing"],
        [["const"]],
        ["const", "int"],
        ["const", "int", 1.5],
        ["const", "int", True],
        ["const", "int", 2**63],
        ["const", "int", "x"],
        ["const", "bool", 1],
        ["const", "double", "1"],
        ["const", "double", True],
        ["const", "list", []],
        ["const", "bytes", "0"],
        ["const", "string", "x" * 5_000],
        ["const", ["int"], 1],
        ["operand", "event.x"],
        ["operand", "event.x.y", "int"],
        ["operand", "x');evil('", "int"],
        ["operand", "", "int"],
        ["operand", "x", "thing"],
        ["operand", "x", 1],
        ["has", 1],
        ["has"],
        ["has", "x\n"],
        ["local", "x"],
        ["and", OPERAND],
        ["map", OPERAND],
        ["if", OPERAND, OPERAND],
        ["call"],
        ["call", "__import__", OPERAND],
        ["call", ["a"], OPERAND],
        ["call", "negate_int64"],
        ["exists", "x", OPERAND],
        ["exists", "x y", OPERAND, OPERAND],
        ["exists", 1, OPERAND, OPERAND],
        ["exists", "x", ["local", "x"], OPERAND],
        ["collect", "x", OPERAND, OPERAND],
    ],
)
def test_a_malformed_tree_is_refused(read: object) -> None:
    with pytest.raises(DefinitionError):
        trees.from_json(read)


@pytest.mark.parametrize(
    "read",
    [
        None,
        {},
        {"text": "x"},
        {"text": 1, "type": "bool", "tree": OPERAND},
        {"text": "x", "type": "blob", "tree": OPERAND},
        {"text": "x" * 10_000, "type": "int", "tree": OPERAND},
        {"text": "x", "type": "int", "tree": OPERAND, "more": 1},
    ],
)
def test_a_malformed_expression_is_refused(read: object) -> None:
    with pytest.raises(DefinitionError):
        CheckedExpression.from_json(read)


WRAPS = [
    lambda node: ["call", "negate_int64", node],
    lambda node: ["call", "add_int64", node, OPERAND],
    lambda node: ["call", "timestamp_to_int64", node],
    lambda node: ["call", "multiply_int64", OPERAND, node],
    lambda node: ["and", node, ["const", "bool", True]],
    lambda node: ["or", ["const", "bool", False], node],
    lambda node: ["if", node, node if len(str(node)) < 300 else ["const", "bool", True], ["const", "bool", True]],
    lambda node: ["list", node],
    lambda node: ["map", ["const", "int", 1], node],
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_deepest_tree_allowed_compiles_and_a_deeper_one_is_refused(wrap: object) -> None:
    tree = trees.from_json(deep(trees.DEPTH_MAX, wrap))
    compile_expression(make("deep", CelType("int"), tree))
    with pytest.raises(DefinitionError, match="deep"):
        trees.from_json(deep(trees.DEPTH_MAX + 1, wrap))


def test_deep_comprehensions_compile() -> None:
    node: object = ["list", OPERAND]
    for _ in range(trees.DEPTH_MAX - 3):
        node = ["collect", "x", node, ["const", "bool", True], ["local", "x"]]
    compiled = compile_expression(make("deep", CelType.parse("list(int)"), trees.from_json(node)))
    assert compiled.evaluate({"n": 5}, {}, {}, {}) == [5]


def test_too_many_nodes_are_refused() -> None:
    with pytest.raises(DefinitionError, match="nodes"):
        trees.from_json(["list", *([OPERAND] * trees.NODE_COUNT_MAX)])


def test_macros_nested_too_deep_are_refused() -> None:
    node: object = ["const", "bool", True]
    for name in "abcd":
        node = ["exists", name, ["list", OPERAND], node]
    with pytest.raises(DefinitionError, match="within each other"):
        trees.from_json(node)


@pytest.mark.parametrize("text", ["bool", "list(string)", "map(string,double)", "list(map(string,list(int)))"])
def test_types_have_one_text_form(text: str) -> None:
    assert str(CelType.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "number", "list", "list()", "map(double,int)", "map(string)", "list(list(list(list(int))))"]
)
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="no type"):
        CelType.parse(text)
