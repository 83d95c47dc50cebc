"""Folds and reads as code: the same as the definitions step by step, and nothing remembered that is no longer so."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reflexarc_core import aggregation
from reflexarc_core.feature import Contribution, FeatureDefinition, Layout, contribution_of
from reflexarc_core.feature_source import Older, compile_read, forget, read_nothing

DAY = 86_400_000
T0 = 1_700_000_000_000


def definitions(draw: random.Random) -> list[FeatureDefinition]:
    """One feature of each kind, fed by two event types, with filters, weights and properties as they fall."""
    found = []
    for kind in aggregation.KINDS:
        of = []
        for event_type in ("a", "b"):
            needs_property = kind in ("mean", "min", "max", "distinct")
            property_name = "v" if needs_property or draw.random() < 0.5 else ""
            where = draw.choice([(), (("k", ("x", 1)),), (("k", ("x",)), ("v", (0.1, 2.0, 7.5)))])
            of.append(Contribution(event_type, draw.choice([1.0, 0.1, -2.5]), property_name, where))
        found.append(
            FeatureDefinition(kind, kind, tuple(of), window_ms=3 * DAY, bucket_ms=DAY // 4, per_ms=DAY, half_life_ms=2 * DAY)
        )
    return found


def properties(draw: random.Random) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if draw.random() < 0.9:
        given["v"] = draw.choice([0.1, 2.0, 3, 7.5])
    if draw.random() < 0.8:
        given["k"] = draw.choice(["x", "y", 1, ["x"]])
    return given


def bits(cells: list[float]) -> list[str]:
    return [cell.hex() for cell in cells]


@pytest.mark.parametrize("seed", range(20))
def test_a_fold_as_code_is_each_contribution_step_by_step(seed: int) -> None:
    draw = random.Random(seed)
    layout = Layout(definitions(draw))
    quick, slow = layout.empty(), layout.empty()
    for _ in range(300):
        event_type, given = draw.choice("abc"), properties(draw)
        t = T0 + draw.randrange(8 * DAY)
        layout.fold(quick, event_type, given, t)
        for slot, contribution in layout.contributions(event_type):
            value = contribution_of(slot.kind, contribution, given)
            if value is not None:
                aggregation.step(
                    slow, slot.offset, slot.kind, t, value, slot.width_ms, slot.bucket_count, slot.slot_count
                )  # fmt: skip
        assert bits(quick) == bits(slow)


@pytest.mark.parametrize("seed", range(20))
def test_a_read_that_remembers_is_a_read_that_does_not(seed: int) -> None:
    """Late events, events ahead of the clock, and reads long after the last one."""
    draw = random.Random(seed)
    layout = Layout(definitions(draw))
    read = compile_read(layout.slots, ["sent", "never_sent"])
    vector, older = layout.empty(), Older()
    now, remembered = T0, 0
    for _ in range(400):
        now += draw.choice([0, 1, 1_000, DAY // 8, DAY if draw.random() < 0.1 else 0])
        t = now + draw.choice([0, 0, 0, -1_000, -DAY // 4, -2 * DAY, DAY // 3])
        if t < now:
            forget(older, t)
        layout.fold(vector, draw.choice("ab"), properties(draw), t)
        remembered += len(older) > 0
        found = read(vector, older, {"sent": (4.5, 1)}, now)
        expected = {slot.definition.name: slot.read(vector, now) for slot in layout.slots}
        expected = {name: value for name, value in expected.items() if value == value} | {"sent": 4.5}
        assert {name: value.hex() for name, value in found.items()} == {name: value.hex() for name, value in expected.items()}
    assert remembered > 20, "nothing was remembered, so nothing was tested"


def test_an_older_bucket_that_changed_is_added_up_again() -> None:
    layout = Layout([FeatureDefinition("n", "count", (Contribution("a"),), window_ms=4 * DAY, bucket_ms=DAY)])
    read = compile_read(layout.slots, [])
    vector, older = layout.empty(), Older()
    now = T0 // DAY * DAY + 10
    layout.fold(vector, "a", {}, now)
    assert read(vector, older, {}, now) == {"n": 1.0}
    forget(older, now - 5)
    assert older, "in the newest bucket itself: nothing to forget"
    forget(older, now - DAY)
    assert not older
    layout.fold(vector, "a", {}, now - DAY)
    assert read(vector, older, {}, now) == {"n": 2.0}


def test_what_nobody_reads_costs_no_code() -> None:
    assert compile_read([], []) is read_nothing


def test_a_text_is_no_code() -> None:
    """Names come from a bundle: whatever they hold, they stay texts."""
    name, other = "'] + evil() + ['", "\\'\n"
    of = (Contribution("a", 2.0, name, ((other, (name,)),)),)
    layout = Layout([FeatureDefinition(name, "sum", of, window_ms=DAY, bucket_ms=DAY)])
    vector = layout.empty()
    layout.fold(vector, "a", {name: 3.0, other: name}, T0)
    assert compile_read(layout.slots, [other])(vector, {}, {other: (1.0, 0)}, T0) == {name: 6.0, other: 1.0}
