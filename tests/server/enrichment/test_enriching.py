"""Events enriched: what is added, what is taken, and what neither may touch. Through the intake too, up to a trigger's action."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_build.reader import build_text
from reflexarc_build.source import SourceError
from reflexarc_core.event import Event
from reflexarc_server.app import Server
from reflexarc_server.enrichment.campaign import campaign_of, parameters_of
from reflexarc_server.enrichment.enriching import WebCall, enrich, enriched
from reflexarc_server.enrichment.personal import HASH, MASK, cleaned, swept, treated, truncated
from reflexarc_server.enrichment.rules import ContentRule, Rules
from tests.collect.kit import SITE, Page, events, site, started
from tests.server.kit import T0, ManualClock, wait_for

CHROME = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36"
RULES = Rules(
    internal=frozenset({"pay.example"}),
    content=(ContentRule(("/blog/*", "/blog/**"), "reading", "blog", "last"), ContentRule(("/shop/**",), "shoes", "shop")),
    secret=b"s" * 32,
)
CATALOG = build_text("include: standard\nversion: t\n")


def _view(url: str, **properties: Any) -> Event:
    return Event("e1", "page_view", "anonymous:a", T0, {"page_url": url, **properties})


def _enrich(event: Event, rules: Rules = RULES, user_agent: str = CHROME) -> dict[str, Any]:
    return dict(enrich(event, WebCall(user_agent), rules, CATALOG).properties)


def test_a_page_view_says_where_it_came_from_and_what_it_is_about() -> None:
    url = "https://shop.example/blog/red-shoes?utm_source=news&utm_campaign=caf%C3%A9+au+lait&gclid=abc&q=1"
    found = enrich(_view(url, referrer="https://www.google.de/search?q=red+shoes"), WebCall(CHROME), RULES, CATALOG)
    assert found.properties == {
        "page_url": url, "referrer": "https://www.google.de/search?q=red+shoes",
        "page_host": "shop.example", "page_path": "/blog/red-shoes",
        "category": "reading", "section": "blog", "content_id": "red-shoes",
        "utm_source": "news", "utm_campaign": "café au lait", "click_id": "abc", "click_source": "google",
        "referrer_medium": "search", "referrer_source": "Google", "referrer_term": "red shoes",
        "browser": "Chrome Mobile", "os": "Android",
    }  # fmt: skip
    assert found.context["device_class"] == "mobile"


def test_what_the_sender_said_stands() -> None:
    found = _enrich(_view("https://shop.example/blog/a?utm_source=x", utm_source="mine", category="own", content_id="c9"))
    assert (found["utm_source"], found["category"], found["content_id"]) == ("mine", "own", "c9")


def test_a_robot_is_named() -> None:
    assert _enrich(_view("https://shop.example/"), user_agent="Mozilla/5.0 (compatible; Googlebot/2.1)")["bot"] == "Googlebot"


def test_the_view_of_a_piece_of_content_follows_once() -> None:
    first, second = enriched(_view("https://shop.example/blog/2024/red"), WebCall(CHROME), RULES, CATALOG)
    assert (second.event_type, second.event_id) == ("content_view", f"{first.event_id}#content")
    assert second.properties == {"content_id": "red", "category": "reading"}
    assert len(enriched(_view("https://shop.example/blog/red", content_id="r"), WebCall(CHROME), RULES, CATALOG)) == 1
    assert len(enriched(_view("https://shop.example/shop/red"), WebCall(CHROME), RULES, CATALOG)) == 1


@pytest.mark.parametrize(
    ("address", "after"),
    [
        ("https://a.example/x?q=1&email=me%40b.example&z=2#top", "https://a.example/x?q=1&z=2#top"),
        ("https://a.example/x?Email=me@b.example", "https://a.example/x"),
        ("https://a.example/x?who=me%2540b.example", "https://a.example/x"),
        ("https://a.example/x?next=%2Fy%3Fmail%3Dme%40b.example&q=1", "https://a.example/x?q=1"),
        ("https://me:secret@a.example/x?q=1", "https://a.example/x?q=1"),
        ("https://a.example/u/me@b.example/orders", "https://a.example/u/-/orders"),
        ("https://a.example/x#access_token=abc&q=1", "https://a.example/x#q=1"),
        ("https://a.example/x?j=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "https://a.example/x"),
        ("https://a.example/x?utm_source=a&q=caf%C3%A9+au", "https://a.example/x?utm_source=a&q=caf%C3%A9+au"),
        ("https://a.example/@user/status", "https://a.example/@user/status"),
    ],
)
def test_addresses_keep_everything_but_what_is_personal(address: str, after: str) -> None:
    assert cleaned(address) == after
    assert cleaned(after) == after


def test_addresses_are_read_before_they_are_cleaned_and_stored_clean() -> None:
    found = _enrich(_view("https://shop.example/?email=me@b.example&utm_source=n", referrer="https://x.example/?token=t&a=1"))
    assert found["page_url"] == "https://shop.example/?utm_source=n" and found["referrer"] == "https://x.example/?a=1"
    assert "me@b.example" not in json.dumps(found)


def test_fields_are_treated_as_the_site_says() -> None:
    rules = Rules(fields={"title": HASH, "utm_source": MASK, "section": "drop"}, secret=b"s" * 32)
    found = _enrich(_view("https://shop.example/", title=" Me@B.example", utm_source="news", section="x"), rules)
    assert found["title"] == treated("me@b.example", HASH, b"s" * 32) and len(found["title"]) == 32
    assert found["title"] != treated("me@b.example", HASH, b"t" * 32)
    assert found["utm_source"] == "n***" and "section" not in found


def test_what_is_not_declared_is_treated_too() -> None:
    held = {
        "context": {"ip": "203.0.113.77", "page": {"url": "https://a.example/?token=1&b=2", "search": "?token=1"}},
        "email": "x",
    }
    found = swept(held, {"email": HASH}, b"s" * 32, RULES.parameters, "truncate")
    assert found["context"] == {"ip": "203.0.113.0", "page": {"url": "https://a.example/?b=2", "search": ""}}
    assert found["email"] == treated("x", HASH, b"s" * 32)
    assert "ip" not in swept(held, {}, b"", RULES.parameters, "drop")["context"]


@pytest.mark.parametrize(
    ("address", "after"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("fe80::1%eth0", "fe80::"),
        ("nobody", ""),
    ],
)
def test_an_ip_address_loses_its_end(address: str, after: str) -> None:
    assert truncated(address) == after


def test_campaigns_are_decoded_once() -> None:
    assert campaign_of(parameters_of("utm_source=a%2520b&utm_medium=&utm_term=x%26y&utm_source=second")) == {
        "utm_source": "a%20b", "utm_term": "x&y",
    }  # fmt: skip
    assert campaign_of(parameters_of("fbclid=F&msclkid=M")) == {"click_id": "M", "click_source": "microsoft"}


@given(st.text(max_size=200), st.text(max_size=100), st.text(max_size=50))
def test_no_text_breaks_it(url: str, referrer: str, agent: str) -> None:
    for address in (url, f"https://{url}", f"https://a.example/{url}?{referrer}"):
        found = enrich(_view(address, referrer=referrer), WebCall(agent), RULES, CATALOG)
        assert found == enrich(_view(address, referrer=referrer), WebCall(agent), RULES, CATALOG)
        CATALOG.event_types["page_view"].conform(found.properties)


# -- the site's section -------------------------------------------------------------------------------------------------

SECTION = """
enrichment:
  internal: [www.shop.example]
  content:
    - {paths: ["/blog/**"], category: reading, section: blog, content_id: last}
  personal:
    fields: {title: mask}
    parameters: [voucher]
    keep_parameters: [key]
"""


def test_the_section_is_read() -> None:
    rules = site(SITE + SECTION).enrichment
    assert rules is not None and rules.internal == {"shop.example"} and rules.fields == {"title": "mask"}
    assert "voucher" in rules.parameters and "key" not in rules.parameters and "token" in rules.parameters
    assert rules.content_of("/blog/2024/red").content_id == "red" and rules.content_of("/shop") == ("", "", "")
    assert site(SITE).enrichment is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("enrichment: {personal: {fields: {email: scramble}}}", "one of drop, hash, mask, keep"),
        ("enrichment: {personal: {fields: {email: hash}}}", "hashing needs a secret"),
        ("enrichment: {personal: {secret: literally}}", "no reference to a secret"),
        ("enrichment: {personal: {ip: whole}}", "one of truncate, drop"),
        ("enrichment: {content: [{paths: [blog], category: x}]}", "no path"),
        ("enrichment: {contents: []}", "no field 'contents'"),
    ],
)
def test_a_mistake_in_the_section_says_what_to_write(text: str, part: str) -> None:
    with pytest.raises(SourceError) as caught:
        site(SITE + text + "\n")
    assert part in str(caught.value) and "site.yaml:" in str(caught.value)


# -- through the intake ---------------------------------------------------------------------------------------------------

YAML = """
include: standard
version: web
triggers:
  exact:
    placement: server
    condition: event.page_path in ["/pricing", "/plans"] && event.page_host == "shop.example"
    on: [page_view]
    life: 1d
    action: greet
  globbed:
    placement: server
    condition: event.page_path.glob("/shop/*/red*")
    on: [page_view]
    life: 1d
    action: greet
  patterned:
    placement: server
    condition: event.page_url.matches("^https://shop[.]example/item/[0-9]+$")
    on: [page_view]
    life: 1d
    action: greet
  third_visit:
    placement: server
    condition: features.page_views == 3.0 && event.page_path.startsWith("/often")
    on: [page_view]
    life: 1d
    action: greet
  searcher:
    placement: server
    condition: event.referrer_medium == "search" && event.category == "reading"
    on: [page_view]
    life: 1d
    action: greet
actions:
  greet:
    payload: {page: "${event.page_path}"}
  about:
    payload: {title: "More on ${event.category}"}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    text = YAML.replace("    life: 1d\n    action: greet\nactions", "    life: 1d\n    action: about\nactions")
    server = started(tmp_path / "server", ManualClock(T0 + 1_000), site(SITE + SECTION), build_text(text))
    yield server
    server.stop()


def _sent(page: Page, its_id: str, url: str, **properties: Any) -> None:
    batch = {"id": its_id, "type": "page_view", "time": T0, "properties": {"page_url": url, **properties}}
    status, said = page.send(batch)
    assert status == 200 and [one[1] for one in said["verdicts"]] == ["stored"], said


@pytest.mark.parametrize(
    ("trigger", "visits"),
    [
        ("exact", ["https://shop.example/other", "https://shop.example/plans?x=1"]),
        ("globbed", ["https://shop.example/shop/red", "https://shop.example/shop/shoes/red-1"]),
        ("patterned", ["https://shop.example/item/a", "https://shop.example/item/12"]),
        ("third_visit", ["https://shop.example/often/1", "https://shop.example/often/2", "https://shop.example/often/3"]),
    ],
)
def test_a_page_condition_acts_on_the_visit_it_says(server: Server, trigger: str, visits: list[str]) -> None:
    page = Page(server, trigger)
    *before, last = visits
    for number, url in enumerate(before):
        _sent(page, f"{trigger}{number}", url)
    wait_for(lambda: server.parts.fold.lag == 0)
    assert page.send()[1]["decisions"] == []
    _sent(page, f"{trigger}-last", last)
    found: list[Any] = []
    wait_for(lambda: bool(found) or bool(found.extend(page.send()[1]["decisions"]) or found))
    assert [decision["trigger_id"] for decision in found] == [trigger]
    page.connection.close()


def test_the_category_of_what_was_read_is_in_the_action_and_the_content_view_in_the_log(server: Server) -> None:
    page = Page(server, "reader")
    _sent(page, "r1", "https://shop.example/blog/red?email=me@b.example", referrer="https://duckduckgo.com/?q=x", title="Mine")
    found: list[Any] = []
    wait_for(lambda: bool(found) or bool(found.extend(page.send()[1]["decisions"]) or found))
    assert json.dumps(found).count("More on reading") == 1
    stored = {event.event_type: event for _, event in events(server)}
    assert stored["content_view"].properties == {"content_id": "red", "category": "reading"}
    assert stored["page_view"].properties["page_url"] == "https://shop.example/blog/red"
    assert stored["page_view"].properties["title"] == "M***"
    _, said = page.send(
        {"id": "r1", "type": "page_view", "time": T0, "properties": {"page_url": "https://shop.example/blog/red"}}
    )
    assert [one[1] for one in said["verdicts"]] == ["duplicate"]
    assert sum(event.event_type == "content_view" for _, event in events(server)) == 1
    page.connection.close()


def test_segments_calls_are_enriched_and_their_ip_loses_its_end(server: Server) -> None:
    page = Page(server)
    call = {
        "type": "page", "messageId": "s1", "userId": "u1", "properties": {"url": "https://shop.example/blog/blue?token=t"},
        "context": {"ip": "203.0.113.77", "page": {"url": "https://shop.example/blog/blue?token=t"}},
    }  # fmt: skip
    assert page.segment("batch", {"batch": [call]})[0] == 200
    text = repr(events(server))
    assert "203.0.113.77" not in text and "token=t" not in text and "203.0.113.0" in text
    page.connection.close()
