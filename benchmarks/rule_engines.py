"""The engines of `rules`, each in its best usage. Owns how one is set up; imports it only when it is asked for.

A builder takes (number, condition) pairs over `event`, `page` and the features, and gives a function from an event dict to
the numbers of the conditions that are true, read out as Python integers.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from typing import Any

Numbered = Sequence[tuple[int, str]]
Ask = Callable[[dict[str, Any]], list[int]]
LISTS = ("cel-expr-python", "common-expression-language")  # all conditions as one list expression
SLOW = ("cel-python",)
ENGINES = {
    "cel-expr-python": ("cel_expr_python", "cel-expr-python"),
    "common-expression-language": ("cel", "common-expression-language"),
    "zen-engine": ("zen", "zen-engine"),
    "rule-engine": ("rule_engine", "rule-engine"),
    "cel-python": ("celpy", "cel-python"),
}


def missing() -> dict[str, str]:
    """Engines that are not installed here, with what to do."""
    return {
        name: f"{distribution} is not installed: pip install -c constraints.txt -e '.[bench]'"
        for name, (module, distribution) in ENGINES.items()
        if importlib.util.find_spec(module) is None
    }


def present() -> dict[str, Callable[[Numbered, Sequence[str]], Ask]]:
    """The builders of those that are installed."""
    gone = missing()
    builders = {"cel-expr-python": _cel_cpp, "common-expression-language": _cel_rust, "zen-engine": _zen,
                "rule-engine": _rule_engine, "cel-python": _celpy}  # fmt: skip
    return {name: build for name, build in builders.items() if name not in gone}


def _one_list(numbered: Numbered) -> str:
    return "[" + ", ".join(text for _, text in numbered) + "]"


def _cel_cpp(numbered: Numbered, features: Sequence[str]) -> Ask:
    from cel_expr_python import cel

    names = {**dict.fromkeys(features, cel.Type.DOUBLE), "event": cel.Type.STRING, "page": cel.Type.STRING}
    environment = cel.NewEnv(variables=names)
    program = environment.compile(_one_list(numbered))
    numbers = [number for number, _ in numbered]

    def ask(event: dict[str, Any]) -> list[int]:
        return [n for n, hit in zip(numbers, program.eval(data=event).plain_value(), strict=True) if hit]

    return ask


def _cel_rust(numbered: Numbered, features: Sequence[str]) -> Ask:
    import cel

    program = cel.compile(_one_list(numbered))
    numbers = [number for number, _ in numbered]

    def ask(event: dict[str, Any]) -> list[int]:
        found = program.execute(cel.Context(variables=event))
        return [n for n, hit in zip(numbers, found, strict=True) if hit]

    return ask


def _zen(numbered: Numbered, features: Sequence[str]) -> Ask:
    import zen

    compiled = [(n, zen.compile_expression(_words(text, "startsWith({0}, {1})"))) for n, text in numbered]

    def ask(event: dict[str, Any]) -> list[int]:
        return [n for n, one in compiled if one.evaluate(event)]

    return ask


def _rule_engine(numbered: Numbered, features: Sequence[str]) -> Ask:
    import rule_engine

    compiled = [(n, rule_engine.Rule(_words(text, "{0}.starts_with({1})"))) for n, text in numbered]

    def ask(event: dict[str, Any]) -> list[int]:
        return [n for n, one in compiled if one.matches(event)]

    return ask


def _celpy(numbered: Numbered, features: Sequence[str]) -> Ask:
    import celpy

    environment = celpy.Environment()
    compiled = [(n, environment.program(environment.compile(text))) for n, text in numbered]

    def ask(event: dict[str, Any]) -> list[int]:
        given = celpy.json_to_cel(event)
        return [n for n, one in compiled if one.evaluate(given)]

    return ask


def _words(text: str, starts: str) -> str:
    """The same condition in the words of an engine that is no CEL."""
    text = re.sub(r"(\w+)\.startsWith\(('[^']*')\)", lambda found: starts.format(found[1], found[2]), text)
    return text.replace("&&", "and").replace("||", "or")
