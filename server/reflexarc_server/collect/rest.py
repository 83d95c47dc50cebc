"""What a sender said beyond what an event type declares: kept beside the event as JSON, whole, so that nothing is lost.

Owns two properties that no author can declare: REST, what was not placed elsewhere, and SENT, a whole message whose values were
renamed. Must never change a value: what comes out of `joined` is equal to what went in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import LIST_LENGTH_MAX, PROPERTY_COUNT_MAX, STRING_BYTES_MAX, EventType, Value, is_storable
from reflexarc_server.collect.reading import DEPTH_MAX, check_depth

REST: Final = "$rest"
SENT: Final = "$sent"
REST_BYTES_MAX: Final = 32_768
"""Of one event's JSON."""
_PIECE: Final = STRING_BYTES_MAX // 4
"""Characters of a piece: four bytes of UTF-8 each at the most."""
_NAME_LENGTH_MAX: Final = 200
_FREE_MAX: Final = PROPERTY_COUNT_MAX - 2
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_encode: Final = msgspec.json.Encoder().encode


def joined(value: Value) -> Any:
    """What a REST or SENT property holds."""
    return json.loads("".join(map(str, value)) if isinstance(value, list) else str(value))


def packed(held: Mapping[str, Any]) -> Value:
    """JSON as the value of a property. Raises InvalidEventError when it is too long or holds a number that is none."""
    try:
        text = _encode(held).decode()
    except RecursionError:
        raise InvalidEventError("a value that nests too deep", hint=f"at most {DEPTH_MAX} levels") from None
    except (OverflowError, msgspec.MsgspecError):  # an integer of more than 64 bits, which JSON has and msgspec does not write
        text = json.dumps(held, ensure_ascii=False, separators=(",", ":"))
    check_depth(text)
    if not is_storable(text, REST_BYTES_MAX):
        raise InvalidEventError(
            f"an event with {len(text)} characters of undeclared fields", hint=f"at most {REST_BYTES_MAX} bytes"
        )
    if len(text) <= _PIECE or is_storable(text):
        return text
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def check_numbers(value: Any) -> None:
    """Raises InvalidEventError where a value holds NaN or an infinite number: JSON has neither."""
    if type(value) is float:
        if value - value != 0.0:
            raise InvalidEventError("a number that is none", hint="send finite numbers")
    elif type(value) is dict:
        for held in value.values():
            check_numbers(held)
    elif type(value) is list:
        for held in value:
            check_numbers(held)


def conformed(declared: EventType, given: Mapping[str, Any], *, strict: bool) -> tuple[dict[str, Value], dict[str, Any]]:
    """(what the type declares, what else there is). strict: a value that does not fit its declared type is refused; else it is
    among what else there is. Raises InvalidEventError, also where a required property is missing."""
    undeclared = given.keys() - declared.properties.keys()
    rest = {name: given[name] for name in given if name in undeclared} if undeclared else {}
    if strict:
        properties, _ = declared.conform(given)
        for name, value in given.items():
            if value is None and name in declared.properties:
                rest[name] = None
    else:
        fitting = {}
        for name, value in given.items():
            if name not in undeclared:
                if _fits(declared, name, value):
                    fitting[name] = value
                else:
                    rest[name] = value
        properties, _ = declared.conform(fitting)
    for name, value in properties.items():
        if value != given[name] or (not strict and type(value) is not type(given[name])):
            rest[name] = given[name]  # 2 became 2.0: a page has one kind of number, other senders two
    if rest:
        check_numbers(rest)
    return properties, rest


def free(given: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, Any]]:
    """As `conformed`, of an event that nobody declared: whatever an event may carry is kept as it came."""
    properties: dict[str, Value] = {}
    rest: dict[str, Any] = {}
    for name, value in given.items():
        kind = type(value)
        is_kept = _is_kept(value) if kind is not list else len(value) <= LIST_LENGTH_MAX and _are_kept(value)
        if is_kept and 0 < len(name) <= _NAME_LENGTH_MAX and name not in (REST, SENT) and len(properties) < _FREE_MAX:
            properties[name] = value
        else:
            rest[name] = value
    if rest:
        check_numbers(rest)
    return properties, rest


def _fits(declared: EventType, name: str, value: Any) -> bool:
    if value is None:
        return False
    alone = EventType(declared.name, {name: declared.properties[name]})
    try:
        alone.conform({name: value})
    except InvalidEventError:
        return False
    return True


def _is_kept(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return is_storable(value)
    if kind is int:
        return bool(_INT_MIN <= value <= _INT_MAX)
    return kind is bool or (kind is float and value - value == 0.0)


def _are_kept(items: list[Any]) -> bool:
    """Short lists of short scalars; a long one goes where there is more room."""
    return sum(len(item) if type(item) is str else 8 for item in items) <= STRING_BYTES_MAX and all(map(_is_kept, items))
