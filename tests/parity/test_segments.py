"""Segments as causes on a recorded log of real people: told in turn, where it is true, and a replay says the same bytes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.operands import feature_value
from reflexarc_core.record import CatalogInput, EventInput, Input, Moment, Record, TickInput
from reflexarc_core.replay import decisions
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.parity.test_real_logs import load

SEGMENTS = """
include: standard
features:
  orders: {aggregation: count, of: [purchase], window: 30d, bucket: 1d}
  ever: {aggregation: total, of: [purchase]}
segments:
  frequent: features.orders > 2.0
  lapsed: features.orders < 1.0 && features.ever > 1.0
  engaged: features.engagement_score > 20.0
triggers:
  t: {segment_entered: [frequent, lapsed, engaged], segment_left: [frequent, lapsed, engaged], action: a}
actions: {a: {}}
"""
HOLDS = {
    "frequent": lambda read: read("orders") > 2.0,
    "lapsed": lambda read: read("orders") < 1.0 and read("ever") > 1.0,
    "engaged": lambda read: read("engagement_score") > 20.0,
}


def test_a_real_log_crosses_segments_in_turn_and_again_the_same(real_sets: Path) -> None:
    adapted, events = load(real_sets, "orders_online_retail")
    catalog = replace(build_text(SEGMENTS), event_types=adapted.event_types)
    engine = Engine(Catalog(), "edge", device_id="dev")
    log: list[Record] = []
    made: list[Decision] = []

    def take(given: Input, live: Catalog | None = None) -> None:
        log.append(given)
        made.extend(effect.decision for effect in engine.receive(given, live) if isinstance(effect, RecordEffect))

    take(CatalogInput(Moment(events[0].event_time), catalog.digest, "", {}), catalog)
    for number, event in enumerate(events[:20_000]):
        deadline = engine.next_deadline()
        if number % 3 and deadline is not None and deadline <= event.event_time:
            take(TickInput(Moment(event.event_time)))
        take(EventInput(Moment(event.event_time), event))
        if number % 5_000 == 4_999:  # a restart
            head = unpack(pack(engine.state.head_plain()))
            kept = {name: unpack(pack(held.to_plain())) for name, held in engine.state.subjects.items()}
            engine = Engine(catalog, "edge", State.from_plain(head, kept))
    end = (engine.state.engine_time // 86_400_000 + 1) * 86_400_000  # an edge of every window, a full hour
    while (deadline := engine.next_deadline()) is not None and deadline <= end:
        take(TickInput(Moment(end)))

    ways: dict[tuple[str, str], list[str]] = defaultdict(list)
    for decision in made:
        way, _, segment = decision.instance.partition(":")
        ways[decision.subject, segment].append(way)
    assert all(way == ("left" if place % 2 else "entered") for told in ways.values() for place, way in enumerate(told))
    assert all(sum(len(told) for (_, name), told in ways.items() if name == segment) > 100 for segment in HOLDS)
    for name, subject in engine.state.subjects.items():

        def read(feature: str, name: str = name) -> float:
            value = feature_value(engine.plan, engine.state.subjects[name], feature, end, None)
            assert value is not None
            return value

        inside = subject.membership.inside if subject.membership is not None else []
        assert inside == sorted(segment for segment, holds in HOLDS.items() if holds(read)), name
        assert all((ways[name, segment][-1:] == ["entered"]) is (segment in inside) for segment in HOLDS), name
    again = decisions(Engine(Catalog(), "edge", device_id="dev"), log, {catalog.digest: catalog})
    assert [pack(decision) for decision in again] == [pack(decision) for decision in made]
