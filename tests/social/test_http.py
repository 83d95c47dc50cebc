"""Social events over a running server: webhooks signed as the platforms sign, share links, operators, one story end to end."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_server.app import Server, http_options, start_server
from reflexarc_server.social.signatures import HEADERS, signature
from reflexarc_server.testing.channel import Receiver
from reflexarc_server.testing.platforms import LocalPlatform
from tests.house.rooms import ROOT
from tests.server.kit import ManualClock, wait_for
from tests.social.kit import NOW, SECRETS, site
from tests.social.payloads import activity, comment, naming_us, notification, tweet

KEYS = {"twitter": "X_SECRET", "facebook": "FB_SECRET", "linkedin": "LI_SECRET"}
CATALOG = ROOT / "examples" / "catalog" / "social.yaml"
HUMAN = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def local() -> Iterator[LocalPlatform]:
    started = LocalPlatform()
    yield started
    started.close()


@pytest.fixture
def channels() -> dict[str, Receiver]:
    return {name: Receiver(name) for name in ("support", "lead", "head", "crm")}


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock, local: LocalPlatform, channels: dict[str, Receiver]
) -> Iterator[Server]:
    started = start_server(
        tmp_path / "server", "127.0.0.1:0", load_catalog(CATALOG), clock, insecure=True,
        http=http_options("127.0.0.1:0", None), site=site(monkeypatch, local.base), channels=list(channels.values()),
    )  # fmt: skip
    yield started
    started.stop()


def ask(
    server: Server, method: str, path: str, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """(status, the JSON answer or its text, headers)."""
    assert server.http is not None
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    with contextlib.closing(http.client.HTTPConnection(server.http.address, timeout=20)) as connection:
        connection.request(method, path, content, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text), {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}


def deliver(server: Server, platform: str, payload: dict[str, Any] | bytes, secret: str = "") -> tuple[int, Any]:
    """A delivery signed as the platform signs it."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    key = (secret or SECRETS[KEYS[platform]]).encode()
    status, told, _ = ask(server, "POST", f"/social/{platform}", body, {HEADERS[platform]: signature(platform, key, body)})
    return status, told


MENTIONS = {
    "twitter": activity(tweet_create_events=[tweet("1", "@reflexarc_app hm", entities=naming_us())]),
    "facebook": comment("hm ä"),
    "linkedin": notification("COMMENT"),
}


@pytest.mark.parametrize("platform", MENTIONS)
def test_a_delivery_is_stored_once(server: Server, platform: str) -> None:
    told = {"verdict": "taken", "told": {"stored": 1}}
    assert deliver(server, platform, MENTIONS[platform]) == (200, told)
    assert deliver(server, platform, MENTIONS[platform]) == (200, {"verdict": "duplicate", "told": {}})
    other_bytes = json.dumps(MENTIONS[platform], indent=1).encode()  # the same post, told by another delivery
    assert deliver(server, platform, other_bytes) == (200, {"verdict": "taken", "told": {"duplicate": 1}})
    assert server.parts.store.counters()["events"] == 1


@pytest.mark.parametrize("platform", MENTIONS)
def test_what_is_not_signed_by_the_platform_is_refused(server: Server, platform: str) -> None:
    assert deliver(server, platform, MENTIONS[platform], secret="guessed")[0] == 401
    status, told, _ = ask(server, "POST", f"/social/{platform}", b"{}")
    assert (status, told["error"]) == (401, "unauthenticated")
    assert deliver(server, platform, b"[1, 2]")[0] == 400
    assert deliver(server, platform, b"[" * 100_000)[0] == 400
    assert deliver(server, platform, b'{"a": NaN}')[0] == 400
    assert ask(server, "POST", f"/social/{platform}", b"", {"content-length": str((1 << 20) + 1)})[0] == 413
    assert server.parts.store.counters()["events"] == 0


def test_two_secrets_hold_while_one_is_replaced(server: Server) -> None:
    assert deliver(server, "twitter", MENTIONS["twitter"], secret=SECRETS["X_OLD"])[0] == 200


@pytest.mark.parametrize("platform", MENTIONS)
def test_an_old_delivery_is_refused(server: Server, clock: ManualClock, platform: str) -> None:
    clock.now += 8 * 86_400_000
    status, told = deliver(server, platform, MENTIONS[platform])
    assert (status, told["error"]) == (403, "permission_denied")
    assert server.parts.store.counters()["events"] == 0


def test_handshakes_over_http(server: Server) -> None:
    status, told, _ = ask(server, "GET", "/social/twitter?crc_token=abc")
    assert (status, told["response_token"][:7]) == (200, "sha256=")
    query = "hub.mode=subscribe&hub.verify_token=fb-word&hub.challenge=1158201444"
    status, told, headers = ask(server, "GET", f"/social/facebook?{query}")
    assert (status, told, headers["content-type"].split(";")[0]) == (200, 1158201444, "text/plain")
    assert ask(server, "GET", "/social/facebook?" + query.replace("fb-word", "no"))[0] == 403
    assert ask(server, "GET", "/social/linkedin?challengeCode=890e4665-4dfe")[1]["challengeCode"] == "890e4665-4dfe"
    assert ask(server, "GET", "/social/twitter?crc_token=%7B%7D")[0] == 403
    assert ask(server, "GET", "/social/instagram")[0] == 404


def test_what_is_no_mention_is_told_by_name(server: Server) -> None:
    assert deliver(server, "linkedin", notification("LIKE")) == (200, {"verdict": "taken", "told": {"reaction": 1}})
    own = comment("we answer", sender="1234567890321")
    assert deliver(server, "facebook", own) == (200, {"verdict": "taken", "told": {"own_post": 1}})


def test_a_level_without_a_channel_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match="no channel support"):
        start_server(
            tmp_path / "s", "127.0.0.1:0", load_catalog(None), insecure=True, http=http_options("127.0.0.1:0", None),
            site=site(monkeypatch),
        )  # fmt: skip


def test_an_outage_is_escalated_acknowledged_and_answered(
    server: Server, channels: dict[str, Receiver], local: LocalPlatform, clock: ManualClock
) -> None:
    post = tweet("71", "@reflexarc_app another outage", entities=naming_us())
    deliver(server, "twitter", activity(tweet_create_events=[post]))
    wait_for(lambda: len(local.posted) == 1)
    assert (local.posted[0].target, local.posted[0].text) == ("71", "We are on it, @ada_l.")
    wait_for(lambda: bool(channels["support"].taken))
    (case,) = ask(server, "GET", "/v1/social/cases")[1]["cases"]
    assert case["notified"] == "support"
    assert ask(server, "POST", f"/v1/social/cases/{case['case_id']}/acknowledge")[0] == 200
    clock.now += 86_400_000
    server.parts.fold.wake()
    assert ask(server, "GET", "/v1/social/cases")[1]["cases"] == []
    assert ask(server, "POST", "/v1/social/cases/nothing/acknowledge")[0] == 400


@pytest.mark.parametrize(
    "headers", [{"x-forwarded-for": "1.2.3.4"}, {"host": "evil.example"}, {"origin": "https://evil.example"}]
)
def test_without_keys_only_this_machine_is_an_operator(server: Server, headers: dict[str, str]) -> None:
    for path in ("/v1/social/cases", "/v1/social/responses", "/v1/social/shares"):
        assert ask(server, "GET", path, headers=headers)[0] == 401
    assert ask(server, "POST", "/v1/social/responses/x/approve", headers=headers)[0] == 401


def test_how_a_post_sounds_goes_with_it(server: Server, channels: dict[str, Receiver]) -> None:
    """By the server's own reading, in English and German; what sounds bad enough is told without a keyword."""
    deliver(server, "facebook", comment("This is terrible, I hate it, the worst support ever", comment_id="1_1"))
    deliver(server, "facebook", comment("Das ist furchtbar, ich bin sehr enttäuscht", comment_id="1_2", sender="77"))
    deliver(server, "facebook", comment("I love it, thank you, great work", comment_id="1_3", sender="78"))
    wait_for(lambda: len(channels["support"].taken) + len(channels["lead"].taken) >= 2)
    wait_for(lambda: len(ask(server, "GET", "/v1/social/responses")[1]["responses"]) == 1)
    (waiting,) = ask(server, "GET", "/v1/social/responses")[1]["responses"]
    assert (waiting["rule"], waiting["text"]) == ("thanks", "Thank you, Grace!")
    assert len(ask(server, "GET", "/v1/social/cases")[1]["cases"]) == 2


# -- share links --------------------------------------------------------------------------------------------------------


def share(server: Server, who: str, parent: str = "", **more: Any) -> dict[str, Any]:
    body = {"key": "wk_shop", "anonymous_id": who, "content_id": "guide", "url": "https://shop.example/g?a=1#top", **more}
    status, told, _ = ask(server, "POST", "/v1/share", {**body, "parent": parent} if parent else body)
    assert status == 200, told
    return dict(told)


def test_a_link_leads_where_it_was_made_for(server: Server) -> None:
    made = share(server, "ada")
    assert made["url"] == f"https://go.shop.example/s/{made['token']}"
    assert share(server, "ada") == made  # the same again is the same link
    status, _, headers = ask(server, "GET", f"/s/{made['token']}", headers=HUMAN)
    assert (status, headers["location"]) == (302, f"https://shop.example/g?a=1&rxs={made['share_id']}#top")
    assert b"ada" not in made["token"].encode()


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/", "//evil.example", "https://shop.example@evil.example/", "https://shop.example.evil.example/",
     "https://shop.example\\@evil.example", "javascript:alert(1)", "https://shop.example:444/", "http://shop.example/",
     "https://shop.example/\r\nset-cookie: a=b", " https://shop.example/", "https://evil.example/?https://shop.example", "/a",
     ""],
)  # fmt: skip
def test_nothing_else_can_be_redirected_to(server: Server, url: str) -> None:
    body = {"key": "wk_shop", "anonymous_id": "ada", "content_id": "guide", "url": url}
    assert ask(server, "POST", "/v1/share", body)[0] == 400


def test_altered_and_foreign_tokens_lead_nowhere(server: Server) -> None:
    token = str(share(server, "ada")["token"])
    flipped = token[:5] + ("A" if token[5] != "A" else "B") + token[6:]
    for wrong in (flipped, token[:-1], token + "A", "x", token[:16] * 2, "%00" * 32, "a" * 9_000):
        status, told, headers = ask(server, "GET", f"/s/{wrong}", headers=HUMAN)
        assert 400 <= status < 500, (wrong, told)
        assert "location" not in headers
    body = {"key": "wk_shop", "anonymous_id": "b", "content_id": "guide", "url": "https://shop.example/g", "parent": "0" * 24}
    assert ask(server, "POST", "/v1/share", body)[0] == 400


def test_a_page_shares_for_nobody_it_knows(server: Server) -> None:
    body = {"key": "wk_shop", "subject": "known:42", "content_id": "guide", "url": "https://shop.example/g"}
    assert ask(server, "POST", "/v1/share", body)[0] == 400
    assert ask(server, "POST", "/v1/share", {**body, "key": "wk_other"})[0] == 401
    assert ask(server, "POST", "/v1/share", body, {"authorization": "Bearer any"})[0] == 200  # a service: here all are believed


def _events(server: Server, event_type: str) -> list[tuple[str, int]]:
    rows = server.parts.store.ask("SELECT subject FROM log WHERE event_type = ? ORDER BY server_seq", (event_type,))
    return [(str(row[0]), 1) for row in rows]


def test_visits_count_once_and_not_for_machines(server: Server, clock: ManualClock) -> None:
    path = f"/s/{share(server, 'ada')['token']}"
    for _ in range(3):
        ask(server, "GET", path, headers=HUMAN)
    for agent in ("facebookexternalhit/1.1", "Twitterbot/1.0", "LinkedInBot/1.0", "curl/8", ""):
        assert ask(server, "GET", path, headers={"user-agent": agent})[0] == 302
    ask(server, "GET", path, headers={**HUMAN, "sec-purpose": "prefetch;prerender"})
    assert len(_events(server, "share_visit")) == 1
    clock.now += 3_600_000
    ask(server, "GET", path, headers=HUMAN)
    assert len(_events(server, "share_visit")) == 2


def _lands(server: Server, who: str, share_id: str, now: int) -> None:
    url = f"https://shop.example/g?rxs={share_id}"
    page = Event(f"page-{who}-{share_id}", "page_view", f"anonymous:{who}", now, {"page_url": url})
    server.parts.ingest.accept(f"web/{who}", [page])


def _buys(server: Server, who: str, number: int, now: int) -> None:
    bought = Event(f"order-{who}-{number}", "purchase", f"anonymous:{who}", now, {"amount": 20.0})
    server.parts.ingest.accept(f"web/{who}", [bought])


def test_a_share_tree_makes_an_advocate_of_whoever_began_it(
    server: Server, clock: ManualClock, channels: dict[str, Receiver]
) -> None:
    """ada shares, bob comes and shares on, cy comes by bob's link and buys: bob's is the conversion, half of it ada's. With
    enough of that a trigger of the server fires for ada, because she is an advocate by the catalog's own features."""
    ada = share(server, "ada")
    _lands(server, "bob", ada["share_id"], clock.now)
    bob = share(server, "bob", parent=ada["token"])
    for number in range(4):
        ask(server, "GET", f"/s/{ada['token']}", headers={"user-agent": f"{HUMAN['user-agent']} {number}"})
    _lands(server, "cy", bob["share_id"], clock.now + 1)
    for number in range(2):
        _buys(server, "cy", number, clock.now + 2)
    wait_for(lambda: len(_events(server, "share_conversion")) == 4)
    assert sorted(who for who, _ in _events(server, "share_conversion")) == ["anonymous:ada"] * 2 + ["anonymous:bob"] * 2
    first, second = ask(server, "GET", "/v1/social/shares?content=guide")[1]["shares"]
    assert (first["subject"], first["indent"], first["visits"], first["conversions_below"]) == ("anonymous:ada", 0, 4, 2)
    assert (second["subject"], second["indent"], second["conversions"]) == ("anonymous:bob", 1, 2)
    assert first["score"] == pytest.approx(4 + 2 * 5 * 0.5)
    wait_for(lambda: any(one.body["subject"] == "anonymous:ada" for one in channels["crm"].taken.values()))
    (thanked,) = [one.body for one in channels["crm"].taken.values() if one.body["subject"] == "anonymous:ada"]
    assert thanked["trigger_id"] == "thank_advocate"


def test_nobody_converts_by_their_own_link(server: Server, clock: ManualClock) -> None:
    ada = share(server, "ada")
    _lands(server, "ada", ada["share_id"], clock.now)
    _buys(server, "ada", 1, clock.now + 1)
    _lands(server, "late", ada["share_id"], clock.now)
    _buys(server, "late", 1, clock.now + 8 * 86_400_000)
    _lands(server, "bob", ada["share_id"], clock.now)
    _buys(server, "bob", 1, clock.now + 1)
    wait_for(lambda: len(_events(server, "share_conversion")) >= 1)
    wait_for(lambda: server.parts.fold.lag == 0)
    assert _events(server, "share_conversion") == [("anonymous:ada", 1)]
