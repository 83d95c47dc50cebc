"""Handing over: an action reaches its handler at most once, and only while it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel
from reflexarc_core.record import ControlInput, DecisionOutput, Moment
from tests.core import test_engine_rules as rules
from tests.edge.kit import DAY, NOW, SLOW, T0, Sure, World

# -- handing over (20, 28) --------------------------------------------------------------------------------------------


def test_rule_20_an_action_is_taken_once_however_often_it_is_offered(slow: World) -> None:
    (decision,) = slow.page(1, "/slow")
    assert slow.runtime.owed.handed(decision, NOW) is True
    assert slow.runtime.owed.handed(decision, NOW) is False
    assert slow.log.pending() == []


def test_rule_20_what_a_restart_concludes_is_handed_over_once(tmp_path: Path) -> None:
    world = World(tmp_path, rules.catalog(SLOW), Sure())
    world.live({"churn": LiveModel("churn-1", ("engagement_score",), 0)})
    world.page(1)
    world.runtime.tick(Moment(T0 + DAY, True))
    world.page(2, moment=Moment(T0 + DAY, True))
    assert world.asked
    world.reopen()
    world.runtime.expire_unhanded(Moment(T0 + DAY + 1, False))
    offered = [d.decision_id for d in world.handed if d.trigger_id == "sure"]
    assert len(offered) == len(set(offered)) == 1
    assert world.last_reasons()["sure"] is Reason.FIRED


def test_rule_20_a_restart_expires_what_has_no_life_and_offers_the_rest(slow: World) -> None:
    slow.page(1, "/slow")
    slow.page(2, "/quick")
    slow.handed.clear()
    slow.reopen()
    slow.runtime.expire_unhanded(Moment(T0 + 1, False))
    assert [d.trigger_id for d in slow.handed] == ["slow"]
    assert slow.last_reasons() == {"slow": Reason.FIRED, "quick": Reason.EXPIRED}
    slow.reopen()
    slow.handed.clear()
    slow.runtime.expire_unhanded(Moment(T0 + 2, False))
    assert len(slow.handed) == 1, "still owed, and expired once only"
    assert [r for _, r in slow.log.records(0) if isinstance(r, DecisionOutput) and r.decision.reason is Reason.EXPIRED][1:] == []


@pytest.mark.parametrize("why", ["expired", "paused", "consent"])
def test_rule_20_a_held_action_is_checked_again_at_delivery(slow: World, why: str) -> None:
    def consent(number: int, granted: bool) -> None:
        properties = {"purpose": "marketing", "granted": granted}
        slow.runtime.capture(Event(f"c{number}", "consent", "known:1", T0, properties, {}), NOW)

    consent(1, True)
    (decision,) = slow.page(1, "/agreed")
    later = NOW
    if why == "expired":
        later = Moment(T0 + 3_600_000)
    elif why == "paused":
        slow.runtime.pause(("agreed",), NOW)
    else:
        consent(2, False)
    assert slow.runtime.owed.handed(decision, later) is False
    expected = {"expired": Reason.EXPIRED, "paused": Reason.PAUSED, "consent": Reason.CONSENT}[why]
    assert slow.last_reasons()["agreed"] is expected
    assert slow.log.pending() == []


def test_rule_28_what_waits_for_a_session_expires_with_it(slow: World) -> None:
    (decision,) = slow.page(1, "/slow", subject="session:a")
    slow.page(2, "/slow", subject="known:2")
    slow.runtime.owed.end_subject("session:a", NOW)
    assert slow.runtime.owed.handed(decision, NOW) is False
    assert [d.subject for d in slow.log.pending()] == ["known:2"]
    found = [r.decision for _, r in slow.log.records(0) if isinstance(r, DecisionOutput)]
    assert [(d.subject, d.reason) for d in found if d.record == 1] == [("session:a", Reason.EXPIRED)]


def test_rule_17_the_last_pause_counts_and_is_written_once(slow: World) -> None:
    before = slow.log.last_seq
    for _ in range(3):
        slow.runtime.pause(("*",), NOW)
    assert [type(r) for _, r in slow.log.records(before)] == [ControlInput]
    assert [d.reason for d in slow.page(1, "/quick")] == [Reason.PAUSED]


def test_actions_that_nobody_takes_do_not_fill_a_store(slow: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reflexarc_edge.owed.UNTAKEN_MAX", 2)
    slow.hand_over = lambda decision: False
    for number in range(5):
        slow.page(number, "/quick", subject=f"known:{number}")
    slow.log.drain()
    assert slow.runtime.owed.expire_untaken(NOW) == 3
    assert sorted(decision.subject for decision in slow.log.pending()) == ["known:3", "known:4"]
    assert slow.runtime.owed.expire_untaken(NOW) == 0
    found = [r.decision for _, r in slow.log.records(0) if isinstance(r, DecisionOutput) and r.decision.record == 1]
    assert {(d.subject, d.reason) for d in found} == {(f"known:{n}", Reason.EXPIRED) for n in range(3)}
