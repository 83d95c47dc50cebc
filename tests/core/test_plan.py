"""The plan: made ahead or when it is asked for, the same."""

from __future__ import annotations

import pytest

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.condition.source import Source
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.plan import Plan
from reflexarc_core.record import CatalogInput, Moment
from reflexarc_edge.codec import pack
from tests.core.world import LIVE, T0, Shell, catalog, fresh, inputs

NOW = Moment(T0, True)


def prepared() -> Shell:
    """As `fresh`, with a plan that was made ahead."""
    plan = Plan(catalog(), "edge", LIVE)
    for _ in plan.preparing():
        pass
    shell = Shell(Engine(Catalog(), "edge"))
    shell.engine.receive(CatalogInput(NOW, catalog().digest, "test", LIVE), catalog(), plan)
    assert shell.engine.plan is plan
    return shell


def test_a_plan_made_ahead_decides_the_same() -> None:
    ahead, then = prepared(), fresh()
    for given in inputs(7, 200):
        ahead.take(given)
        then.take(given)
    assert then.decisions
    assert [pack(decision) for decision in ahead.decisions] == [pack(decision) for decision in then.decisions]
    assert ahead.engine.condition_counts() == then.engine.condition_counts()


def test_an_event_finds_everything_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    compile_source = Source.compile

    def compiled(source: Source, text: str, name: str) -> object:
        made.append(name)
        return compile_source(source, text, name)

    shell = prepared()
    monkeypatch.setattr(Source, "compile", compiled)
    for number in range(8):
        shell.event(Event(f"e{number}", "page_view", "known:1", T0, {"page_url": "/shop/1"}, {"session_step": 1}), NOW)
    assert shell.decisions
    assert set(made) <= {"evaluate"}, "but for the one condition that the server's answer asks again"


def test_what_two_events_evaluate_is_counted_once_for_each() -> None:
    made = build_text(
        "version: two\nevent_types: {a: {properties: {n: int!}}, b: {properties: {n: int!}}}\nactions: {act: {payload: {}}}\n"
        "triggers:\n  t: {condition: event.n > 3, on: [a, b], action: act}\n"
    )
    shell = Shell(Engine(Catalog(), "edge"))
    shell.take(CatalogInput(NOW, made.digest, "two", {}), made)
    for number, event_type in enumerate(["a", "b", "b"]):
        shell.event(Event(f"e{number}", event_type, "known:1", T0, {"n": 1}, {}), NOW)
    assert shell.engine.condition_counts() == {"t": {"event.n > 3": 3}}
