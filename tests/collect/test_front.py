"""The HTTP port: its bounds, its refusals, that it starts and stops with the server."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_core.errors import DefinitionError, TransportError
from reflexarc_server.app import Server, http_options, start_server
from reflexarc_server.site import read_site


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = start_server(
        tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True, http=http_options("127.0.0.1:0", None)
    )
    yield started
    started.stop()


def _get(server: Server, path: str) -> tuple[int, bytes]:
    assert server.http is not None
    with contextlib.closing(http.client.HTTPConnection(server.http.address, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_health_is_answered(server: Server) -> None:
    status, body = _get(server, "/healthz")
    assert status == 200
    assert b'"ok":true' in body


def test_an_unknown_path_is_one_json_object(server: Server) -> None:
    assert _get(server, "/nothing/here") == (404, b'{"error":"not_found","hint":"no such path here"}')


def test_a_stopped_server_lets_the_port_go(server: Server) -> None:
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        _get(server, "/healthz")


def test_plaintext_stays_on_the_loopback(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="not the loopback"):
        start_server(tmp_path / "s", "127.0.0.1:0", load_catalog(None), insecure=True, http=http_options("0.0.0.0:0", None))
    # What was opened is closed again: the folder can be used at once.
    start_server(tmp_path / "s", "127.0.0.1:0", load_catalog(None), insecure=True).stop()


def test_a_taken_port_says_so(server: Server, tmp_path: Path) -> None:
    assert server.http is not None
    with pytest.raises(TransportError, match="cannot listen"):
        start_server(
            tmp_path / "s", "127.0.0.1:0", load_catalog(None), insecure=True, http=http_options(server.http.address, None)
        )


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(TransportError, match="no proxy's address"):
        http_options("127.0.0.1:0", None, ["somewhere"])


def test_a_site_file_is_read_whole_with_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "web:\n  keys:\n    shop: {key: 'no key!', origins: [shop.example]}\n    two: {}\n  consent: perhaps\nwebb: {}\n"
    )
    with pytest.raises(DefinitionError) as raised:
        read_site(path)
    text = str(raised.value)
    for line, said in ((3, "no write key"), (3, "no origin"), (4, "has no key"), (5, "perhaps"), (6, "webb")):
        assert any(f"site.yaml:{line}:" in row and said in row for row in text.splitlines()), (line, said, text)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"- a\n- list\n"])
def test_a_file_that_is_no_site_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(DefinitionError):
        read_site(path)
