"""Segment's calls: what each becomes, and that every field of it is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_proto.wire.quick import event_record
from reflexarc_server.collect.identities import Source
from reflexarc_server.collect.segment import Moment, as_sent, events_of, type_of
from tests.server.kit import T0, catalog

SOURCE = Source("shop")
NOW = Moment(T0, T0)
CONTEXT = {
    "ip": "203.0.113.9",
    "locale": "nl-NL",
    "library": {"name": "analytics.js", "version": "4.1"},
    "timezone": "Europe/Berlin",
    "page": {
        "url": "https://shop.example/a?x=1",
        "path": "/a",
        "referrer": "https://search.example/",
        "title": "A",
        "search": "?x=1",
    },
    "campaign": {"name": "spring", "source": "news", "medium": "email", "term": "t", "content": "c"},
    "screen": {"width": 1920, "height": 1080, "density": 2},
    "app": {"name": "shop", "version": "1.2"},
    "active": True,
    "null": None,
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["page_url", "price", "kind", "amount", "known_id", "$rest", "$sent", "", "a", "total", "products", "ä"])


def one(message: dict[str, Any], call: str = "") -> Event:
    return events_of(message, call, SOURCE, NOW, catalog())[0]


def stored(event: Event) -> Event:
    """As it comes out of the log again."""
    _, record = record_from_proto(record_pb2.LogRecord.FromString(event_record(T0, event)))
    return record.event  # type: ignore[union-attr]


def test_a_page_call_is_a_page_view() -> None:
    message = {
        "type": "page",
        "messageId": "m1",
        "anonymousId": "a1",
        "name": "Home",
        "category": "docs",
        "context": CONTEXT,
        "properties": {"url": "https://shop.example/b", "title": "B", "extra": [1, {"x": None}]},
    }
    event = one(message)
    assert (event.event_id, event.event_type, event.subject) == ("web:shop:m1", "page_view", "anonymous:a1")
    held = {name: value for name, value in event.properties.items() if name != "$sent"}
    assert held == {
        "page_url": "https://shop.example/b",
        "referrer": "https://search.example/",
        "title": "B",
        "category": "docs",
        "utm_source": "news",
        "utm_medium": "email",
        "utm_campaign": "spring",
        "utm_term": "t",
        "utm_content": "c",
    }
    assert event.context == {"locale": "nl-NL", "app_version": "1.2", "sdk_version": "analytics.js 4.1", "screen": "1920x1080"}
    assert as_sent(stored(event)) == message


@pytest.mark.parametrize(
    ("name", "given", "event_type", "expected"),
    [
        (
            "Order Completed",
            {"order_id": 7, "total": 27.5, "revenue": 25, "currency": "USD", "products": [{"product_id": "p", "quantity": 3}]},
            "purchase",
            {"order_id": "7", "amount": 27.5, "currency": "USD", "item_count": 3, "product_id": "p"},
        ),
        (
            "order completed",
            {"revenue": 25, "products": [{"sku": "a"}, {"sku": "b"}]},
            "purchase",
            {"amount": 25.0, "item_count": 2},
        ),
        (
            "Product Viewed",
            {"product_id": "p", "price": 3, "category": "c"},
            "product_interaction",
            {"kind": "view", "product_id": "p", "price": 3.0, "category": "c"},
        ),
        ("Product Added", {"sku": "s"}, "product_interaction", {"kind": "add_to_cart", "product_id": "s"}),
        ("Checkout Started", {"value": 9}, "product_interaction", {"kind": "checkout", "price": 9.0}),
        (
            "Product Shared",
            {"share_via": "email", "product_id": "p", "url": "u"},
            "social_share",
            {"platform": "email", "content_id": "p", "url": "u"},
        ),
    ],
)
def test_known_names_are_standard_events(name: str, given: dict[str, Any], event_type: str, expected: dict[str, Any]) -> None:
    message = {"type": "track", "event": name, "userId": "u", "messageId": "m", "properties": given}
    event = one(message)
    assert event.event_type == event_type
    assert {held: value for held, value in event.properties.items() if held != "$sent"} == expected
    assert as_sent(stored(event)) == message


def test_another_name_is_an_event_of_its_own_and_keeps_its_fields() -> None:
    given = {
        "plan": "pro",
        "seats": 3,
        "trial": True,
        "price": 9.5,
        "tags": ["a", "b"],
        "none": None,
        "deep": {"a": [1]},
        "huge": 2**70,
    }
    message = {
        "type": "track",
        "event": "Trial Started",
        "userId": 42,
        "messageId": "m",
        "context": CONTEXT,
        "properties": given,
        "integrations": {"All": True},
        "timestamp": "2023-11-14T22:13:20.000Z",
        "unheard_of": [None],
    }
    event = one(message)
    assert (event.event_type, event.subject) == ("trial_started", "known:42")
    assert {name: value for name, value in event.properties.items() if name != "$rest"} == {
        "plan": "pro",
        "seats": 3,
        "trial": True,
        "price": 9.5,
        "tags": ["a", "b"],
    }
    back = as_sent(stored(event))
    assert back == message
    assert json.dumps(back, sort_keys=True) == json.dumps(message, sort_keys=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Trial Started", "trial_started"),
        ("trial-started", "trial_started"),
        ("2nd Visit", "track_2nd_visit"),
        ("Identify", "track_identify"),
        ("reset", "track_reset"),
        ("登録", "登録"),
        ("Äpfel", "Äpfel"),
        ("!!", "!!"),
    ],
)
def test_names_become_types_that_a_catalog_can_declare(name: str, expected: str) -> None:
    assert type_of(name) == expected


def test_identities() -> None:
    both = events_of({"type": "track", "event": "x", "userId": "u", "anonymousId": "a"}, "", SOURCE, NOW, catalog())
    assert [(event.event_type, event.subject) for event in both] == [("x", "known:u"), ("identify", "anonymous:a")]
    assert both[1].properties == {"known_id": "u"}
    identify = one({"type": "identify", "userId": "u", "anonymousId": "a", "traits": {"plan": "pro"}})
    assert (identify.event_type, identify.subject, identify.properties["known_id"]) == ("identify", "anonymous:a", "u")
    alias = one({"type": "alias", "userId": "u", "previousId": "b"})
    assert (alias.event_type, alias.subject, alias.properties["known_id"]) == ("identify", "anonymous:b", "u")
    assert one({"type": "group", "userId": "u", "groupId": 5}).properties["group_id"] == "5"
    assert one({"traits": {"a": 1}, "anonymousId": "a"}, "identify").event_type == "traits"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "delete", "userId": "u"},
        {"type": "track", "event": "x"},
        {"type": "track", "userId": "u"},
        {"type": "track", "userId": "u", "event": ""},
        {"type": "track", "userId": "u", "event": 5},
        {"type": "group", "userId": "u"},
        {"type": "alias", "userId": "u"},
        {"type": "track", "userId": ["u"], "event": "x"},
        {"type": "track", "userId": "u" * 300, "event": "x"},
        {"type": "track", "userId": "u", "event": "x", "properties": {"a": float("nan")}},
        {"type": "page", "userId": "u", "properties": {"a": [float("inf")]}},
        {"type": "track", "userId": "u", "event": "x", "properties": {"a": "x" * 40_000}},
    ],
)
def test_what_is_no_call_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError):
        one(message)


def test_time_is_by_our_clock() -> None:
    def time(**fields: Any) -> int:
        return one({"type": "track", "event": "x", "userId": "u", **fields}).event_time

    an_hour_slow = {"timestamp": "2023-11-13T22:00:00Z", "sentAt": "2023-11-13T23:00:00Z"}
    assert time(**an_hour_slow) == T0 - 3_600_000
    assert time(timestamp="2999-01-01T00:00:00Z") == T0
    assert time(timestamp="never") == time() == T0
    assert time(timestamp=T0 - 5, sentAt=T0) == T0 - 5


@given(
    st.dictionaries(NAMES | st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=6),
    JSON,
    st.sampled_from(["page_view", "Order Completed", "Product Viewed", "purchase", "anything"]),
    st.sampled_from(["track", "page", "identify"]),
)
def test_every_field_comes_back(properties: dict[str, Any], context: Any, name: str, call: str) -> None:
    message = {"type": call, "event": name, "userId": "u", "messageId": "m", "properties": properties, "context": context}
    if name == "page_view" and call == "track":  # an event of ours by its own name needs what its type requires
        message["properties"] = properties = {**properties, "page_url": "/"}
    event = one(message)
    back = as_sent(stored(event))
    assert json.dumps(back, sort_keys=True) == json.dumps(message, sort_keys=True)
