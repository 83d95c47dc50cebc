"""Escalation: what is urgent and why, who is told when, and that neither a restart nor a second delivery changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc_core.errors import InvalidEventError
from reflexarc_server.social.severity import severity
from reflexarc_server.store import social as table
from tests.social.kit import MINUTE, Room, site


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path / "server", site(monkeypatch))


def test_severity_grows_with_everything_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    social = site(monkeypatch).social
    mild = {"text": "meh", "sentiment": -0.4, "reach": 10}

    def of(*, is_vip: bool = False, earlier: int = 0, **more: object) -> float:
        return severity({**mild, **more}, social, is_vip=is_vip, earlier=earlier).value  # type: ignore[dict-item]

    assert 0 < of() < of(reach=10_000) < of(reach=10**8) < 1
    assert of() < of(sentiment=-0.9) < of(sentiment=-0.9, reach=50_000, verified=True) <= 1
    assert of() < of(text="total outage") < of(text="OUTAGE again", is_vip=True)
    assert of() < of(earlier=1) < of(earlier=2) == of(earlier=9)
    assert of(sentiment=0.9, reach=10**8, verified=True, is_vip=True) == 0.0  # praise is never urgent
    assert of(sentiment=0.1, text="no outages here") == 0.0  # a word is a whole word


def test_a_bad_mention_is_told_with_its_reasons(room: Room) -> None:
    room.hear("1", "The service is not working", sentiment=-0.6, reach=300)
    room.work()
    (told,) = room.told("support")
    assert told["kind"] == "social_case"
    assert told["level"] == 1
    assert told["reasons"] == ["sentiment -0.60", "keyword not working 0.5", "reach 300 counts 0.50"]
    assert told["acknowledge_until"] == room.clock.now + 30 * MINUTE
    assert room.told("lead") == []


def test_what_is_more_urgent_begins_higher_up(room: Room) -> None:
    room.hear("1", "outage", sentiment=-0.9, reach=90_000, author_id="44")
    room.work()
    assert [len(room.told(name)) for name in ("support", "lead", "head")] == [0, 0, 1]
    assert "VIP" in room.told("head")[0]["reasons"]


def test_who_is_somebody_important_may_be_said_by_a_link(room: Room) -> None:
    room.links.link("anonymous:twitter/71", "known:ceo")
    room.links.work(lambda subject: None)
    room.hear("1", "hm", sentiment=-0.5, author_id="71")
    room.work()
    assert "VIP" in (room.told("support") + room.told("lead"))[0]["reasons"]


def test_praise_and_small_things_tell_nobody(room: Room) -> None:
    room.hear("1", "lovely", sentiment=0.9)
    room.hear("2", "a bit slow", sentiment=-0.2, author_id="8")
    room.work()
    assert all(room.told(name) == [] for name in room.channels)


def test_somebody_who_comes_again_weighs_more(room: Room) -> None:
    for post in range(3):
        room.hear(str(post), "slow again", sentiment=-0.35)
        room.work()
    assert [one["reasons"][-1] for one in room.told("support")] == ["2 earlier within 24 h"]
    room.clock.now += 3 * 24 * 60 * MINUTE  # the others are too long ago by then
    room.hear("9", "slow again", sentiment=-0.35)
    room.work()
    assert len(room.told("support")) == 1


def test_a_level_that_does_not_acknowledge_passes_it_on(room: Room) -> None:
    room.hear("1", "not working", sentiment=-0.6)
    room.work()
    room.clock.now += 30 * MINUTE - 1
    room.work()
    assert room.told("lead") == []
    room.clock.now += 1
    room.work()
    (told,) = room.told("lead")
    assert told["reasons"][-1] == "level 1 did not acknowledge in time"
    room.clock.now += 60 * MINUTE
    room.work()
    room.clock.now += 60 * MINUTE
    room.work()
    (case,) = table.cases(room.store, (table.UNANSWERED,))
    assert (len(room.told("head")), case.deadline) == (1, 0)
    room.desk.acknowledge(case.case_id, "me")  # late, and still somebody


def test_who_acknowledges_stops_it(room: Room) -> None:
    room.hear("1", "not working", sentiment=-0.6)
    room.work()
    (case,) = table.cases(room.store, (table.OPEN,))
    room.desk.acknowledge(case.case_id, "key-7")
    room.desk.acknowledge(case.case_id, "key-8")  # again: nothing changes
    room.clock.now += 600 * MINUTE
    room.work()
    assert room.told("lead") == []
    (case,) = table.cases(room.store, (), case.case_id)
    assert (case.state, case.done_by) == ("acknowledged", "key-7")
    with pytest.raises(InvalidEventError, match="there is no case"):
        room.desk.acknowledge("0123456789abcdef", "me")


def test_time_goes_on_while_the_server_is_away(room: Room, tmp_path: Path) -> None:
    room.hear("1", "not working", sentiment=-0.6)
    room.work()
    room.hear("2", "outage", sentiment=-0.6, author_id="5")  # stored, and the server stops before the desk sees it
    later = room.again(tmp_path / "server")
    later.clock.now += 31 * MINUTE
    later.work()
    assert len(later.told("lead")) == 1
    assert len(table.cases(later.store, (table.OPEN,))) == 2


def test_a_second_delivery_is_no_second_case(room: Room) -> None:
    assert room.hear("1", "not working", sentiment=-0.6) == "stored"
    assert room.hear("1", "not working", sentiment=-0.6) == "duplicate"
    room.work()
    assert len(room.told("support")) == 1


def test_an_erased_person_leaves_no_case(room: Room) -> None:
    room.hear("1", "not working", sentiment=-0.6)
    room.work()
    with room.store.transaction() as transaction:
        table.forget(transaction.run, "anonymous:twitter/9")
    assert table.cases(room.store, (table.OPEN, table.NOTED)) == []
