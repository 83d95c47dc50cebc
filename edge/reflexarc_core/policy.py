"""Policies: what may hold back a trigger whose condition is true.

Owns cooldown, consent purpose and holdout as declared values and pure checks. Must never decide their order:
that is the engine's.
"""

from __future__ import annotations

from reflexarc_core.bucket import BUCKET_COUNT, bucket
from reflexarc_core.value import frozen

TREATED = "treated"
HELD_OUT = "holdout"


@frozen
class Holdout:
    """A permanent random share that is decided but not acted on.

    share: 0..1, in steps of 1/10000. unit: subject, device or session: what the hash is taken of.
    salt: names the split; triggers with the same salt hold out the same units.
    """

    share: float
    unit: str = "subject"
    salt: str = ""

    def assign(self, trigger_id: str, unit_id: str) -> str:
        """`holdout` or `treated`, the same on every host for ever."""
        held = bucket(self.salt or trigger_id, unit_id) < round(self.share * BUCKET_COUNT)
        return HELD_OUT if held else TREATED


@frozen
class Policy:
    """cooldown_ms: least engine time between two fired (or held-out) decisions of one trigger and subject.

    purpose: consent the subject must have given, empty for none needed.
    """

    cooldown_ms: int = 0
    purpose: str = ""
    holdout: Holdout | None = None


def cooldown_left_ms(policy: Policy, last_time: int | None, now: int) -> int:
    """Milliseconds until the trigger may fire again for this subject; 0 when it may."""
    if last_time is None or policy.cooldown_ms == 0:
        return 0
    return max(0, last_time + policy.cooldown_ms - now)
