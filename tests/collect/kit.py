"""A server with a site, and requests to it as a browser or a service sends them."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
from pathlib import Path
from typing import Any

from reflexarc_build.source import parse
from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.app import Server, http_options, start_server
from reflexarc_server.clock import Clock
from reflexarc_server.site.reader import Site, site_of
from tests.server.kit import T0, catalog

SITE = """
web:
  keys:
    shop: {key: wk_shop, origins: ["https://shop.example", "https://*.shop.example"]}
    back: {key: wk_back}
  consent: given
  limits: {address_calls_per_s: 0, key_calls_per_s: 0}
"""
ORIGIN = "https://shop.example"


def site(text: str = SITE) -> Site:
    return site_of(parse(text, "site.yaml"), Path())


def started(folder: Path, clock: Clock | None = None, its_site: Site | None = None, its_catalog: Catalog | None = None) -> Server:
    return start_server(
        folder, "127.0.0.1:0", its_catalog or catalog(), clock, insecure=True, http=http_options("127.0.0.1:0", None),
        site=its_site or site(),
    )  # fmt: skip


class Page:
    """One caller of a server's HTTP port, on one connection."""

    def __init__(self, server: Server | str, anonymous_id: str = "a1", **head: Any) -> None:
        if not isinstance(server, str):
            assert server.http is not None
            server = server.http.address
        self.head = {"key": "wk_shop", "anonymous_id": anonymous_id, **head}
        self.connection = http.client.HTTPConnection(server, timeout=20)
        self.headers: dict[str, str] = {}

    def send(self, *batch: dict[str, Any], **more: Any) -> tuple[int, dict[str, Any]]:
        """Our own batch: (status, answer)."""
        return self.post("/e", {**self.head, "batch": list(batch), **more})

    def segment(self, path: str, body: Any, key: str = "wk_back", **headers: str) -> tuple[int, dict[str, Any]]:
        basic = base64.b64encode(f"{key}:".encode()).decode()
        return self.post(f"/v1/{path}", body, {"Authorization": f"Basic {basic}", **headers})

    def post(
        self, path: str, body: Any, headers: dict[str, str] | None = None, *, method: str = "POST"
    ) -> tuple[int, dict[str, Any]]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "text/plain", **(headers or {})}
        if given.get("Content-Encoding") == "gzip" and not isinstance(body, bytes):
            content = gzip.compress(content)
        self.connection.request(method, path, content, given)
        answer = self.connection.getresponse()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        said = answer.read()
        return answer.status, json.loads(said) if said else {}


def view(its_id: str, **more: Any) -> dict[str, Any]:
    """A page view as a page sends it."""
    return {"id": its_id, "type": "page_view", "time": T0, "properties": {"page_url": f"https://shop.example/{its_id}"}, **more}


def events(server: Server) -> list[tuple[str, Event]]:
    """(installation, event) of everything that was stored, in order."""
    rows = server.parts.store.ask("SELECT installation, body FROM log WHERE kind = 1 ORDER BY server_seq", ())
    found = []
    for installation, body in rows:
        _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
        assert isinstance(record, EventInput)
        found.append((installation, record.event))
    return found
