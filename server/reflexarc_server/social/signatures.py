"""Who sent a webhook, and that it is no copy: signatures, handshakes, age.

Owns what is compared and how: always the whole digest in constant time, against every secret of a rotation. A handshake signs
what the caller chose, with the key that signs bodies; so it answers only to a token that could never be a body. Must never
read a payload or keep anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

from reflexarc_core.errors import PermissionDeniedError, UnauthenticatedError
from reflexarc_server.social.post import FACEBOOK, LINKEDIN, TWITTER

HEADERS: Final = {TWITTER: "x-twitter-webhooks-signature", FACEBOOK: "x-hub-signature-256", LINKEDIN: "x-li-signature"}
LINKEDIN_PREFIX: Final = b"hmacsha256="
TOKEN: Final = re.compile(r"[A-Za-z0-9_+/=-]{1,256}")
"""What a handshake may ask to be signed: no brace and no quote, so that an answer is never the signature of a payload."""
CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""LinkedIn's is a UUID. Without `=` no answer is a signature of `hmacsha256=` and a body."""


def is_signed(platform: str, secrets: Sequence[bytes], body: bytes, header: str) -> bool:
    """Whether a body carries the signature of one of the secrets. Every one is tried, whichever fits."""
    given = _digest_in(platform, header)
    fits = False
    for secret in secrets:
        for message in _signed_forms(platform, body):
            fits |= hmac.compare_digest(hmac.digest(secret, message, "sha256"), given)
    return fits


def check_signature(platform: str, secrets: Sequence[bytes], body: bytes, header: str) -> None:
    """Raises UnauthenticatedError when it is missing or wrong."""
    if not header:
        raise UnauthenticatedError(f"no {HEADERS[platform]}", hint="the platform signs every delivery")
    if not is_signed(platform, secrets, body, header):
        raise UnauthenticatedError("the signature fits none of the secrets", hint=f"look at social.{platform}.secrets")


def signature(platform: str, secret: bytes, body: bytes) -> str:
    """The header's value as the platform makes it. For tests, and to try a receiver out."""
    if platform == TWITTER:
        return "sha256=" + base64.b64encode(hmac.digest(secret, body, "sha256")).decode()
    message = LINKEDIN_PREFIX + body if platform == LINKEDIN else escaped(body)
    made = hmac.digest(secret, message, "sha256").hex()
    return made if platform == LINKEDIN else f"sha256={made}"


def handshake(platform: str, secrets: Sequence[bytes], verify_token: bytes, query: Mapping[str, str]) -> tuple[str, object]:
    """(media type, answer) to the platform's question whether we are who we say.

    The first secret answers: it is the one the platform holds. Raises PermissionDeniedError for a question that is none, or whose
    word is not ours.
    """
    if platform == TWITTER and TOKEN.fullmatch(token := query.get("crc_token", "")):
        made = base64.b64encode(hmac.digest(secrets[0], token.encode(), "sha256")).decode()
        return "application/json", {"response_token": f"sha256={made}"}
    if platform == FACEBOOK and query.get("hub.mode") == "subscribe" and TOKEN.fullmatch(word := query.get("hub.challenge", "")):
        told = query.get("hub.verify_token", "").encode("utf-8", "replace")
        if verify_token and hmac.compare_digest(hashlib.sha256(told).digest(), hashlib.sha256(verify_token).digest()):
            return "text/plain", word
    if platform == LINKEDIN and CHALLENGE.fullmatch(code := query.get("challengeCode", "")):
        made = hmac.digest(secrets[0], code.encode(), "sha256").hex()
        return "application/json", {"challengeCode": code, "challengeResponse": made}
    raise PermissionDeniedError("this is no question the platform asks", hint="see docs/social.md for the handshakes")


def check_age(sent_time: int, now: int, age_max_ms: int, ahead_max_ms: int = 3_600_000) -> None:
    """Raises PermissionDeniedError for a delivery that is too old, or from the future. sent_time: ms, 0 for not told."""
    if sent_time and not now - age_max_ms <= sent_time <= now + ahead_max_ms:
        raise PermissionDeniedError(
            "the delivery is too old, or from the future",
            hint="copies are refused; see age_max in docs/social.md",
        )


def escaped(body: bytes) -> bytes:
    r"""The form of a body that Facebook signs: what is not ASCII as \u escapes in lower case; as it is when it is no UTF-8."""
    if body.isascii():
        return body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    units = text.encode("utf-16-be", "surrogatepass")
    pairs = (units[place : place + 2] for place in range(0, len(units), 2))
    return b"".join(pair[1:] if pair < b"\x00\x80" else b"\\u" + pair.hex().encode() for pair in pairs)


def _signed_forms(platform: str, body: bytes) -> tuple[bytes, ...]:
    if platform == LINKEDIN:
        return (LINKEDIN_PREFIX + body,)
    # Facebook sends the escaped form, so that both are one; whoever decoded and encoded it on the way made two of them.
    return (body, escaped(body)) if platform == FACEBOOK else (body,)


def _digest_in(platform: str, header: str) -> bytes:
    """The digest a header holds; empty, which fits nothing, for a header that holds none."""
    scheme, has_scheme, value = header.strip().partition("=")
    try:
        if platform == LINKEDIN:
            return bytes.fromhex(value if has_scheme and scheme.lower() == "hmacsha256" else header.strip())
        if scheme != "sha256":
            return b""
        return base64.b64decode(value, validate=True) if platform == TWITTER else bytes.fromhex(value)
    except (ValueError, binascii.Error):
        return b""
