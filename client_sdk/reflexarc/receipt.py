"""What a call gives back: errors come as values, the host application is never broken."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from reflexarc_core.decision import Decision


_made = object.__new__


class Receipt:
    """What became of one `track()`.

    accepted: the event is safe against kill -9 (with durability `memory`: it was taken). reason: why not, empty when
    accepted. decisions: what was decided at once, as information; actions go to `on()` handlers only. engine: `here`, or
    `elsewhere` when another process owns it.
    """

    __slots__ = ("_id", "_power", "accepted", "decisions", "engine", "reason")

    def __init__(
        self,
        accepted: bool,
        event_id: str | tuple[int, str, int] = "",
        reason: str = "",
        decisions: tuple[Decision, ...] = (),
        engine: str = "here",
        power: Callable[[], Future[bool]] | Future[bool] | None = None,
    ) -> None:
        """event_id: the id, or what it is derived from. power: when the event survives a power cut, or who to ask."""
        self.accepted = accepted
        self._id = event_id
        self.reason = reason
        self.decisions = decisions
        self.engine = engine
        self._power = power

    @property
    def event_id(self) -> str:
        """The event's id, empty when nothing was accepted."""
        if type(self._id) is tuple:
            from reflexarc.ids import derived_id

            self._id = derived_id(*self._id)
        return self._id  # type: ignore[return-value]

    @property
    def durable(self) -> Future[bool] | None:
        """Resolves to True once the event survives a power cut; None when nothing was accepted, or kept in memory only.

        Nothing is synced for it before somebody asks, unless the event was tracked with durability `power`.
        """
        if callable(self._power):
            self._power = self._power()
        return self._power

    def __repr__(self) -> str:
        return (
            f"Receipt(accepted={self.accepted}, reason={self.reason!r}, decisions={len(self.decisions)}, engine={self.engine!r})"
        )


class Kept(Receipt):
    """The receipt of an event that was kept and on which nothing was decided: most of them. Made by `kept`."""

    __slots__ = ()
    accepted = True
    reason = ""
    decisions = ()
    engine = "here"


def kept(event_id: str | tuple[int, str, int], power: Callable[[], Future[bool]]) -> Kept:
    """event_id: as for `Receipt`. A constructor would cost as much as writing the event."""
    receipt = _made(Kept)
    receipt._id = event_id
    receipt._power = power
    return receipt


class FlushResult:
    """What a flush reached: `delivered` when the server holds everything written before the call."""

    __slots__ = ("delivered", "reason", "remaining_count")

    def __init__(self, delivered: bool, remaining_count: int, reason: str = "") -> None:
        self.delivered = delivered
        self.remaining_count = remaining_count
        self.reason = reason

    def __repr__(self) -> str:
        return f"FlushResult(delivered={self.delivered}, remaining_count={self.remaining_count}, reason={self.reason!r})"
