"""What is taken from an event because it is about a person: parameters of addresses, single fields, the end of an IP address.

Owns the list of parameters that are removed unless a site says otherwise, and what drop, hash, mask and keep mean. Must never
put a value it takes anywhere else.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_plus

from reflexarc_core.event import Value

DROP: Final = "drop"
HASH: Final = "hash"
MASK: Final = "mask"
KEEP: Final = "keep"
WAYS: Final = (DROP, HASH, MASK, KEEP)

PARAMETERS: Final = frozenset({
    "access_token", "api_key", "apikey", "auth", "authorization", "code", "confirmation_token", "credential", "credentials",
    "csrf", "csrf_token", "customer_email", "e-mail", "email", "email_address", "emailaddress", "firstname", "first_name",
    "id_token", "iban", "jwt", "key", "lastname", "last_name", "magic", "mail", "mobile", "oauth_token", "otp", "passwd",
    "password", "phone", "phone_number", "pin", "pwd", "recovery", "refresh_token", "reset", "reset_token", "secret",
    "session", "session_id", "sessionid", "sid", "sig", "signature", "ssn", "tel", "telephone", "ticket", "token",
    "user_email", "useremail", "username", "verification", "verify_token",
})  # fmt: skip
"""Query parameters that are removed from every address, whatever their case."""
_EMAIL: Final = re.compile(r"[^\s@/=&]{1,64}@[^\s@/=&]{1,253}\.[A-Za-z]{2,}")
_TOKEN: Final = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_HASH_LENGTH: Final = 32


def cleaned(address: str, names: frozenset[str] = PARAMETERS) -> str:
    """An address without what tells of a person: user and password, parameters of these names or that look like an e-mail
    address or a signed token, such ones in its path. The rest is as it came, character for character."""
    if "?" not in address and "@" not in address and "#" not in address and "eyJ" not in address and "%40" not in address:
        return address
    head, fragment_mark, fragment = address.partition("#")
    path, query_mark, query = head.partition("?")
    scheme, separator, rest = path.partition("://")
    if separator:
        authority, slash, tail = rest.partition("/")
        path = scheme + separator + authority.rpartition("@")[2] + slash + tail
    if _is_telling(path):
        path = "/".join("-" if _is_telling(part) else part for part in path.split("/"))
    kept = "&".join(part for part in query.split("&") if part and not _is_personal(part, names))
    fragment = "&".join(part for part in fragment.split("&") if not _is_personal(part, names))
    return path + (f"{query_mark}{kept}" if kept else "") + (f"{fragment_mark}{fragment}" if fragment else "")


def _is_personal(part: str, names: frozenset[str]) -> bool:
    name, _, value = part.partition("=")
    return unquote_plus(name).strip().lower().lstrip("?/!") in names or _is_telling(value) or _is_telling(name)


def _is_telling(text: str) -> bool:
    if "%" in text:
        text = unquote_plus(unquote_plus(text))  # twice: an address within an address
    return ("@" in text and _EMAIL.search(text) is not None) or ("eyJ" in text and _TOKEN.search(text) is not None)


@lru_cache(maxsize=8_192)
def truncated(address: str) -> str:
    """An IP address with its last 8 bits (IPv4: /24) or 80 bits (IPv6: /48) zero; empty for what is none."""
    try:
        read = ipaddress.ip_address(address.strip().partition("%")[0])
    except ValueError:
        return ""
    if isinstance(read, ipaddress.IPv6Address) and read.ipv4_mapped is not None:
        read = read.ipv4_mapped
    network = ipaddress.ip_network((read, 24 if read.version == 4 else 48), strict=False)
    return str(network.network_address)


def treated(value: Value, way: str, secret: bytes) -> Value | None:
    """A field's value after one of WAYS; None when nothing is left. hash: HMAC-SHA256 by the site's secret, 32 hex digits, of the
    text without outer space and in lower case, so that the same address is the same hash. mask: its first character."""
    if way == KEEP:
        return value
    if way == DROP:
        return None
    if isinstance(value, list):
        return [held for item in value if isinstance(held := treated(item, way, secret), str)]
    text = str(value).strip()
    if way == HASH:
        return hmac.digest(secret, text.lower().encode("utf-8", "replace"), "sha256").hex()[:_HASH_LENGTH]
    return f"{text[:1]}***"


def swept(value: Any, fields: Mapping[str, str], secret: bytes, names: frozenset[str], ip: str) -> Any:
    """What a sender said beyond the declared properties, treated alike wherever a field of such a name stands in it.
    ip: `truncate` or `drop`, of fields called `ip`."""
    if isinstance(value, dict):
        found = {}
        for name, held in value.items():
            way = fields.get(name)
            if way is not None and isinstance(held, str | int | float | list):
                held = treated(held, way, secret) if not isinstance(held, list) or _is_flat(held) else None
            elif name == "ip":
                held = truncated(held) if ip == "truncate" and isinstance(held, str) else None
            else:
                held = swept(held, fields, secret, names, ip)
            if held is not None:
                found[name] = held
        return found
    if isinstance(value, list):
        return [swept(item, fields, secret, names, ip) for item in value]
    if isinstance(value, str) and ("://" in value[:12] or value.startswith(("?", "/"))):
        return cleaned(value, names)
    return value


def _is_flat(values: list[Any]) -> bool:
    return all(isinstance(item, str | int | float) for item in values)
