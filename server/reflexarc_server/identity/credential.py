"""Credentials: what an enrolled installation shows with every call, for a day.

Owns their form and the ring of keys that signs them. A credential is checked without a look at the disk: it carries the
installation and its times, and an HMAC-SHA256 of both. Only servers sign and only servers verify, so no public key is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from typing import Final

from reflexarc_core.errors import UnauthenticatedError
from reflexarc_server.clock import Clock
from reflexarc_server.identity.registry import Registry, RingKey

LIFE_MS: Final = 86_400_000
CREDENTIAL_LENGTH_MAX: Final = 512
PREFIX: Final = "rxc_"
_MAC_BYTES: Final = 32


class Ring:
    """Signs with its newest key, verifies with every key whose time is not over. life_ms: of a credential."""

    def __init__(self, registry: Registry, clock: Clock, life_ms: int = LIFE_MS) -> None:
        self._registry = registry
        self._clock = clock
        self._lock = threading.Lock()
        self.life_ms: Final = life_ms
        self._keys: dict[str, RingKey] = {}
        self._load()
        if not any(key.retire_time == 0 for key in self._keys.values()):
            self.turn()

    def issue(self, installation: str) -> tuple[str, int]:
        """A credential of the installation, and when it is over (ms since 1970)."""
        now = self._clock.now_ms()
        expiry_time = now + self.life_ms
        key = max((key for key in self._keys.values() if key.retire_time == 0), key=lambda key: key.create_time)
        content = f"{key.ring_id} {now} {expiry_time} {installation}".encode()
        return _text(content + _mac(key, content)), expiry_time

    def verify(self, credential: str) -> tuple[str, int]:
        """(installation, when it was issued). Raises UnauthenticatedError when it is none of ours, or over."""
        now = self._clock.now_ms()
        content, mac = _parts(credential)
        ring_id, issue_time, expiry_time, installation = _fields(content)
        key = self._keys.get(ring_id)
        if key is None or 0 < key.retire_time <= now or not hmac.compare_digest(mac, _mac(key, content)):
            raise UnauthenticatedError("the credential is not signed by this server", hint="renew it")
        if int(expiry_time) <= now:
            raise UnauthenticatedError("the credential is over", hint="renew it")
        return installation, int(issue_time)

    def turn(self, *, at_once: bool = False) -> str:
        """Let a new key sign, and give its id. What was signed before holds until it is over anyway, or not one call longer."""
        with self._lock:
            now = self._clock.now_ms()
            # Never two keys of one age: the newest signs.
            create_time = max([now, *(key.create_time + 1 for key in self._keys.values())])
            new = RingKey(secrets.token_hex(4), secrets.token_bytes(32), create_time, 0)
            self._registry.turn_ring(new, now if at_once else now + self.life_ms, now)
            self._load()
            return new.ring_id

    def _load(self) -> None:
        self._keys = {key.ring_id: key for key in self._registry.ring()}


def _mac(key: RingKey, content: bytes) -> bytes:
    return hmac.new(key.secret, content, hashlib.sha256).digest()


def _text(whole: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _parts(credential: str) -> tuple[bytes, bytes]:
    text = credential.removeprefix(PREFIX)
    try:
        if len(credential) > CREDENTIAL_LENGTH_MAX or text == credential:
            raise ValueError
        whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if _text(whole) != credential:  # a last letter may hold bits that mean nothing: one credential, one text
            raise ValueError
    except ValueError:
        raise UnauthenticatedError("that is no credential", hint="renew it") from None
    return whole[:-_MAC_BYTES], whole[-_MAC_BYTES:]


def _fields(content: bytes) -> list[str]:
    try:
        fields = content.decode().split(" ", 3)
        if len(fields) != 4 or not (fields[1].isascii() and fields[1].isdigit() and fields[2].isascii() and fields[2].isdigit()):
            raise ValueError
    except ValueError:
        raise UnauthenticatedError("that is no credential", hint="renew it") from None
    return fields
