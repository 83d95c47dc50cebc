"""What travels to somebody else's system, and what is asked of whoever takes it there.

Owns the message and the two ways in which sending fails. Knows no foreign system and no store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from reflexarc_core.errors import TransportError


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way out.

    channel: by whom it goes. key: the idempotency key, the same on every attempt; a known one of this channel is not put twice,
    and it is remembered after the message is gone, so it must not name a person. order: messages of one order go one at a time,
    in the order in which they were put; empty for none. body: what JSON can hold. subject: whom it is about (`anonymous:ID`,
    `known:ID`, ...), so that an erasure finds it; empty for nobody. expire_time: ms, when it is no longer worth sending, 0 =
    never.
    """

    channel: str
    key: str
    order: str
    body: Mapping[str, Any]
    subject: str = ""
    expire_time: int = 0


class Unreachable(TransportError):
    """Not now: the other side did not answer, or says that it cannot. The message is tried again.

    retry_after_ms: when the other side says to come again, None when it says nothing. only_this: it is about this message alone
    (a full mailbox, say) and others of the channel go on; else the channel rests.
    """

    code = "unreachable"

    def __init__(self, message: str, *, hint: str = "", retry_after_ms: int | None = None, only_this: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms
        self.only_this = only_this


class Refused(TransportError):
    """Never: the other side will not take this message however often it comes. It becomes a dead letter.

    The message is kept beside it and shown to operators: it must not repeat what the message holds about a person.
    """

    code = "refused"


class Channel(Protocol):
    """One foreign system. Called by several threads at once, never for two messages of one order."""

    @property
    def name(self) -> str:
        """By what an action's `channel` and `Outgoing.channel` name it."""
        ...

    def send(self, outgoing: Outgoing) -> None:
        """Hand it over; returns when the other side has it. It may have it already, from an attempt whose answer was lost:
        `outgoing.key` is how it can tell.

        Must end within a minute, whatever the other side does. Raises Unreachable (tried again), Refused (dead letter); OSError
        counts as Unreachable, anything else as Refused.
        """
        ...
