"""The engine against the reference: the same catalogs, the same histories, decision by decision.

What is drawn is in `histories`, what is right in `tests/reference`. Restarts happen to the engine only: the reference keeps
everything, so a snapshot that forgets something is a difference.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Act
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.record import CatalogInput, Input, Moment, Record
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.core.histories import START, Drawing, Happening, Restart, Switch
from tests.reference.decider import Reference
from tests.reference.lists import Concluded

DEVICE = "dev1"
seeds = st.integers(0, 2**32)


class Twin:
    """The engine and the reference, fed alike."""

    def __init__(self, pair: tuple[Catalog, Catalog]) -> None:
        self.pair = pair
        self.catalog = pair[0]
        self.engine = Engine(Catalog(), "edge", device_id=DEVICE)
        self.reference = Reference(pair[0], DEVICE)
        self.log: list[Record] = []
        self.decisions: list[Decision] = []
        self.acts: list[Decision] = []
        self.take(Switch(Moment(START), 0))

    def take(self, happening: Happening) -> None:
        if isinstance(happening, Restart):
            state = self.engine.state
            head = unpack(pack(state.head_plain()))
            kept = {subject: unpack(pack(state.subjects[subject].to_plain())) for subject in sorted(state.subjects)}
            self.engine = Engine(self.catalog, "edge", State.from_plain(head, kept))
            return
        catalog, one = None, happening
        if isinstance(happening, Switch):
            self.catalog = catalog = self.pair[happening.index]
            one = CatalogInput(happening.moment, catalog.digest, "", {})
        assert isinstance(one, Input)
        self.log.append(one)
        effects = self.engine.receive(one, catalog)
        made = [effect.decision for effect in effects if isinstance(effect, RecordEffect)]
        acts = [effect.decision for effect in effects if isinstance(effect, Act)]
        self.decisions += made
        self.acts += acts
        found = [_said(decision, decision in acts) for decision in made]
        wanted = [_concluded(concluded) for concluded in self.reference.take(one, catalog)]
        assert found == wanted, f"{happening}\n found {found}\nwanted {wanted}"
        assert self.engine.next_deadline() == self.reference.due, f"{happening}"


def _said(decision: Decision, acts: bool) -> tuple[Any, ...]:
    return (
        decision.trigger_id, decision.subject, decision.instance, decision.cause_id, str(decision.reason), decision.record,
        decision.decision_time, decision.assignment, decision.variant, decision.mode, decision.action, acts, decision.decision_id,
    )  # fmt: skip


def _concluded(one: Concluded) -> tuple[Any, ...]:
    return (
        one.trigger_id, one.subject, one.instance, one.cause, one.reason, one.record, one.time, one.assignment, one.variant,
        one.mode, one.action, one.acts, one.decision_id,
    )  # fmt: skip


def run(seed: int, size: int, leaps: tuple[int, ...] = ()) -> Twin:
    drawing = Drawing(seed)
    twin = Twin(drawing.catalogs())
    for happening in drawing.history(size, leaps):
        twin.take(happening)
    return twin


@settings(max_examples=250)
@given(seeds)
def test_the_engine_decides_what_the_reference_decides(seed: int) -> None:
    run(seed, 60)
