"""`window: optimal_purchase_window`: an action waits for the subject's own hours, by the same rules as any window."""

from __future__ import annotations

import json

import pytest

from reflexarc_build.reader import build_text
from reflexarc_build.source import SourceError
from reflexarc_build.writer import source_of
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Reason
from reflexarc_core.engine import Engine
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel
from reflexarc_core.opening import NO_HOURS
from reflexarc_core.purchase_window import HOURS_OF_WEEK, SCALE, Intensity
from reflexarc_core.record import CatalogInput, Moment, TickInput
from reflexarc_core.state import State
from reflexarc_proto.wire.score import live_model_from_proto, live_model_to_proto
from tests.core.world import Shell

HOUR, DAY = 3_600_000, 86_400_000
MONDAY = 1_767_571_200_000  # 2026-01-05T00:00Z
ANN = "known:ann"
YAML = """
include: standard
triggers:
  offer:
    condition: event.page_url == "/shop"
    on: [page_view]
    cooldown: 30d
    window: optimal_purchase_window
    hold: 8d
    action: offer
actions:
  offer: {payload: {text: now}}
"""
# Everybody on Fridays from noon to six; an event says something of its hour and a little of those beside it.
FRIDAY_NOON = 4 * 24 + 12
EVERYBODY = tuple(8_000 if FRIDAY_NOON <= hour < FRIDAY_NOON + 6 else 100 for hour in range(HOURS_OF_WEEK))
HOURS = Intensity(EVERYBODY, (SCALE * 3 // 4, SCALE // 8), (), 2)


def _catalog(text: str = YAML) -> Catalog:
    return build_text(text)


def _shell(catalog: Catalog, hours: Intensity | None = HOURS) -> Shell:
    shell = Shell(Engine(catalog, "edge"))
    live = {"purchase_intent": LiveModel("intent-1", ("page_views",), 0, hours)}
    shell.take(CatalogInput(Moment(MONDAY - 60 * DAY), catalog.digest, "", live), catalog)
    return shell


def _event(at: int, event_type: str = "page_view", offset: int = 0, **properties: object) -> Event:
    given = {"page_url": "/shop"} if event_type == "page_view" else {}
    return Event(f"{event_type}-{at}", event_type, ANN, at, {**given, **properties}, {"offset_minutes": offset})  # type: ignore[dict-item]


def _bought(shell: Shell, hour: int, weeks: int = 6, offset: int = 0) -> None:
    """Purchases in this hour of the local week, in each of the weeks before."""
    for week in range(weeks, 0, -1):
        at = MONDAY - week * 7 * DAY + hour * HOUR - offset * 60_000
        shell.event(_event(at, "purchase", offset), Moment(at, offset_minutes=offset))


def _wait_until(shell: Shell, until: int, offset: int = 0) -> list[tuple[Reason, int]]:
    """Let time pass as a shell does: a tick when one is due. (reason, time) of what was decided."""
    found = []
    for _ in range(300):
        due = shell.engine.next_deadline()
        if due is None or due > until:
            break
        now = max(due, shell.engine.state.engine_time)
        found += [(one.reason, one.decision_time) for one in shell.take(TickInput(Moment(now, offset_minutes=offset)))]
    return found


def test_an_offer_waits_for_the_subjects_own_hour() -> None:
    shell = _shell(_catalog())
    _bought(shell, 24 + 20)  # Tuesdays at eight
    held = shell.event(_event(MONDAY + 5 * HOUR), Moment(MONDAY + 5 * HOUR))
    assert [one.reason for one in held] == [Reason.QUIET_HOURS]
    # Seven and nine are beside it, so her hours begin at seven.
    begins = MONDAY + (24 + 19) * HOUR
    assert held[0].detail == f"held for {begins - MONDAY - 5 * HOUR} ms"
    assert shell.acts == []
    assert (Reason.FIRED, begins) in _wait_until(shell, MONDAY + 7 * DAY)
    assert [act.trigger_id for act in shell.acts] == ["offer"]


def test_hours_are_local_by_the_offset_of_the_event_and_of_the_moment() -> None:
    shell = _shell(_catalog())
    _bought(shell, 24 + 20, offset=-480)
    now = MONDAY + 12 * HOUR
    shell.event(_event(now, offset=-480), Moment(now, offset_minutes=-480))
    begins = MONDAY + (24 + 19) * HOUR + 480 * 60_000
    assert (Reason.FIRED, begins) in _wait_until(shell, MONDAY + 7 * DAY, offset=-480)


def test_within_its_hours_nothing_waits() -> None:
    shell = _shell(_catalog())
    _bought(shell, 24 + 20)
    now = MONDAY + (24 + 20) * HOUR + 59 * 60_000
    assert [one.reason for one in shell.event(_event(now), Moment(now))] == [Reason.FIRED]


def test_of_whom_nothing_is_known_waits_for_everybodys_hours() -> None:
    shell = _shell(_catalog())
    shell.event(_event(MONDAY), Moment(MONDAY))
    assert _wait_until(shell, MONDAY + 7 * DAY)[-1] == (Reason.FIRED, MONDAY + FRIDAY_NOON * HOUR)


def test_without_learned_hours_nothing_waits_and_the_decision_says_so() -> None:
    shell = _shell(_catalog(), None)
    found = shell.event(_event(MONDAY), Moment(MONDAY))
    assert [(one.reason, one.detail) for one in found] == [(Reason.FIRED, NO_HOURS)]
    assert len(shell.acts) == 1


def test_quiet_hours_hold_it_on_within_its_own() -> None:
    shell = _shell(_catalog(YAML.replace("    hold: 8d\n", '    hold: 8d\n    quiet: {from: "00:00", to: "15:00"}\n')))
    shell.event(_event(MONDAY), Moment(MONDAY))
    assert _wait_until(shell, MONDAY + 7 * DAY)[-1] == (Reason.FIRED, MONDAY + (FRIDAY_NOON + 3) * HOUR)


def test_its_hours_are_looked_at_again_when_their_time_has_come() -> None:
    shell = _shell(_catalog())
    shell.event(_event(MONDAY), Moment(MONDAY))  # held until Friday noon
    for day in range(3):  # and then she buys every night of that week
        for hour in (1, 3):
            at = MONDAY + (day * 24 + hour) * HOUR + 1
            for number in range(8):
                shell.event(_event(at + number, "purchase"), Moment(at + number))
    before = dict(shell.engine.state.subjects[ANN].weeks["purchase_intent"].counts)  # type: ignore[index]
    assert before == {1: 1, 3: 1, 25: 1, 27: 1, 49: 1, 51: 1}
    fired = _wait_until(shell, MONDAY + 8 * DAY)[-1]
    assert fired == (Reason.FIRED, MONDAY + 7 * DAY + HOUR)


def test_what_waits_too_long_expires() -> None:
    shell = _shell(_catalog(YAML.replace("hold: 8d", "hold: 2d")))
    shell.event(_event(MONDAY), Moment(MONDAY))
    assert _wait_until(shell, MONDAY + 7 * DAY)[-1][0] == Reason.EXPIRED
    assert shell.acts == []


def test_a_clock_that_is_not_believed_has_no_hours() -> None:
    shell = _shell(_catalog())
    found = shell.event(_event(MONDAY), Moment(MONDAY, trusted=False))
    assert [one.reason for one in found] == [Reason.CLOCK_UNTRUSTED]


def test_counts_are_kept_only_where_a_trigger_waits_for_them() -> None:
    shell = _shell(_catalog(YAML.replace("    window: optimal_purchase_window\n", "")))
    _bought(shell, 30)
    assert shell.engine.state.subjects[ANN].weeks is None
    assert "weeks" not in shell.engine.state.subjects[ANN].to_plain()


def test_a_restored_engine_and_a_replayed_log_decide_the_same() -> None:
    catalog = _catalog()
    shell = _shell(catalog)
    _bought(shell, 24 + 20)
    shell.event(_event(MONDAY), Moment(MONDAY))
    kept = {key: subject.to_plain() for key, subject in shell.engine.state.subjects.items()}
    again = Shell(Engine(catalog, "edge", State.from_plain(json.loads(json.dumps(shell.engine.state.head_plain())), kept)))
    assert again.engine.state.subjects == shell.engine.state.subjects
    assert _wait_until(again, MONDAY + 7 * DAY) == _wait_until(shell, MONDAY + 7 * DAY)
    replayed = Shell(Engine(catalog, "edge"))
    for given in shell.log:
        replayed.take(given, catalog)
    assert replayed.decisions[: len(shell.decisions)] == shell.decisions


def test_state_of_before_is_read() -> None:
    shell = _shell(_catalog())
    shell.event(_event(MONDAY), Moment(MONDAY))
    kept = shell.engine.state.subjects[ANN].to_plain()
    kept.pop("weeks", None)
    head = shell.engine.state.head_plain()
    del head["models"]["purchase_intent"]["hours"]
    state = State.from_plain(head, {ANN: kept})
    assert state.models["purchase_intent"].hours is None
    assert state.subjects[ANN].weeks is None


def test_the_wire_keeps_the_hours() -> None:
    for hours in (HOURS, None):
        live = LiveModel("a", ("x",), 5, hours)
        assert live_model_from_proto(live_model_to_proto(live)) == live


# -- the author's room -------------------------------------------------------------------------------------------


def test_it_is_written_back_as_it_was_read() -> None:
    catalog = _catalog()
    assert source_of(catalog)["triggers"]["offer"]["window"] == "optimal_purchase_window"
    assert Catalog.from_bytes(catalog.to_bytes()).digest == catalog.digest


def test_a_catalog_that_foresees_no_purchase_is_refused() -> None:
    alone = """
event_types: {page_view: {properties: {page_url: string!}}}
triggers:
  offer: {condition: event.page_url == "/shop", on: [page_view], window: optimal_purchase_window, action: offer}
actions: {offer: {payload: {text: now}}}
"""
    with pytest.raises(SourceError, match="no model foresees purchases"):
        build_text(alone)
    built = json.loads(_catalog().to_bytes())
    built["models"] = {}
    with pytest.raises(DefinitionError):
        Catalog.from_plain(built)


def test_another_word_is_no_window() -> None:
    with pytest.raises(SourceError):
        _catalog(YAML.replace("optimal_purchase_window", "whenever"))
