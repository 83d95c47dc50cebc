"""Patterns, from the whole history every time: docs/triggers.md, "How a pattern is followed", point by point.

A chain is found by asking backwards: "which was the newest chain at step k after these events?" Nothing is carried along but the
list of events since an instance was last forgotten. Must never be quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from reflexarc_core.event import Event
from reflexarc_core.pattern import Pattern, Step
from tests.reference.plainly import is_true

Chain = tuple[int, int]
"""The own times of its first and of its newest event."""


@dataclass(frozen=True)
class Happening:
    """One thing the instances of a subject saw: an event of its own, or a tick; engine time was `now`."""

    number: int
    now: int
    event: Event | None = None


@dataclass(frozen=True)
class Wait:
    """Since step m was made: until `end`, with the event that made it."""

    event: Event
    end: int


@dataclass(frozen=True)
class Complete:
    """The pattern became complete at a happening: with this event; at the end of a wait, or by the event itself (end = 0)."""

    number: int
    instance: str
    event: Event
    end: int


@dataclass
class Instance:
    """since: the events that came since it was last forgotten."""

    since: list[Event] = field(default_factory=list)
    wait: Wait | None = None


def single_steps(pattern: Pattern) -> list[Step]:
    """Steps 1..m: a count of n is n steps; the one that must not come is none of them."""
    return [step for step in pattern.steps if not step.absent for _ in range(step.count)]


def made_by_last(pattern: Pattern, events: list[Event]) -> Chain | None:
    """The chain that the last of these events makes at step m, None when it does not make it."""

    @cache
    def newest(n: int, k: int) -> Chain | None:
        """The newest chain at step k (from 1) after the first n events."""
        if n == 0:
            return None
        made = makes(n, k)
        return made if made is not None else newest(n - 1, k)

    @cache
    def makes(n: int, k: int) -> Chain | None:
        """The chain that event n makes at step k."""
        event, step = events[n - 1], steps[k - 1]
        if not is_of(step, event):
            return None
        if k == 1:
            return event.event_time, event.event_time
        before = newest(n - 1, k - 1)
        if before is None or before[1] > event.event_time:
            return None
        if step.within_ms and event.event_time - before[1] > step.within_ms:
            return None
        if pattern.within_ms and event.event_time - before[0] > pattern.within_ms:
            return None
        return before[0], event.event_time

    steps = single_steps(pattern)
    return makes(len(events), len(steps))


def is_of(step: Step, event: Event) -> bool:
    """Whether the event is one of the step's, and `where` is true of it."""
    return event.event_type in step.events and (step.where is None or is_true(step.where.text, event))


def followed(pattern: Pattern, exits: tuple[str, ...], happenings: Iterable[Happening]) -> tuple[list[Complete], dict[str, Wait]]:
    """Everything that became complete, and the waits that are open at the end, by instance."""
    complete: list[Complete] = []
    instances: dict[str, Instance] = {}
    absent = pattern.steps[-1] if pattern.steps[-1].absent else None
    for seen in happenings:
        event = seen.event
        # An event sees the waits that were over when it happened; a tick, those that are over now.
        upto = seen.now if event is None else min(seen.now, event.event_time)
        for key, instance in list(instances.items()):
            if instance.wait is not None and instance.wait.end <= upto:
                complete.append(Complete(seen.number, key, instance.wait.event, instance.wait.end))
                del instances[key]
        if event is None:
            continue
        if event.event_type in exits or event.event_type == "reset":
            instances.clear()
        key_value = "" if not pattern.key else str(event.properties[pattern.key]) if pattern.key in event.properties else None
        if event.event_type in pattern.cancel:
            for key in [key for key in instances if key_value is None or key == key_value]:
                del instances[key]
        if key_value is None or not any(event.event_type in step.events for step in pattern.steps):
            continue
        held = instances.get(key_value)
        wait = held.wait if held is not None else None
        if (
            absent is not None
            and wait is not None
            and wait.event.event_time <= event.event_time <= wait.end
            and is_of(absent, event)
        ):
            del instances[key_value]
        held = instances.setdefault(key_value, Instance())
        held.since.append(event)
        if made_by_last(pattern, held.since) is None:
            continue
        if absent is None:
            complete.append(Complete(seen.number, key_value, event, 0))
            del instances[key_value]
        elif (end := event.event_time + absent.within_ms) > seen.now and (held.wait is None or end >= held.wait.end):
            held.wait = Wait(event, end)
    return complete, {key: instance.wait for key, instance in instances.items() if instance.wait is not None}
