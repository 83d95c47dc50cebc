"""Inbound mail over HTTP: `POST /inbound/email`, the raw message as body, signed.

Owns this path: who may call it, and that a mail is durable, with what is put into the outbox for it, when it answers. What a mail
means is `reflexarc_server.inbound`'s. Must never log what a mail says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as Path

from reflexarc_core.errors import DefinitionError, StorageError
from reflexarc_server.channels.channel import Outgoing
from reflexarc_server.email.happening import SOURCE
from reflexarc_server.email.log import MailLog
from reflexarc_server.inbound.message import MAIL_BYTES_MAX
from reflexarc_server.inbound.signature import check
from reflexarc_server.inbound.taking import Plan, Taker
from reflexarc_server.ingest import Told
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.store.port import Transaction

PATH: Final = "/inbound/email"
LARGER: Final = {PATH: MAIL_BYTES_MAX}


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """Nothing for a site without secrets for it. Raises DefinitionError for a rule whose channel is not there."""
    if not site.replies.secrets:
        return []
    for name in sorted(site.replies.channels - parts.outbox.channels):
        there = ", ".join(sorted(parts.outbox.channels)) or "none"
        raise DefinitionError(f"replies: there is no channel {name}", hint=f"there are: {there}")
    return [Path(PATH, _Inbound(parts, site).take, methods=["POST"])]


class _Inbound:
    def __init__(self, parts: Parts, site: Site) -> None:
        self._parts = parts
        self._secrets = [secret.text for secret in site.replies.secrets]
        signer = site.email.signer() if site.email.is_on else None
        log = MailLog(parts.store, parts.links)
        self._taker = Taker(signer, log, site.replies, site.sentiment, site.email.purpose)

    async def take(self, request: Request) -> Response:
        """200 with what became of it, a copy too; 401 and 403 by its signature; 503 when it could not be stored."""
        body = await request.body()
        now = self._parts.clock.now_ms()
        check(request.headers, body, self._secrets, now)
        return JSONResponse(await run_in_threadpool(self._keep, body, now))

    def _keep(self, body: bytes, now: int) -> dict[str, Any]:
        plan = self._taker.plan(body, now)
        told = self._parts.ingest.accept(SOURCE, list(plan.events), lambda transaction, told: self._put(transaction, told, plan))
        event = plan.events[0]
        return {
            "verdict": told[0].verdict, "kind": plan.verdict.name, "event_id": event.event_id, "matched_by": plan.match.by,
            "queue": plan.route.queue, "priority": plan.route.priority,
        }  # fmt: skip

    def _put(self, transaction: Transaction, told: Sequence[Told], plan: Plan) -> None:
        """What a rule sends on, in the transaction that stores the mail: neither is there without the other."""
        if told[0].verdict == "rejected":
            raise StorageError("an inbound mail was refused", hint=told[0].reason)
        if not plan.route.channel or told[0].verdict != "stored":
            return
        event = plan.events[0]
        body = {
            "kind": event.event_type, "event_id": event.event_id, "subject": event.subject, "time": event.event_time,
            "properties": dict(event.properties), "rule": plan.route.rule,
        }  # fmt: skip
        self._parts.outbox.put(transaction.run, Outgoing(plan.route.channel, event.event_id, event.subject, body, event.subject))
