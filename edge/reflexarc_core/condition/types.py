"""The types of operands and results, their text form, and how values cross the border of a condition.

Inside a condition timestamps and durations are int nanoseconds, as CEL counts them; hosts hold int milliseconds.
Must never coerce a value that a host declared wrongly: that is the host's duty, before evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reflexarc_core.errors import DefinitionError
from reflexarc_core.value import frozen

SCALARS: Final = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
KEYS: Final = ("bool", "int", "uint", "string")
TYPE_DEPTH_MAX: Final = 4
NS_PER_MS: Final = 1_000_000

Converter = Callable[[Any], Any]


@frozen
class CelType:
    """A scalar (`kind` one of SCALARS), `list` of one argument, or `map` of key and value arguments."""

    kind: str
    arguments: tuple[CelType, ...] = ()

    def __str__(self) -> str:
        if not self.arguments:
            return self.kind
        return f"{self.kind}({','.join(str(argument) for argument in self.arguments)})"

    @staticmethod
    def parse(text: str) -> CelType:
        """`map(string,double)` and the like. Raises DefinitionError when the text is no type."""
        return _parse(text, text, 1)

    @property
    def holds_time(self) -> bool:
        """Whether a timestamp or a duration is anywhere in it."""
        return self.kind in ("timestamp", "duration") or any(argument.holds_time for argument in self.arguments)


def _parse(text: str, whole: str, depth: int) -> CelType:
    text = text.strip()
    if text in SCALARS:
        return CelType(text)
    if depth < TYPE_DEPTH_MAX and text.startswith("list(") and text.endswith(")"):
        return CelType("list", (_parse(text[5:-1], whole, depth + 1),))
    if depth < TYPE_DEPTH_MAX and text.startswith("map(") and text.endswith(")"):
        key, comma, value = text[4:-1].partition(",")
        if comma and key.strip() in KEYS:
            return CelType("map", (CelType(key.strip()), _parse(value, whole, depth + 1)))
    raise DefinitionError(
        f"no type {whole!r}", hint=f"one of {', '.join(SCALARS)}, list(T) or map(string,T), at most {TYPE_DEPTH_MAX} deep"
    )


def incoming(cel_type: CelType) -> Converter | None:
    """How a host's value of this type becomes a condition's; None when it already is one."""
    return _scale(cel_type, _to_ns)


def outgoing(cel_type: CelType) -> Converter | None:
    """How a condition's result becomes a host's value; None when it already is one. Milliseconds round down."""
    return _scale(cel_type, _to_ms)


def _scale(cel_type: CelType, scale: Converter) -> Converter | None:
    if not cel_type.holds_time:
        return None
    if cel_type.kind == "list":
        element = _scale(cel_type.arguments[0], scale)
        assert element is not None
        return lambda value: [element(item) for item in value]
    if cel_type.kind == "map":
        held = _scale(cel_type.arguments[1], scale)
        assert held is not None
        return lambda value: {key: held(item) for key, item in value.items()}
    return scale


def _to_ns(value: Any) -> int:
    if type(value) is not int:  # text times a million would be a very long text, not an error
        raise TypeError("a time is a whole number of milliseconds")
    return value * NS_PER_MS


def _to_ms(value: int) -> int:
    return value // NS_PER_MS
