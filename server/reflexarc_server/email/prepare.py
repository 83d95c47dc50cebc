"""A mail made ready to be sent: the same HTML and text, with a pixel and with links that lead through us.

Owns which links are rewritten and which are left alone (docs/email.md has the rules). Outside the values of rewritten links, the
pixel and the unsubscribe placeholder, what comes out is what came in, byte for byte.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from reflexarc_core.errors import InvalidEventError
from reflexarc_server.email.address import as_browsers_begin, check_target, has_foreign_host, is_web, merged
from reflexarc_server.email.html import scan
from reflexarc_server.email.token import CLICK, OPEN, UNSUBSCRIBE, Mark, Signer, check_message_id

BODY_BYTES_MAX: Final = 2 * 1024 * 1024
LINK_COUNT_MAX: Final = 500
CAMPAIGN_LENGTH_MAX: Final = 128
OFFSET_MINUTES_MAX: Final = 1_080
PLACEHOLDER: Final = re.compile(r"\{\{\s*unsubscribe_url\s*\}\}")
"""Filled with the message's own unsubscribe link, in HTML and in text."""

_UNSUBSCRIBE: Final = re.compile(r"unsubscribe|opt-?_?out", re.IGNORECASE)
_TO_FILL: Final = re.compile(r"\{\{|\}\}|\{%|%\}|<%|\*\||\$\{|\[\[")
"""Another program fills these in behind us: a signed address would keep them as they are."""
_TEXT_LINK: Final = re.compile(r"<(https?://[^\s<>]+)>|(?<![A-Za-z0-9+.@/=-])(https?://[^\s<>\"]+)", re.IGNORECASE)
_TEXT_TAIL: Final = ".,;:!?'\u2019\u201d\u00bb*_"
_CLOSING: Final = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Message:
    """The mail that is prepared.

    message_id: as `token.Mark` has it. subject: `kind:id` of whom it goes to. campaign: what reports group by, empty for none.
    made_time: ms, when it is sent as far as one knows. utm: parameters merged into each rewritten link whose query has none of
    that name, empty for no merging. links_expire_time: ms, 0 for never. purpose: the consent that unsubscribing takes back.
    offset_minutes: the reader's local time minus UTC, 0 also where nobody knows.
    """

    message_id: str
    subject: str
    campaign: str = ""
    made_time: int = 0
    utm: Mapping[str, str] = field(default_factory=dict)
    links_expire_time: int = 0
    purpose: str = "email"
    offset_minutes: int = 0


class Tracked(NamedTuple):
    """A rewritten link. position: 1 for the first of the mail, the HTML's before the text's. url: where it leads."""

    position: int
    url: str
    tracked_url: str


class Left(NamedTuple):
    """A link left alone. reason: anchor, no web address, opted out, unsubscribe, placeholder, host not ASCII, already tracked."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """html, text: ready to be sent, empty where none was given. unsubscribe_url: for the List-Unsubscribe header."""

    html: str
    text: str
    links: tuple[Tracked, ...]
    left: tuple[Left, ...]
    unsubscribe_url: str
    open_url: str


class _Place(NamedTuple):
    start: int
    end: int
    url: str


class Preparer:
    """Prepares mails of one site. base_url: where our HTTP port is reached from outside, https://host without a path's end.

    Raises InvalidEventError when a redirect could not lead to base_url itself.
    """

    def __init__(self, signer: Signer, base_url: str) -> None:
        check_target(base_url)
        self._signer = signer
        self._base_url = base_url.rstrip("/")

    def prepare(self, html: str, text: str, message: Message, *, pixel: bool = True) -> Prepared:
        """The mail with pixel and redirect links. html or text may be empty, and stays so.

        Raises InvalidEventError, naming the link and its line, for an address that nobody could follow safely; for a message that
        is none, and for a mail that is too large.
        """
        self._check(html, text, message)
        html_places, html_left, body_end = self._html_places(html)
        text_places, text_left = self._text_places(text)
        count = len(html_places) + len(text_places)
        if count > LINK_COUNT_MAX:
            raise InvalidEventError(f"a mail with {count} links", hint=f"at most {LINK_COUNT_MAX}")
        tracked: list[Tracked] = []
        for place in (*html_places, *text_places):
            tracked.append(self._tracked(len(tracked) + 1, count, place.url, message))
        unsubscribe_url, open_url = self._own_urls(message, count)
        edits = [(p.start, p.end, t.tracked_url) for p, t in zip(html_places, tracked, strict=False)]
        if pixel and html:
            edits.append((body_end, body_end, _pixel(open_url)))
        edits += [(*found.span(), unsubscribe_url) for found in PLACEHOLDER.finditer(html)]
        text_edits = [(p.start, p.end, t.tracked_url) for p, t in zip(text_places, tracked[len(html_places) :], strict=True)]
        text_edits += [(*found.span(), unsubscribe_url) for found in PLACEHOLDER.finditer(text)]
        return Prepared(
            _edited(html, edits), _edited(text, text_edits), tuple(tracked), (*html_left, *text_left), unsubscribe_url, open_url
        )

    def unsubscribe_url(self, message: Message) -> str:
        """The message's unsubscribe link."""
        return self._own_urls(message, 0)[0]

    def _own_urls(self, message: Message, link_count: int) -> tuple[str, str]:
        """(unsubscribe link, pixel). An unsubscribe link does not expire: a mail may be read years later."""
        about = Mark(message.message_id, message.subject, message.campaign, message.made_time)
        unsubscribe = Mark(message.message_id, message.subject, message.campaign, purpose=message.purpose)
        opened = dataclasses.replace(about, link_count=link_count, offset_minutes=message.offset_minutes)
        return (
            f"{self._base_url}/u/{self._signer.sign(UNSUBSCRIBE, unsubscribe)}",
            f"{self._base_url}/o/{self._signer.sign(OPEN, opened)}.gif",
        )

    def _check(self, html: str, text: str, message: Message) -> None:
        check_message_id(message.message_id)
        if not message.subject:
            raise InvalidEventError("a mail to nobody", hint="say whom it goes to, for example known:42")
        if len(message.campaign) > CAMPAIGN_LENGTH_MAX:
            raise InvalidEventError(f"a campaign of {len(message.campaign)} characters", hint=f"at most {CAMPAIGN_LENGTH_MAX}")
        if abs(message.offset_minutes) > OFFSET_MINUTES_MAX:
            raise InvalidEventError(f"{message.offset_minutes} minutes from UTC", hint=f"at most {OFFSET_MINUTES_MAX} either way")
        for part in (html, text):
            try:
                size = len(part.encode())
            except UnicodeEncodeError:
                raise InvalidEventError("a mail with half a character in it", hint="send well-formed Unicode") from None
            if size > BODY_BYTES_MAX:
                raise InvalidEventError(f"a mail of {size} bytes", hint=f"at most {BODY_BYTES_MAX} of HTML, and of text")

    def _html_places(self, html: str) -> tuple[list[_Place], list[Left], int]:
        found = scan(html)
        places, left = [], []
        for link in found.links:
            url = link.value.strip(" ")
            reason = "opted out" if link.is_off else self._why_left(url, f"line {link.line} of the HTML")
            if reason:
                left.append(Left(url, reason))
            else:
                places.append(_Place(link.start, link.end, url))
        return places, left, found.body_end

    def _text_places(self, text: str) -> tuple[list[_Place], list[Left]]:
        places, left = [], []
        for start, end in _text_links(text):
            url = text[start:end]
            reason = self._why_left(url, f"line {text.count(chr(10), 0, start) + 1} of the text")
            if reason:
                left.append(Left(url, reason))
            else:
                places.append(_Place(start, end, url))
        return places, left

    def _why_left(self, url: str, where: str) -> str:
        """Empty for a link to rewrite. Raises InvalidEventError for a web address that cannot be."""
        if url.startswith("#") or not url:
            return "anchor"
        if _TO_FILL.search(url):
            return "placeholder"
        if not is_web(as_browsers_begin(url)):
            return "no web address"
        if url.startswith(tuple(f"{self._base_url}/{room}/" for room in "ocu")):
            return "already tracked"
        if _UNSUBSCRIBE.search(url):
            return "unsubscribe"
        if has_foreign_host(url):
            return "host not ASCII"
        try:
            check_target(url)
        except InvalidEventError as error:
            raise InvalidEventError(f"{where}: {error.message}", hint=error.hint) from None
        return ""

    def _tracked(self, position: int, count: int, url: str, message: Message) -> Tracked:
        target = merged(url, message.utm) if message.utm else url
        check_target(target)
        mark = Mark(
            message.message_id, message.subject, message.campaign, message.made_time, message.links_expire_time, position,
            count, target, offset_minutes=message.offset_minutes,
        )  # fmt: skip
        return Tracked(position, target, f"{self._base_url}/c/{self._signer.sign(CLICK, mark)}")


def _pixel(open_url: str) -> str:
    return f'<img src="{open_url}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'


def _text_links(text: str) -> Iterator[tuple[int, int]]:
    """Places of web addresses in plain text. One in <angle brackets> is taken whole; else the punctuation of the sentence around
    it, and a bracket that it does not open, are no part of it."""
    for found in _TEXT_LINK.finditer(text):
        if found[1] is not None:
            yield found.span(1)
            continue
        start, end = found.span(2)
        while end > start and _is_around(text, start, end):
            end -= 1
        if end > start + len("https://"):
            yield start, end


def _is_around(text: str, start: int, end: int) -> bool:
    """Whether the last character belongs to the sentence around an address."""
    last = text[end - 1]
    if last in _CLOSING:
        return text.count(last, start, end) > text.count(_CLOSING[last], start, end)
    return last in _TEXT_TAIL


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with pieces replaced; places do not overlap, and at one place the longer piece comes last."""
    pieces: list[str] = []
    upto = 0
    for start, end, fresh in sorted(edits):
        pieces += (text[upto:start], fresh)
        upto = end
    return "".join((*pieces, text[upto:]))
