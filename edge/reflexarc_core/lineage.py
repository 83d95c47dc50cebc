"""Lineage: which versions lead to the live one, when somebody went back in between.

Owns what "the version before" means, wherever versions are kept. Must never keep them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ROLLED_BACK: Final = "rolled back"
"""The action of a change that went back; every other one went on."""


def lineage(changes: Iterable[tuple[str, str]], live: str) -> list[str]:
    """Digests from the first version to the live one: what was rolled back from is no longer part of it.

    changes: (action, digest that became live), oldest first. live: the digest that is; a version that became live when whoever
    made it so was killed before the history had it stands at the end. Empty for none.
    """
    line: list[str] = []
    for action, digest in changes:
        if action == ROLLED_BACK and digest in line:
            del line[len(line) - line[::-1].index(digest) :]
        else:
            line.append(digest)
    return line if not live or (line and line[-1] == live) else [*line, live]
