"""What an HTTP answer of a foreign system means for a message: there, later, or never.

Owns the one table; webhooks and CRM adapters all ask it. Must never repeat an answer's body: it may say things about people.
"""

from __future__ import annotations

import email.utils
import time
from typing import Final

from reflexarc_server.channels.channel import Refused, Unreachable

LATER: Final = frozenset({401, 403, 408, 409, 421, 423, 425, 429})
"""Beside every 5xx. Credentials (401, 403) are the operator's to mend, and nothing is lost meanwhile; 409 is two writers at
once."""


def judge(name: str, status: int, retry_after: str | None = None, word: str = "") -> None:
    """Return when the other side has it (2xx). word: its machine-readable error code, shown to operators.

    Raises Unreachable (LATER and 5xx, with what `Retry-After` says), Refused (anything else, redirects too).
    """
    if 200 <= status < 300:
        return
    said = f"{name} answered {status}" + (f" {word}" if word else "")
    if status in LATER or status >= 500:
        raise Unreachable(said, retry_after_ms=retry_after_ms(retry_after))
    if 300 <= status < 400:
        raise Refused(f"{said}: redirects are not followed", hint="write the new address into the site file")
    raise Refused(said)


def retry_after_ms(text: str | None) -> int | None:
    """The pause that a `Retry-After` header asks for, ms: seconds or a date; None when it says nothing."""
    if not text:
        return None
    if text.strip().isdigit():
        return int(text.strip()) * 1_000
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0, int((when.timestamp() - time.time()) * 1_000))
