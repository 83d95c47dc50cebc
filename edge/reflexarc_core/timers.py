"""Timers: what of the subjects' ledgers waits for engine time, in the order in which it is due.

Owns the order alone: it follows from the ledgers, no snapshot holds it. Each thing that waits has one timer, which may be early:
what waits longer by now is found out when its time comes, and what ended too. Must never change a ledger.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from reflexarc_core.bucket import stable_id
from reflexarc_core.ledger import Ledger
from reflexarc_core.state import SubjectState
from reflexarc_core.trigger import Trigger

WAIT, HELD, STEP, LOOK = "wait", "held", "step", "look"
"""What waits: a pattern for what must not come, a held action, the next step of a content sequence, the next look at the
segments that a subject may leave or enter by time alone."""


class Waiter(NamedTuple):
    """of: the trigger, for a held action its decision. instance: of the pattern."""

    subject: str
    kind: str
    of: str
    instance: str = ""


class Timers:
    """Over the subjects of one engine."""

    def __init__(self, subjects: Mapping[str, SubjectState]) -> None:
        self._subjects: Final = subjects
        self._heap: list[tuple[int, Waiter]] = []
        self._due: dict[Waiter, int] = {}
        for subject in subjects:
            self.resume(subject)

    def resume(self, subject: str) -> None:
        """Wait for all that this subject's ledger and its membership say."""
        membership = self._subjects[subject].membership
        if membership is not None and membership.due_time:
            self.set(membership.due_time, Waiter(subject, LOOK, ""))
        ledger = self._subjects[subject].ledger
        if ledger is not None:
            for due_time, waiter in _all_of(subject, ledger):
                self.set(due_time, waiter)

    def set(self, due_time: int, waiter: Waiter) -> None:
        """Look at it at that engine time (ms), if nothing looks at it before."""
        held = self._due.get(waiter)
        if held is None or due_time < held:
            self._due[waiter] = due_time
            heapq.heappush(self._heap, (due_time, waiter))

    def set_for(self, subject: str, trigger_id: str, decision_id: str) -> None:
        """Wait for what a decision left in the ledger, if it did."""
        ledger = self._subjects[subject].ledger
        if ledger is None:
            return
        held = ledger.held.get(decision_id)
        if held is not None:
            self.set(held.due_time, Waiter(subject, HELD, decision_id))
        journey = ledger.journeys.get(trigger_id)
        if journey is not None and journey.due_time:
            self.set(journey.due_time, Waiter(subject, STEP, trigger_id))

    def next_due(self, triggers: Mapping[str, Trigger]) -> int | None:
        """When the first is due, ms; None when nothing waits."""
        self._settle(triggers)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int, triggers: Mapping[str, Trigger]) -> tuple[int, Waiter] | None:
        """The first that is due by now, with its time; it is waited for no longer. None when there is none."""
        self._settle(triggers)
        if not self._heap or self._heap[0][0] > now:
            return None
        due_time, waiter = heapq.heappop(self._heap)
        del self._due[waiter]
        return due_time, waiter

    def is_idle_until(self, time: int) -> bool:
        """Whether nothing can be due by that engine time (ms)."""
        return not self._heap or self._heap[0][0] > time

    def _settle(self, triggers: Mapping[str, Trigger]) -> None:
        """Until the first of them is one that is due at its time."""
        while self._heap:
            due_time, waiter = self._heap[0]
            really = self._due_of(waiter, triggers)
            if really == due_time == self._due.get(waiter):
                return
            heapq.heappop(self._heap)
            if self._due.get(waiter) == due_time:
                del self._due[waiter]
                if really is not None:
                    self.set(really, waiter)

    def _due_of(self, waiter: Waiter, triggers: Mapping[str, Trigger]) -> int | None:
        """When its ledger says that it is due; None when it waits no more."""
        subject = self._subjects.get(waiter.subject)
        if waiter.kind == LOOK:
            membership = subject.membership if subject is not None else None
            return (membership.due_time or None) if membership is not None else None
        if subject is None or subject.ledger is None:
            return None
        ledger = subject.ledger
        if waiter.kind == HELD:  # without its trigger it still has to end
            held = ledger.held.get(waiter.of)
            return None if held is None else held.due_time
        trigger = triggers.get(waiter.of)
        if trigger is None:
            return None
        if waiter.kind == WAIT:
            instance = ledger.instances.get(waiter.of, {}).get(waiter.instance)
            return (instance.wait_end or None) if instance is not None else None
        journey = ledger.journeys.get(waiter.of)
        return (journey.due_time or None) if journey is not None and journey.step < len(trigger.follows) else None


def timer_id(waiter: Waiter, due_time: int, device_id: str) -> str:
    """The id of the cause that time is: two devices of one person decide for themselves."""
    return stable_id("timer", *waiter, str(due_time), device_id)


def waits_of(subject: str, ledger: Ledger, upto: int) -> list[tuple[int, Waiter]]:
    """The waits of one subject that are over by that engine time (ms), in the order of a tick."""
    return sorted(one for one in _all_of(subject, ledger) if one[1].kind == WAIT and one[0] <= upto)


def _all_of(subject: str, ledger: Ledger) -> Iterator[tuple[int, Waiter]]:
    for trigger_id, instances in ledger.instances.items():
        for key, instance in instances.items():
            if instance.wait_end:
                yield instance.wait_end, Waiter(subject, WAIT, trigger_id, key)
    for decision_id, held in ledger.held.items():
        yield held.due_time, Waiter(subject, HELD, decision_id)
    for trigger_id, journey in ledger.journeys.items():
        if journey.due_time:
            yield journey.due_time, Waiter(subject, STEP, trigger_id)
