"""What the server's log holds of mails: which was sent to whom, what came of it, and who wants none.

Owns these look-ups. Reads the store by its port, writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from reflexarc_core.event import CONSENT, Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.email.happening import EMAIL_BOUNCE, EMAIL_CLICK, EMAIL_OPEN
from reflexarc_server.email.opens import offset_of
from reflexarc_server.email.token import event_id_prefix, sent_event_id
from reflexarc_server.links import Links
from reflexarc_server.store.sqlite import SqliteStore

OF_THE_MAIL: Final = ("552", "554", "5.2.2", "5.2.3", "5.3.", "5.4.", "5.5.", "5.6.", "5.7.")
"""How the status of a bounce begins that is about one mail (too large, held for spam), or a full mailbox, not about who reads."""
BEFORE_ALL: Final = event_id_prefix("")[:-1]
BEHIND_ALL: Final = event_id_prefix("")
"""Ids of events that name a mail lie between: a mail's id begins with a letter or digit, which are all before `~`."""
SIGNS_OF_LIFE: Final = (EMAIL_OPEN, EMAIL_CLICK, "email_reply")
_GUESSED: Final = ("address", "nothing")
"""Whose answer it is rests on an address, which anybody can write."""
_OF_A_PAGE: Final = "web:"
"""How the ids of what came by a write key begin (`collect.identities`)."""


class Reader(NamedTuple):
    """why_not: why they are not written to, empty when they are. offset_minutes: local time minus UTC, 0 if not known."""

    why_not: str
    offset_minutes: int


class MailLog:
    """One server's."""

    def __init__(self, store: SqliteStore, links: Links) -> None:
        self._store = store
        self._links = links

    def sent(self, message_id: str) -> Event | None:
        """The `email_sent` event of a mail, whose subject is whom it went to; None when it did not go out from here."""
        return next((event for event in self.of_message(message_id) if event.event_id == sent_event_id(message_id)), None)

    def of_message(self, message_id: str) -> list[Event]:
        """Every event that names the mail in its id: sent, opens, clicks, bounces, unsubscriptions; by id."""
        prefix = event_id_prefix(message_id)
        return _events([body for _, body in self._store.events_by_id(prefix, _end(prefix))])

    def page(self, after: str, events_max: int) -> tuple[list[Event], str]:
        """(events of the mails behind a message id, by mail; the last mail's id, empty behind the last of all).

        About events_max of them: a mail's are never divided.
        """
        first = _end(event_id_prefix(after)) if after else BEFORE_ALL
        rows = self._store.events_by_id(first, BEHIND_ALL, events_max)
        if len(rows) < events_max:
            return _events([body for _, body in rows]), ""
        last = rows[-1][0].split("~")[1]
        whole = [body for record_id, body in rows if record_id.split("~")[1] != last]
        if whole:
            return _events(whole), rows[len(whole) - 1][0].split("~")[1]
        return self.of_message(last), last

    def reached(self, subject: str, event_types: Sequence[str], after: int, until: int) -> bool:
        """Whether a person, or what is linked to it, has one of these events behind `after` and not behind `until` (ms)."""
        members = self._links.members(self._links.canonical(subject))
        return any(self._store.reached(member, event_types, after - 1, until) for member in members)

    def of_person(self, subject: str) -> list[Event]:
        """Every event of a subject and of all that is linked to it, in log order."""
        members = self._links.members(self._links.canonical(subject))
        return _events([body for _, body in self._store.events_of(members, self._store.last_seq())])

    def reader(self, subject: str, purpose: str) -> Reader:
        """What is to be known of a person before they are written to.

        Their last word on the purpose is no (silence is none: a trigger's purpose asks for a yes), or their mailbox is not there:
        a hard bounce that is believed, and since then neither a yes nor an open, a click or an answer to a mail of ours. What a
        page said of mail counts for neither: a write key stands in every page.
        """
        refused = bounced = False
        events = self.of_person(subject)
        for event in events:
            said = event.properties
            if event.event_type == CONSENT and said.get("purpose") == purpose:
                refused = said.get("granted") is False
                bounced = bounced and refused
            elif event.event_id.startswith(_OF_A_PAGE):
                continue
            elif event.event_type == EMAIL_BOUNCE and said.get("kind") == "hard" and said.get("believed") is not False:
                bounced = bounced or not str(said.get("status", "")).startswith(OF_THE_MAIL)
            elif event.event_type in SIGNS_OF_LIFE and said.get("machine") is not True:
                bounced = bounced and said.get("matched_by") in _GUESSED
        why_not = f"the subject refused {purpose}" if refused else "the subject's mailbox is not there" if bounced else ""
        return Reader(why_not, offset_of(events))


def _end(prefix: str) -> str:
    """The first text behind all that begin so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _events(bodies: Sequence[bytes]) -> list[Event]:
    found = []
    for body in bodies:
        _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
        if isinstance(record, EventInput):
            found.append(record.event)
    return found
