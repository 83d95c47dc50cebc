"""The engine's laws, and the order in which a decision is reached."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel
from reflexarc_core.record import CatalogInput, ControlInput, EventInput, Moment, TickInput, ValuesInput
from reflexarc_core.replay import decisions
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.core.world import DAY, LIVE, T0, Shell, catalog, fresh, inputs

seeds = st.integers(0, 10_000)


def page(number: int, url: str, at: int = T0, subject: str = "known:1") -> Event:
    return Event(f"p{number}", "page_view", subject, at, {"page_url": url}, {"session_step": number})


def ran(seed: int, count: int) -> Shell:
    shell = fresh()
    for given_input in inputs(seed, count):
        shell.take(given_input)
    return shell


def reasons(found: list[Decision], trigger_id: str) -> list[Reason]:
    return [decision.reason for decision in found if decision.trigger_id == trigger_id]


# -- laws -------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_law_1_the_same_log_gives_the_same_decisions_byte_for_byte(seed: int) -> None:
    shell = ran(seed, 150)
    again = list(decisions(Engine(Catalog(), "edge"), shell.log, {catalog().digest: catalog()}))
    assert shell.decisions, "the law says nothing about a log without decisions"
    assert [pack(decision) for decision in again] == [pack(decision) for decision in shell.decisions]


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 1))
def test_law_2_a_snapshot_and_the_tail_equal_the_whole_fold(seed: int, where: float) -> None:
    shell = ran(seed, 150)
    cut = 1 + int(where * (len(shell.log) - 1))
    catalogs = {catalog().digest: catalog()}
    first = Engine(Catalog(), "edge")
    before = list(decisions(first, shell.log[:cut], catalogs))
    if first._awaited:
        return  # shells keep a snapshot between two inputs only, never between an event and its scores
    head = unpack(pack(first.state.head_plain()))
    subjects = {s: unpack(pack(kept.to_plain())) for s, kept in first.state.subjects.items()}
    second = Engine(catalog(), "edge", State.from_plain(head, subjects))
    after = list(decisions(second, shell.log[cut:], catalogs))
    assert [pack(d) for d in before + after] == [pack(d) for d in shell.decisions]
    assert second.state.head_plain() == shell.engine.state.head_plain() | {"counts": second.state.head_plain()["counts"]}
    assert {s: k.to_plain() for s, k in second.state.subjects.items()} == {
        s: k.to_plain() for s, k in shell.engine.state.subjects.items()
    }


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_law_3_engine_time_never_goes_back(seed: int) -> None:
    shell = fresh()
    last = shell.engine.state.engine_time
    for given_input in inputs(seed, 120):
        for decision in shell.take(given_input):
            assert decision.decision_time >= last
        assert shell.engine.state.engine_time >= max(last, given_input.moment.now)
        last = shell.engine.state.engine_time


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_law_4_reading_changes_nothing(seed: int) -> None:
    shell = ran(seed, 60)
    before = {s: pack(k.to_plain()) for s, k in shell.engine.state.subjects.items()}
    for subject in before:
        shell.engine.feature_values(subject, T0 + 400 * DAY)
    assert {s: pack(k.to_plain()) for s, k in shell.engine.state.subjects.items()} == before


def test_decision_ids_are_hashes_of_their_cause() -> None:
    one, two = fresh(), fresh()
    for shell in (one, two):
        for i in range(6):
            shell.event(page(i, "/pricing", T0 + i), Moment(T0 + i, True))
    assert [d.decision_id for d in one.decisions] == [d.decision_id for d in two.decisions]
    first = {d.decision_id for d in one.decisions if d.record == 0}
    assert len(first) == sum(1 for d in one.decisions if d.record == 0)


# -- precedence (rule 17) -----------------------------------------------------------------------------------------


def risky(shell: Shell, *, online: bool, after_days: int = 0) -> list[Decision]:
    """A tick on a subject the rule finds at risk."""
    return shell.take(TickInput(Moment(shell.engine.state.engine_time + DAY * (1 + after_days), online)))


def known(shell: Shell, subject: str = "known:1") -> None:
    shell.event(Event(f"s-{subject}", "session", subject, T0, {"kind": "start"}, {}), Moment(T0, True))


def sure(shell: Shell, subject_count: int = 40) -> list[Decision]:
    for i in range(subject_count):
        known(shell, f"known:{i}")
        shell.event(Event(f"c{i}", "purchase", f"known:{i}", T0 - (i % 9) * DAY, {}, {}), Moment(T0, True))
    return risky(shell, online=False, after_days=30)


def test_a_confident_device_fires_or_holds_out_and_then_cools_down() -> None:
    shell = fresh()
    found = reasons(sure(shell), "re_engage")
    assert {Reason.FIRED, Reason.HOLDOUT, Reason.LOW_CONFIDENCE} >= set(found) >= {Reason.FIRED, Reason.HOLDOUT}
    assert len(shell.acts) == found.count(Reason.FIRED)
    settled = {d.subject for d in shell.decisions if d.trigger_id == "re_engage" and d.reason in (Reason.FIRED, Reason.HOLDOUT)}
    again = [d for d in risky(shell, online=False) if d.trigger_id == "re_engage" and d.subject in settled]
    assert again
    assert {d.reason for d in again} <= {Reason.COOLDOWN, Reason.LOW_CONFIDENCE}, "held out cools down like fired"


def test_a_score_that_is_not_sure_never_fires_offline_whatever_its_height() -> None:
    shell = fresh()
    sure(shell)
    for decision in shell.decisions:
        if decision.reason in (Reason.FIRED, Reason.HOLDOUT):
            assert all(e.confidence is not None and e.confidence > e.confidence_min for e in decision.evidence)
        if decision.reason is Reason.LOW_CONFIDENCE:
            assert decision.detail == "offline"
            assert decision.payload is None


def test_an_unsure_device_asks_and_the_answer_is_the_second_record() -> None:
    shell = fresh()
    for i in range(40):
        known(shell, f"known:{i}")
        shell.event(Event(f"c{i}", "purchase", f"known:{i}", T0 - (i % 9) * DAY, {}, {}), Moment(T0, True))
    found = risky(shell, online=True, after_days=30)
    asked = [d for d in found if d.reason is Reason.ESCALATED]
    assert asked
    for first in asked:
        (second,) = [d for d in shell.decisions if d.decision_id == first.decision_id and d.record == 1]
        assert second.reason in (Reason.FIRED, Reason.HOLDOUT)
        assert second.evidence[0].where == "server"


def test_without_an_answer_the_unsure_goes_on_monitoring() -> None:
    shell = fresh()
    shell.server = False
    for i in range(40):
        known(shell, f"known:{i}")
        shell.event(Event(f"c{i}", "purchase", f"known:{i}", T0 - (i % 9) * DAY, {}, {}), Moment(T0, True))
    found = risky(shell, online=True, after_days=30)
    ends = [d for d in found if d.record == 1]
    assert ends
    assert {(d.reason, d.detail) for d in ends} == {(Reason.LOW_CONFIDENCE, "deadline")}


def test_paused_comes_before_everything() -> None:
    shell = fresh()
    shell.take(ControlInput(Moment(T0, True), ("*",)))
    assert set(reasons(sure(shell), "re_engage")) == {Reason.PAUSED}
    assert not shell.acts
    shell.take(ControlInput(Moment(T0, True), ()))
    assert Reason.PAUSED not in reasons(risky(shell, online=False), "re_engage")


def test_consent_is_needed_where_a_purpose_is_named() -> None:
    shell = fresh()
    form = {"form_id": "f", "form_type": "newsletter"}
    first = shell.event(Event("f1", "form_submit", "known:1", T0, form, {}), Moment(T0, True))
    assert [(d.reason, d.detail) for d in first] == [(Reason.CONSENT, "marketing")]
    shell.event(Event("c1", "consent", "known:1", T0, {"purpose": "marketing", "granted": True}, {}), Moment(T0, True))
    second = shell.event(Event("f2", "form_submit", "known:1", T0, form, {}), Moment(T0, True))
    assert [d.reason for d in second] == [Reason.FIRED]


def test_old_calibration_is_stale_and_never_fires() -> None:
    shell = fresh()
    live = {**LIVE, "churn": LiveModel("churn-1", LIVE["churn"].inputs, T0 - 365 * DAY)}
    shell.take(CatalogInput(Moment(T0, True), catalog().digest, "test", live), catalog())
    assert set(reasons(sure(shell), "re_engage")) == {Reason.STALE}


def test_a_subject_scoped_value_is_unknown_until_it_came_down_and_stale_when_it_is_old() -> None:
    shell = fresh()
    live = {**LIVE, "churn": LiveModel("churn-1", ("engagement_score", "support_tickets"), 0)}
    shell.take(CatalogInput(Moment(T0, True), catalog().digest, "test", live), catalog())
    assert reasons(sure(shell, 10), "re_engage") == [], "a model with an unknown input does not score"
    for i in range(10):
        shell.take(ValuesInput(Moment(T0, True), f"known:{i}", T0, {"support_tickets": 0.0}))
    assert set(reasons(risky(shell, online=False), "re_engage")) == {Reason.STALE}


def test_a_condition_without_a_value_is_counted_by_name_and_never_fires() -> None:
    shell = fresh()
    event = Event("e", "product_interaction", "known:1", T0, {}, {})
    shell.event(event, Moment(T0, True))
    counts = shell.engine.condition_counts()
    assert any("event.page_url" in text or "purchase_intent_score" in text for text in counts["offer"])


def test_a_false_clause_is_counted_not_recorded() -> None:
    shell = fresh()
    for i in range(3):
        assert shell.event(page(i, "/"), Moment(T0, True)) == []
    (count,) = shell.engine.condition_counts()["pricing"].values()
    assert count == 3


def test_segments_and_payload_templates_see_the_moment() -> None:
    shell = fresh()
    for i in range(3):
        shell.event(page(i, "/"), Moment(T0, True))
    (decision,) = [d for d in shell.event(page(3, "/pricing"), Moment(T0, True)) if d.trigger_id == "pricing"]
    assert decision.reason is Reason.FIRED
    assert decision.payload == {"text": "page /pricing after 3 steps"}


def test_confirm_waits_for_the_server_and_can_be_vetoed() -> None:
    shell = fresh()
    for i in range(30):
        shell.event(page(i, "/shop/1"), Moment(T0 + i, True))
    offers = [d for d in shell.decisions if d.trigger_id == "offer"]
    assert offers
    assert offers[0].reason is Reason.ESCALATED, "even a sure device waits"
    assert Reason.FIRED in [d.reason for d in offers]


def test_the_payload_speaks_the_subjects_language() -> None:
    shell = fresh()
    for i in range(40):
        context = {"locale": "de-AT" if i % 2 else "en-GB"}
        shell.event(Event(f"c{i}", "purchase", f"known:{i}", T0 - (i // 2 % 9) * DAY, {}, context), Moment(T0, True))
    risky(shell, online=False, after_days=30)
    titles = {d.payload["title"] for d in shell.acts if d.payload and "title" in d.payload}
    assert titles == {"Hello", "Hallo"}


def test_reset_ends_a_session_subject() -> None:
    shell = fresh()
    shell.event(replace(page(1, "/"), subject="session:a"), Moment(T0, True))
    shell.event(Event("r", "reset", "session:a", T0, {}, {}), Moment(T0, True))
    assert "session:a" not in shell.engine.state.subjects
    assert shell.engine.state.dropped == {"session:a"}


def test_an_event_is_folded_even_when_a_model_gives_no_score() -> None:
    engine = Engine(Catalog(), "edge")
    engine.receive(CatalogInput(Moment(T0), catalog().digest, "test", LIVE), catalog())
    effects = engine.receive(EventInput(Moment(T0), page(1, "/shop/1")))
    assert [type(effect).__name__ for effect in effects] == ["RequestScore"]
    assert engine.feature_values("known:1", T0)["page_views"] == 1.0


@pytest.mark.parametrize("placement", ["edge", "server"])
def test_a_host_loads_only_its_own_triggers(placement: str) -> None:
    engine = Engine(catalog(), placement)
    assert set(engine.plan.triggers) == (set(catalog().triggers) if placement == "edge" else set())
