"""Values of properties and payloads.

Owns the mapping of Python's scalar types to the oneof and the limits on both sides. Events hold scalars and flat lists;
payloads may nest to DEPTH_MAX and hold null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import LIST_LENGTH_MAX, PROPERTY_COUNT_MAX, STRING_BYTES_MAX, Value
from reflexarc_proto.v1 import value_pb2

DEPTH_MAX: Final = 8
PAYLOAD_FIELDS_MAX: Final = 1_024
NAME_LENGTH_MAX: Final = 200
_EVENT_KINDS: Final = frozenset(("string_value", "int_value", "double_value", "bool_value"))


def fill(message: value_pb2.Value, value: Any) -> None:
    """Write a value into an empty message. Raises InvalidEventError for a type the wire has no form for."""
    kind = type(value)
    if kind is str:
        message.string_value = value
    elif kind is bool:
        message.bool_value = value
    elif kind is int:
        try:
            message.int_value = value
        except ValueError:
            raise InvalidEventError("an integer of more than 64 bits") from None
    elif kind is float:
        message.double_value = value
    elif kind is list or kind is tuple:
        message.list_value.SetInParent()
        for item in value:
            fill(message.list_value.values.add(), item)
    elif isinstance(value, Mapping):
        message.map_value.SetInParent()
        for name, item in value.items():
            fill(message.map_value.fields[str(name)], item)
    elif value is not None:
        raise InvalidEventError(f"a {kind.__name__} has no form on the wire", hint="text, numbers, bools, lists and objects")


def value_to_proto(value: Any) -> value_pb2.Value:
    """The message of a value; None is a message with no field set."""
    message = value_pb2.Value()
    fill(message, value)
    return message


def value_from_proto(message: value_pb2.Value, depth: int = 0) -> Any:
    """A payload's value. Raises InvalidEventError when it nests deeper than DEPTH_MAX."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if kind not in ("list_value", "map_value"):
        return getattr(message, kind)
    if depth >= DEPTH_MAX:
        raise InvalidEventError(f"a value nests deeper than {DEPTH_MAX}")
    if kind == "list_value":
        return [value_from_proto(item, depth + 1) for item in message.list_value.values]
    return map_from_proto(message.map_value, depth + 1)


def map_from_proto(message: value_pb2.MapValue, depth: int = 0) -> dict[str, Any]:
    """A payload's object. Raises InvalidEventError when it is too wide or too deep."""
    fields = message.fields
    if len(fields) > PAYLOAD_FIELDS_MAX:
        raise InvalidEventError(f"an object of {len(fields)} fields", hint=f"at most {PAYLOAD_FIELDS_MAX}")
    return {name: value_from_proto(item, depth) for name, item in fields.items()}


def properties_from_proto(fields: Mapping[str, value_pb2.Value]) -> dict[str, Value]:
    """An event's properties. Raises InvalidEventError for what no event may carry, naming the property."""
    if not fields:
        return {}
    if len(fields) > PROPERTY_COUNT_MAX:
        raise InvalidEventError(f"{len(fields)} properties", hint=f"at most {PROPERTY_COUNT_MAX}")
    given: dict[str, Value] = {}
    for name, message in fields.items():
        kind = message.WhichOneof("kind")
        if kind == "list_value":
            items = message.list_value.values
            if len(items) > LIST_LENGTH_MAX:
                raise InvalidEventError(f"{_shown(name)} has {len(items)} elements", hint=f"at most {LIST_LENGTH_MAX}")
            given[name] = [_scalar(name, item, item.WhichOneof("kind")) for item in items]
        else:
            given[name] = _scalar(name, message, kind)
        if len(name) > NAME_LENGTH_MAX:
            raise InvalidEventError(f"a property name of {len(name)} characters", hint=f"at most {NAME_LENGTH_MAX}")
    return given


def _scalar(name: str, message: value_pb2.Value, kind: str | None) -> Any:
    if kind not in _EVENT_KINDS:
        raise InvalidEventError(f"{_shown(name)} is {kind or 'null'}", hint="a string, a number, a bool or a list of them")
    value = getattr(message, kind)
    if kind == "double_value":
        if value - value != 0.0:
            raise InvalidEventError(f"{_shown(name)} is {value}", hint="a finite number")
    elif kind == "string_value" and len(value) > STRING_BYTES_MAX:
        raise InvalidEventError(f"{_shown(name)} has {len(value)} characters", hint=f"at most {STRING_BYTES_MAX}")
    return value


def _shown(name: str) -> str:
    return name if len(name) <= 60 else name[:57] + "..."
