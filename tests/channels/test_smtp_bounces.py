"""Who is written to no more, and who only somebody wishes were: bounces and complaints about mail that really went out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reflexarc_core.event import Event
from reflexarc_server.channels.channel import Outgoing, Refused
from reflexarc_server.channels.smtp import SmtpChannel
from reflexarc_server.email.token import REPLY, Mark
from reflexarc_server.inbound.keeping import Keeper
from reflexarc_server.site import read_site
from tests.channels.test_smtp import Postbox, _mail, channel, port, postbox, served
from tests.email.kit import NOW, SIGNER, Served
from tests.inbound.test_message import mail, report

__all__ = ["channel", "port", "postbox", "served"]  # fixtures

TO = "ann@example.org"
Forge = Callable[[str], bytes]
"""The Message-ID of the mail, without brackets -> what comes in."""


def dsn(message_id: str, recipient: str = TO, action: str = "failed") -> bytes:
    fields = f"Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: 5.1.1\n"
    return report("delivery-status", fields).replace(b"ours@shop.example", message_id.encode())


def daemon(message_id: str, recipient: str = TO) -> bytes:
    """As a mail server writes it that knows no reports."""
    body = f"<{recipient}>: 550 5.1.1 no such user\n\n--- Below is a copy.\n\nMessage-ID: <{message_id}>\nSubject: Hello\n"
    return mail("Return-Path: <>\n", "failure notice", body)


def complaint(message_id: str, more: str = "") -> bytes:
    return report("feedback-report", f"Feedback-Type: abuse\n{more}").replace(b"ours@shop.example", message_id.encode())


def blocks(message_id: str, fields: str) -> bytes:
    """A delivery report of any blocks."""
    return report("delivery-status", f"X: y\n\n{fields}").replace(b"ours@shop.example", message_id.encode())


def altered(message_id: str) -> str:
    return ("b" if message_id[0] == "a" else "a") + message_id[1:]


def unsent(message_id: str) -> str:
    return f"{SIGNER.sign(REPLY, Mark('never-sent', 'known:42'))}@shop.example"


@pytest.fixture
def keeper(served: Served) -> Keeper:
    return Keeper(served.server.parts, read_site(served.folder.parent / "site.yaml"))


@pytest.fixture
def message_id(channel: SmtpChannel, postbox: Postbox) -> str:
    """Of a mail that went out."""
    channel.send(_mail())
    return str(postbox.mails[0]["Message-ID"]).strip("<>")


def goes_out(channel: SmtpChannel) -> bool:
    try:
        channel.send(_mail("decision-2"))
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    "written",
    [
        dsn,
        daemon,
        lambda its: dsn(its, "Ann@Example.org"),
        lambda its: mail("X-Failed-Recipients: ann@example.org\n", "Sorry", its),
    ],
    ids=["report", "words", "another case", "header"],
)
def test_a_bounce_about_our_mail_and_its_address_is_believed(
    channel: SmtpChannel, keeper: Keeper, served: Served, message_id: str, written: Forge
) -> None:
    plan = keeper.keep(written(message_id), NOW + 1).plan
    assert (plan.verdict.name, plan.doubt, plan.match.subject) == ("bounce", "", "known:42")
    [event] = served.events("email_bounce")
    assert event.properties["believed"] is True
    if plan.verdict.severity == "hard":
        assert not goes_out(channel)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        (lambda its: dsn("made-up@shop.example"), "no mail of ours"),
        (lambda its: dsn(altered(its)), "no mail of ours"),
        (lambda its: dsn(its.upper().replace("A", "B")), "no mail of ours"),
        (lambda its: dsn(unsent(its)), "did not go out"),
        (lambda its: dsn(its, "eve@example.org"), "another address"),
        (lambda its: dsn(its, "ann@example.org.evil.example"), "another address"),
        (lambda its: dsn(its, ""), "another address"),
        (lambda its: blocks(its, "Action: failed\nStatus: 5.1.1\n"), "another address"),
        (lambda its: blocks(its, f"Action: relayed\nFinal-Recipient: rfc822; {TO}\n\nAction: failed\nStatus: 5.1.1\n"
                                 "Final-Recipient: rfc822; eve@example.org\n"), "another address"),
        (lambda its: daemon("made-up@shop.example"), "no mail of ours"),
        (lambda its: daemon(its, "eve@example.org"), "another address"),
        (lambda its: mail("Return-Path: <>\n", "Undeliverable: Hello", f"550 5.1.1 {TO}\n"), "no mail of ours"),
    ],
)  # fmt: skip
def test_a_forged_bounce_is_labelled_and_stops_nothing(
    channel: SmtpChannel, keeper: Keeper, served: Served, message_id: str, written: Forge, part: str
) -> None:
    plan = keeper.keep(written(message_id), NOW + 1).plan
    assert plan.verdict.name == "bounce" and part in plan.doubt
    [event] = served.events("email_bounce")
    assert event.properties["believed"] is False
    assert goes_out(channel)


def test_another_persons_mail_stops_nobody(channel: SmtpChannel, keeper: Keeper, postbox: Postbox, message_id: str) -> None:
    """Eve has a mail of her own, and says that it could not be delivered to Ann."""
    made = _mail("decision-9", to="eve@example.org")
    channel.send(Outgoing(made.channel, made.key, made.order, made.body, "known:eve"))
    hers = str(postbox.mails[1]["Message-ID"]).strip("<>")
    assert "another address" in keeper.keep(dsn(hers), NOW + 1).plan.doubt
    assert keeper.keep(dsn(hers, "eve@example.org"), NOW + 2).plan.match.subject == "known:eve"
    assert goes_out(channel)


def test_what_a_page_says_of_mail_neither_stops_nor_lifts(
    channel: SmtpChannel, keeper: Keeper, served: Served, message_id: str
) -> None:
    accept = served.server.parts.ingest.accept
    said = {"message_id": "m", "kind": "hard", "status": "5.1.1", "believed": True}
    accept("web/x", [Event("web:shop:1", "email_bounce", "known:42", NOW + 1, said)])
    assert goes_out(channel)
    keeper.keep(dsn(message_id), NOW + 2)
    accept("web/x", [Event("web:shop:2", "email_open", "known:42", NOW + 3, {"message_id": "m", "machine": False})])
    with pytest.raises(Refused, match="mailbox"):
        channel.send(_mail("decision-3"))


def test_an_answer_lifts_a_bounce_only_by_a_token(channel: SmtpChannel, keeper: Keeper, postbox: Postbox) -> None:
    """Ann is known by her address, which anybody can write."""

    def to_ann(key: str) -> Outgoing:
        made = _mail(key)
        return Outgoing(made.channel, made.key, made.order, made.body, f"known:{TO}")

    channel.send(to_ann("decision-1"))
    message_id = str(postbox.mails[0]["Message-ID"]).strip("<>")
    assert keeper.keep(dsn(message_id), NOW + 1).plan.doubt == ""
    assert keeper.keep(mail(), NOW + 2).plan.match.by == "address"
    with pytest.raises(Refused, match="mailbox"):
        channel.send(to_ann("decision-2"))
    assert keeper.keep(mail(f"In-Reply-To: <{message_id}>\n", "Re: Hello"), NOW + 3).plan.match.by == "references"
    channel.send(to_ann("decision-2"))


@pytest.mark.parametrize("more", ["", f"Original-Rcpt-To: {TO}\n", "Source-IP: 192.0.2.1\n"])
def test_a_complaint_about_our_mail_takes_the_consent_back(
    channel: SmtpChannel, keeper: Keeper, served: Served, message_id: str, more: str
) -> None:
    assert keeper.keep(complaint(message_id, more), NOW + 1).plan.doubt == ""
    [event] = served.events("consent")
    assert (event.subject, event.properties["granted"]) == ("known:42", False)
    assert not goes_out(channel)


@pytest.mark.parametrize(
    "written",
    [
        lambda its: complaint("made-up@shop.example"),
        lambda its: complaint(altered(its)),
        lambda its: complaint(its, "Original-Rcpt-To: <eve@example.org>\n"),
    ],
)
def test_a_forged_complaint_is_labelled_and_takes_nothing_back(
    channel: SmtpChannel, keeper: Keeper, served: Served, message_id: str, written: Forge
) -> None:
    assert keeper.keep(written(message_id), NOW + 1).plan.doubt
    [event] = served.events("email_complaint")
    assert (event.properties["believed"], served.events("consent")) == (False, [])
    assert goes_out(channel)


def test_the_log_holds_no_address(served: Served, message_id: str, tmp_path: Path) -> None:
    [event] = served.events("email_sent")
    digest = str(event.properties["recipient"])
    assert SIGNER.is_recipient(digest, "ANN@example.org") and not SIGNER.is_recipient(digest, "ann@example.com")
    assert TO not in repr(event) and len(digest) == 32
