"""What the server's log holds of mails: which was sent to whom, what came of it, and who wants none.

Owns these look-ups. Reads the store by its port, writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from reflexarc_core.event import CONSENT, Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.email.token import event_id_prefix, sent_event_id
from reflexarc_server.links import Links
from reflexarc_server.store.sqlite import SqliteStore


class MailLog:
    """One server's."""

    def __init__(self, store: SqliteStore, links: Links) -> None:
        self._store = store
        self._links = links

    def sent(self, message_id: str) -> Event | None:
        """The `email_sent` event of a mail, whose subject is whom it went to; None when it did not go out from here."""
        return next((event for event in self.of_message(message_id) if event.event_id == sent_event_id(message_id)), None)

    def of_message(self, message_id: str) -> list[Event]:
        """Every event that names the mail in its id: sent, opens, clicks, bounces, unsubscriptions; oldest first."""
        prefix = event_id_prefix(message_id)
        return _events(self._store.events_by_id(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))

    def of_person(self, subject: str) -> list[Event]:
        """Every event of a subject and of all that is linked to it, in log order."""
        members = self._links.members(self._links.canonical(subject))
        return _events([body for _, body in self._store.events_of(members, self._store.last_seq())])

    def is_refused(self, subject: str, purpose: str) -> bool:
        """Whether the person's last word on a purpose is no. Silence is none: a trigger's purpose asks for a yes."""
        said = [e for e in self.of_person(subject) if e.event_type == CONSENT and e.properties.get("purpose") == purpose]
        return bool(said) and said[-1].properties.get("granted") is False


def _events(bodies: Sequence[bytes]) -> list[Event]:
    found = []
    for body in bodies:
        _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
        if isinstance(record, EventInput):
            found.append(record.event)
    return found
