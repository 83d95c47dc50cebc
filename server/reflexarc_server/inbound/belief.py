"""Whether a bounce or a complaint is believed: anybody can write a mail that says one.

Owns the rule. A bounce is believed when it names, by our signed token, a mail that went out from here, and the address that it
went to. A complaint may leave the address out, as most mailbox hosts do, and be about a mail that somebody else's program sent:
whoever has the token has the mail, and in it the link that does the same. Everything else is kept, labelled, and changes nothing
for the address. Writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from reflexarc_core.event import Event, subject_parts
from reflexarc_server.collect.identifying import known_id_of
from reflexarc_server.email.token import RECIPIENT, Signer
from reflexarc_server.inbound.kind import COMPLAINT
from reflexarc_server.inbound.matching import REFERENCES, STRANGER, TOKEN, Match
from reflexarc_server.inbound.message import Mail

CANDIDATES_MAX: Final = 50
_TEXT_LENGTH_MAX: Final = 20_000
_ADDRESS: Final = re.compile(r"[^\s<>@\"'(),;:=\[\]]{1,64}@[A-Za-z0-9.-]{1,253}")
_OF_A_BLOCK: Final = ("final-recipient", "original-recipient")
_OF_A_COMPLAINT: Final = ("original-rcpt-to", "removal-recipient")


def doubt(mail: Mail, kind: str, found: Match, sent: Event | None, signer: Signer | None, secret: bytes = b"") -> str:
    """Why a report is not believed, empty when it is. kind: bounce or complaint. sent: the `email_sent` of the mail it is about.

    secret: of known ids by an address, empty where the address itself is one.
    """
    if signer is None or found.by not in (TOKEN, REFERENCES):
        return "it names no mail of ours"
    if sent is None:
        is_known = kind == COMPLAINT and not found.subject.startswith(STRANGER)
        return "" if is_known else "that mail did not go out from here"
    if sent.subject != found.subject:
        return "that mail went to somebody else"
    named = list(dict.fromkeys(_named(mail, kind)))[:CANDIDATES_MAX]
    if not named and kind == COMPLAINT:
        return ""
    return "" if any(_is_recipient(address, sent, signer, secret) for address in named) else "it names another address, or none"


def _is_recipient(address: str, sent: Event, signer: Signer, secret: bytes) -> bool:
    digest = sent.properties.get(RECIPIENT)
    if isinstance(digest, str) and digest:
        return signer.is_recipient(digest, address)
    kind, its_id = subject_parts(sent.subject)  # of a mail that somebody else's program sent: the person may be their address
    return kind == "known" and its_id in (address, known_id_of(address, secret))


def _named(mail: Mail, kind: str) -> Iterable[str]:
    """The addresses that it says it is about, in lower case."""
    report = mail.report
    if report is not None:
        for block in report.fields:
            if kind == COMPLAINT or _is_failed(block):
                for name in _OF_A_COMPLAINT if kind == COMPLAINT else _OF_A_BLOCK:
                    yield from _addresses(block.get(name, ""))
        return
    yield from _addresses(mail.header("x-failed-recipients"))
    yield from _addresses(mail.text[:_TEXT_LENGTH_MAX])


def _is_failed(block: Mapping[str, str]) -> bool:
    return block.get("action", "").strip().lower().startswith(("failed", "delayed"))


def _addresses(text: str) -> list[str]:
    return [address.lower().rstrip(".") for address in _ADDRESS.findall(text)]


__all__ = ["doubt"]
