"""A place where mail lies until it is taken: what a poller asks of it.

Owns the port. A mailbox keeps its own marks of what was taken, so nothing of it is remembered here: a mark that was not made
before a kill costs a second look, and the mail's event has one id.
"""

from __future__ import annotations

from typing import Final, Protocol

from reflexarc_core.errors import TransportError
from reflexarc_server.inbound.message import MAIL_BYTES_MAX

BATCH: Final = 100
"""Mails that are asked for at once."""


class UnusableMail(TransportError):
    """This one mail cannot be read, however often it is tried: too large, or not for us to read. The others go on."""


class Mailbox(Protocol):
    """One mailbox, used by one thread at a time. Every method but `cut` raises TransportError or OSError when it is not there."""

    @property
    def name(self) -> str:
        """As the site file calls it."""
        ...

    def waiting(self) -> list[str]:
        """Keys of mails that nobody took, the oldest first, at most BATCH."""
        ...

    def read(self, key: str) -> bytes | None:
        """The mail; None when it is gone meanwhile. Raises UnusableMail."""
        ...

    def taken(self, key: str) -> None:
        """Mark it, so that it does not wait any more."""
        ...

    def set_aside(self, key: str) -> None:
        """Keep it where people find it, and do not let it wait any more."""
        ...

    def close(self) -> None:
        """The round is over. Never raises."""
        ...

    def cut(self) -> None:
        """Called by another thread: end what is under way at once. Never raises."""
        ...


def too_large(size: int) -> UnusableMail:
    """Of a mail of so many bytes."""
    return UnusableMail(f"a mail of {size} bytes", hint=f"at most {MAIL_BYTES_MAX} are read")


__all__ = ["BATCH", "Mailbox", "UnusableMail", "too_large"]
