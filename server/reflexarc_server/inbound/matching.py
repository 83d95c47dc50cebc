"""Which of our mails an inbound mail is about, and whose subject it is.

Owns the order: our signed token (in an address or a message id), then the sender's address where it is a subject we know, then
nobody. A token cannot be guessed; an address anybody can write, so `Match.by` says what the match rests on. Writes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_server.collect.identifying import known_id_of
from reflexarc_server.email.token import REPLY, Signer
from reflexarc_server.inbound.message import Mail

TOKEN: Final = "token"
REFERENCES: Final = "references"
ADDRESS: Final = "address"
NOTHING: Final = "nothing"
STRANGER: Final = "anonymous:mail-"
"""How the subject of a sender begins whom we do not know."""
TRIES_MAX: Final = 100
"""Texts that are tried as a token; a mail may name thousands of ids."""
_TEXT_LENGTH_MAX: Final = 20_000
_IN_TEXT: Final = re.compile(r"([A-Za-z2-7]{20,400})@[A-Za-z0-9.-]{1,253}")


class Log(Protocol):
    """What is known of mails and people."""

    def sent(self, message_id: str) -> Event | None:
        """The `email_sent` event of a mail, None when it is not known."""
        ...

    def of_person(self, subject: str) -> list[Event]:
        """Every event of a subject."""
        ...


class NoLog:
    """A log that knows nothing: for looking at mails without a server."""

    def sent(self, message_id: str) -> Event | None:
        """See Log."""
        return None

    def of_person(self, subject: str) -> list[Event]:
        """See Log."""
        return []


@dataclass(frozen=True, slots=True)
class Match:
    """subject: whose the event becomes. message_id, campaign: of our mail, empty when they are not known.

    by: token (in an address of ours), references (ids of mails it answers or reports), address, or nothing.
    """

    subject: str
    message_id: str
    campaign: str
    by: str


def match(mail: Mail, signer: Signer | None, log: Log, now: int, *, is_report: bool = False, secret: bytes = b"") -> Match:
    """Whose the mail is. is_report: a machine tells about a mail, whose id may stand in its text; its sender is nobody.

    secret: of known ids by an address, empty where the address itself is one.
    """
    if signer is not None:
        for by, texts in ((TOKEN, _tagged(mail)), (REFERENCES, _named(mail, is_report=is_report))):
            for text in texts:
                found = _by_token(text, by, signer, log, now, mail, secret)
                if found is not None:
                    return found
    if not is_report and mail.sender:
        # A site that began to hide addresses may know older people by the address itself.
        for known_id in dict.fromkeys((known_id_of(mail.sender, secret), mail.sender)):
            if log.of_person(f"known:{known_id}"):
                return Match(f"known:{known_id}", "", "", ADDRESS)
    return Match(_stranger(mail.sender, secret), "", "", NOTHING)


def _by_token(token: str, by: str, signer: Signer, log: Log, now: int, mail: Mail, secret: bytes) -> Match | None:
    try:
        mark = signer.read(REPLY, token, now)
    except InvalidEventError:
        return None
    sent = log.sent(mark.message_id)
    campaign = str(sent.properties.get("campaign", "")) if sent is not None else ""
    subject = mark.subject or (sent.subject if sent is not None else "") or _stranger(mail.sender, secret)
    return Match(subject, mark.message_id, campaign, by)


def _tagged(mail: Mail) -> Iterable[str]:
    """What stands behind the `+` of an address it came to."""
    return [address.partition("@")[0].partition("+")[2] for address in mail.recipients if "+" in address][:TRIES_MAX]


def _named(mail: Mail, *, is_report: bool) -> Iterable[str]:
    """What stands before the `@` of the message ids it names, the nearest first."""
    ids = [*mail.in_reply_to, *reversed(mail.references)]
    if mail.report is not None:
        ids = [*mail.report.message_ids, *ids]
    tokens = [each.rpartition("@")[0] for each in ids]
    if is_report:
        tokens += _IN_TEXT.findall(mail.text[:_TEXT_LENGTH_MAX])
    return list(dict.fromkeys(tokens))[:TRIES_MAX]


def _stranger(address: str, secret: bytes) -> str:
    """A subject for a sender whom we do not know: always the same one, and it does not show the address, with a secret not to
    whoever tries addresses either."""
    content = b"reflexarc stranger " + address.encode()
    digest = hmac.new(secret, content, hashlib.sha256) if secret else hashlib.sha256(content)
    return f"{STRANGER}{digest.hexdigest()[:24]}"


__all__ = ["ADDRESS", "NOTHING", "REFERENCES", "STRANGER", "TOKEN", "Match", "NoLog", "match"]
