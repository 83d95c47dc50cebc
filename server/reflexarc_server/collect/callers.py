"""Who calls: a write key, from a page of which origin, at which address, and how much they may ask for.

Owns what of a caller is believed and their rates. A write key stands in every page, so it names a source and proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple

from reflexarc_server.collect.front import Refused
from reflexarc_server.identity.limits import Limits, Meter
from reflexarc_server.site.web import ANY, Web, WriteKey

PREFLIGHT_S: Final = 86_400
_ORIGINS_MAX: Final = 1_024
_BYTES_PER_S: Final = 16 * 1024 * 1024
_REST_S: Final = 10
"""After a rest, so many seconds' worth of calls are taken at once."""


class Call(NamedTuple):
    """What a request says of who sent it. address: of the peer, or what a believed proxy says. Empty: not said."""

    key: str = ""
    address: str = ""
    user_agent: str = ""
    referer: str = ""


class Callers:
    """One site's. now_s and the buckets are `identity.limits`'."""

    def __init__(self, web: Web) -> None:
        self._keys = web.keys
        self._by_origin: dict[str, list[tuple[bytes, bytes]]] = {}
        self._head_by_origin: dict[str, bytes] = {"": b""}
        self._addresses = _meter(web.limits.address_calls_per_s)
        self._sources = _meter(web.limits.key_calls_per_s)

    def known(self, key: str, origin: str) -> WriteKey:
        """The source of a key, from a page of that origin (empty: from no page). Raises Refused: 401 or 403."""
        found = self._keys.get(key)
        if found is None:
            hint = "send a write key of this site" if key else "send the write key as key"
            raise Refused(401, "unknown_key", hint if self._keys else "no write key is known here: the site file names them")
        if origin and not is_allowed(origin, found.origins):
            raise Refused(403, "origin_not_allowed", "the site file lists the origins of each write key")
        if found.pages_only and not origin:
            raise Refused(403, "origin_missing", "this write key is for pages only: use one of services")
        return found

    def names(self) -> dict[str, str]:
        """By key the name of its source."""
        return {key: found.name for key, found in self._keys.items()}

    def take_address(self, address: str, byte_count: int) -> None:
        """Count a call of an address. Raises Refused: 429."""
        self._take(self._addresses, counted_address(address), byte_count)

    def take_key(self, key: WriteKey, byte_count: int) -> None:
        """Count a call with a key. Raises Refused: 429."""
        self._take(self._sources, key.name, byte_count)

    def _take(self, meter: Meter | None, caller: str, byte_count: int) -> None:
        wait_ms = meter.take(caller, byte_count) if meter is not None else 0
        if wait_ms:
            raise Refused(429, "too_many_calls", "come again later", retry_after_ms=wait_ms)

    def cors(self, origin: str) -> list[tuple[bytes, bytes]]:
        """Headers that let a page of this origin read the answer; none where no key names it."""
        if not origin:
            return []
        held = self._by_origin.get(origin)
        if held is None:
            allowed = origin.isprintable() and any(is_allowed(origin, key.origins) for key in self._keys.values())
            held = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")] if allowed else []
            if len(self._by_origin) < _ORIGINS_MAX:
                self._by_origin[origin] = held
        return held

    def cors_head(self, origin: str) -> bytes:
        """As `cors`, as lines of a header."""
        held = self._head_by_origin.get(origin)
        if held is None:
            held = b"".join(b"%b: %b\r\n" % field for field in self.cors(origin))
            if len(self._head_by_origin) < _ORIGINS_MAX:
                self._head_by_origin[origin] = held
        return held

    def preflight(self, origin: str) -> list[tuple[bytes, bytes]]:
        """Headers of the answer to a page's question whether it may send. Raises Refused: 403."""
        headers = self.cors(origin)
        if not headers:
            raise Refused(403, "origin_not_allowed", "the site file lists the origins of each write key")
        return [
            *headers,
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", b"authorization, content-type, content-encoding"),
            (b"access-control-max-age", str(PREFLIGHT_S).encode()),
        ]


def counted_address(address: str) -> str:
    """By what an address is counted: of IPv6 the network of 64 bits, for whoever has one address there has all of them."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def is_allowed(origin: str, origins: tuple[str, ...]) -> bool:
    """Whether a page of this origin may send. `https://*.shop.example` allows every host below shop.example, `*` every page."""
    if origin in origins or ANY in origins:
        return True
    return any(
        "*" in pattern and origin.startswith(pattern.partition("*")[0]) and origin.endswith(pattern.partition("*")[2])
        and len(origin) >= len(pattern)
        for pattern in origins
    )  # fmt: skip


def key_of_basic(authorization: str) -> str:
    """The user of a Basic authorization, as Segment's libraries send a write key; empty when there is none."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def is_proven(key: WriteKey, known_id: str, proof: str) -> bool:
    """Whether a page may say who its visitor is: with a secret only by HMAC-SHA256(secret, id), in hex."""
    given = proof.encode("utf-8", "replace")
    return not key.known_secrets or any(
        hmac.compare_digest(hmac.digest(secret.bytes, known_id.encode(), "sha256").hex().encode(), given)
        for secret in key.known_secrets
    )


def headers_of(given: list[tuple[bytes, bytes]]) -> Mapping[bytes, str]:
    """The headers that are looked at; of several with one name the last."""
    return {name: value.decode("latin-1") for name, value in given if name in _READ}


_READ: Final = frozenset((b"content-length", b"content-encoding", b"origin", b"authorization", b"user-agent", b"referer"))


def _meter(calls_per_s: float) -> Meter | None:
    if not calls_per_s:
        return None
    return Meter(Limits(calls_per_s, max(1, int(calls_per_s * _REST_S)), _BYTES_PER_S, _BYTES_PER_S * _REST_S))
