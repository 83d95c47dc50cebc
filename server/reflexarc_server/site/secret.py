"""Secrets of a site: the file says where one is, never what it is.

Owns the two places a secret may be read from. Its text never appears in a message, a log line or a `repr`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reflexarc_build.source import Mistakes, Node, shown

SECRET_BYTES_MAX: Final = 16_384
_HINT: Final = "write env:NAME (an environment variable) or file:PATH (a file's text)"


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret. where: as the site file says it. text: what was read there when the file was read."""

    where: str
    text: str = field(repr=False)

    @property
    def bytes(self) -> bytes:
        """The secret as UTF-8."""
        return self.text.encode()


def read_secret(what: str, node: Node, mistakes: Mistakes) -> Secret | None:
    """The secret a node refers to; what is wrong is noted, and None. `file:` paths start at the site file's folder."""
    where = node.value
    kind, separator, place = where.partition(":") if isinstance(where, str) else ("", "", "")
    if not separator or not place or kind not in ("env", "file"):
        mistakes.add(node, f"{what} is no reference to a secret", _HINT)  # what stands there may be the secret itself
        return None
    if kind == "env":
        text = os.environ.get(place, "")
        if not text:
            mistakes.add(node, f"{what}: the environment has no {shown(place)}", "set it before the server starts")
            return None
        return Secret(where, text)
    path = Path(node.file).parent / place
    try:
        content = path.read_bytes()[: SECRET_BYTES_MAX + 1]
        text = content.decode().strip()
    except OSError as error:
        mistakes.add(node, f"{what}: {path} cannot be read: {error.strerror}", _HINT)
        return None
    except UnicodeDecodeError:
        mistakes.add(node, f"{what}: {path} is no text", "write the secret as UTF-8 text")
        return None
    if not text or len(content) > SECRET_BYTES_MAX:
        mistakes.add(node, f"{what}: {path} {'is empty' if not text else 'is too large'}", f"1 to {SECRET_BYTES_MAX} bytes")
        return None
    return Secret(where, text)


def read_secrets(what: str, node: Node | None, mistakes: Mistakes) -> tuple[Secret, ...]:
    """One secret or a list of them, the newest first: what is signed is signed by the first, and any of them verifies."""
    if node is None:
        return ()
    nodes = node.value if isinstance(node.value, list) else [node]
    found = (read_secret(f"{what}[{place}]" if len(nodes) > 1 else what, one, mistakes) for place, one in enumerate(nodes))
    return tuple(one for one in found if one is not None)


__all__ = ["Secret", "read_secret", "read_secrets"]
