"""How long a thread that talks to the server waits after a failed attempt.

Full jitter between the configured bounds, for ever: nobody gives up. What the server says wins. Reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reflexarc.chance import CHANCE

RETRY_AFTER_MS_MAX: Final = 3_600_000
"""The longest a server may send a device away for."""
_DOUBLINGS_MAX: Final = 30


class Pacing:
    """Of one device. ms_min, ms_max: least and greatest pause. draw: a number between two, evenly."""

    def __init__(self, ms_min: int, ms_max: int, draw: Callable[[float, float], float] = CHANCE.uniform) -> None:
        self._ms_min = min(ms_min, ms_max)
        self._ms_max = ms_max
        self._draw = draw
        self.failures = 0
        """Failed attempts in a row."""
        self.is_directed = False
        """Whether the server itself said how long to wait: then nothing shortens it."""

    def succeeded(self) -> None:
        """An attempt went through."""
        self.failures = 0
        self.is_directed = False

    def failed(self, retry_after_ms: int = 0) -> float:
        """An attempt failed: the pause before the next one, ms. retry_after_ms: what the server said, 0 for nothing."""
        self.failures += 1
        self.is_directed = retry_after_ms > 0
        if self.is_directed:
            return directed_ms(retry_after_ms)
        ceiling = min(self._ms_max, self._ms_min * 2 ** min(self.failures, _DOUBLINGS_MAX))
        return self._draw(self._ms_min, ceiling)


def directed_ms(retry_after_ms: int) -> float:
    """A pause that the server asked for, within what any server may ask."""
    return float(min(max(0, retry_after_ms), RETRY_AFTER_MS_MAX))
