"""When an event happened, by the server's clock: its sender's clock is only asked how long ago that was.

Owns the correction and its bounds. Must never read a clock.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final

OFFSET_MS_MIN: Final = 1_000
"""A smaller difference may as well be the way here: the sender's time stays as it is."""
TIME_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def corrected(time: float, sent: float, received: int) -> int:
    """Event time in ms by the server's clock. time, sent: by the sender's; 0 where it did not say. received: by the server's.

    It lies between 1970 and `received`: nothing happens after it was heard of.
    """
    if time <= 0 or not math.isfinite(time):
        return received
    if sent > 0 and math.isfinite(sent):
        offset = received - sent
        if offset >= OFFSET_MS_MIN or offset <= -OFFSET_MS_MIN:
            time += offset
    return received if time > received else max(1, int(time))


def time_of(value: Any) -> int:
    """A JSON value as ms since 1970: an ISO 8601 text or a number of ms; 0 when it is neither. Without a zone it is UTC."""
    if type(value) is int or type(value) is float:
        return int(value) if 0 < value <= TIME_MAX else 0
    if type(value) is not str or not 10 <= len(value) <= 40:
        return 0
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # In integers: a float would lose the millisecond now and then.
        elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return 0
    return max(0, (elapsed.days * 86_400 + elapsed.seconds) * 1_000 + elapsed.microseconds // 1_000)
