"""The text of a mail that has only HTML.

Owns what becomes of elements: blocks end a line, what a `blockquote` holds begins with `> `, scripts, styles and heads go. Must
never follow a link or fetch a picture, and takes no more time than the length of its input asks for.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
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


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self._line: list[str] = []
        self._dropped: list[str] = []
        self._quotes = 0
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
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

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
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


def text_of_html(html: str) -> str:
    """Plain text of HTML, however broken. Raises nothing for any text."""
    reader = _Reader()
    try:
        reader.feed(html[:HTML_LENGTH_MAX])
        reader.close()
    except (AssertionError, ValueError, RecursionError):  # of a declaration that is none; what was read until then stays
        pass
    return reader.end()
