"""Segments as causes against the reference: drawn histories, crossing by crossing; and a log again gives the same bytes."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_build.reader import build_text
from reflexarc_core.bucket import stable_id
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.record import CatalogInput, EventInput, Input, Moment, Record, TickInput
from reflexarc_core.replay import decisions
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.core.world import DAY, T0
from tests.reference.memberships import Crossing, Memberships, Segment, count, decayed, recency, total

MINUTE, HOUR = 60_000, 3_600_000
SUBJECTS = ("known:1", "anonymous:2")
TYPES = ("page_view", "purchase", "session", "support_ticket")
TEXT = """
event_types: {page_view: {}, purchase: {}, session: {}, support_ticket: {}}
features:
  visits: {aggregation: count, of: [page_view], window: 1d, bucket: 6h}
  tickets: {aggregation: count, of: [support_ticket], window: 3h, bucket: 30m}
  bought: {aggregation: total, of: [purchase]}
  absence: {aggregation: recency, of: [session]}
  warmth: {aggregation: decayed_sum, of: [session], half_life: 3h}
segments:
  regular: features.visits > 2.0
  rare: features.visits < 2.0 && features.bought > 0.0
  away: features.absence > 0.25
  upset: features.tickets > 0.0 && (features.absence > 0.1 || features.visits > 1.0)
  warm: features.warmth > 0.4 && features.warmth < 1.7
  gone: features.absence * 2.0 > 0.7
triggers:
  t:
    segment_entered: [regular, rare, away, upset, warm, gone]
    segment_left: [regular, rare, away, upset, warm, gone]
    action: a
actions: {a: {}}
"""
FIRST = build_text(TEXT)
SECOND = build_text(TEXT.replace("visits > 2.0", "visits > 1.0").replace("regular, rare, away", "regular, away"))
VISITS, TICKETS, BOUGHT = count("page_view", DAY, 6 * HOUR), count("support_ticket", 3 * HOUR, 30 * MINUTE), total("purchase")
ABSENCE = recency("session")
AWAY = Segment(lambda v: v.get("absence", 0.0) > 0.25, {"absence": ABSENCE}, ("session",))
UPSET = Segment(
    lambda v: v["tickets"] > 0.0 and (v.get("absence", 0.0) > 0.1 or v["visits"] > 1.0),
    {"tickets": TICKETS, "absence": ABSENCE, "visits": VISITS},
    ("support_ticket", "session", "page_view"),
)
WARM = Segment(lambda v: 0.4 < v["warmth"] < 1.7, {"warmth": decayed("session", 3 * HOUR)}, ("session",))
GONE = Segment(lambda v: v.get("absence", 0.0) * 2.0 > 0.7, {"absence": ABSENCE}, ("session",))
SEGMENTS = (
    {
        "gone": GONE,
        "warm": WARM,
        "away": AWAY,
        "rare": Segment(
            lambda v: v["visits"] < 2.0 and v["bought"] > 0.0,
            {"visits": VISITS, "bought": BOUGHT},
            ("page_view", "purchase"),
        ),
        "regular": Segment(lambda v: v["visits"] > 2.0, {"visits": VISITS}, ("page_view",)),
        "upset": UPSET,
    },
    {
        "away": AWAY,
        "gone": GONE,
        "warm": WARM,
        "regular": Segment(lambda v: v["visits"] > 1.0, {"visits": VISITS}, ("page_view",)),
        "upset": UPSET,
    },
)
CATALOGS = (FIRST, SECOND)


def found_in(decision: Decision) -> tuple[str, str, str]:
    way, _, segment = decision.instance.partition(":")
    return decision.subject, segment, way


def wanted_cause(one: Crossing, event: Event | None) -> str:
    if one.by_time or event is None:
        return stable_id("timer", one.subject, "look", "", "", str(one.time), "dev")
    return event.event_id


def run(seed: int, size: int) -> None:
    draw = random.Random(seed)
    engine = Engine(Catalog(), "edge", device_id="dev")
    engine.receive(CatalogInput(Moment(T0), FIRST.digest, "", {}), FIRST)
    reference, live, now = Memberships(SEGMENTS[0]), 0, T0
    log: list[Record] = [CatalogInput(Moment(T0), FIRST.digest, "", {})]
    made: list[Decision] = []
    for number in range(size):
        now += draw.choice((0, 1, MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, 7 * HOUR, 2 * DAY))
        kind = draw.random()
        event: Event | None = None
        given: Input = TickInput(Moment(now))
        catalog = None
        if kind < 0.05:
            head = unpack(pack(engine.state.head_plain()))
            kept = {name: unpack(pack(held.to_plain())) for name, held in engine.state.subjects.items()}
            engine = Engine(CATALOGS[live], "edge", State.from_plain(head, kept))
            continue
        if kind < 0.1:
            live = 1 - live
            catalog = CATALOGS[live]
            given = CatalogInput(Moment(now), catalog.digest, "", {})
            crossings = reference.switch(SEGMENTS[live], {"away", "upset", "gone", "warm"}, now)
        elif kind < 0.35:
            crossings = reference.tick(now)
        else:
            late = draw.choice((0, 0, 0, MINUTE, HOUR, 10 * HOUR, 2 * DAY))
            event = Event(f"e{number}", draw.choice(TYPES), draw.choice(SUBJECTS), now - late)
            given = EventInput(Moment(now), event)
            crossings = reference.event(event, now)
        log.append(given)
        found = [effect.decision for effect in engine.receive(given, catalog) if isinstance(effect, RecordEffect)]
        made += found
        said = sorted((*found_in(one), one.cause_id) for one in found)
        wanted = sorted((one.subject, one.segment, one.way, wanted_cause(one, event)) for one in crossings)
        assert said == wanted, f"{number}: {given}"
        for name, subject in engine.state.subjects.items():
            inside = subject.membership.inside if subject.membership is not None else []
            assert inside == sorted(one for one, is_in in reference.subjects[name].inside.items() if is_in)
    again = Engine(Catalog(), "edge", device_id="dev")
    assert [pack(one) for one in decisions(again, log, {one.digest: one for one in CATALOGS})] == [pack(one) for one in made]


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_who_crosses_is_who_the_reference_says(seed: int) -> None:
    run(seed, 60)
