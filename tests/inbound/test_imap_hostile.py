"""A mail server that says what it likes: the poller ends with a reason, in time, and tells no password in the clear."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reflexarc_core.errors import TransportError
from reflexarc_server.inbound import imap as adapter
from reflexarc_server.inbound.imap import ImapMailbox
from reflexarc_server.inbound.keeping import Kept
from reflexarc_server.inbound.matching import NoLog
from reflexarc_server.inbound.polling import Poller
from reflexarc_server.inbound.taking import Taker
from reflexarc_server.site.mailboxes import Imap
from reflexarc_server.site.replies import Replies
from reflexarc_server.site.secret import Secret
from tests.server.kit import ManualClock, wait_for

PASSWORD = "the password of the tests"
Answer = Callable[[str, bytes], list[bytes]]
"""(tag, the command behind it) -> lines."""


def well(tag: str, command: bytes) -> list[bytes]:
    """A mail server with one mail."""
    word = command.split(b" ")[0].upper()
    said = {
        b"CAPABILITY": [b"* CAPABILITY IMAP4rev1"],
        b"SELECT": [b"* 1 EXISTS", b"* OK [PERMANENTFLAGS (\\Seen \\*)] ok"],
    }.get(word, [])
    if command.upper().startswith(b"UID SEARCH"):
        said = [b"* SEARCH 7"]
    if command.upper().startswith(b"UID FETCH"):
        said = [b"* 1 FETCH (UID 7 BODY[]<0> {12}\r\nSubject: x\r\n)"]
    return [*said, f"{tag} OK done".encode("latin-1")]


@contextmanager
def serving(answer: Answer, greeting: bytes = b"* OK hello\r\n") -> Iterator[tuple[int, list[bytes]]]:
    """(port, what was said to it)."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                try:
                    connection.sendall(greeting)
                    for line in lines:
                        heard.append(line)
                        tag, _, command = line.strip().partition(b" ")
                        connection.sendall(b"".join(each + b"\r\n" for each in answer(tag.decode("latin-1"), command)))
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def box(port: int, **more: Any) -> ImapMailbox:
    fields: dict[str, Any] = {"security": "plain", "timeout_s": 5.0, **more}
    return ImapMailbox(Imap("office", "127.0.0.1", port, "reply", Secret("env:X", PASSWORD), **fields))


def poller_of(mailbox: ImapMailbox) -> Poller:
    taker = Taker(None, NoLog(), Replies(), None, "email")
    return Poller(mailbox, lambda content, now: Kept(taker.plan(content, now), True), ManualClock(), 1_000, max)


def instead(start: bytes, lines: list[bytes]) -> Answer:
    def answer(tag: str, command: bytes) -> list[bytes]:
        if not command.upper().startswith(start):
            return well(tag, command)
        return [line.replace(b"TAG", tag.encode("latin-1")) for line in lines]

    return answer


def test_the_usual_conversation_is_understood() -> None:
    with serving(well) as (port, heard):
        mailbox = box(port)
        assert mailbox.waiting() == ["7"]
        assert mailbox.read("7") == b"Subject: x\r\n"
        mailbox.taken("7")
        mailbox.close()
    assert any(b"BODY.PEEK" in line for line in heard)
    assert any(b"+FLAGS.SILENT ($ReflexarcTaken)" in line for line in heard)


@pytest.mark.parametrize(
    ("start", "lines"),
    [
        (b"CAPABILITY", [b"garbage"] * 3),
        (b"CAPABILITY", [b"TAG OK nothing told"]),
        (b"LOGIN", [b"TAG BAD so it is"]),
        (b"LOGIN", [b"* BYE go away", b"TAG NO so it is"]),
        (b"SELECT", [b"* x EXISTS", b"TAG OK so it is"]),
        (b"SELECT", [b"* 1 EXISTS", b"* OK [PERMANENTFLAGS ()] none", b"TAG OK so it is"]),
        (b"SELECT", [b"* 99999999999999999999 EXISTS", b"TAG NO so it is"]),
        (b"UID SEARCH", [b"TAG NO so it is"]),
        (b"UID SEARCH", [b"\xff\xfe\x00", b"TAG OK so it is"]),
        (b"UID SEARCH", [b"x" * 1_100_000, b"TAG OK so it is"]),
        (b"UID FETCH", [b"* 1 FETCH (UID 7 BODY[] {9999999999}", b"TAG OK so it is"]),
        (b"UID FETCH", [b"TAG NO so it is"]),
        (b"UID STORE", [b"TAG NO so it is"]),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_ends_the_round_with_a_reason(start: bytes, lines: list[bytes]) -> None:
    with serving(instead(start, lines)) as (port, _):
        poller = poller_of(box(port))
        poller.round()
    assert poller.status.failure_count == 1
    assert poller.status.reason and PASSWORD not in poller.status.reason


@pytest.mark.parametrize(
    "line",
    [b"* 1 FETCH (FLAGS (\\Seen))", b"* 2 FETCH (UID 8 FLAGS ())", b"* 1 EXPUNGE"],
)
def test_a_mail_that_is_gone_is_passed_over(line: bytes) -> None:
    with serving(instead(b"UID FETCH", [line, b"TAG OK so it is"])) as (port, _):
        mailbox = box(port)
        assert (mailbox.waiting(), mailbox.read("7")) == (["7"], None)
        mailbox.close()


def test_a_mail_that_is_larger_than_any_is_not_waited_for() -> None:
    with serving(instead(b"UID FETCH", [b"* 1 FETCH (UID 7 BODY[]<0> {9999999999}"])) as (port, _):
        mailbox = box(port, timeout_s=60.0)
        mailbox.waiting()
        begun = time.monotonic()
        with pytest.raises(TransportError, match="abort"):
            mailbox.read("7")
        assert time.monotonic() - begun < 30
        mailbox.cut()
        mailbox.close()


def test_an_empty_mail_is_one() -> None:
    with serving(instead(b"UID FETCH", [b'* 1 FETCH (UID 7 BODY[]<0> "")', b"TAG OK so it is"])) as (port, _):
        mailbox = box(port)
        assert (mailbox.waiting(), mailbox.read("7")) == (["7"], b"")
        mailbox.close()


@pytest.mark.parametrize("told", [b"IMAP4rev1 LOGINDISABLED", b"IMAP4rev1"])
def test_the_password_is_not_said_where_tls_was_asked_or_login_is_off(told: bytes) -> None:
    with serving(instead(b"CAPABILITY", [b"* CAPABILITY " + told, b"TAG OK so it is"])) as (port, heard):
        mailbox = box(port, security="plain" if b"DISABLED" in told else "starttls")
        with pytest.raises(TransportError, match="no STARTTLS|takes no password"):
            mailbox.waiting()
        mailbox.close()
        with pytest.raises(TransportError, match="could not be reached"):
            box(port, security="tls", timeout_s=2.0).waiting()
    assert not any(PASSWORD.encode() in line or b"LOGIN" in line for line in heard)


def test_what_stands_in_plaintext_behind_starttls_is_not_believed() -> None:
    """An attacker's own answers, pushed into the buffer before encryption begins."""
    lines = [b"TAG OK begin", b"* CAPABILITY IMAP4rev1", b"* PREAUTH hello"]
    answer = instead(b"STARTTLS", lines)

    def offering(tag: str, command: bytes) -> list[bytes]:
        if command == b"CAPABILITY":
            return [b"* CAPABILITY IMAP4rev1 STARTTLS", f"{tag} OK so it is".encode()]
        return answer(tag, command)

    with serving(offering) as (port, heard):
        mailbox = box(port, security="starttls", timeout_s=2.0)
        with pytest.raises(TransportError):
            mailbox.waiting()
        mailbox.close()
    assert not any(PASSWORD.encode() in line for line in heard)


def test_a_server_that_says_nothing_is_cut_and_a_stop_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = instead(b"UID SEARCH", [])
    with serving(silent) as (port, heard):
        monkeypatch.setattr(adapter, "DEADLINE_S", 0.2)
        mailbox = box(port, timeout_s=60.0)
        begun = time.monotonic()
        with pytest.raises(TransportError, match="could not be reached"):
            mailbox.waiting()
        assert time.monotonic() - begun < 30
        mailbox.close()
        monkeypatch.setattr(adapter, "DEADLINE_S", 300.0)
        monkeypatch.setattr("reflexarc_server.inbound.polling.STOP_S", 0.2)
        poller = poller_of(box(port, timeout_s=60.0))
        poller.start()
        wait_for(lambda: sum(b"SEARCH" in line for line in heard) == 2)
        poller.stop()
        poller._thread.join(10)
        assert not poller._thread.is_alive()
