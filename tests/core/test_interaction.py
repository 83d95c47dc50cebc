"""What events weigh as interactions with an item."""

import pytest

from reflexarc_core.event import Value
from reflexarc_core.interaction import interaction_of


@pytest.mark.parametrize(
    ("event_type", "properties", "found"),
    [
        ("content_view", {"content_id": "a"}, ("a", 1.0)),
        ("content_view", {"content_id": "a", "time_spent": 300.0}, ("a", 1.5)),
        ("content_view", {"content_id": "a", "time_spent": 1e9}, ("a", 2.0)),
        ("content_view", {"content_id": "a", "time_spent": -5.0}, ("a", 1.0)),
        ("content_view", {"content_id": "a", "time_spent": float("nan")}, ("a", 1.0)),
        ("content_view", {"content_id": "a", "rating": 5}, ("a", 2.0)),
        ("content_view", {"content_id": "a", "rating": 2.5, "time_spent": 600.0}, ("a", 1.0)),
        ("content_view", {"content_id": "a", "rating": 0.0}, ("a", 0.25)),
        ("content_view", {"content_id": "a", "rating": float("inf")}, ("a", 2.0)),
        ("content_view", {"content_id": "a", "rating": True}, ("a", 1.0)),
        ("content_view", {"content_id": ""}, None),
        ("content_view", {}, None),
        ("social_share", {"content_id": "a", "platform": "x"}, ("a", 2.0)),
        ("social_share", {"platform": "x"}, None),
        ("purchase", {"content_id": "a"}, None),
    ],
)
def test_an_interaction_weighs_what_its_event_says(
    event_type: str, properties: dict[str, Value], found: tuple[str, float] | None
) -> None:
    assert interaction_of(event_type, properties) == found
