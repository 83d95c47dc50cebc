"""Opens, clicks and unsubscriptions as events.

Owns what an event of a mail says and its id, which follows from what happened, so that a retry is known for one. Does no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from reflexarc_core.event import CONSENT, Event, Value
from reflexarc_core.purchase_window import hour_of_week
from reflexarc_server.email.address import without_secrets
from reflexarc_server.email.gateway import Agent, Label, Request, Watch
from reflexarc_server.email.token import Mark, event_id_prefix

EMAIL_SENT: Final = "email_sent"
EMAIL_OPEN: Final = "email_open"
EMAIL_CLICK: Final = "email_click"
EMAIL_BOUNCE: Final = "email_bounce"
SOURCE: Final = "email"
"""Whose installation these events are."""
MINUTE_MS: Final = 60_000
AGENT_LENGTH_MAX: Final = 1_024


class MailAgent(Agent, Protocol):
    """What is read of a user agent, with what an event says of it."""

    @property
    def browser(self) -> str: ...
    @property
    def os(self) -> str: ...
    @property
    def device_class(self) -> str: ...
    @property
    def mail_client(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as HTTP gives it. agent: the User-Agent header, empty without. address: the caller's. time: ms."""

    token: str
    method: str
    agent: str
    address: str
    time: int


class Happenings:
    """Makes events of requests. read_agent: of a User-Agent's text."""

    def __init__(self, watch: Watch, read_agent: Callable[[str], MailAgent]) -> None:
        self._watch = watch
        self._read_agent = read_agent

    def opened(self, mark: Mark, asked: Asked) -> Event:
        """The event of a fetched pixel."""
        return self._event(EMAIL_OPEN, "open", mark, asked)

    def clicked(self, mark: Mark, asked: Asked) -> Event:
        """The event of a followed link."""
        return self._event(EMAIL_CLICK, "click", mark, asked)

    def _event(self, event_type: str, kind: str, mark: Mark, asked: Asked) -> Event:
        text = asked.agent[:AGENT_LENGTH_MAX]
        agent = self._read_agent(text)
        time = self._watch.first_time(asked.token, asked.address, text, asked.time)
        since = time - mark.made_time if mark.made_time else -1
        request = Request(mark.message_id, kind, mark.position, mark.link_count, time, asked.method, since, not text)
        label = self._watch.judge(request, agent)
        properties: dict[str, Value] = {
            "message_id": mark.message_id,
            "machine": label.machine,
            "gateway": label.gateway,
            "gateway_score": label.gateway_score,
            "hour_of_week": hour_of_week(time + mark.offset_minutes * MINUTE_MS),
            **_said(mark, label, agent, since),
        }
        if event_type == EMAIL_CLICK:
            properties |= {
                "url": without_secrets(mark.url),
                "link_position": mark.position,
                "link_count": mark.link_count,
            }
        context: dict[str, Value] = {"offset_minutes": mark.offset_minutes} if mark.offset_minutes else {}
        return Event(_event_id(mark, kind, asked, time), event_type, mark.subject, time, properties, context)


def unsubscribed(mark: Mark, time: int) -> Event:
    """The event of a press on the unsubscribe button: the mail's purpose is refused. Who allowed it again may press again."""
    event_id = f"{event_id_prefix(mark.message_id)}unsubscribe~{time}"
    return Event(event_id, CONSENT, mark.subject, time, {"purpose": mark.purpose, "granted": False})


def _said(mark: Mark, label: Label, agent: MailAgent, since: int) -> dict[str, Value]:
    """What there is to say of it; nothing for what is not known."""
    said: dict[str, Value] = {
        "campaign": mark.campaign,
        "client": agent.mail_client or agent.browser,
        "device": agent.device_class,
        "os": agent.os,
        "proxy": label.proxy,
    }
    if since >= 0:
        said["since_sent_ms"] = since
    return {name: value for name, value in said.items() if value != ""}


def _event_id(mark: Mark, kind: str, asked: Asked, time: int) -> str:
    unique = f"{asked.token}\n{asked.address}\n{asked.agent}\n{time}".encode("utf-8", "replace")
    return f"{event_id_prefix(mark.message_id)}{kind}~{hashlib.sha256(unique).hexdigest()[:24]}"
