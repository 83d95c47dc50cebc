"""Logs in columns: the same features as event by event and as on the device, to the bit, in one piece or in parts, no leak."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reflexarc_core.aggregation import KINDS
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_core.feature import Contribution, FeatureDefinition, Layout
from reflexarc_core.model import Label, ModelDefinition
from reflexarc_edge.codec import pack, unpack
from reflexarc_models.train.rows import history as history_module
from reflexarc_models.train.rows import log_columns
from reflexarc_models.train.rows.history import fold_at, history
from reflexarc_models.train.rows.log_columns import Choices, Columns, features_behind_events, history_of, in_parts

DAY = 86_400_000
T0 = 1_700_000_000_000
TYPES = ("a", "b", "c")
KEYS = ("x", "y", True, 3)
Pairs = list[tuple[int, Event]]


def definitions(draw: random.Random) -> dict[str, FeatureDefinition]:
    """Two features of every kind, fed by one or two event types, with weights, filters, windows and properties as they fall."""
    found = []
    for number in range(2):
        for kind in KINDS:
            of = []
            for event_type in draw.sample(TYPES, draw.choice([1, 1, 2])):
                needs = kind in ("mean", "min", "max", "distinct")
                property_name = (
                    ("k" if kind == "distinct" and draw.random() < 0.5 else "v") if needs or draw.random() < 0.5 else ""
                )
                where: Any = draw.choice([(), (), (("k", ("x", True)),), (("v", (0.5, 2.0)), ("k", ("x", "y", 3)))])
                of.append(Contribution(event_type, draw.choice([1.0, 1.0, 2.0, 0.1, -2.5]), property_name, where))
            window, bucket = draw.choice([(3 * DAY, DAY // 4), (DAY, DAY), (30 * DAY, DAY), (3 * DAY, DAY // 4)])
            found.append(
                FeatureDefinition(
                    f"{kind}{number}", kind, tuple(of), window_ms=window, bucket_ms=bucket, per_ms=DAY, half_life_ms=2 * DAY
                )
            )
    return {definition.name: definition for definition in found}


def arrivals(draw: random.Random, count: int, people: int, shuffled: bool, start: int = T0) -> Pairs:
    """Events in log order. shuffled: they arrive in any order of their own times; else some are late."""
    now, pairs = start, []
    for number in range(count):
        now += draw.choice([0, 1_000, DAY // 50, DAY // 7])
        at = start + draw.randrange(40 * DAY) if shuffled else now - (draw.randrange(6 * DAY) if draw.random() < 0.1 else 0)
        properties: dict[str, Any] = {}
        if draw.random() < 0.9:
            properties["v"] = draw.choice([0.5, 2.0, 7.25, draw.random() * 9, -1.5])
        if draw.random() < 0.8:
            properties["k"] = draw.choice(KEYS)
        pairs.append((now, Event(str(number), draw.choice(TYPES), f"known:{draw.randrange(people)}", at, properties)))
    return pairs


def columns_of(pairs: Pairs) -> Columns:
    """The same log in columns."""
    names = (*dict.fromkeys(event.subject for _, event in pairs), "known:nobody")
    keys = [event.properties.get("k") for _, event in pairs]
    places = {(type(key), key): place for place, key in enumerate(KEYS)}
    return Columns(
        subjects=np.array([names.index(event.subject) for _, event in pairs], dtype=np.int32),
        subject_names=names,
        types=np.array([TYPES.index(event.event_type) for _, event in pairs], dtype=np.int8),
        type_names=TYPES,
        times=np.array([event.event_time for _, event in pairs], dtype=np.int64),
        nows=np.array([now for now, _ in pairs], dtype=np.int64),
        properties={
            "v": np.array([event.properties.get("v", np.nan) for _, event in pairs], dtype=np.float64),
            "k": Choices(np.array([places.get((type(key), key), -1) for key in keys]), KEYS),
        },
    )


def on_device(layout: Layout, pairs: Pairs, restart: Callable[[], bool]) -> NDArray[np.float64]:
    """What a device computes right behind each event, its state packed and read again wherever `restart` says."""
    vectors: dict[str, list[float]] = {}
    rows = []
    for now, event in pairs:
        if restart():
            vectors = {subject: list(cells) for subject, cells in unpack(pack(vectors)).items()}
        vector = vectors.setdefault(event.subject, layout.empty())
        layout.fold(vector, event.event_type, event.properties, event.event_time)
        rows.append([slot.read(vector, now) for slot in layout.slots])
    return np.array(rows)


def in_log_order(layout: Layout, log: Columns, parts: int = 1) -> NDArray[np.float64]:
    rows = np.full((len(log), len(layout.slots)), np.inf)
    for places, found in features_behind_events(layout, log, parts):
        rows[places] = found
    return rows


def assert_same_bits(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    one, other = np.ascontiguousarray(one), np.ascontiguousarray(other)
    same = (one.view(np.int64) == other.view(np.int64)) | (np.isnan(one) & np.isnan(other))
    assert same.all(), f"{(~same).sum()} of {same.size} values differ"


@pytest.mark.parametrize("at_once", [40, 131_072])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_columns_events_and_device_are_equal_to_the_bit(
    seed: int, shuffled: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_columns, "FOLDED_AT_ONCE", at_once)
    draw = random.Random(seed)
    features = definitions(draw)
    layout = Layout(list(features.values()))
    pairs = arrivals(draw, 1_500, 12, shuffled)
    device = on_device(layout, pairs, lambda: draw.random() < 0.02)
    log = columns_of(pairs)
    assert_same_bits(in_log_order(layout, log), device)
    by_event: Any = history(SimpleNamespace(features=features), pairs)
    assert_same_bits(in_log_order(layout, log), _by_event(by_event, pairs))


def _by_event(log: Any, pairs: Pairs) -> NDArray[np.float64]:
    rows = fold_at(log, log.starts, log.nows, np.arange(len(log.times)))
    order = [i for subject in log.subjects for i, (_, event) in enumerate(pairs) if event.subject == subject]
    back = np.empty_like(rows)
    back[order] = rows
    return back


def test_times_before_1970_are_folded_by_the_ring() -> None:
    draw = random.Random(9)
    features = definitions(draw)
    layout = Layout(list(features.values()))
    pairs = arrivals(draw, 300, 4, False, start=-2 * DAY)
    assert_same_bits(in_log_order(layout, columns_of(pairs)), on_device(layout, pairs, lambda: False))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), parts=st.integers(2, 9))
def test_parts_by_subject_are_the_whole(seed: int, parts: int) -> None:
    draw = random.Random(seed)
    layout = Layout(list(definitions(draw).values()))
    log = columns_of(arrivals(draw, 200, 7, shuffled=seed % 2 == 0))
    seen = [subject for part, _ in in_parts(log, parts) for subject in set(part.subjects.tolist())]
    assert len(seen) == len(set(seen)) == len(set(log.subjects.tolist()))
    assert_same_bits(in_log_order(layout, log, parts), in_log_order(layout, log))


def test_a_log_on_disk_is_folded_from_memory_maps(tmp_path: Any) -> None:
    draw = random.Random(6)
    layout = Layout(list(definitions(draw).values()))
    log = columns_of(arrivals(draw, 600, 9, shuffled=True))

    def mapped(name: str, column: NDArray[Any]) -> Any:
        np.save(tmp_path / f"{name}.npy", column)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    keys = log.properties["k"]
    assert isinstance(keys, Choices)
    on_disk = Columns(
        mapped("subjects", log.subjects), log.subject_names, mapped("types", log.types), TYPES, mapped("times", log.times),
        mapped("nows", log.nows), {"v": mapped("v", log.properties["v"]), "k": Choices(mapped("k", keys.codes), KEYS)},
    )  # fmt: skip
    assert_same_bits(in_log_order(layout, on_disk, 4), in_log_order(layout, log))


def test_a_subject_whose_lines_are_out_of_order_is_put_in_order() -> None:
    draw = random.Random(8)
    features = definitions(draw)
    pairs = arrivals(draw, 400, 5, shuffled=False)
    draw.shuffle(pairs)
    layout = Layout(list(features.values()))
    by_event: Any = history(SimpleNamespace(features=features), pairs)
    by_column, _ = history_of(layout, columns_of(pairs))
    assert dict(zip(by_event.subjects, np.diff(by_event.starts), strict=True)) == dict(
        zip(by_column.subjects, np.diff(by_column.starts), strict=True)
    )
    rows = {}
    for log in (by_event, by_column):
        found = fold_at(log, log.starts, log.nows, np.arange(len(log.times)))
        for s, subject in enumerate(log.subjects):
            part = found[log.starts[s] : log.starts[s + 1]]
            assert_same_bits(rows.setdefault(subject, part), part)


def test_columns_that_do_not_fit_are_refused() -> None:
    log = columns_of(arrivals(random.Random(1), 20, 3, shuffled=False))
    with pytest.raises(DefinitionError, match="other lengths"):
        Columns(log.subjects[:-1], log.subject_names, log.types, TYPES, log.times, log.nows, log.properties)
    layout = Layout([FeatureDefinition("s", "sum", (Contribution("a", 1.0, "k"),), window_ms=DAY, bucket_ms=DAY)])
    with pytest.raises(DefinitionError, match="cannot be summed"):
        history_of(layout, log)


# -- no row sees what was not there yet --------------------------------------------------------------------------


def model(**changes: Any) -> ModelDefinition:
    given = {
        "model_id": "m", "output": "o", "algorithm": "random_forest", "features": ("count0",),
        "label": Label("churn", ("a",), DAY, 0), "update_ms": DAY, "score_on": (), "every_ms": 0, "confidence_min": 0.8,
    }  # fmt: skip
    return ModelDefinition(**{**given, **changes})


def rows_of(features: dict[str, FeatureDefinition], definition: ModelDefinition, pairs: Pairs, build: Any) -> dict[Any, Any]:
    """The features of every moment the model scores at, by (subject, time, how many of its moments had that time before)."""
    log: Any = build(SimpleNamespace(features=features), pairs)
    starts, times, behind = history_module._moments(definition, log, 10**9)
    found = fold_at(log, starts, times, behind)
    rows: dict[Any, Any] = {}
    for s, subject in enumerate(log.subjects):
        for m in range(starts[s], starts[s + 1]):
            at = (subject, int(times[m]))
            rows[(*at, sum(key[:2] == at for key in rows if key[0] == subject))] = found[m]
    return rows


def leaks(
    features: dict[str, FeatureDefinition], definition: ModelDefinition, pairs: Pairs, build: Any = history
) -> Iterator[Any]:
    """Moments whose features change when the log is cut behind them: they have seen what came later."""
    whole = rows_of(features, definition, pairs, build)
    for cut in range(10, len(pairs), 17):
        seen = pairs[:cut]
        for key, row in rows_of(features, definition, seen, build).items():
            # A tick is drawn until the newest event time there is; all that the log holds until then has come in.
            if key[1] <= seen[-1][0] and not np.array_equal(row, whole[key], equal_nan=True):
                yield key


@pytest.mark.parametrize("definition", [model(every_ms=DAY // 2), model(score_on=("a",))], ids=["ticks", "on events"])
def test_no_moment_sees_an_event_that_came_later(definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    features = definitions(draw)
    pairs = arrivals(draw, 150, 3, shuffled=False)
    assert len(rows_of(features, definition, pairs, history)) > 30
    assert not list(leaks(features, definition, pairs))

    honest = history_module._moments

    def sees_the_next(*given: Any) -> Any:
        starts, times, behind = honest(*given)
        return starts, times, behind + 1

    monkeypatch.setattr(history_module, "_moments", sees_the_next)
    assert list(leaks(features, definition, pairs))


def test_events_that_came_in_late_are_not_seen_before_they_did() -> None:
    """A row built by the events' own times would know of an event before it arrived."""
    draw = random.Random(5)
    features, definition = definitions(draw), model(every_ms=DAY // 2)

    def by_event_time(catalog: Any, events: Any) -> Any:
        return history(catalog, sorted(((e.event_time, e) for _, e in events), key=lambda pair: pair[0]))

    assert list(leaks(features, definition, arrivals(draw, 150, 3, shuffled=False), by_event_time))
