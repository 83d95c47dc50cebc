"""HTTP of social events: the platforms' webhooks, share links, and what operators ask and decide.

Owns paths and answers; what they mean is `reflexarc_server.social`'s. Blocking work runs in the pool of threads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.event import Event
from reflexarc_server.collect.callers import Callers
from reflexarc_server.collect.front import Refused
from reflexarc_server.collect.operator import DECIDES, INGESTS, READS, admitted
from reflexarc_server.parts import Parts
from reflexarc_server.sentiment import mood_of
from reflexarc_server.site import Site
from reflexarc_server.social import signatures
from reflexarc_server.social.desk import Desk, case_to_json
from reflexarc_server.social.posting import put_into
from reflexarc_server.social.receiver import Receiver
from reflexarc_server.social.shares import Shares
from reflexarc_server.store import social as table

SHARES = "share"
EVENTS_AT_ONCE = 500
CASE_STATES = (table.OPEN, table.UNANSWERED)
QUEUE_STATES = (table.PROPOSED, table.UNCLEAR, table.FAILED)
STATES = (*QUEUE_STATES, table.APPROVED, table.SENDING, table.SENT, table.REJECTED)


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """Every path of social events that the site has. Raises DefinitionError for a level whose channel is not there."""
    found: list[BaseRoute] = []
    if site.social.platforms:
        for level in site.social.levels:
            if level.notify not in parts.outbox.channels:
                there = ", ".join(sorted(parts.outbox.channels))
                raise DefinitionError(f"social: levels: there is no channel {level.notify}", hint=f"there are: {there}")
        desk = Desk(parts.store, parts.clock, parts.links, site.social, put_into(parts))
        parts.fold.chores.append(desk.work)
        found += _Webhooks(parts, site).routes() + _Desk(parts, site, desk).routes()
    if site.sharing.signing_keys:
        found += _Links(parts, site).routes()
    return found


class _Webhooks:
    def __init__(self, parts: Parts, site: Site) -> None:
        self._parts = parts
        self._platforms = site.social.platforms
        self._receiver = Receiver(parts.store, parts.ingest, lambda text: mood_of(text, site.sentiment).score)

    def routes(self) -> list[BaseRoute]:
        return [
            Route(f"/social/{name}", self._endpoint(name), methods=["GET", "POST"]) for name in self._platforms
        ]  # a platform that the site does not name is no path here

    def _endpoint(self, name: str) -> Any:
        said = self._platforms[name]

        async def endpoint(request: Request) -> Response:
            if request.method != "POST":
                word = said.verify_token.bytes if said.verify_token is not None else b""
                kind, told = signatures.handshake(name, said.keys, word, request.query_params)
                return PlainTextResponse(str(told)) if kind == "text/plain" else JSONResponse(told)
            body = await request.body()
            header = request.headers.get(signatures.HEADERS[name], "")
            now = self._parts.clock.now_ms()
            received = await run_in_threadpool(self._receiver.take, name, said, body, header, now)
            return JSONResponse(received.to_json())

        return endpoint


class _Desk:
    def __init__(self, parts: Parts, site: Site, desk: Desk) -> None:
        self._store = parts.store
        self._social = site.social
        self._desk = desk

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/social/cases", self.cases),
            Route("/v1/social/cases/{case_id}/acknowledge", self.acknowledge, methods=["POST"]),
            Route("/v1/social/responses", self.responses),
            Route("/v1/social/responses/{response_id}/{word}", self.decide, methods=["POST"]),
        ]

    async def cases(self, request: Request) -> Response:
        admitted(request, READS)
        states = (*CASE_STATES, table.ACKNOWLEDGED, table.NOTED) if request.query_params.get("all") else CASE_STATES
        rows = await run_in_threadpool(table.cases, self._store, states)
        return JSONResponse({"cases": [case_to_json(row, self._social) for row in rows]})

    async def acknowledge(self, request: Request) -> Response:
        caller = admitted(request, DECIDES)
        await run_in_threadpool(self._desk.acknowledge, request.path_params["case_id"], caller.meter_id or "operator")
        return JSONResponse({"ok": True})

    async def responses(self, request: Request) -> Response:
        admitted(request, READS)
        states = STATES if request.query_params.get("all") else QUEUE_STATES
        rows = await run_in_threadpool(table.responses, self._store, states)
        return JSONResponse({"responses": [row._asdict() for row in rows]})

    async def decide(self, request: Request) -> Response:
        caller = admitted(request, DECIDES)
        word = request.path_params["word"]
        if word not in ("approve", "reject"):
            return JSONResponse({"error": "not_found", "hint": "approve or reject"}, 404)
        decide = self._desk.approve if word == "approve" else self._desk.reject
        await run_in_threadpool(decide, request.path_params["response_id"], caller.meter_id or "operator")
        return JSONResponse({"ok": True})


class _Links:
    def __init__(self, parts: Parts, site: Site) -> None:
        self._parts = parts
        self._callers = Callers(site.web)
        self._shares = Shares(parts.store, parts.clock, parts.links, site.sharing)
        parts.fold.chores.append(self._shares.follow(self._accept).work)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/s/{token}", self.visit, methods=["GET"]),
            Route("/v1/share", self.share, methods=["POST", "OPTIONS"]),
            Route("/v1/social/shares", self.tree),
        ]

    async def visit(self, request: Request) -> Response:
        address = _address(request)
        is_looked_at = request.headers.get("purpose", request.headers.get("sec-purpose", "")).startswith("prefetch")
        url, events = await run_in_threadpool(
            self._shares.visit, request.path_params["token"], address, request.headers.get("user-agent", "")[:400],
            is_counted=request.method == "GET" and not is_looked_at and self._is_within(address),
        )  # fmt: skip
        if events:
            await run_in_threadpool(self._accept, events)
        return Response(status_code=302, headers={"location": url, "cache-control": "no-store", "referrer-policy": "no-referrer"})

    def _is_within(self, address: str) -> bool:
        """Whether an address follows links no faster than people do. It is led on all the same."""
        try:
            self._callers.take_address(address, 0)
        except Refused:
            return False
        return True

    async def share(self, request: Request) -> Response:
        origin = request.headers.get("origin", "")
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_text(self._callers.preflight(origin)))
        is_page = not request.headers.get("authorization")
        if is_page:
            self._callers.take_address(_address(request), 0)  # before anything of it is read
        given = _object(await request.body())
        subject = str(given.get("subject") or f"anonymous:{given.get('anonymous_id') or ''}")
        if not is_page:
            admitted(request, INGESTS)
        else:
            key = self._callers.known(str(given.get("key", "")), origin)
            self._callers.take_key(key, 0)
            if not subject.startswith("anonymous:"):
                raise InvalidEventError(
                    "a page shares for its anonymous visitor", hint="whom you know, share with a service's key"
                )
        names = ("content_id", "url", "parent")
        if not all(isinstance(given.get(name, ""), str) for name in names):
            raise InvalidEventError("a share whose fields are no text", hint=f"text for {', '.join(names)}")
        content_id, url, parent = (str(given.get(name, "")) for name in names)
        made, event = await run_in_threadpool(self._shares.mint, subject, content_id, url, parent)
        (told,) = await run_in_threadpool(self._parts.ingest.accept, SHARES, [event])
        if told.verdict == "rejected":
            raise InvalidEventError("the share was refused", hint=told.reason)
        body = {"share_id": made.share_id, "token": made.token, "url": made.url}
        return JSONResponse(body, headers=_text(self._callers.cors(origin)))

    async def tree(self, request: Request) -> Response:
        admitted(request, READS)
        content_id = request.query_params.get("content", "")
        return JSONResponse({"shares": await run_in_threadpool(self._shares.tree, content_id)})

    def _accept(self, events: Sequence[Event]) -> None:
        for start in range(0, len(events), EVENTS_AT_ONCE):
            self._parts.ingest.accept(SHARES, events[start : start + EVENTS_AT_ONCE])


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidEventError("this is no JSON object", hint="send {key, anonymous_id, content_id, url, parent}")
    return given


def _text(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
