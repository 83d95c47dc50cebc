"""Requests that a connection hands to the hot route itself: in turn, in pieces, by any HTTP/1, and as uvicorn would by ASGI."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc_server.app import Server, http_options, start_server
from reflexarc_server.collect.exchange import Exchange
from reflexarc_server.collect.http import HttpServer
from reflexarc_server.collect.reading import BODY_BYTES_MAX
from reflexarc_server.collect.rooms import front_of
from tests.collect.kit import ORIGIN, Page, events, site, started, view
from tests.server.kit import catalog


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = started(tmp_path / "server")
    yield server
    server.stop()


def request(body: bytes, *headers: str, path: str = "/e", version: str = "1.1", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def batch(*ids: str, key: str = "wk_shop") -> bytes:
    return json.dumps({"key": key, "anonymous_id": "a1", "batch": [view(each) for each in ids]}).encode()


class Line:
    """A connection that sends bytes as they are given and reads answers in turn."""

    def __init__(self, server: Server) -> None:
        assert server.http is not None
        host, _, port = server.http.address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def answer(self) -> tuple[int, dict[str, str], Any]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        body = self._file.read(int(headers.get("content-length", "0")))
        return status, headers, json.loads(body) if body else None

    def rest(self) -> bytes:
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    line = Line(server)
    yield line
    line.close()


def test_a_pipeline_is_answered_in_its_order(server: Server, line: Line) -> None:
    """Hot requests and others behind one another in one piece, some of them refused at once: nobody overtakes."""
    wanted = []
    sent = b""
    for number in range(400):
        its_id = f"p{number}"
        if number % 5 == 1:
            sent += request(b"", path="/healthz", method="GET")
            wanted.append((200, None))
        elif number % 5 == 2:
            sent += request(batch(its_id, key="nobody's"))
            wanted.append((401, None))
        elif number % 5 == 3:
            sent += request(b"{}", path="/v1/track")
            wanted.append((401, None))
        else:
            sent += request(batch(its_id))
            wanted.append((200, [[its_id, "stored"]]))
    line.socket.sendall(sent)
    for status, verdicts in wanted:
        found, _, said = line.answer()
        assert (found, said.get("verdicts")) == (status, verdicts)
    assert len(events(server)) == sum(verdicts is not None for _, verdicts in wanted)


def test_a_pipeline_of_refusals_is_as_long_as_it_likes(line: Line) -> None:
    line.socket.sendall(request(batch("first")) + request(b"?") * 3_000)
    assert line.answer()[0] == 200
    assert {line.answer()[0] for _ in range(3_000)} == {400}


def test_a_body_in_pieces(server: Server, line: Line) -> None:
    body = batch("one", "two")
    for piece in (request(body)[:10], request(body)[10:200], *(bytes((byte,)) for byte in request(body)[200:])):
        line.socket.sendall(piece)
    assert line.answer()[2]["verdicts"] == [["one", "stored"], ["two", "stored"]]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:])) + b"0\r\n\r\n"
    line.socket.sendall(b"POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert line.answer()[2]["verdicts"] == [
        ["one", "duplicate", "an equal id is held"],
        ["two", "duplicate", "an equal id is held"],
    ]


@pytest.mark.parametrize(
    ("version", "header"), [("1.0", "X-A: b"), ("1.1", "Connection: close"), ("1.0", "Connection: keep-alive")]
)
def test_a_connection_that_ends_behind_its_answer(line: Line, version: str, header: str) -> None:
    line.socket.sendall(request(batch("one"), header, version=version))
    status, headers, _ = line.answer()
    assert (status, headers["connection"], line.rest()) == (200, "close", b"")


def test_who_waits_to_be_told_to_send_is_told(line: Line) -> None:
    body = batch("one")
    line.socket.sendall(request(body, "Expect: 100-continue")[: -len(body)])
    assert line.answer() == (100, {}, None)
    line.socket.sendall(body)
    assert line.answer()[2]["verdicts"] == [["one", "stored"]]


def test_too_much_is_refused_while_it_comes(line: Line) -> None:
    line.socket.sendall(b"POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(BODY_BYTES_MAX // 0x10000 + 1):
        line.socket.sendall(piece)
    status, headers, said = line.answer()
    assert (status, headers["connection"], said["error"]) == (413, "close", "body_too_large")


def test_an_origin_that_is_no_text_gets_no_header_of_its_own(tmp_path: Path) -> None:
    """`*` lets every page in; what it calls itself is said back only where it can stand in a header."""
    open_site = site('web: {keys: {shop: {key: wk_shop, origins: ["*"]}}}')
    server = started(tmp_path / "server", its_site=open_site)
    line = Line(server)
    for origin, is_said in ((ORIGIN, True), ("https://\x80", False), ("https://sh\xf6p", True)):
        line.socket.sendall(request(batch("one"), f"Origin: {origin}"))
        _, headers, _ = line.answer()
        assert ("access-control-allow-origin" in headers) == is_said
    line.close()
    server.stop()


def test_the_same_by_asgi(server: Server, line: Line) -> None:
    """An application server that is not ours gets the same answers, whatever it asks."""
    front = front_of(server.parts, site())

    async def by_asgi(body: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[int, dict[str, str], Any]:
        messages: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
        said: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/e",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }
        await front(scope, receive, send)
        fields = {name.decode(): value.decode() for name, value in said[0]["headers"]}
        return said[0]["status"], fields, json.loads(said[1]["body"])

    async def both() -> None:
        for body, origin in (
            (batch("one", "two"), ORIGIN),
            (b"[]", ORIGIN),
            (batch("x", key="k"), ""),
            (batch("x"), "https://else"),
        ):
            line.socket.sendall(request(body, *([f"Origin: {origin}"] if origin else [])))
            status, headers, said = await asyncio.to_thread(line.answer)
            given = [(b"content-length", b"%d" % len(body)), *([(b"origin", origin.encode())] if origin else [])]
            found = await by_asgi(body, given)
            assert (found[0], found[1].keys()) == (status, headers.keys())
            if status == 200:
                assert {verdict[1] for verdict in found[2]["verdicts"]} == {"duplicate"}
            else:
                assert found[2] == said

    asyncio.run(both())
    front.close()


def test_what_a_proxy_says_of_the_caller_is_believed_where_it_is_named(tmp_path: Path) -> None:
    limited = site("web: {keys: {shop: {key: wk_shop}}, limits: {address_calls_per_s: 0.1}}")
    for proxies, statuses in ((("127.0.0.1",), [200, 429, 200]), ((), [200, 429, 429])):
        server = start_server(
            tmp_path / f"server{len(proxies)}", "127.0.0.1:0", catalog(), insecure=True, site=limited,
            http=http_options("127.0.0.1:0", None, proxies),
        )  # fmt: skip
        page = Page(server)
        body = json.loads(batch("one"))
        callers = ("203.0.113.5", "203.0.113.5", "203.0.113.6")
        assert [page.post("/e", body, {"X-Forwarded-For": caller})[0] for caller in callers] == statuses
        page.connection.close()
        server.stop()


def test_a_route_that_fails_answers_and_the_port_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def take(exchange: Exchange) -> None:
        if exchange.body == b"bad":
            raise KeyError("of the route")
        exchange.answer(200, b"{}")

    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    server = HttpServer(nothing, http_options("127.0.0.1:0", None), direct={"/e": take})
    page = Page(server.address)
    assert page.post("/e", b"bad") == (500, {"error": "internal", "hint": "send the same again later"})
    page.connection.close()
    assert page.post("/e", b"good") == (200, {})
    assert "could not be taken" in caplog.text
    page.connection.close()
    server.stop()
