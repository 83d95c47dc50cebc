"""Acting: what a server trigger decides goes out on the channel that its action names.

An action whose channel the outbox has is done by the server itself, and no device gets it; every other one goes the way to a
device. Owns what such a message says.
"""

from __future__ import annotations

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_server.channels.channel import Outgoing
from reflexarc_server.channels.outbox import Outbox
from reflexarc_server.store.port import Store, Transaction


class Acting:
    """One server's."""

    def __init__(self, outbox: Outbox, store: Store) -> None:
        self._outbox = outbox
        self._store = store
        self._catalogs: dict[str, Catalog] = {}

    def decided(self, transaction: Transaction, decision: Decision) -> bool:
        """A decision is stored in this transaction: whether its action is one of ours, and so is in the outbox now.

        The key is the decision's id. Messages about one person go in the order in which they were decided.
        """
        if decision.reason is not Reason.FIRED or decision.mode == "dry_run":
            return False
        channel = self._channel(decision)
        if channel not in self._outbox.channels:
            return False
        self._outbox.put(transaction.run, message_of(decision, channel))
        return True

    def _channel(self, decision: Decision) -> str:
        """The channel of its action, in the catalog that decided."""
        catalog = self._catalogs.get(decision.catalog_digest)
        if catalog is None:
            built = self._store.catalogs().get(decision.catalog_digest)
            catalog = self._catalogs[decision.catalog_digest] = Catalog() if built is None else Catalog.from_bytes(built)
        action = catalog.actions.get(decision.action)
        return "" if action is None else action.channel


def message_of(decision: Decision, channel: str) -> Outgoing:
    """A fired decision as it goes out: `kind` is `action`, the rendered payload stands in `payload`."""
    body = {
        "kind": "action",
        "decision_id": decision.decision_id,
        "decision_time": decision.decision_time,
        "trigger_id": decision.trigger_id,
        "action": decision.action,
        "variant": decision.variant,
        "subject": decision.subject,
        "payload": dict(decision.payload or {}),
    }
    return Outgoing(channel, decision.decision_id, decision.subject, body, decision.subject, decision.expire_time)
