"""What the reference asks of its two lists: who was where, what was said, what was used.

Every question is a search through everything there is. Must never decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from reflexarc_core.catalog import Catalog
from reflexarc_core.policy import Cap
from reflexarc_core.record import CatalogInput, ControlInput, EventInput, TickInput
from reflexarc_core.trigger import Trigger
from tests.reference.chains import Complete, Happening, Wait, followed
from tests.reference.leases import lease_of
from tests.reference.lists import DAY, MINUTE, Concluded, Taken
from tests.reference.sequences import UnderWay, under_way


class Searches:
    """The two lists, and the questions."""

    def __init__(self, catalog: Catalog, device_id: str = "") -> None:
        self.device_id = device_id
        self.first = catalog
        self.history: list[Taken] = []
        self.made: list[Concluded] = []

    @property
    def due(self) -> int | None:
        """The next moment (engine time) at which something would happen by itself."""
        found = [one.due for one in self._held()]
        for trigger in self._here.catalog.triggers.values():
            for subject in self._subjects():
                if trigger.pattern is not None:
                    found += [wait.end for wait in self._waits(trigger, subject).values()]
                sequence = self._sequence(trigger, subject)
                if sequence is not None and sequence.due:
                    found.append(sequence.due)
        return min(found, default=None)

    @property
    def asking(self) -> list[Concluded]:
        """What waits for the server's answer."""
        ended = {one.decision_id for one in self.made if one.record}
        return [one for one in self.made if one.asked and one.decision_id not in ended]

    @property
    def acted(self) -> list[Concluded]:
        """Every record by which something acted, or a step of a sequence was taken."""
        return [one for one in self.made if one.acts or not one.begins]

    @property
    def _here(self) -> Taken:
        return self.history[-1]

    def _held(self) -> list[Concluded]:
        newest = {one.decision_id: one.record for one in self.made}
        return [one for one in self.made if one.due and newest[one.decision_id] == one.record]

    def _subjects(self) -> list[str]:
        found = [seen.given.event.subject for seen in self.history if isinstance(seen.given, EventInput)]
        return list(dict.fromkeys(found))

    def _live_models(self) -> list[str]:
        said = [seen.given.models for seen in self.history if isinstance(seen.given, CatalogInput)]
        return [name for name in said[-1] if name in self._here.catalog.models] if said else []

    def _begin(self, subject: str) -> int:
        """The first input that still counts for a subject: a session that ended leaves nothing."""
        if not subject.startswith("session:"):
            return 0
        ends = [
            seen.number
            for seen in self.history
            if isinstance(seen.given, EventInput)
            and seen.given.event.event_type == "reset"
            and seen.given.event.subject == subject
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
        begin = self._begin(subject)
        return [one for one in self.made if one.subject == subject and one.number >= begin]

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

    def _caps_of(self, trigger: Trigger) -> list[tuple[str, Cap]]:
        """Its own, then the shared ones that cover it."""
        own = [(f"of {trigger.trigger_id}", trigger.policy.cap)] if trigger.policy.cap is not None else []
        return [*own, *self._covering(trigger)]

    def _covering(self, trigger: Trigger) -> Iterator[tuple[str, Cap]]:
        catalog = self._here.catalog
        for name in sorted(catalog.caps) if not trigger.dry_run else ():
            cap = catalog.caps[name]
            is_everything = not cap.channels and not cap.triggers
            is_named = trigger.trigger_id in cap.triggers or catalog.actions[trigger.action].channel in cap.channels
            if (is_everything or is_named) and name not in trigger.policy.exempt:
                yield name, cap

    @staticmethod
    def _is_leased(cap: Cap, subject: str) -> bool:
        return cap.scope == "global" and not subject.startswith("session:")

    def _lease(self, subject: str, cap: str) -> str:
        """The lease of the next use; none while the clock is not believed."""
        here = self._here
        return lease_of(self.history, self.made, subject, cap, here.now) if here.given.moment.trusted else ""

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

    # -- patterns and sequences -----------------------------------------------------------------------------------

    def _sequence(self, trigger: Trigger, subject: str) -> UnderWay | None:
        if not any(one.trigger_id == trigger.trigger_id and one.acts for one in self.made):
            return None
        begin = self._begin(subject)
        first = self.history[begin - 1].catalog if begin else self.first
        return under_way(self.history[begin:], first, self._made_for(subject), trigger.trigger_id, subject)

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
