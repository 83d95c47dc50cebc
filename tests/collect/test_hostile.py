"""What strangers may post, each field in turn something that it never is: an answer of its own, and a log that can be read."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reflexarc_build.source import parse
from reflexarc_cli.main import cli
from reflexarc_server.app import Server
from reflexarc_server.collect.callers import counted_address
from reflexarc_server.log_reader import LogReader
from reflexarc_server.site.reader import site_of
from reflexarc_server.testing import Receiver
from tests.forms.kit import GOOD, SITE, started
from tests.server.kit import T0, wait_for

SHARING = """
sharing:
  {base: "https://go.shop.example", signing_keys: [env:SHARE_KEY], targets: ["https://shop.example"], goals: [purchase]}
"""
NEVER: tuple[Any, ...] = (
    None, True, -1, 1.5, 10**400, "", "\ud800", "a\x00b", "\u202e", "x" * 300, "x" * 600, "x" * 9_000, "é" * 300, [], {}, [[[]]],
    {"a": {"b": [1]}}, float("nan"), float("inf"),
)  # fmt: skip
FORM = {
    "key": "wk_shop_1", "anonymous_id": "ada", "id": "1", "partial": False, "values": dict(GOOD), "page_url": "https://shop.example/",
    "time": T0, "known_id": "7", "known_proof": "",
}  # fmt: skip
SHARE = {"key": "wk_shop_1", "anonymous_id": "ada", "content_id": "guide", "url": "https://shop.example/guide", "parent": ""}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SHARE_KEY", "s" * 32)
    running = started(tmp_path / "server", Receiver(), its_site=site_of(parse(SITE + SHARING, "site.yaml"), Path()))
    yield running
    running.stop()


def test_no_field_costs_more_than_its_own_request(server: Server, tmp_path: Path) -> None:
    assert server.http is not None
    connection = http.client.HTTPConnection(server.http.address, timeout=20)
    number = 0

    def post(path: str, body: dict[str, Any]) -> int:
        connection.request("POST", path, json.dumps(body), {"origin": "https://shop.example", "content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    found = []
    for value in NEVER:
        for name in FORM:
            number += 1
            found.append((name, value, post("/forms/quote", {**FORM, "id": f"f{number}", name: value})))
        for name in GOOD:
            number += 1
            found.append((name, value, post("/forms/quote", {**FORM, "id": f"f{number}", "values": {**GOOD, name: value}})))
        found += [(name, value, post("/v1/share", {**SHARE, name: value})) for name in (*SHARE, "subject")]
    connection.close()
    assert [each for each in found if each[2] >= 500] == []
    assert post_count(found, 200) > 100, "most of it is a request with one fault"
    wait_for(lambda: server.parts.fold.lag == 0)
    events = [event.event_type for _, event in LogReader(tmp_path / "server").events()]
    assert {"form_submit", "social_share"} <= set(events), "whoever trains on the log reads it to its end"
    for (subject,) in server.parts.store.ask("SELECT DISTINCT subject FROM log WHERE kind = 1", ()):
        words = ("visits", "--subject", subject, "--http", f"http://{server.http.address}", "--insecure")
        assert CliRunner().invoke(cli, words).exit_code == 0, subject


def post_count(found: list[tuple[str, Any, int]], status: int) -> int:
    return sum(each[2] == status for each in found)


def test_numbers_of_an_operator_that_are_none(server: Server) -> None:
    assert server.http is not None
    for count in ("9" * 5_000, "-1", "1e3", "٣", "0", ""):
        connection = http.client.HTTPConnection(server.http.address, timeout=20)
        connection.request("GET", "/v1/leads?count=" + count.replace("٣", "%D9%A3"))
        assert connection.getresponse().status == 400, count[:10]
        connection.close()


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8:0:0:ffff::9", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"), ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::/64"),
        ("no:address", "no:address"), ("", ""),
    ],
)  # fmt: skip
def test_whoever_has_a_network_of_ipv6_is_one_caller(address: str, counted: str) -> None:
    assert counted_address(address) == counted


def test_who_comes_too_often_is_told_so_before_anything_is_read_and_counts_no_visits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARE_KEY", "s" * 32)
    text = SITE.replace("address_calls_per_s: 0", "address_calls_per_s: 0.5") + SHARING
    server = started(tmp_path / "server", Receiver(), its_site=site_of(parse(text, "site.yaml"), Path()))
    assert server.http is not None

    def ask(method: str, path: str, body: bytes | None, agent: str = "Firefox/140") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(server.http.address, timeout=20)  # type: ignore[union-attr]
        connection.request(method, path, body, {"user-agent": agent, "content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    token = json.loads(ask("POST", "/v1/share", json.dumps(SHARE).encode())[1])["token"]
    for path in ("/forms/quote", "/v1/share"):
        assert 429 in [ask("POST", path, b"no json")[0] for _ in range(8)], path
    before = server.parts.store.ask("SELECT count(*) FROM share_visits", ())[0][0]
    assert [ask("GET", f"/s/{token}", None, f"Firefox/{number}")[0] for number in range(20)] == [302] * 20, "people are led on"
    assert server.parts.store.ask("SELECT count(*) FROM share_visits", ())[0][0] - before < 10
    server.stop()
