"""The site's `web` section: who may send events over HTTP, from which pages.

    web:
      keys:
        shop:                       # the key's name; the key itself is what browsers and services send
          key: wk_4f9c2d            # public: it names a source and is no secret
          origins: ["https://shop.example"]
      consent: required             # or: given

A write key says where events come from. It stands in every page, so it proves nothing: what it may do is bounded, not trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading

KEY: Final = re.compile(r"[A-Za-z0-9_\-]{4,64}")
ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
CONSENTS: Final = ("required", "given")


@dataclass(frozen=True, slots=True)
class WriteKey:
    """One source of events. name: how reports call it. origins: pages that may send with it; empty for a key of services."""

    name: str
    key: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Web:
    """keys: by the key that is sent. consent: whether the browser keeps and sends nothing before it is given."""

    keys: Mapping[str, WriteKey] = field(default_factory=lambda: MappingProxyType({}))
    consent: str = "required"


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
    reading.finish()
    return Web(MappingProxyType(keys), consent)


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
    reading.finish()
    return WriteKey(name, key, origins) if KEY.fullmatch(key) else None
