"""Shapes: what most events of a type look like, so that a usual one needs no check property by property.

Owns the shapes seen: the names of the properties with the exact types of their values. An event of a known shape is exactly
what `EventType.conform` would make of it, but for the values that have to be looked at (numbers, texts, closed sets).
Must never let pass what conform refuses or changes: where in doubt, it does not fit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Set
from typing import Any, Final

from reflexarc_core.event import STRING_BYTES_MAX, EventType

SHAPES_MAX: Final = 1_000
_INT_MAX: Final = 2**53
_EXACT: Final[Mapping[str, type]] = {"string": str, "double": float, "int": int, "timestamp": int, "bool": bool}

Fits = Callable[..., bool]
"""(the values, in their order) -> whether each is within what its type may hold."""


class Shapes:
    """Shapes of a catalog's event types, under one plan. encoded: types whose texts whoever asks looks at as bytes."""

    __slots__ = ("_encoded", "_types", "known", "plan")

    def __init__(self, plan: Any, types: Mapping[str, EventType], encoded: Set[str]) -> None:
        self.plan = plan
        self._types = types
        self._encoded = encoded
        self.known: dict[tuple[Any, ...], Fits] = {}
        """By the event type, the names and the types of the values."""

    def learn(self, event_type: str, given: Mapping[str, object]) -> Fits | None:
        """The look at the values of events like this one; None where `conform` may refuse or change one."""
        declared = self._types.get(event_type)
        if declared is None or type(given) is not dict or len(self.known) >= SHAPES_MAX:
            return None  # not worth a place: its names are anybody's
        if any(wanted.required and name not in given for name, wanted in declared.properties.items()):
            return None
        looks: list[str | frozenset[str]] = []
        for name, value in given.items():
            wanted = declared.properties.get(name)
            if wanted is None or type(value) is not _EXACT.get(wanted.type):
                return None
            looks.append(frozenset(wanted.values) if wanted.values else wanted.type)
        fits = _look(tuple(looks), with_texts=event_type not in self._encoded)
        self.known[event_type, *given, *map(type, given.values())] = fits
        return fits


@functools.lru_cache(maxsize=SHAPES_MAX)
def _look(looks: tuple[str | frozenset[str], ...], *, with_texts: bool) -> Fits:
    """The look as one expression over the values: by their type, or the closed set a text is of."""
    scope: dict[str, Any] = {}
    names = [f"v{number}" for number in range(len(looks))]
    tests, texts = [], []
    for name, look in zip(names, looks, strict=True):
        if isinstance(look, frozenset):
            scope[f"{name}_closed"] = look
            tests.append(f"{name} in {name}_closed")
        elif look == "double":
            tests.append(f"{name} - {name} == 0.0")  # neither NaN nor infinite
        elif look in ("int", "timestamp"):
            tests.append(f"-{_INT_MAX} <= {name} <= {_INT_MAX}")
        elif look == "string":
            texts.append(name)
    if texts and with_texts:
        # All of them as one: plain and short together, each of them is.
        tests.append(f"(texts := {' + '.join(texts)}).isascii() and len(texts) <= {STRING_BYTES_MAX}")
    exec(f"def fits({', '.join(names)}): return {' and '.join(tests) or 'True'}", scope)
    fits: Fits = scope["fits"]
    return fits
