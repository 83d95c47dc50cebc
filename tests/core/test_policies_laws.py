"""Laws of policies, patterns and time: what holds of every history, whatever the catalog, seen from outside.

The histories are those of the comparison with the reference, with clocks that leap fifty years either way; no expectation here
is the reference's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.effect import Act
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.policy import Cap
from reflexarc_core.record import CatalogInput, Input, Moment, TickInput
from reflexarc_core.replay import decisions
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.core.histories import DAY, HOUR, MINUTE, START, YEAR, Drawing, Restart, Switch
from tests.reference.plainly import is_open, place

DEVICE = "dev1"
LEAPS = (50 * YEAR, -50 * YEAR, 50 * YEAR, -50 * YEAR, DAY, -DAY)
USES = (Reason.FIRED, Reason.HOLDOUT, Reason.QUIET_HOURS, Reason.CLOCK_UNTRUSTED)
seeds = st.integers(0, 2**32)


@dataclass(frozen=True)
class Told:
    """One input of a log and what came of it."""

    moment: Moment
    engine_time: int
    decisions: tuple[Decision, ...]
    acts: tuple[Decision, ...]


class Log:
    """A history on the engine alone. restarts: whether it restarts before every input."""

    def __init__(self, seed: int, size: int, leaps: tuple[int, ...] = LEAPS, *, switches: bool = False, restarts: bool = False):
        drawing = Drawing(seed)
        pair = drawing.catalogs()
        self.catalogs = {catalog.digest: catalog for catalog in pair}
        self.catalog = pair[0]
        self.inputs: list[Input] = [CatalogInput(Moment(START), pair[0].digest, "", {})]
        for one in drawing.history(size, leaps):
            if isinstance(one, Switch):
                if switches:
                    self.inputs.append(CatalogInput(one.moment, pair[one.index].digest, "", {}))
            elif not isinstance(one, Restart):
                self.inputs.append(one)
        self.engine = Engine(Catalog(), "edge", device_id=DEVICE)
        self.told: list[Told] = []
        for number, one in enumerate(self.inputs):
            if restarts and number:
                self.engine = restored(self.engine)
            effects = self.engine.receive(one, self.catalogs[one.catalog_digest] if isinstance(one, CatalogInput) else None)
            made = tuple(effect.decision for effect in effects if isinstance(effect, RecordEffect))
            acts = tuple(effect.decision for effect in effects if isinstance(effect, Act))
            self.told.append(Told(one.moment, self.engine.state.engine_time, made, acts))

    @property
    def decisions(self) -> list[Decision]:
        return [decision for told in self.told for decision in told.decisions]


def restored(engine: Engine) -> Engine:
    """The engine of a snapshot of it, as it comes back from a store."""
    head = unpack(pack(engine.state.head_plain()))
    kept = {subject: unpack(pack(engine.state.subjects[subject].to_plain())) for subject in sorted(engine.state.subjects)}
    return Engine(engine.plan.catalog, "edge", State.from_plain(head, kept))


@settings(max_examples=60)
@given(seeds)
def test_law_1_the_same_log_gives_the_same_decisions_byte_for_byte(seed: int) -> None:
    log = Log(seed, 120, switches=True)
    again = decisions(Engine(Catalog(), "edge", device_id=DEVICE), log.inputs, log.catalogs)
    assert [pack(decision) for decision in again] == [pack(decision) for decision in log.decisions]


@settings(max_examples=60)
@given(seeds)
def test_law_2_snapshots_between_all_inputs_change_nothing(seed: int) -> None:
    whole, cut = Log(seed, 100, switches=True), Log(seed, 100, switches=True, restarts=True)
    assert [pack(decision) for decision in cut.decisions] == [pack(decision) for decision in whole.decisions]
    assert [told.engine_time for told in cut.told] == [told.engine_time for told in whole.told]
    states = [{s: pack(k.to_plain()) for s, k in log.engine.state.subjects.items()} for log in (whole, cut)]
    assert states[0] == states[1]


@settings(max_examples=30)
@given(seeds)
def test_law_2_a_snapshot_holds_all_that_a_ledger_remembers(seed: int) -> None:
    """Also what no decision shows before the next input: who took a slot."""
    engine = Log(seed, 60).engine
    kept = restored(engine)
    for subject, state in engine.state.subjects.items():
        assert kept.state.subjects[subject].ledger == state.ledger


def test_law_2_has_patterns_and_held_actions_in_the_middle() -> None:
    """Else the law above would say nothing of them."""
    under_way: Counter[str] = Counter()
    for seed in range(80):
        for subject in Log(seed, 50, leaps=()).engine.state.subjects.values():
            if subject.ledger is not None:
                instances = [one for by_key in subject.ledger.instances.values() for one in by_key.values()]
                under_way["chains"] += sum(any(one.chains) for one in instances)
                under_way["waits"] += sum(bool(one.wait_end) for one in instances)
                under_way["held"] += len(subject.ledger.held)
                under_way["uses"] += len(subject.ledger.uses)
    assert min(under_way[kind] for kind in ("chains", "waits", "held", "uses")) >= 10, under_way


@settings(max_examples=60)
@given(seeds)
def test_law_3_engine_time_never_goes_back_and_is_the_time_of_every_decision(seed: int) -> None:
    last = 0
    for told in Log(seed, 120).told:
        assert told.engine_time == max(last, told.moment.now)
        assert all(decision.decision_time == told.engine_time for decision in told.decisions)
        last = told.engine_time


@settings(max_examples=60)
@given(seeds)
def test_every_decision_and_every_timer_is_there_once_across_restarts(seed: int) -> None:
    log = Log(seed, 120, switches=True, restarts=True)
    ids = Counter((decision.decision_id, decision.record) for decision in log.decisions)
    assert [one for one, count in ids.items() if count > 1] == []
    first = {decision.decision_id for decision in log.decisions if decision.record == 0}
    assert {decision.decision_id for decision in log.decisions if decision.record == 1} <= first
    assert max(Counter(decision.decision_id for told in log.told for decision in told.acts).values(), default=1) == 1


@settings(max_examples=60)
@given(seeds)
def test_after_a_tick_nothing_is_due_any_more(seed: int) -> None:
    log = Log(seed, 60)
    now = log.engine.state.engine_time
    log.engine.receive(TickInput(Moment(now)))
    due = log.engine.next_deadline()
    assert due is None or due > now
    assert decided(log.engine, TickInput(Moment(now))) == []


def decided(engine: Engine, one: Input) -> list[Decision]:
    return [effect.decision for effect in engine.receive(one) if isinstance(effect, RecordEffect)]


# -- what a policy promises ---------------------------------------------------------------------------------------------


def uses_of(log: Log, name: str, cap: Cap, *, own: bool) -> Iterator[tuple[str, int, int]]:
    """(subject, engine time, offset) of everything that counts in a cap; sessions are left out, their end empties it."""
    for told in log.told:
        for decision in told.decisions:
            trigger = log.catalog.triggers[decision.trigger_id]
            if decision.record or decision.reason not in USES or decision.subject.startswith("session:"):
                continue
            channel = log.catalog.actions[trigger.action].channel
            covers = not (cap.channels or cap.triggers) or channel in cap.channels or decision.trigger_id in cap.triggers
            shared = covers and name not in trigger.policy.exempt and not trigger.dry_run
            if decision.trigger_id == name if own else shared:
                yield decision.subject, told.engine_time, told.moment.offset_minutes


def period(cap: Cap, time: int, offset: int) -> int:
    local = time + offset * MINUTE
    return local // DAY if cap.calendar == "day" else (local + 3 * DAY) // (7 * DAY)


@settings(max_examples=100)
@given(seeds)
def test_no_cap_is_exceeded_whatever_the_clock_does(seed: int) -> None:
    log = Log(seed, 150)
    caps = [(name, cap, False) for name, cap in log.catalog.caps.items()]
    caps += [(name, trigger.policy.cap, True) for name, trigger in log.catalog.triggers.items() if trigger.policy.cap is not None]
    for name, cap, own in caps:
        before: dict[str, list[int]] = {}
        for subject, time, offset in uses_of(log, name, cap, own=own):
            times = before.setdefault(subject, [])
            if cap.window_ms:
                within = [one for one in times if one > time - cap.window_ms]
            else:
                within = [one for one in times if period(cap, one, offset) == period(cap, time, offset)]
            assert len(within) < cap.count, f"{name} of {cap} is used again at {time}, after {within}"
            times.append(time)


@settings(max_examples=100)
@given(seeds)
def test_nothing_acts_in_quiet_hours_or_by_a_clock_that_is_not_believed(seed: int) -> None:
    log = Log(seed, 150)
    for told in log.told:
        local = told.engine_time + told.moment.offset_minutes * MINUTE
        for decision in told.acts:
            policy = log.catalog.triggers[decision.trigger_id].policy
            assert is_open(policy.quiet, policy.window, local), f"{decision} at {local}"
            assert told.moment.trusted or not (policy.quiet or policy.window)


@settings(max_examples=100)
@given(seeds)
def test_nothing_reaches_who_is_held_out_and_nothing_is_acted_on_twice(seed: int) -> None:
    log = Log(seed, 150)
    for told in log.told:
        for decision in told.acts:
            assert decision.reason is Reason.FIRED
            holdout = log.catalog.triggers[decision.trigger_id].policy.holdout
            if holdout is not None:
                assert decision.assignment == "treated"
                if holdout.unit == "subject":
                    assert place(holdout.salt or decision.trigger_id, decision.subject) >= round(holdout.share * 10_000)
                if holdout.unit == "device":
                    assert place(holdout.salt or decision.trigger_id, DEVICE) >= round(holdout.share * 10_000)


@settings(max_examples=100)
@given(seeds)
def test_cooldowns_hold_and_once_is_once(seed: int) -> None:
    log = Log(seed, 150)
    last: dict[tuple[str, str], int] = {}
    entered: set[tuple[str, str, str]] = set()
    for decision in log.decisions:
        if decision.record or decision.reason not in USES or decision.subject.startswith("session:"):
            continue
        policy = log.catalog.triggers[decision.trigger_id].policy
        key = (decision.trigger_id, decision.subject)
        assert key not in last or decision.decision_time - last[key] >= policy.cooldown_ms
        last[key] = decision.decision_time
        instance = (*key, decision.instance)
        assert policy.reentry != "once" or instance not in entered
        entered.add(instance)


@settings(max_examples=60)
@given(seeds)
def test_of_one_slot_one_acts_on_one_cause_and_it_is_the_first(seed: int) -> None:
    log = Log(seed, 120)
    taken: dict[tuple[str, str, str], str] = {}
    for decision in log.decisions:
        trigger = log.catalog.triggers[decision.trigger_id]
        slot = trigger.policy.slot
        if not slot or decision.record or decision.reason not in USES or trigger.dry_run:
            continue
        key = (slot, decision.subject, decision.cause_id)
        assert key not in taken, f"{decision.trigger_id} acts beside {taken.get(key)}"
        taken[key] = decision.trigger_id


@pytest.mark.parametrize("hours", [1, 24, 24 * 365 * 50])
def test_a_wait_is_over_once_whenever_the_host_looks(hours: int) -> None:
    drawing = Drawing(0)
    first, _ = drawing.catalogs()
    wait = next(
        one for seed in range(50) for one in (Drawing(seed).catalogs()[0].triggers["p"].pattern,) if one and one.steps[-1].absent
    )
    wait = replace(
        wait,
        steps=(replace(wait.steps[0], where=None, count=1, events=("cart",)), replace(wait.steps[-1], events=("left",))),
        key="",
        cancel=(),
    )
    trigger = replace(first.triggers["t"], trigger_id="p", on=(), pattern=wait, policy=type(first.triggers["t"].policy)())
    catalog = replace(first, triggers={"p": trigger}, caps={})
    engine = Engine(catalog, "edge")
    cart = Drawing(1)._event(0, START)
    engine.receive_event(replace(cart, event_type="cart", subject="known:1", event_time=START), Moment(START))
    times = [START + hours * HOUR + n * DAY for n in range(3)]
    found = [len(decided(engine, TickInput(Moment(time)))) for time in (*times, START, *times)]
    over = START + wait.steps[-1].within_ms
    first_tick = next(n for n, time in enumerate(times) if time >= over)
    assert found == [int(n == first_tick) for n in range(len(found))]
