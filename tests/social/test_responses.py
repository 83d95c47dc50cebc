"""Responses: proposed, approved, posted once; what the platforms may do to a call, and what is never done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_core.errors import InvalidEventError
from reflexarc_server.channels import Outgoing
from reflexarc_server.social.api import Answer, FacebookApi, LinkedInApi, NotKnown, NotPosted, RefusedForGood, XApi
from reflexarc_server.store import social as table
from reflexarc_server.store.social import ResponseRow
from reflexarc_server.testing.platforms import LocalPlatform
from tests.social.kit import MINUTE, Room, site

EVERY = (table.PROPOSED, table.APPROVED, table.SENDING, table.SENT, table.REJECTED, table.UNCLEAR, table.FAILED)


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    local = LocalPlatform()
    yield local
    local.close()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: LocalPlatform) -> Room:
    return Room(tmp_path / "server", site(monkeypatch, platform.base))


def _only(room: Room) -> ResponseRow:
    (row,) = table.responses(room.store, EVERY)
    return row


def test_each_platforms_call(platform: LocalPlatform) -> None:
    assert XApi(platform.base, "t").reply(Answer("17", "hi")) == "100"
    assert FacebookApi(platform.base, "t").reply(Answer("11_22", "hi ä")) == "200"
    assert (
        LinkedInApi(platform.base, "t").reply(Answer("urn:li:comment:(urn:li:activity:9,10)", "hi", "urn:li:organization:5"))
        == "300"
    )
    assert [(one.platform, one.target, one.text) for one in platform.posted] == [
        ("twitter", "17", "hi"), ("facebook", "11_22", "hi ä"), ("linkedin", "urn:li:comment:(urn:li:activity:9,10)", "hi"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(429, NotPosted), (503, NotPosted), (500, NotKnown), (0, NotKnown), (403, RefusedForGood), (302, RefusedForGood)],
)
def test_what_an_answer_means(platform: LocalPlatform, status: int, meaning: type[Exception]) -> None:
    platform.answers = [status]
    with pytest.raises(meaning) as error:
        XApi(platform.base, "t").reply(Answer("17", "hi"))
    assert getattr(error.value, "retry_after_ms", 0) == (7_000 if status == 429 else 0)


def test_nobody_there_is_surely_not_posted(platform: LocalPlatform) -> None:
    platform.close()
    with pytest.raises(NotPosted):
        XApi(platform.base, "t").reply(Answer("17", "hi"))


def test_a_response_waits_for_a_word(room: Room, platform: LocalPlatform) -> None:
    room.hear("1", "what a lovely thing", sentiment=0.8)
    room.work()
    row = _only(room)
    assert (row.state, row.text, row.original) == ("proposed", "Thank you, Ada Lovelace!", "what a lovely thing")
    assert platform.posted == []
    room.desk.approve(row.response_id, "key-7")
    room.work()
    assert [(one.target, one.text, one.token) for one in platform.posted] == [("1", "Thank you, Ada Lovelace!", "api-token")]
    row = _only(room)
    assert (row.state, row.detail, row.done_by) == ("sent", "100", "key-7")
    for decide in (room.desk.approve, room.desk.reject):
        with pytest.raises(InvalidEventError, match="is sent"):
            decide(row.response_id, "me")
    room.work()
    assert len(platform.posted) == 1


def test_a_rejected_one_never_goes_out(room: Room, platform: LocalPlatform) -> None:
    room.hear("1", "lovely", sentiment=0.8)
    room.work()
    room.desk.reject(_only(room).response_id, "me")
    room.work()
    assert (_only(room).state, platform.posted) == ("rejected", [])


def test_a_rule_that_may_answers_at_once_and_not_too_often(room: Room, platform: LocalPlatform) -> None:
    room.hear("1", "outage?", sentiment=-0.5)
    room.hear("2", "OUTAGE!", sentiment=-0.5)
    room.work()
    assert [one.text for one in platform.posted] == ["We are on it, @ada."]
    room.clock.now += 61 * MINUTE
    room.hear("3", "still an outage", sentiment=-0.5)
    room.work()
    assert [one.target for one in platform.posted] == ["1", "3"]


@pytest.mark.parametrize("name", ["http://evil.example", "Bob @evil", "evil.example", "Bob\nB", "x" * 60 + "/"])
def test_a_name_that_could_be_a_link_is_not_repeated(room: Room, name: str) -> None:
    room.hear("1", "lovely", sentiment=0.8, author=name)
    room.work()
    assert _only(room).text in ("Thank you,!", "Thank you, " + "x" * 50 + "!")


def test_a_platform_that_is_away_is_asked_again(room: Room, platform: LocalPlatform) -> None:
    platform.answers = [429]
    room.hear("1", "outage", sentiment=-0.5)
    room.work()
    assert (_only(room).state, platform.posted) == ("approved", [])
    room.clock.now += 7_001
    room.work()
    assert (_only(room).state, len(platform.posted)) == ("sent", 1)


def test_an_unheard_answer_is_never_posted_again_by_itself(room: Room, platform: LocalPlatform) -> None:
    platform.answers = [0]
    room.hear("1", "outage", sentiment=-0.5)
    room.work()
    row = _only(room)
    assert (row.state, len(platform.posted)) == ("unclear", 1)
    room.clock.now += 24 * 60 * MINUTE
    room.outbox.replay()
    room.work()
    assert (_only(room).state, len(platform.posted)) == ("unclear", 1)
    room.desk.approve(row.response_id, "me")  # somebody looked: it does not stand there
    room.work()
    assert (_only(room).state, len(platform.posted)) == ("sent", 2)


def test_a_server_that_stopped_while_posting_asks_a_person(room: Room, platform: LocalPlatform, tmp_path: Path) -> None:
    room.hear("1", "lovely", sentiment=0.8)
    room.work()
    row = _only(room)
    room.desk.approve(row.response_id, "me")
    with room.store.transaction() as transaction:  # as it stands when a process ends in the middle of the call
        table.move_response(transaction.run, row.response_id, (table.APPROVED,), table.SENDING, "", room.clock.now)
    later = room.again(tmp_path / "server")
    later.work()
    assert (_only(later).state, platform.posted) == ("unclear", [])


def test_a_triggers_action_goes_into_the_queue(room: Room, platform: LocalPlatform) -> None:
    payload = {"platform": "facebook", "post_id": "11_22", "text": "Hello"}
    body = {"kind": "action", "trigger_id": "greet", "payload": payload}
    room.posting.send(Outgoing("social", "decision-1", "known:1", body, "known:1"))
    room.posting.send(Outgoing("social", "decision-1", "known:1", body, "known:1"))
    row = _only(room)
    assert (row.state, row.rule, row.subject) == ("proposed", "trigger greet", "known:1")
    room.desk.approve(row.response_id, "me")
    room.work()
    assert [(one.platform, one.target) for one in platform.posted] == [("facebook", "11_22")]
    at_once = {**body, "payload": {**payload, "approval": False}}
    room.posting.send(Outgoing("social", "decision-2", "known:1", at_once, "known:1"))
    room.work()
    assert len(platform.posted) == 2
