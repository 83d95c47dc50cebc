"""When and on what one person opens mail: how often, first and last, hours of the week, programs and devices.

Owns what counts: opens that are held for a machine's, known all that came around them, are counted beside the others; what an
image proxy says of a device is the proxy's, so its opens tell when and not on what. A computation over events; reads nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reflexarc_core.event import Event
from reflexarc_core.purchase_window import hour_of_week
from reflexarc_server.email.happening import EMAIL_CLICK, EMAIL_OPEN, EMAIL_SENT, MINUTE_MS
from reflexarc_server.email.path import machines_of

OFFSET: Final = "offset_minutes"


@dataclass(frozen=True, slots=True)
class MailOpens:
    """Of one person. opens: a person's; of them through_proxy came through an image proxy. mails_opened, mails_sent: different
    mails. first_time, last_time: ms, 0 for never.

    hours: hour of the week, 0 = Monday 00:00, -> opens, in local time by offset_minutes, which the person's newest event
    said; UTC where none did. clients, devices, systems: -> opens, without those through a proxy. proxies: with machines' too.
    """

    mails_sent: int
    mails_opened: int
    opens: int
    through_proxy: int
    machine_opens: int
    first_time: int
    last_time: int
    offset_minutes: int
    hours: Mapping[int, int]
    clients: Mapping[str, int]
    devices: Mapping[str, int]
    systems: Mapping[str, int]
    proxies: Mapping[str, int]


def opens_of(events: Sequence[Event], campaign: str = "") -> MailOpens:
    """The opens among a person's events, of one campaign or of all mail."""
    machines = machines_of(events)
    about = [event for event in events if event.event_type in (EMAIL_OPEN, EMAIL_SENT)]
    about = [event for event in about if campaign in ("", event.properties.get("campaign"))]
    fetched = [event for event in about if event.event_type == EMAIL_OPEN]
    opened = [event for event in fetched if not machines[event.event_id]]
    seen = [event for event in opened if not event.properties.get("proxy")]
    times = [event.event_time for event in opened]
    offset = offset_of(events)
    return MailOpens(
        mails_sent=len({_message(event) for event in about if event.event_type == EMAIL_SENT}),
        mails_opened=len({_message(event) for event in opened}),
        opens=len(opened),
        through_proxy=len(opened) - len(seen),
        machine_opens=len(fetched) - len(opened),
        first_time=min(times, default=0),
        last_time=max(times, default=0),
        offset_minutes=offset,
        hours=dict(sorted(Counter(hour_of_week(time + offset * MINUTE_MS) for time in times).items())),
        clients=_counted(seen, "client"),
        devices=_counted(seen, "device"),
        systems=_counted(seen, "os"),
        proxies=_counted(fetched, "proxy"),
    )


def offset_of(events: Iterable[Event]) -> int:
    """Local time minus UTC, minutes, as the newest of a person's events says it; 0 where none does. A mail's own only repeat what
    was known when it was made."""
    heard = [event for event in events if event.event_type not in (EMAIL_OPEN, EMAIL_CLICK)]
    said = [(event.event_time, value) for event in heard if type(value := event.context.get(OFFSET)) is int]
    return max(said, default=(0, 0))[1]


def _message(event: Event) -> str:
    return str(event.properties.get("message_id", ""))


def _counted(events: Sequence[Event], name: str) -> dict[str, int]:
    """The commonest first."""
    return dict(Counter(str(event.properties[name]) for event in events if event.properties.get(name)).most_common())


__all__ = ["MailOpens", "offset_of", "opens_of"]
