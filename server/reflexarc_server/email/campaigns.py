"""What came of mails by campaign: how many were sent, opened, followed, and led to a goal.

Owns what of one mail counts, once whatever its number: an open and a click of a person, known all that came around them; a goal
as the mail's path has it (`email.path`). A page of mails at a time, so that no answer reads the whole log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from reflexarc_core.event import CONSENT, Event
from reflexarc_server.email.happening import EMAIL_BOUNCE, EMAIL_CLICK, EMAIL_OPEN, EMAIL_SENT
from reflexarc_server.email.log import MailLog
from reflexarc_server.email.path import GOALS, WITHIN_MS, machines_of, paths_of

EVENTS_AT_ONCE: Final = 5_000
"""Of a page; a mail's events are never divided."""


@dataclass(slots=True)
class Campaign:
    """Mails, each counted once a column. mails: that anything is known of. machines: opened or followed by machines alone."""

    mails: int = 0
    sent: int = 0
    bounced: int = 0
    opened: int = 0
    clicked: int = 0
    converted: int = 0
    replied: int = 0
    unsubscribed: int = 0
    complained: int = 0
    machines: int = 0


def page_of(
    log: MailLog, campaign: str = "", goals: Sequence[str] = GOALS, after: str = "", events_max: int = EVENTS_AT_ONCE
) -> tuple[dict[str, Campaign], str]:
    """(campaign -> its mails, the last mail's id) of the mails behind the id `after`; an empty id behind the last of them.

    campaign: only this one, empty for all; mails of none stand under an empty name. Raises StorageError.
    """
    found: dict[str, Campaign] = {}
    events, last = log.page(after, events_max)
    for message_id, its_events in _by_mail(events):
        name = next((str(event.properties["campaign"]) for event in its_events if event.properties.get("campaign")), "")
        if campaign in ("", name):
            _count(found.setdefault(name, Campaign()), log, message_id, its_events, goals)
    return found, last


def _count(counted: Campaign, log: MailLog, message_id: str, events: Sequence[Event], goals: Sequence[str]) -> None:
    machines = machines_of(events)
    persons = {event.event_type for event in events if not machines.get(event.event_id, False)}
    counted.mails += 1
    counted.sent += EMAIL_SENT in persons
    counted.bounced += EMAIL_BOUNCE in persons
    counted.opened += EMAIL_OPEN in persons
    counted.clicked += EMAIL_CLICK in persons
    counted.replied += "email_reply" in persons
    counted.complained += "email_complaint" in persons
    counted.unsubscribed += any(e.event_type == CONSENT and e.properties.get("granted") is False for e in events)
    counted.machines += any(machines.values()) and not persons & {EMAIL_OPEN, EMAIL_CLICK}
    if EMAIL_CLICK in persons:
        counted.converted += _is_converted(log, message_id, events, machines, goals)


def _is_converted(
    log: MailLog, message_id: str, events: Sequence[Event], machines: dict[str, bool], goals: Sequence[str]
) -> bool:
    clicks = [event for event in events if event.event_type == EMAIL_CLICK and not machines[event.event_id]]
    subject = clicks[0].subject
    first, last = min(e.event_time for e in clicks), max(e.event_time for e in clicks) + WITHIN_MS
    if not log.reached(subject, goals, first, last):  # nearly always, and a look into an index
        return False
    return any(path.converted for path in paths_of(log.of_person(subject), message_id, goals))


def _by_mail(events: Sequence[Event]) -> Iterator[tuple[str, list[Event]]]:
    for message_id, its_events in groupby(events, key=lambda event: event.event_id.split("~")[1]):
        held = list(its_events)
        if any(event.event_type.startswith("email_") for event in held):  # an id of somebody else's may look like ours
            yield message_id, held


__all__ = ["EVENTS_AT_ONCE", "Campaign", "page_of"]
