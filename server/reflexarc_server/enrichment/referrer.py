"""What sent a visit: the medium, the source's name and what was searched for, of a referring address.

Owns the reading of an address; the hosts are `sources`'. What stands in no list is `unknown`: a guess would be counted as if it
were known. Must never raise on any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs, urlsplit

from reflexarc_server.enrichment.sources import EMAIL, MAIL_LABELS, MAIL_PROVIDERS, PATHS, PLACES, Place

DIRECT: Final = "direct"
INTERNAL: Final = "internal"
UNKNOWN: Final = "unknown"
ADDRESS_LENGTH_MAX: Final = 8_192
TERM_LENGTH_MAX: Final = 512
HOSTS_MAX: Final = 16_384
_COUNTRY: Final = re.compile(r"(?:com|net|org|cat|info|[a-z]{2}|(?:com?|ne|or|org|net)\.[a-z]{2})$")
_MAIL_LABEL: Final = re.compile(MAIL_LABELS)
_SCHEMES: Final = ("http", "https", "android-app")
_DEREF: Final = {"gmx": "GMX", "web": "Web.de", "1und1": "1und1", "1and1": "1und1", "mail": "Mail.com", "ionos": "Ionos"}


@dataclass(frozen=True, slots=True)
class Referrer:
    """medium: search, social, email, chatbot, paid, internal, unknown or direct.

    source: its name, where there is one. term: what was searched for, where the address still says.
    """

    medium: str
    source: str = ""
    term: str = ""


def read_referrer(address: str, page_host: str = "", internal: frozenset[str] = frozenset()) -> Referrer:
    """address: of the page before, empty for none. internal: hosts whose pages, and those below them, are the site's own."""
    if not address:
        return Referrer(DIRECT)
    try:
        split = urlsplit(address[:ADDRESS_LENGTH_MAX])
        host = (split.hostname or "").rstrip(".")
    except ValueError:
        return Referrer(UNKNOWN)
    if not host or split.scheme not in _SCHEMES:
        return Referrer(UNKNOWN)
    if _bare(host) == _bare(page_host.lower()) or is_below(host, internal):
        return Referrer(INTERNAL)
    place = _place(host)
    for key, path in _PATHS_OF.get(_family(host), ()):
        if split.path.startswith(path):
            place = PATHS[key, path]
    if place is None or not place.medium:
        return Referrer(UNKNOWN)
    return Referrer(place.medium, place.source, _term(place, split.query, split.fragment) if place.terms else "")


def is_below(host: str, domains: frozenset[str]) -> bool:
    """Whether a host is one of these domains, or below one."""
    return any(name in domains for name in _suffixes(host)) if domains else False


@lru_cache(maxsize=HOSTS_MAX)
def _place(host: str) -> Place | None:
    bare = _bare(host)
    for name in (f"={bare}", f"={_family(host)}"):
        if name in PLACES:
            return PLACES[name]
    for suffix in _suffixes(bare):
        found = PLACES.get(suffix) or PLACES.get(_starred(suffix))
        if found is not None:
            return found
    return _mail(bare)


def _mail(host: str) -> Place | None:
    """A provider's own mail, told by the host below it; a mail host's guard that leads to links."""
    for suffix in _suffixes(host):
        provider = MAIL_PROVIDERS.get(suffix) or MAIL_PROVIDERS.get(_starred(suffix))
        if provider is not None:
            labels = host.removesuffix(suffix).strip(".").split(".")
            return Place(EMAIL, provider) if any(_MAIL_LABEL.search(label) for label in labels if label) else None
    if host.startswith("deref-"):
        provider = _DEREF.get(host.removeprefix("deref-").split(".")[0].split("-")[0])
        return Place(EMAIL, provider) if provider else None
    return Place(EMAIL, "") if host.startswith("webmail.") else None


def _suffixes(host: str) -> Iterator[str]:
    """`a.b.c` -> `a.b.c`, `b.c`, `c`; at most ten, of the end."""
    labels = host.split(".")[-10:]
    for start in range(len(labels)):
        yield ".".join(labels[start:])


@lru_cache(maxsize=HOSTS_MAX)
def _starred(host: str) -> str:
    """`google.co.uk` -> `google.*`; the host itself where its end is no country's."""
    labels = host.split(".")
    for count in (2, 1):
        end = ".".join(labels[-count:])
        if len(labels) > count and _COUNTRY.match(end):
            return ".".join(labels[:-count]) + ".*"
    return host


def _bare(host: str) -> str:
    return host.removeprefix("www.")


def _family(host: str) -> str:
    return _starred(_bare(host))


_PATHS_OF: Final[dict[str, list[tuple[str, str]]]] = {}
for _key, _path in PATHS:
    _PATHS_OF.setdefault(_starred(_key.replace(".*", ".com")), []).append((_key, _path))


def _term(place: Place, query: str, fragment: str) -> str:
    for text in (query, fragment):
        found = _parameters(text)
        for name in place.terms:
            if found.get(name):
                return found[name][:TERM_LENGTH_MAX]
    return ""


def _parameters(text: str) -> dict[str, str]:
    """The first value of each parameter, decoded; nothing of a text that is no query."""
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=256).items()}
    except ValueError:
        return {}


__all__ = ["DIRECT", "INTERNAL", "UNKNOWN", "Referrer", "is_below", "read_referrer"]
