"""The reply alone: what a person wrote, without the mail it answers, headers in the text and what devices add below.

Owns the reading of a text line by line; the words are `phrases`'. Text is only ever left out, never changed. Where nothing
would be left, everything is: a message that only quotes is what its sender wished to send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from reflexarc_server.inbound import phrases

TEXT_CHARACTERS_MAX: Final = 200_000
LINES_MAX: Final = 5_000
_ATTRIBUTION_LINES: Final = 6
"""A line such as `On DATE, NAME wrote:` is broken into so many at most, empty ones among them."""
_ATTRIBUTION_LENGTH_MAX: Final = 400
_HEADERS_LINES: Final = 40
"""Lines of a block of headers at most: what is looked at again for every line must have an end."""
_SIGNATURE_LINES: Final = 12
_LEAD_MAX: Final = 25
"""Characters before the date of a line that says when: `On Monday, `."""

_QUOTED: Final = re.compile(r"\s{0,3}[>|]")
_RULE: Final = re.compile(r"[\s\u200b\u1427>]*(?:[-_=*#~+•—–]\s?){2,}[\s\u1427]*$|[\s\u1427\u200b\ufeff]+$")
_RFC_SIGNATURE: Final = re.compile(r"(?:--|—|__+|\*\*\*+)\s*$")
_DATE: Final = re.compile(
    r"\d{1,4}\s?[-./:年月日]\s?\d{1,2}|\d{1,2}\.?\s+(?:de\s+|of\s+)?\w{3,12}\.?,?\s+(?:de\s+)?\d{2,4}"
    r"|\w{3,12}\.?\s+\d{1,2},?\s+\d{2,4}"
)
_ADDRESS: Final = re.compile(r"[^\s<>@]+@[^\s<>@]+|<\s*mailto:|&lt;")
_LAST_PIECE: Final = re.compile(r">\s*\S{1,12}\s*[:：]\s*$")
"""The end of an address and the verb, where a program broke the line between them."""
_WROTE: Final = re.compile(
    r"(?:^|[\s>,，、)\]\"”»])(?:"
    + "|".join(re.escape(word) for word in sorted(phrases.WROTE, key=len, reverse=True))
    + r")(?=$|[\s:：,\-(<\"“])|(?:"
    + "|".join(word for word in phrases.WROTE if ord(word[0]) > 0x2E80)  # no space stands before these
    + ")",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"[:：]\s*[-_*]*\s*$|-{2,}\s*$")
_DATE_NAME: Final = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:,?\s+\d{1,2}:\d{2}(?::\d{2})?)?(?P<zone>\s+(?:GMT|UTC)[+-]\d{1,2}:?\d{0,2})?\s+\S.{0,200}$"
)
_LABELS: Final = {
    label: kind
    for kind, labels in (
        ("from", phrases.FROM),
        ("sent", phrases.SENT),
        ("to", phrases.TO),
        ("subject", phrases.SUBJECT),
        ("other", phrases.OTHER),
    )
    for label in labels
}  # fmt: skip
_HEADER: Final = re.compile(r"[\s*_]{0,4}([^\W\d_][\w' -]{0,24}?)[\s*_]{0,4}[:：]\s*[*_]{0,2}\s*(\S.*)?$")
_BEGINS: Final = re.compile(
    r"[\s>]*(?:[-_*=–—]{2,}\s*(?:" + "|".join(map(re.escape, phrases.BEGINS)) + r")[^-_*=]{0,60}[-_*=–—]{2,}|(?:"
    + "|".join(map(re.escape, phrases.BEGINS)) + r")\s*:)\s*$",
    re.IGNORECASE,
)  # fmt: skip
_DEVICE: Final = re.compile(r"[\s*_-]{0,3}(?:" + "|".join(map(re.escape, phrases.DEVICE)) + r")\b.{0,120}$", re.IGNORECASE)


def reply_text(text: str) -> str:
    """What was written, of a message's plain text; at most TEXT_CHARACTERS_MAX characters of it are read."""
    lines = text[:TEXT_CHARACTERS_MAX].replace("\r\n", "\n").replace("\r", "\n").split("\n")[:LINES_MAX]
    whole = _trimmed(lines, keep_rules=True)
    found = _embedded(lines)
    if found is None:
        left = _without_tail(lines)
    else:
        begin, end = found
        before = _without_tail(lines[:begin])
        left = before + _answers(lines[end:]) if _has_text(before) else _inline(lines[end:])
    left = _trimmed(left)
    return "\n".join(left if _has_text(left) else whole)


# -- where another message begins ------------------------------------------------------------------------------------


def _embedded(lines: Sequence[str], start: int = 0) -> tuple[int, int] | None:
    """(first line of what introduces another message, first line behind it), None when there is none from `start` on. Quoted
    lines do not introduce one."""
    at = start
    while at < len(lines):
        line = lines[at]
        if line.strip() and not _QUOTED.match(line):
            end = _begins(lines, at) or _headers(lines, at) or _attribution(lines, at)
            if end:
                return at, end
        at += 1
    return None


def _begins(lines: Sequence[str], at: int) -> int:
    """The line behind `-----Original Message-----` and the headers below it, 0 when there is none."""
    if not _BEGINS.match(lines[at]):
        return 0
    behind = next((place for place in range(at + 1, min(at + 4, len(lines))) if lines[place].strip()), at + 1)
    return _headers(lines, behind) or at + 1


def _headers(lines: Sequence[str], at: int) -> int:
    """The line behind a block of headers, 0 when none begins here: two or more kinds, one of them from whom or what about."""
    kinds: set[str] = set()
    place, last = at, at
    if place < len(lines) and _kind(lines[place]) is None:
        return 0
    end = min(len(lines), at + _HEADERS_LINES)
    while place < end and place - last <= 2:
        kind = _kind(lines[place])
        if kind is not None:
            kinds.add(kind)
            last = place
        elif not lines[place].strip() and len(kinds) >= 3:
            break  # what follows an empty line is the message, even if it begins with a word and a colon
        place += 1
    is_block = len(kinds - {"other"}) >= 2 and kinds & {"from", "subject"} and (kinds & {"sent", "to"} or len(kinds) > 2)
    if not is_block:
        return 0
    behind = last + 1
    while behind < len(lines) and lines[behind].strip() and behind - last <= 2:  # a header that went on in the next line
        behind += 1
    return behind


def _kind(line: str) -> str | None:
    found = _HEADER.match(line.lstrip("> "))
    return _LABELS.get(found[1].strip().lower()) if found else None


def _attribution(lines: Sequence[str], at: int) -> int:
    """The line behind `On DATE, NAME wrote:` when it begins here, else 0. It may be broken into several lines."""
    if _is_date_and_name(_bare(lines[at])):
        return at + 1
    for end in range(at + 1, min(at + _ATTRIBUTION_LINES, len(lines)) + 1):
        if end - at > 1 and _QUOTED.match(lines[end - 1]) and not _LAST_PIECE.match(lines[end - 1]):
            return 0
        if _is_attribution(_joined(lines[at:end])):
            return end if _begin(lines, at, end) == at else 0
    return 0


def _begin(lines: Sequence[str], at: int, end: int) -> int:
    """Where the text that ends before `end` really begins, at `at` or later: the nearest line that says who or when, and the one
    with the date above it."""
    nearest = max(place for place in range(at, end) if _is_attribution(_joined(lines[place:end])))
    if _DATE.search(_joined(lines[nearest:end])):
        return nearest
    dated = (
        place for place in range(nearest - 1, at - 1, -1) if (found := _DATE.search(lines[place])) and found.start() <= _LEAD_MAX
    )
    return next(dated, nearest)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(filter(None, map(_bare, lines)))[: _ATTRIBUTION_LENGTH_MAX + 1]


def _bare(line: str) -> str:
    return line.strip().strip("*_")


def _is_date_and_name(line: str) -> bool:
    found = _DATE_NAME.match(line)
    return found is not None and (found["zone"] is not None or _ADDRESS.search(line) is not None)


def _is_attribution(joined: str) -> bool:
    """Whether a text says who wrote when: a verb of writing, a colon or dashes at its end, and a date or an address."""
    if len(joined) > _ATTRIBUTION_LENGTH_MAX or not _ENDS.search(joined):
        return False
    found = _WROTE.search(joined)
    if found is None:
        return False
    has_date, has_address = _DATE.search(joined) is not None, _ADDRESS.search(joined) is not None
    # A sentence may end with `as she wrote:` too. What a program wrote names a day or an address, and begins with it or a name.
    if not (has_date or has_address):
        return False
    return not re.search(r"[.!?]\s+[A-ZÀ-Þ][a-zà-þ]+\s+[a-zà-þ]+\s", joined[: found.start()])


# -- what is left ----------------------------------------------------------------------------------------------------


def _answers(rest: Sequence[str]) -> list[str]:
    """Of a message that was begun above: what was written between and below quoted lines, where they are quoted at all."""
    first = next((line for line in rest if line.strip()), "")
    if not _QUOTED.match(first):
        return []
    last_quoted = max(place for place, line in enumerate(rest) if _QUOTED.match(line))
    between = [place for place in range(last_quoted) if rest[place].strip() and not _QUOTED.match(rest[place])]
    below = _without_tail(rest[last_quoted + 1 :], may_be_all=True)
    if _embedded(below) is not None:
        below = []
    is_written = _written(rest[:last_quoted])
    kept = [rest[place] for place in between if is_written[place]]
    written = [*kept, *(line for line in below if line.strip())]
    return ["", *written] if written else []


def _written(rest: Sequence[str]) -> list[bool]:
    """Whether each line among quoted ones was written there, and is not the end of a broken one: an empty line is above it, or
    above those that it follows."""
    found: list[bool] = []
    above = ""
    for line in rest:
        found.append(not above.strip() or (not _QUOTED.match(above) and found[-1]))
        above = line
    return found


def _inline(rest: Sequence[str]) -> list[str]:
    """Of a message that begins with what it answers: the text, without what introduces quotes."""
    lines = list(rest)
    quoted = text = 0  # no line above is quoted, or has text
    found = _embedded(lines)
    while found is not None:
        begin, end = found
        quoted = next((place for place in range(quoted, begin) if _QUOTED.match(lines[place])), begin)
        text = next((place for place in range(text, begin) if _has_text(lines[place : place + 1])), begin)
        if text < begin == quoted and _is_closing(lines, end):
            lines = lines[:begin]
            break
        del lines[begin:end]
        # What was apart is together now; it can begin something no further above than that reaches.
        found = _embedded(lines, max(0, begin - _HEADERS_LINES))
        if found is not None:
            quoted, text = min(quoted, found[0]), min(text, found[0])
    start = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if start < len(lines) and _QUOTED.match(lines[start]):
        behind = start
        while behind < len(lines) and (_QUOTED.match(lines[behind]) or not lines[behind].strip()):
            behind += 1
        if _has_text(lines[behind:]) and not any(_QUOTED.match(line) for line in lines[behind:]):
            lines = lines[behind:]
    return _without_tail(lines)


def _is_closing(lines: Sequence[str], end: int) -> bool:
    """Whether nothing but quoted lines follows."""
    return all(_QUOTED.match(line) or not line.strip() for line in lines[end:])


def _without_tail(lines: Sequence[str], *, may_be_all: bool = False) -> list[str]:
    """Without the signature, what a device added, and quoted lines at the end. may_be_all: they may be all there is."""
    kept = list(lines)
    changed = True
    while changed:
        changed = False
        while kept and (_RULE.match(kept[-1]) or not kept[-1].strip()):
            kept.pop()
        last = len(kept)
        while last and (_QUOTED.match(kept[last - 1]) or not kept[last - 1].strip()):
            last -= 1
        if last < len(kept) and _has_text(kept[:last]):
            kept, changed = kept[:last], True
            continue
        for place in range(max(0, len(kept) - _SIGNATURE_LINES), len(kept)):
            is_device = _DEVICE.match(kept[place]) and len(kept) - place <= 3
            is_signature = _RFC_SIGNATURE.match(kept[place].strip()) and kept[place].strip()
            if (is_device or is_signature) and (may_be_all or is_device or _has_text(kept[:place])):
                kept, changed = kept[:place], True
                break
    return kept


def _trimmed(lines: Sequence[str], *, keep_rules: bool = False) -> list[str]:
    """Without empty lines (and rules) at both ends."""
    kept = list(lines)
    while kept and not kept[0].strip():
        kept.pop(0)
    while kept and (not kept[-1].strip() or (not keep_rules and _RULE.match(kept[-1]))):
        kept.pop()
    return kept


def _has_text(lines: Sequence[str]) -> bool:
    return any(line.strip() and not _RULE.match(line) for line in lines)
