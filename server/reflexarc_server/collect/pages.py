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

from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError, LimitError, ReflexArcError
from reflexarc_core.event import CONTEXT_TYPES, Event, PropertyType
from reflexarc_core.record import KIND_OF, EventInput
from reflexarc_proto.v1 import decision_pb2
from reflexarc_proto.wire.usual_event import Plan, moment_of, plans_of, slots_of, subject_part, usual_record
from reflexarc_proto.wire.value import map_from_proto
from reflexarc_server.collect import browser
from reflexarc_server.collect.browser import Body, Entry
from reflexarc_server.collect.callers import Call, Callers, headers_of, is_proven, key_of_basic
from reflexarc_server.collect.commits import Commits
from reflexarc_server.collect.exchange import JSON_HEAD, Exchange
from reflexarc_server.collect.front import Refused
from reflexarc_server.collect.identifying import joining
from reflexarc_server.collect.identities import PLAIN_MAX, Source, installation_of
from reflexarc_server.collect.reading import Unreadable, decompressed, too_large
from reflexarc_server.collect.times import corrected
from reflexarc_server.ingest import Arrival, Told
from reflexarc_server.judging import Judged
from reflexarc_server.parts import Parts
from reflexarc_server.records import WEB_INCARNATION, web_row
from reflexarc_server.site.web import WriteKey
from reflexarc_server.store.port import NewRecord

LINKS_KEPT_MS: Final = 3_600_000
"""How long it is remembered that two identities were joined, before it is said to the log again, which knows."""
_LINKS_MAX: Final = 50_000
_LATER_MS: Final = 5_000
_EVENT: Final = KIND_OF[EventInput]
_CONTEXT_SLOTS: Final = slots_of({name: PropertyType(kind) for name, kind in CONTEXT_TYPES.items()})
_encode: Final = msgspec.json.Encoder().encode
Enrich = Callable[[Event, Call], Sequence[Event]]


class _Batch(NamedTuple):
    """A request whose events wait for the writer. origin: of its page. link: what joins its two identities, when that is said."""

    exchange: Exchange
    origin: str
    key: WriteKey
    head: Body
    entries: Sequence[Any]
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
        self._usual: tuple[Catalog, dict[str, Plan]] = (Catalog(), {})
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
        head, entries = browser.read_batch(body)
        key = self._callers.known(head.key or key_of_basic(headers.get(b"authorization", "")), origin)
        self._callers.take_key(key, len(body))
        try:
            subject = browser.subject_of(head)
        except InvalidEventError as error:
            raise Refused(400, "no_subject", str(error)) from None
        if head.known_id and not is_proven(key, head.known_id, head.known_proof):
            raise Refused(
                403, "known_id_not_proven", "send known_proof: HMAC-SHA256 of known_id with the key's known_secret, hex"
            )
        now, installation = self._parts.clock.now_ms(), installation_of(head.anonymous_id)
        link = self._link(head, key, installation, now)
        batch = _Batch(exchange, origin, key, head, entries, subject, installation, now, link)
        call = Call(key.name, exchange.address, headers.get(b"user-agent", ""), headers.get(b"referer", ""))
        judged = self._judged(batch, call)
        if link is not None:
            judged.append(link)
        return batch, judged

    # -- events ---------------------------------------------------------------------------------------------------------

    def _judged(self, batch: _Batch, call: Call) -> list[Judged]:
        """A record for each entry in its order, or why there is none; behind them what follows from some."""
        catalog = self._parts.switch.live.catalog
        _, _, key, head, entries, subject, installation, now, _ = batch
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
                event = browser.event_of(entry, head, subject, self._sources[name], now, catalog)
                enriched = (event,) if self._enrich is None else self._enrich(event, call)
                first, *more = (web_row(each, installation, now) for each in enriched)
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
        verdicts = [verdict(entry.id, one) for entry, one in zip(batch.entries, told, strict=False)]
        said = _encode({"now": batch.received, "verdicts": verdicts, "decisions": decisions})
        batch.exchange.answer(200, said, JSON_HEAD + self._callers.cors_head(batch.origin))

    def _later(self, batch: _Batch, error: ReflexArcError) -> None:
        verdicts = [[entry.id, "later", "send the same again"] for entry in batch.entries]
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
