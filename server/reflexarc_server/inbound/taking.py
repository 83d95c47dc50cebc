"""An inbound mail taken in: told apart, matched, read, routed, and made into events.

Owns what the events say and their ids, which follow from the mail itself, so that the same mail twice is a duplicate. `plan` says
what would happen and why, and changes nothing. Must never keep more of a mail than its new text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from reflexarc_core.event import CONSENT, Event, Value
from reflexarc_models.sentiment import Sentiment
from reflexarc_server.email.happening import EMAIL_BOUNCE
from reflexarc_server.email.token import Signer, event_id_prefix
from reflexarc_server.inbound.belief import doubt
from reflexarc_server.inbound.kind import AUTO_REPLY, BOUNCE, COMPLAINT, LIST, REPLY, Verdict, kind_of
from reflexarc_server.inbound.matching import NOTHING, Log, Match, match
from reflexarc_server.inbound.message import Mail, read_mail
from reflexarc_server.inbound.reply_text import reply_text
from reflexarc_server.language import language_of
from reflexarc_server.sentiment import Mood, mood_of
from reflexarc_server.site.replies import About, Replies, Route

TYPES: Final = {
    REPLY: "email_reply", AUTO_REPLY: "email_auto_reply", LIST: "email_auto_reply", BOUNCE: EMAIL_BOUNCE,
    COMPLAINT: "email_complaint",
}  # fmt: skip
TEXT_BYTES_MAX: Final = 6_000
TITLE_LENGTH_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """What an inbound mail leads to. events: the first says what came, a second one takes a consent back. doubt: why a bounce or
    complaint is not believed, empty when it is, and for what is neither."""

    verdict: Verdict
    match: Match
    text: str
    mood: Mood
    language: str
    route: Route
    events: tuple[Event, ...]
    doubt: str = ""

    def to_json(self) -> dict[str, Any]:
        """For people: what would happen, and why."""
        return {
            "kind": self.verdict.name, "why": self.verdict.reason, "severity": self.verdict.severity,
            "status": self.verdict.status, "doubt": self.doubt,
            "subject": self.match.subject, "message_id": self.match.message_id, "matched_by": self.match.by, "text": self.text,
            "mood": self.mood.label, "sentiment": self.mood.score, "sentiment_by": self.mood.by, "language": self.language,
            "rule": self.route.rule, "queue": self.route.queue, "priority": self.route.priority, "channel": self.route.channel,
            "event": self.events[0].event_type, "event_id": self.events[0].event_id,
        }  # fmt: skip


class Taker:
    """Plans for mails of one site. signer: None where it sends none. purpose: of the consent that a complaint takes back. secret:
    of known ids by an address, empty where the address itself is one."""

    def __init__(
        self, signer: Signer | None, log: Log, replies: Replies, sentiment: Sentiment | None, purpose: str, secret: bytes = b""
    ) -> None:
        self._secret = secret
        self._signer = signer
        self._log = log
        self._replies = replies
        self._sentiment = sentiment
        self._purpose = purpose

    def plan(self, content: bytes, now: int) -> Plan:
        """What becomes of the mail in these bytes, received at `now` (ms). Raises StorageError only."""
        mail = read_mail(content)
        verdict = kind_of(mail)
        found = match(mail, self._signer, self._log, now, is_report=verdict.name in (BOUNCE, COMPLAINT), secret=self._secret)
        text = _bounded(reply_text(mail.text)) if verdict.name == REPLY else ""
        mood = mood_of(text, self._sentiment)
        language = language_of(text)
        route = self._replies.route(About(verdict.name, mood.label, language, mail.title, found.by != NOTHING))
        said: dict[str, Value] = _said(mail, text, mood, language) if verdict.name == REPLY else {}
        why_not = ""
        if verdict.name in (BOUNCE, COMPLAINT):
            sent = self._log.sent(found.message_id) if found.message_id else None
            why_not = doubt(mail, verdict.name, found, sent, self._signer, self._secret)
            said = {"believed": not why_not}
        event = _event(mail, verdict, found, now, said, route)
        events: tuple[Event, ...] = (event,)
        if verdict.name == COMPLAINT and not why_not:
            refusal: dict[str, Value] = {"purpose": self._purpose, "granted": False}
            events = (event, Event(f"{event.event_id}~consent", CONSENT, found.subject, now, refusal))
        return Plan(verdict, found, text, mood, language, route, events, why_not)


def _said(mail: Mail, text: str, mood: Mood, language: str) -> dict[str, Value]:
    said: dict[str, Value] = {
        "text": text, "sentiment": mood.score, "mood": mood.label, "title": mail.title[:TITLE_LENGTH_MAX],
        "attachment_count": mail.attachment_count,
    }  # fmt: skip
    return said | ({"language": language} if language else {})


def _event(mail: Mail, verdict: Verdict, found: Match, now: int, said: dict[str, Value], route: Route) -> Event:
    properties: dict[str, Value] = {"message_id": found.message_id, "matched_by": found.by, **said}
    if verdict.name == BOUNCE:
        properties |= {"kind": verdict.severity, "status": verdict.status}
    elif verdict.name != REPLY:
        properties["kind"] = verdict.status or verdict.name
    if found.campaign:
        properties["campaign"] = found.campaign
    properties |= {"queue": route.queue, "priority": route.priority}
    return Event(_event_id(mail, verdict, found), TYPES[verdict.name], found.subject, now, properties)


def _event_id(mail: Mail, verdict: Verdict, found: Match) -> str:
    """Trace headers change on every way the mail takes; who wrote it, when, under which id and what do not."""
    unique = "\n".join((mail.message_id, mail.sender, str(mail.date), mail.title, mail.text)).encode("utf-8", "replace")
    prefix = event_id_prefix(found.message_id) if found.message_id else "email~~"
    return f"{prefix}{verdict.name}~{hashlib.sha256(unique).hexdigest()[:32]}"


def _bounded(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace")[:TEXT_BYTES_MAX].decode("utf-8", "ignore")


__all__ = ["Plan", "Taker"]
