"""Chains: how a pattern is followed, event by event, for one subject.

Owns the rules of docs/triggers.md, "How a pattern is followed". Pure; the instances it changes belong to the subject's ledger.
Must never read a clock: an event brings its own time, the engine its `now`.
"""

from __future__ import annotations

from typing import Any, Final

from reflexarc_core.condition import Compiled, EvaluationError, compile_expression
from reflexarc_core.event import Event
from reflexarc_core.pattern import Pattern
from reflexarc_core.value import changeable, frozen

INSTANCES_MAX: Final = 256
"""Of one trigger, for one subject."""


@changeable
class Instance:
    """How far one pattern has come for one key.

    chains: by step, the (first, last) event times of the newest chain that reached it, None for none. wait_end: when an open wait
    ends, ms, 0 for none; event: what opened it.
    """

    chains: list[tuple[int, int] | None]
    wait_end: int = 0
    event: Event | None = None


@frozen
class _Made:
    """A step as it is looked at: its events, `where`, how long after the step before."""

    events: frozenset[str]
    where: Compiled | None
    within_ms: int

    def by(self, event: Event, values: dict[str, Any]) -> bool:
        """Whether the event is such a step, whenever it came."""
        if event.event_type not in self.events:
            return False
        if self.where is None:
            return True
        try:
            return bool(self.where.evaluate(values, {}, {}, {}))
        except EvaluationError:
            return False


class Follower:
    """One trigger's pattern, compiled. event_types: those that move, complete or cancel it."""

    def __init__(self, trigger_id: str, pattern: Pattern) -> None:
        self.trigger_id: Final = trigger_id
        self.pattern: Final = pattern
        self._cancel = frozenset(pattern.cancel)
        self._steps: list[_Made] = []
        self._absent: _Made | None = None
        for step in pattern.steps:
            where = None if step.where is None else compile_expression(step.where)
            made = _Made(frozenset(step.events), where, step.within_ms)
            if step.absent:
                self._absent = made
            else:
                # A repetition is a step of its own: its time is counted from the one before it.
                self._steps += [made] * step.count
        named = (*self._steps, *([self._absent] if self._absent is not None else []))
        self.event_types: Final = self._cancel.union(*(step.events for step in named))

    def move(self, instances: dict[str, Instance], event: Event, now: int) -> tuple[str, Instance | None, bool]:
        """What one event does: the instance's key, the instance as it is now (None where there is none), whether it is complete.

        now: engine time, ms: a wait that would be over already is not opened.
        """
        key = self._key_of(event)
        if event.event_type in self._cancel:
            if key is None:
                instances.clear()
            else:
                instances.pop(key, None)
        if key is None:
            return "", None, False
        values = {**event.context, **event.properties}
        instance = instances.get(key)
        if instance is not None and self._ends_wait(instance, event, values):
            del instances[key]
            instance = None
        moved = False
        for index in range(len(self._steps) - 1, -1, -1):
            chain = self._chain(instance, index, event, values)
            if chain is None:
                continue
            moved = True
            if instance is None:
                instance = Instance([None] * len(self._steps))
            if index < len(self._steps) - 1:
                instance.chains[index] = chain
            elif self._absent is None:
                instances.pop(key, None)
                return key, None, True
            else:
                wait_end = event.event_time + self._absent.within_ms
                # An event that came late must not shorten the wait for what came after it.
                if wait_end > now and wait_end >= instance.wait_end:
                    instance.chains[index] = chain
                    instance.wait_end, instance.event = wait_end, event
        if instance is not None and moved and (instance.wait_end or any(instance.chains)):
            self._keep(instances, key, instance)
        return key, instances.get(key), False

    def _key_of(self, event: Event) -> str | None:
        """The key of the event's instance; None when it has none."""
        if not self.pattern.key:
            return ""
        value = event.properties.get(self.pattern.key)
        return None if value is None else str(value)

    def _ends_wait(self, instance: Instance, event: Event, values: dict[str, Any]) -> bool:
        if self._absent is None or not instance.wait_end or instance.event is None:
            return False
        return instance.event.event_time <= event.event_time <= instance.wait_end and self._absent.by(event, values)

    def _chain(self, instance: Instance | None, index: int, event: Event, values: dict[str, Any]) -> tuple[int, int] | None:
        """The chain that this event makes at the step, None when it does not."""
        time = event.event_time
        step = self._steps[index]
        if index == 0:
            return (time, time) if step.by(event, values) else None
        before = instance.chains[index - 1] if instance is not None else None
        if before is None:
            return None
        first, last = before
        if time < last or (step.within_ms and time - last > step.within_ms):
            return None
        if self.pattern.within_ms and time - first > self.pattern.within_ms:
            return None
        return (first, time) if step.by(event, values) else None

    def _keep(self, instances: dict[str, Instance], key: str, instance: Instance) -> None:
        """The instance is the one moved last; the one moved longest ago makes room."""
        instances.pop(key, None)
        if len(instances) >= INSTANCES_MAX:
            del instances[next(iter(instances))]
        instances[key] = instance
