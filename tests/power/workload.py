"""Workloads: what is done to a store between its beginning and its end, drawn from a seed.

Owns the steps and how often each is taken. Promises are noted after they were given, what may be given up before it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.record import CatalogInput, DecisionOutput, HandedOutput, LossOutput, Moment, TickInput
from reflexarc_edge.capture import Capture, encode_capture
from reflexarc_edge.upload import upload_batch
from tests.power.ledger import Wrong, body_of, state_bytes
from tests.power.life import T0, Life, Plan

STEPS: Final = 130
_WEIGHTS: Final = {
    "append": 30,
    "append_many": 4,
    "append_large": 2,
    "capture": 12,
    "decide": 5,
    "drain": 10,
    "upload": 7,
    "snapshot": 3,
    "house": 6,
    "checkpoint": 2,
    "blank": 1,
    "rewind": 1,
    "reopen": 3,
}
_TROUBLES: Final = {"kill": 2, "cut": 2, "catalog": 1, "visit": 3, "adopt": 2, "leave": 1}
_CALM: Final = {"blank": 6}
_SYNCS: Final = 16


@dataclass(frozen=True, slots=True)
class History:
    """What came of a life. wrongs: what did not hold when the power went within it; the life ends there."""

    plan: Plan
    tape: list[Any]
    wrongs: list[Wrong]
    counts: Counter[str]


def record(plan: Plan, base: Path) -> History:
    """Live it. base: an empty folder. AssertionError when the tape is not everything that the disk saw."""
    life = Workload(plan, base)
    with life.recorder:
        life.run()
    return History(plan, life.recorder.tape, life.wrongs, life.counts)


class Workload(Life):
    """Steps in any order."""

    def run(self) -> None:
        """All of it."""
        weights = _WEIGHTS | (_CALM if self.plan.is_calm else _TROUBLES)
        if self.plan.durability == "power":
            weights = weights | {"sync": _SYNCS}
        rots_at = self.rng.randint(STEPS // 4, STEPS // 2) if self.plan.begins == "rots" else -1
        self.begin()
        for number in range(STEPS):
            name = "rot" if number == rots_at else self.rng.choices(list(weights), list(weights.values()))[0]
            self.recorder.note("step", f"{number} {name}")
            self.counts[name] += 1
            getattr(self, name)()
            if self.wrongs:
                return
        self.end()

    # -- in -------------------------------------------------------------------------------------------------------

    def append(self) -> None:
        """One event."""
        self.log.append([self._some_event()], priority=self.rng.choice((0, 1, 1, 2)))

    def append_many(self) -> None:
        """Many small records at once."""
        self.log.append([TickInput(Moment(T0 + next(self.made))) for _ in range(self.rng.choice((2, 20, 200)))])

    def append_large(self) -> None:
        """About as large as a segment of the journal, or larger."""
        segment = self.plan.bounds.segment_bytes
        self.log.append([self.event(segment + self.rng.choice((-300, 0, 5_000)))], priority=0)

    def capture(self) -> None:
        """Events that nothing waits for; with and without an id of their own."""
        for _ in range(self.rng.choice((1, 1, 3, 20))):
            number = next(self.made)
            event_id = f"c{number}" if self.rng.random() < 0.5 else ""
            text = "c" * self.rng.randint(0, 400)
            capture = Capture("page_view", "known:1", event_id, T0 + number, -1, True, True, 1, -1, {"page_url": text})
            self.log.append_capture(encode_capture(capture))

    def decide(self) -> None:
        """An event that fires, or the handing over of what fired."""
        if self.fired and self.rng.random() < 0.5:
            self.log.append([HandedOutput(self.fired.pop(self.rng.randrange(len(self.fired))), T0)])
            return
        name = f"{next(self.made):032x}"
        fired = Decision(name, 0, "offer", "known:1", "e", Reason.FIRED, T0, "d", "device", True, expire_time=T0)
        self.log.append([self._some_event(), DecisionOutput(fired)])
        self.fired.append(name)

    def catalog(self) -> None:
        """A catalog, and the record that names it."""
        digest = f"catalog-{next(self.made)}"
        self.log.keep_catalog(digest, b"built" * self.rng.randint(1, 400))
        self.log.append([CatalogInput(Moment(T0), digest, "v", {})])

    # -- through and out ------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Into the store."""
        self.log.drain()

    def checkpoint(self) -> None:
        """Into the main file."""
        self.log.drain()
        self.log.spool.store.checkpoint(force=True)

    def blank(self) -> None:
        """Out of the journal."""
        with self.alone():
            self.log.spool.blank()

    def upload(self) -> None:
        """Send some of what is durable; the server may confirm a part of it."""
        self.sync()
        if self.rng.random() < 0.6:
            self.log.drain()
        batch = upload_batch(self.log, self.rng.choice((1, 10, 100, 1000)), 1 << 20)
        if not batch.records:
            return
        self.recorder.note("handed", {seq: body_of(record) for seq, _, record in batch.records})
        if self.rng.random() < 0.8:
            upto = self.rng.choice(batch.records)[0]
            self.recorder.note("acked", upto)
            self.log.acknowledge(upto)

    def rewind(self) -> None:
        """The server holds less of this numbering: up to a record that is still here, so nothing behind it was cut since."""
        floor, acked = self.log.meta("numbered_from", 0), self.log.acked_seq
        records = list(self.log.records(0))
        held = [seq for seq, record in records if floor < seq < acked and not isinstance(record, LossOutput)]
        if held:
            self.log.cursor.rewind(self.rng.choice(held))

    def snapshot(self) -> None:
        """Keep a state in which some subjects changed."""
        with self.alone():
            changed = {f"known:{self.rng.randint(1, 30)}": {"n": next(self.made)} for _ in range(self.rng.randint(0, 5))}
            dropped = {subject for subject in self.subjects if self.rng.random() < 0.1 and subject not in changed}
            after = {s: state for s, state in {**self.subjects, **changed}.items() if s not in dropped}
            head = {"head": next(self.made)}
            self.log.drain()
            self.recorder.note("snapshot", (self.log.last_seq, state_bytes(head, after)))
            self.log.keep_snapshot(head, changed, dropped)
            self.subjects = after

    def house(self) -> None:
        """Keep within the bounds: what is held elsewhere goes, then what matters least."""
        if self.rng.random() < 0.7:
            self.snapshot()
        self.log.spool.keep_house(self.log.spool.covered_seq)

    # -- other processes ------------------------------------------------------------------------------------------

    def visit(self) -> None:
        """Another process captures."""
        self.visitors.capture()

    def adopt(self) -> None:
        """What others captured comes in."""
        self.visitors.adopt()

    def leave(self) -> None:
        """The other process ends; the next one has a journal of its own."""
        self.visitors.end()

    def _some_event(self) -> Any:
        return self.event(self.rng.choice((10, 60, 200, 200, 900, 5_000)))
