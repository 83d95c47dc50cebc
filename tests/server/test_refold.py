"""A subject's state made anew: patterns as the events say, what was done as it was."""

from __future__ import annotations

from reflexarc_build.reader import build_text
from reflexarc_core.chain import Instance
from reflexarc_core.event import Event
from reflexarc_core.ledger import Ledger
from reflexarc_core.state import SubjectState
from reflexarc_server.refold import refolded
from tests.core.test_patterns import HOUR, Scene
from tests.core.world import T0

WHO = "known:1"
SILENT = "inactive: {events: [page_view], for: 1h}\nplacement: server"


def again(event_type: str, now: int) -> Ledger:
    """The ledger behind one event at T0, where before it a wait was open and a cap was used."""
    before = SubjectState([0.0], ledger=Ledger(instances={"t": {"": Instance([None], T0 + HOUR)}}, uses={"trigger:t": [T0]}))
    event = Event("e1", event_type, WHO, T0, {"page_url": "/"} if event_type == "page_view" else {})
    made = refolded(Scene(SILENT).catalog, {}, WHO, [(T0, event)], lambda requests: [], {"t": T0}, before, now)
    assert made is not None and made.ledger is not None
    assert made.fired == {"t": T0}
    assert made.ledger.uses == {"trigger:t": [T0]}, "what went out went out"
    return made.ledger


def test_a_wait_that_its_events_open_goes_on() -> None:
    assert again("page_view", T0 + 1).instances["t"][""].wait_end == T0 + HOUR


def test_a_wait_that_is_over_came_already() -> None:
    assert "" not in again("page_view", T0 + HOUR).instances.get("t", {})


def test_a_wait_whose_events_are_somebody_elses_now_is_gone() -> None:
    assert again("purchase", T0 + 1).instances == {}


def test_who_is_in_a_segment_is_in_it_as_of_now_and_nobody_is_told() -> None:
    catalog = build_text("""
include: standard
features: {visits: {aggregation: count, of: [page_view], window: 1d, bucket: 6h}}
segments: {regular: features.visits > 0.0, known: subject.known}
triggers: {t: {segment_left: [regular, known], placement: server, action: a}}
actions: {a: {}}
""")
    event = Event("e1", "page_view", WHO, T0, {"page_url": "/"})

    def inside(now: int) -> tuple[list[str], int]:
        made = refolded(catalog, {}, WHO, [(T0, event)], lambda requests: [], {}, None, now)
        assert made is not None and made.membership is not None
        return made.membership.inside, made.membership.due_time

    assert inside(T0) == (["known", "regular"], T0 + 6 * HOUR)
    assert inside(T0 + 24 * HOUR) == (["known"], 0), "a look that is over came already"
