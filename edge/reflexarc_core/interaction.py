"""What an event says of a subject's interest in one item: which item, and how much it weighs.

Owns the one formula by which devices and training weigh an interaction; plain arithmetic, so both get the same number.
Must never keep interactions or know of a model.

    content_view   1, and up to 1 more for the time spent (all of it at TIME_SPENT_FULL_S); with a rating instead: 2 r / 5
    social_share   2

A rating of 0 to 5 counts from RATING_WEIGHT_MIN (seen and disliked is still no stranger) to 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reflexarc_core.event import Value

TIME_SPENT_FULL_S: Final = 600.0
SHARE_WEIGHT: Final = 2.0
RATING_MAX: Final = 5.0
RATING_WEIGHT_MIN: Final = 0.25


def interaction_of(event_type: str, properties: Mapping[str, Value]) -> tuple[str, float] | None:
    """(item id, weight in (0, 2]) of one event; None for an event that is about no item."""
    item_id = properties.get("content_id")
    if not isinstance(item_id, str) or not item_id:
        return None
    if event_type == "social_share":
        return item_id, SHARE_WEIGHT
    if event_type != "content_view":
        return None
    rating = _number(properties.get("rating"))
    if rating is not None:
        return item_id, max(RATING_WEIGHT_MIN, 2.0 * min(rating, RATING_MAX) / RATING_MAX)
    spent = _number(properties.get("time_spent"))
    return item_id, 1.0 if spent is None else 1.0 + min(max(spent, 0.0), TIME_SPENT_FULL_S) / TIME_SPENT_FULL_S


def _number(value: Value | None) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(value)
