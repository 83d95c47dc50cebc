"""The reference: every decision again, from the whole history of inputs and of decisions, by docs/triggers.md and nothing else.

It keeps no state but those two lists. "Has it fired?", "is consent given?", "how full is the cap?" are searches through
them. Conditions are of the few forms that `plainly` reads; models and escalation are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_core.policy import Cap, Group, Holdout, Variants
from reflexarc_core.record import CatalogInput, ControlInput, EventInput, Input, TickInput
from reflexarc_core.trigger import Trigger
from tests.reference.chains import Complete, Happening, Wait, followed
from tests.reference.plainly import is_open, is_quiet, is_true, opening, place, stable_id

MINUTE = 60_000
DAY = 1_440 * MINUTE


@dataclass(frozen=True)
class Taken:
    """One input of the history, the engine time it made, and the catalog that is live behind it."""

    number: int
    now: int
    given: Input
    catalog: Catalog


@dataclass(frozen=True)
class Concluded:
    """One record of one decision. due: engine time at which a held one is looked at again, 0 = it is not held; expires: how long
    it may be. uses: whether it uses cooldown, caps and slot; counted: the caps it counts in, and how many uses each remembered
    then; enters: whether its trigger minds entries. kept: the assignment and the variant that stay for the subject."""

    number: int
    trigger_id: str
    subject: str
    instance: str
    cause: str
    reason: str
    time: int
    record: int = 0
    assignment: str = ""
    variant: str = ""
    mode: str = ""
    action: str = ""
    acts: bool = False
    uses: bool = False
    slot: str = ""
    due: int = 0
    expires: int = 0
    enters: bool = False
    kept: tuple[str, str] = ("", "")
    decision_id: str = ""
    counted: dict[str, int] = field(default_factory=dict)


class Reference:
    """Takes the inputs one after the other, and says what is decided on each."""

    def __init__(self, catalog: Catalog, device_id: str = "") -> None:
        self.device_id = device_id
        self.first = catalog
        self.history: list[Taken] = []
        self.made: list[Concluded] = []

    def take(self, given: Input, catalog: Catalog | None = None) -> list[Concluded]:
        """The records that this input leads to, in order."""
        before, last = len(self.made), self.history[-1] if self.history else None
        live = last.catalog if last is not None else self.first
        now = max(given.moment.now, last.now if last is not None else 0)
        self.history.append(Taken(len(self.history), now, given, live))
        if isinstance(given, CatalogInput):
            assert catalog is not None
            self.history[-1] = replace(self.history[-1], catalog=catalog)
        elif isinstance(given, TickInput):
            self._time()
        elif isinstance(given, EventInput):
            self._event(given.event)
        return self.made[before:]

    @property
    def due(self) -> int | None:
        """The next moment (engine time) at which something would happen by itself."""
        found = [one.due for one in self._held()]
        for trigger in self._here.catalog.triggers.values():
            for subject in self._subjects() if trigger.pattern is not None else ():
                found += [wait.end for wait in self._waits(trigger, subject).values()]
        return min(found, default=None)

    # -- what is due ----------------------------------------------------------------------------------------------

    def _time(self) -> None:
        """What has waited until now: held actions and waits, in the order in which they are due."""
        due: list[tuple[int, str, str, str, str, Concluded | Complete]] = []
        for trigger in self._here.catalog.triggers.values():
            for subject in self._subjects() if trigger.pattern is not None else ():
                for over in self._completed(trigger, subject):
                    due.append((over.end, subject, "wait", trigger.trigger_id, over.instance, over))
        for held in self._held():
            if held.due <= self._here.now:
                due.append((held.due, held.subject, "held", held.decision_id, "", held))
        for _, subject, _, name, _, what in sorted(due, key=lambda each: each[:5]):
            if isinstance(what, Concluded):
                self._look_again(what)
            else:
                self._wait_is_over(self._here.catalog.triggers[name], subject, what)

    def _wait_is_over(self, trigger: Trigger, subject: str, over: Complete) -> None:
        if is_true(trigger.condition.text, over.event):
            cause = stable_id("timer", subject, "wait", trigger.trigger_id, over.instance, str(over.end), self.device_id)
            self._decide(trigger, subject, over.instance, over.event, cause, over.end)

    def _event(self, event: Event) -> None:
        here, subject = self._here, event.subject
        complete: list[tuple[Trigger, Complete]] = []
        for trigger in here.catalog.triggers.values():
            if trigger.pattern is not None:
                complete += [(trigger, one) for one in self._completed(trigger, subject)]
        # What was over before the event is decided as if it were not there yet.
        self.history[-1] = replace(here, number=here.number - 1, given=TickInput(here.given.moment))
        over = [(one.end, trigger.trigger_id, one.instance, trigger, one) for trigger, one in complete if one.end]
        for _, _, _, trigger, one in sorted(over, key=lambda each: each[:3]):
            self._wait_is_over(trigger, subject, one)
        self.history[-1] = here
        is_reset = event.event_type == "reset"
        for held in sorted(self._held(), key=lambda one: ("" if is_reset else one.trigger_id, one.decision_id)):
            if held.subject != subject:
                continue
            owner = here.catalog.triggers.get(held.trigger_id)
            if is_reset:
                self._second(held, "EXPIRED")
            elif owner is not None and event.event_type in owner.policy.exit:
                self._second(held, "EXIT")
        if is_reset:
            return
        due = [(trigger, one.instance) for trigger, one in complete if not one.end]
        due += [(trigger, "") for trigger in here.catalog.triggers.values() if event.event_type in trigger.on]
        for trigger, instance in sorted(due, key=lambda each: (-each[0].policy.priority, each[0].trigger_id)):
            if is_true(trigger.condition.text, event):
                self._decide(trigger, subject, instance, event, event.event_id, event.event_time)

    # -- the order of the checks ----------------------------------------------------------------------------------

    def _decide(self, trigger: Trigger, subject: str, instance: str, event: Event, cause: str, since: int) -> None:
        """since: the event's own time, or the end of the wait."""
        policy, here = trigger.policy, self._here
        is_test = subject in here.catalog.test_subjects
        mode = "test" if is_test else "dry_run" if trigger.dry_run else ""
        made = Concluded(
            here.number,
            trigger.trigger_id,
            subject,
            instance,
            cause,
            "",
            here.now,
            mode=mode,
            action=trigger.action,
            decision_id=stable_id(trigger.trigger_id, subject, instance, cause),
        )
        reason = self._held_back(trigger, subject, instance, event, cause, since)
        if reason:
            self.made.append(replace(made, reason=reason))
            return
        shared = dict(self._covering(trigger))
        own = {f"of {trigger.trigger_id}": policy.cap} if policy.cap is not None else {}
        made = replace(
            made, uses=True, slot="" if trigger.dry_run else policy.slot, enters=policy.reentry != "always",
            counted={name: cap.count for name, cap in (*shared.items(), *own.items())},
        )  # fmt: skip
        assignment = self._assigned(trigger, subject, event)
        made = replace(made, kept=("" if self._is_by_session(policy.holdout, event) else assignment, ""))
        if assignment == "holdout":
            self.made.append(replace(made, reason="HOLDOUT", assignment=assignment))
            return
        variant = self._variant(trigger, subject, event)
        action = next((way.action for way in policy.variants.ways if way.name == variant), "") if policy.variants else ""
        kept = made.kept[0], "" if self._is_by_session(policy.variants, event) else variant
        made = replace(made, assignment=assignment, variant=variant, action=action or trigger.action, kept=kept)
        local = here.now + here.given.moment.offset_minutes * MINUTE
        if (policy.quiet or policy.window) and not here.given.moment.trusted:
            made = replace(made, reason="CLOCK_UNTRUSTED")
        elif policy.quiet_then == "drop" and is_quiet(policy.quiet, local):
            made = replace(made, reason="QUIET_HOURS")
        elif not is_open(policy.quiet, policy.window, local):
            due = self._looked_at(trigger) if mode != "dry_run" else 0
            made = replace(made, reason="QUIET_HOURS", due=due, expires=here.now + policy.hold_ms_max)
        else:
            made = replace(made, reason="FIRED", acts=mode != "dry_run")
        self.made.append(made)

    def _held_back(self, trigger: Trigger, subject: str, instance: str, event: Event, cause: str, since: int) -> str:
        """The first of the checks 1 to 11 that holds it back; models are no part of this."""
        policy, now, trigger_id = trigger.policy, self._here.now, trigger.trigger_id
        used = [one for one in self._made_for(subject) if one.uses]
        mine = [one for one in used if one.trigger_id == trigger_id]
        exits = [seen.number for seen in self._events_of(subject) if self._is_exit(seen, trigger_id)]
        # An exit forgets the entries where the catalog of that time says `after_exit`.
        opens = [number for number in exits if self.history[number].catalog.triggers[trigger_id].policy.reentry == "after_exit"]
        forgotten = max(opens, default=-1)
        has_entered = any(one.enters and one.instance == instance and one.number >= forgotten for one in mine)
        if self._is_paused(trigger_id):
            return "PAUSED"
        if policy.max_age_ms and now - since > policy.max_age_ms:
            return "STALE"
        if policy.purpose and not self._has_consent(subject, policy.purpose):
            return "CONSENT"
        if policy.reentry in ("once", "after_exit") and has_entered:
            return "REENTRY"
        if policy.reentry == "until_exit" and exits:
            return "EXIT"
        if policy.cooldown_ms and mine and now - max(one.time for one in mine) < policy.cooldown_ms:
            return "COOLDOWN"
        own = [(f"of {trigger_id}", policy.cap)] if policy.cap is not None else []
        for name, cap in (*own, *self._covering(trigger)):
            if cap.scope == "global" and not subject.startswith("session:"):
                return "NO_LEASE"  # nobody gives any out here
            if self._is_full(cap, name, used):
                return "CAP"
        if policy.slot and not trigger.dry_run and any(one.slot == policy.slot and one.cause == cause for one in used):
            return "PRIORITY"
        if policy.group is not None and not self._in_part(policy.group, self._unit(policy.group.unit, subject, event)):
            return "PRIORITY"
        return ""

    def _look_again(self, held: Concluded) -> None:
        here = self._here
        trigger = here.catalog.triggers.get(held.trigger_id)
        if self._is_paused(held.trigger_id):
            self._second(held, "PAUSED")
        elif here.now > held.expires or trigger is None:
            self._second(held, "EXPIRED")
        elif trigger.policy.purpose and not self._has_consent(held.subject, trigger.policy.purpose):
            self._second(held, "CONSENT")
        elif not here.given.moment.trusted:
            self._wait_on(held, here.now + MINUTE)
        elif self._looked_at(trigger) > here.now:
            self._wait_on(held, self._looked_at(trigger))
        else:
            self._second(held, "FIRED")

    def _looked_at(self, trigger: Trigger) -> int:
        """When the hours are over, or the offset changes, whichever comes first; now where there is nothing to wait for."""
        moment, now = self._here.given.moment, self._here.now
        shift = moment.offset_minutes * MINUTE
        over = opening(trigger.policy.quiet, trigger.policy.window, now + shift) - shift
        return min(over, moment.next_offset_time) if moment.next_offset_time > now else over

    def _second(self, held: Concluded, reason: str) -> None:
        acts = reason == "FIRED" and held.mode != "dry_run"
        here = self._here
        self.made.append(
            replace(held, number=here.number, reason=reason, time=here.now, record=1, acts=acts, uses=False, slot="", due=0,
                    enters=False, counted={})
        )  # fmt: skip

    def _wait_on(self, held: Concluded, due: int) -> None:
        self.made[self.made.index(held)] = replace(held, due=due)

    # -- searches -------------------------------------------------------------------------------------------------

    @property
    def _here(self) -> Taken:
        return self.history[-1]

    def _held(self) -> list[Concluded]:
        ended = {one.decision_id for one in self.made if one.record == 1}
        return [one for one in self.made if one.due and one.decision_id not in ended]

    def _subjects(self) -> list[str]:
        found = [seen.given.event.subject for seen in self.history if isinstance(seen.given, EventInput)]
        return list(dict.fromkeys(found))

    def _begin(self, subject: str) -> int:
        """The first input that still counts for a subject: a session that ended leaves nothing."""
        ends = [
            seen.number
            for seen in self.history
            if isinstance(seen.given, EventInput)
            and seen.given.event.event_type == "reset"
            and seen.given.event.subject == subject
            and subject.startswith("session:")
            and seen is not self._here
        ]
        return max(ends, default=-1) + 1

    def _events_of(self, subject: str) -> list[Taken]:
        return [
            seen
            for seen in self.history[self._begin(subject) :]
            if isinstance(seen.given, EventInput) and seen.given.event.subject == subject
        ]

    def _made_for(self, subject: str) -> list[Concluded]:
        return [one for one in self.made if one.subject == subject and one.number >= self._begin(subject)]

    @staticmethod
    def _is_exit(seen: Taken, trigger_id: str) -> bool:
        trigger = seen.catalog.triggers.get(trigger_id)
        return trigger is not None and isinstance(seen.given, EventInput) and seen.given.event.event_type in trigger.policy.exit

    def _is_paused(self, trigger_id: str) -> bool:
        said = [seen.given.paused for seen in self.history if isinstance(seen.given, ControlInput)]
        return bool(said) and ("*" in said[-1] or trigger_id in said[-1])

    def _has_consent(self, subject: str, purpose: str) -> bool:
        said = [
            seen.given.event.properties["granted"]
            for seen in self._events_of(subject)
            if isinstance(seen.given, EventInput)
            and seen.given.event.event_type == "consent"
            and seen.given.event.properties["purpose"] == purpose
        ]
        return bool(said) and said[-1] is True

    def _covering(self, trigger: Trigger) -> Iterator[tuple[str, Cap]]:
        catalog = self._here.catalog
        for name in sorted(catalog.caps) if not trigger.dry_run else ():
            cap = catalog.caps[name]
            is_everything = not cap.channels and not cap.triggers
            is_named = trigger.trigger_id in cap.triggers or catalog.actions[trigger.action].channel in cap.channels
            if (is_everything or is_named) and name not in trigger.policy.exempt:
                yield name, cap

    def _is_full(self, cap: Cap, name: str, used: list[Concluded]) -> bool:
        times: list[int] = []
        for one in used:
            if name in one.counted:
                times = [*times, one.time][-one.counted[name] :]
        now, shift = self._here.now, self._here.given.moment.offset_minutes * MINUTE
        if cap.window_ms:
            return len([time for time in times if time > now - cap.window_ms]) >= cap.count
        days = 1 if cap.calendar == "day" else 7
        # 1970-01-01 was a Thursday: weeks begin three days earlier.
        early = 3 * DAY if cap.calendar == "week" else 0

        def period(time: int) -> int:
            return (time + shift + early) // (days * DAY)

        return len([time for time in times if period(time) == period(now)]) >= cap.count

    def _unit(self, unit: str, subject: str, event: Event) -> str:
        if unit == "session" and "session_id" in event.context:
            return str(event.context["session_id"])
        return self.device_id or subject if unit == "device" else subject

    @staticmethod
    def _in_part(group: Group, unit: str) -> bool:
        return round(group.low * 10_000) <= place(f"group:{group.name}", unit) < round(group.high * 10_000)

    @staticmethod
    def _is_by_session(split: Holdout | Variants | None, event: Event) -> bool:
        """By its hash alone: the next session of the same subject is another unit."""
        return split is not None and split.unit == "session" and "session_id" in event.context

    def _assigned(self, trigger: Trigger, subject: str, event: Event) -> str:
        holdout = trigger.policy.holdout
        if holdout is None:
            return ""
        kept = [one.kept[0] for one in self._made_for(subject) if one.trigger_id == trigger.trigger_id and one.kept[0]]
        if kept and not self._is_by_session(holdout, event):
            return kept[0]
        stands = place(holdout.salt or trigger.trigger_id, self._unit(holdout.unit, subject, event))
        return "holdout" if stands < round(holdout.share * 10_000) else "treated"

    def _variant(self, trigger: Trigger, subject: str, event: Event) -> str:
        variants = trigger.policy.variants
        if variants is None:
            return ""
        kept = [one.kept[1] for one in self._made_for(subject) if one.trigger_id == trigger.trigger_id and one.kept[1]]
        if kept and not self._is_by_session(variants, event):
            return kept[0]
        stands = place(f"variant:{variants.salt or trigger.trigger_id}", self._unit(variants.unit, subject, event))
        ways = sorted(variants.ways, key=lambda way: way.name)
        for n, way in enumerate(ways, 1):
            if stands < round(sum(one.share for one in ways[:n]) * 10_000):
                return way.name
        return ways[-1].name

    # -- patterns -------------------------------------------------------------------------------------------------

    def _followed(self, trigger: Trigger, subject: str) -> tuple[list[Complete], dict[str, Wait]]:
        assert trigger.pattern is not None
        begin = self._begin(subject)
        for seen in self.history[begin:]:
            then = seen.catalog.triggers.get(trigger.trigger_id)
            if then is None or then.pattern != trigger.pattern:
                begin = seen.number + 1
        happenings = [
            Happening(seen.number, seen.now, seen.given.event if isinstance(seen.given, EventInput) else None)
            for seen in self.history[begin:]
            if isinstance(seen.given, TickInput) or (isinstance(seen.given, EventInput) and seen.given.event.subject == subject)
        ]
        return followed(trigger.pattern, trigger.policy.exit, happenings)

    def _completed(self, trigger: Trigger, subject: str) -> list[Complete]:
        """What became complete with the newest input."""
        return [one for one in self._followed(trigger, subject)[0] if one.number == self._here.number]

    def _waits(self, trigger: Trigger, subject: str) -> dict[str, Wait]:
        return self._followed(trigger, subject)[1]
