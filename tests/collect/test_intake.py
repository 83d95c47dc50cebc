"""The intake end to end, through real sockets: verdicts, identities, decisions, refusals."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc_build.reader import build_text
from reflexarc_core.errors import StorageError
from reflexarc_server.app import Server
from tests.collect.kit import ORIGIN, SITE, Page, events, site, started, view
from tests.server.kit import DAY, T0, ManualClock, Stubs, wait_for

YAML = """
include: standard
version: web
triggers:
  hello:
    placement: server
    condition: features.page_views == 2.0
    on: [page_view]
    cooldown: 1d
    life: 1d
    action: greet
actions:
  greet:
    payload: {title: Hello, page: "${event.page_url}"}
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0 + 1_000)


@pytest.fixture
def server(tmp_path: Path, clock: ManualClock) -> Iterator[Server]:
    server = started(tmp_path / "server", clock, its_catalog=build_text(YAML))
    yield server
    server.stop()


@pytest.fixture
def open_page(server: Server) -> Iterator[Callable[..., Page]]:
    opened: list[Page] = []

    def one(anonymous_id: str = "a1", **head: Any) -> Page:
        opened.append(Page(server, anonymous_id, **head))
        return opened[-1]

    yield one
    for page in opened:
        page.connection.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


def folded(server: Server) -> None:
    wait_for(lambda: server.parts.fold.lag == 0)


def given(server: Server, page: Page) -> list[dict[str, Any]]:
    """Decisions for a page, asked for until there are some."""
    found: list[dict[str, Any]] = []

    def asked() -> bool:
        found[:] = page.send()[1]["decisions"]
        return bool(found)

    wait_for(asked)
    return found


def test_a_batch_is_stored_and_each_event_has_its_verdict(server: Server, page: Page) -> None:
    status, said = page.send(view("one"), view("two", properties={}), view("one"), {"id": "three", "type": "page_view"}, sent=T0)
    assert status == 200
    assert said["now"] == T0 + 1_000
    assert [one[:2] for one in said["verdicts"]] == [
        ["one", "stored"],
        ["two", "rejected"],
        ["one", "duplicate"],
        ["three", "rejected"],
    ]
    assert "page_url is missing" in said["verdicts"][1][2]
    [(installation, event)] = events(server)
    assert (installation, event.event_id, event.subject) == ("web/a1", "web:shop:one", "anonymous:a1")
    assert event.event_time == T0 + 1_000, "a second of clock difference is corrected"


def test_a_duplicate_is_one_after_a_restart_and_a_month(tmp_path: Path) -> None:
    clock = ManualClock(T0)
    for day in (0, 29, 31):
        clock.now = T0 + day * DAY
        server = started(tmp_path / "server", clock)
        page = Page(server)
        assert page.send(view("one"))[1]["verdicts"][0][1] == ("duplicate" if day else "stored")
        page.connection.close()
        server.stop()


def test_what_is_undeclared_is_kept_beside(server: Server, page: Page) -> None:
    sent = {"page_url": "/", "time_on_page": 2, "plan": "pro", "deep": {"a": [None, 1.5]}}
    odd = {"session_id": "s", "screen": 7, "tab": 3}
    page.send(view("one", properties=sent, context=odd), {"id": "two", "type": "Unheard Of", "properties": {"x": 1, "y": {}}})
    (_, one), (_, two) = events(server)
    assert json.loads(one.properties["$rest"]) == {  # type: ignore[arg-type]
        "properties": {"plan": "pro", "deep": {"a": [None, 1.5]}},
        "context": {"screen": 7, "tab": 3},
    }
    assert (one.properties["time_on_page"], one.context) == (2.0, {"session_id": "s"})
    assert (two.event_type, two.properties) == ("Unheard Of", {"x": 1, "$rest": '{"properties":{"y":{}}}'})


def test_one_bad_event_costs_no_other(server: Server, page: Page) -> None:
    good = json.dumps(view("good"))
    for number, bad in enumerate(
        (
            '{"id": "b", "type": "x", "properties": {"a": NaN}}',
            '{"id": 5}',
            "null",
            "[]",
            '{"id": "b", "type": "x", "properties": {"a": ' + "[" * 400 + "]" * 400 + "}}",
            '{"id": "", "type": "x"}',
            '{"id": "b", "type": "page_view", "properties": {"page_url": 123456789012345678901234567890}}',
            '{"id": "b", "type": "page_view", "properties": {"page_url": "' + "x" * 9_000 + '"}}',
            '{"id": "b", "type": "' + "t" * 201 + '"}',
            '{"id": "' + "i" * 300 + '", "type": "x"}',
        )
    ):
        body = f'{{"key": "wk_shop", "anonymous_id": "a{number}", "batch": [{good.replace("good", f"g{number}")}, {bad}]}}'
        status, said = page.post("/e", body.encode())
        assert (status, [one[1] for one in said["verdicts"]]) == (200, ["stored", "rejected"]), bad


def test_half_a_character_is_mended_and_the_event_kept(server: Server, page: Page) -> None:
    event = b'{"id":"x","type":"page_view","properties":{"page_url":"/","title":"\\ud83d!"}}'
    body = b'{"key":"wk_shop","anonymous_id":"a","batch":[%b]}' % event
    assert page.post("/e", body)[1]["verdicts"] == [["x", "stored"]]
    assert events(server)[0][1].properties["title"] == "\ufffd!"


def test_a_known_person_is_joined_once(server: Server, open_page: Callable[..., Page]) -> None:
    page = open_page("a1", known_id="42")
    page.send(view("one"))
    page.send(view("two"))
    assert [(event.event_type, event.subject) for _, event in events(server)] == [
        ("page_view", "known:42"),
        ("identify", "anonymous:a1"),
        ("page_view", "known:42"),
    ]
    wait_for(lambda: server.parts.links.canonical("anonymous:a1") == "known:42")


def test_a_decision_reaches_its_browser_and_no_other(server: Server, open_page: Callable[..., Page]) -> None:
    one, two = open_page("a1"), open_page("a2")
    two.send(view("other"))
    one.send(view("one"), view("two"))
    folded(server)
    assert two.send()[1]["decisions"] == []
    [decision] = given(server, one)
    assert (decision["trigger_id"], decision["action"]) == ("hello", "greet")
    assert decision["payload"] == {"title": "Hello", "page": "https://shop.example/two"}
    assert decision["expire_time"] > T0
    # Until it is acknowledged it comes again: an answer may be lost.
    assert one.send()[1]["decisions"] == [decision]
    assert two.send(handed=[decision["decision_id"]])[1]["decisions"] == []
    assert one.send()[1]["decisions"] == [decision], "nobody acknowledges for another"
    assert one.send(handed=[decision["decision_id"]])[1]["decisions"] == []
    assert one.send(handed=[decision["decision_id"], "unknown"])[1]["decisions"] == []
    handed = server.parts.store.ask("SELECT installation FROM log WHERE kind = 17", ())
    assert handed == [("web/a1",)]


def test_a_known_persons_decision_goes_where_they_were_last(server: Server, open_page: Callable[..., Page]) -> None:
    laptop, phone = open_page("laptop", known_id="7"), open_page("phone", known_id="7")
    laptop.send(view("one"))
    phone.send(view("two"))
    folded(server)
    [decision] = given(server, phone)
    assert laptop.send()[1]["decisions"] == []
    phone.send(handed=[decision["decision_id"]])


def test_decisions_wait_over_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    server = started(tmp_path / "server", clock, its_catalog=build_text(YAML))
    page = Page(server)
    page.send(view("one"), view("two"))
    folded(server)
    wait_for(lambda: bool(server.parts.store.ask("SELECT 1 FROM deliveries WHERE installation <> ''", ())))
    page.connection.close()
    server.stop()
    server = started(tmp_path / "server", clock, its_catalog=build_text(YAML))
    page = Page(server)
    assert len(page.send()[1]["decisions"]) == 1
    page.connection.close()
    server.stop()


def test_an_erased_persons_events_are_refused(server: Server, page: Page) -> None:
    page.send(view("one"))
    server.parts.erasures.forget("anonymous:a1", 10)
    [verdict] = page.send(view("two"))[1]["verdicts"]
    assert verdict[1] == "rejected"
    assert "ERASED" in verdict[2]


def test_keys_and_origins(server: Server, page: Page) -> None:
    body = {**page.head, "batch": [view("one")]}
    assert page.post("/e", {**body, "key": "nobody"})[0] == 401
    assert page.post("/e", {**body, "key": ""})[1]["error"] == "unknown_key"
    for origin, status in (
        (ORIGIN, 200),
        ("https://a.shop.example", 200),
        ("https://shop.example.evil", 403),
        ("null", 403),
        ("https://.shop.example", 403),
        ("http://shop.example", 403),
    ):
        assert page.post("/e", body, {"Origin": origin})[0] == status, origin
        assert page.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
    assert page.post("/e", {**body, "key": "wk_back"}, {"Origin": ORIGIN})[0] == 403
    assert page.headers["access-control-allow-origin"] == ORIGIN, "a page may read why it was refused"


def test_preflight_is_answered_and_kept(page: Page) -> None:
    for path in ("/e", "/v1/track"):
        status, _ = page.post(path, b"", {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}, method="OPTIONS")
        assert status == 204
        assert page.headers["access-control-max-age"] == "86400"
        assert page.headers["access-control-allow-origin"] == ORIGIN
        assert page.post(path, b"", {"Origin": "https://evil.example"}, method="OPTIONS")[0] == 403
        assert page.post(path, b"", method="GET")[0] == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"x"', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 3_000 + b"1" + b"}" * 3_000, 400),
        (b'{"key": 5}', 400),
        (b'{"key":"wk_shop","batch":{}}', 400),
        (b'{"key":"wk_shop","batch":[]}', 400),
        (b'{"key":"wk_shop","anonymous_id":"' + b"a" * 300 + b'"}', 400),
        (b'{"key":"wk_shop","anonymous_id":"a","batch":[' + b",".join([b"{}"] * 501) + b"]}", 413),
        (b'{"key":"wk_shop","n":' + b"1" * 100_000 + b"}", 400),
    ],
)
def test_a_body_that_is_none_is_refused_and_says_why(page: Page, body: bytes, status: int) -> None:
    found, said = page.post("/e", body)
    assert found == status
    assert said["error"] and said["hint"]


def test_a_body_that_is_too_large_is_refused_before_it_comes(server: Server) -> None:
    assert server.http is not None
    host, _, port = server.http.address.rpartition(":")
    for head, sent in ((b"Content-Length: 104857600", b""), (b"Transfer-Encoding: chunked", b"80001\r\n" + b"x" * 0x80001)):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST /e HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + sent)
            said = connection.recv(4_096)
            assert said.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in said


def test_gzip(server: Server, page: Page) -> None:
    body = {**page.head, "batch": [view("one")]}
    assert page.post("/e", body, {"Content-Encoding": "gzip"})[1]["verdicts"] == [["one", "stored"]]
    assert page.post("/e", json.dumps(body).encode(), {"Content-Encoding": "gzip"})[0] == 400
    assert page.post("/e", {"x": "a" * 3_000_000}, {"Content-Encoding": "gzip"})[0] == 413, "a bomb stays small"
    assert page.post("/e", body, {"Content-Encoding": "br"})[0] == 415


def test_too_many_calls_are_told_when_to_come_again(tmp_path: Path) -> None:
    its_site = site(
        SITE.replace("key_calls_per_s: 0", "key_calls_per_s: 0.5").replace("address_calls_per_s: 0", "address_calls_per_s: 1")
    )
    server = started(tmp_path / "server", its_site=its_site)
    page = Page(server)
    found = [page.send()[0] for _ in range(6)]
    status, said = page.send()
    page.connection.close()
    server.stop()
    assert found == [200] * 5 + [429]
    assert (status, said["error"]) == (429, "too_many_calls")
    assert int(page.headers["retry-after"]) >= 1 and said["retry_after_ms"] > 0


def test_a_store_that_fails_says_later(server: Server, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(server.parts.store, "transaction", full)
        status, said = page.send(view("one"))
        assert (status, said["verdicts"][0][:2]) == (503, ["one", "later"])
        assert said["retry_after_ms"] > 0
        assert page.segment("track", {"userId": "u", "event": "x"})[0] == 503
    assert page.send(view("one"))[1]["verdicts"] == [["one", "stored"]]


def test_segments_calls(server: Server, page: Page) -> None:
    batch = [{"type": "track", "event": "Trial Started", "userId": "u", "messageId": f"m{n}"} for n in (1, 2, 1)]
    assert page.segment("batch", {"batch": [*batch, {"type": "nothing"}, None]}) == (200, {"success": True})
    assert [event.event_id for _, event in events(server)] == ["web:back:m1", "web:back:m2"]
    status, said = page.segment("batch?verdicts=1", {"batch": [*batch, {"type": "nothing"}, None]})
    assert (status, [one[1] for one in said["verdicts"]]) == (200, ["duplicate"] * 3 + ["rejected"] * 2)
    for call, more in (
        ("track", {"event": "x"}),
        ("page", {}),
        ("screen", {"name": "s"}),
        ("identify", {}),
        ("group", {"groupId": "g"}),
        ("alias", {"previousId": "p"}),
    ):
        assert page.segment(call, {"userId": "u", **more}) == (200, {"success": True})
    assert page.post("/v1/track", {"userId": "u", "event": "y", "writeKey": "wk_back"}) == (200, {"success": True})
    assert page.segment("track", {"userId": "u", "event": "z"}, key="nobody")[0] == 401
    assert page.segment("batch", {"batch": 5})[0] == 400
    assert [event.event_type for _, event in events(server)][2:] == [
        "x",
        "page_view",
        "page_view",
        "identify",
        "group",
        "identify",
        "y",
    ]
    assert {installation for installation, _ in events(server)} == {"segment/back"}


def test_services_events_move_features_and_hold_nobody(server: Server, open_page: Callable[..., Page]) -> None:
    browser, service = open_page("a1", known_id="u"), open_page()
    browser.send(view("one"))
    service.segment("page", {"userId": "u", "properties": {"url": "/two"}})
    folded(server)
    assert len(given(server, browser)) == 1


def test_devices_and_browsers_share_a_log(server: Server, page: Page) -> None:
    page.send(view("one"))
    stubs = Stubs(server.address)
    assert stubs.folded().event_count == 1
    stubs.close()
