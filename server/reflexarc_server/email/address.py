"""Web addresses of a mail's links: which of them may be followed, what is merged into them, how a Location header says them.

Owns the rules of docs/email.md. An address is never parsed and put together again: what is not asked for stays as it is, byte for
byte. Must never let through what a browser could read as another address than the one that was signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

from reflexarc_core.errors import InvalidEventError

URL_BYTES_MAX: Final = 4_096
_WEB: Final = re.compile(r"https?:", re.IGNORECASE)
_WHOLE: Final = re.compile(r"https?://(?P<authority>[^/?#]+)(?P<path>[^?#]*)", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BEFORE: Final = "".join(map(chr, range(33)))
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# A browser takes these away, or reads them as the dot or the slash of a host: one address would have two readings.
_HOST_TRICK: Final = re.compile(r"[\s<>^|%\\]")


def is_web(url: str) -> bool:
    """Whether it begins as an absolute address of http or https does."""
    return _WEB.match(url) is not None


def as_browsers_begin(url: str) -> str:
    """The address as a browser begins to read it: without tabs and line ends, and what stands before it that is no letter."""
    return re.sub(r"[\t\n\r]", "", url).lstrip(_BEFORE)


def has_foreign_host(url: str) -> bool:
    """Whether its host has letters beyond ASCII: what a browser makes of it depends on its tables."""
    whole = _WHOLE.match(url)
    return whole is not None and not _host(whole["authority"]).isascii()


def check_target(url: str) -> None:
    """Raises InvalidEventError unless a redirect may lead to `url`: absolute, http or https, and of one reading only."""
    if _CONTROL.search(url) or _SURROGATE.search(url):
        raise InvalidEventError("a link with a control character in its address", hint="write it as %0A, %09 and so on")
    if not is_web(url):
        raise InvalidEventError("a link that is no http or https address", hint="only these are tracked")
    whole = _WHOLE.match(url)
    if whole is None:
        raise InvalidEventError("a link without a host", hint="write it out: https://host/path")
    if "\\" in whole["authority"] or "\\" in whole["path"]:
        raise InvalidEventError("a link with a backslash in its host or path", hint="write a slash, or %5C")
    host = _host(whole["authority"])
    if not host or _HOST_TRICK.search(host):
        raise InvalidEventError("a link whose host is none", hint="letters, digits, dots and dashes")
    if not host.isascii():
        raise InvalidEventError("a link whose host is not ASCII", hint="write the host as xn--...")
    if len(url.encode()) > URL_BYTES_MAX:
        raise InvalidEventError(f"a link of {len(url)} characters", hint=f"at most {URL_BYTES_MAX} bytes")


def location(url: str) -> bytes:
    """The value of a Location header: ASCII stays as it is; a space and what is beyond ASCII become %XX of its UTF-8, which is
    what a browser does with the same address. Raises InvalidEventError as `check_target`."""
    check_target(url)
    return "".join(char if "!" <= char <= "~" else quote(char, safe="") for char in url).encode("ascii")


def merged(url: str, parameters: Mapping[str, str]) -> str:
    """The address with parameters added that its query does not have by name.

    They stand in the order given, behind the query that is there and before the fragment; nothing that is there is changed.
    """
    address, hash_mark, fragment = url.partition("#")
    before, _, query = address.partition("?")
    there = {unquote_plus(pair.partition("=")[0]) for pair in query.split("&")}
    fresh = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items() if name not in there)
    if not fresh:
        return url
    joint = "&" if query and not query.endswith("&") else ""
    return f"{before}?{query}{joint}{fresh}{hash_mark}{fragment}"


def host_of(url: str) -> str:
    """The host in lower case without its port, empty when there is none."""
    whole = _WHOLE.match(url)
    if whole is None:
        return ""
    return re.sub(r":\d*\Z", "", _host(whole["authority"])).lower()


def without_secrets(url: str) -> str:
    """The address as an event keeps it: without user name and password."""
    whole = _WHOLE.match(url)
    if whole is None or "@" not in whole["authority"]:
        return url
    begin, end = whole.span("authority")
    return url[:begin] + whole["authority"].rpartition("@")[2] + url[end:]


def _host(authority: str) -> str:
    return authority.rpartition("@")[2]
