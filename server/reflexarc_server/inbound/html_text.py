"""The text of a mail that has only HTML.

Owns what becomes of elements: blocks end a line, what a `blockquote` holds begins with `> `, scripts, styles and heads go. Must
never follow a link or fetch a picture. Tags are found by one pass over the text, which looks at no character twice: the standard
library's parser begins anew at every `<` of a tag that does not end, and takes hours for a mail of such.
"""

from __future__ import annotations

import html
import re
from typing import Final

HTML_LENGTH_MAX: Final = 400_000
"""Characters that are looked at."""
QUOTE_DEPTH_MAX: Final = 20


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DROPPED: Final = _set("script style head title template noscript svg math object iframe")
_BLOCKS: Final = _set(
    "address article aside blockquote body center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr html li"
    " main nav ol p pre section table tbody tfoot thead tr ul"
)
_SPACED: Final = _set("p h1 h2 h3 h4 h5 h6 blockquote ul ol table pre")
_SPACES: Final = re.compile(r"[ \t\r\n\f\v]+")
_LINES: Final = re.compile(r"\n{3,}")
_NAME: Final = re.compile(r"[A-Za-z][^\s/>]*")
_STOP: Final = re.compile(r">|=\s*(?:([\"'])|[^\s>\"'][^\s>]*)")
"""In a tag: its end, a value's quote, or a value without one."""
_COMMENT_END: Final = re.compile(r"--!?>")
_LARGE: Final = re.compile(r"&#(?:0*[1-9]\d{7,}|[xX]0*[1-9a-fA-F][0-9a-fA-F]{7,});?")
"""A reference to a character that cannot be, whose number would be long to read."""
_TEXT_ONLY: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in _set("script style title textarea xmp iframe noembed noframes")
}
"""What begins no tag inside, and how it ends."""


class _Reader:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._line: list[str] = []
        self._dropped: list[str] = []
        self._quotes = 0
        self._preformatted = 0

    def read(self, text: str) -> None:
        at = 0
        while (tag := text.find("<", at)) >= 0:
            name_match = _NAME.match(text, tag + 1 + text.startswith("</", tag))
            if name_match is None:
                behind = _behind_other(text, tag)
                self._take_data(text[at : tag if behind > tag + 1 else behind])
                at = behind
                continue
            self._take_data(text[at:tag])
            name, at = name_match[0].lower(), _behind_tag(text, name_match.end())
            if at < 0:
                return  # the text ends within a tag: it is none
            if text[tag + 1] == "/":
                self._take_end(name)
                continue
            self._take_start(name)
            if name in _TEXT_ONLY:
                end = _TEXT_ONLY[name].search(text, at)
                behind = end.start() if end else len(text)
                self._take_data(text[at:behind])
                at = behind
        self._take_data(text[at:])

    def _take_start(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropped.append(tag)
            return
        if tag == "body":
            self._dropped.clear()  # a head that nobody closed
        if self._dropped:
            return
        if tag == "br":
            self._end_line(always=True)
        elif tag in _BLOCKS:
            self._end_block(tag)
            self._quotes += tag == "blockquote"
            self._preformatted += tag == "pre"
            if tag == "li":
                self._line.append("- ")
        elif tag in ("td", "th") and self._line:
            self._line.append(" ")

    def _take_end(self, tag: str) -> None:
        if tag in _DROPPED:
            if tag in self._dropped:
                del self._dropped[len(self._dropped) - 1 - self._dropped[::-1].index(tag) :]
            return
        if self._dropped or tag not in _BLOCKS:
            return
        self._end_block(tag)
        if tag == "blockquote":
            self._quotes = max(0, self._quotes - 1)
        elif tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def _take_data(self, data: str) -> None:
        if self._dropped or not data:
            return
        if "&" in data:
            data = html.unescape(_LARGE.sub("\ufffd", data))
        if self._preformatted:
            first, *more = data.split("\n")
            self._line.append(first)
            for line in more:
                self._end_line(always=True)
                self._line.append(line)
        else:
            self._line.append(_SPACES.sub(" ", data))

    def end(self) -> str:
        self._end_line()
        return _LINES.sub("\n\n", "\n".join(self.lines)).strip("\n")

    def _end_block(self, tag: str) -> None:
        self._end_line()
        if tag in _SPACED and self.lines and self.lines[-1].strip("> "):
            self.lines.append(self._mark().rstrip())

    def _end_line(self, *, always: bool = False) -> None:
        text = "".join(self._line).replace("\u00a0", " ")
        text = text.rstrip() if self._preformatted else _SPACES.sub(" ", text).strip()
        self._line.clear()
        if text or always:
            self.lines.append((self._mark() + text).rstrip())

    def _mark(self) -> str:
        return "> " * min(self._quotes, QUOTE_DEPTH_MAX)


def text_of_html(text: str) -> str:
    """Plain text of HTML, however broken. Raises nothing for any text."""
    reader = _Reader()
    reader.read(text[:HTML_LENGTH_MAX])
    return reader.end()


def _behind_tag(text: str, at: int) -> int:
    """Behind the `>` of a tag whose name ends at `at`, -1 when there is none; one in a quoted value is no end."""
    while (stop := _STOP.search(text, at)) is not None:
        if stop[0] == ">":
            return stop.end()
        at = stop.end()
        if stop[1]:
            end = text.find(stop[1], at)
            if end < 0:
                return -1
            at = end + 1
    return -1


def _behind_other(text: str, at: int) -> int:
    """Behind a comment, or what a browser takes for one; behind a `<` that begins nothing."""
    if text.startswith("<!--", at):
        for empty in ("<!-->", "<!--->"):
            if text.startswith(empty, at):
                return at + len(empty)
        end = _COMMENT_END.search(text, at + 4)
        return end.end() if end else len(text)
    if not text.startswith(("<!", "<?", "</"), at):
        return at + 1
    close = text.find(">", at + 2)
    return close + 1 if close >= 0 else len(text)
