"""How long a message, and its channel, wait after a failed attempt: full jitter, for as long as the message is worth it.

Owns the figures. Reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MESSAGE_MS: Final = (500, 300_000)
"""Least and greatest ceiling of a message's pause."""
CHANNEL_MS: Final = (250, 15_000)
"""Of a channel's rest: so long after the other side is back, at the latest, everything goes on."""
RETRY_AFTER_MS_MAX: Final = 3_600_000
"""The longest the other side may send us away for."""
AGE_MS_MAX: Final = 7 * 86_400_000
"""A message that failed for so long becomes a dead letter."""
_DOUBLINGS_MAX: Final = 30

Draw = Callable[[float, float], float]


def pause_ms(bounds: tuple[int, int], failures: int, retry_after_ms: int | None, draw: Draw) -> int:
    """The pause after so many failures in a row, ms. What the other side said wins, from a second to an hour.

    draw: a number between two, evenly.
    """
    if retry_after_ms is not None:
        return min(max(1_000, retry_after_ms), RETRY_AFTER_MS_MAX)
    least, most = bounds
    return int(draw(0.0, min(most, least * 2 ** min(failures, _DOUBLINGS_MAX)))) + 1
