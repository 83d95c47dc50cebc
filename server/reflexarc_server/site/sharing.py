"""The site's `sharing` section: links that carry who shared what.

    sharing:
      base: https://go.shop.example          # where /s of this server is reached from outside
      signing_keys: [env:SHARE_KEY]          # the first signs, all verify
      targets: ["https://shop.example"]      # origins a link may lead to
      goals: [purchase]                      # events that make a visit a conversion
      within: 7d

Without the section there are no share links.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from reflexarc_build.source import Mistakes, Node, Reading
from reflexarc_server.site.secret import Secret, read_secrets

KEY_LENGTH_MIN: Final = 32
DAY_MS: Final = 86_400_000
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::\d{1,5})?|http://\[::1\](?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Sharing:
    """The section. targets: origins in lower case.

    depth_max: steps up the chain that are still told of a visit. within_ms: a goal counts so long after a visit. halving_ms: how
    fast the worth of a visit is halved. conversion_weight: what a goal is worth, in visits.
    """

    base: str = ""
    signing_keys: tuple[Secret, ...] = ()
    targets: tuple[str, ...] = ()
    goals: tuple[str, ...] = ("purchase",)
    within_ms: int = 7 * DAY_MS
    halving_ms: int = 30 * DAY_MS
    depth_max: int = 8
    conversion_weight: float = 5.0


def read(node: Node, mistakes: Mistakes) -> Sharing:
    """The section. What is wrong is noted."""
    reading = Reading(node, "sharing", mistakes)
    base = reading.text("base", required=True).rstrip("/").lower()
    keys_node = reading.node_of("signing_keys", required=True)
    keys = read_secrets("sharing: signing_keys", keys_node, mistakes)
    targets = tuple(target.rstrip("/").lower() for target in reading.names("targets", required=True))
    for name, origins in (("base", (base,) if base else ()), ("targets", targets)):
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                mistakes.add(reading.node_of(name) or node, f"sharing: {origin!r} is no origin", "write https://shop.example")
    if any(len(key.bytes) < KEY_LENGTH_MIN for key in keys):
        mistakes.add(keys_node or node, "sharing: a signing key is too short", f"{KEY_LENGTH_MIN} random bytes or more")
    found = Sharing(
        base,
        keys,
        targets,
        reading.names("goals") or ("purchase",),
        reading.duration_ms("within", 7 * DAY_MS),
        reading.duration_ms("half_life", 30 * DAY_MS) or 30 * DAY_MS,
        int(reading.number("depth_max", 8, low=1, high=32)),
        reading.number("conversion_weight", 5.0, low=0.0, high=1_000.0),
    )
    reading.finish()
    return found
