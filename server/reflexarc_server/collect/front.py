"""The front: one bare ASGI application before everything that is served over HTTP.

Owns the bounds that hold for every path: how large a body may be and how long it may take to come. Routes that must be fast
answer here themselves; every other path is starlette's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX: Final = 1 << 20
BODY_S_MAX: Final = 20.0


class Refused(Exception):
    """A request that ends here. status: of HTTP. code: one word. hint: what to do. retry_after_ms: 0 when it is not said."""

    def __init__(self, status: int, code: str, hint: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.hint = hint
        self.retry_after_ms = retry_after_ms

    @property
    def body(self) -> bytes:
        """The answer's JSON."""
        later = {"retry_after_ms": self.retry_after_ms} if self.retry_after_ms else {}
        return json.dumps({"error": self.code, "hint": self.hint, **later}).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The answer's headers."""
        return [(b"retry-after", str(-(-self.retry_after_ms // 1_000)).encode())] if self.retry_after_ms else []


class Front:
    """hot: path -> what answers it, and bounds its bodies itself. rest: every other path. larger: path prefix -> bytes its bodies
    may have. on_close: called once nothing is served any more. direct: see `HttpServer`."""

    def __init__(
        self,
        hot: Mapping[str, App],
        rest: App,
        larger: Mapping[str, int] | None = None,
        on_close: Callable[[], None] = lambda: None,
        direct: Mapping[str, Callable[[Any], None]] | None = None,
    ) -> None:
        self.close: Final = on_close
        self.direct: Final = dict(direct or {})
        self._hot = dict(hot)
        self._rest = rest
        self._larger = tuple((larger or {}).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        hot = self._hot.get(scope["path"])
        if hot is not None:
            await hot(scope, receive, send)
            return
        bounded = Bounded(scope, receive, send, self._bytes_max(scope["path"]))
        try:
            await self._rest(scope, bounded.receive, bounded.send)
        except Refused as refused:
            if not bounded.is_answered:
                await answer(bounded.send, refused.status, refused.body, refused.headers, close=True)

    def _bytes_max(self, path: str) -> int:
        return next((most for prefix, most in self._larger if path.startswith(prefix)), BODY_BYTES_MAX)


class Bounded:
    """One request whose body is bounded in bytes and time. `receive` raises Refused: 413 or 408."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bytes_max: int) -> None:
        self._receive = receive
        self._send = send
        self._bytes_left = bytes_max
        self._bytes_max = bytes_max
        self._deadline = asyncio.get_running_loop().time() + BODY_S_MAX
        self._length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        self._is_whole = False
        self.is_answered = False

    async def receive(self) -> MutableMapping[str, Any]:
        if self._is_whole:  # only a disconnection is waited for, as long as it takes
            return await self._receive()
        if self._length.isdigit() and int(self._length) > self._bytes_max:
            raise self._too_large()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408, "slow_body", f"send the whole body within {BODY_S_MAX:g} s") from None
        if message["type"] == "http.request":
            self._bytes_left -= len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._bytes_left < 0:
                raise self._too_large()
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.is_answered = True
        await self._send(message)

    def _too_large(self) -> Refused:
        return Refused(413, "body_too_large", f"at most {self._bytes_max} bytes")


async def answer(
    send: Send, status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None, *,
    content_type: bytes = b"application/json", close: bool = False,
) -> None:  # fmt: skip
    """Send one whole answer. close: end the connection behind it, as what is still to come is not wanted."""
    fields = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *(headers or [])]
    if close:
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
