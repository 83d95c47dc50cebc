"""The usual event, checked and written in one pass: what a type declares, in plain values, straight to a record's bytes.

Owns a road beside `EventType.conform` and `event_record` for events that need neither: every name declared, every value of its
declared type. It gives the same bytes as they would, or None for whatever is not usual; it never refuses. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from reflexarc_core.event import IDENTIFY, OUTCOME, EventType, PropertyType
from reflexarc_proto.wire.quick import (
    CONTEXT_HEADS,
    DOUBLE,
    PROPERTY_HEADS,
    SHORT,
    TEXT_HEADS,
    length,
    name_head,
    subject_part,
    time_varint,
    varint,
)

_KINDS: Final[Mapping[str, type]] = {"string": str, "double": float, "bool": bool, "int": int}
_TRUE, _FALSE = b"\x12\x02\x20\x01", b"\x12\x02\x20\x00"
_EXACT_MAX: Final = 2**53
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
    """Properties, or context, whose values are written here."""
    return {
        name: (_KINDS[kind.type], name_head(name), frozenset(kind.values))
        for name, kind in properties.items()
        if kind.type in _KINDS
    }


def written(slots: Mapping[str, Slot], given: Mapping[str, Any], heads: tuple[bytes, ...]) -> bytes | None:
    """The fields of an event's properties or context; None when one of them is not usual. heads: of their map."""
    made = b""
    for name, value in given.items():
        slot = slots.get(name)
        if slot is None:
            return None
        kind, head, values = slot
        if kind is str:
            if type(value) is not str or (values and value not in values):
                return None
            text = value.encode()
            count = len(text)
            if count >= SHORT - 256:
                return None
            entry = head + TEXT_HEADS[count] + text
        elif kind is float:
            if type(value) is int:
                if not -_EXACT_MAX <= value <= _EXACT_MAX:
                    return None
            elif type(value) is not float or value - value != 0.0:
                return None
            entry = head + b"\x12\x09\x19" + DOUBLE.pack(value)
        elif kind is int:
            if type(value) is not int or not -_EXACT_MAX <= value <= _EXACT_MAX:
                return None
            held = b"\x10" + (time_varint(value) if value >= 0 else varint(value))
            entry = head + b"\x12" + length(len(held)) + held
        else:
            if type(value) is not bool:
                return None
            entry = head + (_TRUE if value else _FALSE)
        made += heads[len(entry)] + entry
    return made


def usual_record(
    moment: bytes, subject: bytes, plan: Plan, event_id: str, event_time: int, properties: Mapping[str, Any],
    context_slots: Mapping[str, Slot], context: Mapping[str, Any],
) -> bytes | None:  # fmt: skip
    """As `event_record` of the conformed event; None when it is not usual. moment, subject: of `moment_of` and `subject_part`."""
    for name in plan.required:
        if name not in properties:
            return None
    its_properties = written(plan.slots, properties, PROPERTY_HEADS)
    if its_properties is None:
        return None
    if context:
        its_context = written(context_slots, context, CONTEXT_HEADS)
        if its_context is None:
            return None
        its_properties += its_context
    content = event_id.encode()
    body = (
        b"\x0a" + length(len(content)) + content + plan.type_part + subject + b"\x20" + time_varint(event_time) + its_properties
    )
    inner = moment + b"\x12" + length(len(body)) + body
    return b"\x1a" + length(len(inner)) + inner


def moment_of(now: int) -> bytes:
    """How every record of one moment (ms) begins: online, and its clock believed."""
    moment = b"\x08" + time_varint(now) + b"\x10\x01\x18\x01"
    return b"\x0a" + length(len(moment)) + moment


__all__ = ["Plan", "moment_of", "plans_of", "slots_of", "subject_part", "usual_record", "written"]
