"""A subject's state made anew: patterns as the events say, what was done as it was."""

from __future__ import annotations

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
