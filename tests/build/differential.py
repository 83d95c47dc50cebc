"""Random expressions, evaluated as devices do and by the reference implementation: same values, same errors.

Owns the comparison: expressions by batches over shared inputs, so that most of the time is spent evaluating. Every value is
asked of the compiled function, some of the tree walk as well, and conditions also of a group's fused function.
"""

from __future__ import annotations

import datetime
import random
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from reflexarc_build.cel import ExpressionError, check_expression
from reflexarc_core.condition import (
    CelType,
    CheckedExpression,
    EvaluationError,
    compile_expression,
    compile_group,
    explain,
)
from reflexarc_core.condition.types import outgoing
from reflexarc_core.condition.walk import Walk
from tests.build.expressions import LISTS, MAPS, Maker, both, flag
from tests.build.inputs import OPERANDS, context
from tests.promises.outcome import Outcome

INPUT_COUNT: Final = 12  # for each expression
GROUP_SIZE: Final = 20
BATCH_SIZE: Final = 100  # expressions over the same inputs
WRONG_MAX: Final = 50
EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MS: Final = datetime.timedelta(milliseconds=1)
NAMES: Final = {name: CelType.parse(kind) for name, kind in OPERANDS.items()}
KINDS: Final = (
    *["bool"] * 8, "int", "int", "uint", "double", "double", "string", "string", "bytes", "timestamp", "duration",
    *(f"list({kind})" for kind in LISTS), "list(list(int))", *MAPS,
)  # fmt: skip
ERROR: Final = "ERROR"

Held = tuple[dict[str, Any], ...]


def run(count: int, seed: int) -> Outcome:
    """So many evaluations, each compared. A difference is `wrong`, with what was evaluated."""
    outcome = Outcome(0)
    rng = random.Random(seed)
    maker, environment = Maker(rng), reference()
    while outcome.runs < count and len(outcome.wrong) < WRONG_MAX:
        _batch(outcome, rng, maker, environment, count)
    return outcome


def reference() -> Any:
    """The reference's environment. `event.s` is a legal name of a flat variable there."""
    variables = {name: library_type(cel_type) for name, cel_type in NAMES.items()}
    variables.update({flag(name): cel.Type.BOOL for name in NAMES})
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings()])


def library_type(cel_type: CelType) -> Any:
    """A type of ours as one of the reference's."""
    inner = [library_type(argument) for argument in cel_type.arguments]
    if cel_type.kind == "list":
        return cel.Type.List(*inner)
    return cel.Type.Map(*inner) if cel_type.kind == "map" else getattr(cel.Type, cel_type.kind.upper())


def library_value(cel_type: CelType, value: Any) -> Any:
    """A host's value as the reference takes it."""
    if cel_type.kind == "list":
        return [library_value(cel_type.arguments[0], item) for item in value]
    if cel_type.kind == "timestamp":
        return EPOCH + value * MS
    return value * MS if cel_type.kind == "duration" else value


def device_operands(given: dict[str, Any]) -> Held:
    """Operands by dotted name as the four dicts an expression is evaluated over."""
    held: dict[str, dict[str, Any]] = {"event": {}, "features": {}, "segments": {}, "": {}}
    for name, value in given.items():
        prefix, _, rest = name.partition(".")
        if prefix in held and rest:
            held[prefix][rest] = value
        else:
            held[""][name] = value
    return tuple(held.values())


def comparable(value: Any) -> Any:
    """A value in a form in which NaN is itself, and times are milliseconds."""
    if isinstance(value, datetime.datetime):
        return (value.replace(tzinfo=datetime.UTC) - EPOCH) // MS
    if isinstance(value, datetime.timedelta):
        return value // MS
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return bytes(value) if isinstance(value, bytearray) else value


def same(cel_type: CelType, got: Any, want: Any) -> bool:
    """Whether both are one value of this type, or both the error."""
    if ERROR in (got, want) and cel_type.kind != "string":
        return bool(got is want)
    if cel_type.kind in ("timestamp", "duration"):
        # The reference's Python binding cuts times to microseconds, towards zero; inside expressions they are exact.
        return type(got) is type(want) and abs(got - want) <= 1
    if cel_type.kind == "list":
        return len(got) == len(want) and all(same(cel_type.arguments[0], a, b) for a, b in zip(got, want, strict=True))
    return type(got) is type(want) and bool(got == want)


class _Inputs:
    """One context in every form it is asked for."""

    def __init__(self, environment: Any, given: dict[str, Any]) -> None:
        data: dict[str, Any] = {flag(name): name in given for name in OPERANDS}
        data.update({name: library_value(NAMES[name], value) for name, value in given.items()})
        self.given = given
        self.held = device_operands(given)
        self.activation = environment.Activation(data)

    def wanted(self, program: Any) -> Any:
        """What the reference says, ERROR for its error."""
        value = program.eval(self.activation)
        return ERROR if value.type() == cel.Type.ERROR else comparable(value.plain_value())


def _batch(outcome: Outcome, rng: random.Random, maker: Maker, environment: Any, count: int) -> None:
    inputs = [_Inputs(environment, context(rng)) for _ in range(4 * INPUT_COUNT)]
    whole = _Inputs(environment, _complete(rng))  # the common case has code of its own
    conditions: list[tuple[CheckedExpression, Any]] = []
    for _ in range(BATCH_SIZE):
        if outcome.runs >= count:
            return
        kind = rng.choice(KINDS)
        text, theirs = both(maker.make(kind, rng.choice([2, 3, 4])))
        try:
            checked = check_expression(text, NAMES)
        except ExpressionError as error:
            outcome.check("nodes" in error.message or "nested" in error.message or "characters" in error.message,
                          f"refused: {text}: {error}")  # fmt: skip
            continue
        program = environment.compile(theirs)
        cel_type = NAMES.get(kind) or CelType.parse(kind)
        outcome.check(checked.result_type == cel_type, f"{text} is {checked.result_type}, not {kind}")
        outcome.check(CheckedExpression.from_json(checked.to_json()) == checked, f"{text} is not what was read back")
        _compare(outcome, checked, program, [*rng.sample(inputs, INPUT_COUNT - 1), whole])
        if kind == "bool":
            conditions.append((checked, program))
            if len(conditions) == GROUP_SIZE:
                for one in (*rng.sample(inputs, INPUT_COUNT // 2), whole):
                    _compare_group(outcome, conditions, one)
                conditions.clear()


def _complete(rng: random.Random) -> dict[str, Any]:
    given: dict[str, Any] = {}
    while len(given) < len(OPERANDS):
        given = {**context(rng), **given}
    return given


def _compare(outcome: Outcome, checked: CheckedExpression, program: Any, inputs: list[_Inputs]) -> None:
    evaluate = compile_expression(checked).evaluate
    convert = outgoing(checked.result_type)
    for number, one in enumerate(inputs):
        want = one.wanted(program)
        ways = {"compiled": lambda one=one: evaluate(*one.held)}
        if number % 4 == 0:
            ways["walked"] = lambda one=one: Walk(*one.held).value(checked.tree)
        for way, ask in ways.items():
            try:
                found = ask()
                got = comparable(found if convert is None or way == "compiled" else convert(found))
            except EvaluationError:
                got = ERROR
            if not same(checked.result_type, got, want):
                outcome.wrong.append(f"{way}: {checked.text}\n    {one.given}\n    want {want!r}, got {got!r}")
        outcome.runs += 1
        outcome.add("errors" if want == ERROR else "values")


def _compare_group(outcome: Outcome, conditions: list[tuple[CheckedExpression, Any]], one: _Inputs) -> None:
    """Conditions fused into one function, against each on its own, and each against what is explained of it."""
    group = compile_group([checked for checked, _ in conditions])
    counts = [0] * group.count_total
    failed: list[tuple[int, EvaluationError]] = []
    matched = group.evaluate(*one.held, counts, failed)
    found: dict[int, Any] = dict.fromkeys(range(len(conditions)), False)
    found.update(dict.fromkeys(matched, True))
    found.update({index: ERROR for index, _ in failed})
    counted = sum(map(sum, group.false_counts(counts)))
    false = len(conditions) - len(matched) - len(failed)
    outcome.check(counted == false, f"{counted} counted, {len(matched)} matched, {len(failed)} failed of {len(conditions)}")
    for index, (checked, program) in enumerate(conditions):
        want = one.wanted(program)
        outcome.runs += 1
        outcome.add("errors" if want == ERROR else "values")
        said = f"{checked.text}\n    {one.given}\n    want {want!r}, got"
        outcome.check(found[index] == want, f"in a group: {said} {found[index]!r}")
        outcomes = [clause.outcome for clause in explain(checked, *one.held)]
        outcome.add("absorbed", int("error" in outcomes and want is False))
        explained: Any = False if "false" in outcomes else ERROR if "error" in outcomes else True
        outcome.check(explained == want, f"explained: {said} {outcomes}")
