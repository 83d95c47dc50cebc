"""Mail made to take long, or to be too deep, at its full length: none takes longer than its length asks for."""

from __future__ import annotations

import time

import pytest

from reflexarc_server.inbound.html_text import HTML_LENGTH_MAX, text_of_html
from reflexarc_server.inbound.matching import NoLog
from reflexarc_server.inbound.message import PART_COUNT_MAX, TEXT_LENGTH_MAX
from reflexarc_server.inbound.reply_text import reply_text
from reflexarc_server.inbound.taking import Plan, Taker
from reflexarc_server.site.replies import Replies
from tests.email.kit import SIGNER

CPU_S_MAX = 6.0
"""Each takes less than one on a machine of its own; what began anew at every line took minutes, or hours."""


def planned(content: bytes) -> Plan:
    return Taker(SIGNER, NoLog(), Replies(), None, "email").plan(content, 0)


def filled(piece: str, length: int) -> str:
    return (piece * (length // len(piece) + 1))[:length]


@pytest.mark.parametrize(
    "piece",
    ["On Mon, Shop <news@shop.example> wrote:\n> buy\n\ntext\n", "To: x\n", "From: x\nx\nSubject: y\nx\n\n", "x\n", "- ",
     "> x\n---\n", "On Mon 12 Jan 2020\n", "-- \nx\n", "a@", "a", "\n"],
)  # fmt: skip
def test_a_reply_is_found_in_time(piece: str) -> None:
    text = filled(piece, TEXT_LENGTH_MAX - 10)
    begun = time.process_time()
    reply_text(text)
    reply_text(f"> q\n\n{text}\n> q\n")
    assert time.process_time() - begun < CPU_S_MAX


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a/",
        "<!--",
        "<?",
        "</",
        "<!",
        "<",
        "&",
        "&#x",
        "<a x='",
        "<![CDATA[",
        "<script>",
        "<blockquote>",
        "<td>",
        "<!doctype [",
    ],
)
def test_html_is_read_in_time(piece: str) -> None:
    begun = time.process_time()
    text_of_html(filled(piece, HTML_LENGTH_MAX))
    assert time.process_time() - begun < CPU_S_MAX


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: text/plain; charset=punycode\n\n-" + b"9" * 800_000,
        b"Content-Type: text/plain; charset=idna\n\n" + b"a." * 400_000,
        b"".join(b"X-%d: " % place + b"=?a?q?" * 2_700 + b"\n" for place in range(20)) + b"\nx",
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: text/html\n\n" * PART_COUNT_MAX,
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000,
        b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=" * 5_000_000,
        b"Return-Path: <>\nSubject: undeliverable\n\n" + b"a" * 200_000,
    ],
    ids=["punycode", "idna", "encoded words", "html parts", "parts", "quoted printable", "one word"],
)
def test_a_mail_is_read_in_time(content: bytes) -> None:
    begun = time.process_time()
    planned(content)
    assert time.process_time() - begun < CPU_S_MAX


def test_many_lines_between_quoted_ones_are_no_recursion() -> None:
    text = "> q\n\n" + "x\n" * 3_000 + "> q\n"
    assert reply_text(text).count("x") == 3_000


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a < b <c", "a < b"),
        ("<a title='x > y'>z</a> &amp; &#228;&nbsp;&#99999999999;!", "z & ä \ufffd!"),
        ("<!-- <p>a</p> -->b<!x>c<?y?>d</ e>f", "bcdf"),
        ("<textarea><b>a</textarea><style>b</style><script>if (a</b) {}</script>c", "<b>ac"),
        ("<p a=b>x<br/>y<p\n>z", "x\ny\n\nz"),
        ("<a href=x=\"y>z\">w", 'z">w'),
        (f"&#{'9' * 5_000};", "\ufffd"),
        ("<b", ""),
        ("x<", "x<"),
    ],
)  # fmt: skip
def test_tags_are_read_as_a_browser_reads_them(html: str, text: str) -> None:
    assert text_of_html(html) == text
