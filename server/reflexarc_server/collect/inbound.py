"""Inbound mail over HTTP: `POST /inbound/email`, the raw message as body, signed.

Owns this path: who may call it, and what it answers. What becomes of a mail is `reflexarc_server.inbound`'s. Must never log what
a mail says.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as Path

from reflexarc_core.errors import InvalidEventError, StorageError
from reflexarc_server.inbound.keeping import Keeper
from reflexarc_server.inbound.message import MAIL_BYTES_MAX
from reflexarc_server.inbound.signature import check
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site

PATH: Final = "/inbound/email"
LARGER: Final = {PATH: MAIL_BYTES_MAX}


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """Nothing for a site without secrets for it. Raises DefinitionError for a rule whose channel is not there."""
    return [Path(PATH, _Inbound(parts, site).take, methods=["POST"])] if site.replies.secrets else []


class _Inbound:
    def __init__(self, parts: Parts, site: Site) -> None:
        self._clock = parts.clock
        self._secrets = [secret.text for secret in site.replies.secrets]
        self._keeper = Keeper(parts, site)

    async def take(self, request: Request) -> Response:
        """200 with what became of it, a copy too; 401 by its signature; 503 when it could not be stored."""
        body = await request.body()
        now = self._clock.now_ms()
        check(request.headers, body, self._secrets, now)
        return JSONResponse(await run_in_threadpool(self._keep, body, now))

    def _keep(self, body: bytes, now: int) -> dict[str, Any]:
        try:
            kept = self._keeper.keep(body, now)
        except InvalidEventError as error:
            # Whoever hands it in has no place to set it aside: it comes again until the catalog can hold it.
            raise StorageError(error.message, hint=error.hint) from None
        plan, event = kept.plan, kept.plan.events[0]
        return {
            "verdict": "stored" if kept.is_new else "duplicate", "kind": plan.verdict.name, "event_id": event.event_id,
            "matched_by": plan.match.by, "queue": plan.route.queue, "priority": plan.route.priority,
        }  # fmt: skip
