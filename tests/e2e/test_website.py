"""A visit in real Chromium to a site whose SDK talks to the real server: what came into the log, what came back into the page."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_build.reader import build_text
from reflexarc_server.app import Server
from reflexarc_server.clock import SystemClock
from tests.collect.kit import events, site, started

HERE = Path(__file__).parent / "browser"
CATALOG = """
include: standard
version: web
triggers:
  second_page:
    placement: server
    condition: features.page_views == 2.0
    on: [page_view]
    cooldown: 1d
    life: 1h
    goal: {events: [form_submit], within: 1d}
    action: greet
actions:
  greet:
    fallback: en
    payload: {place: banner, title: {en: Welcome, de: Willkommen}, label: {en: Thanks, de: Danke}}
"""
SITE = """
web:
  keys:
    shop: {key: wk_shop, origins: ["*"]}
forms:
  contact:
    type: contact
    fields:
      email: {type: email, required: true}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = started(tmp_path / "server", SystemClock(), site(SITE), build_text(CATALOG))
    yield running
    running.stop()


def test_a_visit_ends_in_the_log_and_a_decision_in_the_page(server: Server) -> None:
    assert server.http is not None
    done = subprocess.run(
        ["node", "visit.mjs", f"http://{server.http.address}"], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["title"] == "Welcome"
    assert told["mistake"]
    kept = [event for _, event in events(server)]
    count = Counter(event.event_type for event in kept)
    assert (count["page_view"], count["session"], count["form_submit"], count["consent"]) == (3, 1, 1, 2)
    assert {event.subject.partition(":")[0] for event in kept} == {"anonymous"}
    left = [event for event in kept if event.event_type == "page_leave" and event.properties["page_url"].endswith("/one")]
    assert left
    assert abs(float(left[0].properties["time_on_page"]) * 1_000 - told["seen"]) < 1_000  # from consent on, on a busy machine
    click = next(event for event in kept if event.event_type == "button_click")
    assert (click.properties["label"], click.properties["section"], click.properties["category"]) == ("buy", "hero", "tea")
    assert click.context["device_class"] == "desktop"
    outcomes = [event.properties["kind"] for event in kept if event.event_type == "outcome"]
    assert outcomes == ["impression", "click"]
