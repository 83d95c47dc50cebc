"""Glob patterns, as authors write them for pages: `event.page_url.glob("/shop/*")`, resolved when a catalog is built.

`*` is any run of characters but `/`, `**` any run at all, `?` any one character, `\\` takes the next one as it is; the whole
text must fit. Owns what a glob means and which are none. Must never leave a glob to a device: it gets a comparison of text
where that says the same, else an RE2 pattern.
"""

from __future__ import annotations

import re
from typing import Final

from reflexarc_core.condition.tree import Node

GLOB_LENGTH_MAX: Final = 500
_ONE: Final = "(?s:.)"
_WITHIN: Final = "[^/]*"
_ANY: Final = "(?s:.*)"
_PARTS = re.compile(r"\\(.?)|(\*+)|([?\[\]{}])|([^\\*?\[\]{}]+)", re.DOTALL)


def glob_node(target: Node, glob: str) -> Node:
    """The node that says whether the text of `target` fits. Raises ValueError with advice when it is no glob."""
    parts = _parts(glob)
    kinds = "".join("t" if text is not None else "*" if pattern == _ANY else "." for pattern, text in parts)
    texts = [text for _, text in parts if text is not None]
    if kinds == "t":
        return ("call", "equals", target, _text(texts[0]))
    if kinds in _COMPARED:
        return ("call", _COMPARED[kinds], target, _text(texts[0]))
    body = "".join(pattern if text is None else re.escape(text) for pattern, text in parts)
    return ("call", "matches_string", target, _text(f"^{body}$"))


_COMPARED: Final = {"t*": "starts_with_string", "*t": "ends_with_string", "*t*": "contains_string"}


def _text(text: str) -> Node:
    return ("const", "string", text)


def _parts(glob: str) -> list[tuple[str, str | None]]:
    """(pattern, None) for a wildcard, ("", text) for text that stands for itself; neighbouring texts are one."""
    if not glob:
        raise ValueError("an empty glob fits the empty text only: write == '' for that")
    if len(glob) > GLOB_LENGTH_MAX:
        raise ValueError(f"a glob has at most {GLOB_LENGTH_MAX} characters")
    parts: list[tuple[str, str | None]] = []
    for found in _PARTS.finditer(glob):
        escaped, stars, sign, plain = found.groups()
        if stars:
            if len(stars) > 2:
                raise ValueError(f"{stars} is no wildcard: write * within one part of a path, ** over several")
            parts.append((_WITHIN if stars == "*" else _ANY, None))
            continue
        if sign == "?":
            parts.append((_ONE, None))
            continue
        if sign:
            raise ValueError(f"{sign} has no meaning in a glob: write \\{sign} for the character, or matches() with a pattern")
        if escaped is not None and (not escaped or escaped not in "*?\\[]{}"):
            raise ValueError("a backslash stands before one of * ? [ ] { } and \\ only")
        text = plain if escaped is None else escaped
        if parts and parts[-1][1] is not None:
            text = f"{parts.pop()[1]}{text}"
        parts.append(("", text))
    return parts
