"""On recorded logs of real people: what a device computes is what a model is trained on, and a replay decides the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reflexarc import Client, Config
from reflexarc.definitions import load_catalog
from reflexarc.testing import ManualClock, TableScorer
from reflexarc_cli.importing.mapping import adapted_catalog
from reflexarc_cli.importing.ordered import in_time_order
from reflexarc_cli.importing.reader import choose
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.feature import Layout
from reflexarc_core.record import DecisionOutput, Record
from reflexarc_core.replay import decisions
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from reflexarc_models.train.rows.history import fold_at, history

DAY = 86_400_000
SETS = ("orders_online_retail", "clickstream_wikimedia_sessions")


def load(data: Path, name: str) -> tuple[Catalog, list[Event]]:
    file, mapping = choose(data / name, None)
    catalog = adapted_catalog(load_catalog(None), mapping)
    return catalog, [accepted.event for accepted in in_time_order(file, mapping, catalog.event_types)]


@pytest.mark.parametrize("name", SETS)
def test_every_feature_of_every_event_is_the_same_on_the_device_and_in_batch(real_sets: Path, name: str) -> None:
    catalog, events = load(real_sets, name)
    log = history(catalog, ((event.event_time, event) for event in events))
    batch = fold_at(log, np.array(log.starts), log.nows, np.arange(len(log.times)))
    layout = Layout([feature for feature in catalog.features.values() if not feature.key])
    vectors: dict[str, list[float]] = {}
    rows: dict[str, list[list[float]]] = {}
    for event in events:
        vector = vectors.setdefault(event.subject, layout.empty())
        layout.fold(vector, event.event_type, event.properties, event.event_time)
        rows.setdefault(event.subject, []).append([slot.read(vector, event.event_time) for slot in layout.slots])
    device = np.array([row for subject in log.subjects for row in rows[subject]])
    same = (batch.view(np.int64) == device.view(np.int64)) | (np.isnan(batch) & np.isnan(device))
    assert len(events) > 20_000
    assert same.all(), f"{(~same).sum()} of {same.size} values differ"


def scorer() -> TableScorer:
    """Rules in place of models: their scores swing with the features, so that every kind of decision occurs."""

    def churn(vector: object) -> tuple[float, float]:
        points = vector[0]  # type: ignore[index]
        return 1.0 / (1.0 + points), 0.5 + (points * 997.0) % 0.5

    def intent(vector: object) -> tuple[float, float]:
        count = vector[0]  # type: ignore[index]
        return count / (count + 0.4), 0.5 + (count * 991.0) % 0.5

    return TableScorer(
        {"churn": (("engagement_score", "usage_frequency"), churn), "purchase_intent": (("product_interactions",), intent)},
        {"churn": (0.7,), "purchase_intent": (0.8,)},
    )


@pytest.fixture(scope="module")
def recorded(real_sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[Record]]]:
    """A client that captured the real log, with a tick every two weeks."""
    catalog, events = load(real_sets, "orders_online_retail")
    clock = ManualClock(events[0].event_time)
    rules = scorer()
    folder = tmp_path_factory.mktemp("recorded")
    client = Client(
        folder, catalog=catalog, clock=clock, scorer=rules, models=rules.live_models, config=Config(locale="en", offset_minutes=0)
    )
    next_tick = events[0].event_time
    for event in events:
        clock.set(event.event_time)
        if event.event_time >= next_tick:
            client.run_due()
            next_tick += 14 * DAY
        receipt = client.track(
            event.event_type, event.properties, subject=event.subject, event_time=event.event_time, event_id=event.event_id
        )
        assert receipt.accepted, receipt.reason
    yield client, [record for _, record in client.log.records(0)]
    client.close()


def made(records: list[Record]) -> list[Decision]:
    """What the engine decided; that an action nobody takes ends is written by the delivery, at its own time."""
    decided = [record.decision for record in records if isinstance(record, DecisionOutput)]
    return [decision for decision in decided if decision.detail != "nobody took it"]


def test_a_replay_from_zero_decides_the_same_byte_for_byte(recorded: tuple[Client, list[Record]]) -> None:
    client, records = recorded
    again = decisions(Engine(Catalog(), "edge"), records, {client.catalog.digest: client.catalog})
    expected = [pack(decision) for decision in made(records)]
    assert len(expected) > 1_000
    assert len({decision.reason for decision in made(records)}) >= 4
    assert [pack(decision) for decision in again] == expected


def test_a_replay_from_a_snapshot_in_the_middle_decides_the_same(recorded: tuple[Client, list[Record]]) -> None:
    client, records = recorded
    catalogs = {client.catalog.digest: client.catalog}
    middle = len(records) // 2
    while not made(records[middle : middle + 1]):  # between two inputs: behind what the last one led to
        middle += 1
    first = Engine(Catalog(), "edge")
    before = list(decisions(first, records[:middle], catalogs))
    head = unpack(pack(first.state.head_plain()))
    subjects = {subject: unpack(pack(kept.to_plain())) for subject, kept in first.state.subjects.items()}
    second = Engine(client.catalog, "edge", State.from_plain(head, subjects))
    after = list(decisions(second, records[middle:], catalogs))
    assert after
    assert [pack(d) for d in before + after] == [pack(d) for d in made(records)]
