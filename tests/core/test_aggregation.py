"""Features: what each aggregation counts, that reading ages it, and that the batch fold is the same to the bit."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core import aggregation
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_core.feature import Contribution, FeatureDefinition, Layout, check_feature
from reflexarc_models.train.rows.history import fold_at, history

DAY = 86_400_000
T0 = 1_700_000_000_000


def every_kind() -> dict[str, FeatureDefinition]:
    kinds = {
        kind: FeatureDefinition(
            kind, kind, (Contribution("e", 1.0, "" if kind in ("count", "rate") else "v"),),
            window_ms=7 * DAY, bucket_ms=DAY // 4, per_ms=DAY,
        )
        for kind in ("count", "sum", "mean", "min", "max", "distinct", "rate")
    }  # fmt: skip
    kinds["recency"] = FeatureDefinition("recency", "recency", (Contribution("e"),))
    kinds["decayed_sum"] = FeatureDefinition("decayed_sum", "decayed_sum", (Contribution("e", 1.0, "v"),), half_life_ms=3 * DAY)
    return kinds


def random_events(seed: int, count: int, subject_count: int) -> list[tuple[int, Event]]:
    draw = random.Random(seed)
    now, events = T0, []
    for i in range(count):
        now += draw.randrange(0, DAY // 40)
        late = draw.randrange(0, 10 * DAY) if draw.random() < 0.1 else 0
        properties = {"v": draw.choice([0.5, 1.0, 2.0, draw.random() * 10])} if draw.random() < 0.9 else {}
        events.append((now, Event(str(i), "e", f"known:{draw.randrange(subject_count)}", now - late, properties)))
    return events


@given(st.floats(0, 80, allow_nan=False))
def test_half_is_two_to_the_minus_x(x: float) -> None:
    expected = 0.0 if x >= 64 else 2.0**-x
    assert aggregation.half(x) == pytest.approx(expected, rel=1e-14, abs=0)


def test_batch_and_device_are_equal_to_the_bit_for_every_aggregation() -> None:
    events = random_events(seed=7, count=6_000, subject_count=40)
    log = history(SimpleNamespace(features=every_kind()), events)
    batch = fold_at(log, np.array(log.starts), log.nows, np.arange(len(log.times)))
    vectors: dict[str, list[float]] = {}
    rows: dict[str, list[list[float]]] = {}
    for now, event in events:
        vector = vectors.setdefault(event.subject, log.layout.empty())
        log.layout.fold(vector, event.event_type, event.properties, event.event_time)
        rows.setdefault(event.subject, []).append([slot.read(vector, now) for slot in log.layout.slots])
    device = np.array([row for subject in log.subjects for row in rows[subject]])
    same = (batch.view(np.int64) == device.view(np.int64)) | (np.isnan(batch) & np.isnan(device))
    assert same.all(), f"{(~same).sum()} of {same.size} values differ"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20 * DAY), st.floats(0.1, 9)), min_size=1, max_size=40), st.integers(0, 30 * DAY))
def test_windows_count_what_a_brute_force_over_buckets_counts(arrivals: list[tuple[int, float]], later: int) -> None:
    """In whatever order events arrive, a window holds the buckets that are in it when it is read."""
    bucket = DAY // 4
    layout = Layout([every_kind()["sum"], every_kind()["count"], every_kind()["max"]])
    vector = layout.empty()
    newest = -1
    kept: list[tuple[int, float]] = []
    for offset, value in arrivals:
        b = (T0 + offset) // bucket
        newest = max(newest, b)
        if b > newest - 28:
            kept.append((b, value))
        layout.fold(vector, "e", {"v": value}, T0 + offset)
    now = max(T0 + 20 * DAY, T0 + later)
    lowest = max(now // bucket, newest) - 28
    inside = [value for b, value in kept if b > lowest and b > newest - 28]
    assert layout.by_name["count"].read(vector, now) == len(inside)
    assert layout.by_name["sum"].read(vector, now) == pytest.approx(sum(inside))
    peak = layout.by_name["max"].read(vector, now)
    assert (math.isnan(peak) and not inside) or peak == max(inside)


def test_reading_ages_a_silent_subject() -> None:
    layout = Layout(list(every_kind().values()))
    vector = layout.empty()
    layout.fold(vector, "e", {"v": 4.0}, T0)
    before = list(vector)
    count, decayed = layout.by_name["count"], layout.by_name["decayed_sum"]
    assert count.read(vector, T0) == 1.0
    assert count.read(vector, T0 + 8 * DAY) == 0.0
    assert decayed.read(vector, T0 + 3 * DAY) == pytest.approx(2.0, rel=1e-14)
    assert layout.by_name["recency"].read(vector, T0 + 8 * DAY) == 8.0
    assert list(map(repr, vector)) == list(map(repr, before)), "a read changed the state"


def test_late_events_land_in_their_own_bucket_or_are_counted() -> None:
    layout = Layout([every_kind()["count"]])
    vector = layout.empty()
    layout.fold(vector, "e", {}, T0 + 10 * DAY)
    layout.fold(vector, "e", {}, T0 + 5 * DAY)
    layout.fold(vector, "e", {}, T0)
    slot = layout.by_name["count"]
    assert slot.read(vector, T0 + 10 * DAY) == 2.0
    assert vector[slot.offset + 1] == 1.0, "the event before the window is counted as too late"


def test_distinct_counts_keys_not_events_and_says_when_it_overflows() -> None:
    layout = Layout([every_kind()["distinct"]])
    vector = layout.empty()
    for i in range(200):
        layout.fold(vector, "e", {"v": float(i % 5)}, T0 + i)
    slot = layout.by_name["distinct"]
    assert slot.read(vector, T0 + 200) == 5.0
    for i in range(100):
        layout.fold(vector, "e", {"v": 1_000.0 + i}, T0 + 300)
    assert slot.read(vector, T0 + 300) == 64.0
    assert vector[slot.offset] == 41.0


def test_unchanged_definitions_keep_their_cells_when_the_layout_changes() -> None:
    old = Layout(list(every_kind().values()))
    vector = old.empty()
    for i in range(20):
        old.fold(vector, "e", {"v": float(i)}, T0 + i * DAY // 3)
    changed = every_kind()
    changed["count"] = FeatureDefinition("count", "count", (Contribution("e"),), window_ms=14 * DAY, bucket_ms=DAY)
    new = Layout([changed["count"], changed["decayed_sum"], changed["max"]])
    moved = new.carry_over(old, vector)
    now = T0 + 7 * DAY
    assert new.by_name["decayed_sum"].read(moved, now) == old.by_name["decayed_sum"].read(vector, now)
    assert new.by_name["max"].read(moved, now) == old.by_name["max"].read(vector, now)
    assert new.by_name["count"].read(moved, now) == 0.0


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        (FeatureDefinition("f", "count", (Contribution("e"),)), "whole number of buckets"),
        (FeatureDefinition("f", "count", (Contribution("e"),), window_ms=DAY, bucket_ms=1), "take a wider bucket"),
        (FeatureDefinition("f", "decayed_sum", (Contribution("e"),)), "half_life"),
        (FeatureDefinition("f", "rate", (Contribution("e"),), window_ms=DAY, bucket_ms=DAY), "per"),
        (FeatureDefinition("f", "mean", (Contribution("e"),), window_ms=DAY, bucket_ms=DAY), "needs a property"),
        (FeatureDefinition("f", "median", (Contribution("e"),)), "no aggregation"),
    ],
)
def test_a_feature_that_cannot_be_folded_is_refused_in_words(definition: FeatureDefinition, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_feature(definition)
    assert says in str(caught.value)
