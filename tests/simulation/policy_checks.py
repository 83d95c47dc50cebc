"""The checkers of what policies and patterns promise, whatever the clocks, the network and the kills did.

Owns no expectation of its own: the definitions are the catalog's, the decisions those in the logs, and what time brings about is
found once more from the log's inputs by the reference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.policy import Cap
from reflexarc_core.record import CatalogInput, DecisionOutput, EventInput, Input, Record, TickInput
from reflexarc_core.trigger import Trigger
from tests.reference.chains import Happening, followed
from tests.reference.plainly import is_open, place, stable_id
from tests.simulation.catalogs import catalogs
from tests.simulation.clocks import DAY

USES = (Reason.FIRED, Reason.HOLDOUT, Reason.QUIET_HOURS, Reason.CLOCK_UNTRUSTED)
Check = Callable[[bool, str], None]


def check_caps(check: Check, name: str, made: Sequence[Decision]) -> None:
    """No cap of one device is exceeded. made: its decisions, in the order in which it made them. Local time is UTC here."""
    first = catalogs()[0]
    caps: list[tuple[str, Cap, tuple[str, ...]]] = [(cap_id, cap, cap.triggers) for cap_id, cap in first.caps.items()]
    caps += [(one.trigger_id, one.policy.cap, (one.trigger_id,)) for one in first.triggers.values() if one.policy.cap is not None]
    for cap_id, cap, covered in caps:
        used: dict[str, list[int]] = defaultdict(list)
        for decision in made:
            if decision.trigger_id not in covered or decision.record or decision.reason not in USES:
                continue
            now, times = decision.decision_time, used[decision.subject]
            if cap.window_ms:
                within = [time for time in times if time > now - cap.window_ms]
            else:
                within = [time for time in times if time // DAY == now // DAY]
            check(
                len(within) < cap.count, f"{name}: the cap {cap_id} of {decision.subject} is used again at {now}, after {within}"
            )
            times.append(now)


def check_act(check: Check, decision: Decision) -> None:
    """What fired did so in its hours, by a clock that was believed, and not for somebody who is held out."""
    trigger = catalogs()[0].triggers[decision.trigger_id]
    policy = trigger.policy
    if policy.quiet or policy.window:
        check(
            is_open(policy.quiet, policy.window, decision.decision_time), f"{decision.trigger_id} acts in quiet hours: {decision}"
        )
        check("CLOCK_UNTRUSTED" not in decision.detail, f"{decision.trigger_id} acts by a clock that is not believed: {decision}")
    if policy.holdout is not None:
        stands = place(policy.holdout.salt or decision.trigger_id, decision.subject)
        check(
            stands >= round(policy.holdout.share * 10_000), f"{decision.trigger_id} acts for {decision.subject}, who is held out"
        )


def check_timers(check: Check, name: str, records: Sequence[Record], device_id: str) -> int:
    """Everything that time brings about is decided once, and nothing else is. How many there were. records: a whole log."""
    made = [record.decision for record in records if isinstance(record, DecisionOutput) and record.decision.placement == "edge"]
    twice = [one for one, count in Counter((decision.decision_id, decision.record) for decision in made).items() if count > 1]
    check(not twice, f"{name}: decided twice: {twice[:3]}")
    found = 0
    for trigger in catalogs()[0].triggers.values():
        if trigger.pattern is not None:
            wanted = Counter(_causes(trigger, records, device_id))
            decided = Counter(
                (one.subject, one.cause_id) for one in made if one.trigger_id == trigger.trigger_id and not one.record
            )
            missing, extra = list(wanted - decided)[:3], list(decided - wanted)[:3]
            check(wanted == decided, f"{name}: patterns and timers of {trigger.trigger_id}: missing {missing}, not due {extra}")
            found += sum(wanted.values())
    return found


def _causes(trigger: Trigger, records: Sequence[Record], device_id: str) -> list[tuple[str, str]]:
    """(subject, cause) of every completion of the trigger's pattern."""
    assert trigger.pattern is not None
    seen: list[tuple[str, Happening]] = []
    now = 0
    for number, record in enumerate(records):
        if isinstance(record, Input):
            now = max(now, record.moment.now)
        if isinstance(record, CatalogInput):
            assert any(record.catalog_digest == one.digest and trigger.trigger_id in one.triggers for one in catalogs())
        if isinstance(record, EventInput):
            seen.append((record.event.subject, Happening(number, now, record.event)))
        elif isinstance(record, TickInput):
            seen.append(("", Happening(number, now)))
    causes: list[tuple[str, str]] = []
    for subject in dict.fromkeys(subject for subject, _ in seen if subject):
        its = [happening for whose, happening in seen if whose in ("", subject)]
        for one in followed(trigger.pattern, trigger.policy.exit, its)[0]:
            timer = stable_id("timer", subject, "wait", trigger.trigger_id, one.instance, str(one.end), device_id)
            causes.append((subject, timer if one.end else one.event.event_id))
    return causes
