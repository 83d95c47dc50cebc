"""Segments as causes: who is told when a subject comes in or goes out, when that is seen, and that nobody else pays for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reflexarc_build.reader import build_text
from reflexarc_core.bucket import stable_id
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_core.explain import standing
from reflexarc_core.record import CatalogInput, ControlInput, EventInput, Input, Moment, TickInput, ValuesInput
from reflexarc_core.segment import FLOW_HOURS_KEPT
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.core.world import DAY, T0

MINUTE, HOUR = 60_000, 3_600_000
ANNA, BERT = "known:anna", "known:bert"
FEATURES = """
include: standard
features:
  visits: {aggregation: count, of: [page_view], window: 1d, bucket: 6h}
  bought: {aggregation: total, of: [purchase]}
  dearest: {aggregation: max, of: {purchase: amount}, window: 1d, bucket: 6h}
  absence: {aggregation: recency, of: [session]}
  warmth: {aggregation: decayed_sum, of: [button_click], half_life: 1d}
  tickets: {aggregation: count, of: [support_ticket], window: 90d, bucket: 3d, scope: subject, stale: 30d}
segments:
  regular: features.visits > 2.0
  buyer: features.bought > 0.0
  quiet: features.absence > 2.0
  warm: features.warmth > 1.0
  spender: features.dearest > 100.0
  burdened: features.tickets > 1.0
  stranger: features.visits < 2.0 && !subject.known
actions: {a: {}, b: {}}
"""


def built(triggers: str, head: str = FEATURES) -> Catalog:
    return build_text(f"{head}triggers:\n{triggers}")


BOTH = """
  comes: {segment_entered: regular, action: a}
  goes: {segment_left: regular, action: a}
"""


class Host:
    """One engine, and what it decided."""

    def __init__(self, catalog: Catalog, placement: str = "edge", device_id: str = "dev") -> None:
        self.catalog, self.placement = catalog, placement
        self.engine = Engine(Catalog(), placement, device_id=device_id)
        self.count = 0
        self.switch(catalog, T0)

    def take(self, given: Input, catalog: Catalog | None = None) -> list[Decision]:
        return [one.decision for one in self.engine.receive(given, catalog) if isinstance(one, RecordEffect)]

    def switch(self, catalog: Catalog, time: int) -> list[Decision]:
        self.catalog = catalog
        return self.take(CatalogInput(Moment(time), catalog.digest, "", {}), catalog)

    def event(self, event_type: str, time: int, subject: str = ANNA, **properties: Any) -> list[Decision]:
        self.count += 1
        return self.take(EventInput(Moment(time), Event(f"e{self.count}", event_type, subject, time, properties)))

    def views(self, count: int, time: int, subject: str = ANNA) -> list[Decision]:
        return [one for _ in range(count) for one in self.event("page_view", time, subject, page_url="/")]

    def tick(self, time: int) -> list[Decision]:
        return self.take(TickInput(Moment(time)))

    def restart(self) -> None:
        state = self.engine.state
        head = unpack(pack(state.head_plain()))
        kept = {subject: unpack(pack(held.to_plain())) for subject, held in state.subjects.items()}
        self.engine = Engine(self.catalog, self.placement, State.from_plain(head, kept))

    def inside(self, subject: str = ANNA) -> list[str]:
        held = self.engine.state.subjects[subject].membership
        return held.inside if held is not None else []


def said(decisions: list[Decision]) -> list[tuple[str, str, str]]:
    return [(one.trigger_id, one.instance, str(one.reason)) for one in decisions]


ENTERED = ("comes", "entered:regular", "FIRED")
LEFT = ("goes", "left:regular", "FIRED")


def test_it_is_entered_on_the_event_and_left_when_the_window_is_over() -> None:
    host = Host(built(BOTH))
    assert host.views(2, T0 + HOUR) == []
    (entered,) = host.views(1, T0 + 7 * HOUR)
    assert said([entered]) == [ENTERED]
    assert entered.cause_id == "e3"
    assert entered.decision_id == stable_id("comes", ANNA, "entered:regular", "e3")
    assert host.views(4, T0 + 7 * HOUR) == [], "it is in"
    assert host.tick(T0 + 24 * HOUR - 1) == []
    assert host.engine.next_deadline() == T0 + 24 * HOUR
    assert host.tick(T0 + 24 * HOUR) == [], "five views are left of seven"
    assert host.tick(T0 + 30 * HOUR - 1) == []
    assert host.engine.next_deadline() == T0 + 30 * HOUR
    host.engine.state.dirty.clear()
    (left,) = host.tick(T0 + 30 * HOUR)
    assert said([left]) == [LEFT]
    assert ANNA in host.engine.state.dirty
    assert left.cause_id == stable_id("timer", ANNA, "look", "", "", str(T0 + 30 * HOUR), "dev")
    assert host.engine.next_deadline() is None, "there is nothing that time could change"
    assert host.engine.state.subjects[ANNA].membership is None
    assert said(host.views(3, T0 + 40 * HOUR)) == [ENTERED]


def test_what_time_did_is_seen_before_what_the_event_does() -> None:
    host = Host(built(BOTH))
    host.views(3, T0 + HOUR)
    assert said(host.event("session", T0 + 3 * DAY)) == [LEFT], "no tick came, and the event is none that it counts"
    host = Host(built(BOTH))
    host.views(3, T0 + HOUR)
    assert said(host.views(3, T0 + 3 * DAY)) == [LEFT, ENTERED]


def test_a_late_tick_is_said_of_the_moment_it_was_true() -> None:
    host = Host(built("  goes: {segment_left: regular, max_age: 1h, action: a}\n"))
    host.views(3, T0 + HOUR)
    (late,) = host.tick(T0 + 25 * HOUR + 1)
    assert str(late.reason) == "STALE", "since the edge of a bucket, an hour and a millisecond ago"


def test_a_condition_a_slot_and_a_priority_decide_among_what_one_event_causes() -> None:
    host = Host(
        built("""
  view: {on: [page_view], condition: features.visits > 2.0, slot: s, action: a}
  comes: {segment_entered: [regular, buyer], condition: features.bought > 0.0, slot: s, priority: 1, action: a}
  never: {segment_entered: regular, condition: has(event.locale), action: a}
""")
    )
    host.event("purchase", T0)
    host.engine.state.subjects[ANNA].ledger = None
    decisions = host.views(3, T0 + HOUR)
    assert said(decisions) == [("comes", "entered:regular", "FIRED"), ("view", "", "PRIORITY")]
    assert host.engine.condition_counts()["never"] == {"has(event.locale)": 1}


def test_reentry_is_by_segment_and_way() -> None:
    host = Host(built("  t: {segment_entered: [regular, buyer], segment_left: regular, reentry: once, action: a}\n"))
    host.views(3, T0 + HOUR)
    host.event("purchase", T0 + HOUR)
    host.tick(T0 + 2 * DAY)
    assert said(host.views(3, T0 + 3 * DAY)) == [("t", "entered:regular", "REENTRY")]


def test_it_may_be_entered_by_time_alone() -> None:
    host = Host(built("  back: {segment_entered: quiet, action: a}\n"))
    assert host.event("session", T0 + 10) == []
    assert host.engine.next_deadline() == T0 + 2 * DAY + HOUR, "it is over no line before"
    assert host.tick(T0 + 2 * DAY) == [], "ten milliseconds are missing"
    assert said(host.tick(T0 + 2 * DAY + HOUR)) == [("back", "entered:quiet", "FIRED")]
    assert host.event("session", T0 + 4 * DAY) == []
    assert host.inside() == []


def test_in_a_segment_is_whom_its_condition_is_true_of_and_no_value_is_not_true() -> None:
    host = Host(built("  t: {segment_left: spender, action: a}\n"))
    host.event("purchase", T0, amount=120.0)
    assert host.inside() == ["spender"]
    assert said(host.tick(T0 + DAY)) == [("t", "left:spender", "FIRED")], "of an empty window there is no largest price"


def test_what_fades_is_looked_at_on_the_hour() -> None:
    host = Host(built("  cold: {segment_left: warm, action: a}\n"))
    host.event("button_click", T0 + MINUTE)
    host.event("button_click", T0 + MINUTE)
    assert host.inside() == ["warm"]
    for hour in range(1, 24):
        assert host.tick(T0 + hour * HOUR) == []
    assert host.tick(T0 + 24 * HOUR) == [], "a minute is missing"
    assert said(host.tick(T0 + 25 * HOUR)) == [("cold", "left:warm", "FIRED")]


@pytest.mark.parametrize("minutes", [1, 23 * 60, 25 * 60, 9 * 24 * 60])
def test_a_host_that_starts_again_all_the_time_tells_the_same(minutes: int) -> None:
    ways = "  cold: {segment_left: [warm, regular], action: a}\n  hot: {segment_entered: [quiet, warm], action: a}\n"
    host, other = Host(built(ways)), Host(built(ways))
    for one in (host, other):
        for event_type in ("button_click", "button_click", "session"):
            one.event(event_type, T0 + MINUTE)
        one.views(3, T0 + MINUTE)
    found, wanted = [], []
    for time in range(T0 + 2 * MINUTE, T0 + 5 * DAY, minutes * MINUTE + 7):
        if time // HOUR % 5 == 0:
            host.restart()
        assert host.engine.next_deadline() == other.engine.next_deadline()
        found += host.tick(time)
        wanted += other.tick(time)
    assert found == wanted
    assert minutes > 2 * 24 * 60 or len(found) == 3


def test_values_from_the_server_are_a_cause() -> None:
    host = Host(built("  many: {segment_entered: burdened, action: a}\n  few: {segment_left: burdened, action: a}\n"))

    def values(count: float, time: int) -> list[Decision]:
        return host.take(ValuesInput(Moment(time), ANNA, time - 5, {"tickets": count}))

    assert values(1.0, T0 + 9) == []
    (many,) = values(2.0, T0 + 10)
    assert said([many]) == [("many", "entered:burdened", "FIRED")]
    assert many.cause_id == stable_id("values", ANNA, str(T0 + 5), "dev")
    assert values(3.0, T0 + 20) == []
    host.restart()
    assert said(values(0.0, T0 + 30)) == [("few", "left:burdened", "FIRED")]


def test_it_is_kept_over_a_restart() -> None:
    host = Host(built(BOTH))
    host.views(3, T0 + HOUR)
    host.restart()
    assert host.views(1, T0 + 2 * HOUR) == []
    host.restart()
    assert host.engine.next_deadline() == T0 + 6 * HOUR
    assert said(host.tick(T0 + 2 * DAY)) == [LEFT]


def test_a_new_catalog_tells_nobody_of_who_is_in_already() -> None:
    host = Host(built("  buys: {segment_entered: buyer, action: a}\n"))
    host.views(3, T0 + HOUR)
    host.event("purchase", T0 + HOUR)
    assert host.inside() == ["buyer"]
    assert host.switch(built(BOTH), T0 + 2 * HOUR) == []
    assert host.inside() == ["regular"], "who is in is in, and what nobody waits for any more is not followed"
    assert host.engine.next_deadline() == T0 + 6 * HOUR
    assert host.views(1, T0 + 2 * HOUR) == []
    assert said(host.tick(T0 + 3 * DAY)) == [LEFT]
    host.switch(built("  u: {on: [page_view], condition: segments.regular, action: a}\n"), T0 + 3 * DAY)
    assert host.engine.state.subjects[ANNA].membership is None
    assert host.engine.next_deadline() is None


def test_what_is_due_is_seen_by_the_catalog_that_followed_it() -> None:
    host = Host(built(BOTH))
    host.views(3, T0 + HOUR)
    other = built(BOTH, FEATURES.replace("visits > 2.0", "visits > 0.0"))
    assert said(host.switch(other, T0 + 3 * DAY)) == [LEFT]


def test_a_segment_that_is_another_now_begins_with_who_is_in_it() -> None:
    host = Host(built(BOTH))
    host.views(2, T0 + HOUR)
    narrower = built(BOTH, FEATURES.replace("visits > 2.0", "visits > 1.0"))
    assert host.switch(narrower, T0 + 2 * HOUR) == []
    assert host.inside() == ["regular"]
    assert host.switch(built(BOTH), T0 + 2 * HOUR) == []
    assert host.inside() == []


def test_a_feature_that_is_another_now_is_warming_and_so_are_they() -> None:
    host = Host(built(BOTH))
    host.views(3, T0 + HOUR)
    assert host.switch(built(BOTH, FEATURES.replace("window: 1d", "window: 2d")), T0 + 2 * HOUR) == []
    assert host.inside() == [], "it counts from nothing, which is no reason to tell anybody"
    assert said(host.views(3, T0 + 3 * HOUR)) == [("comes", "entered:regular", "WARMING")]


def test_nobody_pays_for_what_does_not_concern_them() -> None:
    host = Host(built(BOTH))
    host.event("purchase", T0)
    host.event("page_view", T0, BERT, page_url="/")
    assert host.engine.state.subjects[ANNA].membership is None, "no segment that is followed counts a purchase"
    assert not host.engine.plan.arrival("purchase").decides
    assert host.engine.plan.arrival("page_view").decides
    assert "membership" not in host.engine.state.subjects[ANNA].to_plain()
    plain = Host(built("  u: {on: [page_view], condition: segments.regular && segments.buyer, action: a}\n"))
    plain.views(3, T0)
    plain.event("purchase", T0)
    assert plain.engine.state.subjects[ANNA].membership is None, "a segment that is only read is not followed"
    assert plain.engine.next_deadline() is None


TRACKED = FEATURES.replace("regular: features.visits > 2.0", "regular: {condition: features.visits > 2.0, tracked: true}")


def test_what_is_tracked_is_followed_and_counted_at_the_server_only() -> None:
    catalog = built("  u: {on: [purchase], condition: 'true', placement: server, action: a}\n", TRACKED)
    device, server = Host(catalog), Host(catalog, "server", "")
    for host in (device, server):
        host.views(3, T0 + HOUR)
        host.views(3, T0 + 2 * HOUR, BERT)
        host.tick(T0 + 3 * DAY)
        host.views(3, T0 + 4 * DAY)
    assert device.engine.state.flows == {}
    assert device.engine.state.subjects[ANNA].membership is None
    hour = T0 // HOUR
    assert server.inside() == ["regular"]
    assert server.inside(BERT) == []
    assert server.engine.state.flows == {"regular": {hour + 1: [1, 0], hour + 2: [1, 0], hour + 24: [0, 2], hour + 96: [1, 0]}}
    before = server.engine.state.flows
    server.restart()
    assert server.engine.state.flows == before
    server.tick(T0 + 30 * DAY)
    server.views(3, T0 + (FLOW_HOURS_KEPT + 96) * HOUR)
    assert min(server.engine.state.flows["regular"]) > hour + 96


def test_a_session_that_ends_leaves_nothing_and_tells_nobody() -> None:
    host = Host(built("  s: {segment_entered: stranger, segment_left: stranger, action: a}\n"))
    session = "session:1"
    assert said(host.views(1, T0, session)) == [("s", "entered:stranger", "FIRED")]
    assert host.views(1, T0) == [], "a known person is none"
    assert host.event("reset", T0 + HOUR, session) == []
    assert session not in host.engine.state.subjects
    assert host.tick(T0 + 9 * DAY) == []


def test_a_pause_holds_back_and_what_happened_happened() -> None:
    host = Host(built(BOTH))
    host.take(ControlInput(Moment(T0), ("*",)))
    assert said(host.views(3, T0)) == [("comes", "entered:regular", "PAUSED")]
    host.take(ControlInput(Moment(T0), ()))
    assert host.views(1, T0) == []


def test_an_explanation_says_who_is_in() -> None:
    host = Host(built(BOTH))
    host.views(3, T0)
    engine = host.engine
    found = standing(engine.plan, engine.state, engine.plan.triggers["comes"], ANNA, Moment(T0))
    assert found.under_way == ("segment regular: inside",)


def test_a_catalog_from_elsewhere_is_looked_at_too() -> None:
    catalog = built(BOTH)
    comes = catalog.triggers["comes"]
    for trigger, why in (
        (replace(comes, segment_entered=("nobody",)), "no segment 'nobody'"),
        (replace(comes, on=("page_view",)), "for something else"),
    ):
        broken = replace(catalog, triggers={**catalog.triggers, "comes": trigger})
        with pytest.raises(DefinitionError, match=why):
            Catalog.from_bytes(broken.to_bytes())
    with pytest.raises(DefinitionError, match="no segment 'x'"):
        Catalog.from_bytes(replace(catalog, tracked=("x",)).to_bytes())
    local = build_text(FEATURES.replace("regular:", 'local: event.locale == "de"\n  regular:'))
    with pytest.raises(DefinitionError, match="reads event.locale, which no subject keeps"):
        Catalog.from_bytes(replace(local, tracked=("local",)).to_bytes())
    assert Catalog.from_bytes(catalog.to_bytes()).digest == catalog.digest
