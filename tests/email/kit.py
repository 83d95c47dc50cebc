"""What tests of mail share."""

from __future__ import annotations

import html
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reflexarc_server.email.prepare import Message, Preparer
from reflexarc_server.email.token import Signer

KEY = b"a signing key of 32 bytes or more"
SIGNER = Signer([KEY])
BASE = "https://go.example"
NOW = 1_700_000_000_000
MESSAGE = Message("m-1", "known:42", "spring", NOW)
PREPARER = Preparer(SIGNER, BASE)

_SETS = os.environ.get("REFLEXARC_DATA", "")
needs_sets = pytest.mark.skipif(not _SETS, reason="REFLEXARC_DATA names no folder")


@cache
def url_cases() -> list[dict[str, Any]]:
    """The cases of the web platform's URL tests."""
    content = json.loads((Path(_SETS) / "urls_wpt" / "urltestdata.json").read_text(encoding="utf-8", errors="surrogatepass"))
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
