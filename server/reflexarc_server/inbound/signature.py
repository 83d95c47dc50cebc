"""Who handed in a mail: the two signatures that are understood.

Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64 ...`), or one header of our own,
`x-reflexarc-signature: t=SECONDS,v1=HEX`, HMAC-SHA256 over `SECONDS.BODY`. Both carry their time: what is older than TOLERANCE_S,
or from the future, is refused as a wrong signature is. A copy within that time is the same mail, and so a duplicate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

from reflexarc_core.errors import UnauthenticatedError
from reflexarc_server.channels.webhook import secret_bytes

TOLERANCE_S: Final = 300
HEADER: Final = "x-reflexarc-signature"
_OWN: Final = re.compile(r"t=(\d{1,12}),v1=([0-9a-fA-F]{64})")
_SECONDS: Final = re.compile(r"\d{1,12}")
_SIGNATURES_MAX: Final = 16


def check(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: int) -> None:
    """Raises UnauthenticatedError for a missing or wrong signature, and for one whose time is over. now: ms."""
    own = _OWN.fullmatch(headers.get(HEADER, ""))
    if own is not None:
        time_s = int(own[1])
        content, given = f"{own[1]}.".encode() + body, [bytes.fromhex(own[2])]
    else:
        message_id, seconds = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        given = _standard(headers.get("webhook-signature", ""))
        if not message_id or not _SECONDS.fullmatch(seconds) or not given:
            raise UnauthenticatedError("no signature", hint=f"send {HEADER}, or the headers of Standard Webhooks")
        time_s = int(seconds)
        content = f"{message_id}.{seconds}.".encode("utf-8", "replace") + body
    fits = False
    for secret in secrets:
        made = hmac.new(secret_bytes(secret), content, hashlib.sha256).digest()
        for one in given:
            fits |= hmac.compare_digest(made, one)
    if not fits:
        raise UnauthenticatedError("the signature fits none of the secrets", hint="look at replies: secrets")
    if abs(now // 1_000 - time_s) > TOLERANCE_S:
        raise UnauthenticatedError("a copy, or a clock that is wrong", hint=f"sign anew; at most {TOLERANCE_S} s apart")


def signed(secret: str, time_s: int, body: bytes) -> str:
    """The value of our own header, as a mail server's script makes it."""
    made = hmac.new(secret_bytes(secret), f"{time_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={time_s},v1={made}"


def _standard(header: str) -> list[bytes]:
    found = []
    for each in header.split()[:_SIGNATURES_MAX]:
        version, _, text = each.partition(",")
        try:
            if version == "v1":
                found.append(base64.b64decode(text, validate=True))
        except ValueError:
            continue
    return found


__all__ = ["HEADER", "TOLERANCE_S", "check", "signed"]
