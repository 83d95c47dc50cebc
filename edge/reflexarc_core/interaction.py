"""What an event says of a subject's interest in one item: which item, how much it weighs, and how much of that is kept.

Owns the one formula by which devices and training weigh an interaction; plain arithmetic, so both get the same number. A taste
follows from the kept pairs and the factors of the live artifact, so nothing else is kept. Must never know of factors.

    content_view   1, and up to 1 more for the time spent (all of it at TIME_SPENT_FULL_S); with a rating instead: 2 r / 5
    social_share   2

A rating of 0 to 5 counts from RATING_WEIGHT_MIN (seen and disliked is still no stranger) to 2. Any other event type that
a model's `items` name weighs as a content_view does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from reflexarc_core.event import Value

TIME_SPENT_FULL_S: Final = 600.0
SHARE_WEIGHT: Final = 2.0
RATING_MAX: Final = 5.0
RATING_WEIGHT_MIN: Final = 0.25
WEIGHT_MAX: Final = 4.0
"""What all interactions of one subject with one item weigh together at most: a habit is not a hundred tastes."""
ITEM_ID_LENGTH_MAX: Final = 256
"""Characters; what is longer names no item."""
INTERACTIONS_MAX: Final = 200
"""Items kept of one subject and model; the one least recently engaged with makes room."""
INTEREST_STRENGTH: Final = "interest_strength"
"""The input that a scorer works out of the interactions and puts behind a vector; no feature may be called so."""
ITEMS: Final[Mapping[str, str]] = MappingProxyType({"content_view": "content_id", "social_share": "content_id"})
"""Of the standard event types: the property that names the item."""

Interactions = dict[str, float]
"""Item to weight, the most recent last."""


def interaction_of(
    event_type: str, properties: Mapping[str, Value], items: Mapping[str, str] = ITEMS
) -> tuple[str, float] | None:
    """(item id, weight in (0, 2]) of one event; None for an event that is about no item.

    items: event type to the property that names the item, as a model of the catalog has it.
    """
    named = items.get(event_type)
    item_id = properties.get(named) if named is not None else None
    if not isinstance(item_id, str) or not 0 < len(item_id) <= ITEM_ID_LENGTH_MAX:
        return None
    if event_type == "social_share":
        return item_id, SHARE_WEIGHT
    rating = _number(properties.get("rating"))
    if rating is not None:
        return item_id, max(RATING_WEIGHT_MIN, 2.0 * min(rating, RATING_MAX) / RATING_MAX)
    spent = _number(properties.get("time_spent"))
    return item_id, 1.0 if spent is None else 1.0 + min(max(spent, 0.0), TIME_SPENT_FULL_S) / TIME_SPENT_FULL_S


def interact(held: Interactions, item_id: str, weight: float) -> None:
    """Keep one more interaction: an item that is there already weighs more, WEIGHT_MAX at most, and is the most recent one."""
    held[item_id] = min(held.pop(item_id, 0.0) + weight, WEIGHT_MAX)
    if len(held) > INTERACTIONS_MAX:
        del held[next(iter(held))]


def _number(value: Value | None) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(value)
