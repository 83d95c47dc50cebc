"""Where the links of an HTML mail stand: a scan by the tokenizer rules of the HTML standard, which changes nothing.

Owns which characters of a text are the value of an `href`. A mail is never parsed into a tree and written again: what the scan
does not name stays as it is, byte for byte. Must never raise, whatever the text is.
"""

from __future__ import annotations

import html.entities
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

OFF_ATTRIBUTE: Final = "data-reflexarc-track"
"""`data-reflexarc-track="off"` on a link leaves it alone."""

_LINKS: Final = ("a", "area")
# What stands in these is text to a mail client; `noscript` is not among them, for a mail client runs no scripts.
_TEXT_ONLY: Final = ("style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
_NAME: Final = re.compile(r"[A-Za-z][^\t\n\f\r />]*")
_BLANK: Final = re.compile(r"[\t\n\f\r ]*")
_ATTRIBUTE_NAME: Final = re.compile(r"=?[^\t\n\f\r />=]*")
_BARE: Final = re.compile(r"[^\t\n\f\r >]*")
_COMMENT_END: Final = re.compile(r"--!?>")
_CONDITION: Final = re.compile(r"<!--\[if\b[^\]>]{0,200}\]>", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"&(?:#(\d+);?|#[xX]([0-9a-fA-F]+);?|([A-Za-z0-9]+;?)(=?))")
_SCRIPT_TURN: Final = re.compile(r"<!--|-->|<(/?)script(?=[\t\n\f\r />])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """The value of a link's `href`: text[start:end], without its quotes. value: with its character references resolved.

    is_off: the author wants it left alone. line: 1 for the first.
    """

    start: int
    end: int
    value: str
    is_off: bool
    line: int


@dataclass(frozen=True, slots=True)
class Scan:
    """links: in the order of the text. body_end: where the last `</body>` or else `</html>` begins, the text's length without."""

    links: tuple[Link, ...]
    body_end: int


def scan(text: str) -> Scan:
    """Every `href` of an `a` or `area` that a mail client shows, outside comments, scripts, styles and `template` elements.

    A conditional comment (`<!--[if mso]> ... <![endif]-->`) is markup for Outlook: what stands in it counts.
    """
    walk = _Walk(text)
    links = tuple(walk.links())
    return Scan(links, walk.body_end if walk.body_end >= 0 else walk.html_end if walk.html_end >= 0 else len(text))


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._line, self._counted = 1, 0
        self.body_end = -1
        self.html_end = -1

    def links(self) -> Iterator[Link]:
        text, at, templates, hidden_upto = self._text, 0, 0, 0
        while (at := text.find("<", at)) >= 0:
            if text.startswith("<!--", at):
                condition = _CONDITION.match(text, at)
                if condition:
                    hidden_upto = self._behind_comment(at)
                at = condition.end() if condition else self._behind_comment(at)
                continue
            is_end = text.startswith("</", at)
            name_match = _NAME.match(text, at + 1 + is_end)
            if name_match is None:
                at = self._behind_bogus(at)
                continue
            name = name_match[0].lower()
            end, attributes = self._attributes(name_match.end())
            if end < 0:
                return  # the text ends within a tag: it is none
            if is_end:
                if name == "body" and at >= hidden_upto:
                    self.body_end = at
                elif name == "html" and at >= hidden_upto:
                    self.html_end = at
                templates -= name == "template" and templates > 0
            elif name in _LINKS and not templates:
                link = self._link(attributes)
                if link is not None:
                    yield link
            elif name == "template":
                templates += 1
            elif name == "plaintext":
                return
            elif name == "script":
                end = self._behind_script(end)
            elif name in _TEXT_ONLY:
                end = self._behind_text(name, end)
            at = end

    def _attributes(self, at: int) -> tuple[int, dict[str, tuple[int, int]]]:
        """(behind the tag, name -> place of the value), the first of each name; (-1, ...) when the tag does not end."""
        text = self._text
        found: dict[str, tuple[int, int]] = {}
        while at < len(text):
            if text[at] == ">":
                return at + 1, found
            if text[at] in "\t\n\f\r /":
                at += 1
                continue
            name_match = _ATTRIBUTE_NAME.match(text, at)
            assert name_match is not None
            name, at = name_match[0].lower(), name_match.end()
            begin = end = at
            after = _BLANK.match(text, at)
            assert after is not None
            if text.startswith("=", after.end()):
                blank = _BLANK.match(text, after.end() + 1)
                assert blank is not None
                begin = blank.end()
                quote = text[begin : begin + 1]
                if quote and quote in "\"'":
                    begin += 1
                    end = text.find(quote, begin)
                    if end < 0:
                        return -1, found
                    at = end + 1
                else:
                    bare = _BARE.match(text, begin)
                    assert bare is not None
                    at = end = bare.end()
            found.setdefault(name, (begin, end))
        return -1, found

    def _link(self, attributes: dict[str, tuple[int, int]]) -> Link | None:
        place = attributes.get("href")
        if place is None:
            return None
        begin, end = place
        off = attributes.get(OFF_ATTRIBUTE)
        is_off = off is not None and self._text[off[0] : off[1]].strip().lower() == "off"
        self._line += self._text.count("\n", self._counted, begin)
        self._counted = begin
        return Link(begin, end, attribute_text(self._text[begin:end]), is_off, self._line)

    def _behind_comment(self, at: int) -> int:
        for empty in ("<!-->", "<!--->"):
            if self._text.startswith(empty, at):
                return at + len(empty)
        end = _COMMENT_END.search(self._text, at + 4)
        return end.end() if end else len(self._text)

    def _behind_bogus(self, at: int) -> int:
        """Behind `<!...>`, `<?...>` or `</...>` that names nothing; a `<` before anything else is a character."""
        if not self._text.startswith(("<!", "<?", "</"), at):
            return at + 1
        end = self._text.find(">", at + 2)
        return end + 1 if end >= 0 else len(self._text)

    def _behind_text(self, name: str, at: int) -> int:
        """Where the end tag of an element begins that holds text only."""
        end = re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE).search(self._text, at)
        return end.start() if end else len(self._text)

    def _behind_script(self, at: int) -> int:
        """Where the script's end tag begins. `<!--` and a second `<script` in it keep one `</script>` from being the end."""
        in_comment = is_double = False
        for turn in _SCRIPT_TURN.finditer(self._text, at):
            if turn[0] == "<!--":
                in_comment = True
            elif turn[0] == "-->":
                in_comment = is_double = False
            elif turn[1]:
                if not is_double:
                    return turn.start()
                is_double = False
            elif in_comment:
                is_double = True
        return len(self._text)


def attribute_text(raw: str) -> str:
    """An attribute's value with its character references resolved as in attributes: `&copy=1` stays what it is."""
    return _REFERENCE.sub(_resolved, raw) if "&" in raw else raw


def _resolved(found: re.Match[str]) -> str:
    decimal, hexadecimal, name, equals = found.groups()
    if name is not None:
        known = html.entities.html5.get(name)
        if known is None or (equals and not name.endswith(";")):
            return found[0]
        return known + equals
    digits = decimal or hexadecimal
    number = int(digits, 10 if decimal else 16) if len(digits.lstrip("0")) < 9 else 0x110000
    if 0x80 <= number <= 0x9F:
        return bytes([number]).decode("cp1252", errors="ignore") or chr(number)
    if number == 0 or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return "\ufffd"
    return chr(number)
