"""What an event is, what its type declares, and whose it is.

Owns the event value and the check of properties against a declared type. Must never read a clock, make an id
or know how events travel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.value import frozen

Scalar = str | int | float | bool
Value = Scalar | list[Scalar]

PROPERTY_TYPES: Final = ("string", "int", "double", "bool", "timestamp", "list(string)", "list(int)", "list(double)")
PROPERTY_COUNT_MAX: Final = 64
STRING_BYTES_MAX: Final = 8_192
LIST_TEXT_LENGTH_MAX: Final = 65_536
"""Characters in all lists of one event: with STRING_BYTES_MAX, no event outgrows one upload."""
LIST_LENGTH_MAX: Final = 256
INT_BITS_MAX: Final = 1_023
"""Of a whole number given for a double: every such number has a float near it."""

IDENTIFY: Final = "identify"
RESET: Final = "reset"
OUTCOME: Final = "outcome"
CONSENT: Final = "consent"
SESSION: Final = "session"

# Enrichment every event may carry beside its own properties; conditions read it as event.NAME too,
# so no event type may declare a property of the same name.
CONTEXT_TYPES: Final[Mapping[str, str]] = {
    "session_id": "string",
    "session_step": "int",
    "screen": "string",
    "locale": "string",
    "offset_minutes": "int",
    "app_version": "string",
    "sdk_version": "string",
    "device_class": "string",
    "online": "bool",
    "first_touch": "string",
    "last_touch": "string",
}


@frozen
class Event:
    """One thing that happened.

    event_id: unique text, made by whoever saw it first; UUIDv7 hex for our own, hash of (file, row) for imports.
    subject: `kind:id` (see `subject_key`); whose features it changes.
    event_time: when it happened, ms since the Unix epoch UTC, by the clock of its origin.
    properties: declared by the event type, already conformed. context: enrichment, a subset of CONTEXT_TYPES.
    source_position: row number in the source it was read from, -1 when it came from no numbered source.
    """

    event_id: str
    event_type: str
    subject: str
    event_time: int
    properties: Mapping[str, Value] = field(default_factory=dict)
    context: Mapping[str, Value] = field(default_factory=dict)
    source_position: int = -1


SUBJECT_KINDS: Final = ("device", "anonymous", "known", "session")


def subject_key(kind: str, subject_id: str) -> str:
    """The one text form of a subject: `known:42`. Raises InvalidEventError on an unknown kind or an empty id."""
    if kind not in SUBJECT_KINDS or not subject_id:
        raise InvalidEventError(
            "a subject that is none", hint=f"a kind of {', '.join(SUBJECT_KINDS)} and an id that is not empty"
        )
    return f"{kind}:{subject_id}"


def subject_parts(subject: str) -> tuple[str, str]:
    """`known:42` -> ("known", "42"). Raises InvalidEventError when the text is no subject."""
    kind, separator, subject_id = subject.partition(":")
    if not separator or kind not in SUBJECT_KINDS or not subject_id:
        raise InvalidEventError("a subject that is none", hint="write it as kind:id, for example known:42")
    return kind, subject_id


def about(subject: str) -> dict[str, Any]:
    """What a subject's name says of it, as conditions read it."""
    kind, _, _ = subject.partition(":")
    return {"subject.kind": kind, "subject.known": kind == "known"}


@frozen
class PropertyType:
    """Type of one property: one of PROPERTY_TYPES, whether it must be there, and a closed set of values if any."""

    type: str
    required: bool = False
    values: tuple[str, ...] = ()


@frozen
class EventType:
    """A named kind of event and the properties it may carry. Undeclared properties are dropped and counted."""

    name: str
    properties: Mapping[str, PropertyType]
    description: str = ""

    def conform(self, given: Mapping[str, object]) -> tuple[dict[str, Value], int]:
        """Properties coerced to their declared types, and how many undeclared ones were left out.

        An int is accepted for a double; None means absent. Raises InvalidEventError naming the property,
        what came and what is wanted.
        """
        declared = self.properties
        conformed: dict[str, Value] = {}
        unknown_count = 0
        list_text_length = 0
        for name, value in given.items():
            property_type = declared.get(name)
            if property_type is None:
                unknown_count += 1
            elif value is not None:
                coerced = conformed[name] = self._coerce(name, property_type, value)
                if type(coerced) is list:
                    list_text_length += sum(len(item) for item in coerced if type(item) is str)
        if list_text_length > LIST_TEXT_LENGTH_MAX:
            raise InvalidEventError(
                f"{self.name}: its lists hold {list_text_length} characters", hint=f"at most {LIST_TEXT_LENGTH_MAX} in one event"
            )
        for name, property_type in declared.items():
            if property_type.required and name not in conformed:
                raise InvalidEventError(f"{self.name}.{name} is missing", hint=f"it is required, a {property_type.type}")
        return conformed, unknown_count

    def _coerce(self, name: str, wanted: PropertyType, value: object) -> Value:
        kind = wanted.type
        if kind == "string":
            if type(value) is str and is_storable(value):
                if wanted.values and value not in wanted.values:
                    raise InvalidEventError(f"{self.name}.{name} is another text", hint=f"one of {', '.join(wanted.values)}")
                return value
        elif kind == "double":
            if type(value) is float or (type(value) is int and value.bit_length() <= INT_BITS_MAX):
                number = float(value)
                if number - number == 0.0:  # neither NaN nor infinite
                    return number
        elif kind in ("int", "timestamp"):
            if type(value) is int and -(2**53) <= value <= 2**53:
                return value
            if type(value) is float and value.is_integer() and abs(value) <= 2**53:
                return int(value)
        elif kind == "bool":
            if type(value) is bool:
                return value
        elif isinstance(value, (list, tuple)) and len(value) <= LIST_LENGTH_MAX:
            element = PropertyType(kind[5:-1])
            return [self._coerce(name, element, item) for item in value]  # type: ignore[misc]
        # What came is told by its kind and size: an error may end in a log, and what people do must not.
        size = f" of {len(value)}" if isinstance(value, (str, bytes, list, tuple, dict)) else ""
        raise InvalidEventError(
            f"{self.name}.{name} is {type(value).__name__}{size}",
            hint=f"a finite {kind}" if kind == "double" else f"a {kind} within its limits",
        )


def is_storable(text: str, bytes_max: int = STRING_BYTES_MAX) -> bool:
    """Whether a text has at most that many bytes of UTF-8, and is text at all (a lone surrogate is not)."""
    if text.isascii():
        return len(text) <= bytes_max
    try:
        return len(text) <= bytes_max and len(text.encode()) <= bytes_max
    except UnicodeEncodeError:
        return False


def check_event_type(event_type: EventType) -> None:
    """Raises DefinitionError when the declaration itself cannot be used."""
    if len(event_type.properties) > PROPERTY_COUNT_MAX:
        raise DefinitionError(
            f"event type {event_type.name} declares {len(event_type.properties)} properties",
            hint=f"at most {PROPERTY_COUNT_MAX}",
        )
    for name, property_type in event_type.properties.items():
        if name in CONTEXT_TYPES:
            raise DefinitionError(
                f"{event_type.name}.{name}: this name is taken by enrichment", hint="choose another property name"
            )
        if property_type.type not in PROPERTY_TYPES:
            raise DefinitionError(
                f"{event_type.name}.{name}: no type {property_type.type!r}", hint=f"one of {', '.join(PROPERTY_TYPES)}"
            )
