"""What operators ask about people over HTTP: the visits of a subject, and where the leads are.

Owns paths and answers. Must never answer with what somebody typed into a form: that goes where the form sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import subject_parts
from reflexarc_server.collect.operator import READS, admitted
from reflexarc_server.leads.taking import COMPLETE, PARTIAL, SPAM
from reflexarc_server.leads.website import visited
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.store.leads import LeadRow, LeadTable
from reflexarc_server.store.outbox import Way

LEAD_STATES: Final = (COMPLETE, PARTIAL, SPAM)
LEADS_MAX: Final = 1_000


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """The paths."""
    its = _People(parts, site)
    return [Route("/v1/visits", its.visits), Route("/v1/leads", its.leads)]


class _People:
    def __init__(self, parts: Parts, site: Site) -> None:
        self._parts = parts
        self._leads = LeadTable(parts.store)
        self._internal = site.enrichment.internal if site.enrichment is not None else frozenset()

    async def visits(self, request: Request) -> Response:
        admitted(request, READS)
        subject = request.query_params.get("subject", "")
        subject_parts(subject)
        found = await run_in_threadpool(visited, self._parts.store, self._parts.links, subject, self._internal)
        return JSONResponse({"subject": subject, **found})

    async def leads(self, request: Request) -> Response:
        admitted(request, READS)
        said = request.query_params
        state, count = said.get("state", ""), said.get("count", "100")
        if state and state not in LEAD_STATES:
            raise InvalidEventError(f"leads are never {state[:40]!r}", hint=f"one of {', '.join(LEAD_STATES)}")
        if not (count.isascii() and count.isdigit() and len(count) <= 4 and 0 < int(count) <= LEADS_MAX):
            raise InvalidEventError("a count that is none", hint=f"1 to {LEADS_MAX}")
        return JSONResponse({"leads": await run_in_threadpool(self._listed, said.get("form", ""), state, int(count))})

    def _listed(self, form_id: str, state: str, count: int) -> list[dict[str, Any]]:
        rows = self._leads.newest(form_id, state, count)
        ways = self._parts.outbox.ways([f"lead/{row.lead_id}" for row in rows])
        return [_lead(row, ways.get(f"lead/{row.lead_id}", ())) for row in rows]


def _lead(row: LeadRow, ways: Sequence[Way]) -> dict[str, Any]:
    names = ("lead_id", "form_id", "subject", "state", "create_time", "change_time")
    return {**{name: getattr(row, name) for name in names}, "ways": [way._asdict() for way in ways]}
