"""Policies: what may hold back a trigger whose condition is true.

Owns the declared values and the pure checks of a single one. Must never decide their order: that is `conclude`'s.
"""

from __future__ import annotations

from typing import Final

from reflexarc_core.bucket import BUCKET_COUNT, bucket
from reflexarc_core.hours import Hours, local_day, local_week
from reflexarc_core.value import frozen

TREATED = "treated"
HELD_OUT = "holdout"
REENTRIES: Final = ("always", "once", "after_exit", "until_exit")
UNITS: Final = ("subject", "device", "session")
CAP_COUNT_MAX: Final = 100
HOLD_MS: Final = 86_400_000


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
class Variant:
    """One way of acting. share: of the units that are not held out, 0..1. action: what it does; empty = the trigger's own."""

    name: str
    share: float
    action: str = ""


@frozen
class Variants:
    """Ways of acting, one for each unit, for ever. Their shares add up to 1.

    unit, salt: as a holdout's; the hash is another one, so that a variant says nothing of who is held out.
    """

    ways: tuple[Variant, ...]
    unit: str = "subject"
    salt: str = ""

    def assign(self, trigger_id: str, unit_id: str) -> Variant:
        """The unit's variant: the shares laid out in the order of their names."""
        place = bucket(f"variant:{self.salt or trigger_id}", unit_id)
        upto = 0.0
        ways = sorted(self.ways, key=lambda way: way.name)
        for way in ways:
            upto += way.share
            if place < round(upto * BUCKET_COUNT):
                return way
        return ways[-1]


@frozen
class Group:
    """A part of an exclusive group: units whose bucket lies in [low, high) of it, so that triggers with other parts of the same
    group never meet. name: the group's, its salt. low, high: 0..1."""

    name: str
    low: float
    high: float
    unit: str = "subject"

    def holds(self, unit_id: str) -> bool:
        """Whether the unit belongs to this part."""
        return round(self.low * BUCKET_COUNT) <= bucket(f"group:{self.name}", unit_id) < round(self.high * BUCKET_COUNT)


@frozen
class Cap:
    """At most `count` decisions that fired (or were held out) for one subject in a window.

    window_ms: rolling, of engine time. calendar: `day` or `week` (from Monday) of the subject's local time; exactly one of the
    two is given. channels, triggers: what it counts; both empty = every trigger. scope: `device`, or `global`: over all of a
    subject's devices, by leases of the server.
    """

    count: int
    window_ms: int = 0
    calendar: str = ""
    channels: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    scope: str = "device"

    def covers(self, trigger_id: str, channel: str) -> bool:
        """Whether a decision of that trigger, acting on that channel, counts."""
        if not self.channels and not self.triggers:
            return True
        return trigger_id in self.triggers or channel in self.channels

    def used(self, times: list[int], now: int, offset_minutes: int) -> int:
        """How many of these moments (engine time, ms) lie in the window that ends at `now`."""
        if self.calendar:
            part = local_day if self.calendar == "day" else local_week
            shift = offset_minutes * 60_000
            this = part(now + shift)
            return sum(part(time + shift) == this for time in times)
        return sum(time > now - self.window_ms for time in times)


@frozen
class Policy:
    """What one trigger may be held back by.

    cooldown_ms: least engine time between two fired (or held-out) decisions of one trigger and subject.
    max_age_ms: an event (or timer) that is older when it reaches the engine decides nothing; 0 = any age.
    purpose: consent the subject must have given, empty for none needed.
    reentry: `always`; `once` per subject and instance; `after_exit`: again only behind an exit; `until_exit`: never behind one.
    exit: event types by which the subject leaves: what waits for it ends.
    cap: the trigger's own. exempt: names of the catalog's caps that do not count it and do not hold it.
    slot, priority: of the triggers that one cause brings to the same slot only the one of highest priority acts.
    quiet: hours in which nothing is done; quiet_then: `hold` (until they end) or `drop`. window: hours outside of which an action
    waits for the next one. best_hours: such hours are those of the week in which the subject itself does what the trigger's model
    foresees (`window: optimal_purchase_window`). hold_ms_max: how long an action may wait, then it expires.
    """

    cooldown_ms: int = 0
    purpose: str = ""
    holdout: Holdout | None = None
    max_age_ms: int = 0
    reentry: str = "always"
    exit: tuple[str, ...] = ()
    cap: Cap | None = None
    exempt: tuple[str, ...] = ()
    slot: str = ""
    priority: int = 0
    quiet: tuple[Hours, ...] = ()
    quiet_then: str = "hold"
    window: tuple[Hours, ...] = ()
    best_hours: bool = False
    hold_ms_max: int = HOLD_MS
    variants: Variants | None = None
    group: Group | None = None


def cooldown_left_ms(policy: Policy, last_time: int | None, now: int) -> int:
    """Milliseconds until the trigger may fire again for this subject; 0 when it may."""
    if last_time is None or policy.cooldown_ms == 0:
        return 0
    return max(0, last_time + policy.cooldown_ms - now)
