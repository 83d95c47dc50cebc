"""The reference: every decision again, from the whole history of inputs and of decisions, by docs/triggers.md and nothing else.

It keeps no state but those two lists. "Has it fired?", "is consent given?", "how full is the cap?" are searches through
them. Conditions are of the few forms that `plainly` reads; a trigger reads one model at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reflexarc_core.catalog import Catalog
from reflexarc_core.event import Event
from reflexarc_core.model import Scored
from reflexarc_core.record import AnswerInput, CatalogInput, EventInput, Input, ScoresInput, TickInput
from reflexarc_core.trigger import Trigger
from tests.reference.chains import Complete
from tests.reference.lists import MINUTE, Concluded, Taken
from tests.reference.plainly import is_open, is_quiet, is_true, opening, stable_id
from tests.reference.searches import Searches
from tests.reference.sequences import UnderWay, is_outcome_of
from tests.reference.splits import assigned, in_part, is_by_session, unit_of, variant_of

Due = tuple[int, str, str, str, str, "Concluded | Complete | UnderWay"]


@dataclass(frozen=True)
class Awaited:
    """An event whose scores were asked for, and the patterns that it made complete."""

    event: Event
    complete: list[tuple[Trigger, Complete]]


class Reference(Searches):
    """Takes the inputs one after the other, and says what is decided on each."""

    def __init__(self, catalog: Catalog, device_id: str = "") -> None:
        super().__init__(catalog, device_id)
        self._awaited: Awaited | None = None

    def take(self, given: Input, catalog: Catalog | None = None) -> list[Concluded]:
        """The records that this input leads to, in order."""
        before, last = len(self.made), self.history[-1] if self.history else None
        live = last.catalog if last is not None else self.first
        now = max(given.moment.now, last.now if last is not None else 0)
        self.history.append(Taken(len(self.history), now, given, live))
        if isinstance(given, CatalogInput):
            assert catalog is not None
            if catalog.digest != live.digest:
                for asking in sorted(self.asking, key=lambda one: one.decision_id):
                    self._answered(asking, None)
            self.history[-1] = replace(self.history[-1], catalog=catalog)
        elif isinstance(given, TickInput):
            self._time()
        elif isinstance(given, EventInput):
            self._event(given.event)
        elif isinstance(given, ScoresInput):
            assert self._awaited is not None
            awaited, self._awaited = self._awaited, None
            self._evaluate(awaited.event, awaited.complete, {scored.model_id: scored for _, scored in given.scores})
        elif isinstance(given, AnswerInput):
            for asking in [one for one in self.asking if one.decision_id == given.decision_id]:
                self._answered(asking, given.scored)
        return self.made[before:]

    @property
    def awaits_scores(self) -> bool:
        """Whether the newest event's models have to be asked before anything is decided on it."""
        return self._awaited is not None

    # -- what is due ----------------------------------------------------------------------------------------------

    def _time(self) -> None:
        """What has waited until now: held actions, steps and waits, in the order in which they are due."""
        due: list[Due] = []
        triggers, now = self._here.catalog.triggers, self._here.now
        for trigger in triggers.values():
            for subject in self._subjects():
                for over in self._completed(trigger, subject) if trigger.pattern is not None else ():
                    due.append((over.end, subject, "wait", trigger.trigger_id, over.instance, over))
                sequence = self._sequence(trigger, subject)
                if sequence is not None and 0 < sequence.due <= now:
                    due.append((sequence.due, subject, "step", trigger.trigger_id, "", sequence))
        for held in self._held():
            if held.due <= now:
                due.append((held.due, held.subject, "held", held.decision_id, "", held))
        for end, subject, kind, name, _, what in sorted(due, key=lambda each: each[:5]):
            if isinstance(what, Concluded):
                self._look_again(what)
            elif isinstance(what, Complete):
                self._wait_is_over(triggers[name], subject, what)
            else:
                cause = stable_id("timer", subject, kind, name, "", str(end), self.device_id)
                self._step(triggers[name], subject, what, cause, None)

    def _wait_is_over(self, trigger: Trigger, subject: str, over: Complete) -> None:
        if is_true(trigger.condition.text, over.event):
            cause = stable_id("timer", subject, "wait", trigger.trigger_id, over.instance, str(over.end), self.device_id)
            self._decide(trigger, subject, over.instance, over.event, cause, over.end, None)

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
            for asking in sorted(self.asking, key=lambda one: one.decision_id):
                if asking.subject == subject:
                    self._second(asking, "EXPIRED")
            return
        for name in sorted(here.catalog.triggers) if event.event_type == "outcome" else ():
            trigger, sequence = here.catalog.triggers[name], self._sequence(here.catalog.triggers[name], subject)
            goes_on = sequence is not None and is_outcome_of(sequence, event)
            if goes_on and event.properties["kind"] in trigger.follows[sequence.taken].on:
                self._step(trigger, subject, sequence, event.event_id, event)
        due = [(trigger, one) for trigger, one in complete if not one.end]
        if any(event.event_type in here.catalog.models[name].score_on for name in self._live_models()):
            self._awaited = Awaited(event, due)
        else:
            self._evaluate(event, due, {})

    def _evaluate(self, event: Event, complete: list[tuple[Trigger, Complete]], scores: Mapping[str, Scored]) -> None:
        """The triggers that this event, its scores and the patterns it made complete evaluate."""
        here, outputs = self._here, {}
        for model_id, scored in scores.items():
            outputs[here.catalog.models[model_id].output] = scored.score
        due = [(trigger, one.instance) for trigger, one in complete]
        for trigger in here.catalog.triggers.values():
            by_model = any(line.model_id in scores for line in trigger.lines) and not trigger.on and trigger.pattern is None
            if event.event_type in trigger.on or by_model:
                due.append((trigger, ""))
        for trigger, instance in sorted(due, key=lambda each: (-each[0].policy.priority, each[0].trigger_id)):
            if is_true(trigger.condition.text, event, outputs):
                scored_of = scores.get(trigger.lines[0].model_id) if trigger.lines else None
                self._decide(trigger, event.subject, instance, event, event.event_id, event.event_time, scored_of)

    # -- the order of the checks ----------------------------------------------------------------------------------

    def _decide(
        self, trigger: Trigger, subject: str, instance: str, event: Event, cause: str, since: int, scored: Scored | None
    ) -> None:
        """since: the event's own time, or the end of the wait. scored: by the model whose line the condition has."""
        made = self._blank(trigger, subject, instance, cause, event)
        reason = self._too_early(trigger, subject, since)
        if reason:
            self.made.append(replace(made, reason=reason))
            return
        if scored is not None:
            sure = self._is_sure(trigger, scored)
            asks = trigger.escalate == "confirm" or (trigger.escalate == "when_unsure" and not sure)
            if asks and trigger.confidence and self._here.given.moment.online:
                asked = trigger.lines[0].model_id
                self.made.append(replace(made, reason="ESCALATED", asked=asked, sure=sure, event=event, scored=scored))
                return
            if not sure:
                self.made.append(replace(made, reason="LOW_CONFIDENCE"))
                return
        self._settle(trigger, subject, made)

    def _answered(self, asking: Concluded, scored: Scored | None) -> None:
        """The server's answer, or that there is none."""
        here, subject, event = self._here, asking.subject, asking.event
        trigger = here.catalog.triggers[asking.trigger_id]
        made = replace(
            asking, number=here.number, time=here.now, record=1, reason="", asked="", mode=self._mode(trigger, subject)
        )
        output = here.catalog.models[asking.asked].output
        if self._is_paused(trigger.trigger_id):
            reason = "PAUSED"
        elif trigger.policy.purpose and not self._has_consent(subject, trigger.policy.purpose):
            reason = "CONSENT"
        elif scored is None:
            reason = "" if asking.sure else "LOW_CONFIDENCE"
        else:
            is_over = is_true(trigger.condition.text, event, {output: scored.score})
            reason = "" if is_over and self._is_sure(trigger, scored) else "LOW_CONFIDENCE"
        if reason:
            self.made.append(replace(made, reason=reason))
        else:
            self._settle(trigger, subject, made)

    def _is_sure(self, trigger: Trigger, scored: Scored) -> bool:
        line = trigger.lines[0]
        found = [confidence for known, confidence in scored.confidences if known == line.line]
        return not trigger.confidence or any(one > self._here.catalog.models[line.model_id].confidence_min for one in found)

    def _settle(self, trigger: Trigger, subject: str, made: Concluded) -> None:
        """From check 6 on."""
        event, policy = made.event, trigger.policy
        reason = self._held_back(trigger, subject, made)
        if reason:
            self.made.append(replace(made, reason=reason))
            return
        made = self._using(trigger, subject, made)
        kept = [one.kept for one in self._made_for(subject) if one.trigger_id == trigger.trigger_id]
        side = assigned(trigger, subject, event, self.device_id, next((one for one, _ in kept if one), ""))
        made = replace(made, kept=("" if is_by_session(policy.holdout, event) else side, ""), assignment=side)
        if side == "holdout":
            self.made.append(replace(made, reason="HOLDOUT"))
            return
        variant = variant_of(trigger, subject, event, self.device_id, next((one for _, one in kept if one), ""))
        action = next((way.action for way in policy.variants.ways if way.name == variant), "") if policy.variants else ""
        kept_here = made.kept[0], "" if is_by_session(policy.variants, event) else variant
        self._by_the_hour(trigger, replace(made, variant=variant, action=action or trigger.action, kept=kept_here))

    def _step(self, trigger: Trigger, subject: str, sequence: UnderWay, cause: str, event: Event | None) -> None:
        """The next step of a sequence: a decision of its own, that pause, consent, caps and hours may hold back."""
        follow, instance = trigger.follows[sequence.taken], f"step:{sequence.taken + 1}"
        made = replace(self._blank(trigger, subject, instance, cause, event), action=follow.action, begins=False)
        reason = ""
        if self._is_paused(trigger.trigger_id):
            reason = "PAUSED"
        elif trigger.policy.purpose and not self._has_consent(subject, trigger.policy.purpose):
            reason = "CONSENT"
        reason = reason or self._over_a_cap(trigger, subject)
        if reason:
            self.made.append(replace(made, reason=reason))
            return
        self._by_the_hour(trigger, replace(self._using(trigger, subject, made), assignment=sequence.assignment))

    def _by_the_hour(self, trigger: Trigger, made: Concluded) -> None:
        """Checks 13 to 16."""
        policy, here = trigger.policy, self._here
        local = here.now + here.given.moment.offset_minutes * MINUTE
        if (policy.quiet or policy.window or policy.best_hours) and not here.given.moment.trusted:
            made = replace(made, reason="CLOCK_UNTRUSTED")
        elif policy.quiet_then == "drop" and is_quiet(policy.quiet, local):
            made = replace(made, reason="QUIET_HOURS")
        elif not is_open(policy.quiet, policy.window, local):
            due = self._looked_at(trigger) if made.mode != "dry_run" else 0
            made = replace(made, reason="QUIET_HOURS", due=due, expires=here.now + policy.hold_ms_max)
        else:
            made = replace(made, reason="FIRED", acts=made.mode != "dry_run")
        self.made.append(made)

    def _blank(self, trigger: Trigger, subject: str, instance: str, cause: str, event: Event | None) -> Concluded:
        decision_id = stable_id(trigger.trigger_id, subject, instance, cause)
        return Concluded(
            self._here.number, trigger.trigger_id, subject, instance, cause, "", self._here.now, action=trigger.action,
            mode=self._mode(trigger, subject), decision_id=decision_id, event=event,
        )  # fmt: skip

    def _mode(self, trigger: Trigger, subject: str) -> str:
        return "test" if subject in self._here.catalog.test_subjects else "dry_run" if trigger.dry_run else ""

    def _too_early(self, trigger: Trigger, subject: str, since: int) -> str:
        """The first of the checks 1 to 4 that holds it back; nothing here is stale or warming but an old cause."""
        policy = trigger.policy
        if self._is_paused(trigger.trigger_id):
            return "PAUSED"
        if policy.max_age_ms and self._here.now - since > policy.max_age_ms:
            return "STALE"
        return "CONSENT" if policy.purpose and not self._has_consent(subject, policy.purpose) else ""

    def _held_back(self, trigger: Trigger, subject: str, made: Concluded) -> str:
        """The first of the checks 6 to 11 that holds it back."""
        policy, now, trigger_id = trigger.policy, self._here.now, trigger.trigger_id
        used = [one for one in self._made_for(subject) if one.uses]
        mine = [one for one in used if one.trigger_id == trigger_id]
        exits = [seen.number for seen in self._events_of(subject) if self._is_exit(seen, trigger_id)]
        # An exit forgets the entries where the catalog of that time says `after_exit`.
        opens = [number for number in exits if self.history[number].catalog.triggers[trigger_id].policy.reentry == "after_exit"]
        forgotten = max(opens, default=-1)
        has_entered = any(one.enters and one.instance == made.instance and one.number >= forgotten for one in mine)
        if self._sequence(trigger, subject) is not None:
            return "REENTRY"
        if policy.reentry in ("once", "after_exit") and has_entered:
            return "REENTRY"
        if policy.reentry == "until_exit" and exits:
            return "EXIT"
        if policy.cooldown_ms and mine and now - max(one.time for one in mine) < policy.cooldown_ms:
            return "COOLDOWN"
        reason = self._over_a_cap(trigger, subject)
        if reason:
            return reason
        if policy.slot and not trigger.dry_run and any(one.slot == policy.slot and one.cause == made.cause for one in used):
            return "PRIORITY"
        group = policy.group
        if group is not None and not in_part(group, unit_of(group.unit, subject, made.event, self.device_id)):
            return "PRIORITY"
        return ""

    def _over_a_cap(self, trigger: Trigger, subject: str) -> str:
        """Check 9."""
        used = [one for one in self._made_for(subject) if one.uses]
        for name, cap in self._caps_of(trigger):
            if self._is_leased(cap, subject):
                if not self._lease(subject, name):
                    return "NO_LEASE"
            elif self._is_full(cap, name, used):
                return "CAP"
        return ""

    def _using(self, trigger: Trigger, subject: str, made: Concluded) -> Concluded:
        """It uses cooldown, caps, entry and slot."""
        caps, policy = self._caps_of(trigger), trigger.policy
        return replace(
            made, uses=True, slot="" if trigger.dry_run else policy.slot, enters=policy.reentry != "always",
            counted={name: cap.count for name, cap in caps if not self._is_leased(cap, subject)},
            lease_id="".join(self._lease(subject, name) for name, cap in caps if self._is_leased(cap, subject)),
        )  # fmt: skip

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
        """What was held, or asked the server, ends."""
        acts = reason == "FIRED" and held.mode != "dry_run"
        here = self._here
        self.made.append(
            replace(held, number=here.number, reason=reason, time=here.now, record=held.record + 1, acts=acts, uses=False,
                    slot="", due=0, enters=False, counted={}, asked="")
        )  # fmt: skip

    def _wait_on(self, held: Concluded, due: int) -> None:
        self.made[self.made.index(held)] = replace(held, due=due)
