"""Why an expression has no value. Owns the error and its kinds.

It is an outcome of the language (CEL has errors as values), so it is no member of the product's error family: it never
leaves the engine, and nothing a host does wrong may be mistaken for it.
"""

from __future__ import annotations

from typing import Final

NO_VALUE: Final = "no_value"
NO_KEY: Final = "no_key"
ARITHMETIC: Final = "arithmetic"
RANGE: Final = "range"
CONVERSION: Final = "conversion"
PATTERN: Final = "pattern"
LIMIT: Final = "limit"
TYPE: Final = "type"

KINDS: Final = (NO_VALUE, NO_KEY, ARITHMETIC, RANGE, CONVERSION, PATTERN, LIMIT, TYPE)


class EvaluationError(Exception):
    """kind: one of KINDS. operand_name: the dotted name that has no value, only with NO_VALUE."""

    def __init__(self, kind: str, operand_name: str | None, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.operand_name = operand_name
        self.message = message


def no_value(name: str) -> EvaluationError:
    """An operand is absent: never 0, never false."""
    return EvaluationError(NO_VALUE, name, f"no value: {name}")
