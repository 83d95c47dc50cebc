"""Who somebody is: what a key that stands in every page lets a stranger say, take and end without the proof, which is nothing."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import pytest

from reflexarc_build.reader import build_text
from tests.collect.kit import ORIGIN, SITE, Page, events, site, started, view
from tests.collect.test_intake import YAML, folded
from tests.server.kit import T0, ManualClock, wait_for


def test_who_must_prove_a_known_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KNOWN", "s3cret")
    server = started(
        tmp_path / "server", its_site=site(SITE.replace("key: wk_back", "key: wk_back, known_secret: env:SHOP_KNOWN"))
    )
    page = Page(server, key="wk_back")
    try:
        assert page.send(view("one"), known_id="42")[0] == 403
        assert page.send(view("one"), known_id="42", known_proof="00")[1]["error"] == "known_id_not_proven"
        proof = hmac.new(b"s3cret", b"42", "sha256").hexdigest()
        assert page.send(view("one"), known_id="42", known_proof=proof)[1]["verdicts"] == [["one", "stored"]]
        assert page.send(view("two"))[0] == 200
    finally:
        page.connection.close()
        server.stop()


def test_nobody_becomes_a_person_by_another_way_than_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that stands in every page: an event that says so itself, and Segment's calls, prove no more than a batch does."""
    monkeypatch.setenv("SHOP_KNOWN", "s3cret")
    proven = site(SITE.replace('example"]}', 'example"], known_secret: env:SHOP_KNOWN}'))
    server = started(tmp_path / "server", its_site=proven)
    proof = hmac.new(b"s3cret", b"42", "sha256").hexdigest()
    page, own = Page(server, "thief"), Page(server, "own")

    def identify(its_id: str, known_id: str) -> dict[str, Any]:
        return {"id": its_id, "type": "identify", "time": T0, "properties": {"known_id": known_id}}

    try:
        for known_id in ("42", "known:42"):
            [[_, verdict, reason]] = page.send(identify(known_id, known_id))[1]["verdicts"]
            assert (verdict, "not proven" in reason) == ("rejected", True)
        assert own.send(identify("a", "43"), known_id="42", known_proof=proof)[1]["verdicts"][0][1] == "rejected"
        assert own.send(identify("b", "42"), known_id="42", known_proof=proof)[1]["verdicts"] == [["b", "stored"]]
        for call in ("identify", "track", "page", "group", "alias"):
            body = {
                "userId": "42",
                "anonymousId": "thief",
                "previousId": "thief",
                "event": "x",
                "groupId": "g",
                "messageId": call,
            }
            for context in ({}, {"known_proof": "00"}, {"known_proof": 1}, {"known_proof": proof[:-1]}):
                [[_, verdict, reason]] = page.segment(f"{call}?verdicts=1", {**body, "context": context}, key="wk_shop")[1][
                    "verdicts"
                ]
                assert (verdict, "not proven" in reason) == ("rejected", True)
        track: dict[str, Any] = {"type": "track", "event": "x", "userId": "42", "messageId": "m1"}
        both = {"batch": [track, {**track, "messageId": "m2", "context": {"known_proof": proof}}]}
        verdicts = page.segment("batch?verdicts=1", both, key="wk_shop")[1]["verdicts"]
        assert [verdict[1] for verdict in verdicts] == ["rejected", "stored"], "one costs no other anything"
        folded(server)
        wait_for(lambda: server.parts.links.canonical("anonymous:own") == "known:42")
        assert {link.said.subject for link in server.parts.links.all()} == {"anonymous:own"}
        assert {event.subject for _, event in events(server)} == {"anonymous:own", "known:42"}
        assert page.segment("track", {**track, "messageId": "m3"})[0] == 200, "a key of services is believed"
    finally:
        page.connection.close()
        own.connection.close()
        server.stop()


def test_who_asks_first_without_holding_the_subject_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking is not holding: a stranger is neither given what waits for somebody, nor ends it, nor becomes them by saying so.

    Where the key has a secret: without one a browser that says who it is is believed, and holds that person from then on.
    """
    monkeypatch.setenv("KNOWN", "the shop's own secret, of its backend")
    proven = site(SITE.replace('example"]}', 'example"], known_secret: env:KNOWN}'))
    clock = ManualClock(T0 + 1_000)
    running = started(tmp_path / "s", clock, proven, build_text(YAML))
    proof = hmac.digest(b"the shop's own secret, of its backend", b"7", "sha256").hex()
    phone = Page(running, "phone", known_id="7", known_proof=proof)
    phone.send(view("one"), view("two"))
    folded(running)
    waiting = "SELECT decision_id FROM deliveries WHERE installation = 'web/phone' AND given_time = 0"
    wait_for(lambda: bool(running.parts.store.ask(waiting, ())))
    [(decision_id,)] = running.parts.store.ask(waiting, ())
    strangers = [Page(running, name) for name in ("thief", "7", "known:7", "web/phone", "phone ")]
    for stranger in strangers:
        for more in ({}, {"handed": [decision_id]}, {}):
            assert stranger.send(**more)[1]["decisions"] == []
        claim = {"known_id": "7", "known_proof": hmac.digest(b"a guess", b"7", "sha256").hex()}
        assert stranger.send(view("mine"), **claim) == (403, stranger.send(**claim)[1])
    for device in ("device-9", "web/thief", "web/7", ""):  # as a device asks that names subjects it does not hold
        assert running.parts.down.decisions(device, ("known:7", "anonymous:phone"), clock.now) == []
    folded(running)
    assert [stranger.send()[1]["decisions"] for stranger in strangers] == [[]] * len(strangers)
    assert running.parts.store.ask(waiting, ()) == [(decision_id,)], "it waits as before"
    [decision] = phone.send()[1]["decisions"]
    assert decision["decision_id"] == decision_id
    for page in (phone, *strangers):
        page.connection.close()
    running.stop()


def test_a_key_of_pages_only_takes_nothing_that_names_no_origin(tmp_path: Path) -> None:
    running = started(tmp_path / "s", its_site=site(SITE.replace('example"]}', 'example"], pages_only: true}')))
    page = Page(running)
    body = {**page.head, "batch": [view("one")]}
    refused = page.post("/e", body)
    assert (refused[0], refused[1]["error"]) == (403, "origin_missing")
    track = {"event": "x", "anonymousId": "a", "messageId": "m"}
    assert page.segment("track", track, key="wk_shop")[1]["error"] == "origin_missing"
    assert page.post("/e", body, {"Origin": ORIGIN})[0] == 200
    assert page.segment("track", track)[0] == 200, "a key of services is as before"
    page.connection.close()
    running.stop()
