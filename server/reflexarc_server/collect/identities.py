"""Who sent something, and the ids that follow from it: of events, of links, of installations.

Owns the form of those ids. An event's id is made of its source and the sender's own id, so that the same sent again, by whichever
way, is the same event for as long as the log holds it. Must never make an id of chance.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import is_storable

ID_LENGTH_MAX: Final = 255
"""Of a message, an anonymous or a known person, as they are sent."""
PLAIN_MAX: Final = 120
"""A message's id is part of an event's as it came, up to here; of a longer one a digest is."""


class Source(NamedTuple):
    """One write key's source. name: as the site file calls it."""

    name: str


def event_id(source: Source, message_id: str) -> str:
    """The id of an event. message_id: 1 to ID_LENGTH_MAX characters, its sender's own."""
    if len(message_id) > PLAIN_MAX:
        return f"web:{source.name}#{_digest(message_id)}"
    return f"web:{source.name}:{message_id}"


def link_id(source: Source, anonymous_id: str, known_id: str) -> str:
    """The id of the one `identify` event that joins the two."""
    return f"web:{source.name}#link-{_digest(anonymous_id, known_id)}"


def installation_of(anonymous_id: str) -> str:
    """A browser's installation."""
    return f"web/{anonymous_id}"


def text_of(value: Any, name: str) -> str:
    """An id as text, empty for none; whole numbers are ids too. Raises InvalidEventError for anything else."""
    if value is None:
        return ""
    if type(value) is int:
        value = str(value) if -(2**63) <= value < 2**63 else None
    if type(value) is not str or len(value) > ID_LENGTH_MAX or not is_storable(value):
        raise InvalidEventError(f"{name} is {type(value).__name__}", hint=f"a text of at most {ID_LENGTH_MAX} characters")
    return value


def _digest(*parts: str) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode()
        hashed.update(len(content).to_bytes(4, "big") + content)
    return hashed.hexdigest()[:32]
