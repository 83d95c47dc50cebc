"""Opens, clicks and unsubscriptions over the real HTTP port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_server.email.prepare import Message
from reflexarc_server.email.token import CLICK, CLICK_ID, OPEN, UNSUBSCRIBE, Mark, Signer
from tests.email.kit import (
    BASE,
    BROWSER,
    MESSAGE,
    NOW,
    PREPARER,
    SIGNER,
    Served,
    anchor,
    needs_sets,
    site_of,
    token_of,
    web_hrefs,
)
from tests.server.kit import ManualClock

LATER = NOW + 3_600_000
SCANNER = "Mozilla/5.0 (compatible; Barracuda Sentinel)"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(LATER)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Iterator[Served]:
    started = Served(tmp_path / "server", site_of(tmp_path, monkeypatch), clock)
    yield started
    started.stop()


@needs_sets
def test_every_address_of_the_set_is_redirected_to_as_it_was(served: Served) -> None:
    prepared = PREPARER.prepare("".join(map(anchor, web_hrefs())), "", MESSAGE)
    for link in prepared.links:
        status, headers, _ = served.ask(link.tracked_url)
        assert (status, headers["location"]) == (302, link.url)
    assert [event.properties["link_position"] for event in served.events("email_click")] == list(range(1, 248))


FORGED = Signer([b"another key of 32 bytes or more.."])
TARGET = Mark("m-1", "known:42", "", NOW, 0, 1, 1, "https://shop.example/")
GOOD = SIGNER.sign(CLICK, TARGET)
TRICKS = {
    "forged": FORGED.sign(CLICK, TARGET),
    "altered": GOOD[:-1] + ("A" if GOOD[-1] != "A" else "B"),
    "cut": GOOD[:-4],
    "longer": GOOD + "AA",
    "of another kind": SIGNER.sign(OPEN, TARGET),
    "an unsubscribe": SIGNER.sign(UNSUBSCRIBE, TARGET),
    "a click id": SIGNER.sign(CLICK_ID, TARGET),
    "an address": "https:%2F%2Fevil.example",
    "a slash": "/evil.example",
    "slashes": "//evil.example/%2e%2e",
    "a backslash": "%5C%5Cevil.example",
    "a user name": "shop.example@evil.example",
    "a script": "javascript:alert(1)",
    "a line end": GOOD + "%0d%0aLocation:%20https://evil.example",
    "a zero": GOOD + "%00",
    "unicode": "%EF%BC%8F%EF%BC%8Fevil.example",
    "a dot": GOOD + ".",
    "padding": GOOD + "=",
    "nothing": "",
    "long": "A" * 20_000,
}


@pytest.mark.parametrize("name", TRICKS)
def test_no_trick_makes_a_redirect(served: Served, name: str) -> None:
    status, headers, _ = served.ask("/c/" + TRICKS[name])
    assert 400 <= status < 500
    assert "location" not in headers
    assert served.events("email_click") == []


def test_what_a_request_adds_changes_nothing(served: Served) -> None:
    for more in ("?url=https://evil.example", "?next=//evil.example&u=javascript:x", "?%0d%0aLocation:x"):
        status, headers, _ = served.ask(f"/c/{GOOD}{more}")
        assert (status, headers["location"]) == (302, "https://shop.example/")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//evil.example", "https://a\\@b.example", "https://a.example/\r\nx: y", ""]
)
def test_even_a_signed_token_leads_to_no_address_of_two_readings(served: Served, url: str) -> None:
    status, headers, _ = served.ask("/c/" + SIGNER.sign(CLICK, Mark("m-1", "known:42", url=url)))
    assert (status, "location" in headers) == (404, False)


def test_links_that_end_are_gone_and_pixels_are_not(served: Served, clock: ManualClock) -> None:
    prepared = PREPARER.prepare(anchor("https://a.example/"), "", Message("m", "known:1", links_expire_time=LATER + 1_000))
    clock.now += 999
    assert served.ask(prepared.links[0].tracked_url)[0] == 302
    clock.now += 1
    status, headers, _ = served.ask(prepared.links[0].tracked_url)
    assert (status, "location" in headers) == (410, False)
    assert served.ask(prepared.open_url)[0] == 200


def test_an_open_is_an_event_with_what_the_reader_used(served: Served) -> None:
    status, headers, body = served.ask(PREPARER.prepare("x", "", MESSAGE).open_url)
    assert (status, headers["content-type"], body[:6]) == (200, "image/gif", b"GIF89a")
    assert "no-store" in headers["cache-control"]
    [event] = served.events("email_open")
    assert (event.subject, event.event_time) == ("known:42", LATER)
    assert event.properties == {
        "message_id": "m-1", "campaign": "spring", "machine": False, "gateway": False, "gateway_score": 0.0,
        "client": "Firefox", "device": "desktop", "os": "Linux", "since_sent_ms": 3_600_000, "hour_of_week": 47,
    }  # fmt: skip


def test_a_forged_pixel_is_a_picture_and_no_event(served: Served) -> None:
    status, headers, body = served.ask("/o/abc.gif")
    assert (status, headers["content-type"], body[:6]) == (404, "image/gif", b"GIF89a")
    assert served.events("email_open") == []


def test_only_an_exact_retry_is_one_open(served: Served, clock: ManualClock) -> None:
    url = PREPARER.prepare("x", "", MESSAGE).open_url
    served.ask(url)
    clock.now += 900
    served.ask(url)
    assert len(served.events("email_open")) == 1
    served.ask(url, agent="Thunderbird/128.0")
    clock.now += 100
    served.ask(url)
    assert len(served.events("email_open")) == 3


@pytest.mark.parametrize(
    ("agent", "method", "since", "machine", "gateway", "proxy"),
    [
        (BROWSER, "GET", 60_000, False, False, None),
        (BROWSER, "GET", 1_000, False, False, None),
        (SCANNER, "GET", 60_000, True, True, None),
        (BROWSER, "HEAD", 60_000, True, True, None),
        (None, "GET", 60_000, False, False, None),
        (None, "GET", 1_000, True, True, None),
        ("curl/8.0", "GET", 60_000, True, False, None),
        (GMAIL, "GET", 60_000, False, False, "gmail"),
        (GMAIL, "GET", 1_000, True, False, "gmail"),
        ("Mozilla/5.0", "GET", 60_000, True, False, "apple_mpp"),
    ],
)
def test_who_opened_is_a_label(
    served: Served, agent: str | None, method: str, since: int, machine: bool, gateway: bool, proxy: str | None
) -> None:
    url = PREPARER.prepare("x", "", Message("m", "known:1", made_time=LATER - since)).open_url
    assert served.ask(url, method, agent)[0] == 200
    [event] = served.events("email_open")
    said = event.properties
    assert (said["machine"], said["gateway"], said.get("proxy")) == (machine, gateway, proxy)
    assert (said["gateway_score"] >= 0.8) == gateway  # type: ignore[operator]


def test_a_gateway_that_follows_every_link_is_labelled(served: Served, clock: ManualClock) -> None:
    body = "".join(anchor(f"https://a.example/{number}") for number in range(5))
    links = PREPARER.prepare(body, "", Message("m", "known:1", made_time=LATER - 60_000)).links
    for link in links:
        assert served.ask(link.tracked_url)[0] == 302
        clock.now += 50
    labels = [event.properties["gateway"] for event in served.events("email_click")]
    assert labels == [False, False, True, True, True]
    clock.now += 5_000
    served.ask(links[0].tracked_url)
    assert served.events("email_click")[-1].properties["gateway"] is False


def test_a_reader_who_follows_two_of_five_links_is_none(served: Served, clock: ManualClock) -> None:
    body = "".join(anchor(f"https://a.example/{number}") for number in range(5))
    for link in PREPARER.prepare(body, "", Message("m", "known:1", made_time=LATER - 60_000)).links[:2]:
        served.ask(link.tracked_url)
    assert [event.properties["gateway"] for event in served.events("email_click")] == [False, False]


def test_a_click_says_where_it_led_without_a_password(served: Served) -> None:
    url = "https://user:pass@a.example/x?y=1#z"
    served.ask(PREPARER.prepare(anchor("https://b.example/") + anchor(url), "", MESSAGE).links[1].tracked_url)
    [event] = served.events("email_click")
    assert event.properties["url"] == "https://a.example/x?y=1#z"
    assert (event.properties["link_position"], event.properties["link_count"]) == (2, 2)


def test_nobody_is_taken_off_a_list_by_looking(served: Served, clock: ManualClock) -> None:
    url = PREPARER.prepare("x", "", MESSAGE).unsubscribe_url
    status, _, body = served.ask(url)
    assert (status, body.count(b"<button"), body.count(b'method="post"')) == (200, 1, 1)
    assert served.ask(url, "HEAD")[0] == 200
    assert served.events("consent") == []
    assert served.ask(url, "POST")[0] == 200
    clock.now += 1
    assert served.ask(url, "POST")[0] == 200
    events = served.events("consent")
    assert [(e.subject, dict(e.properties)) for e in events] == [("known:42", {"purpose": "email", "granted": False})] * 2
    assert served.ask("/u/" + GOOD, "POST")[0] == 404


def test_a_click_id_goes_to_our_own_pages_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    more = "  click_id: {hosts: [shop.example, '*.shop.example'], within: 10m}\n"
    served = Served(tmp_path / "server", site_of(tmp_path, monkeypatch, more), clock)
    body = "".join(map(anchor, ("https://shop.example/a?b=1#c", "https://eu.shop.example/", "https://notshop.example/")))
    led = [served.ask(link.tracked_url)[1]["location"] for link in PREPARER.prepare(body, "", MESSAGE).links]
    served.stop()
    assert led[0].startswith("https://shop.example/a?b=1&rx_click=") and led[0].endswith("#c")
    assert led[1].startswith("https://eu.shop.example/?rx_click=")
    assert led[2] == "https://notshop.example/"
    mark = SIGNER.read(CLICK_ID, led[1].partition("=")[2], LATER)
    assert (mark.message_id, mark.subject, mark.position, mark.expire_time) == ("m-1", "known:42", 2, LATER + 600_000)


def test_a_site_without_mail_has_no_such_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reflexarc_server.site import Site

    served = Served(tmp_path / "server", Site())
    assert served.ask(f"/c/{GOOD}")[0] == 404
    assert token_of(f"{BASE}/c/{GOOD}") == GOOD
    served.stop()
