"""The usual event: of a type whose properties are plain values, as `quick` writes them.

Owns what of a type's declaration a reader of bytes needs to write such an event itself: which properties, how each begins, what
it may hold. Types that mean more to the server than their properties are nobody's usual event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from reflexarc_core.event import IDENTIFY, OUTCOME, EventType, PropertyType
from reflexarc_proto.wire.quick import (
    length,
    name_head,
)

_KINDS: Final[Mapping[str, type]] = {"string": str, "double": float, "bool": bool, "int": int}
Slot = tuple[type, bytes, frozenset[str]]


class Plan(NamedTuple):
    """One event type. slots: by property, its kind, how its field begins, its closed set of values if any."""

    type_part: bytes
    slots: dict[str, Slot]
    required: tuple[str, ...]


def plans_of(event_types: Mapping[str, EventType]) -> dict[str, Plan]:
    """By name; types that mean more to the server than their properties are not usual."""
    found = {}
    for name, declared in event_types.items():
        if name not in (IDENTIFY, OUTCOME):
            content = name.encode()
            required = tuple(each for each, kind in declared.properties.items() if kind.required)
            found[name] = Plan(b"\x12" + length(len(content)) + content, slots_of(declared.properties), required)
    return found


def slots_of(properties: Mapping[str, PropertyType]) -> dict[str, Slot]:
    """Properties, or context, whose values are plain."""
    return {
        name: (_KINDS[kind.type], name_head(name), frozenset(kind.values))
        for name, kind in properties.items()
        if kind.type in _KINDS
    }
