"""Connections: uvicorn's own, with a time by which a request has to be whole and a bound on those that are not.

Owns slow senders: whoever opens a connection and sends little or nothing keeps a place of HEADS_MAX until HEAD_S is over, and no
more memory than that. Must never end a request that has wholly come. Owns too which requests go to a hot route at once (`direct`)
and which by ASGI: all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reflexarc_server.collect.direct import Direct
from reflexarc_server.collect.exchange import Take

HEAD_S: Final = 10.0
"""From the connection, or from a request's first byte, to the end of its headers."""
BODY_S: Final = 20.0
"""From there to the end of its body."""
HEAD_BYTES_MAX: Final = 32_768
HEADS_MAX: Final = 1_000
"""Connections without whole headers; of more, the oldest end, once they had FRESH_S."""
FRESH_S: Final = 1.0
CONNECTIONS_MAX: Final = 10_000
SWEEP_S: Final = 1.0
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Watch:
    """Whose request is not whole, oldest first: since when, by the loop's clock, seconds."""

    def __init__(
        self, head_s: float = HEAD_S, body_s: float = BODY_S, heads_max: int = HEADS_MAX, fresh_s: float = FRESH_S
    ) -> None:
        self.heads: dict[Connection, float] = {}
        self.bodies: dict[Connection, float] = {}
        self.head_s = head_s
        self.body_s = body_s
        self.heads_max = heads_max
        self.fresh_s = fresh_s
        self.ended_count = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, connection: Connection) -> None:
        """A connection waits for the headers of a request."""
        loop = connection.loop
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(SWEEP_S, self._sweep)
        now = loop.time()
        self.heads[connection] = now
        if len(self.heads) > self.heads_max:
            self._end(self.heads, now - self.fresh_s, len(self.heads) - self.heads_max)

    def _sweep(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._end(self.heads, now - self.head_s, len(self.heads))
        self._end(self.bodies, now - self.body_s, len(self.bodies))
        self._loop.call_later(SWEEP_S, self._sweep)

    def _end(self, held: dict[Connection, float], since: float, count_max: int) -> None:
        """End the oldest of these that began before `since`, so many at most."""
        while count_max > 0 and held:
            connection = next(iter(held))
            if held[connection] > since:
                return
            del held[connection]
            connection.transport.abort()
            self.ended_count += 1
            count_max -= 1


class Connection(HttpToolsProtocol):
    """One connection. watch: the port's. direct: by the path of a POST, who takes it."""

    watch: ClassVar[Watch]
    direct: ClassVar[Mapping[bytes, Take]]
    cycle: Any  # uvicorn's, or a Direct in its place

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self.watch.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.watch.heads.pop(self, None)
        self.watch.bodies.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self in self.watch.heads:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and self._is_still_head(data):
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """See httptools."""
        if self not in self.watch.heads:
            self._head_bytes = 0
            self.watch.begin(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self.watch.heads.pop(self, None)
        self.watch.bodies[self] = self.loop.time()
        take = self.direct.get(self.url)
        if take is None or self.parser.get_method() != b"POST" or self.flow.write_paused:
            super().on_headers_complete()
            return
        earlier = self.cycle
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        self.cycle = Direct(self, take, keep_alive=keep_alive, expects_continue=self.expect_100_continue)
        if earlier is None or earlier.response_complete:
            self.cycle.begin()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        if type(self.cycle) is Direct:
            self.cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self.watch.bodies.pop(self, None)
        if type(self.cycle) is Direct:
            self.cycle.end()
        else:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """See uvicorn. Of a pipeline of short requests each begins in a turn of its own, not on the stack of the one before."""
        if type(cycle) is Direct:
            self.loop.call_soon(cycle.begin)
        else:
            super()._start_asgi_task(cycle, app)

    def address_of(self, headers: list[tuple[bytes, bytes]]) -> str:
        """The caller's, or what a believed proxy says of it, as uvicorn's own middleware has it; empty where it is not known."""
        address = self.client[0] if self.client else ""
        if type(self.app) is ProxyHeadersMiddleware and address in self.app.trusted_hosts:
            said = b", ".join(value for name, value in headers if name == b"x-forwarded-for")
            address = (self.app.trusted_hosts.get_trusted_client_address(said.decode("latin-1"))[0] if said else "") or address
        return address

    def _is_still_head(self, data: bytes) -> bool:
        """Whether all of what came belongs to the headers: a large body may follow them at once."""
        place = data.find(b"\r\n\r\n")
        return place < 0 or self._head_bytes - len(data) + place > HEAD_BYTES_MAX


def connection_class(watch: Watch | None = None, direct: Mapping[str, Take] | None = None) -> type[Connection]:
    """Connections of one port. direct: by path."""
    by_url = {path.encode(): take for path, take in (direct or {}).items()}
    return type("Connection", (Connection,), {"watch": watch or Watch(), "direct": by_url})
