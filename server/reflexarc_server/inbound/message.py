"""An inbound message (RFC 5322, MIME) as values: who, to whom, about what, the text, and what a report in it says.

Owns the reading of what a stranger wrote: whatever the bytes are, there is a `Mail`, and size, depth and parts are bounded. The
parser is the standard library's; headers are read by their raw text, because its structured ones raise on broken mail. Must never
believe a header, fetch anything, or look into attachments.
"""

from __future__ import annotations

import codecs
import email
import email.policy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

from reflexarc_server.inbound.html_text import HTML_LENGTH_MAX, text_of_html

MAIL_BYTES_MAX: Final = 25 * 1024 * 1024
LINE_COUNT_MAX: Final = 500_000
PART_COUNT_MAX: Final = 200
DEPTH_MAX: Final = 20
TEXT_LENGTH_MAX: Final = 200_000
"""Characters of a mail's text; what is longer is cut at its end."""
HEADER_COUNT_MAX: Final = 1_000
HEADER_LENGTH_MAX: Final = 16_384
ADDRESS_COUNT_MAX: Final = 200
ID_COUNT_MAX: Final = 200

_NO_CHARSETS: Final = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"})
"""Codecs of the language that no mail is written in; the first takes minutes for a long text."""
_NESTING: Final = re.compile(rb"boundary|message/", re.IGNORECASE)
_NESTING_MAX: Final = 400
"""A mail that says more often than this that something is inside it is read as one flat text."""
_ID: Final = re.compile(r"<([^<>\s]{1,400})>")
_ADDRESS: Final = re.compile(r"[^\s<>@\"(),;:]{1,64}@[^\s<>@\"(),;:]{1,253}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_BLANKS: Final = re.compile(r"\s+")
_RECIPIENTS: Final = (
    "to",
    "cc",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "x-envelope-to",
    "x-forwarded-to",
    "apparently-to",
)
_REPORTS: Final = ("message/delivery-status", "message/feedback-report", "message/disposition-notification")
_ORIGINALS: Final = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/rfc822-headers",
)


@dataclass(frozen=True, slots=True)
class Report:
    """A machine's report about a mail. content_type: of its machine-readable part. fields: its blocks, names in lower case.

    message_ids: of the mail it is about, as far as it is attached.
    """

    content_type: str
    fields: tuple[Mapping[str, str], ...] = ()
    message_ids: tuple[str, ...] = ()

    def first(self, name: str) -> str:
        """The first value of a field over all blocks, empty when there is none."""
        return next((block[name] for block in self.fields if name in block), "")


@dataclass(frozen=True, slots=True)
class Mail:
    """sender, recipients: addresses in lower case, empty for none. message_id, in_reply_to, references: without angle brackets.

    title: the Subject header. date: ms, 0 when it says none. text: of the mail's body with \\n as line end, HTML made into text.
    is_html: it had no plain text. headers: the first of each name, in lower case, decoded.
    """

    sender: str = ""
    recipients: tuple[str, ...] = ()
    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    title: str = ""
    date: int = 0
    text: str = ""
    is_html: bool = False
    attachment_count: int = 0
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    report: Report | None = None

    def header(self, name: str) -> str:
        """A header's first value, empty when there is none."""
        return self.headers.get(name.lower(), "")


def read_mail(content: bytes) -> Mail:
    """The mail in these bytes; bytes behind MAIL_BYTES_MAX and lines behind LINE_COUNT_MAX are not read. Raises nothing."""
    message = _parsed(content)
    headers = _headers(message)
    found = _Bodies()
    try:
        found.take(message)
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):  # the parser's own, on parts that are none
        found.is_broken = True
    if found.is_broken and not found.plain and not found.html:
        found.plain.append(_decoded(content.partition(b"\n\n")[2][:TEXT_LENGTH_MAX], "utf-8"))
    plain = "\n".join(found.plain)
    is_html = not plain.strip() and bool(found.html)
    text = "\n".join(map(text_of_html, _up_to(HTML_LENGTH_MAX, found.html))) if is_html else plain
    return Mail(
        next(iter(_addresses(headers.get("from", "") or headers.get("sender", ""))), ""),
        _recipients(message),
        next(iter(_ids(headers.get("message-id", ""))), ""),
        _ids(headers.get("in-reply-to", "")),
        _ids(headers.get("references", "")),
        headers.get("subject", ""),
        _date_ms(headers.get("date", "")),
        _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))[:TEXT_LENGTH_MAX],
        is_html,
        found.attachment_count,
        _content_type(message),
        MappingProxyType(headers),
        found.report(),
    )


class _Bodies:
    """Collects what the parts of a mail hold."""

    def __init__(self) -> None:
        self.plain: list[str] = []
        self.html: list[str] = []
        self.attachment_count = 0
        self.is_broken = False
        self._part_count = 0
        self._report_type = ""
        self._blocks: list[Mapping[str, str]] = []
        self._original_ids: list[str] = []

    def take(self, part: Message, depth: int = 0) -> None:
        self._part_count += 1
        if self._part_count > PART_COUNT_MAX or depth > DEPTH_MAX:
            return
        kind = _content_type(part)
        payload: Any = part.get_payload()
        if kind in _REPORTS:
            self._take_report(kind, part, payload)
        elif kind in _ORIGINALS or kind.startswith("message/"):
            self._take_original(part, payload)
        elif isinstance(payload, list):
            self._take_many(kind, payload, depth)
        elif kind in ("text/plain", "text/html") and not _is_attached(part):
            text = _text(part)
            (self.html if kind == "text/html" else self.plain).append(text)
        elif depth == 0 and not _is_attached(part) and kind.startswith(("multipart/", "text/")):
            self.plain.append(_text(part))  # a multipart without its parts, or a kind of text that is read as it stands
        else:
            self.attachment_count += 1

    def report(self) -> Report | None:
        if not self._report_type:
            return None
        return Report(self._report_type, tuple(self._blocks), tuple(self._original_ids[:ID_COUNT_MAX]))

    def _take_many(self, kind: str, parts: list[Message], depth: int) -> None:
        if kind != "multipart/alternative":
            for part in parts:
                self.take(part, depth + 1)
            return
        before = len(self.plain), len(self.html)
        for part in parts:
            self.take(part, depth + 1)
        if any(text.strip() for text in self.plain[before[0] :]):
            del self.html[before[1] :]  # the same said twice

    def _take_report(self, kind: str, part: Message, payload: Any) -> None:
        self._report_type = self._report_type or kind
        blocks = payload if isinstance(payload, list) else [_header_lines(_bytes(part))]
        self._blocks += [MappingProxyType(_headers(block)) for block in blocks[:PART_COUNT_MAX] if isinstance(block, Message)]
        for block in blocks[:PART_COUNT_MAX]:  # a feedback report behind a blank line, as some write it
            inner = block.get_payload() if isinstance(block, Message) else ""
            if isinstance(inner, str) and ":" in inner[:200]:
                self._blocks.append(MappingProxyType(_headers(_header_lines(inner.lstrip().encode("utf-8", "replace")))))

    def _take_original(self, part: Message, payload: Any) -> None:
        self.attachment_count += 1
        original = payload[0] if isinstance(payload, list) and payload else _header_lines(_bytes(part))
        if isinstance(original, Message):
            self._original_ids += _ids(_headers(original).get("message-id", ""))


def _up_to(length: int, texts: list[str]) -> Iterator[str]:
    """The texts, as far as so many characters reach."""
    for text in texts:
        yield text[:length]
        length -= len(text)
        if length <= 0:
            return


def _parsed(content: bytes) -> Message:
    content = content[:MAIL_BYTES_MAX]
    if content.count(b"\n") > LINE_COUNT_MAX:
        content = b"\n".join(content.split(b"\n", LINE_COUNT_MAX)[:LINE_COUNT_MAX])
    if content.startswith(b"From "):  # of a mailbox file
        content = content.partition(b"\n")[2]
    if len(_NESTING.findall(content)) > _NESTING_MAX:
        return _header_lines(content)
    try:
        return email.message_from_bytes(content, policy=email.policy.compat32)
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        return _header_lines(content)


def _header_lines(content: bytes) -> Message:
    return BytesHeaderParser(policy=email.policy.compat32).parsebytes(content)


def _headers(message: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _raw(message):
        if name not in found:
            found[name] = _unfolded(value)
    return found


def _raw(message: Message) -> Iterator[tuple[str, str]]:
    for place, (name, value) in enumerate(message.raw_items()):
        if place >= HEADER_COUNT_MAX:
            return
        yield str(name).lower(), str(value)[:HEADER_LENGTH_MAX]


def _unfolded(value: str) -> str:
    """A header's text: encoded words (RFC 2047) decoded, bytes that are no UTF-8 replaced, on one line."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if "=?" in text:
        try:
            pairs = decode_header(text)
            text = "".join(each if isinstance(each, str) else _decoded(each, charset or "latin-1") for each, charset in pairs)
        except (ValueError, LookupError, TypeError, email.errors.MessageError):
            pass
    return _CONTROL.sub("", _BLANKS.sub(" ", text)).strip()


def _addresses(text: str) -> tuple[str, ...]:
    try:
        found = [address for _, address in getaddresses([text]) if _ADDRESS.fullmatch(address)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        found = []
    found = found or _ADDRESS.findall(text)
    return tuple(address.lower() for address in found[:ADDRESS_COUNT_MAX])


def _recipients(message: Message) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name, value in _raw(message):
        if name in _RECIPIENTS and len(found) < ADDRESS_COUNT_MAX:
            found |= dict.fromkeys(_addresses(_unfolded(value)))
    return tuple(found)


def _ids(text: str) -> tuple[str, ...]:
    return tuple(_ID.findall(text)[-ID_COUNT_MAX:])


def _date_ms(text: str) -> int:
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() * 1_000)) if text else 0
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return 0


def _content_type(part: Message) -> str:
    try:
        return part.get_content_type()
    except (ValueError, LookupError, TypeError, AttributeError):
        return "application/octet-stream"


def _is_attached(part: Message) -> bool:
    return str(part.get("content-disposition", "")).strip().lower().startswith("attachment")


def _bytes(part: Message) -> bytes:
    try:
        found = part.get_payload(decode=True)
    except (ValueError, LookupError, TypeError, AttributeError):
        found = None
    return found if isinstance(found, bytes) else b""


def _text(part: Message) -> str:
    try:
        charset = part.get_content_charset() or "utf-8"
    except (ValueError, LookupError, TypeError, AttributeError):
        charset = "utf-8"
    return _decoded(_bytes(part)[: 4 * TEXT_LENGTH_MAX], charset)


def _decoded(content: bytes, charset: str) -> str:
    """Text whatever its charset is called; where that is wrong, UTF-8, then Windows' Latin letters."""
    for name in (charset, "utf-8"):
        try:
            if codecs.lookup(name).name in _NO_CHARSETS:
                continue
            return content.decode(name)
        except (LookupError, ValueError, TypeError):  # an unknown name, a name with a zero in it, other bytes
            continue
    return content.decode("cp1252", "replace")


__all__ = ["MAIL_BYTES_MAX", "Mail", "Report", "read_mail"]
