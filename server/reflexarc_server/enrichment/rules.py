"""What a site says of enrichment, ready to be used: its own domains, its content, its personal fields.

Owns the values and what a page's path says of content. Reads no file; the section's form is the site's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from reflexarc_server.enrichment.personal import PARAMETERS

TRUNCATE: Final = "truncate"


@dataclass(frozen=True)
class ContentRule:
    """Pages of one kind. paths: globs, `*` within a part of the path and `**` across. category, section: empty for none.

    content_id: `path`, `last` (its last part), or empty where these pages are no pieces of content.
    """

    paths: tuple[str, ...]
    category: str = ""
    section: str = ""
    content_id: str = ""

    @cached_property
    def _pattern(self) -> Any:
        import re2

        return re2.compile("|".join(f"(?:{_expression(path)})" for path in self.paths))

    def holds(self, path: str) -> bool:
        return self._pattern.fullmatch(path) is not None


class Content(NamedTuple):
    """What a path says. Each field empty where it does not."""

    category: str = ""
    section: str = ""
    content_id: str = ""


@dataclass(frozen=True)
class Rules:
    """internal: domains of the site's own. content: the first rule that holds counts. fields: property -> what becomes of it.

    secret: of hashes. parameters: removed from addresses, in lower case. ip: truncate or drop.
    """

    internal: frozenset[str] = frozenset()
    content: tuple[ContentRule, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secret: bytes = b""
    parameters: frozenset[str] = PARAMETERS
    ip: str = TRUNCATE

    def content_of(self, path: str) -> Content:
        """What a page's path says of its content."""
        for rule in self.content:
            if rule.holds(path):
                parts = [part for part in path.split("/") if part]
                content_id = {"path": path, "last": parts[-1] if parts else ""}.get(rule.content_id, "")
                return Content(rule.category, rule.section, content_id)
        return Content()


def _expression(glob: str) -> str:
    parts = re.split(r"(\*+)", glob)
    return "".join("(?s:.*)" if part.startswith("**") else "[^/]*" if part == "*" else re.escape(part) for part in parts)
