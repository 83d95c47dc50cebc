"""Which paths are answered by whom.

Owns the table and what an error becomes on HTTP: one JSON object, `{"error": CODE, "message": TEXT, "hint": TEXT}`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_core.errors import InvalidEventError, PermissionDeniedError, ReflexArcError, StorageError, UnauthenticatedError
from reflexarc_core.event import Event
from reflexarc_server.collect import email, forms, inbound, people, sdk, social
from reflexarc_server.collect.callers import Call
from reflexarc_server.collect.email import arrivals_of
from reflexarc_server.collect.front import Front, Refused
from reflexarc_server.collect.intake import Intake
from reflexarc_server.collect.pages import Enrich
from reflexarc_server.enrichment.enriching import enriched
from reflexarc_server.identity.gate import Gate
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site

STATUSES: Final[dict[type[ReflexArcError], int]] = {
    InvalidEventError: 400, UnauthenticatedError: 401, PermissionDeniedError: 403, StorageError: 503,
}  # fmt: skip


def _health(parts: Parts, site: Site) -> list[BaseRoute]:
    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True, "now": parts.clock.now_ms()})

    return [Route("/healthz", health)]


ROUTES: Final[tuple[Callable[[Parts, Site], list[BaseRoute]], ...]] = (
    _health, sdk.routes, social.routes, forms.routes, email.routes, inbound.routes, people.routes,
)  # fmt: skip
LARGER: Final[dict[str, int]] = {**inbound.LARGER}
"""Path prefix -> bytes, where a body may be larger than elsewhere."""


def front_of(parts: Parts, site: Site, gate: Gate | None = None) -> Front:
    """Everything a server serves over HTTP. gate: who operators are; None where nobody is one."""
    routes = [route for make in ROUTES for route in make(parts, site)]
    rest = Starlette(routes=routes, exception_handlers={ReflexArcError: _said, Refused: _refused, 404: _nothing})
    rest.state.gate = gate
    intake = Intake(parts, site, _enriching(parts, site))
    return Front(intake.hot(), rest, LARGER, on_close=intake.commits.stop, direct=intake.direct())


def _enriching(parts: Parts, site: Site) -> Enrich | None:
    """What a web event goes through: click ids first, so that nothing behind sees one."""
    rules, arrivals = site.enrichment, arrivals_of(site)
    if arrivals is None:
        return None if rules is None else lambda event, call: enriched(event, call, rules, parts.switch.live.catalog)

    def enrich(event: Event, call: Call) -> Sequence[Event]:
        first, *more = arrivals.taken(event, call.user_agent, parts.clock.now_ms())
        return ((first,) if rules is None else enriched(first, call, rules, parts.switch.live.catalog)) + tuple(more)

    return enrich


async def _said(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReflexArcError)
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    # What is wrong on our side is not for whoever calls; what is wrong with a call is.
    message = {"message": error.message} if status < 500 else {}
    return JSONResponse({"error": error.code, **message, "hint": error.hint}, status)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    # What is still to come of the body is not wanted.
    headers = {name.decode(): value.decode() for name, value in (*error.headers, (b"connection", b"close"))}
    return Response(error.body, error.status, headers, media_type="application/json")


async def _nothing(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "not_found", "hint": "no such path here"}, 404)
