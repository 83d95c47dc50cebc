"""Explanations: every check with what it would give now, and nothing changed by asking."""

from __future__ import annotations

from reflexarc_core.explain import Standing, lines_of, standing
from reflexarc_core.record import ControlInput, Moment
from reflexarc_edge.codec import pack
from tests.core.test_patterns import CART, HOUR, MINUTE, Scene
from tests.core.world import T0

EVERYTHING = """
condition: features.page_views > 1.0
on: [page_view]
purpose: marketing
cooldown: 1h
reentry: after_exit
exit: [purchase]
cap: {count: 2, within: 7d}
slot: banner
holdout: 0.0001
quiet: {from: "22:00", to: "08:00"}
"""


def asked(scene: Scene, minute: float, subject: str = "known:1") -> Standing:
    engine = scene.shell.engine
    moment = Moment(T0 + int(minute * MINUTE))
    return standing(engine.plan, engine.state, engine.plan.triggers["t"], subject, moment)


def reasons(found: Standing) -> dict[str, str]:
    return {check.name: check.reason for check in found.checks}


def test_each_check_is_told_whether_or_not_another_one_holds_back() -> None:
    scene = Scene(EVERYTHING)
    scene.event("page_view", 9 * 60, page_url="/")
    found = asked(scene, 9 * 60)
    assert [(clause.outcome, clause.values) for clause in found.clauses] == [("false", {"features.page_views": 1.0})]
    assert reasons(found) == {
        "paused": "", "consent": "CONSENT", "reentry": "", "cooldown": "", "caps": "", "slot": "", "holdout": "", "hours": "",
    }  # fmt: skip
    scene.event("consent", 9 * 60, purpose="marketing", granted=True)
    assert scene.event("page_view", 9 * 60, page_url="/") == ["FIRED"]
    assert "COOLDOWN: cooldown (1800000 ms left)" in lines_of(asked(scene, 9 * 60 + 30))
    scene.shell.take(ControlInput(Moment(T0 + 10 * HOUR), ("t",)))
    found = asked(scene, 23 * 60)
    assert reasons(found) == {
        "paused": "PAUSED", "consent": "", "reentry": "REENTRY", "cooldown": "", "caps": "", "slot": "", "holdout": "",
        "hours": "QUIET_HOURS",
    }  # fmt: skip
    assert next(check.detail for check in found.checks if check.name == "caps") == "trigger:t: 1 of 2"


def test_what_is_under_way_is_told() -> None:
    scene = Scene(CART)
    scene.event("product_interaction", 0, product_id="a", kind="add_to_cart")
    assert asked(scene, 1).under_way == (f"pattern [a]: step 1 of 1, waits until {T0 + 30 * MINUTE}",)
    held = Scene("on: [page_view]\ncondition: 'true'\nquiet: {from: '22:00', to: '08:00'}")
    held.event("page_view", 23 * 60, page_url="/")
    assert asked(held, 23 * 60).under_way[0].startswith("held: act of decision ")


def test_asking_changes_nothing_and_somebody_unknown_may_be_asked_about() -> None:
    scene = Scene(EVERYTHING)
    scene.event("page_view", 0, page_url="/")
    before = pack([scene.shell.engine.state.head_plain(), scene.shell.engine.state.subjects["known:1"].to_plain()])
    asked(scene, 1)
    assert "known:2" not in scene.shell.engine.state.subjects
    assert asked(scene, 1, "known:2").under_way == ()
    assert pack([scene.shell.engine.state.head_plain(), scene.shell.engine.state.subjects["known:1"].to_plain()]) == before
