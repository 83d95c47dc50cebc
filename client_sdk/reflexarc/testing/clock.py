"""A clock that stands still until it is told otherwise."""

from __future__ import annotations


class ManualClock:
    """A trusted clock: time is what `set` or `advance` made it. Also what a replay runs on."""

    trusted = True

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def wall_ms(self) -> int:
        """The time set, ms since the epoch."""
        return self._now_ms

    def monotonic_ms(self) -> int:
        """The same."""
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Make it `now_ms`; never goes back."""
        self._now_ms = max(self._now_ms, now_ms)

    def advance(self, by_ms: int) -> None:
        """Let `by_ms` pass."""
        self._now_ms += by_ms
