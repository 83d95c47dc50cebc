"""The HTTP port: its bounds, its refusals, that it starts and stops with the server."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_build.reader import SECTIONS as CATALOG_SECTIONS
from reflexarc_build.reader import build_text
from reflexarc_core.errors import DefinitionError, TransportError
from reflexarc_server.app import Server, http_options, start_server
from reflexarc_server.site import read_site
from reflexarc_server.site.reader import SECTIONS


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


def test_pages_only_needs_pages(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("web: {keys: {shop: {key: wk_shop, pages_only: true}}}\n")
    with pytest.raises(DefinitionError, match="pages_only without origins"):
        read_site(path)


def test_a_catalog_and_a_site_file_are_told_apart(tmp_path: Path) -> None:
    for section in SECTIONS:
        with pytest.raises(DefinitionError, match=r"this is a site file, not a catalog \(a server takes it with --site\)"):
            build_text(f"{section}: {{}}\nother: 1\n")
    path = tmp_path / "site.yaml"
    for section in ("include", *CATALOG_SECTIONS):
        path.write_text(f"version: '1'\n{section}: {{}}\n")
        with pytest.raises(
            DefinitionError, match=r"yaml:1: this is a catalog, not a site file \(a server takes it with --catalog"
        ):
            read_site(path)
    with pytest.raises(DefinitionError, match="no field 'web'"):
        build_text("include: standard\nweb: {}\n")


@pytest.mark.parametrize("content", [b"", b"# nothing yet\n", b"{}\n"])
def test_a_site_file_that_says_nothing_is_told_what_to_write(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(DefinitionError, match=r"no write key is known.*\(write web: \{keys: ") as raised:
        read_site(path)
    path.write_text(raised.value.hint.removeprefix("write ").removesuffix(" (docs/site.md)"))
    assert [key.name for key in read_site(path).web.keys.values()] == ["shop"], "what is to be written can be read"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"- a\n- list\n"])
def test_a_file_that_is_no_site_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(DefinitionError):
        read_site(path)
