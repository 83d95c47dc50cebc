"""A click id comes back to our own pages, over the real HTTP port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc_cli.main import cli
from reflexarc_core.event import Event
from reflexarc_server.email.arriving import BELIEVED, FORGED, OVER, Arrivals
from reflexarc_server.email.token import CLICK, CLICK_ID, Mark, Signer
from reflexarc_server.site.email import ClickId
from tests.collect.kit import Page
from tests.email.kit import BROWSER, NOW, SIGNER, Served, anchor, site_of
from tests.server.kit import ManualClock, wait_for

WEB = """
web:
  keys:
    shop: {key: wk_shop}
    back: {key: wk_back}
  consent: given
"""
IDENTIFYING = "  click_id: {parameter: rx_click, hosts: [shop.example], identify: true}\n"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock, request: pytest.FixtureRequest
) -> Iterator[Served]:
    more = getattr(request, "param", IDENTIFYING + WEB)
    started = Served(tmp_path / "server", site_of(tmp_path, monkeypatch, more), clock)
    yield started
    started.stop()


@pytest.fixture
def page(served: Served) -> Iterator[Page]:
    opened = Page(served.server, "b1")
    yield opened
    opened.connection.close()


def _arrive(served: Served, backend: Backend) -> str:
    """A mail is made and its link followed: where the browser stands then."""
    made = backend.prepare_email(anchor("https://shop.example/a?size=4#top"), "", "m-1", "known:42")
    _, headers, _ = served.ask(made["links"][0]["tracked_url"], agent=BROWSER)
    return headers["location"]


def _view(its_id: str, time: int, **properties: Any) -> dict[str, Any]:
    return {"id": its_id, "type": "page_view", "time": time, "properties": properties}


def test_a_purchase_by_the_browser_that_followed_a_link_is_the_mails(served: Served, clock: ManualClock, page: Page) -> None:
    address = served.server.address
    with Backend(address, insecure=True) as backend:
        clock.now += 60_000
        place = _arrive(served, backend)
        assert place.startswith("https://shop.example/a?size=4&rx_click=") and place.endswith("#top")
        clock.now += 2_000
        page.head["sent"] = clock.now
        for its_id in ("v1", "v2"):  # a page loaded again says it again
            assert page.send(_view(its_id, clock.now, page_url=place))[0] == 200
        assert page.send(_view("v3", clock.now, page_url="https://shop.example/b", referrer=place))[0] == 200
        clock.now += 28_000
        page.head["sent"] = clock.now
        goal = {"id": "g1", "type": "purchase", "time": clock.now, "properties": {"amount": 9.5, "order_id": "o-1"}}
        assert page.send(goal)[1]["verdicts"] == [["g1", "stored"]]
        [said] = served.events("identify")
        assert (said.subject, said.properties, said.event_id[:15]) == ("anonymous:b1", {"known_id": "42"}, "web:email#link-")
        views = [event.properties for event in served.events("page_view")]
        assert [view["page_url"] for view in views] == ["https://shop.example/a?size=4#top"] * 2 + ["https://shop.example/b"]
        assert views[2]["referrer"] == "https://shop.example/a?size=4#top"
        wait_for(lambda: [link["link_id"] for link in backend.links("anonymous:b1")] == [said.event_id])
        wait_for(lambda: served.server.parts.links.canonical("anonymous:b1") == "known:42")
        done = CliRunner().invoke(cli, ["email", "path", "--server", address, "--message", "m-1", "--insecure"])
        [path] = json.loads(done.output)
        assert (path["converted"], path["click_to_goal_ms"]) == (True, 30_000)
        assert [step["event_type"] for step in path["steps"]] == ["email_click", *["page_view"] * 3, "purchase"]
        backend.undo_link(said.event_id)
        page.send(_view("v4", clock.now, page_url=place))
        wait_for(lambda: served.server.parts.links.canonical("anonymous:b1") == "anonymous:b1")
        [path] = backend.email_paths(message_id="m-1")
        assert not path["converted"]


def test_segments_libraries_bring_it_too(served: Served, page: Page) -> None:
    with Backend(served.server.address, insecure=True) as backend:
        place = _arrive(served, backend)
    context = {"page": {"url": place, "search": "?rx_click=" + place.partition("rx_click=")[2].partition("#")[0]}}
    call = {"type": "page", "anonymousId": "b2", "messageId": "p1", "properties": {"url": place}, "context": context}
    assert page.segment("page", call)[0] == 200
    [said] = served.events("identify")
    assert (said.subject, said.properties) == ("anonymous:b2", {"known_id": "42"})
    [view] = served.events("page_view")
    assert "rx_click" not in repr(view.properties)
    assert view.properties["page_url"] == "https://shop.example/a?size=4#top"


@pytest.mark.parametrize("served", [IDENTIFYING.replace(", identify: true", "") + WEB], indirect=True)
def test_nobody_is_joined_where_the_site_does_not_ask_for_it(served: Served, clock: ManualClock, page: Page) -> None:
    with Backend(served.server.address, insecure=True) as backend:
        place = _arrive(served, backend)
    page.send(_view("v1", clock.now, page_url=place), sent=clock.now)
    assert served.events("identify") == []
    assert served.events("page_view")[0].properties["page_url"] == "https://shop.example/a?size=4#top"


# -- without a server ---------------------------------------------------------------------------------------------

RULE = ClickId("rx_click", ("shop.example",), identify=True)
MARK = Mark("m-1", "known:42", "", NOW, NOW + 60_000, 1, 1)
TOKEN = SIGNER.sign(CLICK_ID, MARK)


def _arrivals() -> Arrivals:
    return Arrivals(SIGNER, RULE, lambda agent: agent == "robot")


def _event(subject: str = "anonymous:b1", **properties: Any) -> Event:
    return Event("e", "page_view", subject, NOW, properties)


WORTH_NOTHING = {
    "forged": (Signer([b"another key of 32 bytes or more.."]).sign(CLICK_ID, MARK), NOW, FORGED),
    "altered": (TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B"), NOW, FORGED),
    "of another kind": (SIGNER.sign(CLICK, MARK), NOW, FORGED),
    "nothing": ("", NOW, FORGED),
    "quoted": ("%00%3Cscript%3E", NOW, FORGED),
    "over": (TOKEN, NOW + 60_000, OVER),
}


@pytest.mark.parametrize("name", WORTH_NOTHING)
def test_what_is_worth_nothing_is_cut_and_counted(name: str) -> None:
    token, now, held_for = WORTH_NOTHING[name]
    arrivals = _arrivals()
    [event] = arrivals.taken(_event(page_url=f"https://shop.example/?a=1&rx_click={token}&b=2"), BROWSER, now)
    assert event.properties["page_url"] == "https://shop.example/?a=1&b=2"
    assert arrivals.counts == {held_for: 1}


@pytest.mark.parametrize(("subject", "agent"), [("known:7", BROWSER), ("anonymous:b1", "robot")])
def test_who_is_known_and_what_is_a_robot_is_joined_to_nobody(subject: str, agent: str) -> None:
    arrivals = _arrivals()
    assert len(arrivals.taken(_event(subject, page_url=f"https://shop.example/?rx_click={TOKEN}"), agent, NOW)) == 1
    assert arrivals.counts == {BELIEVED: 1}


def test_a_mail_to_a_browser_joins_nobody() -> None:
    token = SIGNER.sign(CLICK_ID, Mark("m-1", "anonymous:z", "", NOW, NOW + 60_000))
    assert len(_arrivals().taken(_event(page_url=f"https://shop.example/?rx_click={token}"), BROWSER, NOW)) == 1


ADDRESSES = {
    "https://a.example/?rx_click=TOKEN": "https://a.example/",
    "https://a.example/?rx_click=TOKEN#x": "https://a.example/#x",
    "https://a.example/?rx_click=TOKEN&b=2": "https://a.example/?b=2",
    "https://a.example/?a=1&rx_click=TOKEN&rx_click=TOKEN": "https://a.example/?a=1",
    "/login?next=%2Fa%3Frx_click%3DTOKEN%26b%3D1": "/login?next=%2Fa%3Fb%3D1",
    '{"search":"?rx_click=TOKEN","b":"&"}': '{"search":"","b":"&"}',
    "https://a.example/?not_rx_click=1": "https://a.example/?not_rx_click=1",
    "rx_click is a word": "rx_click is a word",
}


@pytest.mark.parametrize("given", ADDRESSES)
def test_no_text_of_an_event_keeps_one(given: str) -> None:
    for properties in ({"referrer": given}, {"referrer": [given]}):
        [event] = _arrivals().taken(_event(**_tokened(properties)), BROWSER, NOW)
        held = event.properties["referrer"]
        assert (held[0] if isinstance(held, list) else held) == ADDRESSES[given]


def _tokened(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(json.dumps(value).replace("TOKEN", TOKEN)) for name, value in properties.items()}
