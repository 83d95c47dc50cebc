"""What tests of mail share."""

from __future__ import annotations

import html
import http.client
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_server.app import http_options, start_server
from reflexarc_server.clock import Clock
from reflexarc_server.email.prepare import Message, Preparer
from reflexarc_server.email.token import Signer
from reflexarc_server.log_reader import LogReader
from reflexarc_server.site import Site, read_site
from tests.house.rooms import ROOT

KEY = b"a signing key of 32 bytes or more"
SIGNER = Signer([KEY])
BASE = "https://go.example"
NOW = 1_700_000_000_000
MESSAGE = Message("m-1", "known:42", "spring", NOW)
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PREPARER = Preparer(SIGNER, BASE)

_SETS = Path(os.environ.get("REFLEXARC_DATA") or ROOT.parent / "shared" / "data")
# Where the sets are required, their absence fails the tests that read them.
needs_sets = pytest.mark.skipif(
    not _SETS.is_dir() and not os.environ.get("REFLEXARC_REQUIRE_DATA"), reason=f"no real sets at {_SETS}: set REFLEXARC_DATA"
)


@cache
def url_cases() -> list[dict[str, Any]]:
    """The cases of the web platform's URL tests."""
    content = json.loads((_SETS / "urls_wpt" / "urltestdata.json").read_text(encoding="utf-8", errors="surrogatepass"))
    return [case for case in content if isinstance(case, dict)]


@cache
def web_hrefs() -> list[str]:
    """The serialised address of every case that gives an http or https one."""
    return [case["href"] for case in url_cases() if re.match("https?:", case.get("href", ""))]


def anchor(url: str, quote: str = '"') -> str:
    """A link to an address, as a careful author writes it."""
    return f"<a href={quote}{html.escape(url)}{quote}>x</a>"


def token_of(url: str) -> str:
    """The token of one of our own addresses."""
    return url.rsplit("/", 1)[1].removesuffix(".gif")


SITE = """
email:
  base_url: https://go.example
  signing_keys: [env:MAIL_KEY]
  from: Shop <news@shop.example>
  reply_to: reply@shop.example
"""


def site_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Site:
    """The site of these tests, with more lines of its section."""
    monkeypatch.setenv("MAIL_KEY", KEY.decode())
    path = tmp_path / "site.yaml"
    path.write_text(SITE + more)
    return read_site(path)


class Served:
    """A real server with its HTTP port, and the mail side of a browser."""

    def __init__(self, folder: Path, site: Site, clock: Clock | None = None, catalog: Catalog | None = None) -> None:
        self.folder = folder
        http_port = http_options("127.0.0.1:0", None)
        catalog = catalog or load_catalog(None)
        self.server = start_server(folder, "127.0.0.1:0", catalog, clock, insecure=True, http=http_port, site=site)
        assert self.server.http is not None
        self._connection = http.client.HTTPConnection(self.server.http.address, timeout=20)

    def ask(self, path: str, method: str = "GET", agent: str | None = BROWSER) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body). path: also one of our own addresses."""
        headers = {} if agent is None else {"User-Agent": agent}
        self._connection.request(method, path.removeprefix(BASE), headers=headers)
        answer = self._connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def events(self, event_type: str) -> list[Event]:
        """What is stored of a type, oldest first."""
        return [event for _, event in LogReader(self.folder).events() if event.event_type == event_type]

    def stop(self) -> None:
        self._connection.close()
        self.server.stop()
