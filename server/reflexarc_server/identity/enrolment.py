"""Enrolment: a token makes an installation known, its secret renews what it shows.

Owns the rules: who may enrol, how often, and when a secret may be replaced. Must never tell a stranger which installations exist.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from typing import Final

from reflexarc_core.errors import DefinitionError, InvalidEventError, PermissionDeniedError, UnauthenticatedError
from reflexarc_core.secret import SECRET_BYTES, derive_file_key, secret_digest
from reflexarc_server.clock import Clock
from reflexarc_server.identity.credential import Ring
from reflexarc_server.identity.gate import INSTALLATION_LENGTH_MAX, LABEL_LENGTH_MAX, key_digest
from reflexarc_server.identity.registry import Installation, Registry, Token

TOKEN_PREFIX: Final = "rxt_"
TOKEN_LIFE_MS: Final = 7 * 86_400_000
TOKEN_LIFE_MS_MAX: Final = 400 * 86_400_000
TOKEN_USES_MAX: Final = 1_000_000


class Enrolment:
    """Tokens in, installations out."""

    def __init__(self, registry: Registry, ring: Ring, clock: Clock) -> None:
        self._registry = registry
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()  # two devices must not both take a token's last use

    def create_token(self, label: str, uses_max: int, life_ms: int, installation: str) -> tuple[str, Token]:
        """A new token: its text, shown this once, and what is kept. Raises DefinitionError for bounds that are none."""
        uses_max, life_ms = uses_max or 1, life_ms or TOKEN_LIFE_MS
        if not 0 < uses_max <= TOKEN_USES_MAX or not 0 < life_ms <= TOKEN_LIFE_MS_MAX:
            raise DefinitionError(
                f"a token for {uses_max} installations and {life_ms} ms",
                hint=f"at most {TOKEN_USES_MAX:,} installations and {TOKEN_LIFE_MS_MAX // 86_400_000} days",
            )
        if len(label) > LABEL_LENGTH_MAX or (installation and not is_name(installation)):
            raise DefinitionError("a label or an installation that is too long, or holds a space")
        text = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._clock.now_ms()
        token = Token(key_digest(text).hex()[:12], key_digest(text), label, installation, uses_max, 0, now, now + life_ms, 0)
        self._registry.add_token(token)
        return text, token

    def enrol(self, token_text: str, installation: str, secret: bytes) -> tuple[str, int]:
        """A first credential, and when it is over (ms since 1970).

        Raises InvalidEventError for a name or secret that is none, UnauthenticatedError for a token that is not known,
        PermissionDeniedError for one that is over, spent or for somebody else, and for a name that another secret has.
        """
        if not is_name(installation) or len(secret) != SECRET_BYTES:
            raise InvalidEventError("no installation, or no secret", hint=f"a name without spaces, and {SECRET_BYTES} bytes")
        with self._lock:
            held = self._registry.installation(installation)
            if held is not None and not held.revoke_time and _has_secret(held, secret):
                return self._ring.issue(installation)  # the answer to the first call was lost
            token = self._usable(token_text, installation)
            if held is not None and token.installation != installation:
                raise PermissionDeniedError(
                    f"the installation {installation} is enrolled with another secret, or revoked",
                    hint=f"an operator makes a token for it: reflexarc token create --installation {installation}",
                )
            now = self._clock.now_ms()
            self._registry.enrol(
                Installation(installation, secret_digest(secret), derive_file_key(secret), token.token_id, now),
                token.token_id,
            )
        return self._ring.issue(installation)

    def renew(self, installation: str, secret: bytes) -> tuple[str, int]:
        """Another credential, and when it is over. Raises UnauthenticatedError when name and secret do not belong together
        here, PermissionDeniedError for a revoked installation that has the right secret."""
        held = self._registry.installation(installation)
        if held is None or not _has_secret(held, secret):
            raise UnauthenticatedError("no such installation, or not its secret", hint="enrol it with a token")
        if held.revoke_time:
            raise PermissionDeniedError("the installation is revoked", hint="an operator may enrol it again with a token")
        return self._ring.issue(installation)

    def _usable(self, text: str, installation: str) -> Token:
        token = self._registry.token(key_digest(text).hex()[:12])
        if token is None or not hmac.compare_digest(token.digest, key_digest(text)):
            raise UnauthenticatedError("the enrolment token is not known here", hint="ask the operator for one")
        if token.revoke_time or token.expiry_time <= self._clock.now_ms() or token.use_count >= token.uses_max:
            raise PermissionDeniedError("the enrolment token is over, spent or revoked", hint="ask the operator for a new one")
        if token.installation not in ("", installation):
            raise PermissionDeniedError("the enrolment token is for another installation", hint="ask the operator for one")
        return token


def is_name(installation: str) -> bool:
    """Whether an installation may be called that."""
    return 0 < len(installation) <= INSTALLATION_LENGTH_MAX and not any(letter.isspace() for letter in installation)


def _has_secret(held: Installation, secret: bytes) -> bool:
    return hmac.compare_digest(held.secret_digest, secret_digest(secret))
