"""An inbound mail kept: its events in the log, and what its rule sends on in the outbox, both durable when it returns.

Owns the one way that mail takes from whoever brought it, HTTP or a mailbox. The same mail again is a duplicate, and nothing is
sent on for it. Must never log what a mail says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_server.channels.channel import Outgoing
from reflexarc_server.email.happening import SOURCE
from reflexarc_server.email.log import MailLog
from reflexarc_server.inbound.taking import Plan, Taker
from reflexarc_server.ingest import Told
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.store.port import Transaction


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a mail. is_new: False for one that was here before."""

    plan: Plan
    is_new: bool


class Keeper:
    """Keeps the mails of one site. Safe for several threads. Raises DefinitionError for a rule whose channel is not there."""

    def __init__(self, parts: Parts, site: Site) -> None:
        for name in sorted(site.replies.channels - parts.outbox.channels):
            there = ", ".join(sorted(parts.outbox.channels)) or "none"
            raise DefinitionError(f"replies: there is no channel {name}", hint=f"there are: {there}")
        self._parts = parts
        signer = site.email.signer() if site.email.is_on else None
        self._taker = Taker(
            signer, MailLog(parts.store, parts.links), site.replies, site.sentiment, site.email.purpose, site.identity.secret
        )

    def keep(self, content: bytes, now: int) -> Kept:
        """Take in the mail in these bytes, received at `now` (ms).

        Raises StorageError when it could not be stored, and InvalidEventError when it never will be: the live catalog knows no
        such event, say.
        """
        plan = self._taker.plan(content, now)
        told = self._parts.ingest.accept(SOURCE, list(plan.events), lambda transaction, told: self._put(transaction, told, plan))
        return Kept(plan, told[0].verdict == "stored")

    def _put(self, transaction: Transaction, told: Sequence[Told], plan: Plan) -> None:
        """What a rule sends on, in the transaction that stores the mail: neither is there without the other."""
        if told[0].verdict == "rejected":
            raise InvalidEventError("an inbound mail was refused", hint=told[0].reason)
        if not plan.route.channel or told[0].verdict != "stored":
            return
        event = plan.events[0]
        body = {
            "kind": event.event_type, "event_id": event.event_id, "subject": event.subject, "time": event.event_time,
            "properties": dict(event.properties), "rule": plan.route.rule,
        }  # fmt: skip
        self._parts.outbox.put(transaction.run, Outgoing(plan.route.channel, event.event_id, event.subject, body, event.subject))


__all__ = ["Keeper", "Kept"]
