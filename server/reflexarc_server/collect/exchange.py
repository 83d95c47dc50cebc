"""One request and its one answer, as the hot route sees them: no coroutine waits between the two.

Owns what a hot route may ask of a request, and the door for whoever calls by ASGI instead (`asgi`). A connection of our own port
makes exchanges itself (`direct`). Whoever takes an exchange answers it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from reflexarc_server.collect.front import App, Receive, Scope, Send
from reflexarc_server.collect.reading import BODY_BYTES_MAX

JSON_HEAD: Final = b"content-type: application/json\r\n"


class Exchange(Protocol):
    """headers: names in lower case. address: of the caller, empty when it is not known. body: None where it is larger than
    BODY_BYTES_MAX, and then no more of it is read."""

    headers: list[tuple[bytes, bytes]]
    address: str
    body: bytes | None

    def answer(self, status: int, body: bytes, head: bytes = JSON_HEAD, *, close: bool = False) -> None:
        """head: lines of the header, each with its end; the length is added. In the event loop; who went away hears nothing."""
        ...


Take = Callable[[Exchange], None]
"""Has the exchange answered, now or later; must not raise."""


class _Asked:
    """An exchange by ASGI."""

    def __init__(self, scope: Scope, body: bytes | None) -> None:
        client = scope.get("client")
        self.headers = scope["headers"]
        self.address = client[0] if client else ""
        self.body = body
        self.said: asyncio.Future[tuple[int, bytes, bytes, bool]] = asyncio.get_running_loop().create_future()

    def answer(self, status: int, body: bytes, head: bytes = JSON_HEAD, *, close: bool = False) -> None:
        if not self.said.done():
            self.said.set_result((status, body, head, close))


def asgi(take: Take) -> App:
    """A hot route as an ASGI application."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(scope, receive)
        asked = _Asked(scope, body)
        take(asked)
        status, content, head, close = await asked.said
        lines = [*head.split(b"\r\n")[:-1], b"content-length: %d" % len(content), *([b"connection: close"] if close else [])]
        fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": content})

    return called


async def whole_body(scope: Scope, receive: Receive) -> bytes | None:
    """The body of a request by ASGI; None where it is too large, and then no more of it is read, or its sender went away."""
    if is_too_long(scope["headers"]):
        return None
    message: Any = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts = bytearray(body)
        while message.get("more_body") and len(parts) <= BODY_BYTES_MAX:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts += message.get("body", b"")
        body = bytes(parts)
    return body if len(body) <= BODY_BYTES_MAX else None


def is_too_long(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the headers say of the body that it is larger than BODY_BYTES_MAX."""
    for name, value in headers:
        if name == b"content-length":
            return value.isdigit() and int(value) > BODY_BYTES_MAX
    return False
