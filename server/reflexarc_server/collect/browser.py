"""The batch that our own pages send, as events.

Owns its form (docs/intake.md) and what is checked of it before the log. Its ways are two and mean the same: a body as declared is
read by compiled code at once, any other patiently, so that a mistake in one event costs that event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import CONTEXT_TYPES, IDENTIFY, Event, EventType, PropertyType, is_storable
from reflexarc_server.collect.identities import ID_LENGTH_MAX, Source, event_id
from reflexarc_server.collect.reading import Unreadable, mended, read_patient, read_quick
from reflexarc_server.collect.rest import REST, conformed, free, packed
from reflexarc_server.collect.times import corrected

BATCH_MAX: Final = 500
HANDED_MAX: Final = 100
_TYPE_LENGTH_MAX: Final = 200
_CONTEXT: Final = EventType("context", {name: PropertyType(kind) for name, kind in CONTEXT_TYPES.items()})


class Entry(msgspec.Struct, gc=False):
    """One event as it is sent. id: its messageId. time: ms by the page's clock."""

    id: str
    type: str
    time: float = 0
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}


class Body(msgspec.Struct, gc=False):
    """One request. sent: ms by the page's clock when it was sent. handed: decisions that the page has taken."""

    key: str = ""
    sent: float = 0
    anonymous_id: str = ""
    known_id: str = ""
    known_proof: str = ""
    batch: list[Entry] = []
    handed: list[str] = []


class Mistaken(NamedTuple):
    """In an entry's place: what is wrong with it. id: as far as it could be read."""

    id: str
    reason: str


class Batch(NamedTuple):
    """A request as read: its head, and each entry or what is wrong with it."""

    head: Body
    entries: Sequence[Entry | Mistaken]


_decoder: Final = msgspec.json.Decoder(Body)


def read_batch(body: bytes) -> Batch:
    """The batch of a body. Raises Unreadable when it is none as a whole."""
    head = read_quick(body, _decoder)
    if head is None:
        return _patient(read_patient(body))
    if len(head.batch) > BATCH_MAX or len(head.handed) > HANDED_MAX:
        raise _too_many()
    return Batch(head, head.batch)


def subject_of(head: Body) -> str:
    """Whose events they are. Raises InvalidEventError where an id is none."""
    for name, value in (("anonymous_id", head.anonymous_id), ("known_id", head.known_id)):
        if len(value) > ID_LENGTH_MAX or not is_storable(value):
            raise InvalidEventError(f"{name} of {len(value)} characters", hint=f"at most {ID_LENGTH_MAX}")
    if not head.anonymous_id:
        raise InvalidEventError("no anonymous_id", hint="send the browser's own, 1 to 255 characters")
    return f"known:{head.known_id}" if head.known_id else f"anonymous:{head.anonymous_id}"


def proven(entry: Entry | Mistaken, head: Body) -> Entry | Mistaken:
    """The entry, or in its place what is wrong with an `identify` that names somebody else than the request has proven to be."""
    if isinstance(entry, Mistaken) or entry.type != IDENTIFY or entry.properties.get("known_id") == head.known_id:
        return entry
    return Mistaken(entry.id, "identify names who is not proven (send known_id and known_proof with the batch)")


def event_of(entry: Entry, head: Body, subject: str, source: Source, received: int, catalog: Catalog) -> Event:
    """An entry as an event. received: ms. Raises InvalidEventError with what is wrong."""
    its_id, event_type = entry.id, entry.type
    if not its_id or len(its_id) > ID_LENGTH_MAX:
        raise InvalidEventError(f"an id of {len(its_id)} characters", hint=f"1 to {ID_LENGTH_MAX}")
    if not event_type or len(event_type) > _TYPE_LENGTH_MAX:
        raise InvalidEventError(f"a type of {len(event_type)} characters", hint=f"1 to {_TYPE_LENGTH_MAX}")
    declared = catalog.event_types.get(event_type)
    rest: dict[str, Any]
    if declared is None:
        properties, rest = free(entry.properties)
    else:
        properties, rest = conformed(declared, entry.properties, strict=True)
    context, unknown = conformed(_CONTEXT, entry.context, strict=False) if entry.context else ({}, None)
    if rest or unknown:
        held = {"properties": rest} if rest else {}
        if unknown:
            held["context"] = unknown
        properties[REST] = packed(held)
    if event_type == IDENTIFY and head.anonymous_id:
        subject = f"anonymous:{head.anonymous_id}"
    return Event(event_id(source, its_id), event_type, subject, corrected(entry.time, head.sent, received), properties, context)


# -- the patient way ------------------------------------------------------------------------------------------------


def _patient(found: Mapping[str, Any]) -> Batch:
    entries, handed = found.get("batch"), found.get("handed")
    if not isinstance(entries, list | None) or not isinstance(handed, list | None):
        raise Unreadable(400, "batch and handed are lists")
    if len(entries or ()) > BATCH_MAX or len(handed or ()) > HANDED_MAX:
        raise _too_many()
    try:
        head = msgspec.convert(mended({name: value for name, value in found.items() if name != "batch"}), Body)
    except (msgspec.ValidationError, RecursionError):
        raise Unreadable(400, "key, anonymous_id, known_id and handed are texts, sent is a number") from None
    return Batch(head, [_entry(entry) for entry in entries or ()])


def _entry(given: Any) -> Entry | Mistaken:
    its_id = given.get("id") if isinstance(given, dict) else None
    shown = mended(its_id)[:ID_LENGTH_MAX] if isinstance(its_id, str) else ""
    try:
        return msgspec.convert(mended(given), Entry)
    except msgspec.ValidationError as error:
        return Mistaken(shown, str(error))  # names fields and kinds, never a value
    except RecursionError:
        return Mistaken(shown, "nested too deep")


def _too_many() -> Unreadable:
    return Unreadable(413, f"at most {BATCH_MAX} events and {HANDED_MAX} handed ids at once; send smaller batches")


__all__ = ["Batch", "Body", "Entry", "Mistaken", "event_of", "proven", "read_batch", "subject_of"]
