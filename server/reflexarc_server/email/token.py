"""Signed tokens: what a pixel, a link, an unsubscribe link, a message id and a click id say of the mail they stand for.

Owns their form and the keys that sign them. A token carries all that its reader needs, so nothing is looked up, and it is
believed only as a whole: one kind, one text, an HMAC-SHA256 over every byte. Must never be written into a log line: whoever holds
one may act for its subject.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.event import subject_parts

OPEN: Final = "open"
CLICK: Final = "click"
UNSUBSCRIBE: Final = "unsubscribe"
REPLY: Final = "reply"
CLICK_ID: Final = "click_id"
RECIPIENT: Final = "recipient"
"""The property of `email_sent` that says to whom, as a keyed digest."""

_KINDS: Final = {OPEN: b"o", CLICK: b"c", UNSUBSCRIBE: b"u", REPLY: b"r", CLICK_ID: b"k"}
TOKEN_LENGTH_MAX: Final = 8_192
"""Characters; longer ones are not looked at."""
MESSAGE_ID_LENGTH_MAX: Final = 64
KEY_LENGTH_MIN: Final = 32
KEYS_MAX: Final = 8
_MAC_BYTES: Final = {REPLY: 10}
"""A reply token stands in the local part of an address, which has 64 characters; 80 bits cannot be tried out by mail."""
_MAC_BYTES_USUAL: Final = 16
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+")
_BASE32: Final = re.compile(r"[A-Za-z2-7]+")
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_CONTEXT: Final = b"reflexarc email token 1"


class ExpiredTokenError(InvalidEventError):
    """The token is ours, and its time is over."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a token says.

    message_id: of the mail, 1 to 64 letters, digits, dots, dashes. subject: `kind:id` of whom it went to; empty in a short reply
    token, whose reader finds it by the message. campaign: empty for none. made_time, expire_time: ms, whole seconds; 0 for
    unknown and for never. position: 1 for the first link of the mail, 0 for no link. link_count: tracked links of the mail.
    url: where a click leads. purpose: the consent that an unsubscribe takes back. offset_minutes: the reader's local time minus
    UTC when the mail was made, 0 also where nobody knew.
    """

    message_id: str
    subject: str = ""
    campaign: str = ""
    made_time: int = 0
    expire_time: int = 0
    position: int = 0
    link_count: int = 0
    url: str = ""
    purpose: str = ""
    offset_minutes: int = 0


class Signer:
    """Makes and reads tokens. keys: the first one signs, all of them verify, each at least KEY_LENGTH_MIN bytes.

    Raises DefinitionError without a key, for a short one and for too many.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not 0 < len(keys) <= KEYS_MAX:
            raise DefinitionError(f"{len(keys)} signing keys for mail", hint=f"1 to {KEYS_MAX}: the first signs, all verify")
        if any(len(key) < KEY_LENGTH_MIN for key in keys):
            raise DefinitionError("a signing key that is too short", hint=f"{KEY_LENGTH_MIN} random bytes or more")
        self._keys = [hmac.new(key, _CONTEXT, hashlib.sha256).digest() for key in keys]

    def sign(self, kind: str, mark: Mark) -> str:
        """The token: URL-safe text, for REPLY lower-case letters and digits. Raises InvalidEventError for a mark that is none."""
        check_message_id(mark.message_id)
        if mark.subject:
            subject_parts(mark.subject)
        body = _KINDS[kind] + _packed(mark)
        text = _text(kind, body + self._mac(self._keys[0], kind, body))
        if len(text) > TOKEN_LENGTH_MAX:
            raise InvalidEventError(f"a token of {len(text)} characters", hint="a shorter address, campaign or subject")
        return text

    def read(self, kind: str, token: str, now: int) -> Mark:
        """What a token of this kind says at `now` (ms).

        Raises InvalidEventError when it is none of ours, altered, or of another kind; ExpiredTokenError when it is over.
        """
        whole = _bytes(kind, token)
        size = _MAC_BYTES.get(kind, _MAC_BYTES_USUAL)
        body, mac = whole[:-size], whole[-size:]
        if body[:1] != _KINDS[kind] or not any(hmac.compare_digest(mac, self._mac(key, kind, body)) for key in self._keys):
            raise _none_of_ours()
        mark = _unpacked(body[1:])
        if 0 < mark.expire_time <= now:
            raise ExpiredTokenError("the token is over", hint="mail was made with links that end")
        return mark

    def recipient_digest(self, address: str) -> str:
        """What the log keeps of an address that a mail went to: nobody without a key can tell whose it is, or try addresses."""
        return _recipient_digest(self._keys[0], address)

    def is_recipient(self, digest: str, address: str) -> bool:
        """Whether a mail with this digest went to the address, by any of the keys."""
        given = digest.encode()
        return any(hmac.compare_digest(given, _recipient_digest(key, address).encode()) for key in self._keys)

    def _mac(self, key: bytes, kind: str, body: bytes) -> bytes:
        return hmac.new(key, body, hashlib.sha256).digest()[: _MAC_BYTES.get(kind, _MAC_BYTES_USUAL)]


def _recipient_digest(key: bytes, address: str) -> str:
    return hmac.new(key, b"recipient " + address.lower().encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]


def check_message_id(message_id: str) -> None:
    """Raises InvalidEventError when it could not stand in a token and in an event's id."""
    if not _MESSAGE_ID.fullmatch(message_id):
        raise InvalidEventError(
            "a message id that is none", hint=f"1 to {MESSAGE_ID_LENGTH_MAX} letters, digits, dots, dashes, none of them first"
        )


def message_id_of(key: str) -> str:
    """The message id that a key of the outbox always gives: a message sent again is the same message."""
    return hashlib.sha256(b"reflexarc message " + key.encode()).hexdigest()[:32]


def event_id_prefix(message_id: str) -> str:
    """How the ids of all events about a mail begin: one look into the log finds them. `~` is in no message id."""
    return f"email~{message_id}~"


def sent_event_id(message_id: str) -> str:
    """The id of the one `email_sent` event of a mail; its subject is whom the mail went to."""
    return event_id_prefix(message_id) + "sent"


def _packed(mark: Mark) -> bytes:
    message_id = bytes.fromhex(mark.message_id) if _HEX.fullmatch(mark.message_id) else mark.message_id
    fields: list[Any] = [
        message_id, mark.subject, mark.campaign, mark.made_time // 1_000, mark.expire_time // 1_000, mark.position,
        mark.link_count, mark.url, mark.purpose, mark.offset_minutes,
    ]  # fmt: skip
    while len(fields) > 1 and not fields[-1]:
        fields.pop()
    return msgspec.msgpack.encode(fields)


def _unpacked(body: bytes) -> Mark:
    """Only of bytes that we signed; still, a key may have come into other hands."""
    try:
        fields = msgspec.msgpack.decode(body)
        head = fields[0].hex() if isinstance(fields[0], bytes) else fields[0]
        more = [*fields[1:], *("", "", 0, 0, 0, 0, "", "", 0)[len(fields) - 1 :]]
        subject, campaign, made, expire, position, link_count, url, purpose, offset = more
        mark = Mark(head, subject, campaign, made * 1_000, expire * 1_000, position, link_count, url, purpose, offset)
        texts = (mark.message_id, mark.subject, mark.campaign, mark.url, mark.purpose)
        numbers = (mark.made_time, mark.expire_time, mark.position, mark.link_count, mark.offset_minutes)
        if not (all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)):
            raise ValueError
        check_message_id(mark.message_id)
        if mark.subject:
            subject_parts(mark.subject)
    except (msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError):
        raise _none_of_ours() from None
    return mark


def _text(kind: str, whole: bytes) -> str:
    if kind == REPLY:
        return base64.b32encode(whole).decode().rstrip("=").lower()
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _bytes(kind: str, token: str) -> bytes:
    """Raises InvalidEventError unless the text is the one that `_text` gives; the case of a reply token does not count."""
    form = _BASE32 if kind == REPLY else _BASE64
    try:
        if len(token) > TOKEN_LENGTH_MAX or not form.fullmatch(token):
            raise ValueError
        if kind == REPLY:
            token = token.lower()
            whole = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
        else:
            whole = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if _text(kind, whole) != token:  # a last letter may hold bits that mean nothing: one token, one text
            raise ValueError
    except ValueError:
        raise _none_of_ours() from None
    return whole


def _none_of_ours() -> InvalidEventError:
    return InvalidEventError("that is no token of ours", hint="take the link as it stands in the mail")


__all__ = [
    "CLICK", "CLICK_ID", "OPEN", "RECIPIENT", "REPLY", "UNSUBSCRIBE", "ExpiredTokenError", "Mark", "Signer", "check_message_id",
    "event_id_prefix", "message_id_of", "sent_event_id",
]  # fmt: skip
