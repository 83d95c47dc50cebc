"""The browser SDK over HTTP: its bytes, how long they may be kept, what a page needs to name their digest."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_server.app import Server, http_options, start_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("sdk")
    started = start_server(folder, "127.0.0.1:0", load_catalog(None), insecure=True, http=http_options("127.0.0.1:0", None))
    yield started
    started.stop()


def _get(server: Server, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, str], bytes]:
    assert server.http is not None
    with contextlib.closing(http.client.HTTPConnection(server.http.address, timeout=10)) as connection:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def _digest(body: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()


@pytest.mark.parametrize("name", ["reflexarc.js", "reflexarc-forms.js"])
def test_the_manifest_leads_to_bytes_that_never_change(server: Server, name: str) -> None:
    status, _, body = _get(server, "/sdk/manifest.json")
    assert status == 200
    told = json.loads(body)["files"][name]
    status, headers, body = _get(server, told["path"])
    assert status == 200
    assert _digest(body) == told["integrity"]
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"


def test_a_plain_path_is_kept_a_short_while_and_asked_for_again(server: Server) -> None:
    status, headers, body = _get(server, "/sdk/reflexarc.js")
    assert (status, headers["cache-control"]) == (200, "public, max-age=300")
    assert body
    status, _, body = _get(server, "/sdk/reflexarc.js", {"if-none-match": headers["etag"]})
    assert (status, body) == (304, b"")


@pytest.mark.parametrize("path", ["/sdk/other.js", "/sdk/0000000000000000/reflexarc.js", "/sdk/../sdk.py", "/sdk/%2e%2e/sdk.py"])
def test_nothing_else_is_there(server: Server, path: str) -> None:
    assert _get(server, path)[0] == 404
