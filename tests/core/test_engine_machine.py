"""The engine against the reference, step by step: whatever may happen to a host, in any order, decision by decision.

Hypothesis draws what happens, and makes a failure as short as it can. The same steps on every run; REFLEXARC_SOAK multiplies how
many, and makes them others on each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.core.histories import DAY, HOUR, MINUTE, SUBJECTS
from tests.core.machine import EVENT_TYPES, KINDS, Narrow, Say, Wide, World

SOAK: Final = float(os.environ.get("REFLEXARC_SOAK", "0"))
EXAMPLES: Final = 700
STEPS: Final = 50

subjects = st.sampled_from(SUBJECTS)
steps = st.sampled_from((0, 1, MINUTE, MINUTE, 10 * MINUTE, HOUR - 1, HOUR, 8 * HOUR, DAY))
late = st.sampled_from((0, 0, 0, 0, MINUTE, 10 * MINUTE, HOUR, 8 * HOUR, -MINUTE))
around = st.sampled_from((-1, 0, 1))
pages = st.fixed_dictionaries({}, optional={"page_url": st.sampled_from(("/x", "/y")), "product": st.sampled_from(("p1", "p2"))})
sessions = st.sampled_from(("", "s1", "s2"))
# On the lines and gates themselves nothing is over them.
says = st.tuples(st.sampled_from((0.9, 0.9, 0.75, 0.5)), st.sampled_from((0.9, 0.9, 0.75, 0.5, None)))
scores: st.SearchStrategy[dict[str, Say]] = st.fixed_dictionaries({}, optional={"risk": says, "intent": says})


@dataclass(frozen=True)
class Happening:
    """An event that is to come. step: how long after the one before; ago: how long ago it happened, ms."""

    event_type: str
    subject: str
    properties: dict[str, str]
    step: int
    ago: int
    session: str
    says: dict[str, Say]


happenings = st.builds(
    Happening, st.sampled_from((*EVENT_TYPES, "page_view", "page_view", "form")), subjects, pages, steps, late, sessions, scores
)


class EngineMachine(RuleBasedStateMachine):
    """What a host may meet. Every rule compares the engine with the reference."""

    world: World

    @initialize(seed=st.integers(0, 2**32 - 1), restless=st.sampled_from((False, False, True)))
    def catalogs(self, seed: int, restless: bool) -> None:
        self.world = World(Wide(seed).catalogs(), restless=restless)

    @rule(events=st.lists(happenings, min_size=1, max_size=5))
    def events(self, events: list[Happening]) -> None:
        for one in events:
            self.world.now += one.step
            own_time = self.world.now - one.ago
            self.world.event(one.event_type, one.subject, one.properties, own_time=own_time, session=one.session, says=one.says)

    @precondition(lambda self: self.world.waits())
    @rule(index=st.integers(0, 3), off=around, seen_after=steps)
    def what_must_not_come(self, index: int, off: int, seen_after: int) -> None:
        self.world.what_must_not_come(index, off, seen_after)

    @rule(step=steps)
    def tick(self, step: int) -> None:
        self.world.now += step
        self.world.tick()

    @precondition(lambda self: self.world.engine.next_deadline() is not None)
    @rule(off=around)
    def tick_when_something_is_due(self, off: int) -> None:
        self.world.now = max(self.world.now, (self.world.engine.next_deadline() or 0) + off)
        self.world.tick()

    @rule(subject=subjects, granted=st.booleans())
    def consent(self, subject: str, granted: bool) -> None:
        self.world.event("consent", subject, {"purpose": "ads", "granted": granted})

    @rule(subject=subjects)
    def reset(self, subject: str) -> None:
        self.world.event("reset", subject)

    @precondition(lambda self: self.world.reference.acted)
    @rule(index=st.integers(0, 3), kind=st.sampled_from(KINDS), step=steps)
    def outcome(self, index: int, kind: str, step: int) -> None:
        self.world.now += step
        self.world.outcome(index, kind)

    @precondition(lambda self: self.world.questions)
    @rule(index=st.integers(0, 3), say=st.none() | says)
    def answer(self, index: int, say: Say | None) -> None:
        self.world.answer(index, say)

    @rule(
        subject=subjects, tokens=st.integers(0, 3), life=st.sampled_from((0, MINUTE, HOUR, DAY)),
        again=st.none() | st.integers(0, 5),
    )  # fmt: skip
    def lease(self, subject: str, tokens: int, life: int, again: int | None) -> None:
        self.world.lease(subject, tokens, life, again)

    @rule(what=st.sampled_from(("restart", "restart", "pause", "pause", "switch", "leap")), which=st.integers(0, 5))
    def host(self, what: str, which: int) -> None:
        if what == "restart":
            self.world.restart()
        elif what == "switch":
            self.world.switch(which % 2)
        elif what == "pause":
            self.world.pause(((), (), (), ("*",), ("p", "t"), ("m",))[which])
        else:
            self.world.now += (-HOUR, -DAY, 3 * DAY, -365 * DAY, -MINUTE, -1)[which]

    @rule(
        online=st.booleans(), trusted=st.sampled_from((True, True, True, False)),
        offset=st.sampled_from((0, 0, 60, 120, -300, 330)), change=st.sampled_from((0, HOUR, DAY)),
    )  # fmt: skip
    def surroundings(self, online: bool, trusted: bool, offset: int, change: int) -> None:
        world = self.world
        world.online, world.trusted, world.offset = online, trusted, offset
        world.following = world.now + change if change else 0


class NarrowMachine(EngineMachine):
    """The same where little is held back, with more of what leases, sequences and questions to the server are about."""

    @initialize(seed=st.integers(0, 2**32 - 1), restless=st.sampled_from((False, False, True)))
    def catalogs(self, seed: int, restless: bool) -> None:
        self.world = World(Narrow(seed).catalogs(), restless=restless)

    @precondition(lambda self: self.world.leases)
    @rule(
        index=st.integers(0, 2), off=st.none() | around,
        event_types=st.lists(st.sampled_from(("page_view", "form")), min_size=1, max_size=3),
    )  # fmt: skip
    def use_of_a_lease(self, index: int, off: int | None, event_types: list[str]) -> None:
        self.world.use(index, off, event_types)

    @precondition(lambda self: self.world.reference.acted)
    @rule(index=st.integers(0, 3), kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=4))
    def outcomes(self, index: int, kinds: list[str]) -> None:
        for kind in kinds:
            self.world.outcome(index, kind)

    @rule(subject=subjects, granted=st.tuples(st.booleans(), st.booleans()), say=st.none() | says)
    def question(self, subject: str, granted: tuple[bool, bool], say: Say | None) -> None:
        world = self.world
        world.online = True
        world.event("consent", subject, {"purpose": "ads", "granted": granted[0]})
        world.event("form", subject, {}, says={"risk": (0.9, 0.5)})
        world.event("consent", subject, {"purpose": "ads", "granted": granted[1]})
        if world.questions:
            world.answer(-1, say)


def searching(examples: int, **more: Any) -> settings:
    """How it searches."""
    return settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), **more,
    )  # fmt: skip


@pytest.mark.parametrize(("machine", "examples"), [(EngineMachine, EXAMPLES), (NarrowMachine, EXAMPLES // 6)])
def test_the_engine_decides_what_the_reference_decides_whatever_happens(machine: type[EngineMachine], examples: int) -> None:
    many = searching(int(examples * SOAK), derandomize=False) if SOAK else searching(examples, derandomize=True)
    run_state_machine_as_test(machine, settings=many)
