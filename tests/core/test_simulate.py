"""Simulation: the engine that decides live, over a log that is there."""

from __future__ import annotations

from reflexarc_build.reader import build_text
from reflexarc_core.decision import Reason
from reflexarc_core.record import Moment
from reflexarc_core.simulate import Simulation
from reflexarc_edge.codec import pack
from tests.core.test_patterns import Scene
from tests.core.world import DAY, catalog, fresh, inputs

SILENT = "inactive: {events: [page_view], for: 1d}\ncooldown: 3d"


def test_the_catalog_that_was_live_decides_what_was_decided_byte_for_byte() -> None:
    shell = fresh()
    for given_input in inputs(11, 400):
        shell.take(given_input)
    assert shell.decisions
    simulation = Simulation(catalog())
    simulation.run(shell.log)
    assert [pack(d) for d in simulation.decisions] == [pack(d) for d in shell.decisions]


def test_another_catalog_gets_the_time_it_waits_for() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'")
    for day in (0, 5):
        scene.event("page_view", day * 1440, page_url="/")
    silent = Scene(SILENT).catalog
    simulation = Simulation(silent)
    simulation.run(scene.shell.log)
    assert [(d.reason, d.decision_time % DAY) for d in simulation.decisions] == [(Reason.FIRED, 0)]


def test_a_score_the_log_does_not_hold_is_none() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'")
    scene.event("page_view", 0, page_url="/")
    text = "include: standard\ntriggers: {t: {condition: purchase_intent_score > 0.8, action: act}}\nactions: {act: {}}"
    simulation = Simulation(build_text(text))
    simulation.run(scene.shell.log)
    assert simulation.decisions == []


def test_a_preview_over_everybody_stops_where_it_is_told_and_keeps_to_caps() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'")
    for number in range(10):
        scene.event("page_view", number, subject=f"known:{number}", page_url="/")
    busy = Scene("on: [page_view]\ncondition: features.page_views > 0.0\ncap: {count: 1, within: 7d}").catalog
    simulation = Simulation(busy)
    simulation.run(scene.shell.log)
    moment = Moment(simulation.engine.state.engine_time)
    assert [d.reason for d in simulation.preview(["t"], moment, 100)] == [Reason.CAP] * 10, "each had its one already"
    later = Moment(moment.now + 8 * DAY)
    simulation.engine.state.engine_time = later.now
    assert simulation.preview(["t"], later, 3) == [], "nobody has looked at a page for a week"
    other = Simulation(Scene("on: [purchase]\ncondition: features.page_views > 0.0").catalog)
    other.run(scene.shell.log)
    assert [d.reason for d in other.preview(["t"], moment, 3)] == [Reason.FIRED] * 3
