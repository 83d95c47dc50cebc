"""Mail taken from a maildir: each once, whatever happens between the log and the rename."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reflexarc.definitions import load_catalog
from reflexarc_cli.email_commands import email
from reflexarc_core.errors import DefinitionError, InvalidEventError, StorageError
from reflexarc_core.event import Event
from reflexarc_server.app import Server, start_server
from reflexarc_server.inbound import maildir
from reflexarc_server.inbound.mailbox import BATCH
from reflexarc_server.inbound.maildir import MaildirMailbox
from reflexarc_server.inbound.message import MAIL_BYTES_MAX
from reflexarc_server.inbound.polling import AWAY_MS, Poller, pollers_of
from reflexarc_server.log_reader import LogReader
from reflexarc_server.site import Site, read_site
from reflexarc_server.testing.channel import Receiver
from tests.email.kit import KEY, NOW, SITE, site_of
from tests.inbound.test_message import mail
from tests.server.kit import ManualClock, wait_for

SOURCES = """
replies:
  sources:
    - {name: desk, maildir: box, every: 1h}
  rules:
    - {name: angry, kind: reply, mood: negative, queue: care, priority: 2, channel: helpdesk}
"""
EVERY_MS = 3_600_000


class Box:
    """A maildir, and whoever delivers to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("new", "cur", "tmp"):
            (folder / name).mkdir(parents=True)

    def deliver(self, name: str, content: bytes, where: str = "new") -> None:
        (self.folder / "tmp" / name).write_bytes(content)
        os.rename(self.folder / "tmp" / name, self.folder / where / name)

    def names(self, *folders: str) -> list[str]:
        return sorted(path.name for folder in folders for path in (self.folder / folder).iterdir())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return site_of(tmp_path, monkeypatch, SOURCES)


@pytest.fixture
def desk() -> Receiver:
    return Receiver("helpdesk")


@pytest.fixture
def server(tmp_path: Path, desk: Receiver) -> Iterator[Server]:
    """Without the sources: a test looks by itself."""
    started = start_server(
        tmp_path / "server", "127.0.0.1:0", load_catalog(None), ManualClock(NOW), insecure=True, channels=[desk]
    )
    yield started
    started.stop()


@pytest.fixture
def poller(server: Server, site: Site, box: Box) -> Poller:
    [found] = pollers_of(server.parts, site)
    return found


def stored(tmp_path: Path) -> list[Event]:
    return [event for _, event in LogReader(tmp_path / "server").events()]


def numbered(number: int, body: str = "Thanks!\n") -> bytes:
    return mail(body=body).replace(b"a@example.org", b"a%d@example.org" % number)


def test_what_was_delivered_is_taken_in_once_and_kept_apart(poller: Poller, box: Box, tmp_path: Path) -> None:
    box.deliver("1.a.host", numbered(1))
    box.deliver("2.b.host:2,RS", numbered(2), "cur")  # a mail program has shown it already
    assert poller.round() == EVERY_MS
    assert [event.event_type for event in stored(tmp_path)] == ["email_reply"] * 2
    assert (box.names("new", "cur"), box.names(".taken/cur")) == ([], ["1.a.host:2,S", "2.b.host:2,S"])
    assert (box.folder / ".taken" / "cur" / "1.a.host:2,S").read_bytes() == numbered(1)
    assert poller.round() == EVERY_MS
    status = poller.status
    assert (status.taken_count, status.duplicate_count, status.round_time) == (2, 0, NOW)


def test_a_kill_between_the_log_and_the_rename_doubles_nothing(
    poller: Poller, box: Box, tmp_path: Path, desk: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    angry = numbered(1, "This is terrible, I am very angry and disappointed!\n")
    box.deliver("1.a.host", angry)
    with monkeypatch.context() as killed:
        killed.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(5, "the power went")))
        assert poller.round() <= AWAY_MS[0] + 1
    assert (poller.status.failure_count, poller.status.reason, box.names("new")) == (1, "OSError: the power went", ["1.a.host"])
    poller.round()
    assert [event.event_type for event in stored(tmp_path)] == ["email_reply"]
    assert (poller.status.duplicate_count, poller.status.failure_count, box.names("new")) == (1, 0, [])
    wait_for(lambda: len(desk.attempts) == 1)
    box.deliver("2.a.host", b"Received: by another way\r\n" + angry.replace(b"\n", b"\r\n"))  # a second copy
    poller.round()
    assert len(stored(tmp_path)) == 1
    assert [outgoing.key for outgoing in desk.attempts] == [stored(tmp_path)[0].event_id]


def test_a_mail_that_cannot_be_taken_in_is_set_aside_and_named(
    poller: Poller, box: Box, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = poller._keep

    def keeping(content: bytes, now: int) -> Any:
        if b"a1@" in content:
            raise InvalidEventError("an inbound mail was refused", hint="no such event type")
        if b"a2@" in content:
            raise KeyError("Thanks!")
        return keep(content, now)

    monkeypatch.setattr(poller, "_keep", keeping)
    for number in (1, 2, 3):
        box.deliver(f"{number}.a.host", numbered(number))
    with (box.folder / "new" / "4.large.host").open("wb") as file:
        file.truncate(MAIL_BYTES_MAX + 1)
    assert poller.round() == EVERY_MS
    assert len(stored(tmp_path)) == 1
    assert (box.names("new"), box.names(".set-aside/cur")) == ([], ["1.a.host", "2.a.host", "4.large.host"])
    assert {each.key: each.reason.partition(":")[0] for each in poller.status.set_aside} == {
        "new/1.a.host": "an inbound mail was refused", "new/2.a.host": "a fault of the server",
        "new/4.large.host": f"a mail of {MAIL_BYTES_MAX + 1} bytes",
    }  # fmt: skip
    assert "1.a.host is set aside" in caplog.text and "Thanks!" not in caplog.text
    assert poller.status.set_aside_count == 3


def test_a_store_that_is_full_sets_nothing_aside(poller: Poller, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.deliver("1.a.host", numbered(1))

    def full(content: bytes, now: int) -> Any:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(poller, "_keep", full)
        poller.round()
    assert (poller.status.reason, box.names("new")) == ("the disk is full", ["1.a.host"])
    poller.round()
    assert (poller.status.taken_count, box.names("new")) == (1, [])


def test_links_folders_and_deliveries_under_way_are_left_alone(poller: Poller, box: Box, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(numbered(1))
    (box.folder / "new" / "1.link.host").symlink_to(tmp_path / "secret")
    (box.folder / "new" / "2.folder.host").mkdir()
    os.mkfifo(box.folder / "new" / "3.pipe.host")
    (box.folder / "new" / ".hidden").write_bytes(numbered(2))
    (box.folder / "tmp" / "4.under.way").write_bytes(numbered(3)[:20])
    assert poller.round() == EVERY_MS
    assert stored(tmp_path) == []
    with pytest.raises(OSError, match="symbolic"):
        MaildirMailbox("x", box.folder).read("new/1.link.host")


def test_a_maildir_that_is_not_there_is_asked_again_with_growing_pauses(poller: Poller, box: Box, tmp_path: Path) -> None:
    os.rename(box.folder, tmp_path / "away")
    poller._draw = lambda low, high: high
    assert [poller.round() for _ in range(3)] == [1_001, 2_001, 4_001]
    for _ in range(20):
        longest = poller.round()
    assert longest == AWAY_MS[1] + 1
    assert "is no maildir" in poller.status.reason
    os.rename(tmp_path / "away", box.folder)
    assert (poller.round(), poller.status.failure_count, poller.status.reason) == (EVERY_MS, 0, "")


def test_more_mails_than_one_look_are_all_taken_and_names_that_meet_are_kept(poller: Poller, box: Box, tmp_path: Path) -> None:
    for number in range(BATCH + 5):
        box.deliver(f"{number}.a.host", numbered(number))
    poller.round()
    assert (len(stored(tmp_path)), len(box.names(".taken/cur"))) == (BATCH + 5, BATCH + 5)
    box.deliver("1.a.host", numbered(1))
    poller.round()
    assert (len(stored(tmp_path)), len(box.names(".taken/cur"))) == (BATCH + 5, BATCH + 6)


def test_marks_that_are_not_kept_end_the_round(poller: Poller, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.deliver("1.a.host", numbered(1))
    monkeypatch.setattr(poller._mailbox, "taken", lambda key: None)
    poller.round()
    assert "does not keep its marks" in poller.status.reason


def test_a_server_looks_by_itself_says_how_it_does_and_stops(box: Box, site: Site, tmp_path: Path, desk: Receiver) -> None:
    box.deliver("1.a.host", numbered(1))
    (box.folder / "new" / "2.large.host").touch()
    os.truncate(box.folder / "new" / "2.large.host", MAIL_BYTES_MAX + 1)
    server = start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True, site=site, channels=[desk])
    try:
        wait_for(lambda: server.pollers[0].status.round_time > 0)
        box.deliver("3.a.host", numbered(3))
        server.pollers[0].wake()
        wait_for(lambda: server.pollers[0].status.taken_count == 2)
        wait_for(lambda: box.names("new") == [])
        command = ["mailboxes", "--server", server.address, "--insecure"]
        said = CliRunner().invoke(email, command)
        assert (said.exit_code, "desk: new/2.large.host is set aside: a mail of" in said.output) == (0, True), said.output
        [found] = json.loads(CliRunner().invoke(email, [*command, "--json"]).output)
        assert (found["name"], found["taken_count"], found["set_aside_count"]) == ("desk", 2, 1)
        os.rename(box.folder, tmp_path / "away")
        server.pollers[0].wake()
        wait_for(lambda: server.pollers[0].status.failure_count > 0)
        said = CliRunner().invoke(email, command)
        assert (said.exit_code, "is no maildir" in said.output) == (1, True), said.output
    finally:
        server.stop()
    assert not server.pollers[0]._thread.is_alive()


def test_a_channel_that_is_not_there_is_told_at_the_start(site: Site, box: Box, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no channel helpdesk"):
        start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True, site=site)
    start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True).stop()


def test_mistakes_of_sources_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_KEY", KEY.decode())
    monkeypatch.setenv("PASSWORD", "two\nlines")
    path = tmp_path / "site.yaml"
    path.write_text(
        SITE + "replies:\n  sources:\n"
        "    - {name: a, maildir: x, imap: h, user: u, password: env:PASSWORD}\n"
        "    - {name: A b, maildir: x, every: 10ms}\n"
        "    - {name: c, imap: mail.example, security: plain, user: u, password: hunter2}\n"
        "    - {name: d, imap: localhost, security: none, user: u, password: env:PASSWORD, folder: 'Entwürfe'}\n"
        "    - {name: d, maildir: y, user: u}\n    - {maildir: z}\n"
    )
    with pytest.raises(DefinitionError) as caught:
        read_site(path)
    said = str(caught.value)
    for part in (
        "a maildir or an imap host", "name is none", "every is too short", "plain to another machine", "no reference to a secret",
        "security is", "folder is none", "line end", "d is there twice", "no field 'user'", "has no name",
    ):  # fmt: skip
        assert part in said, part
    assert "hunter2" not in said
    assert maildir.TAKEN.startswith(".")


def test_one_of_secrets_and_sources_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match="has no secrets"):
        site_of(tmp_path, monkeypatch, "replies:\n  default: {queue: x}\n")
