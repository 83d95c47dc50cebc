"""What people and their mail programs ask of us: the pixel, the redirect, the unsubscribe page.

    GET  /o/TOKEN.gif    one transparent pixel, always, and an `email_open`
    GET  /c/TOKEN        a redirect to the address that is signed in the token, and an `email_click`
    GET  /u/TOKEN        a page with one button; changes nothing
    POST /u/TOKEN        the button, and one-click (RFC 8058): a `consent` that refuses the mail's purpose

Owns these answers. Must never let a request say where a redirect leads, and never let the person wait for our store.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from html import escape
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from reflexarc_core.errors import InvalidEventError, ReflexArcError, StorageError
from reflexarc_core.event import Event
from reflexarc_server.email.address import host_of, location, merged
from reflexarc_server.email.arriving import Arrivals
from reflexarc_server.email.gateway import Watch
from reflexarc_server.email.happening import SOURCE, Asked, Happenings, unsubscribed
from reflexarc_server.email.token import CLICK, CLICK_ID, OPEN, UNSUBSCRIBE, ExpiredTokenError, Mark, Signer
from reflexarc_server.enrichment.user_agent import read_user_agent
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.site.email import ClickId

WAIT_S: Final = 0.25
"""So long an answer waits for the store; what takes longer is stored all the same."""
PIXEL: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NEVER_KEPT: Final = {
    "Cache-Control": "no-store, no-cache, must-revalidate, private, max-age=0",
    "Pragma": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_ONLY: Final = {
    **_NEVER_KEPT,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}
_FIRST: Final = "Mozilla/5.0 (X11; Linux x86_64)"
"""Read before anybody asks: the rules are compiled by the first text."""
_log = logging.getLogger(__name__)


def routes(parts: Parts, site: Site) -> list[BaseRoute]:
    """Nothing for a site without mail."""
    if not site.email.is_on:
        return []
    read_user_agent(_FIRST)
    answers = Answers(parts, site)
    return [
        Route("/o/{token}", answers.pixel, methods=["GET"]),
        Route("/c/{token}", answers.click, methods=["GET"]),
        Route("/u/{token}", answers.ask, methods=["GET"]),
        Route("/u/{token}", answers.unsubscribe, methods=["POST"]),
    ]


def arrivals_of(site: Site) -> Arrivals | None:
    """What reads the click ids that come back to the site's pages; None where links get none."""
    rule = site.email.click_id
    if not site.email.is_on or rule is None:
        return None
    return Arrivals(site.email.signer(), rule, lambda agent: bool(read_user_agent(agent).bot))


class Answers:
    """One server's."""

    def __init__(self, parts: Parts, site: Site) -> None:
        email = site.email
        self._parts = parts
        self._signer: Final[Signer] = email.signer()
        self._click_id: Final[ClickId | None] = email.click_id
        self._happenings = Happenings(Watch(email.prompt_ms, email.gateway_score), read_user_agent)
        self._under_way: set[asyncio.Future[None]] = set()

    async def pixel(self, request: Request) -> Response:
        """The pixel, whatever the token is: a broken picture helps nobody."""
        token = request.path_params["token"].removesuffix(".gif")
        try:
            mark = self._signer.read(OPEN, token, self._now())
        except ExpiredTokenError:
            pass
        except InvalidEventError:
            return Response(PIXEL, 404, _NEVER_KEPT, "image/gif")
        else:
            asked = self._asked(request, token)
            await self._kept_soon(lambda: self._happenings.opened(mark, asked))
        return Response(PIXEL, 200, _NEVER_KEPT, "image/gif")

    async def click(self, request: Request) -> Response:
        """302 to the signed address; 404 for a token that is none, 410 for one that is over."""
        token = request.path_params["token"]
        try:
            mark = self._signer.read(CLICK, token, self._now())
            target = location(self._with_click_id(mark))
        except ExpiredTokenError:
            return PlainTextResponse("This link is over.\n", 410, _NEVER_KEPT)
        except InvalidEventError:
            return PlainTextResponse("This is no link of ours.\n", 404, _NEVER_KEPT)
        asked = self._asked(request, token)
        await self._kept_soon(lambda: self._happenings.clicked(mark, asked))
        answer = Response(b"", 302, _NEVER_KEPT)
        answer.raw_headers.append((b"location", target))  # by hand: starlette would quote it once more
        return answer

    async def ask(self, request: Request) -> Response:
        """The page with the button. Gateways follow every link of a mail: a GET takes nobody off a list."""
        mark = self._unsubscribing(request)
        if mark is None:
            return PlainTextResponse("This is no link of ours.\n", 404, _NEVER_KEPT)
        return HTMLResponse(_page("Do you want no more of these mails?", button="Unsubscribe"), 200, _PAGE_ONLY)

    async def unsubscribe(self, request: Request) -> Response:
        """Durable when it answers; 503 when it could not be stored, for it must not be lost."""
        mark = self._unsubscribing(request)
        if mark is None:
            return PlainTextResponse("This is no link of ours.\n", 404, _NEVER_KEPT)
        await request.body()  # read to its end, within the front's bounds, and of no account
        await run_in_threadpool(self._keep, lambda: unsubscribed(mark, self._now()))
        return HTMLResponse(_page("You get no more of these mails."), 200, _PAGE_ONLY)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _unsubscribing(self, request: Request) -> Mark | None:
        try:
            return self._signer.read(UNSUBSCRIBE, request.path_params["token"], self._now())
        except InvalidEventError:
            return None

    def _with_click_id(self, mark: Mark) -> str:
        rule = self._click_id
        if rule is None or not rule.concerns(host_of(mark.url)):
            return mark.url
        now = self._now()
        about = Mark(mark.message_id, mark.subject, mark.campaign, now, now + rule.within_ms, mark.position, mark.link_count)
        return merged(mark.url, {rule.parameter: self._signer.sign(CLICK_ID, about)})

    def _now(self) -> int:
        return self._parts.clock.now_ms()

    def _asked(self, request: Request, token: str) -> Asked:
        address = request.client.host if request.client else ""
        return Asked(token, request.method, request.headers.get("user-agent", ""), address, self._now())

    async def _kept_soon(self, make: Callable[[], Event]) -> None:
        """Store an event; come back when that is done, or when nobody should wait for it any longer."""
        future = asyncio.ensure_future(run_in_threadpool(self._keep_or_tell, make))
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        await asyncio.wait((future,), timeout=WAIT_S)

    def _keep_or_tell(self, make: Callable[[], Event]) -> None:
        try:
            self._keep(make)
        except ReflexArcError as error:
            _log.error("an event of a mail could not be stored: %s", error.code)

    def _keep(self, make: Callable[[], Event]) -> None:
        """Raises StorageError, also when the event was refused."""
        told = self._parts.ingest.accept(SOURCE, [make()])[0]
        if told.verdict == "rejected":
            raise StorageError("an event of a mail was refused", hint=told.reason)


def _page(text: str, button: str = "") -> str:
    form = f'<form method="post"><button type="submit">{escape(button)}</button></form>' if button else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(text)}</title><style>body{{font:1.1em sans-serif;margin:15vh auto;max-width:26em;padding:0 1em}}"
        f"button{{font:inherit;padding:.5em 1em}}</style><h1>{escape(text)}</h1>{form}</html>\n"
    )
