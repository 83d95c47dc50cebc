"""One mail through everything, with real processes: what docs/email.md has a reader do by hand.

A trigger of the shop's server sends it over SMTP; it is opened and its link followed in real Chromium, which buys something; its
reader answers, angrily, and the reply is passed on to the help desk. One subject, one timeline. REFLEXARC_ARTEFACTS names a
folder for screenshots.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reflexarc.backend import Backend
from reflexarc_core.event import Event
from tests.email.postbox import Postbox
from tests.house.rooms import ROOT
from tests.server.kit import wait_for

BROWSER = Path(__file__).parent / "browser"
READER = "known:ann@example.org"
SECRET = "an inbound secret of this test"
REPLY = """\
Terrible. The parcel came broken and nobody answers me, I am very angry and disappointed!

On Mon, Leaf & Kettle <news@shop.example> wrote:
> your order A-17 left our house today.
"""
WAY = [
    ("event", "order_shipped"),
    ("decision", "parcel_letter"),
    ("message", "email"),
    ("event", "email_sent"),
    ("event", "email_open"),
    ("event", "email_click"),
    ("event", "page_view"),
    ("event", "product_interaction"),
    ("event", "page_view"),
    ("event", "purchase"),
    ("event", "email_reply"),
    ("message", "helpdesk"),
]


class Shop(NamedTuple):
    """origin: of the shop's pages. http, grpc: of the server behind it. lines: what it prints, as it comes."""

    origin: str
    http: str
    grpc: str
    lines: list[str]


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def shop(tmp_path: Path, postbox: Postbox) -> Iterator[Shop]:
    with postbox.open() as port:
        command = [sys.executable, str(ROOT / "examples" / "site" / "serve.py"), "--port", "0", "--mail", f"127.0.0.1:{port}"]
        process = subprocess.Popen(
            [*command, "--folder", str(tmp_path / "shop")], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "REFLEXARC_INBOUND_SECRET": SECRET},
        )  # fmt: skip
        lines: list[str] = []
        stdout = process.stdout
        assert stdout is not None
        reading = threading.Thread(target=lambda: lines.extend(iter(stdout.readline, "")), daemon=True)
        reading.start()
        wait_for(lambda: process.poll() is not None or any("the shop is at" in line for line in lines), 60)

        def said(what: str) -> str:
            return next((line.split()[-1].rstrip("/") for line in lines if what in line), "")

        yield Shop(said("the shop is at"), said("HTTP on"), said("listening on"), lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        reading.join(5)
        stdout.close()


def reflexarc(*words: str, stdin: bytes = b"") -> Any:
    """What a command prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "reflexarc_cli", *words], input=stdin, capture_output=True, timeout=60, check=False,
        env={**os.environ, "REFLEXARC_INBOUND_SECRET": SECRET},
    )  # fmt: skip
    assert done.returncode == 0, (words, done.returncode, done.stderr.decode())
    return json.loads(done.stdout)


def answer_to(mail: EmailMessage) -> bytes:
    """What the reader's mail program sends."""
    reply = EmailMessage()
    reply["From"], reply["To"] = "Ann <ann@example.org>", mail["Reply-To"]
    reply["Subject"], reply["Message-ID"] = f"Re: {mail['Subject']}", "<answer-1@example.org>"
    reply["In-Reply-To"] = reply["References"] = mail["Message-ID"]
    reply.set_content(REPLY)
    return reply.as_bytes()


def test_one_mail_is_one_timeline_of_one_subject(shop: Shop, postbox: Postbox, tmp_path: Path) -> None:
    with Backend(shop.grpc, insecure=True) as backend:
        shipped = Event("parcel-17", "order_shipped", READER, 0, {"order_id": "A-17", "name": "Ann"})
        assert backend.track([shipped]) == [("stored", "")]
    wait_for(lambda: postbox.mails, 20)
    [mail] = postbox.mails
    assert (postbox.recipients, mail["Subject"]) == (["ann@example.org"], "Your tea is on its way, Ann")

    page = tmp_path / "mail.html"
    body = mail.get_body(("html",))
    assert body is not None
    page.write_text(body.get_content())
    pictures = os.environ.get("REFLEXARC_ARTEFACTS", "")
    done = subprocess.run(
        ["node", "mail.mjs", shop.origin, page.as_uri(), *([pictures] if pictures else [])],
        cwd=BROWSER, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert (seen["problems"], seen["pixel"], seen["loaded"]) == ([], [200, "image/gif"], True)
    assert seen["hops"][:2] == [[302, "c"], [200, "articles"]]
    landed, _, fragment = seen["landed"].partition("#")
    assert landed.startswith(f"{shop.origin}/articles/brewing?from=parcel&rx_click=")
    assert fragment == "water"

    told = reflexarc("email", "deliver", "--http", shop.http, stdin=answer_to(mail))
    assert (told["verdict"], told["kind"], told["matched_by"], told["queue"]) == ("stored", "reply", "token", "care")
    wait_for(lambda: any("help desk: a negative reply for care" in line for line in shop.lines), 20)
    again = reflexarc("email", "deliver", "--http", shop.http, stdin=answer_to(mail))
    assert again["verdict"] == "duplicate"

    asked = ("--server", shop.grpc, "--insecure", "--subject", READER)
    found = reflexarc("timeline", *asked, "--json")
    entries = found["entries"]
    assert found["older"] == 0
    steps = [(each["kind"], each.get("event_type") or each.get("trigger_id") or each.get("channel")) for each in entries]
    rest = iter(steps)
    assert all(step in rest for step in WAY), steps
    assert [entry["time"] for entry in entries] == sorted(entry["time"] for entry in entries)
    whose = {entry["subject"] for entry in entries}
    [browser] = whose - {READER}
    assert browser.startswith("anonymous:")
    assert reflexarc("timeline", *asked[:3], "--subject", browser, "--json") == found, "asked of either, it is one person"

    def of(event_type: str) -> list[dict[str, Any]]:
        return [{**entry, **entry["properties"]} for entry in entries if entry.get("event_type") == event_type]

    [opened], [clicked], [reply] = of("email_open"), of("email_click"), of("email_reply")
    assert (opened["machine"], clicked["machine"], clicked["client"]) == (False, False, "Chrome")
    assert clicked["url"] == f"{shop.origin}/articles/brewing?from=parcel#water"
    assert [view["page_path"] for view in of("page_view")] == ["/articles/brewing", "/products/sencha", "/checkout"]
    assert "rx_click" not in json.dumps(entries)
    assert (reply["mood"], reply["queue"], reply["priority"]) == ("negative", "care", 1)
    assert reply["text"] == REPLY.partition("\n")[0]
    assert [(entry["channel"], entry["state"]) for entry in entries if entry["kind"] == "message"] == [
        ("email", "sent"), ("helpdesk", "sent"),
    ]  # fmt: skip
    [path] = reflexarc("email", "path", *asked)
    assert path["converted"]
    [counted] = reflexarc("email", "campaigns", *asked[:3], "--json")
    columns = ("mail", "sent", "opened", "clicked", "converted", "replied", "bounced", "machine")
    assert [counted[f"{column}_count"] for column in columns] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert len(postbox.mails) == 1
