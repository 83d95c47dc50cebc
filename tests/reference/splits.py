"""Who is held out, which variant a unit gets, which part of a group it is in: docs/triggers.md, "Splits".

Owns the hashing by hand. Must never keep anything: what was assigned before is handed in.
"""

from __future__ import annotations

from reflexarc_core.event import Event
from reflexarc_core.policy import Group, Holdout, Variants
from reflexarc_core.trigger import Trigger
from tests.reference.plainly import place


def unit_of(unit: str, subject: str, event: Event | None, device_id: str) -> str:
    """What is hashed."""
    if unit == "session" and event is not None and "session_id" in event.context:
        return str(event.context["session_id"])
    return device_id or subject if unit == "device" else subject


def in_part(group: Group, unit: str) -> bool:
    """Whether the unit belongs to this part of the group."""
    return round(group.low * 10_000) <= place(f"group:{group.name}", unit) < round(group.high * 10_000)


def is_by_session(split: Holdout | Variants | None, event: Event | None) -> bool:
    """By its hash alone: the next session of the same subject is another unit."""
    return split is not None and split.unit == "session" and event is not None and "session_id" in event.context


def assigned(trigger: Trigger, subject: str, event: Event | None, device_id: str, kept: str) -> str:
    """The side of the holdout; `kept`: what stands since the first decision, empty for nothing."""
    holdout = trigger.policy.holdout
    if holdout is None:
        return ""
    if kept and not is_by_session(holdout, event):
        return kept
    stands = place(holdout.salt or trigger.trigger_id, unit_of(holdout.unit, subject, event, device_id))
    return "holdout" if stands < round(holdout.share * 10_000) else "treated"


def variant_of(trigger: Trigger, subject: str, event: Event | None, device_id: str, kept: str) -> str:
    """The variant's name; `kept` as above."""
    variants = trigger.policy.variants
    if variants is None:
        return ""
    if kept and not is_by_session(variants, event):
        return kept
    stands = place(f"variant:{variants.salt or trigger.trigger_id}", unit_of(variants.unit, subject, event, device_id))
    ways = sorted(variants.ways, key=lambda way: way.name)
    for n, way in enumerate(ways, 1):
        if stands < round(sum(one.share for one in ways[:n]) * 10_000):
            return way.name
    return ways[-1].name
