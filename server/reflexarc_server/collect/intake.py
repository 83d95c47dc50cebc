"""The intake: `/e` for our own pages, `/v1/...` for Segment's libraries; the hot routes, bare ASGI.

Owns a request from its first header to its answer: who sends, what the body holds, what becomes of each event, what comes back.
An answer leaves once what it says is durable. Must never log what was sent, nor let one event cost another anything.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.concurrency import run_in_threadpool

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError, LimitError, StorageError
from reflexarc_core.event import CONTEXT_TYPES, Event, PropertyType
from reflexarc_core.record import KIND_OF, EventInput
from reflexarc_proto.v1 import decision_pb2
from reflexarc_proto.wire.usual_event import Plan, moment_of, plans_of, slots_of, subject_part, usual_record
from reflexarc_proto.wire.value import map_from_proto
from reflexarc_server.collect import browser, segment
from reflexarc_server.collect.browser import Body, Entry
from reflexarc_server.collect.callers import Call, Callers, headers_of, is_proven, key_of_basic
from reflexarc_server.collect.commits import Commits
from reflexarc_server.collect.front import App, Receive, Refused, Scope, Send, answer
from reflexarc_server.collect.identifying import joining
from reflexarc_server.collect.identities import PLAIN_MAX, Source, installation_of
from reflexarc_server.collect.reading import BODY_BYTES_MAX, Unreadable, decompressed, mended, read_patient
from reflexarc_server.collect.times import corrected, time_of
from reflexarc_server.ingest import Arrival, Told
from reflexarc_server.judging import Judged
from reflexarc_server.parts import Parts
from reflexarc_server.records import WEB_INCARNATION, tracked_row, web_row
from reflexarc_server.site import Site
from reflexarc_server.site.web import WriteKey
from reflexarc_server.store.port import NewRecord

BROWSER_PATHS: Final = ("/e", "/v1/e")
BATCH_PATHS: Final = ("/v1/batch", "/v1/import")
LINKS_KEPT_MS: Final = 3_600_000
"""How long it is remembered that two identities were joined, before it is said to the log again, which knows."""
_EVENT: Final = KIND_OF[EventInput]
_CONTEXT_SLOTS: Final = slots_of({name: PropertyType(kind) for name, kind in CONTEXT_TYPES.items()})
_LINKS_MAX: Final = 50_000
_SEGMENT_MAX: Final = 1_000
_encode: Final = msgspec.json.Encoder().encode
_read_segment: Final = msgspec.json.Decoder(dict[str, Any]).decode
_log = logging.getLogger(__name__)
Enrich = Callable[[Event, Call], Sequence[Event]]


class Intake:
    """One server's. enrich: an event with what its call says of it, and what follows from it; None for nothing."""

    def __init__(self, parts: Parts, site: Site, enrich: Enrich | None = None) -> None:
        self._parts = parts
        self._callers = Callers(site.web)
        self._sources = {key.name: Source(key.name) for key in site.web.keys.values()}
        self._enrich = enrich
        self._usual: tuple[Catalog, dict[str, Plan]] = (Catalog(), {})
        self._links: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self.commits: Final = Commits(parts.ingest.commit)

    def hot(self) -> dict[str, App]:
        """The routes, by path."""
        batches = dict.fromkeys(BATCH_PATHS, self.segment)
        calls = {f"/v1/{call}": self.segment for call in segment.CALLS}
        return {**dict.fromkeys(BROWSER_PATHS, self.browser), **batches, **calls}

    # -- our own pages ------------------------------------------------------------------------------------------------

    async def browser(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /e`."""
        headers = headers_of(scope["headers"])
        origin = headers.get(b"origin", "")
        try:
            if scope["method"] != "POST":
                await self._other(scope, headers, origin, send)
                return
            call, body = await self._body(scope, headers, receive)
            status, said = await self._taken(headers, origin, call, body)
        except Refused as refused:
            await self._refuse(send, refused, origin)
        except Unreadable as error:
            await self._refuse(send, Refused(error.status, "unreadable", error.message), origin)
        else:
            later = [(b"retry-after", b"5")] if status == 503 else []
            await answer(send, status, said, [*later, *self._callers.cors(origin)])

    async def _taken(self, headers: Any, origin: str, call: Call, body: bytes) -> tuple[int, bytes]:
        batch = browser.read_batch(body)
        head = batch.head
        key = self._callers.known(head.key or key_of_basic(headers.get(b"authorization", "")), origin)
        self._callers.take_key(key, len(body))
        now = self._parts.clock.now_ms()
        try:
            subject = browser.subject_of(head)
        except InvalidEventError as error:
            raise Refused(400, "no_subject", str(error)) from None
        if head.known_id and not is_proven(key, head.known_id, head.known_proof):
            raise Refused(
                403, "known_id_not_proven", "send known_proof: HMAC-SHA256 of known_id with the key's known_secret, hex"
            )
        installation = installation_of(head.anonymous_id)
        judged = self._judged(batch.entries, head, subject, key, call, installation, now)
        link = self._link(head, key, installation, now)
        if link is not None:
            judged.append(link)
        try:
            told = await self.commits.stored(Arrival(installation, judged, head.handed))
        except (LimitError, StorageError) as error:
            return self._later(batch.entries, now, getattr(error, "retry_after_ms", 0) or 5_000)
        if link is not None:
            self._linked(head, key, now)
        said: dict[str, Any] = {
            "now": now,
            "verdicts": [_verdict(entry.id, one) for entry, one in zip(batch.entries, told, strict=False)],
            "decisions": [],
        }
        subjects = (subject, f"anonymous:{head.anonymous_id}") if head.known_id else (subject,)
        if self._parts.down.may_wait(installation, subjects):
            decisions = await run_in_threadpool(self._parts.down.decisions, installation, subjects, now)
            said["decisions"] = [_decision(decision) for decision in decisions]
        return 200, _encode(said)

    def _judged(
        self, entries: Sequence[Any], head: Body, subject: str, key: WriteKey, call: Call, installation: str, now: int
    ) -> list[Judged]:
        catalog, source = self._parts.switch.live.catalog, self._sources[key.name]
        judged: list[Judged] = []
        following: list[Judged] = []
        usual = self._usual_of(catalog) if self._enrich is None else {}
        its_subject, its_moment, name = subject_part(subject), moment_of(now), key.name
        for place, entry in enumerate(entries):
            plan = usual.get(entry.type) if type(entry) is Entry else None
            if plan is not None and 0 < len(entry.id) <= PLAIN_MAX:
                its_id, event_time = f"web:{name}:{entry.id}", corrected(entry.time, head.sent, now)
                body = usual_record(
                    its_moment, its_subject, plan, its_id, event_time, entry.properties, _CONTEXT_SLOTS, entry.context
                )
                if body is not None:
                    row = NewRecord(installation, WEB_INCARNATION, 0, _EVENT, subject, entry.type, event_time, its_id, now, body)
                    judged.append(Judged(place, 0, row))
                    continue
            try:
                if type(entry) is not Entry:
                    raise InvalidEventError(entry.reason)
                event = browser.event_of(entry, head, subject, source, now, catalog)
                first, *more = (web_row(each, installation, now) for each in self._enriched(event, call._replace(key=key.name)))
                judged.append(Judged(place, 0, first))
                following += (Judged(place, 0, row) for row in more)
            except InvalidEventError as error:
                judged.append(Judged(place, 0, None, str(error)))
        return judged + following

    def _usual_of(self, catalog: Catalog) -> dict[str, Plan]:
        held, plans = self._usual
        if held is not catalog:
            plans = plans_of(catalog.event_types)
            self._usual = (catalog, plans)
        return plans

    def _enriched(self, event: Event, call: Call) -> Sequence[Event]:
        return (event,) if self._enrich is None else self._enrich(event, call)

    def _link(self, head: Body, key: WriteKey, installation: str, now: int) -> Judged | None:
        """The record that joins a request's two identities, unless it was written lately."""
        if not head.known_id:
            return None
        said = (key.name, head.anonymous_id, head.known_id)
        if now - self._links.get(said, 0) < LINKS_KEPT_MS:
            return None
        return Judged(0, 0, web_row(joining(key.name, head.anonymous_id, head.known_id, now), installation, now))

    def _linked(self, head: Body, key: WriteKey, now: int) -> None:
        self._links[key.name, head.anonymous_id, head.known_id] = now
        if len(self._links) > _LINKS_MAX:
            self._links.popitem(last=False)

    def _later(self, entries: Sequence[Any], now: int, retry_after_ms: int) -> tuple[int, bytes]:
        verdicts = [[entry.id, "later", "send the same again"] for entry in entries]
        return 503, _encode({"now": now, "verdicts": verdicts, "decisions": [], "retry_after_ms": retry_after_ms})

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
                    mended(message), "" if is_batch else path, self._sources[key.name], moment, self._parts.switch.live.catalog
                )
                events = [each for event in events for each in self._enriched(event, call)]
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
        verdicts = [_verdict(mended(its_id) if type(its_id) is str else "", one) for its_id, one in zip(ids, told, strict=False)]
        return _encode({"success": True, "verdicts": verdicts})

    # -- both -----------------------------------------------------------------------------------------------------------

    async def _body(self, scope: Scope, headers: Any, receive: Receive) -> tuple[Call, bytes]:
        """(who calls, the body). Raises Refused before it reads what is too large, and Unreadable."""
        length = headers.get(b"content-length", "")
        if length.isdigit() and int(length) > BODY_BYTES_MAX:
            raise _too_large()
        client = scope.get("client")
        address = client[0] if client else ""
        message = await receive()
        body = message.get("body", b"")
        if message.get("more_body"):
            parts = bytearray(body)
            while message.get("more_body"):
                message = await receive()
                parts += message.get("body", b"")
                if len(parts) > BODY_BYTES_MAX:
                    raise _too_large()
            body = bytes(parts)
        if message["type"] == "http.disconnect":
            raise Refused(400, "disconnected", "")
        if len(body) > BODY_BYTES_MAX:
            raise _too_large()
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
        if refused.code == "disconnected":
            return
        headers = [*refused.headers, *self._callers.cors(origin)]
        await answer(send, refused.status, refused.body, headers, close=refused.status in (408, 413))


def _too_large() -> Refused:
    return Refused(413, "body_too_large", f"at most {BODY_BYTES_MAX} bytes; send smaller batches")


def _segment_body(body: bytes) -> dict[str, Any]:
    try:
        return _read_segment(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return read_patient(body)


def _alone(found: dict[str, Any]) -> dict[str, Any]:
    """A body that is one call: what is about the request and not about the call is left out."""
    return {name: value for name, value in found.items() if name != "writeKey"}


def _verdict(its_id: str, told: Told) -> list[str]:
    return [its_id, told.verdict, told.reason] if told.reason else [its_id, told.verdict]


def _decision(decision: decision_pb2.Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "trigger_id": decision.trigger_id,
        "action": decision.action,
        "payload": map_from_proto(decision.payload),
        "expire_time": decision.expire_time,
    }
