"""What came of mails by campaign, over a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc_cli.main import cli
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import CONSENT, Event
from reflexarc_server.email.campaigns import page_of
from reflexarc_server.email.log import MailLog
from tests.email.kit import NOW, Served, site_of
from tests.server.kit import DAY, ManualClock, wait_for


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    started = Served(tmp_path / "server", site_of(tmp_path, monkeypatch), ManualClock(NOW + 9 * DAY))
    yield started
    started.stop()


def _mail(message_id: str, subject: str, *what: str, campaign: str = "spring", start: int = NOW, **more: Any) -> list[Event]:
    """A mail's events a minute apart. `open!` and `click!` are a machine's."""
    types = {"unsubscribe": CONSENT}
    made = []
    for place, each in enumerate(what):
        kind = each.rstrip("!")
        properties: dict[str, Any] = {"message_id": message_id, "campaign": campaign}
        if kind in ("open", "click"):
            properties["machine"] = each.endswith("!")
        if kind == "unsubscribe":
            properties = {"purpose": "email", "granted": False}
        event_id = f"email~{message_id}~{kind}" + ("" if kind == "sent" else f"~{place}")
        event_type = types.get(kind, f"email_{kind}")
        made.append(Event(event_id, event_type, subject, start + place * 60_000, properties | more))
    return made


def _buys(event_id: str, subject: str, time: int) -> Event:
    return Event(event_id, "purchase", subject, time, {"amount": 1.0})


EVENTS = [
    *_mail("m-1", "known:1", "sent", "open!", "open", "open", "click", "reply"),
    _buys("g-1", "anonymous:b", NOW + 3_600_000),
    *_mail("m-10", "known:2", "sent", "open!", "click!"),
    _buys("g-2", "known:2", NOW + 3_600_000),  # behind a machine's click: no conversion
    *_mail("m-2", "known:3", "sent", "bounce"),
    *_mail("m-3", "known:4", "sent", "open", "unsubscribe"),
    *_mail("m-4", "known:5", "sent", "click"),
    _buys("g-3", "known:5", NOW + 60_000 + 8 * DAY),  # too late
    *_mail("z", "known:6", "sent", "click", campaign="autumn"),
    *_mail("z-2", "known:6", "sent", "click", campaign="autumn", start=NOW + 600_000),
    _buys("g-4", "known:6", NOW + 700_000),  # of the mail that was followed last
    *_mail("n", "known:7", "open", campaign=""),
    Event("email~no mail", "page_view", "known:1", NOW, {"page_url": "/"}),
    Event("email~~reply~x", "email_reply", "anonymous:mail-x", NOW, {"message_id": ""}),
]
SPRING = {
    "campaign": "spring", "mail_count": 5, "sent_count": 5, "bounced_count": 1, "opened_count": 2, "clicked_count": 2,
    "converted_count": 1, "replied_count": 1, "unsubscribed_count": 1, "complained_count": 0, "machine_count": 1,
}  # fmt: skip


def test_mails_are_counted_once_by_campaign(served: Served) -> None:
    with Backend(served.server.address, insecure=True) as backend:
        assert {verdict for verdict, _ in backend.track(EVENTS)} == {"stored"}
        backend.link("anonymous:b", "known:1")
        wait_for(lambda: served.server.parts.links.canonical("anonymous:b") == "known:1")
        none, autumn, spring = backend.email_campaigns()
        assert spring == SPRING
        assert (none["campaign"], none["mail_count"], none["sent_count"], none["opened_count"]) == ("", 1, 0, 1)
        assert (autumn["mail_count"], autumn["clicked_count"], autumn["converted_count"]) == (2, 2, 1)
        assert backend.email_campaigns("spring") == [SPRING]
        assert backend.email_campaigns("spring", ["form_submit"])[0]["converted_count"] == 0
        words = ["email", "campaigns", "--server", served.server.address, "--insecure", "--campaign", "spring"]
        assert json.loads(CliRunner().invoke(cli, [*words, "--json"]).output) == [SPRING]
        head, line = CliRunner().invoke(cli, words).output.splitlines()
        assert dict(zip(head.split(), line.split(), strict=True))["converted"] == "1"
        from reflexarc_proto.v1 import email_service_pb2 as messages
        from reflexarc_proto.v1.email_service_pb2_grpc import EmailServiceStub

        with pytest.raises(InvalidEventError):
            backend._channel.call(EmailServiceStub, "CountCampaigns", messages.CountCampaignsRequest(after="~"), 10)


def test_pages_of_any_size_give_the_same(served: Served) -> None:
    parts = served.server.parts
    parts.ingest.accept("x", EVENTS)
    log = MailLog(parts.store, parts.links)
    whole, last = page_of(log)
    assert last == ""
    for size in range(1, 12):
        counted: dict[str, dict[str, int]] = {}
        pages, after = 0, ""
        while pages == 0 or after:
            page, after = page_of(log, after=after, events_max=size)
            pages += 1
            for name, one in page.items():
                held = counted.setdefault(name, {})
                for column in one.__dataclass_fields__:
                    held[column] = held.get(column, 0) + getattr(one, column)
        assert {name: one.mails for name, one in whole.items()} == {name: one["mails"] for name, one in counted.items()}
        assert {name: {c: getattr(one, c) for c in one.__dataclass_fields__} for name, one in whole.items()} == counted
        assert pages > 1
