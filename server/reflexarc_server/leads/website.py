"""What the site knows of a subject, from the log: how they came, first and last, what they saw, for how long, on what.

Owns the reading; everybody who is linked to the subject counts as the subject. Must never keep anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from reflexarc_core.event import Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.enrichment.visits import Arrival, Visit, active_s_of, arrival_of, is_page, visits_of
from reflexarc_server.links import Links
from reflexarc_server.store.port import Store

PAGES_MAX: Final = 20
_DEVICE: Final = ("device_class", "screen", "locale", "app_version")


def website_of(store: Store, links: Links, subject: str, internal: frozenset[str] = frozenset()) -> dict[str, Any]:
    """`first_touch`, `last_touch`, `pages_seen`, `pages`, `active_s`, `session`, `device` of a subject; what is not known is
    left out.

    A touch has `medium` and `source`, the UTM parameters, `referrer`, `landing_page` and `time` (ms) of a page view that came
    from outside; the first is the first view at all. `session` is the newest visit. Times are seconds where a name ends in _s.
    internal: domains of the site's own.
    """
    return summed(_of_person(store, links, subject)[1], internal)


def visited(store: Store, links: Links, subject: str, internal: frozenset[str] = frozenset()) -> dict[str, Any]:
    """As `website_of`, with every visit in place of the newest, by the time of its begin, and `members`: who counts as the
    subject."""
    members, events = _of_person(store, links, subject)
    said = summed(events, internal)
    said.pop("session", None)
    visits = [{**_session(visit), "events": visit.events, **_came(visit.arrival)} for visit in visits_of(events, internal)]
    return {"members": members, **said, "visits": visits}


def summed(events: Sequence[Event], internal: frozenset[str] = frozenset()) -> dict[str, Any]:
    """As `website_of`, of these events in the order in which they happened."""
    views = [event for event in events if is_page(event)]
    said: dict[str, Any] = {}
    if views:
        arrivals = [(view, arrival_of(view, internal)) for view in views]
        touches = [each for each in arrivals if each[1].is_from_outside]
        said["first_touch"] = _touch(*arrivals[0])
        said["last_touch"] = _touch(*(touches[-1] if touches else arrivals[0]))
        said["pages_seen"] = len(views)
        said["pages"] = list(dict.fromkeys(str(view.properties["page_url"]) for view in reversed(views)))[:PAGES_MAX]
        said["active_s"] = active_s_of(events)
    visits = visits_of(events, internal)
    # The form itself, sent long after the last page, is no visit to tell of.
    newest = max((visit for visit in visits if visit.session_id or visit.pages), key=lambda one: one.end_time, default=None)
    if newest is not None:
        said["session"] = _session(newest)
    device: dict[str, Any] = {}
    for event in events:
        device |= {name: event.context[name] for name in _DEVICE if event.context.get(name)}
    if device:
        said["device"] = device
    return said


def _session(visit: Visit) -> dict[str, Any]:
    said = {
        "session_id": visit.session_id, "begin_time": visit.begin_time, "end_time": visit.end_time, "pages_seen": visit.pages,
        "active_s": visit.active_s, "landing_page": visit.first_page, "last_page": visit.last_page,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value != ""}


def _touch(view: Event, arrival: Arrival) -> dict[str, Any]:
    return {**_came(arrival), "landing_page": view.properties["page_url"], "time": view.event_time}


def _came(arrival: Arrival) -> dict[str, str]:
    medium, source = arrival.channel
    said = {"medium": medium, "source": source, **arrival.campaign, "referrer": arrival.referrer}
    return {name: value for name, value in said.items() if value}


def _of_person(store: Store, links: Links, subject: str) -> tuple[list[str], list[Event]]:
    """Everybody who is linked to the subject, and what they all did in the order in which it happened."""
    members = list(dict.fromkeys((*links.members(links.canonical(subject)), subject)))
    return members, sorted(_events(store, members), key=lambda event: (event.event_time, event.event_id))


def _events(store: Store, members: Sequence[str]) -> list[Event]:
    found = []
    for _, body in store.events_of(members, store.last_seq()):
        _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
        if isinstance(record, EventInput):
            found.append(record.event)
    return found
