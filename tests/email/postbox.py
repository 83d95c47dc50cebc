"""A real SMTP server on the loopback, for tests of mail."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


class Postbox:
    """Takes mail, or answers what a test wants."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.rcpt_answer = "250 OK"
        self.data_answer = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.rcpt_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt_answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data_answer.startswith("250"):
            parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
            self.recipients += envelope.rcpt_tos
        return self.data_answer

    @contextmanager
    def open(self) -> Iterator[int]:
        """The port it listens on while the block runs."""
        controller = Controller(self, hostname="127.0.0.1", port=0)
        # It would ask the port it was given, which is any free one.
        controller._trigger_server = lambda: socket.create_connection(controller.server.sockets[0].getsockname(), 5).close()
        controller.start()
        yield controller.server.sockets[0].getsockname()[1]
        controller.stop()
