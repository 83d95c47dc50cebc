"""Random expressions, the device's evaluation against the reference implementation: same values, same errors.

The reference is given flat variables (`event.s` is a legal name there) and a bool for each `has(...)`, so that an absent
operand is an error in both. Left out, and tested by hand in `test_evaluation`: `substring` with an end, where the
reference refuses the text's own end against the definition; bytes with a NUL, which its Python binding cuts short.
"""

from __future__ import annotations

import datetime
import os
import random
import re
from collections import Counter
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from reflexarc_build.cel import check_expression
from reflexarc_core.condition import (
    CelType,
    CheckedExpression,
    EvaluationError,
    compile_expression,
    compile_group,
    explain,
)

from .expressions import OPERANDS, Maker, context

CASES = int(os.environ.get("REFLEXARC_CEL_CASES", "36000"))
SEED = int(os.environ.get("REFLEXARC_CEL_SEED", "20261124"))
CONTEXT_COUNT = 6
GROUP_SIZE = 20

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MS = datetime.timedelta(milliseconds=1)
NAMES = {name: CelType.parse(kind) for name, kind in OPERANDS.items()}
KINDS = ("bool", "bool", "bool", "bool", "int", "double", "string", "timestamp", "duration", "list(string)", "list(int)")
ERROR = "ERROR"

Outcome = tuple[type, Any]


def library_type(cel_type: CelType) -> Any:
    inner = [library_type(argument) for argument in cel_type.arguments]
    if cel_type.kind == "list":
        return cel.Type.List(*inner)
    return cel.Type.Map(*inner) if cel_type.kind == "map" else getattr(cel.Type, cel_type.kind.upper())


def flag(name: str) -> str:
    return "has_" + name.replace(".", "_")


def reference() -> Any:
    variables = {name: library_type(cel_type) for name, cel_type in NAMES.items()}
    variables.update({flag(name): cel.Type.BOOL for name in NAMES})
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()])


def library_operands(given: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {flag(name): name in given for name in OPERANDS}
    for name, value in given.items():
        kind = OPERANDS[name]
        made[name] = EPOCH + value * MS if kind == "timestamp" else value * MS if kind == "duration" else value
    return made


def device_operands(given: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    held: dict[str, dict[str, Any]] = {"event": {}, "features": {}, "segments": {}, "": {}}
    for name, value in given.items():
        prefix, _, rest = name.partition(".")
        if prefix in held and rest:
            held[prefix][rest] = value
        else:
            held[""][name] = value
    return tuple(held.values())


def comparable(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return (value.replace(tzinfo=datetime.UTC) - EPOCH) // MS
    if isinstance(value, datetime.timedelta):
        return value // MS
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    return value


def wanted(program: Any, given: dict[str, Any]) -> Any:
    value = program.eval(data=library_operands(given))
    return ERROR if value.type() == cel.Type.ERROR else comparable(value.plain_value())


def same(kind: str, got: Any, want: Any) -> bool:
    # The reference's Python binding cuts times to microseconds, towards zero; comparisons inside expressions are exact.
    if kind in ("timestamp", "duration") and ERROR not in (got, want):
        return abs(got - want) <= 1
    return type(got) is type(want) and bool(got == want)


def test_random_expressions_mean_on_the_device_what_they_mean_in_the_reference() -> None:
    rng = random.Random(SEED)
    maker, environment = Maker(rng), reference()
    seen: Counter[str] = Counter()
    differences: list[str] = []
    conditions: list[tuple[CheckedExpression, Any]] = []
    while seen["evaluations"] < CASES:
        kind = rng.choice(KINDS)
        text = maker.make(kind, rng.choice([2, 3, 4]))
        checked = check_expression(text, NAMES)
        assert str(checked.result_type) == kind
        assert CheckedExpression.from_json(checked.to_json()) == checked
        program = environment.compile(re.sub(r"has\((\w+)\.(\w+)\)", r"has_\1_\2", text))
        compiled = compile_expression(checked)
        for _ in range(CONTEXT_COUNT):
            given = context(rng)
            want = wanted(program, given)
            try:
                got = comparable(compiled.evaluate(*device_operands(given)))
            except EvaluationError:
                got = ERROR
            seen["evaluations"] += 1
            seen["errors" if want == ERROR else "values"] += 1
            if not same(kind, got, want):
                differences.append(f"{text}\n    {given}\n    want {want!r}, got {got!r}")
        if kind == "bool":
            conditions.append((checked, program))
            if len(conditions) == GROUP_SIZE:
                differences += group_differences(conditions, rng, seen)
                conditions.clear()
    assert not differences, "\n".join([f"{len(differences)} of {seen['evaluations']}:", *differences[:5]])
    assert seen["errors"] > CASES / 10, "the contexts no longer reach the error rules"
    assert seen["values"] > CASES / 10, "the contexts no longer reach values"
    assert seen["absorbed"] > CASES / 1000, "no error was absorbed, so absorption is not tested"


def group_differences(conditions: list[tuple[CheckedExpression, Any]], rng: random.Random, seen: Counter[str]) -> list[str]:
    """Conditions fused into one function, with and without absent operands, against each on its own."""
    group = compile_group([checked for checked, _ in conditions])
    found: list[str] = []
    for round_number in range(CONTEXT_COUNT):
        given = context(rng)
        if round_number == 0:  # everything there: the common case has code of its own
            while len(given) < len(OPERANDS):
                given = {**context(rng), **given}
        counts = [0] * group.count_total
        matched, failed = group.evaluate(*device_operands(given), counts)
        outcome: dict[int, Any] = dict.fromkeys(range(len(conditions)), False)
        outcome.update(dict.fromkeys(matched, True))
        outcome.update({index: ERROR for index, _ in failed})
        counted = sum(map(sum, group.false_counts(counts)))
        if counted != len(conditions) - len(matched) - len(failed):
            found.append(f"{counted} counted, {len(matched)} matched, {len(failed)} failed of {len(conditions)}")
        for index, (checked, program) in enumerate(conditions):
            want = wanted(program, given)
            seen["evaluations"] += 1
            if outcome[index] != want:
                found.append(f"in a group: {checked.text}\n    {given}\n    want {want!r}, got {outcome[index]!r}")
            outcomes = [clause.outcome for clause in explain(checked, *device_operands(given))]
            seen["absorbed"] += "error" in outcomes and want is False
            explained = False if "false" in outcomes else ERROR if "error" in outcomes else True
            if explained != want:
                found.append(f"explained: {checked.text}\n    {given}\n    want {want!r}, got {outcomes}")
    return found
