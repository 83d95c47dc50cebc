"""What our own pages send, `POST /e`: the route that has to be fast.

Owns a batch from its body to its answer: who sends, what becomes of each event, what comes back. Nothing here waits: a request is
judged when it has come, its events wait for the writer with those of others, and the answer leaves once what it says is durable.
Must never log what was sent, nor let one event cost another anything.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool

from reflexarc_core.errors import InvalidEventError, LimitError, ReflexArcError
from reflexarc_core.event import Event
from reflexarc_proto.v1 import decision_pb2
from reflexarc_proto.wire.value import map_from_proto
from reflexarc_server.collect import browser
from reflexarc_server.collect.browser import Body, Entry, Mistaken
from reflexarc_server.collect.callers import Call, Callers, headers_of, is_proven, key_of_basic
from reflexarc_server.collect.commits import Commits
from reflexarc_server.collect.exchange import JSON_HEAD, Exchange
from reflexarc_server.collect.front import Refused
from reflexarc_server.collect.identifying import joining
from reflexarc_server.collect.identities import Source, installation_of
from reflexarc_server.collect.reading import Unreadable, decompressed, too_large
from reflexarc_server.collect.usual_body import UsualBodies
from reflexarc_server.ingest import Arrival, Told
from reflexarc_server.judging import Judged
from reflexarc_server.parts import Parts
from reflexarc_server.records import web_row
from reflexarc_server.site.web import WriteKey

LINKS_KEPT_MS: Final = 3_600_000
"""How long it is remembered that two identities were joined, before it is said to the log again, which knows."""
_LINKS_MAX: Final = 50_000
_LATER_MS: Final = 5_000
_encode: Final = msgspec.json.Encoder().encode
Enrich = Callable[[Event, Call], Sequence[Event]]


class _Batch(NamedTuple):
    """A request whose events wait for the writer. origin: of its page. link: what joins its two identities, when that is said."""

    exchange: Exchange
    origin: str
    key: WriteKey
    head: Body
    ids: Sequence[str]
    subject: str
    installation: str
    received: int
    link: Judged | None


class Pages:
    """One server's. enrich: an event with what its call says of it, and what follows from it; None for nothing."""

    def __init__(
        self, parts: Parts, callers: Callers, sources: Mapping[str, Source], commits: Commits, enrich: Enrich | None
    ) -> None:
        self._parts = parts
        self._callers = callers
        self._sources = sources
        self._commits = commits
        self._enrich = enrich
        self._usual = UsualBodies(callers.names())
        self._links: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self._fetching: set[asyncio.Task[None]] = set()

    def take(self, exchange: Exchange) -> None:
        """`POST /e`."""
        headers = headers_of(exchange.headers)
        origin = headers.get(b"origin", "")
        try:
            batch, judged = self._read(exchange, headers, origin)
            arrival = Arrival(batch.installation, judged, batch.head.handed)
            try:
                self._commits.put(arrival, partial(self._committed, batch))
            except LimitError as error:
                self._later(batch, error)
        except Refused as refused:
            self._refuse(exchange, refused, origin)
        except Unreadable as error:
            self._refuse(exchange, Refused(error.status, "unreadable", error.message), origin)

    def _read(self, exchange: Exchange, headers: Mapping[bytes, str], origin: str) -> tuple[_Batch, list[Judged]]:
        """A request and what goes into the log. Raises Refused, Unreadable."""
        body = exchange.body
        if body is None:
            raise too_large()
        self._callers.take_address(exchange.address, len(body))
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            body = decompressed(body, encoding.strip().lower())
        now, catalog = self._parts.clock.now_ms(), self._parts.switch.live.catalog
        usual = self._usual.read(body, now, catalog) if self._enrich is None else None
        head, entries = browser.read_batch(body) if usual is None else (usual.head, ())
        key = self._callers.known(head.key or key_of_basic(headers.get(b"authorization", "")), origin)
        self._callers.take_key(key, len(body))
        try:
            subject = browser.subject_of(head) if usual is None else usual.subject
        except InvalidEventError as error:
            raise Refused(400, "no_subject", str(error)) from None
        if head.known_id and not is_proven(key, head.known_id, head.known_proof):
            raise Refused(
                403, "known_id_not_proven", "send known_proof: HMAC-SHA256 of known_id with the key's known_secret, hex"
            )
        installation = installation_of(head.anonymous_id)
        if usual is None:
            call = Call(key.name, exchange.address, headers.get(b"user-agent", ""), headers.get(b"referer", ""))
            if key.known_secrets:
                entries = [browser.proven(entry, head) for entry in entries]
            ids = [entry.id for entry in entries]
            judged = self._judged(entries, head, subject, call, installation, now)
        else:
            ids, judged = usual.ids, [Judged(0, 0, row) for row in usual.rows]
        link = self._link(head, key, installation, now)
        if link is not None:
            judged.append(link)
        return _Batch(exchange, origin, key, head, ids, subject, installation, now, link), judged

    # -- events ---------------------------------------------------------------------------------------------------------

    def _judged(
        self, entries: Sequence[Entry | Mistaken], head: Body, subject: str, call: Call, installation: str, now: int
    ) -> list[Judged]:
        """A record for each entry in its order, or why there is none; behind them what follows from some."""
        catalog, source = self._parts.switch.live.catalog, self._sources[call.key]
        judged: list[Judged] = []
        following: list[Judged] = []
        for entry in entries:
            try:
                if isinstance(entry, Mistaken):
                    raise InvalidEventError(entry.reason)
                event = browser.event_of(entry, head, subject, source, now, catalog)
                enriched = (event,) if self._enrich is None else self._enrich(event, call)
                first, *more = (web_row(each, installation, now) for each in enriched)
                judged.append(Judged(0, 0, first))
                following += (Judged(0, 0, row) for row in more)
            except InvalidEventError as error:
                judged.append(Judged(0, 0, None, str(error)))
        return judged + following

    def _link(self, head: Body, key: WriteKey, installation: str, now: int) -> Judged | None:
        """The record that joins a request's two identities, unless it was written lately."""
        if not head.known_id:
            return None
        said = (key.name, head.anonymous_id, head.known_id)
        if now - self._links.get(said, 0) < LINKS_KEPT_MS:
            return None
        return Judged(0, 0, web_row(joining(key.name, head.anonymous_id, head.known_id, now), installation, now))

    def _linked(self, batch: _Batch) -> None:
        head = batch.head
        self._links[batch.key.name, head.anonymous_id, head.known_id] = batch.received
        if len(self._links) > _LINKS_MAX:
            self._links.popitem(last=False)

    # -- answers --------------------------------------------------------------------------------------------------------

    def _committed(self, batch: _Batch, told: list[Told] | ReflexArcError) -> None:
        if isinstance(told, ReflexArcError):
            self._later(batch, told)
            return
        if batch.link is not None:
            self._linked(batch)
        subjects = (batch.subject, f"anonymous:{batch.head.anonymous_id}") if batch.head.known_id else (batch.subject,)
        if self._parts.down.may_wait(batch.installation, subjects):
            fetching = asyncio.get_running_loop().create_task(self._fetched(batch, told, subjects))
            self._fetching.add(fetching)  # the loop itself does not hold it
            fetching.add_done_callback(self._fetching.discard)
        else:
            self._say(batch, told, [])

    async def _fetched(self, batch: _Batch, told: list[Told], subjects: tuple[str, ...]) -> None:
        """Answer with the decisions that wait for the page."""
        try:
            found = await run_in_threadpool(self._parts.down.decisions, batch.installation, subjects, batch.received)
            decisions = [_decision(decision) for decision in found]
        except ReflexArcError:  # the events are stored, and what waits comes with the next answer
            decisions = []
        self._say(batch, told, decisions)

    def _say(self, batch: _Batch, told: list[Told], decisions: list[dict[str, Any]]) -> None:
        verdicts = [verdict(its_id, one) for its_id, one in zip(batch.ids, told, strict=False)]
        said = _encode({"now": batch.received, "verdicts": verdicts, "decisions": decisions})
        batch.exchange.answer(200, said, JSON_HEAD + self._callers.cors_head(batch.origin))

    def _later(self, batch: _Batch, error: ReflexArcError) -> None:
        verdicts = [[its_id, "later", "send the same again"] for its_id in batch.ids]
        retry_after_ms = getattr(error, "retry_after_ms", 0) or _LATER_MS
        said = _encode({"now": batch.received, "verdicts": verdicts, "decisions": [], "retry_after_ms": retry_after_ms})
        batch.exchange.answer(503, said, JSON_HEAD + b"retry-after: 5\r\n" + self._callers.cors_head(batch.origin))

    def _refuse(self, exchange: Exchange, refused: Refused, origin: str) -> None:
        lines = b"".join(b"%b: %b\r\n" % field for field in refused.headers)
        head = JSON_HEAD + lines + self._callers.cors_head(origin)
        exchange.answer(refused.status, refused.body, head, close=refused.status in (408, 413))


def verdict(its_id: str, told: Told) -> list[str]:
    """An event's verdict as it is answered."""
    return [its_id, told.verdict, told.reason] if told.reason else [its_id, told.verdict]


def _decision(decision: decision_pb2.Decision) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "trigger_id": decision.trigger_id,
        "action": decision.action,
        "payload": map_from_proto(decision.payload),
        "expire_time": decision.expire_time,
    }
