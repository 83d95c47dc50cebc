"""When time alone may change something: every change is at such a moment, found hour by hour and bucket by bucket."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.aggregation import KINDS
from reflexarc_core.feature import Contribution, FeatureDefinition, Layout
from reflexarc_core.moments import last_look, look_every_ms, next_look, only_falls
from tests.core.world import DAY, T0

HOUR = 3_600_000
WINDOWED = [kind for kind in KINDS if kind not in ("total", "recency", "decayed_sum")]


def layout(kind: str, half_life_ms: int = 0) -> Layout:
    window = {"window_ms": 12 * HOUR, "bucket_ms": 2 * HOUR} if kind in WINDOWED else {}
    per = {"per_ms": HOUR} if kind == "rate" else {}
    of = (Contribution("e", property_name="" if kind in ("count", "total", "recency") else "n"),)
    return Layout([FeatureDefinition("f", kind, of, half_life_ms=half_life_ms, **window, **per)])


def folded(kind: str, events: list[tuple[int, float]], half_life_ms: int = 0) -> tuple[Layout, list[float]]:
    made = layout(kind, half_life_ms)
    vector = made.empty()
    for time, n in events:
        made.fold(vector, "e", {"n": n}, T0 + time)
    return made, vector


events = st.lists(st.tuples(st.integers(0, DAY), st.floats(-9.0, 9.0)), max_size=6)
recent = st.lists(st.tuples(st.integers(DAY - 10 * HOUR, DAY), st.floats(-9.0, 9.0)), min_size=1, max_size=4)


@pytest.mark.parametrize("kind", [*WINDOWED, "total"])
@settings(max_examples=60)
@given(events=events, later=st.integers(0, 2 * DAY))
def test_a_window_changes_at_an_edge_of_a_bucket_or_not_at_all(kind: str, events: list[tuple[int, float]], later: int) -> None:
    made, vector = folded(kind, events)
    (slot,) = made.slots
    now = T0 + DAY + later
    look = next_look(slot, vector, now)
    for time in range(now, look or now + 2 * DAY, HOUR // 2):
        assert slot.read(vector, time) == pytest.approx(slot.read(vector, now), nan_ok=True)
    assert look == 0 or (look > now and look % look_every_ms(slot) == 0)
    last = last_look(slot, vector, now)
    assert last <= now
    assert slot.read(vector, max(last, T0 + DAY)) == pytest.approx(slot.read(vector, now), nan_ok=True)


@pytest.mark.parametrize("kind", ["decayed_sum", "recency"])
@settings(max_examples=200)
@given(
    events=events,
    later=st.integers(0, 2 * DAY),
    lines=st.lists(st.one_of(st.floats(-10.0, 10.0), st.sampled_from([0.0, 0.25, 1.0, 2.0, 1e-9])), max_size=3),
    half_life=st.sampled_from([20 * 60_000, 3 * HOUR, DAY]),
)
def test_what_changes_all_the_time_crosses_no_line_before_it_is_looked_at(
    kind: str, events: list[tuple[int, float]], later: int, lines: list[float], half_life: int
) -> None:
    made, vector = folded(kind, events, half_life if kind == "decayed_sum" else 0)
    (slot,) = made.slots
    now = T0 + DAY + later
    look = next_look(slot, vector, now, tuple(lines))
    assert look == 0 or (look > now and look % HOUR == 0)

    def sides(time: int) -> list[tuple[bool, bool]]:
        value = slot.read(vector, time)
        return [(value > line, value >= line) for line in lines]

    until = look or now + 70 * half_life + 11 * DAY
    for time in range(now // HOUR * HOUR + HOUR, min(until, now + 100 * DAY), HOUR):
        assert sides(time) == sides(now), (time, look)
    always = next_look(slot, vector, now)
    assert always == 0 or always == now // HOUR * HOUR + HOUR


@pytest.mark.parametrize("kind", WINDOWED)
@settings(max_examples=60)
@given(events=recent, later=st.integers(0, 6 * HOUR), lines=st.lists(st.sampled_from([0.0, 0.1, 1.0, 2.0, 3.0]), max_size=2))
def test_a_window_crosses_no_line_before_it_is_looked_at(
    kind: str, events: list[tuple[int, float]], later: int, lines: list[float]
) -> None:
    made, vector = folded(kind, events)
    (slot,) = made.slots
    now = T0 + DAY + later
    look = next_look(slot, vector, now, tuple(lines) if only_falls(slot) else None)

    def sides(time: int) -> list[tuple[bool, bool]]:
        value = slot.read(vector, time)
        return [(value > line, value >= line) for line in lines]

    for time in range(now, look or now + 2 * DAY, HOUR // 2):
        assert sides(time) == sides(now), (time, look)
    if kind == "count" and lines and slot.read(vector, now) < min(lines):
        assert look == 0, "it only falls, and lies under every line"
