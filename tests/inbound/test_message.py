"""Reading any mail: every file of a real set, broken ones, large ones; and what each is."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc_server.inbound.html_text import text_of_html
from reflexarc_server.inbound.kind import AUTO_REPLY, BOUNCE, COMPLAINT, HARD, LIST, REPLY, SOFT, kind_of
from reflexarc_server.inbound.message import DEPTH_MAX, TEXT_LENGTH_MAX, read_mail

HEAD = "From: Ann <Ann@Example.org>\nTo: reply@shop.example\nSubject: {title}\nMessage-ID: <a@example.org>\n"


def mail(more: str = "", title: str = "Re: Spring", body: str = "Thanks!\n") -> bytes:
    return f"{HEAD.format(title=title)}{more}\n{body}".encode()


def report(kind: str, fields: str, more: str = "") -> bytes:
    """A multipart/report with fields and the headers of what it is about."""
    body = (
        f"--b\nContent-Type: text/plain\n\nSorry.\n--b\nContent-Type: message/{kind}\n\n{fields}\n"
        "--b\nContent-Type: message/rfc822\n\nMessage-ID: <ours@shop.example>\nSubject: x\n\nhello\n--b--\n"
    )
    return mail(f"MIME-Version: 1.0\nContent-Type: multipart/report; report-type={kind}; boundary=b\n{more}", "Report", body)


def test_every_mail_of_the_set_is_read(real_sets: Path) -> None:
    files = sorted((real_sets / "email_mime_cpython").glob("msg_*.txt"))
    assert len(files) >= 48
    kinds = {path.stem: kind_of(read_mail(path.read_bytes())) for path in files}
    assert {name for name, kind in kinds.items() if kind.name == BOUNCE} == {"msg_05", "msg_16", "msg_25", "msg_43"}
    assert {name: (kinds[name].severity, kinds[name].status) for name in ("msg_16", "msg_25", "msg_43")} == {
        "msg_16": (HARD, "5.0.0"), "msg_25": (HARD, "5.4.6"), "msg_43": (HARD, "5.7.1"),
    }  # fmt: skip


def test_what_a_mail_says_is_read() -> None:
    found = read_mail(mail(
        "Cc: b@x.example\nDelivered-To: reply+tok@shop.example\nIn-Reply-To: <1@x>\nReferences: <0@x>\n <1@x>\n"
        "Date: Fri, 21 Nov 1997 09:55:06 -0600\nX-Odd: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"
    ))  # fmt: skip
    assert (found.sender, found.message_id, found.title) == ("ann@example.org", "a@example.org", "Re: Spring")
    assert found.recipients == ("reply@shop.example", "b@x.example", "reply+tok@shop.example")
    assert (found.in_reply_to, found.references) == (("1@x",), ("0@x", "1@x"))
    assert (found.date, found.text, found.header("X-Odd")) == (880_127_706_000, "Thanks!\n", "Grüße")


def test_plain_text_wins_over_html_and_html_alone_becomes_text() -> None:
    both = "--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b--\n"
    assert read_mail(mail("Content-Type: multipart/alternative; boundary=b\n", body=both)).text.strip() == "plain"
    alone = read_mail(mail("Content-Type: text/html\n", body="<style>x</style><p>One &amp; two<br>three</p>"))
    assert (alone.is_html, alone.text) == (True, "One & two\nthree")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<blockquote>b<blockquote>c</blockquote></blockquote>d", "a\n> b\n> > c\n\nd"),
        ("<script>alert(1)</script>x<script>", "x"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<head><title>t</title><body>b", "b"),
        ("<ul><li>a<li>b</ul>", "- a\n- b"),
        ("<pre>a\n  b</pre>", "a\n  b"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    assert [line for line in text_of_html(html).split("\n") if line.strip("> ")] == [line for line in text.split("\n") if line]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", b"\n\n", b"From: \xff\xfe\n\n\xff", b"From: =?x?q?=zz?=\nDate: 99 Foo\n\nx",
        b"Content-Type: text/plain; charset=klingon\n\nx\xe4", b"Content-Type: text/plain; charset=\"a\\0b\"\n\nx",
        b"Content-Type: multipart/mixed\n\nno boundary", b"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n--",
        b"Content-Transfer-Encoding: base64\n\n!!!!", b"Content-Type: message/rfc822\n\n", b"Content-Type: ;;;=\n\nx",
        b"Content-Type: text/plain; charset*=x'y'%zz\n\nx", b"Message-ID: <\n\n", b"To: <<>>,,;:@\n\n",
        b"Content-Type: message/rfc822\n\n" * 3_000, b"A: b\n" * 50_000 + b"\nx", b"From: " + b"(" * 100_000 + b"\n\nx",
    ],
)  # fmt: skip
def test_nothing_that_is_broken_raises(content: bytes) -> None:
    kind_of(read_mail(content))


def test_depth_and_length_are_bounded() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(DEPTH_MAX * 4))
    assert "deep" not in read_mail(nested + b"\ndeep").text
    assert len(read_mail(mail(body="x" * (TEXT_LENGTH_MAX + 5))).text) == TEXT_LENGTH_MAX


@pytest.mark.parametrize(
    ("content", "name", "severity", "status"),
    [
        (report("delivery-status", "Reporting-MTA: dns; x\n\nAction: failed\nStatus: 5.1.1\n"), BOUNCE, HARD, "5.1.1"),
        (report("delivery-status", "Reporting-MTA: dns; x\n\nAction: failed\nStatus: 5.2.2\n"), BOUNCE, SOFT, "5.2.2"),
        (report("delivery-status", "Reporting-MTA: dns; x\n\nAction: failed\nStatus: 4.4.7\n"), BOUNCE, SOFT, "4.4.7"),
        (report("delivery-status", "Reporting-MTA: dns; x\n\nAction: delayed\nStatus: 4.4.1\n"), BOUNCE, SOFT, "4.4.1"),
        (report("delivery-status", "X: y\n\nAction: failed\nDiagnostic-Code: smtp; 550 no such user\n"), BOUNCE, HARD, "550"),
        (report("delivery-status", "X: y\n\nAction: delivered\nStatus: 2.0.0\n"), AUTO_REPLY, "", ""),
        (report("disposition-notification", "Disposition: automatic-action; displayed\n"), AUTO_REPLY, "", ""),
        (report("feedback-report", "Feedback-Type: abuse\nVersion: 1\n"), COMPLAINT, "", "abuse"),
        (report("feedback-report", "Feedback-Type: not-spam\nVersion: 1\n"), AUTO_REPLY, "", "not-spam"),
        (mail("Return-Path: <>\n", "Undeliverable: Spring", "550 5.1.1 no such user"), BOUNCE, HARD, "5.1.1"),
        (mail("Return-Path: <>\n", "Mail delivery failed", "who knows"), BOUNCE, SOFT, ""),
        (mail("X-Failed-Recipients: b@x.example\n"), BOUNCE, SOFT, ""),
    ],
)
def test_reports_are_told_apart(content: bytes, name: str, severity: str, status: str) -> None:
    found = kind_of(read_mail(content))
    assert (found.name, found.severity, found.status) == (name, severity, status)


def test_a_report_says_which_mail_it_is_about() -> None:
    found = read_mail(report("feedback-report", "Feedback-Type: abuse\n")).report
    assert found is not None
    assert found.message_ids == ("ours@shop.example",)


@pytest.mark.parametrize(
    ("more", "title", "name"),
    [
        ("Auto-Submitted: auto-replied (vacation)\n", "Re: Spring", AUTO_REPLY),
        ("Auto-Submitted: no\n", "Re: Spring", REPLY),
        ("X-Autoreply: yes\n", "Re: Spring", AUTO_REPLY),
        ("X-Auto-Response-Suppress: DR, OOF\n", "Re: Spring", AUTO_REPLY),
        ("X-Auto-Response-Suppress: None\n", "Re: Spring", REPLY),
        ("Precedence: auto_reply\n", "Re: Spring", AUTO_REPLY),
        ("Precedence: bulk\n", "Re: Spring", AUTO_REPLY),
        ("Precedence: bulk\nList-Id: <l.example>\n", "Re: Spring", LIST),
        ("Precedence: list\n", "Re: Spring", LIST),
        ("Return-Path: <>\n", "Hello", AUTO_REPLY),
        *(("", title, AUTO_REPLY) for title in (
            "Automatic reply: Spring", "Out of office: Re: Spring", "Abwesenheitsnotiz", "Automatische Antwort: x",
            "Réponse automatique : x", "Respuesta automática: x", "Risposta automatica: x", "Automatisch antwoord: x",
            "自動応答: x", "Автоответ: x",
        )),
        ("", "Re: Automatic reply: Spring", REPLY),
        ("", "Automatic doors", REPLY),
        ("", "Mail delivery to my office", REPLY),
    ],
)  # fmt: skip
def test_what_a_machine_wrote_is_no_reply(more: str, title: str, name: str) -> None:
    assert kind_of(read_mail(mail(more, title))).name == name
