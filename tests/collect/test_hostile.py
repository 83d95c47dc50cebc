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
