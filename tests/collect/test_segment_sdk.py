"""Segment's own Python library, unchanged, through our intake: every call, every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from segment.analytics import client as analytics

from reflexarc_server.app import Server
from reflexarc_server.collect.segment import as_sent
from tests.collect.kit import events, started

AT = datetime(2026, 11, 1, 12, 30, 15, 250_000, tzinfo=UTC)
CONTEXT = {"ip": "203.0.113.9", "locale": "nl-NL", "page": {"url": "https://shop.example/", "referrer": None}, "active": True}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = started(tmp_path / "server")
    yield server
    server.stop()


@pytest.mark.parametrize("gzip", [False, True])
def test_every_call_of_the_library_is_kept_whole(server: Server, gzip: bool) -> None:
    assert server.http is not None
    failed: list[Any] = []
    client = analytics.Client(
        "wk_back", host=f"http://{server.http.address}", on_error=lambda error, _: failed.append(error), gzip=gzip,
        upload_interval=0.05, max_retries=1,
    )  # fmt: skip
    common: dict[str, Any] = {"context": dict(CONTEXT), "integrations": {"All": True}, "timestamp": AT}
    said = [
        client.track("u1", "Trial Started", {"plan": "pro", "seats": 3, "price": 9.5, "tags": ["a"], "x": {"y": None}}, **common),
        client.track(
            "u1", "Order Completed", {"order_id": "o", "total": 27.5, "products": [{"sku": "s", "quantity": 2}]}, **common
        ),
        client.page("u1", "docs", "Home", {"url": "https://shop.example/a"}, **common),
        client.screen("u1", "app", "Start", {"a": 1}, **common),
        client.identify("u1", {"email": "a@shop.example", "logins": 5}, anonymous_id="anon-1", **common),
        client.group("u1", "g1", {"name": "Shop"}, **common),
        client.alias("anon-2", "u1", **common),
        client.track(7, "Anonymous too", {"ü": "ö"}, anonymous_id="anon-3", message_id="its-own", **common),
    ]
    client.flush()
    client.join()
    assert failed == []
    assert all(taken for taken, _ in said)
    expected = [json.loads(json.dumps(message, default=str)) for _, message in said]
    kept = [event for _, event in events(server)]
    found = [as_sent(event) for event in kept if not event.event_id.startswith("web:back#link-")]
    assert found == expected
    assert [(event.event_type, event.subject) for event in kept] == [
        ("trial_started", "known:u1"), ("purchase", "known:u1"), ("page_view", "known:u1"), ("page_view", "known:u1"),
        ("identify", "anonymous:anon-1"), ("group", "known:u1"), ("identify", "anonymous:anon-2"), ("anonymous_too", "known:7"),
        ("identify", "anonymous:anon-3"),
    ]  # fmt: skip
    assert {event.event_time for event in kept} == {int(AT.timestamp() * 1_000)}
    assert dict(kept[1].properties, **{"$sent": ""}) == {
        "order_id": "o", "amount": 27.5, "item_count": 2, "product_id": "s", "$sent": ""
    }  # fmt: skip


def test_a_wrong_key_is_told_to_the_library(server: Server) -> None:
    assert server.http is not None
    failed: list[Any] = []
    client = analytics.Client(
        "nobody",
        host=f"http://{server.http.address}",
        on_error=lambda error, _: failed.append(error),
        upload_interval=0.05,
        max_retries=0,
    )
    client.track("u1", "x")
    client.flush()
    client.join()
    assert len(failed) == 1
    assert "401" in str(failed[0])
    assert events(server) == []
