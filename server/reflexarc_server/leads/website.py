"""What the site knows of a subject, from the log: how they came, first and last, what they saw, for how long, on what.

Owns the reading; everybody who is linked to the subject counts as the subject. Must never keep anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from reflexarc_core.event import Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.links import Links
from reflexarc_server.store.port import Store

PAGES_MAX: Final = 20
_UTM: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_DEVICE: Final = ("device_class", "screen", "locale", "app_version")
_PAGES: Final = ("page_view", "content_view")


def website_of(store: Store, links: Links, subject: str) -> dict[str, Any]:
    """`first_touch`, `last_touch`, `pages_seen`, `pages`, `active_s`, `session`, `device` of a subject; what is not known is
    left out.

    A touch has the UTM parameters, `referrer`, `landing_page` and `time` (ms) of the page view by which a visit began from
    outside; the last one is the newest that names a source, or the newest at all. Times are seconds where the name ends in _s.
    """
    person = links.canonical(subject)
    members = list(dict.fromkeys((*links.members(person), subject)))
    events = sorted(_events(store, members), key=lambda event: (event.event_time, event.event_id))
    return summed(events)


def summed(events: Sequence[Event]) -> dict[str, Any]:
    """As `website_of`, of these events in the order in which they happened."""
    views = [event for event in events if event.event_type in _PAGES and event.properties.get("page_url")]
    said: dict[str, Any] = {}
    if views:
        touches = [view for view in views if _is_touch(view)]
        said["first_touch"] = _touch(views[0])
        said["last_touch"] = _touch(touches[-1] if touches else views[0])
        said["pages_seen"] = len(views)
        said["pages"] = list(dict.fromkeys(str(view.properties["page_url"]) for view in reversed(views)))[:PAGES_MAX]
        # A page view has no time where the page tells it when it is left.
        seconds = (event.properties.get("time_on_page") for event in events if event.event_type in (*_PAGES, "page_leave"))
        said["active_s"] = round(sum(float(one) for one in seconds if isinstance(one, (int, float))), 3)
    session = next((str(event.context["session_id"]) for event in reversed(events) if event.context.get("session_id")), "")
    if session:
        its = [event for event in events if event.context.get("session_id") == session]
        pages = sum(event.event_type in _PAGES for event in its)
        said["session"] = {"session_id": session, "begin_time": its[0].event_time, "pages_seen": pages}
    device: dict[str, Any] = {}
    for event in events:
        device |= {name: event.context[name] for name in _DEVICE if event.context.get(name)}
    if device:
        said["device"] = device
    return said


def _is_touch(view: Event) -> bool:
    """Whether a page view came from outside: it names a campaign, or a referrer of another host."""
    if any(view.properties.get(name) for name in _UTM):
        return True
    referrer = str(view.properties.get("referrer") or "")
    return bool(referrer) and urlsplit(referrer).netloc != urlsplit(str(view.properties["page_url"])).netloc


def _touch(view: Event) -> dict[str, Any]:
    said: dict[str, Any] = {name: view.properties[name] for name in (*_UTM, "referrer") if view.properties.get(name)}
    return {**said, "landing_page": view.properties["page_url"], "time": view.event_time}


def _events(store: Store, members: Sequence[str]) -> list[Event]:
    found = []
    for _, body in store.events_of(members, store.last_seq()):
        _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
        if isinstance(record, EventInput):
            found.append(record.event)
    return found
