"""Rules of the engine that a plain run does not meet: named by number, each with the case it is there for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from reflexarc_build.reader import build_text
from reflexarc_core import engine as engine_module
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.effect import Effect, RequestScore
from reflexarc_core.effect import Record as RecordEffect
from reflexarc_core.engine import Engine
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_core.model import GRID, LiveModel, Scored
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    ControlInput,
    EventInput,
    Moment,
    ScoresInput,
    TickInput,
    ValuesInput,
)
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
NOW = Moment(T0, True)

YAML = """
include: standard
version: rules
segments:
  burdened: features.support_tickets > 1.0
triggers:
  ask:
    condition: predicted_churn_risk > 0.7
    holdout: 0.5
    action: offer
  confirm:
    condition: purchase_intent_score > 0.8 || event.page_url == "/any"
    on: [page_view]
    escalate: confirm
    action: offer
  alone:
    condition: predicted_churn_risk > 0.7
    escalate: never
    action: offer
  burden:
    condition: segments.burdened || event.page_url == "/burden"
    on: [page_view]
    action: offer
  visit:
    condition: event.page_url == "/visit"
    on: [page_view]
    holdout: 0.5
    holdout_unit: session
    action: offer
  screen:
    condition: event.page_url == "/screen"
    on: [page_view]
    holdout: 0.5
    holdout_unit: device
    action: offer
actions:
  offer: {payload: {text: hello}}
"""
LIVE = {"churn": LiveModel("churn-1", ("engagement_score",), 0)}

COUNTING = """
include: standard
version: counting
triggers:
  many: {condition: features.support_tickets > 3.0, on: [page_view], action: offer}
  third: {condition: features.page_views > 2.0, on: [page_view], action: offer}
  gone: {condition: features.page_views < 1.0, on: [page_view], action: offer}
actions:
  offer: {payload: {text: hello}}
"""
INTENT = {"purchase_intent": LiveModel("intent-1", ("page_views",), 0)}


@cache
def catalog(text: str = YAML) -> Catalog:
    return build_text(text)


def live(engine: Engine, models: dict[str, LiveModel] | None = None, text: str = YAML) -> list[Effect]:
    made = catalog(text)
    return engine.receive(CatalogInput(NOW, made.digest, "rules", LIVE if models is None else models), made)


def fresh(models: dict[str, LiveModel] | None = None, device_id: str = "") -> Engine:
    engine = Engine(Catalog(), "edge", device_id=device_id) if device_id else Engine(Catalog(), "edge")
    live(engine, models)
    return engine


def page(number: int, url: str = "/", subject: str = "known:1", session: str = "s") -> EventInput:
    return EventInput(NOW, Event(f"p{number}", "page_view", subject, T0, {"page_url": url}, {"session_id": session}))


def scored(score: float, confidence: float, model_id: str = "churn", artifact: str = "churn-1") -> Scored:
    line = 0.7 if model_id == "churn" else 0.8
    code = int(score * GRID)
    return Scored(model_id, artifact, code, code / GRID, ((line, confidence),), (0.0,), None)


def decided(effects: list[Effect], trigger_id: str = "") -> list[Decision]:
    found = [effect.decision for effect in effects if isinstance(effect, RecordEffect)]
    return [decision for decision in found if not trigger_id or decision.trigger_id == trigger_id]


def restored(engine: Engine) -> Engine:
    """The engine as a snapshot of it would be, read in the order a store gives subjects back: by name."""
    head = unpack(pack(engine.state.head_plain()))
    kept = {subject: unpack(pack(engine.state.subjects[subject].to_plain())) for subject in sorted(engine.state.subjects)}
    return Engine(engine.plan.catalog, "edge", State.from_plain(head, kept))


def tick(engine: Engine, score: float, confidence: float, *, online: bool = True, days: int = 1) -> list[Effect]:
    """A tick, and one score for everybody it asks about."""
    moment = Moment(engine.state.engine_time + days * DAY, online)
    asked = [e for e in engine.receive(TickInput(moment)) if isinstance(e, RequestScore)]
    if not asked:
        return []
    given = tuple((request.subject, scored(score, confidence)) for request in asked)
    return engine.receive(ScoresInput(moment, asked[0].cause_id, given))


# -- who knows what (1, 3) --------------------------------------------------------------------------------------------


def test_rule_1_a_stale_value_behind_a_segment_is_stale_too() -> None:
    engine = fresh()
    limit = engine.plan.remote_features["support_tickets"].stale_ms
    engine.receive(page(0))
    engine.receive(ValuesInput(NOW, "known:1", T0 - limit - 1, {"support_tickets": 5.0}))
    (decision,) = decided(engine.receive(page(1)), "burden")
    assert (decision.reason, decision.detail) == (Reason.STALE, "features.support_tickets")


def test_rule_3_a_tick_scores_active_subjects_only() -> None:
    engine = fresh()
    engine.receive(EventInput(NOW, Event("old", "session", "known:old", T0 - 400 * DAY, {"kind": "start"})))
    engine.receive(EventInput(NOW, Event("new", "session", "known:new", T0, {"kind": "start"})))
    asked = [e for e in engine.receive(TickInput(Moment(T0 + DAY))) if isinstance(e, RequestScore)]
    assert [request.subject for request in asked] == ["known:new"]


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ("nothing", set()),
        ("values", {"many"}),
        ("another page", {"third"}),
        ("another's page", set()),
        ("time", {"gone"}),
        ("a catalog", {"third"}),
    ],
)
def test_rule_2_a_condition_sees_what_is_true_when_the_score_comes(between: str, expected: set[str]) -> None:
    """What is read on an event serves its conditions too, unless something happened in between."""
    answer = (("known:1", scored(0.1, 0.1, "purchase_intent")),)
    engine = Engine(Catalog(), "edge")
    live(engine, INTENT, COUNTING)
    engine.receive(page(0))
    engine.receive(ScoresInput(NOW, "p0", answer))
    engine.receive(ValuesInput(NOW, "known:1", T0, {"support_tickets": 2.0}))
    engine.receive(page(1))
    moment = NOW
    if between == "values":
        engine.receive(ValuesInput(NOW, "known:1", T0, {"support_tickets": 5.0}))
    elif between == "another page":
        engine.receive(page(2))
    elif between == "another's page":
        engine.receive(page(2, subject="known:2"))
    elif between == "time":
        moment = Moment(T0 + 30 * DAY, True)
    elif between == "a catalog":
        live(engine, INTENT, COUNTING.replace("page_views > 2.0", "engagement_score > 1.0"))
    found = decided(engine.receive(ScoresInput(moment, "p1", answer)))
    assert {decision.trigger_id for decision in found} == expected


def test_rule_16_a_late_event_counts_where_it_belongs_at_once() -> None:
    engine = Engine(Catalog(), "edge")
    live(engine, {}, COUNTING)
    assert decided(engine.receive(page(0))) == []
    late = page(1)
    assert decided(engine.receive(replace(late, event=replace(late.event, event_time=T0 - DAY)))) == []
    assert [decision.trigger_id for decision in decided(engine.receive(page(2)))] == ["third"]


def test_rule_25_a_changed_feature_starts_from_nothing_in_conditions_too() -> None:
    text = COUNTING.replace("page_views", "looks").replace(
        "triggers:\n", "features:\n  looks: {aggregation: count, of: {page_view: 1}, window: 7d, bucket: 1d}\ntriggers:\n"
    )
    engine = Engine(Catalog(), "edge")
    live(engine, {}, text)
    for number in range(5):
        early = page(number)
        engine.receive(replace(early, event=replace(early.event, event_time=T0 - number * DAY)))
    assert [decision.trigger_id for decision in decided(engine.receive(page(5)))] == ["third"]
    live(engine, {}, text.replace("window: 7d", "window: 14d"))
    assert decided(engine.receive(page(6))) == []


# -- escalation (8, 9) ------------------------------------------------------------------------------------------------


def test_rule_9_never_asks_nobody_and_the_unsure_does_not_fire() -> None:
    engine = fresh()
    engine.receive(page(0))
    effects = tick(engine, 0.9, 0.1)
    assert [d.reason for d in decided(effects, "alone")] == [Reason.LOW_CONFIDENCE]
    assert [e.decision_id for e in effects if isinstance(e, RequestScore)] == [decided(effects, "ask")[0].decision_id]


def test_rule_9_confirm_offline_acts_by_itself() -> None:
    engine = fresh({"purchase_intent": LiveModel("intent-1", ("page_views",), 0)})
    engine.receive(replace(page(1), moment=Moment(T0, False)))
    effects = engine.receive(ScoresInput(Moment(T0, False), "p1", (("known:1", scored(0.9, 0.99, "purchase_intent")),)))
    assert [d.reason for d in decided(effects, "confirm")] == [Reason.FIRED]


def test_rule_9_at_the_deadline_the_devices_own_answer_stands() -> None:
    engine = fresh({"purchase_intent": LiveModel("intent-1", ("page_views",), 0)})
    engine.receive(page(1))
    effects = engine.receive(ScoresInput(NOW, "p1", (("known:1", scored(0.9, 0.99, "purchase_intent")),)))
    (first,) = decided(effects, "confirm")
    assert first.reason is Reason.ESCALATED
    (second,) = decided(engine.receive(AnswerInput(NOW, first.decision_id, None, "deadline")))
    assert (second.reason, second.record, second.decision_id) == (Reason.FIRED, 1, first.decision_id)


def test_rule_9_confirm_without_any_score_has_nothing_to_ask() -> None:
    engine = fresh({})
    (decision,) = decided(engine.receive(page(1, "/any")), "confirm")
    assert decision.reason is Reason.FIRED


def test_rule_17_a_pause_or_a_withdrawn_consent_reaches_a_decision_that_waits() -> None:
    engine = fresh()
    engine.receive(page(0))
    first = decided(tick(engine, 0.9, 0.1), "ask")[0]
    engine.receive(ControlInput(NOW, ("ask",)))
    (second,) = decided(engine.receive(AnswerInput(NOW, first.decision_id, scored(0.9, 0.99, artifact="heavy"))))
    assert second.reason is Reason.PAUSED


# -- holdout (17) -----------------------------------------------------------------------------------------------------


def assignments(engine: Engine, trigger_id: str, url: str, given: list[tuple[str, str]]) -> list[str]:
    found = []
    for number, (subject, session) in enumerate(given):
        (decision,) = decided(engine.receive(page(number, url, subject, session)), trigger_id)
        found.append(decision.assignment)
    return found


def test_rule_17_the_unit_session_is_assigned_by_session() -> None:
    found = assignments(fresh(), "visit", "/visit", [("device:1", f"s{i}") for i in range(40)])
    assert set(found) == {"treated", "holdout"}, "one subject's visits fall on both sides"
    again = assignments(fresh(), "visit", "/visit", [(f"known:{i}", f"s{i}") for i in range(40)])
    assert again == found, "whoever is there"


def test_rule_17_the_unit_device_is_one_side_for_everybody_there() -> None:
    sides = [
        set(assignments(fresh(device_id=f"d{i}"), "screen", "/screen", [(f"known:{n}", "s") for n in range(12)]))
        for i in range(12)
    ]
    assert all(len(side) == 1 for side in sides)
    assert set.union(*sides) == {"treated", "holdout"}
    engine = fresh(device_id="d1")
    assert restored(engine).state.device_id == "d1"


def test_rule_17_an_assignment_is_kept_when_the_share_changes() -> None:
    engine = fresh()
    before = assignments(engine, "screen", "/screen", [("known:1", "s")])
    engine.receive(page(90))
    first = decided(tick(engine, 0.9, 0.99), "ask")[0]
    assert before and first.assignment in ("treated", "holdout")
    other = "1.0" if first.assignment == "treated" else "0.0001"
    live(engine, text=YAML.replace("holdout: 0.5\n    action", f"holdout: {other}\n    action", 1))
    second = decided(tick(engine, 0.9, 0.99), "ask")[0]
    assert second.assignment == first.assignment, "recorded at the first decision"


# -- state (24, 25, 28) -----------------------------------------------------------------------------------------------


def test_rule_24_who_makes_room_is_the_same_behind_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SUBJECTS_MAX", 3)
    whole = fresh()
    for number, subject in enumerate(("known:c", "known:a", "known:b", "known:a")):
        whole.receive(page(number, subject=subject))
    second = restored(whole)
    for engine in (whole, second):
        engine.receive(page(9, subject="known:d"))
    assert list(second.state.subjects) == list(whole.state.subjects) == ["known:b", "known:a", "known:d"]


def test_rule_28_what_waits_for_a_subject_that_made_room_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SUBJECTS_MAX", 1)
    engine = fresh()
    engine.receive(page(0))
    first = decided(tick(engine, 0.9, 0.1), "ask")[0]
    (second,) = decided(engine.receive(page(1, subject="known:2")))
    assert (second.decision_id, second.record, second.reason) == (first.decision_id, 1, Reason.EXPIRED)
    assert engine.receive(AnswerInput(NOW, first.decision_id, scored(0.9, 0.99))) == []


def test_rule_28_values_do_not_bring_an_ended_session_back() -> None:
    engine = fresh()
    engine.receive(page(0, subject="session:a"))
    engine.receive(EventInput(NOW, Event("r", "reset", "session:a", T0)))
    engine.receive(ValuesInput(NOW, "session:a", T0, {"support_tickets": 1.0}))
    assert engine.state.subjects == {}


def test_rule_25_a_waiting_decision_ends_under_the_version_that_opened_it() -> None:
    engine = fresh()
    engine.receive(page(0))
    first = decided(tick(engine, 0.9, 0.1), "ask")[0]
    without = YAML.replace("  ask:", "  other:")
    (second,) = decided(live(engine, text=without))
    assert (second.decision_id, second.record, second.reason) == (first.decision_id, 1, Reason.LOW_CONFIDENCE)
    assert second.catalog_digest == first.catalog_digest
    assert engine.receive(AnswerInput(NOW, first.decision_id, scored(0.9, 0.99))) == []


def test_rule_25_unchanged_features_keep_their_cells_and_changed_ones_are_warming() -> None:
    text = YAML.replace(
        "triggers:\n",
        "features:\n  looks: {aggregation: count, of: {page_view: 1}, window: 2d, bucket: 1h}\n"
        "triggers:\n  warm:\n    condition: features.looks >= 0.0\n    on: [page_view]\n    action: offer\n",
        1,
    )
    engine = fresh()
    engine.receive(CatalogInput(NOW, catalog(text).digest, "a", {}), catalog(text))
    for number in range(3):
        engine.receive(page(number))
    wider = catalog(text.replace("window: 2d", "window: 3d"))
    engine.receive(CatalogInput(NOW, wider.digest, "b", {}), wider)
    values = engine.feature_values("known:1", T0)
    assert (values["page_views"], values["looks"]) == (3.0, 0.0)
    (decision,) = decided(engine.receive(page(7)), "warm")
    assert (decision.reason, decision.detail) == (Reason.WARMING, "features.looks")
    later = replace(page(8), moment=Moment(T0 + 3 * DAY, True))
    assert decided(engine.receive(later), "warm")[0].reason is Reason.FIRED


def test_rule_8_a_score_of_a_model_that_is_gone_is_gone_with_it() -> None:
    engine = fresh()
    engine.receive(page(0))
    tick(engine, 0.9, 0.99)
    assert "churn" in engine.state.subjects["known:1"].scores
    live(engine, {})
    assert "churn" not in engine.state.subjects["known:1"].scores


# -- clock (26) -------------------------------------------------------------------------------------------------------


def test_rule_26_a_decision_by_an_untrusted_clock_says_so() -> None:
    engine = fresh()
    doubtful = replace(page(1, "/any"), moment=Moment(T0, False, trusted=False))
    (decision,) = decided(engine.receive(doubtful), "confirm")
    assert (decision.reason, decision.detail) == (Reason.FIRED, "CLOCK_UNTRUSTED")


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_consent_without_its_purpose_changes_nothing() -> None:
    engine = fresh()
    with pytest.raises(InvalidEventError, match="consent"):
        engine.receive(EventInput(NOW, Event("c", "consent", "known:1", T0)))
    assert engine.state.subjects == {}, "not half of it either"


def test_event_types_nobody_declared_leave_nothing_behind() -> None:
    engine = fresh()
    for number in range(50):
        engine.receive(EventInput(NOW, Event(f"e{number}", f"made_up_{number}", "known:1", T0)))
    assert engine.state.subjects["known:1"].last_seen == {}
    assert len(engine.plan._groups) + len(engine.plan.arrivals) < 10


@pytest.mark.parametrize("text", ["\ud800", "x" * 8_193, "é" * 8_000])
def test_a_text_no_store_can_hold_is_refused_before_the_engine_sees_it(text: str) -> None:
    with pytest.raises(InvalidEventError, match="page_url"):
        catalog().event_types["page_view"].conform({"page_url": text})


def test_an_event_as_a_whole_has_a_size() -> None:
    made = build_text("include: standard\nevent_types:\n  bulk: {properties: {a: list(string), b: list(string)}}\n")
    many = ["x" * 1_000] * 50
    made.event_types["bulk"].conform({"a": many})
    with pytest.raises(InvalidEventError, match="bulk"):
        made.event_types["bulk"].conform({"a": many, "b": many})


def test_rule_24_a_catalog_read_back_from_its_bytes_reads_the_state_the_first_one_wrote() -> None:
    written = catalog()
    back = Catalog.from_bytes(written.to_bytes())
    assert list(back.features) != list(written.features), "bytes are sorted, an author's text is not"
    engine = fresh()
    for number in range(3):
        engine.receive(page(number))
    head, kept = engine.state.head_plain(), {s: k.to_plain() for s, k in engine.state.subjects.items()}
    second = Engine(back, "edge", State.from_plain(head, kept))
    assert second.feature_values("known:1", T0) == engine.feature_values("known:1", T0)
    assert list(second.plan.triggers) == list(engine.plan.triggers)
