"""A request that its connection hands to the hot route itself, and answers: uvicorn's request cycle without ASGI.

ASGI makes a task, an event and four messages of every request, and that is most of what an empty route costs. Owns one
request from its headers to its answer. Stands in uvicorn's place for a cycle: in its connection's turn, in the pipeline behind an
earlier request, in a shutdown.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from reflexarc_server.collect.exchange import JSON_HEAD, Take, is_too_long
from reflexarc_server.collect.reading import BODY_BYTES_MAX

if TYPE_CHECKING:
    from reflexarc_server.collect.connections import Connection

_CLOSE: Final = b"connection: close\r\n"
_log = logging.getLogger(__name__)


class _Nobody:
    """In the place of the event by which a cycle wakes its application: here nobody sleeps."""

    def set(self) -> None:
        pass


class Direct:
    """See `exchange.Exchange`. keep_alive: whether the connection goes on behind the answer."""

    __slots__ = (
        "_connection", "_expects_continue", "_is_in_turn", "_is_whole", "_pieces", "_take",
        "address", "body", "disconnected", "headers", "keep_alive", "response_complete",
    )  # fmt: skip
    message_event: Final = _Nobody()

    def __init__(self, connection: Connection, take: Take, *, keep_alive: bool, expects_continue: bool) -> None:
        self._connection = connection
        self._take = take
        self._expects_continue = expects_continue
        self._is_in_turn = self._is_whole = False
        self.headers = connection.headers
        self.address = connection.address_of(self.headers)
        self.body: bytes | None = b""
        self._pieces: bytearray | None = None
        self.keep_alive = keep_alive
        self.response_complete = self.disconnected = False

    def begin(self) -> None:
        """Every earlier request of the connection is answered."""
        self._is_in_turn = True
        if is_too_long(self.headers):
            self.body = None
            self._is_whole = True
        if self._is_whole:
            self._taken()
        elif self._expects_continue:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def add(self, piece: bytes) -> None:
        """A piece of the body."""
        if self._is_whole:
            return
        if not self.body:
            self.body = piece
            return
        self._pieces = self._pieces or bytearray(self.body)
        self._pieces += piece
        if len(self._pieces) > BODY_BYTES_MAX:
            self.body = self._pieces = None
            self.end()

    def end(self) -> None:
        """The body is whole, or no more of it is wanted."""
        if self._is_whole:
            return
        self._is_whole = True
        if self._pieces is not None:
            self.body, self._pieces = bytes(self._pieces), None
        if self._is_in_turn:
            self._taken()

    def answer(self, status: int, body: bytes, head: bytes = JSON_HEAD, *, close: bool = False) -> None:
        """See Exchange."""
        connection = self._connection
        if self.response_complete or connection.transport.is_closing():
            return
        self.response_complete = True
        is_last = close or not self.keep_alive
        connection.transport.write(
            b"%bcontent-length: %d\r\n%b%b\r\n%b" % (STATUS_LINE[status], len(body), head, _CLOSE if is_last else b"", body)
        )
        if is_last:
            connection.transport.close()
        connection.on_response_complete()

    def _taken(self) -> None:
        try:
            self._take(self)
        except Exception:
            _log.exception("a request could not be taken")
            self.answer(500, b'{"error": "internal", "hint": "send the same again later"}', close=True)
