"""The site's `web` section: who may send events over HTTP, from which pages.

    web:
      keys:
        shop:                       # the key's name; the key itself is what browsers and services send
          key: wk_4f9c2d            # public: it names a source and is no secret
          origins: ["https://shop.example"]   # "https://*.shop.example" and "*" are patterns
          known_secret: env:SHOP_KNOWN        # optional: pages prove known_id by HMAC-SHA256 of it
          pages_only: true                    # optional: what comes without an origin is refused
      consent: required             # or: given
      limits:
        address_calls_per_s: 50     # of one address; 0: no limit
        key_calls_per_s: 2000       # of one write key; 0: no limit

A write key says where events come from. It stands in every page, so it proves nothing: what it may do is bounded, not trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.site.secret import Secret, read_secrets

KEY: Final = re.compile(r"[A-Za-z0-9_\-]{4,64}")
NAME: Final = re.compile(r"[A-Za-z0-9_\-]{1,40}")
ANY: Final = "*"
ORIGIN: Final = re.compile(r"https?://(\*\.)?[A-Za-z0-9.\-\[\]:]+|\*")
CONSENTS: Final = ("required", "given")


@dataclass(frozen=True, slots=True)
class WriteKey:
    """One source of events. name: how reports call it, and part of its events' ids: a key can be changed, its name cannot.

    origins: pages that may send with it; empty for a key of services. known_secrets: with one, who says that a browser is a known
    person proves it; empty: it is believed. pages_only: a request that names no origin, as services send it, is refused.
    """

    name: str
    key: str
    origins: tuple[str, ...] = ()
    known_secrets: tuple[Secret, ...] = ()
    pages_only: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """Calls a second, with ten seconds' worth at once after a rest; 0 for no limit."""

    address_calls_per_s: float = 50.0
    key_calls_per_s: float = 2_000.0


@dataclass(frozen=True, slots=True)
class Web:
    """keys: by the key that is sent. consent: whether the browser keeps and sends nothing before it is given."""

    keys: Mapping[str, WriteKey] = field(default_factory=lambda: MappingProxyType({}))
    consent: str = "required"
    limits: Rates = Rates()


def read(node: Node, mistakes: Mistakes) -> Web:
    """The section. What is wrong is noted."""
    reading = Reading(node, "web", mistakes)
    keys: dict[str, WriteKey] = {}
    for name, entry in reading.entries("keys"):
        key = _key(name, entry, mistakes)
        if key is not None and key.key in keys:
            mistakes.add(entry, f"web: {name} has the same key as {keys[key.key].name}", "give every source a key of its own")
        elif key is not None:
            keys[key.key] = key
    consent = reading.text("consent", "required", one_of=CONSENTS)
    limits = reading.node_of("limits")
    rates = _rates(limits, mistakes) if limits is not None else Rates()
    reading.finish()
    return Web(MappingProxyType(keys), consent, rates)


def _rates(node: Node, mistakes: Mistakes) -> Rates:
    reading, usual = Reading(node, "web: limits", mistakes), Rates()
    of_address = reading.number("address_calls_per_s", usual.address_calls_per_s, high=1e6)
    of_key = reading.number("key_calls_per_s", usual.key_calls_per_s, high=1e6)
    reading.finish()
    return Rates(of_address, of_key)


def _key(name: str, entry: Node, mistakes: Mistakes) -> WriteKey | None:
    reading = Reading(entry, f"web: {name}", mistakes)
    key = reading.text("key", required=True)
    origins = reading.names("origins")
    node = reading.node_of("key")
    if node is not None and not KEY.fullmatch(key):
        mistakes.add(node, f"web: {name}: this is no write key", "4 to 64 letters, digits, _ or -")
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            mistakes.add(
                reading.node_of("origins") or entry,
                f"web: {name}: {origin!r} is no origin",
                "scheme and host: https://shop.example",
            )
    if not NAME.fullmatch(name):
        mistakes.add(entry, f"web: {name!r} is no name of a key", "1 to 40 letters, digits, _ or -")
    secrets = read_secrets(f"web: {name}: known_secret", reading.node_of("known_secret"), mistakes)
    pages_only = reading.flag("pages_only")
    if pages_only and not origins:
        mistakes.add(entry, f"web: {name}: pages_only without origins", 'name the pages: origins: ["https://shop.example"]')
    reading.finish()
    return WriteKey(name, key, origins, secrets, pages_only) if KEY.fullmatch(key) else None
