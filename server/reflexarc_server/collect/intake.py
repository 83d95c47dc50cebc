"""The intake: `/e` for our own pages, `/v1/...` for Segment's libraries; the hot routes, bare ASGI.

Owns a request from its first header to its answer: who sends, what the body holds, what becomes of each event, what comes back.
An answer leaves once what it says is durable. Must never log what was sent, nor let one event cost another anything.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from reflexarc_core.errors import InvalidEventError, LimitError, StorageError
from reflexarc_server.collect import segment
from reflexarc_server.collect.callers import Call, Callers, headers_of, is_proven, key_of_basic
from reflexarc_server.collect.commits import Commits
from reflexarc_server.collect.exchange import Take, asgi, whole_body
from reflexarc_server.collect.front import App, Receive, Refused, Scope, Send, answer
from reflexarc_server.collect.identities import Source
from reflexarc_server.collect.pages import Enrich, Pages, verdict
from reflexarc_server.collect.reading import Unreadable, decompressed, mended, read_patient, too_large
from reflexarc_server.collect.times import time_of
from reflexarc_server.ingest import Arrival
from reflexarc_server.judging import Judged
from reflexarc_server.parts import Parts
from reflexarc_server.records import tracked_row
from reflexarc_server.site import Site
from reflexarc_server.site.web import WriteKey

BROWSER_PATHS: Final = ("/e", "/v1/e")
BATCH_PATHS: Final = ("/v1/batch", "/v1/import")
_SEGMENT_MAX: Final = 1_000
_encode: Final = msgspec.json.Encoder().encode
_read_segment: Final = msgspec.json.Decoder(dict[str, Any]).decode
_log = logging.getLogger(__name__)


class Intake:
    """One server's. enrich: an event with what its call says of it, and what follows from it; None for nothing."""

    def __init__(self, parts: Parts, site: Site, enrich: Enrich | None = None) -> None:
        self._parts = parts
        self._callers = Callers(site.web)
        self._sources = {key.name: Source(key.name) for key in site.web.keys.values()}
        self._enrich = enrich
        self.commits: Final = Commits(parts.ingest.commit)
        self._pages = Pages(parts, self._callers, self._sources, self.commits, enrich)
        self._by_asgi = asgi(self._pages.take)

    def direct(self) -> dict[str, Take]:
        """The routes that a connection hands over itself, by path."""
        return dict.fromkeys(BROWSER_PATHS, self._pages.take)

    def hot(self) -> dict[str, App]:
        """The routes, by path."""
        batches = dict.fromkeys(BATCH_PATHS, self.segment)
        calls = {f"/v1/{call}": self.segment for call in segment.CALLS}
        return {**dict.fromkeys(BROWSER_PATHS, self.browser), **batches, **calls}

    async def browser(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`/e` by ASGI: what is no POST, and a POST that does not come over a connection of our own port."""
        if scope["method"] == "POST":
            await self._by_asgi(scope, receive, send)
            return
        headers = headers_of(scope["headers"])
        origin = headers.get(b"origin", "")
        try:
            await self._other(scope, headers, origin, send)
        except Refused as refused:
            await self._refuse(send, refused, origin)

    # -- Segment's libraries --------------------------------------------------------------------------------------------

    async def segment(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/{track,page,screen,identify,group,alias,batch,import}`."""
        headers = headers_of(scope["headers"])
        origin = headers.get(b"origin", "")
        try:
            if scope["method"] != "POST":
                await self._other(scope, headers, origin, send)
                return
            call, body = await self._body(scope, headers, receive)
            found = _segment_body(body)
            named = found.get("writeKey")
            sent_key = key_of_basic(headers.get(b"authorization", "")) or (named if type(named) is str else "")
            key = self._callers.known(sent_key, origin)
            self._callers.take_key(key, len(body))
            is_told = b"verdicts=1" in scope["query_string"]
            said = await self._calls(found, scope["path"].rpartition("/")[2], key, call._replace(key=key.name), is_told)
        except Refused as refused:
            await self._refuse(send, refused, origin)
        except Unreadable as error:
            await self._refuse(send, Refused(error.status, "unreadable", error.message), origin)
        else:
            await answer(send, 200, said, self._callers.cors(origin))

    async def _calls(self, found: dict[str, Any], path: str, key: WriteKey, call: Call, is_told: bool) -> bytes:
        is_batch = path in ("batch", "import")
        messages = found.get("batch") if is_batch else [_alone(found)]
        if not isinstance(messages, list):
            raise Unreadable(400, "batch is a list of calls")
        if len(messages) > _SEGMENT_MAX:
            raise Unreadable(413, f"at most {_SEGMENT_MAX} calls at once; send smaller batches")
        now = self._parts.clock.now_ms()
        moment = segment.Moment(now, time_of(found.get("sentAt")), is_import=path == "import")
        shared = found.get("context") if is_batch else None
        judged: list[Judged] = []
        links: list[Judged] = []
        for place, message in enumerate(messages):
            try:
                if not isinstance(message, dict):
                    raise InvalidEventError("a call that is no object")
                if shared:
                    message = {"context": shared, **message}
                events = segment.events_of(
                    mended(message), "" if is_batch else path, self._sources[key.name], moment,
                    self._parts.switch.live.catalog, lambda user, proof: is_proven(key, user, proof),
                )  # fmt: skip
                if self._enrich is not None:
                    events = [each for event in events for each in self._enrich(event, call)]
                rows = [tracked_row(event, f"segment/{key.name}", now) for event in events]
                judged.append(Judged(place, 0, rows[0]))
                links += (Judged(place, 0, row) for row in rows[1:])
            except InvalidEventError as error:
                judged.append(Judged(place, 0, None, str(error)))
            except RecursionError:
                judged.append(Judged(place, 0, None, "nested too deep"))
        try:
            told = await self.commits.stored(Arrival(f"segment/{key.name}", judged + links))
        except LimitError as error:
            raise Refused(429, "busy", "send the same again", retry_after_ms=error.retry_after_ms) from None
        except StorageError:
            raise Refused(503, "storage", "send the same again", retry_after_ms=5_000) from None
        refused = sum(one.verdict == "rejected" for one in told[: len(messages)])
        if refused:
            _log.warning("%d of %d calls with the key of %s were rejected", refused, len(messages), key.name)
        if not is_told:
            return b'{"success":true}'
        ids = [message.get("messageId") if isinstance(message, dict) else None for message in messages]
        verdicts = [verdict(mended(its_id) if type(its_id) is str else "", one) for its_id, one in zip(ids, told, strict=False)]
        return _encode({"success": True, "verdicts": verdicts})

    # -- both -----------------------------------------------------------------------------------------------------------

    async def _body(self, scope: Scope, headers: Any, receive: Receive) -> tuple[Call, bytes]:
        """(who calls, the body). Raises Refused before it reads what is too large, and Unreadable."""
        body = await whole_body(scope, receive)
        if body is None:
            raise too_large()
        client = scope.get("client")
        address = client[0] if client else ""
        self._callers.take_address(address, len(body))
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            body = decompressed(body, encoding.strip().lower())
        return Call("", address, headers.get(b"user-agent", ""), headers.get(b"referer", "")), body

    async def _other(self, scope: Scope, headers: Any, origin: str, send: Send) -> None:
        if scope["method"] == "OPTIONS" and origin:
            await answer(send, 204, b"", self._callers.preflight(origin))
            return
        refused = Refused(405, "method_not_allowed", "send POST")
        await answer(send, 405, refused.body, [(b"allow", b"POST, OPTIONS"), *self._callers.cors(origin)])

    async def _refuse(self, send: Send, refused: Refused, origin: str) -> None:
        headers = [*refused.headers, *self._callers.cors(origin)]
        await answer(send, refused.status, refused.body, headers, close=refused.status in (408, 413))


def _segment_body(body: bytes) -> dict[str, Any]:
    try:
        return _read_segment(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return read_patient(body)


def _alone(found: dict[str, Any]) -> dict[str, Any]:
    """A body that is one call: what is about the request and not about the call is left out."""
    return {name: value for name, value in found.items() if name != "writeKey"}
