"""A channel without a foreign system behind it, for tests of whatever sends.

Owns what arrived and the troubles it was told to have. Must never wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from reflexarc_server.channels.channel import Outgoing, Unreachable


class Receiver:
    """Takes everything, and keeps each message once by its key, as a receiver that knows idempotency keys does.

    attempts: every call in turn. is_down: from now on nothing is taken. answers: what to say of the next messages, one each;
    None is yes. lose_answer: take the message, and then fail as if the answer had been lost. on_send: looks on.
    """

    def __init__(self, name: str = "crm") -> None:
        self.name = name
        self.attempts: list[Outgoing] = []
        self.taken: dict[str, Outgoing] = {}
        self.is_down = False
        self.answers: list[Exception | None] = []
        self.lose_answer = False
        self.on_send: Callable[[Outgoing], None] = lambda outgoing: None
        self._lock = threading.Lock()

    def send(self, outgoing: Outgoing) -> None:
        """See Channel."""
        self.on_send(outgoing)
        with self._lock:
            self.attempts.append(outgoing)
            answer = self.answers.pop(0) if self.answers else None
            if answer is not None:
                raise answer
            if self.is_down:
                raise Unreachable(f"{self.name} is down")
            self.taken.setdefault(outgoing.key, outgoing)
            if self.lose_answer:
                raise Unreachable(f"the answer of {self.name} was lost")
