"""The ledger: what patterns and policies remember of one subject.

Owns its form and exact round trip. Most subjects have none: it is made when the first of it is kept. Written by the engine alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from reflexarc_core import plain
from reflexarc_core.chain import Instance
from reflexarc_core.decision import Decision
from reflexarc_core.event import Event
from reflexarc_core.value import changeable

LEASES_MAX: Final = 8
"""Of one cap, for one subject; what is given beyond is not taken."""
LEASE_KEPT_MS: Final = 86_400_000
ENTERED_MAX: Final = 256
"""Instances of one trigger whose entry is remembered, for one subject."""


@changeable
class HeldAction:
    """An action that waits for the end of quiet hours or for its window. fired: the record it ends with if nothing comes between.

    due_time: when it is looked at next, expire_time: how long it may wait, both engine time, ms. begins: whether a content
    sequence begins with it; else it may be a step of one. shown: the ranked items it is about.
    """

    fired: Decision
    due_time: int
    expire_time: int
    begins: bool = True
    shown: tuple[str, ...] = ()


@changeable
class Journey:
    """A content sequence under way. step: how many of the trigger's further steps were taken. decision_id: of the step at hand.

    dismissals: so far. due_time: when the next step is due by itself, engine time, ms; 0 = only by an outcome. shown: the ranked
    items that its steps were about.
    """

    step: int
    decision_id: str
    dismissals: int
    due_time: int
    assignment: str = ""
    shown: tuple[str, ...] = ()


@changeable
class Lease:
    """Uses of a global cap that the server gave this device in advance: `used` of `tokens`. expire_time: engine time, ms."""

    lease_id: str
    tokens: int
    expire_time: int
    used: int = 0

    def is_open(self, now: int) -> bool:
        """Whether another use can be taken from it."""
        return self.used < self.tokens and self.expire_time > now


@dataclass(slots=True)
class Ledger:
    """By trigger: pattern instances by key, entries (instance -> engine time), exits, journeys. By decision: held actions.

    By cap: the newest uses (engine time), leases. By slot: the cause that took it last.
    """

    instances: dict[str, dict[str, Instance]] = field(default_factory=dict)
    held: dict[str, HeldAction] = field(default_factory=dict)
    journeys: dict[str, Journey] = field(default_factory=dict)
    uses: dict[str, list[int]] = field(default_factory=dict)
    leases: dict[str, list[Lease]] = field(default_factory=dict)
    entered: dict[str, dict[str, int]] = field(default_factory=dict)
    exited: dict[str, int] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)

    def enter(self, trigger_id: str, instance: str, now: int) -> None:
        """The trigger fired for this instance."""
        entries = self.entered.setdefault(trigger_id, {})
        entries.pop(instance, None)
        if len(entries) >= ENTERED_MAX:
            del entries[next(iter(entries))]
        entries[instance] = now

    def lease(self, cap: str, now: int) -> Lease | None:
        """What the next use of a cap is taken from: the open lease that ends first. None when there is none."""
        open_ones = [lease for lease in self.leases.get(cap, ()) if lease.is_open(now)]
        return min(open_ones, key=lambda lease: (lease.expire_time, lease.lease_id), default=None)

    def grant(self, cap: str, granted: Lease, now: int) -> None:
        """A lease as the server says it is. One that is over is remembered for a while: said again, its uses must not be new."""
        kept = [lease for lease in self.leases.get(cap, ()) if lease.expire_time + LEASE_KEPT_MS > now]
        for lease in kept:
            if lease.lease_id == granted.lease_id:
                lease.tokens, lease.expire_time = granted.tokens, granted.expire_time
                break
        else:
            if len(kept) < LEASES_MAX:
                kept.append(granted)
        self.leases[cap] = kept

    def use(self, cap: str, now: int, count_max: int) -> None:
        """One use of a cap; only as many are remembered as it allows."""
        times = self.uses.setdefault(cap, [])
        times.append(now)
        del times[:-count_max]

    def forget_instance(self, trigger_id: str, key: str) -> Instance:
        """The instance, which is kept no longer."""
        instances = self.instances[trigger_id]
        instance = instances.pop(key)
        if not instances:
            del self.instances[trigger_id]
        return instance

    def end(self) -> None:
        """Nothing is under way any more; what was done stays done."""
        self.instances.clear()
        self.held.clear()
        self.journeys.clear()

    def to_plain(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "instances": {t: {k: _instance_plain(i) for k, i in by_key.items()} for t, by_key in self.instances.items()},
            "held": {d: _held_plain(held) for d, held in self.held.items()},
            "journeys": {t: plain.to_plain(journey) for t, journey in self.journeys.items()},
            "uses": {cap: list(times) for cap, times in self.uses.items()},
            "leases": {cap: [plain.to_plain(lease) for lease in leases] for cap, leases in self.leases.items()},
            "entered": {t: dict(entries) for t, entries in self.entered.items()},
            "exited": dict(self.exited),
            "slots": dict(self.slots),
        }

    @staticmethod
    def from_plain(kept: dict[str, Any]) -> Ledger:
        return Ledger(
            instances={t: {k: _instance_back(i) for k, i in by_key.items()} for t, by_key in kept["instances"].items()},
            held={d: _held_back(held) for d, held in kept["held"].items()},
            journeys={t: plain.from_plain(Journey, journey) for t, journey in kept["journeys"].items()},
            uses={cap: list(times) for cap, times in kept["uses"].items()},
            leases={cap: [plain.from_plain(Lease, lease) for lease in leases] for cap, leases in kept["leases"].items()},
            entered={t: dict(entries) for t, entries in kept["entered"].items()},
            exited=dict(kept["exited"]),
            slots=dict(kept["slots"]),
        )


def _held_plain(held: HeldAction) -> list[Any]:
    shown = [list(held.shown)] if held.shown else []
    return [plain.to_plain(held.fired), held.due_time, held.expire_time, held.begins, *shown]


def _held_back(kept: list[Any]) -> HeldAction:
    return HeldAction(plain.from_plain(Decision, kept[0]), kept[1], kept[2], kept[3], tuple(kept[4]) if len(kept) > 4 else ())


def _instance_plain(instance: Instance) -> list[Any]:
    chains = [None if chain is None else list(chain) for chain in instance.chains]
    return [chains, instance.wait_end, None if instance.event is None else plain.to_plain(instance.event)]


def _instance_back(kept: list[Any]) -> Instance:
    chains = [None if chain is None else (chain[0], chain[1]) for chain in kept[0]]
    return Instance(chains, kept[1], None if kept[2] is None else event_back(kept[2]))


def event_back(kept: dict[str, Any]) -> Event:
    """The event of its `plain.to_plain`."""
    return Event(
        kept["event_id"], kept["event_type"], kept["subject"], kept["event_time"], dict(kept.get("properties", {})),
        dict(kept.get("context", {})), kept.get("source_position", -1),
    )  # fmt: skip
