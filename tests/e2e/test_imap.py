"""Mail taken from a real IMAP server: killed in the middle, refused, away, with and without keywords."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_core.errors import TransportError
from reflexarc_server.app import Server, start_server
from reflexarc_server.inbound.imap import SET_ASIDE, TAKEN, ImapMailbox
from reflexarc_server.inbound.message import MAIL_BYTES_MAX
from reflexarc_server.inbound.polling import Poller, pollers_of
from reflexarc_server.log_reader import LogReader
from reflexarc_server.site import Site, read_site
from reflexarc_server.site.mailboxes import Imap
from reflexarc_server.site.secret import Secret
from tests.e2e.dovecot import PASSWORD, USER, Dovecot
from tests.identity.kit import Authority
from tests.inbound.test_maildir import numbered
from tests.server.kit import wait_for

MAILS = 400
SITE = """
replies:
  sources:
    - {{name: office, imap: localhost, port: {port}, user: {user}, password: env:IMAP_PASSWORD, ca_file: "{ca}", every: 1s}}
"""
_PROGRAM = """
import sys
from pathlib import Path
from reflexarc.definitions import load_catalog
from reflexarc_server.app import start_server
from reflexarc_server.site import read_site
folder = Path(sys.argv[1])
server = start_server(folder / "server", "127.0.0.1:0", load_catalog(None), insecure=True, site=read_site(folder / "site.yaml"))
print("up", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def dovecot(authority: Authority) -> Iterator[Dovecot]:
    found = Dovecot(authority.issue().files, authority.ca_file)
    found.client().logout()
    yield found
    found.close()


@pytest.fixture
def site(dovecot: Dovecot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("IMAP_PASSWORD", PASSWORD)
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(port=dovecot.tls_port, user=USER, ca=dovecot.ca_file))
    return read_site(path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Without the sources: a test looks by itself."""
    started = start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True)
    yield started
    started.stop()


@pytest.fixture
def poller(server: Server, site: Site) -> Poller:
    [found] = pollers_of(server.parts, site)
    return found


def ids(tmp_path: Path) -> list[str]:
    return [event.event_id for _, event in LogReader(tmp_path / "server").events()]


def flags(dovecot: Dovecot) -> list[str]:
    client = dovecot.client()
    _, lines = client.fetch("1:*", "(FLAGS)")
    client.logout()
    return [line.decode() for line in lines if isinstance(line, bytes)]


def box(dovecot: Dovecot, **more: Any) -> ImapMailbox:
    fields: dict[str, Any] = {"ca_file": dovecot.ca_file, **more}
    return ImapMailbox(Imap("office", fields.pop("host", "localhost"), fields.pop("port", dovecot.tls_port), USER,
                            Secret("env:X", fields.pop("password", PASSWORD)), **fields))  # fmt: skip


def started(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "IMAP_PASSWORD": PASSWORD},
    )  # fmt: skip


def test_a_kill_in_the_middle_doubles_and_loses_nothing(
    dovecot: Dovecot, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dovecot.deliver([numbered(number) for number in range(MAILS)])
    process = started(tmp_path)
    wait_for(lambda: (tmp_path / "server").exists() and len(_seen(tmp_path)) >= MAILS // 8, timeout_s=60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    before = len(ids(tmp_path))
    assert before < MAILS
    dovecot.deliver([numbered(number) for number in range(MAILS, MAILS + 20)])
    process = started(tmp_path)
    wait_for(lambda: len(_seen(tmp_path)) >= MAILS + 20, timeout_s=60)
    process.communicate("", timeout=30)
    assert process.returncode == 0
    found = ids(tmp_path)
    assert len(found) == len(set(found)) == MAILS + 20
    marked = [line for line in flags(dovecot) if TAKEN in line]
    assert MAILS + 19 <= len(marked) <= MAILS + 20  # the last one's mark may not have been made before the end
    with capsys.disabled():
        print(f"\nIMAP: {before} of {MAILS} mails before the kill, {len(found)} events behind it, none doubled")


def _seen(tmp_path: Path) -> list[str]:
    try:
        return ids(tmp_path)
    except Exception:  # the store is being made
        return []


def test_mails_stay_unread_and_one_that_is_too_large_is_set_aside(poller: Poller, dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.deliver([numbered(1), b"Subject: x\n\n" + b"x" * (MAIL_BYTES_MAX + 1), numbered(2), b""])
    poller.round()
    assert (poller.status.reason, poller.status.taken_count, poller.status.set_aside_count) == ("", 3, 1)
    said = flags(dovecot)
    assert [TAKEN in line for line in said] == [True] * 4 and not any("Seen" in line for line in said)
    assert [SET_ASIDE in line and "Flagged" in line for line in said] == [False, True, False, False]
    assert (poller.round(), poller.status.taken_count, len(ids(tmp_path))) == (1_000, 3, 3)


def test_a_mark_that_was_not_made_is_a_duplicate(poller: Poller, dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.deliver([numbered(1)])
    poller.round()
    client = dovecot.client()
    client.store("1", "-FLAGS", f"({TAKEN})")
    client.logout()
    poller.round()
    assert (poller.status.taken_count, poller.status.duplicate_count, len(ids(tmp_path))) == (1, 1, 1)


def test_where_no_keywords_are_kept_seen_is_the_mark_and_where_no_flags_are_it_is_told(
    poller: Poller, dovecot: Dovecot, tmp_path: Path
) -> None:
    dovecot.restrict("lrs")
    dovecot.deliver([numbered(1)])
    poller.round()
    assert (poller.status.reason, poller.status.taken_count) == ("", 1)
    assert ["Seen" in line and TAKEN not in line for line in flags(dovecot)] == [True]
    poller.round()
    assert (poller.status.taken_count, poller.status.duplicate_count) == (1, 0)
    dovecot.restrict("lr")
    poller.round()
    assert "flags" in poller.status.reason or "read-only" in poller.status.reason


def test_a_server_that_goes_away_is_asked_again(poller: Poller, dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.deliver([numbered(1)])
    poller.round()
    dovecot.stop()
    poller.round()
    assert poller.status.failure_count == 1 and "could not be reached" in poller.status.reason
    dovecot.deliver([numbered(2)])
    dovecot.start()
    poller.round()
    assert (poller.status.failure_count, poller.status.reason, len(ids(tmp_path))) == (0, "", 2)


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_wrong_certificate_is_refused_before_the_password_is_said(
    dovecot: Dovecot, authority: Authority, tmp_path: Path, security: str
) -> None:
    port = dovecot.tls_port if security == "tls" else dovecot.plain_port
    other = Authority(tmp_path / "other", "other").ca_file
    for told in ({"ca_file": other}, {"host": "ip6-localhost.example"}, {"ca_file": ""}):
        with pytest.raises(TransportError) as caught:
            box(dovecot, port=port, security=security, **told).waiting()
        assert PASSWORD not in str(caught.value)
        if "host" not in told:
            assert "certificate" in caught.value.message
    assert f"user=<{USER}>" not in dovecot.log.partition("Logged out")[2]
    good = box(dovecot, port=port, security=security)
    assert good.waiting() == []
    good.close()


def test_plain_is_understood_and_a_wrong_password_is_told(dovecot: Dovecot) -> None:
    plain = box(dovecot, port=dovecot.plain_port, security="plain")
    assert plain.waiting() == []
    plain.close()
    with pytest.raises(TransportError, match="did not take the login"):
        box(dovecot, password="wrong").waiting()
    with pytest.raises(TransportError, match="no folder"):
        box(dovecot, folder='No "such" folder').waiting()
