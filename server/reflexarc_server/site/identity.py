"""The site's `identity` section: as whom somebody is known by an e-mail address.

    identity:
      secret: env:IDENTITY_SECRET       # with it an address stands in no known id, only its keyed digest

The secret stays: with another one the same people are new ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.site.secret import read_secret

SECRET_LENGTH_MIN: Final = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """secret: of the digests; empty: the address itself, in lower case, is the known id."""

    secret: bytes = field(default=b"", repr=False)


def read(node: Node, mistakes: Mistakes) -> Identity:
    """The section. What is wrong is noted."""
    reading = Reading(node, "identity", mistakes)
    given = reading.node_of("secret")
    held = read_secret("identity: secret", given, mistakes) if given is not None else None
    if given is None or (held is not None and len(held.bytes) < SECRET_LENGTH_MIN):
        mistakes.add(given or node, "identity needs a secret", f"{SECRET_LENGTH_MIN} random bytes or more: secret: env:NAME")
    reading.finish()
    return Identity(held.bytes if held is not None else b"")
