"""Inbound mail over the real HTTP port: signed, matched, routed, stored once."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from standardwebhooks.webhooks import Webhook

from reflexarc.definitions import load_catalog
from reflexarc_cli.email_commands import email
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_server.app import Server, http_options, start_server
from reflexarc_server.collect.identifying import known_id_of
from reflexarc_server.email.token import REPLY, Mark, sent_event_id
from reflexarc_server.inbound.signature import HEADER, signed
from reflexarc_server.log_reader import LogReader
from reflexarc_server.site import read_site
from reflexarc_server.testing.channel import Receiver
from tests.email.kit import NOW, SIGNER, SITE, site_of
from tests.inbound.test_message import mail, report
from tests.server.kit import ManualClock, wait_for

SECRET = "an inbound secret of the tests"
RULES = """
replies:
  secrets: [env:INBOUND]
  rules:
    - {name: spam, kind: complaint, queue: abuse, priority: 1}
    - {name: angry, kind: reply, mood: negative, queue: care, priority: 2, channel: desk}
    - {name: german, kind: reply, language: [de], queue: support-de}
    - {name: invoices, title: "(?i)invoice", queue: billing}
    - {name: strangers, kind: reply, matched: false, queue: unknown, priority: 9}
  default: {queue: inbox, priority: 5}
"""
SHORT = SIGNER.sign(REPLY, Mark("m-1"))
LONG = SIGNER.sign(REPLY, Mark("m-1", "known:42"))
TO_US = f"Delivered-To: reply+{SHORT}@shop.example\n"


@pytest.fixture
def desk() -> Receiver:
    return Receiver("desk")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: Receiver, clock: ManualClock) -> Iterator[Server]:
    monkeypatch.setenv("INBOUND", SECRET)
    started = start_server(
        tmp_path / "server", "127.0.0.1:0", load_catalog(None), clock, insecure=True,
        http=http_options("127.0.0.1:0", None), site=site_of(tmp_path, monkeypatch, RULES), channels=[desk],
    )  # fmt: skip
    yield started
    started.stop()


def post(server: Server, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """(status, the JSON answer). headers: without, signed as it should be."""
    assert server.http is not None
    headers = {HEADER: signed(SECRET, NOW // 1_000, body)} if headers is None else headers
    with contextlib.closing(http.client.HTTPConnection(server.http.address, timeout=20)) as connection:
        connection.request("POST", "/inbound/email", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def stored(tmp_path: Path) -> list[Event]:
    return [event for _, event in LogReader(tmp_path / "server").events() if event.event_type != "email_sent"]


def sent(server: Server) -> None:
    event = Event(sent_event_id("m-1"), "email_sent", "known:42", NOW, {"message_id": "m-1", "campaign": "spring"})
    server.parts.ingest.accept("email", [event])


def test_a_reply_becomes_an_event_of_whom_the_mail_went_to_once(server: Server, tmp_path: Path) -> None:
    sent(server)
    body = mail(TO_US, body="Great, thank you so much!\n\nOn Mon, Shop <news@shop.example> wrote:\n> buy\n")
    status, told = post(server, body)
    assert (status, told["verdict"], told["kind"], told["matched_by"]) == (200, "stored", "reply", "token")
    assert post(server, b"Received: by another way\n" + body)[1]["verdict"] == "duplicate"
    (event,) = stored(tmp_path)
    assert (event.event_type, event.subject) == ("email_reply", "known:42")
    said = event.properties
    assert (said["text"], said["message_id"], said["campaign"]) == ("Great, thank you so much!", "m-1", "spring")
    assert (said["mood"], said["language"], said["queue"], said["priority"]) == ("positive", "en", "inbox", 5)


@pytest.mark.parametrize(
    ("content", "event_type", "subject", "by"),
    [
        (mail(f"In-Reply-To: <{LONG}@shop.example>\n"), "email_reply", "known:42", "references"),
        (mail(f"References: <{LONG}@shop.example> <x@y>\n"), "email_reply", "known:42", "references"),
        (mail(TO_US + "Auto-Submitted: auto-replied\n"), "email_auto_reply", "known:42", "token"),
        (mail(TO_US + "List-Id: <l.example>\n"), "email_auto_reply", "known:42", "token"),
        (report("delivery-status", "X: y\n\nAction: failed\nStatus: 5.1.1\n").replace(b"ours", LONG.encode()),
         "email_bounce", "known:42", "references"),
        (mail("Return-Path: <>\n", "Undeliverable: x", f"550 no\nMessage-ID: <{LONG}@shop.example>"),
         "email_bounce", "known:42", "references"),
    ],
)  # fmt: skip
def test_each_kind_is_matched(server: Server, tmp_path: Path, content: bytes, event_type: str, subject: str, by: str) -> None:
    sent(server)
    assert post(server, content)[0] == 200
    (event,) = stored(tmp_path)
    assert (event.event_type, event.subject, event.properties["matched_by"]) == (event_type, subject, by)


def test_a_complaint_takes_the_consent_back(server: Server, tmp_path: Path) -> None:
    body = report("feedback-report", "Feedback-Type: abuse\n").replace(b"ours", LONG.encode())
    assert post(server, body)[1]["queue"] == "abuse"
    assert {(e.event_type, e.subject, e.properties.get("granted")) for e in stored(tmp_path)} == {
        ("email_complaint", "known:42", None), ("consent", "known:42", False),
    }  # fmt: skip


def test_a_sender_is_matched_by_address_and_a_stranger_is_kept(server: Server, tmp_path: Path) -> None:
    _, told = post(server, mail())
    assert (told["verdict"], told["matched_by"], told["queue"], told["priority"]) == ("stored", "nothing", "unknown", 9)
    (event,) = stored(tmp_path)
    assert event.subject.startswith("anonymous:mail-")
    server.parts.ingest.accept("crm", [Event("e1", "email_sent", "known:ann@example.org", NOW, {"message_id": "old"})])
    _, told = post(server, mail(title="Re: another"))
    assert (told["matched_by"], told["queue"]) == ("address", "inbox")


def test_a_sender_is_matched_where_known_ids_hide_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: Receiver
) -> None:
    monkeypatch.setenv("INBOUND", SECRET)
    monkeypatch.setenv("IDENTITY", "a secret of known ids, of 32 bytes")
    started = start_server(
        tmp_path / "server", "127.0.0.1:0", load_catalog(None), ManualClock(NOW), insecure=True,
        http=http_options("127.0.0.1:0", None), channels=[desk],
        site=site_of(tmp_path, monkeypatch, RULES + "identity: {secret: env:IDENTITY}\n"),
    )  # fmt: skip
    assert post(started, mail(title="Re: first"))[1]["matched_by"] == "nothing"
    [stranger] = {event.subject for event in stored(tmp_path)}
    person = f"known:{known_id_of('Ann@example.org', b'a secret of known ids, of 32 bytes')}"
    started.parts.ingest.accept("crm", [Event("e1", "email_sent", person, NOW, {"message_id": "old"})])
    assert post(started, mail(title="Re: second"))[1]["matched_by"] == "address"
    assert {event.subject for event in stored(tmp_path)} == {stranger, person}
    assert "ann@" not in repr([event.subject for event in stored(tmp_path)]), "nobody's address is a name"
    started.parts.ingest.accept("crm", [Event("e2", "email_sent", "known:bob@example.org", NOW, {"message_id": "old"})])
    bob = mail(title="Re: third").replace(b"ann@example.org", b"bob@example.org")
    assert post(started, bob)[1]["matched_by"] == "address", "who was known by it before the secret came"
    started.stop()


def test_a_forged_token_matches_nothing(server: Server) -> None:
    forged = SHORT[:-1] + ("a" if SHORT[-1] != "a" else "b")
    assert post(server, mail(f"Delivered-To: reply+{forged}@shop.example\n"))[1]["matched_by"] == "nothing"


def test_rules_choose_queue_and_channel(server: Server, desk: Receiver) -> None:
    body = mail(TO_US, body="This is terrible, I am very angry and disappointed!\n")
    _, told = post(server, body)
    assert (told["queue"], told["priority"]) == ("care", 2)
    post(server, body)
    wait_for(lambda: told["event_id"] in desk.taken)
    assert [outgoing.key for outgoing in desk.attempts] == [told["event_id"]]
    assert post(server, mail(title="Your Invoice"))[1]["queue"] == "billing"


def test_a_mail_and_what_a_rule_sends_on_are_stored_together_or_not_at_all(
    server: Server, tmp_path: Path, desk: Receiver
) -> None:
    """A disk that fails between the two: the mail provider hears that it failed, and its next attempt does both."""
    store = server.parts.store
    with store.transaction() as transaction:
        transaction.run("CREATE TRIGGER broken BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END", ())
    body = mail(TO_US, body="This is terrible, I am very angry and disappointed!\n")
    assert post(server, body)[0] == 503
    assert stored(tmp_path) == []
    with store.transaction() as transaction:
        transaction.run("DROP TRIGGER broken", ())
    _, told = post(server, body)
    assert told["verdict"] == "stored"
    wait_for(lambda: told["event_id"] in desk.taken)
    with store.transaction() as transaction:  # long after, its key is forgotten: a copy is a copy all the same
        transaction.run("DELETE FROM outbox", ())
    assert post(server, body)[1]["verdict"] == "duplicate"
    assert server.parts.outbox.counts()["desk"]["open"] == 0
    assert len(desk.attempts) == 1


def test_wrong_signatures_and_copies_are_refused(server: Server, tmp_path: Path, clock: ManualClock) -> None:
    body = mail(TO_US)
    good = {HEADER: signed(SECRET, NOW // 1_000, body)}
    assert post(server, body, {})[0] == 401
    assert post(server, body, {HEADER: signed("another secret of 16", NOW // 1_000, body)})[0] == 401
    assert post(server, body + b"x", good)[0] == 401
    for apart in (301_000, -301_000):
        clock.now = NOW + apart
        assert post(server, body, good)[0] == 401
    assert stored(tmp_path) == []
    for apart, verdict in ((-300_000, "stored"), (0, "duplicate"), (300_000, "duplicate")):
        clock.now = NOW + apart
        status, told = post(server, body, good)
        assert (status, told["verdict"], len(stored(tmp_path))) == (200, verdict, 1)
    clock.now = NOW + 301_000
    assert (post(server, body, good)[0], len(stored(tmp_path))) == (401, 1)


def test_standard_webhooks_are_understood(server: Server) -> None:
    import base64
    from datetime import UTC, datetime

    body = mail(TO_US)
    hook = Webhook(base64.b64encode(SECRET.encode()).decode())
    made = hook.sign("id-1", datetime.fromtimestamp(NOW // 1_000, UTC), body.decode())
    headers = {"webhook-id": "id-1", "webhook-timestamp": str(NOW // 1_000), "webhook-signature": made}
    assert post(server, body, headers)[0] == 200
    assert post(server, body, {**headers, "webhook-id": "id-2"})[0] == 401


def test_the_dry_run_says_what_would_happen_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INBOUND", SECRET)
    site_of(tmp_path, monkeypatch, RULES)
    (tmp_path / "a.eml").write_bytes(mail(f"In-Reply-To: <{LONG}@shop.example>\n", body="Das ist leider sehr schlecht\n"))
    done = CliRunner().invoke(email, ["route", "--site", str(tmp_path / "site.yaml"), str(tmp_path / "a.eml")])
    said = json.loads(done.output)
    assert (said["rule"], said["queue"], said["channel"], said["mood"]) == ("angry", "care", "desk", "negative")
    assert (said["subject"], said["matched_by"], said["language"]) == ("known:42", "references", "de")


def test_mistakes_of_the_section_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_KEY", "k" * 32)
    monkeypatch.setenv("INBOUND", "short")
    path = tmp_path / "site.yaml"
    path.write_text(
        SITE + "replies:\n  secrets: [env:INBOUND]\n  rules:\n    - {name: a, kind: replies, title: '('}\n    - {x: 1}\n"
    )
    with pytest.raises(DefinitionError) as caught:
        read_site(path)
    for part in ("too short", "no kind 'replies'", "title", "has no name", "no field 'x'"):
        assert part in str(caught.value)


def test_a_mail_servers_pipe_hands_a_mail_in_and_keeps_it_when_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: Receiver
) -> None:
    monkeypatch.setenv("INBOUND", SECRET)
    started = start_server(
        tmp_path / "server", "127.0.0.1:0", load_catalog(None), insecure=True, http=http_options("127.0.0.1:0", None),
        site=site_of(tmp_path, monkeypatch, RULES), channels=[desk],
    )  # fmt: skip
    assert started.http is not None
    words = ["deliver", "--http", started.http.address]
    done = CliRunner().invoke(email, words, mail(TO_US), env={"REFLEXARC_INBOUND_SECRET": SECRET})
    assert json.loads(done.output)["verdict"] == "stored"
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "a.eml").write_bytes(mail(TO_US))
    done = CliRunner().invoke(email, [*words, "--secret-file", str(tmp_path / "secret"), str(tmp_path / "a.eml")])
    assert json.loads(done.output)["verdict"] == "duplicate"
    for secret in ("", "another secret of these tests"):
        done = CliRunner().invoke(email, words, mail(TO_US), env={"REFLEXARC_INBOUND_SECRET": secret})
        assert done.exit_code == 75
        assert secret == "" or secret not in done.output
    started.stop()
    done = CliRunner().invoke(email, words, mail(TO_US), env={"REFLEXARC_INBOUND_SECRET": SECRET})
    assert done.exit_code == 75
