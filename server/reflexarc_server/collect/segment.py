"""Segment's calls as events: track, page, screen, identify, group, alias, alone or in a batch.

Owns what each call becomes and that every field of it is kept: `as_sent` gives back a message equal to the one that came. Must
never refuse a call for a field that does not fit its declared type: its sender is told nothing of it, so it is kept beside.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import CONSENT, IDENTIFY, OUTCOME, RESET, SESSION, Event, Value, is_storable
from reflexarc_server.collect.commerce import NAMES
from reflexarc_server.collect.identifying import joining
from reflexarc_server.collect.identities import Source, event_id, text_of
from reflexarc_server.collect.rest import REST, SENT, check_numbers, conformed, free, joined, packed
from reflexarc_server.collect.times import corrected, time_of

CALLS: Final = ("track", "page", "screen", "identify", "group", "alias")
TRAITS: Final = "traits"
"""What is said of somebody who has no known id."""
NAME_LENGTH_MAX: Final = 200
_OURS: Final = frozenset((IDENTIFY, RESET, OUTCOME, CONSENT, SESSION))
"""Event types that mean something to the engine: no `track` call becomes one by its name."""
_PARTS: Final = re.compile(r"[^A-Za-z0-9]+")


class Moment(NamedTuple):
    """What is true of a whole request. received: ms. sent: ms by its sender's clock, 0 when it did not say."""

    received: int
    sent: int
    is_import: bool = False


def events_of(
    message: Mapping[str, Any], call: str, source: Source, moment: Moment, catalog: Catalog,
    proves: Callable[[str, str], bool] = lambda user, proof: True,
) -> list[Event]:  # fmt: skip
    """The event of a call, and behind it the link of its two identities where it names both.

    call: what the path says, empty where the message says. proves: whether a text (`context.known_proof`) proves that a user is
    meant. Raises InvalidEventError when it is no call, or names a user without what proves it.
    """
    kind = message.get("type") or call
    if kind not in CALLS:
        raise InvalidEventError("a call that is none", hint=f"one of {', '.join(CALLS)}")
    user, anonymous = text_of(message.get("userId"), "userId"), text_of(message.get("anonymousId"), "anonymousId")
    if kind == "alias":
        anonymous = text_of(message.get("previousId"), "previousId") or anonymous
    if not user and not anonymous:
        raise InvalidEventError("a call without userId and anonymousId", hint="send one of them")
    if user and not proves(user, _proof(message)):
        raise InvalidEventError("a userId that is not proven", hint="send context.known_proof, or use a write key of services")
    subject = f"known:{user}" if user else f"anonymous:{anonymous}"
    its_id = event_id(source, _message_id(message, kind, moment))
    sent = 0 if moment.is_import else time_of(message.get("sentAt")) or moment.sent
    event_time = corrected(time_of(message.get("originalTimestamp") or message.get("timestamp")), sent, moment.received)
    event_type, properties = _MAKES[kind](message, user, anonymous, catalog)
    if event_type == IDENTIFY and anonymous and user:
        subject = f"anonymous:{anonymous}"
    event = Event(its_id, event_type, subject, event_time, properties, _context(message.get("context")))
    if not user or not anonymous or event_type == IDENTIFY:
        return [event]
    return [event, joining(source.name, anonymous, user, event_time)]


def _proof(message: Mapping[str, Any]) -> str:
    context = message.get("context")
    proof = context.get("known_proof") if isinstance(context, dict) else None
    return proof if isinstance(proof, str) else ""


def as_sent(event: Event) -> dict[str, Any]:
    """The message an event was made of."""
    if SENT in event.properties:
        whole: dict[str, Any] = joined(event.properties[SENT])
        return whole
    held = joined(event.properties[REST])
    message: dict[str, Any] = held["message"]
    placed = {name: value for name, value in event.properties.items() if name != REST}
    message["properties"] = {**placed, **held.get("properties", {})}
    return message


def type_of(name: str) -> str:
    """The event type of a `track` call's name: `Trial Started` is trial_started, so that a catalog can declare it."""
    plain = "_".join(part.lower() for part in _PARTS.split(name) if part)
    if not plain or not name.isascii():
        return name
    if plain[0].isdigit() or plain in _OURS:
        plain = f"track_{plain}"
    return plain


# -- what each call becomes ------------------------------------------------------------------------------------------


def _track(message: Mapping[str, Any], user: str, anonymous: str, catalog: Catalog) -> tuple[str, dict[str, Value]]:
    name, given = message.get("event"), message.get("properties")
    if type(name) is not str or not name.strip() or len(name) > NAME_LENGTH_MAX or not is_storable(name):
        raise InvalidEventError("a track call without a name", hint=f"send event: 1 to {NAME_LENGTH_MAX} characters")
    known = NAMES.get(name.strip().lower())
    if known is not None and isinstance(given, dict) and known[0] in catalog.event_types:
        return _renamed(message, known[0], {**given, **_there(known[1](given))}, catalog)
    event_type = type_of(name)
    if not isinstance(given, dict):
        return _renamed(message, event_type, {}, catalog)
    declared = catalog.event_types.get(event_type)
    properties, rest = conformed(declared, given, strict=False) if declared is not None else free(given)
    held: dict[str, Any] = {"message": {name: value for name, value in message.items() if name != "properties"}}
    check_numbers(held["message"])
    if rest:
        held["properties"] = rest
    properties[REST] = packed(held)
    return event_type, properties


def _page(message: Mapping[str, Any], user: str, anonymous: str, catalog: Catalog) -> tuple[str, dict[str, Value]]:
    given, context = _object(message.get("properties")), _object(message.get("context"))
    page, campaign = _object(context.get("page")), _object(context.get("campaign"))
    name, category = message.get("name"), message.get("category")
    places = (given.get("url"), page.get("url"), given.get("path"), page.get("path"), name, category)
    fields = {
        "page_url": next((place for place in places if type(place) is str and place), ""),
        "referrer": given.get("referrer") or page.get("referrer"),
        "title": given.get("title") or page.get("title") or name,
        "category": category or given.get("category"),
        **{f"utm_{ours}": campaign.get(theirs) for ours, theirs in _CAMPAIGN.items()},
    }
    return _renamed(message, "page_view", {**given, **_there(fields)}, catalog)


_CAMPAIGN: Final = {"source": "source", "medium": "medium", "campaign": "name", "term": "term", "content": "content"}


def _identify(message: Mapping[str, Any], user: str, anonymous: str, catalog: Catalog) -> tuple[str, dict[str, Value]]:
    if not user:
        return _renamed(message, TRAITS, _object(message.get("traits")), catalog)
    return _renamed(message, IDENTIFY, {"known_id": user}, catalog)


def _group(message: Mapping[str, Any], user: str, anonymous: str, catalog: Catalog) -> tuple[str, dict[str, Value]]:
    group = text_of(message.get("groupId"), "groupId")
    if not group:
        raise InvalidEventError("a group call without groupId", hint="send groupId")
    return _renamed(message, "group", {"group_id": group}, catalog)


def _alias(message: Mapping[str, Any], user: str, anonymous: str, catalog: Catalog) -> tuple[str, dict[str, Value]]:
    if not user or not anonymous:
        raise InvalidEventError("an alias call without userId and previousId", hint="send both")
    return _renamed(message, IDENTIFY, {"known_id": user}, catalog)


_MAKES: Final = {"track": _track, "page": _page, "screen": _page, "identify": _identify, "group": _group, "alias": _alias}


def _renamed(
    message: Mapping[str, Any], event_type: str, given: Mapping[str, Any], catalog: Catalog
) -> tuple[str, dict[str, Value]]:
    """An event whose fields are not called as in the message, beside the whole message."""
    check_numbers(dict(message))
    declared = catalog.event_types.get(event_type)
    properties = conformed(declared, given, strict=False)[0] if declared is not None else free(given)[0]
    properties[SENT] = packed(message)
    return event_type, properties


# -- fields -----------------------------------------------------------------------------------------------------------


def _context(given: Any) -> dict[str, Value]:
    """What of a Segment context our own has a name for; all of it is kept with the message."""
    context = _object(given)
    if not context:
        return {}
    screen, app, library = (_object(context.get(name)) for name in ("screen", "app", "library"))
    found: dict[str, Any] = {
        "locale": context.get("locale"),
        "app_version": app.get("version"),
        "sdk_version": f"{library['name']} {library.get('version', '')}".strip() if type(library.get("name")) is str else None,
        "screen": f"{screen['width']}x{screen['height']}"
        if type(screen.get("width")) is int and type(screen.get("height")) is int
        else None,
    }
    return {
        name: value for name, value in found.items() if type(value) is str and value and is_storable(value, _CONTEXT_BYTES_MAX)
    }


_CONTEXT_BYTES_MAX: Final = 256


def _message_id(message: Mapping[str, Any], kind: str, moment: Moment) -> str:
    """Its messageId; for a message without one, what it says: the same said again, with its time, is the same."""
    given = text_of(message.get("messageId"), "messageId")
    if given:
        return given
    timed = "" if message.get("timestamp") or message.get("originalTimestamp") else str(moment.received)
    said = json.dumps(message, sort_keys=True, separators=(",", ":")) + kind + timed
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def _there(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
