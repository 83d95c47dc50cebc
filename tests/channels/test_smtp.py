"""Mail as a channel, against a real SMTP server on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_server.channels.channel import Outgoing, Refused, Unreachable
from reflexarc_server.channels.smtp import SmtpChannel
from reflexarc_server.email.compose import Templates
from reflexarc_server.email.token import OPEN, REPLY, UNSUBSCRIBE, message_id_of
from reflexarc_server.site import read_site
from tests.email.kit import KEY, SIGNER, SITE, Served, token_of
from tests.email.postbox import Postbox
from tests.server.kit import ManualClock

NOW = 1_700_000_000_000


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def port(postbox: Postbox) -> Iterator[int]:
    with postbox.open() as port:
        yield port


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[Served]:
    monkeypatch.setenv("MAIL_KEY", KEY.decode())
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "back.subject").write_text("We miss you, {{ name }}\n")
    (tmp_path / "mails" / "back.html").write_text('<p>{{name}} <a href="https://shop.example/?a=1&amp;b=2">x</a></p>')
    (tmp_path / "mails" / "back.txt").write_text("{{name}}: https://shop.example/\n{{unsubscribe_url}}\n")
    more = f"  templates: mails\n  utm: {{utm_source: mail}}\n  smtp: {{host: 127.0.0.1, port: {port}, security: plain}}\n"
    path = tmp_path / "site.yaml"
    path.write_text(SITE + more)
    started = Served(tmp_path / "server", read_site(path), ManualClock(NOW))
    yield started
    started.stop()


@pytest.fixture
def channel(served: Served) -> SmtpChannel:
    site = read_site(served.folder.parent / "site.yaml")
    assert site.email.smtp is not None
    return SmtpChannel(served.server.parts, site, site.email.smtp)


def _mail(key: str = "decision-1", **payload: Any) -> Outgoing:
    fields = {"to": "ann@example.org", "title": "Hello", "html": '<a href="https://shop.example/">x</a>'} | payload
    return Outgoing("email", key, "known:42", {"kind": "action", "action": "win_back", "payload": fields}, "known:42")


def test_a_folder_of_templates_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=rf"there is no folder {tmp_path}/mails \(make it and put NAME.subject "):
        Templates(tmp_path / "mails")


def test_the_hour_of_an_open_is_the_readers_own_where_it_is_known(channel: SmtpChannel, postbox: Postbox, served: Served) -> None:
    seen = Event("p1", "page_view", "known:42", NOW, {"page_url": "/"}, {"offset_minutes": 120})
    served.server.parts.ingest.accept("web/b", [seen])
    channel.send(_mail(template="back", name="Ann"))
    body = postbox.mails[0].get_body(("html",))
    assert body is not None
    served.ask("/o/" + body.get_content().partition("https://go.example/o/")[2].partition('"')[0])
    [opened] = served.events("email_open")
    assert opened.properties["hour_of_week"] == 48, "22:13 on a Tuesday is Wednesday there"


def test_a_message_is_whole_on_the_wire(channel: SmtpChannel, postbox: Postbox, served: Served) -> None:
    channel.send(_mail(template="back", name="Ann <b>"))
    [mail] = postbox.mails
    assert postbox.recipients == ["ann@example.org"]
    assert (mail["From"], mail["Subject"]) == ("Shop <news@shop.example>", "We miss you, Ann <b>")
    assert mail["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    local, _, domain = mail["Message-ID"].strip("<>").partition("@")
    mark = SIGNER.read(REPLY, local, NOW)
    assert (mark.message_id, mark.subject, domain) == (message_id_of("decision-1"), "known:42", "shop.example")
    reply, _, _ = mail["Reply-To"].partition("@")
    assert len(reply) <= 64
    assert SIGNER.read(REPLY, reply.removeprefix("reply+"), NOW).message_id == mark.message_id
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert SIGNER.read(UNSUBSCRIBE, token_of(mail["List-Unsubscribe"].strip("<>")), NOW).subject == "known:42"
    assert mail.get_content_type() == "multipart/alternative"
    html, text = (mail.get_body((kind,)) for kind in ("html", "plain"))
    assert html is not None and text is not None
    content = html.get_content()
    assert content.startswith('<p>Ann &lt;b&gt; <a href="https://go.example/c/')
    assert SIGNER.read(OPEN, token_of(content[content.index("https://go.example/o/") :].partition('"')[0]), NOW).made_time == NOW
    assert text.get_content().startswith("Ann <b>: https://go.example/c/")
    [event] = served.events("email_sent")
    assert (event.subject, event.event_time) == ("known:42", NOW)
    digest = SIGNER.recipient_digest("ann@example.org")
    assert event.properties == {
        "message_id": mark.message_id, "campaign": "win_back", "link_count": 2, "recipient": digest,
    }  # fmt: skip


def test_a_message_that_was_sent_is_not_sent_again(channel: SmtpChannel, postbox: Postbox, served: Served) -> None:
    channel.send(_mail())
    channel.send(_mail())
    channel.send(_mail("decision-2"))
    assert len(postbox.mails) == 2
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 2
    assert len(served.events("email_sent")) == 2


def test_an_attempt_whose_end_nobody_saw_has_the_same_id(
    channel: SmtpChannel, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(channel, "_keep", lambda event: (_ for _ in ()).throw(OSError("the power went")))
        with pytest.raises(OSError, match="power"):
            channel.send(_mail())
    channel.send(_mail())
    first, second = postbox.mails
    assert first["Message-ID"] == second["Message-ID"]


@pytest.mark.parametrize(
    ("payload", "part"),
    [
        ({"to": "ann@example.org\r\nBcc: eve@example.org"}, "address"),
        ({"to": "ann@example.org, eve@example.org"}, "address"),
        ({"to": "Ann <ann@example.org>"}, "address"),
        ({"title": "Hello\r\nBcc: eve@example.org"}, "title"),
        ({"title": "Hello\nX"}, "title"),
        ({"title": "Hello\u2028X"}, "title"),
        ({"html": "", "text": ""}, "body"),
        ({"html": 7}, "no text"),
        ({"template": "none"}, "template"),
        ({"template": "../back"}, "template"),
        ({"template": "back"}, "wants name"),
        ({"html": '<a href="https://a\\@b.example">x</a>'}, "backslash"),
        ({"campaign": "c" * 300}, "campaign"),
    ],
)
def test_what_is_no_mail_is_refused_before_anybody_is_asked(
    channel: SmtpChannel, postbox: Postbox, payload: dict[str, Any], part: str
) -> None:
    with pytest.raises(Refused, match=part):
        channel.send(_mail(**payload))
    assert postbox.mails == []


@pytest.mark.parametrize("which", ["rcpt_answer", "data_answer"])
def test_later_is_tried_again_and_never_is_a_bounce(channel: SmtpChannel, postbox: Postbox, served: Served, which: str) -> None:
    setattr(postbox, which, "451 busy")
    with pytest.raises(Unreachable) as told:
        channel.send(_mail())
    assert told.value.only_this
    setattr(postbox, which, "421 going")
    with pytest.raises(Unreachable):
        channel.send(_mail())
    assert served.events("email_bounce") == []
    setattr(postbox, which, "550 5.1.1 no such user")
    with pytest.raises(Refused, match="550"):
        channel.send(_mail())
    [bounce] = served.events("email_bounce")
    assert (bounce.subject, bounce.properties["kind"], bounce.properties["status"]) == ("known:42", "hard", "550")
    assert (postbox.mails, served.events("email_sent")) == ([], [])


def test_who_has_no_mailbox_gets_no_mail_until_they_show_themselves(
    channel: SmtpChannel, postbox: Postbox, served: Served
) -> None:
    accept = served.server.parts.ingest.accept
    postbox.rcpt_answer = "550 5.1.1 no such user"
    with pytest.raises(Refused, match="550"):
        channel.send(_mail())
    postbox.rcpt_answer = "250 OK"
    opened = {"message_id": "m-0", "machine": True}
    accept("email", [Event("o1", "email_open", "known:42", NOW + 1, opened)])
    with pytest.raises(Refused, match="mailbox"):
        channel.send(_mail("decision-2"))
    assert postbox.mails == []
    accept("email", [Event("o2", "email_open", "known:42", NOW + 2, opened | {"machine": False})])
    channel.send(_mail("decision-3"))
    accept("email", [Event("b2", "email_bounce", "known:42", NOW + 3, {"message_id": "m-0", "kind": "hard", "status": "5.1.1"})])
    with pytest.raises(Refused, match="mailbox"):
        channel.send(_mail("decision-4"))
    accept("web/x", [Event("c1", "consent", "known:42", NOW + 4, {"purpose": "email", "granted": True})])
    channel.send(_mail("decision-4"))
    assert len(postbox.mails) == 2


@pytest.mark.parametrize(("kind", "status"), [("soft", "4.2.2"), ("hard", "554"), ("hard", "5.7.1")])
def test_a_bounce_that_is_about_one_mail_stops_no_other(
    channel: SmtpChannel, postbox: Postbox, served: Served, kind: str, status: str
) -> None:
    bounce = Event("b1", "email_bounce", "known:42", NOW, {"message_id": "m-0", "kind": kind, "status": status})
    served.server.parts.ingest.accept("email", [bounce])
    channel.send(_mail())
    assert len(postbox.mails) == 1


def test_a_server_that_is_not_there_is_unreachable(channel: SmtpChannel, port: int) -> None:
    object.__setattr__(channel._smtp, "port", 1)
    with pytest.raises(Unreachable):
        channel.send(_mail())


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_nothing_goes_in_plaintext_where_tls_is_asked(channel: SmtpChannel, postbox: Postbox, security: str) -> None:
    object.__setattr__(channel._smtp, "security", security)
    object.__setattr__(channel._smtp, "timeout_s", 2.0)
    with pytest.raises(Unreachable):
        channel.send(_mail())
    assert postbox.mails == []


def test_who_unsubscribed_gets_no_mail_until_they_allow_it(channel: SmtpChannel, postbox: Postbox, served: Served) -> None:
    channel.send(_mail())
    assert served.ask(postbox.mails[0]["List-Unsubscribe"].strip("<>"), "POST")[0] == 200
    with pytest.raises(Refused, match="refused email"):
        channel.send(_mail("decision-2"))
    said = Event("c2", "consent", "known:42", NOW + 1, {"purpose": "email", "granted": True})
    served.server.parts.ingest.accept("web/x", [said])
    channel.send(_mail("decision-2"))
    assert len(postbox.mails) == 2


def test_a_linked_browser_that_refuses_speaks_for_the_person(channel: SmtpChannel, served: Served) -> None:
    parts = served.server.parts
    parts.links.link("anonymous:b", "known:42")
    parts.ingest.accept("web/b", [Event("c1", "consent", "anonymous:b", NOW, {"purpose": "email", "granted": False})])
    while parts.links.canonical("anonymous:b") != "known:42":
        parts.fold.wake()
    with pytest.raises(Refused):
        channel.send(_mail())


def test_the_site_says_what_is_wrong_with_its_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "x")
    path = tmp_path / "site.yaml"
    path.write_text(
        "email:\n  base_url: go.example\n  signing_keys: [env:SHORT]\n  from: nobody\n  reply_to: much-too-long@shop.example\n"
        "  utm: {a b: c}\n  click_id: {hosts: []}\n  smtp: {host: mail.example, security: plain, user: u}\n  colour: red\n"
    )
    with pytest.raises(DefinitionError) as told:
        read_site(path)
    for line, part in (
        (2, "base_url"),
        (3, "too short"),
        (4, "mailbox"),
        (5, "too long"),
        (6, "utm"),
        (7, "hosts"),
        (9, "colour"),
    ):
        assert any(row.startswith(f"{path}:{line}:") and part in row for row in str(told.value).splitlines()), (line, part)
    assert "plain to another machine" in str(told.value) and "go together" in str(told.value)


def test_a_site_with_a_mail_server_has_the_channel(served: Served) -> None:
    assert "email" in served.server.parts.outbox.channels
