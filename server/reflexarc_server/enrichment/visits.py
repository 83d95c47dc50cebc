"""Visits: what a subject did on a site, cut into the times they came, with what brought them each time.

Owns where a visit ends and what counts as coming from outside. Pure: reads events, keeps nothing, and must never raise for what a
sender sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from reflexarc_core.event import Event
from reflexarc_server.enrichment.campaign import UTM, campaign_of, parameters_of
from reflexarc_server.enrichment.referrer import DIRECT, INTERNAL, read_referrer

GAP_MS: Final = 30 * 60_000
"""So long without an event, and what comes then is another visit."""
PAGES: Final = ("page_view", "content_view")
LEFT: Final = "page_leave"
_CAMPAIGN: Final = (*UTM, "click_id", "click_source")
_PAID: Final = "paid"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What led to a page. referrer: its address, empty for none. referrer_medium, referrer_source: as enrichment says them.
    campaign: `utm_…`, `click_id` and `click_source`, what there is of them."""

    referrer: str = ""
    referrer_medium: str = DIRECT
    referrer_source: str = ""
    campaign: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_from_outside(self) -> bool:
        """Whether a campaign or a page of somebody else's led here."""
        return bool(self.campaign) or self.referrer_medium not in (DIRECT, INTERNAL)

    @property
    def channel(self) -> tuple[str, str]:
        """(medium, source) that the visit is counted for: the campaign's own words, else the ad network's, else the referrer's.
        Each empty where it is not known; never one of the campaign beside one of the referrer."""
        medium, source = self.campaign.get("utm_medium", ""), self.campaign.get("utm_source", "")
        if medium or source:
            return medium, source
        if "click_source" in self.campaign:
            return _PAID, self.campaign["click_source"]
        return self.referrer_medium, self.referrer_source


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit. session_id: the sender's, empty where it has none. begin_time, end_time: ms, of its first and last event.

    first_page, last_page: addresses of its first and last page view; of what else happened on a page where none was viewed.
    pages: views. events: all of them. active_s: seconds that its pages were attended, as the pages told them.
    """

    session_id: str
    begin_time: int
    end_time: int
    first_page: str
    last_page: str
    pages: int
    events: int
    active_s: float
    arrival: Arrival


def visits_of(events: Iterable[Event], internal: frozenset[str] = frozenset(), gap_ms: int = GAP_MS) -> list[Visit]:
    """The visits in a subject's events, which come in the order in which they happened; by the time of their begin.

    A sender's own `session_id` is the visit, whatever else happens meanwhile on another device. Without one a visit ends after
    gap_ms without an event, and where a page view names another campaign. What names neither a page nor a session (a mail that
    was opened) belongs to no visit. internal: domains of the site's own.
    """
    found: list[_Open] = []
    by_session: dict[str, _Open] = {}
    newest: _Open | None = None
    for event in events:
        session_id = str(event.context.get("session_id") or "")
        page = str(event.properties.get("page_url") or "")
        if not session_id and not page:
            continue
        arrival = arrival_of(event, internal) if is_page(event) else None
        visit = by_session.get(session_id) if session_id else newest
        if visit is None or (not session_id and visit.is_over(event.event_time, arrival, gap_ms)):
            visit = _Open(session_id, event.event_time)
            found.append(visit)
            if session_id:
                by_session[session_id] = visit
        visit.take(event, page, arrival)
        newest = visit
    return [visit.closed() for visit in found]


def is_page(event: Event) -> bool:
    """Whether an event is the view of a page that has an address."""
    return event.event_type in PAGES and bool(event.properties.get("page_url"))


def active_s_of(events: Iterable[Event]) -> float:
    """Seconds attended, to the millisecond. A page view has none where the page tells it when it is left."""
    seconds = (event.properties.get("time_on_page") for event in events if event.event_type in (*PAGES, LEFT))
    return round(sum(float(one) for one in seconds if isinstance(one, (int, float))), 3)


def arrival_of(view: Event, internal: frozenset[str] = frozenset()) -> Arrival:
    """What led to a page view: as enrichment said it, else as its addresses say."""
    said = view.properties
    campaign = {name: str(said[name]) for name in _CAMPAIGN if said.get(name)}
    try:
        page = urlsplit(str(said.get("page_url") or ""))
        host, query = page.hostname or "", page.query
    except ValueError:
        host, query = "", ""
    if not campaign:
        campaign = campaign_of(parameters_of(query))
    referrer = str(said.get("referrer") or "")
    if said.get("referrer_medium"):
        medium, source = str(said["referrer_medium"]), str(said.get("referrer_source") or "")
    else:
        read = read_referrer(referrer, host, internal)
        medium, source = read.medium, read.source
    return Arrival(referrer, medium, source, MappingProxyType(campaign))


class _Open:
    """A visit that may go on."""

    def __init__(self, session_id: str, time: int) -> None:
        self._session_id = session_id
        self._begin = self._end = time
        self._views: list[str] = []
        self._others: list[str] = []
        self._events: list[Event] = []
        self._arrival: Arrival | None = None

    def is_over(self, time: int, arrival: Arrival | None, gap_ms: int) -> bool:
        if time - self._end > gap_ms:
            return True
        before = self._arrival
        return arrival is not None and before is not None and bool(arrival.campaign) and arrival.campaign != before.campaign

    def take(self, event: Event, page: str, arrival: Arrival | None) -> None:
        self._events.append(event)
        self._end = max(self._end, event.event_time)
        if arrival is not None:
            self._views.append(page)
            self._arrival = self._arrival or arrival
        elif page:
            self._others.append(page)

    def closed(self) -> Visit:
        pages: Sequence[str] = self._views or self._others or ("",)
        return Visit(
            self._session_id, self._begin, self._end, pages[0], pages[-1], len(self._views), len(self._events),
            active_s_of(self._events), self._arrival or Arrival(),
        )  # fmt: skip


__all__ = ["GAP_MS", "Arrival", "Visit", "active_s_of", "arrival_of", "is_page", "visits_of"]
