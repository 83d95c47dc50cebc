"""Taking a submission: the lead is kept, the events that say it happened are in the log, and the lead is on its way.

Owns which of these there are for whom. What was typed stands in the lead's row alone; an event has it only where the form
declares so. A lead and its messages are there together or not at all, and the same submission sent again changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from reflexarc_core.event import CONSENT, Event, Value
from reflexarc_server.channels import Outgoing
from reflexarc_server.collect.identifying import identify_by
from reflexarc_server.forms import Filled, judge
from reflexarc_server.leads.website import website_of
from reflexarc_server.parts import Parts
from reflexarc_server.site.forms import Form
from reflexarc_server.store import leads as table
from reflexarc_server.store.leads import LeadRow
from reflexarc_server.store.port import Transaction

PARTIAL, COMPLETE, SPAM = "partial", "complete", "spam"
URL_LENGTH_MAX: Final = 2_000
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Submission:
    """What came. source: the write key's name. submission_id: its sender's own, the same when it is sent again. anonymous_id:
    the browser's, empty for none. time: ms by the server's clock, when it was sent. partial: it was left unsent.
    known_id: who is signed in there, empty for nobody. proves: whether the page may say that its visitor is this one."""

    form: Form
    source: str
    submission_id: str
    anonymous_id: str
    values: Mapping[str, Any]
    page_url: str
    time: int
    partial: bool
    language: str
    known_id: str = ""
    proves: Callable[[str], bool] = lambda claimed: True


class Leads:
    """One server's."""

    def __init__(self, parts: Parts, internal: frozenset[str] = frozenset(), secret: bytes = b"") -> None:
        """internal: domains of the site's own, from which nobody comes as from outside. secret: of known ids by an address."""
        self._parts = parts
        self._internal = internal
        self._secret = secret

    def take(self, given: Submission) -> Filled:
        """Judge and keep a submission; durable when this returns. Raises StorageError."""
        filled = judge(given.form, given.values, given.language)
        lead_id = _digest(given.source, given.form.form_id, given.anonymous_id, given.submission_id)
        subject = f"anonymous:{given.anonymous_id or lead_id}"
        state = SPAM if filled.is_spam else PARTIAL if given.partial or filled.errors else COMPLETE
        body = self._body(given, filled, lead_id, subject, state)
        now = self._parts.clock.now_ms()
        row = LeadRow(lead_id, given.form.form_id, subject, state, _encode(body), now, now)
        order = f"lead/{_person(given, filled, lead_id)}"
        outbox = self._parts.outbox

        def keep(transaction: Transaction, told: object = None) -> None:
            if table.keep(transaction.run, row) and state == COMPLETE:
                for channel in given.form.to:
                    outbox.put(transaction.run, Outgoing(channel, f"lead/{lead_id}", order, body, subject))

        if state == COMPLETE:  # what happened, the lead and its messages: there together or not at all, and one wait for the disk
            events = _events(given, filled, lead_id, subject, self._secret)
            self._parts.ingest.accept(f"web/{given.anonymous_id or lead_id}", events, keep)
        else:
            with self._parts.store.transaction() as transaction:
                keep(transaction)
        return dataclasses.replace(filled, errors={}) if given.partial else filled

    def _body(self, given: Submission, filled: Filled, lead_id: str, subject: str, state: str) -> dict[str, Any]:
        """A lead as it is kept and as it goes out."""
        consents = {each.consent: bool(filled.values.get(each.name)) for each in given.form.fields if each.consent}
        website: dict[str, Any] = {}
        if state == COMPLETE:
            website = website_of(self._parts.store, self._parts.links, subject, self._internal)
        return {
            "kind": "lead", "lead_id": lead_id, "state": state, "form_id": given.form.form_id, "form_type": given.form.form_type,
            "time": given.time, "subject": subject, "page_url": given.page_url, "values": dict(filled.values),
            "consents": consents, "errors": sorted(filled.errors), "website": website,
        }  # fmt: skip


def _events(given: Submission, filled: Filled, lead_id: str, subject: str, secret: bytes) -> list[Event]:
    """What happened, in order: who it is, what they allowed, what they sent. Ids are the lead's, so each is there once."""
    form, time = given.form, given.time
    events: list[Event] = []
    address = str(filled.values.get(form.identify_by) or "") if form.identify_by else ""
    if address:
        link = identify_by(
            given.source, given.anonymous_id, time, address=address, known_id=given.known_id, secret=secret, proves=given.proves
        )
        events += (link,) if link is not None else ()
    for each in form.fields:
        if each.consent:
            properties: dict[str, Value] = {"purpose": each.consent, "granted": bool(filled.values.get(each.name))}
            events.append(Event(f"form:{lead_id}#consent-{each.name}", CONSENT, subject, time, properties))
    declared = {each.name: filled.values[each.name] for each in form.fields if each.in_event and each.name in filled.values}
    sent: dict[str, Value] = {
        **declared,
        "form_id": form.form_id,
        "form_type": form.form_type,
        "page_url": given.page_url,
        "lead_id": lead_id,
    }
    events.append(Event(f"form:{lead_id}", "form_submit", subject, time, sent))
    if form.form_type == "support":
        topic = {"topic": str(declared["topic"])} if "topic" in declared else {}
        events.append(Event(f"form:{lead_id}#ticket", "support_ticket", subject, time, {"ticket_id": lead_id, **topic}))
    return events


def _person(given: Submission, filled: Filled, lead_id: str) -> str:
    """By what the messages about one person are kept in order: their address where there is one. Says nothing of it."""
    addresses = (filled.values.get(each.name) for each in given.form.fields if each.type == "email")
    address = next((one for one in addresses if one), "")
    return _digest("person", str(address).lower()) if address else _digest("browser", given.anonymous_id or lead_id)


def _digest(*parts: str) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode()
        hashed.update(len(content).to_bytes(4, "big") + content)
    return hashed.hexdigest()[:32]
