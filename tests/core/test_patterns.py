"""Patterns, held actions and content sequences in the engine: docs/triggers.md, point by point."""

from __future__ import annotations

from typing import Any

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.engine import Engine
from reflexarc_core.event import Event
from reflexarc_core.record import CatalogInput, ControlInput, Moment, TickInput
from reflexarc_core.replay import decisions
from reflexarc_core.state import State
from reflexarc_edge.codec import pack, unpack
from tests.core.world import DAY, T0, Shell

MINUTE = 60_000
HOUR = 60 * MINUTE


class Scene:
    """One trigger called `t`, minutes instead of times."""

    def __init__(self, trigger: str, more: str = "") -> None:
        indented = "\n".join(f"    {line}" for line in trigger.strip().splitlines())
        actions = "actions: {act: {}, second: {}, third: {}}"
        text = f"include: standard\n{more}\ntriggers:\n  t:\n    action: act\n{indented}\n{actions}\n"
        self.catalog = build_text(text)
        self.shell = Shell(Engine(Catalog(), "edge"))
        self.shell.take(CatalogInput(Moment(T0), self.catalog.digest, "", {}), self.catalog)
        self.count = 0

    def event(
        self, event_type: str, minute: float, /, *, subject: str = "known:1", late: float = 0, offset: int = 0,
        trusted: bool = True, **properties: Any,
    ) -> list[str]:  # fmt: skip
        """The reasons of what it decides at this minute; it happened `late` minutes before."""
        self.count += 1
        now = T0 + int(minute * MINUTE)
        event = Event(f"e{self.count}", event_type, subject, now - int(late * MINUTE), properties, {})
        return [said(d) for d in self.shell.event(event, Moment(now, trusted=trusted, offset_minutes=offset))]

    def tick(self, minute: float, *, offset: int = 0, trusted: bool = True) -> list[str]:
        return [
            said(d) for d in self.shell.take(TickInput(Moment(T0 + int(minute * MINUTE), trusted=trusted, offset_minutes=offset)))
        ]

    def restart(self) -> None:
        """As after a crash: the state through a snapshot."""
        state = self.shell.engine.state
        head = unpack(pack(state.head_plain()))
        subjects = {subject: unpack(pack(kept.to_plain())) for subject, kept in state.subjects.items()}
        self.shell.engine = Engine(self.catalog, "edge", State.from_plain(head, subjects))

    def replayed(self) -> None:
        """The log gives the same decisions again, byte for byte."""
        again = list(decisions(Engine(Catalog(), "edge"), self.shell.log, {self.catalog.digest: self.catalog}))
        assert [pack(d) for d in again] == [pack(d) for d in self.shell.decisions]


def said(decision: Decision) -> str:
    instance = f"[{decision.instance}]" if decision.instance else ""
    return f"{decision.reason}{instance}"


CART = """
pattern:
  key: product_id
  cancel: [purchase]
  steps:
    - {event: product_interaction, where: 'event.kind == "add_to_cart"'}
    - {no: product_interaction, where: 'event.kind == "remove_from_cart"', within: 30m}
"""


def test_a_then_not_b_fires_once_for_each_key_when_the_wait_is_over() -> None:
    scene = Scene(CART)
    scene.event("product_interaction", 0, product_id="a", kind="add_to_cart")
    scene.event("product_interaction", 5, product_id="b", kind="add_to_cart")
    scene.event("product_interaction", 6, product_id="c", kind="add_to_cart")
    scene.event("product_interaction", 7, product_id="b", kind="remove_from_cart")
    assert scene.shell.engine.next_deadline() == T0 + 30 * MINUTE
    assert scene.tick(29) == []
    scene.restart()
    assert scene.tick(40) == ["FIRED[a]", "FIRED[c]"]
    assert scene.tick(41) == []
    assert scene.shell.engine.next_deadline() is None


def test_a_purchase_cancels_every_cart() -> None:
    scene = Scene(CART)
    scene.event("product_interaction", 0, product_id="a", kind="add_to_cart")
    scene.event("purchase", 10)
    assert scene.tick(60) == []


def test_a_late_b_ends_the_wait_while_it_is_not_looked_at() -> None:
    scene = Scene(CART)
    scene.event("product_interaction", 0, product_id="a", kind="add_to_cart")
    scene.event("product_interaction", 35, late=10, product_id="a", kind="remove_from_cart")
    assert scene.tick(60) == []


def test_a_late_a_whose_wait_is_over_says_nothing() -> None:
    scene = Scene(CART)
    scene.event("product_interaction", 60, late=31, product_id="a", kind="add_to_cart")
    assert scene.tick(120) == []


FUNNEL = """
pattern:
  within: 1h
  steps:
    - {event: page_view, where: event.page_url == "/pricing"}
    - {event: form_submit}
    - {event: page_view, count: 2}
"""


def test_a_funnel_needs_its_steps_in_order_within_its_time() -> None:
    scene = Scene(FUNNEL)
    form = {"form_id": "f", "form_type": "contact"}
    scene.event("form_submit", 0, **form)
    scene.event("page_view", 1, page_url="/pricing")
    scene.event("page_view", 2, page_url="/x")
    scene.event("form_submit", 50, **form)
    assert scene.event("page_view", 55, page_url="/x") == []
    assert scene.event("page_view", 63, page_url="/pricing") == [], "over an hour after the first"
    scene.event("form_submit", 64, **form)
    assert scene.event("page_view", 65, page_url="/x") == []
    assert scene.event("page_view", 66, page_url="/x") == ["FIRED"]
    assert scene.event("page_view", 67, page_url="/x") == []
    scene.replayed()


def test_silence_is_measured_from_the_last_event() -> None:
    scene = Scene("inactive: {events: [page_view], for: 1d}")
    for hour in range(0, 40, 8):
        scene.event("page_view", hour * 60, page_url="/")
    assert scene.tick(32 * 60 + 23 * 60) == []
    assert scene.tick(32 * 60 + 24 * 60) == ["FIRED"]
    assert scene.tick(200 * 60) == []
    scene.replayed()


def test_quiet_hours_hold_an_action_and_check_again_when_they_end() -> None:
    quiet = "on: [page_view]\ncondition: 'true'\nquiet: {from: '22:00', to: '08:00'}\npurpose: marketing\nhold: 1d"
    scene = Scene(quiet)
    scene.event("consent", 0, purpose="marketing", granted=True)
    assert scene.event("page_view", 23 * 60, page_url="/") == ["QUIET_HOURS"]
    assert scene.shell.acts == []
    assert scene.shell.engine.next_deadline() == T0 + 32 * HOUR
    scene.restart()
    assert scene.tick(32 * 60) == ["FIRED"]
    assert [d.record for d in scene.shell.decisions] == [0, 1]
    assert len(scene.shell.acts) == 1
    assert scene.event("page_view", 47 * 60, page_url="/") == ["QUIET_HOURS"]
    scene.event("consent", 48 * 60, purpose="marketing", granted=False)
    assert scene.tick(56 * 60) == ["CONSENT"]


def test_hours_fail_closed_while_the_clock_is_not_believed() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'\nwindow: {from: '09:00', to: '17:00'}")
    assert scene.event("page_view", 12 * 60, page_url="/", trusted=False) == ["CLOCK_UNTRUSTED"]
    assert scene.event("page_view", 18 * 60, page_url="/") == ["QUIET_HOURS"]
    assert scene.tick(33 * 60, trusted=False) == []
    assert scene.tick(33 * 60 + 1) == ["FIRED"]


def test_exit_ends_what_waits_and_what_is_under_way() -> None:
    scene = Scene("inactive: {events: [page_view], for: 1h}\nexit: [purchase]\nreentry: after_exit")
    scene.event("page_view", 0, page_url="/")
    scene.event("purchase", 10)
    assert scene.tick(100) == []
    scene.event("page_view", 200, page_url="/")
    assert scene.tick(300) == ["FIRED"]
    scene.event("page_view", 400, page_url="/")
    assert scene.tick(500) == ["REENTRY"]
    scene.event("purchase", 510)
    scene.event("page_view", 520, page_url="/")
    assert scene.tick(600) == ["FIRED"]


def test_caps_roll_and_count_by_the_local_day() -> None:
    rolling = Scene("on: [page_view]\ncondition: 'true'\ncap: {count: 2, within: 1h}")
    assert [rolling.event("page_view", m, page_url="/")[0] for m in (0, 10, 20, 60, 61, 70)] == [
        "FIRED", "FIRED", "CAP", "FIRED", "CAP", "FIRED",
    ]  # fmt: skip
    daily = Scene("on: [page_view]\ncondition: 'true'\ncap: {count: 1, each: day}")
    assert daily.event("page_view", 20 * 60, page_url="/", offset=120) == ["FIRED"]
    assert daily.event("page_view", 21 * 60, page_url="/", offset=120) == ["CAP"]
    assert daily.event("page_view", 22 * 60, page_url="/", offset=120) == ["FIRED"], "midnight has passed there"


def test_a_content_sequence_goes_on_by_outcome_or_by_time_and_ends() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'\nfollow: [{action: second, on: [click]}, {action: third, wait: 1d}]")
    assert scene.event("page_view", 0, page_url="/") == ["FIRED"]
    assert scene.event("page_view", 1, page_url="/") == ["REENTRY"]
    first = scene.shell.decisions[0].decision_id
    assert scene.event("outcome", 2, decision_id=first, kind="impression") == []
    assert scene.event("outcome", 3, decision_id=first, kind="click") == ["FIRED[step:1]"]
    scene.restart()
    assert scene.tick(4 + 24 * 60) == ["FIRED[step:2]"]
    assert [d.action for d in scene.shell.acts] == ["act", "second", "third"]
    assert scene.event("page_view", 5000, page_url="/") == ["FIRED"]


def test_three_dismissals_end_a_content_sequence() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'\nfollow: [{action: second, wait: 1d}]\ncooldown: 30d")
    scene.event("page_view", 0, page_url="/")
    first = scene.shell.decisions[0].decision_id
    for minute in (1, 2, 3):
        scene.event("outcome", minute, decision_id=first, kind="dismissal")
    assert scene.tick(3000) == []


def test_a_dry_run_is_recorded_and_never_acted_on() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'\ndry_run: true\nslot: banner", "caps: {one: {count: 1, within: 1d}}")
    assert scene.event("page_view", 0, page_url="/") == ["FIRED"]
    assert scene.event("page_view", 1, page_url="/") == ["FIRED"]
    assert scene.shell.acts == []
    assert {d.mode for d in scene.shell.decisions} == {"dry_run"}


def test_paused_at_its_time_a_held_action_ends() -> None:
    scene = Scene("on: [page_view]\ncondition: 'true'\nquiet: {from: '22:00', to: '08:00'}")
    scene.event("page_view", 23 * 60, page_url="/")
    scene.shell.take(ControlInput(Moment(T0 + 24 * HOUR), ("t",)))
    assert scene.tick(33 * 60) == [Reason.PAUSED]


def test_a_catalog_in_which_the_pattern_reads_otherwise_ends_what_is_under_way() -> None:
    scene = Scene("inactive: {events: [page_view], for: 1h}")
    scene.event("page_view", 0, page_url="/")
    other = Scene("inactive: {events: [page_view], for: 2h}").catalog
    scene.shell.take(CatalogInput(Moment(T0 + MINUTE), other.digest, "", {}), other)
    assert scene.tick(300) == []
    assert scene.shell.engine.state.engine_time < T0 + DAY
