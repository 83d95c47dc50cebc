"""Who somebody is, by what they said of themselves or by a link that was sent to them: the one event that says so.

Owns that event, as whom an e-mail address is known, and which claim counts. What the event leads to, and how it is undone, is
`links`'. Pure; must never put an address into an id where the site has a secret for it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from reflexarc_core.event import IDENTIFY, Event, Value
from reflexarc_server.collect.identities import Source, link_id

PREFIX: Final = "email-"
_DIGITS: Final = 32


def known_id_of(address: str, secret: bytes) -> str:
    """The known id of an e-mail address: HMAC-SHA256 by the site's secret of its lower case, 32 hex digits after `email-`, or
    without a secret the lower case itself. Two spellings that differ in case alone are one person."""
    plain = address.strip().lower()
    return f"{PREFIX}{hmac.digest(secret, plain.encode(), 'sha256').hex()[:_DIGITS]}" if secret else plain


def joining(source: str, anonymous_id: str, known_id: str, time: int) -> Event:
    """The event that says that a browser is a known person, one for a source, a browser and a person. time: ms."""
    held: dict[str, Value] = {"known_id": known_id}
    return Event(link_id(Source(source), anonymous_id, known_id), IDENTIFY, f"anonymous:{anonymous_id}", time, held)


def identify_by(
    source: str,
    anonymous_id: str,
    time: int,
    *,
    address: str = "",
    known_id: str = "",
    secret: bytes = b"",
    proves: Callable[[str], bool] = lambda claimed: True,
) -> Event | None:
    """The event that joins a browser to a person; None where nobody is named or the claim is not proven.

    source: the write key's name, `email` for a click on a mail. time: ms. known_id: counts before the address, where it is known
    already (of a mail's signed link, of who is signed in). secret: the site's. proves: told what is claimed, the known id or else
    the address in lower case. The same browser and person give the same event, so that it is there once, and a link that an
    operator undid stays undone however often it is said again.
    """
    claimed = known_id or address.strip().lower()
    if not anonymous_id or not claimed or not proves(claimed):
        return None
    person = known_id or known_id_of(address, secret)
    return joining(source, anonymous_id, person, time)
