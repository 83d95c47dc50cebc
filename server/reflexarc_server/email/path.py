"""The way from a mail to what came of it: sent, opened, clicked, pages, goal, and the time between.

Owns what belongs to the way of one mail, and the labels told again now that every request is known. A computation over events;
reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from reflexarc_core.event import Event
from reflexarc_server.email.gateway import reread
from reflexarc_server.email.happening import EMAIL_BOUNCE, EMAIL_CLICK, EMAIL_OPEN, EMAIL_SENT

GOALS: Final = ("purchase", "form_submit")
WITHIN_MS: Final = 7 * 86_400_000
"""A goal so long after the last click still belongs to the mail."""
ABOUT_MAIL: Final = (EMAIL_SENT, EMAIL_OPEN, EMAIL_CLICK, EMAIL_BOUNCE, "email_reply")
PAGES: Final = ("page_view", "content_view", "product_interaction", "button_click")
STEPS_MAX: Final = 1_000


class Step(NamedTuple):
    """One event of the way. place: where it stands in words (a link's address, a page's). since_ms: after the step before it.

    machine: whether it is held for a machine's, known all that came around it.
    """

    event_type: str
    subject: str
    time: int
    since_ms: int
    place: str
    machine: bool


class MailPath(NamedTuple):
    """The way of one mail. converted: a goal was reached behind a person's click. sent_to_goal_ms: -1 without one."""

    message_id: str
    subject: str
    campaign: str
    steps: tuple[Step, ...]
    converted: bool
    click_to_goal_ms: int
    sent_to_goal_ms: int


def paths_of(
    events: Sequence[Event], message_id: str = "", goals: Sequence[str] = GOALS, within_ms: int = WITHIN_MS
) -> list[MailPath]:
    """The way of each mail among a person's events, or of one, by the time it was first heard of.

    Pages and goals belong to the mail whose link a person followed last before them, for within_ms. The way ends with its first
    goal.
    """
    ordered = sorted(events, key=lambda event: event.event_time)
    machines = machines_of(ordered)
    held: dict[str, list[Event]] = {}
    current, clicked = "", 0
    ended: set[str] = set()
    for event in ordered:
        if event.event_type in ABOUT_MAIL:
            about = str(event.properties.get("message_id", ""))
            held.setdefault(about, []).append(event)
            if event.event_type == EMAIL_CLICK and not machines.get(event.event_id, False):
                current, clicked = about, event.event_time
        elif current and event.event_time - clicked <= within_ms and event.event_type in (*PAGES, *goals):
            if current not in ended:
                held[current].append(event)
            if event.event_type in goals:
                ended.add(current)
    return [_path(about, held[about], machines, goals) for about in held if about and message_id in ("", about)]


def _path(message_id: str, events: Sequence[Event], machines: dict[str, bool], goals: Sequence[str]) -> MailPath:
    first = events[0]
    steps: list[Step] = []
    clicked = goal = -1
    before = first.event_time
    for event in events:
        machine = machines.get(event.event_id, False)
        if event.event_type == EMAIL_CLICK and not machine:
            clicked = event.event_time
        if event.event_type in goals and goal < 0:
            goal = event.event_time
        if len(steps) < STEPS_MAX:
            step = Step(event.event_type, event.subject, event.event_time, event.event_time - before, _place(event), machine)
            steps.append(step)
        before = event.event_time
    campaign = next((str(event.properties["campaign"]) for event in events if event.properties.get("campaign")), "")
    sent = next((event.event_time for event in events if event.event_type == EMAIL_SENT), -1)
    is_reached = goal >= 0 and clicked >= 0
    return MailPath(
        message_id,
        first.subject,
        campaign,
        tuple(steps),
        is_reached,
        goal - clicked if is_reached else -1,
        goal - sent if is_reached and sent >= 0 else -1,
    )


def machines_of(events: Sequence[Event]) -> dict[str, bool]:
    """Event id -> whether a machine's, of opens and clicks: by its label, or for it stands in a burst. Of events in any order."""
    events = sorted(events, key=lambda event: event.event_time)
    found = {e.event_id: e.properties.get("machine") is True for e in events if e.event_type in (EMAIL_OPEN, EMAIL_CLICK)}
    clicks: dict[str, list[Event]] = {}
    for event in events:
        if event.event_type == EMAIL_CLICK:
            clicks.setdefault(str(event.properties.get("message_id", "")), []).append(event)
    for of_one in clicks.values():
        count = _number(of_one[0], "link_count")
        bursts = reread([(event.event_time, _number(event, "link_position")) for event in of_one], count)
        for event, is_burst in zip(of_one, bursts, strict=True):
            found[event.event_id] = found[event.event_id] or is_burst
    return found


def _number(event: Event, name: str) -> int:
    value = event.properties.get(name, 0)
    return value if isinstance(value, int) else 0


def _place(event: Event) -> str:
    for name in ("url", "page_url", "product_id", "content_id", "form_id", "order_id", "status"):
        value = event.properties.get(name)
        if isinstance(value, str) and value:
            return value
    return ""
