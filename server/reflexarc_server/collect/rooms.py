"""Which paths are answered by whom.

Owns the table and what an error becomes on HTTP: one JSON object, `{"error": CODE, "hint": TEXT}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_core.errors import InvalidEventError, ReflexArcError, StorageError
from reflexarc_server.collect import sdk
from reflexarc_server.collect.front import Front
from reflexarc_server.collect.intake import Intake
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site

STATUSES: Final[dict[type[ReflexArcError], int]] = {InvalidEventError: 400, StorageError: 503}


def _health(parts: Parts, site: Site) -> list[BaseRoute]:
    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True, "now": parts.clock.now_ms()})

    return [Route("/healthz", health)]


ROUTES: Final[tuple[Callable[[Parts, Site], list[BaseRoute]], ...]] = (_health, sdk.routes)
LARGER: Final[dict[str, int]] = {}
"""Path prefix -> bytes, where a body may be larger than elsewhere."""


def front_of(parts: Parts, site: Site) -> Front:
    """Everything a server serves over HTTP."""
    routes = [route for make in ROUTES for route in make(parts, site)]
    rest = Starlette(routes=routes, exception_handlers={ReflexArcError: _said, 404: _nothing})
    intake = Intake(parts, site)
    return Front(intake.hot(), rest, LARGER, on_close=intake.commits.stop)


async def _said(request: Request, error: Exception) -> Response:
    assert isinstance(error, ReflexArcError)
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": error.code, "hint": error.hint}, status)


async def _nothing(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "not_found", "hint": "no such path here"}, 404)
