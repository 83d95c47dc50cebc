"""Inbound mail under fuzz: any bytes are a mail, its event can be stored, nobody's token is in it, and it takes no time.

The same bytes are looked at as a mail, as the text of one, as its HTML and as its signature; once more many times over, because
what takes too long for its length does so on long input first.
"""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

NAME: Final = "inbound mail"
TIMES: Final = 64
CPU_S_MAX: Final = 4.0
"""Of one look at 64 times 4 KiB, instrumented, on a slow machine; the usual look takes a hundredth."""
SEED_BYTES_MAX: Final = 4_096
SECRET: Final = "a secret of the fuzzer"


def opened(broken: type[Exception]) -> Callable[[bytes], None]:
    """The target: the first byte chooses what the rest is."""
    from reflexarc.definitions import load_catalog
    from reflexarc_core.errors import InvalidEventError, UnauthenticatedError
    from reflexarc_server.clock import SystemClock
    from reflexarc_server.email.happening import SOURCE
    from reflexarc_server.email.token import Signer
    from reflexarc_server.inbound.html_text import text_of_html
    from reflexarc_server.inbound.matching import REFERENCES, TOKEN, NoLog
    from reflexarc_server.inbound.reply_text import reply_text
    from reflexarc_server.inbound.signature import HEADER, check
    from reflexarc_server.inbound.taking import TEXT_BYTES_MAX, Taker
    from reflexarc_server.records import tracked_row
    from reflexarc_server.site.replies import Replies, Route, Rule

    types, clock = load_catalog(None).event_types, SystemClock()
    rules = (Rule(Route("titled", "titled"), title="(?i)re:.*"), Rule(Route("angry", "care"), moods=("negative",)))
    taker = Taker(Signer([b"a key of the fuzzer, 32 bytes long"]), NoLog(), Replies((), rules), None, "email")

    def mail(content: bytes) -> None:
        plan = taker.plan(content, clock.now_ms())
        if plan.match.by in (TOKEN, REFERENCES):
            raise broken("bytes that nobody signed are a token")
        if len(plan.text.encode("utf-8", "replace")) > TEXT_BYTES_MAX or "\0" in plan.text:
            raise broken(f"a text of {len(plan.text)} characters")
        again = taker.plan(content.replace(b"\r\n", b"\n"), clock.now_ms())
        if b"\r" not in content and again.events[0].event_id != plan.events[0].event_id:
            raise broken("the same mail has two ids")
        for event in plan.events:
            try:
                properties, _ = types[event.event_type].conform(event.properties)
                tracked_row(replace(event, properties=properties), SOURCE, clock.now_ms())
            except InvalidEventError as error:
                raise broken(f"a mail that no event can hold: {error}") from None

    def text(content: bytes) -> None:
        said = content.decode("utf-8", "replace")
        if len(reply_text(said)) > len(said) + 1:
            raise broken("a reply grew")

    def html(content: bytes) -> None:
        text_of_html(content.decode("utf-8", "replace"))

    def signature(content: bytes) -> None:
        first, _, rest = content.partition(b"\n")
        said = first.decode("latin-1")
        names = (HEADER, "webhook-id", "webhook-timestamp", "webhook-signature")
        try:
            check({HEADER: said} if len(rest) % 2 else dict.fromkeys(names[1:], said), rest, [SECRET], clock.now_ms())
        except UnauthenticatedError:
            return
        raise broken("bytes that nobody signed are signed")

    looks = (mail, text, html, signature)

    def target(content: bytes) -> None:
        if not content:
            return
        look, body = looks[content[0] % len(looks)], content[1:]
        begun = time.process_time()
        try:
            look(body * TIMES if content[0] >= 128 else body)
        except broken:
            raise
        except Exception as error:
            raise broken(f"{look.__name__} raises {type(error).__name__}: {error}") from error
        took = time.process_time() - begun
        if took > CPU_S_MAX:
            raise broken(f"{look.__name__} took {took:.1f} s: {b64encode(content).decode()}")

    return target


def seeds() -> list[bytes]:
    """Mails that mean something: of our own, and of the public sets where they are."""
    from tests.inbound.test_message import mail, report

    own = [
        mail("Auto-Submitted: auto-replied\n"),
        report(
            "delivery-status", "Reporting-MTA: dns; x\n\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822; a@b.example\n"
        ),
        report("feedback-report", "Feedback-Type: abuse\nOriginal-Rcpt-To: a@b.example\n"),
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<blockquote>x<br>y</blockquote>\n--b--\n",
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n",
    ]
    texts = [b"Thanks!\n\nOn Mon, Shop <news@shop.example> wrote:\n> buy\n", b"Hallo\n-- \nAnn\n", b"> a\n>> b\nc\n"]
    html = [b"<p>One &amp; two<br>three</p><blockquote><blockquote>x", b"<script>x</script><table><tr><td>a<td>b</table>"]
    signed = [b"t=1700000000,v1=" + b"0" * 64 + b"\nbody.", b"v1,AAAA v1,BBBB\nbody"]
    found = [
        bytes([way + kind]) + content
        for kind, contents in enumerate((own, texts, html, signed))
        for content in contents
        for way in (0, 128)
    ]
    if os.environ.get("REFLEXARC_DATA"):
        sets = Path(os.environ["REFLEXARC_DATA"])
        for kind, name in enumerate(("email_mime_cpython", "email_replies_discourse/emails")):
            paths = sorted(path for path in (sets / name).glob("*") if path.is_file())
            found += [bytes([kind]) + path.read_bytes()[:SEED_BYTES_MAX] for path in paths]
    return found
