"""The simulated shoppers: deterministic, labelled, learnable, and moved by what is done to them."""

import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_cli.importing.conversion import Accepted
from reflexarc_cli.importing.mapping import load_mapping
from reflexarc_cli.importing.ordered import in_time_order
from reflexarc_cli.importing.reader import choose
from reflexarc_cli.shoppers import (
    DAY_MS,
    HISTORY_DAYS,
    REPLAY_DAYS,
    START_TIME,
    ShopperWorld,
    event_of,
    simulate_history,
    subject_of,
    write_rows,
)  # fmt: skip
from reflexarc_cli.shoppers.world import OFFER, RE_ENGAGEMENT, RECOMMENDATION
from reflexarc_core.errors import StorageError
from reflexarc_core.feature import Layout
from tests.importing.kit import event_types

Row = dict[str, Any]


@cache
def whole() -> ShopperWorld:
    return ShopperWorld(1)


@cache
def history() -> tuple[Row, ...]:
    return tuple(whole().history())


def small(seed: int = 5, **options: Any) -> ShopperWorld:
    return ShopperWorld(seed, shopper_count=120, history_days=30, replay_days=10, **options)


def replay(world: ShopperWorld, treated: Any = None) -> list[Row]:
    return [row for index in range(world.replay_days) for row in world.day(index, treated)]


def test_the_default_history_is_as_large_as_promised_and_says_that_it_is_simulated() -> None:
    rows = history()
    assert 50_000 < len(rows) < 85_000
    assert all(row["simulated"] is True for row in rows)
    assert load_mapping("simulated_shoppers").simulated
    assert set(Counter(row["event_type"] for row in rows)) == {
        "page_view", "session", "product_interaction", "email_open", "email_click", "support_ticket", "content_view", "purchase",
    }  # fmt: skip


def test_rows_are_in_time_order_inside_the_history_and_ids_are_unique() -> None:
    rows = history()
    times = [row["time"] for row in rows]
    assert times == sorted(times)
    assert times[0] >= START_TIME
    assert times[-1] < whole().cut_time == START_TIME + HISTORY_DAYS * DAY_MS == load_mapping("simulated_shoppers").cut_time
    after = replay(whole())
    assert whole().cut_time <= after[0]["time"]
    assert after[-1]["time"] < whole().end_time == whole().cut_time + REPLAY_DAYS * DAY_MS
    assert len({row["event_id"] for row in (*rows, *after)}) == len(rows) + len(after)


def test_every_row_conforms_to_the_shipped_event_types() -> None:
    for row in history()[::7]:
        event = event_of(row)
        conformed, unknown_count = event_types()[event.event_type].conform(event.properties)
        assert conformed == event.properties
        assert unknown_count == 0


def test_the_same_seed_is_the_same_world_and_another_is_not() -> None:
    assert list(small().history()) == list(small().history())
    assert replay(small()) == replay(small())
    assert list(small().history()) != list(small(6).history())
    assert list(simulate_history(5, 120, 30, 10)) == [*small().history(), *replay(small())]


def test_a_device_that_owns_a_share_sees_exactly_its_share_and_any_day_alone() -> None:
    mine = {subject_of(number) for number in range(0, 120, 3)}
    share = small(owns=mine.__contains__)
    assert set(share.subjects) == mine
    assert list(share.history()) == [row for row in small().history() if f"known:{row['shopper']}" in mine]
    treated = {RE_ENGAGEMENT: mine, OFFER: mine}
    everything = replay(small(), treated)
    restarted = small()
    assert restarted.day(7, treated) == [row for row in everything if row["event_id"].split("-")[2] == f"{30 + 7:03d}"]


def test_a_longer_replay_does_not_change_the_past() -> None:
    longer = ShopperWorld(5, shopper_count=120, history_days=30, replay_days=40)
    assert list(longer.history()) == list(small().history())
    assert longer.day(3) == small().day(3)
    with pytest.raises(IndexError):
        small().day(10)


def test_an_action_only_adds() -> None:
    everyone = set(whole().subjects)
    for trigger_id in (RE_ENGAGEMENT, OFFER, RECOMMENDATION):
        plain, acted = replay(whole()), replay(whole(), {trigger_id: everyone})
        ids = {row["event_id"] for row in acted}
        assert {row["event_id"] for row in plain} < ids
        assert len(ids) == len(acted)


def test_an_effect_given_its_time_ends() -> None:
    world = ShopperWorld(1, 300)
    at_cut = {RE_ENGAGEMENT: dict.fromkeys(world.subjects, world.cut_time)}
    extra = [len(world.day(index, at_cut)) - len(world.day(index)) for index in range(REPLAY_DAYS)]
    assert extra[0] == 0
    assert sum(extra[1:15]) > 0
    assert not any(extra[15:])


def test_the_effects_are_real_and_of_a_size_that_a_holdout_can_find() -> None:
    world = whole()
    last: dict[str, int] = {}
    bought: Counter[str] = Counter()
    for row in history():
        last[f"known:{row['shopper']}"] = row["time"]
        bought[f"known:{row['shopper']}"] += row["event_type"] == "purchase"
    silent = {subject for subject, time in last.items() if time < world.cut_time - 20 * DAY_MS}
    buyers = {subject for subject, count in bought.items() if count >= 4 and subject not in silent}

    def reached(treated: Any, group: set[str], days: int, event_type: str | None) -> float:
        found = {
            f"known:{row['shopper']}"
            for index in range(days)
            for row in world.day(index, treated)
            if row["event_type"] == event_type or (event_type is None and row["event_type"] == "session")
        }
        return len(found & group) / len(group)

    assert len(silent) > 300
    assert len(buyers) > 150
    assert 0.2 < reached({RE_ENGAGEMENT: silent}, silent, 14, None) - reached({}, silent, 14, None) < 0.5
    assert 0.1 < reached({OFFER: buyers}, buyers, 7, "purchase") - reached({}, buyers, 7, "purchase") < 0.45


def test_readers_go_through_a_series_and_come_back_to_read_on_when_something_is_recommended() -> None:
    read: dict[str, list[str]] = {}
    for row in history():
        if row["event_type"] == "content_view":
            read.setdefault(f"known:{row['shopper']}", []).append(row["properties"]["content_id"])
    readers = {subject: guides for subject, guides in read.items() if len(guides) >= 10}
    assert len(readers) > 200
    pairs = [pair for guides in readers.values() for pair in itertools.pairwise(guides)]
    follows = sum(a.rpartition("-")[0] == b.rpartition("-")[0] and int(b[-2:]) == int(a[-2:]) + 1 for a, b in pairs)
    assert 0.6 < follows / len(pairs) < 0.9

    def views(treated: Any) -> int:
        return sum(row["event_type"] == "content_view" for index in range(14) for row in whole().day(index, treated))

    assert views({RECOMMENDATION: set(readers)}) > 1.2 * views({})


@dataclass(frozen=True)
class Shown:
    decision_id: str
    trigger_id: str


def test_reactions_are_outcomes_and_the_same_for_the_same_decision() -> None:
    kinds: Counter[str] = Counter()
    for i in range(400):
        shown = Shown(f"d{i}", RE_ENGAGEMENT)
        reaction = whole().reaction(shown)
        assert reaction == ShopperWorld(1, 1).reaction(shown)
        assert reaction[0][0] == "impression"
        assert [after for _, after in reaction] == sorted(after for _, after in reaction)
        assert all(after > 0 for _, after in reaction)
        kinds.update(kind for kind, _ in reaction)
    assert set(kinds) == {"impression", "click", "dismissal"}
    assert 40 < kinds["click"] < 140


@pytest.mark.parametrize("name", ["shoppers.jsonl", "shoppers.jsonl.gz"])
def test_a_saved_history_is_imported_like_any_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = list(small().history())
    assert write_rows(rows, path) == len(rows)
    file, mapping = choose(path, None)
    assert mapping.name == "simulated_shoppers"
    found = list(in_time_order(file, mapping, event_types()))
    assert len(found) == len(rows)
    for accepted, row in zip(found, rows, strict=True):
        assert isinstance(accepted, Accepted)
        wanted = event_of(row)
        got = accepted.event
        assert (got.event_id, got.subject, got.event_time, got.properties, got.context) == (
            wanted.event_id, wanted.subject, wanted.event_time, wanted.properties, wanted.context,
        )  # fmt: skip


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_rows([{"a": 1}], tmp_path / "no" / "x.jsonl")
    write_rows([{"a": 1}], tmp_path / "x.jsonl")
    assert json.loads((tmp_path / "x.jsonl").read_text()) == {"a": 1}


def test_churn_and_purchase_can_be_learnt_from_the_standard_features_better_than_from_recency() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    learn, test = START_TIME + 62 * DAY_MS, START_TIME + 92 * DAY_MS
    churn = ["engagement_score", "usage_frequency", "support_tickets"]
    intent = ["page_views", "email_engagement", "product_interactions"]
    for names, horizon, label in ((churn, 21, "session"), (intent, 28, "purchase")):
        x, y, _ = _rows(learn, names, horizon, label)
        x_test, y_test, recency = _rows(test, names, horizon, label)
        forest = RandomForestClassifier(80, min_samples_leaf=15, random_state=1).fit(x, y)
        auc = roc_auc_score(y_test, forest.predict_proba(x_test)[:, 1])
        alone = roc_auc_score(y_test, recency)
        alone = max(alone, 1 - alone)
        assert auc > 0.8
        assert auc > alone + 0.02, f"{label}: {auc:.3f} against {alone:.3f}"


def _rows(at: int, names: list[str], horizon: int, label: str) -> tuple[list[list[float]], list[int], list[float]]:
    """Features and labels at one moment, of shoppers active in the 45 days before it; and days since the last event."""
    layout = Layout([feature for feature in load_catalog(None).features.values() if feature.name in names])
    vectors: dict[str, list[float]] = {}
    last: dict[str, int] = {}
    after: set[str] = set()
    for row in history():
        event = event_of(row)
        if event.event_time <= at:
            layout.fold(vectors.setdefault(event.subject, layout.empty()), event.event_type, event.properties, event.event_time)
            last[event.subject] = event.event_time
        elif event.event_time <= at + horizon * DAY_MS and event.event_type == label:
            after.add(event.subject)
    subjects = [subject for subject, time in last.items() if time > at - 45 * DAY_MS]
    random.Random(1).shuffle(subjects)
    x = [[slot.read(vectors[subject], at) for slot in layout.slots] for subject in subjects]
    # Churn is to stay away, purchase is to buy.
    y = [int((subject in after) == (label == "purchase")) for subject in subjects]
    return x, y, [(at - last[subject]) / DAY_MS for subject in subjects]
