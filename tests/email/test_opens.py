"""When and on what mail is opened: in a report, in features and in conditions, over a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc.definitions import load_catalog
from reflexarc_cli.main import cli
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_server.log_reader import LogReader
from tests.email.kit import BROWSER, Served, site_of, token_of
from tests.house.rooms import ROOT
from tests.server.kit import ManualClock, wait_for

HOUR = 3_600_000
MONDAY = 1_699_833_600_000
"""13 November 2023, 00:00 UTC."""
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MONDAY + 7 * HOUR)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Iterator[Served]:
    catalog = load_catalog(ROOT / "examples" / "catalog" / "mail.yaml")
    started = Served(tmp_path / "server", site_of(tmp_path, monkeypatch), clock, catalog)
    yield started
    started.stop()


def _pixel(backend: Backend, message_id: str, **more: int) -> str:
    html = backend.prepare_email("<p>x</p>", "", message_id, "known:42", campaign="spring", **more)["html"]
    return f"/o/{token_of(str(html).partition('<img src=')[2].split(chr(34))[1])}.gif"


def test_hours_of_the_week_are_told_and_decided_on(served: Served, clock: ManualClock, tmp_path: Path) -> None:
    with Backend(served.server.address, insecure=True) as backend:
        first, second = _pixel(backend, "m-1"), _pixel(backend, "m-2")
        sent = [Event(f"email~{m}~sent", "email_sent", "known:42", clock.now, {"message_id": m}) for m in ("m-1", "m-2")]
        served.server.parts.ingest.accept("email", sent)
        served.ask(second, "GET", "")  # at once and without a name: a gateway's
        for hour, pixel, agent in ((9, first, PHONE), (33, first, BROWSER), (46, second, GMAIL), (46.1, second, BROWSER)):
            clock.now = MONDAY + round(hour * HOUR)
            assert served.ask(pixel, agent=agent)[0] == 200
        said = [(e.properties["hour_of_week"], e.properties["machine"]) for e in served.events("email_open")]
        assert said == [(7, True), (9, False), (33, False), (46, False), (46, False)]

        found = backend.email_opens("known:42")
        assert (found["sent_mail_count"], found["opened_mail_count"], found["open_count"]) == (2, 2, 4)
        assert (found["machine_open_count"], found["proxy_open_count"], found["proxies"]) == (1, 1, {"gmail": 1})
        assert (found["first_time"], found["last_time"]) == (MONDAY + 9 * HOUR, MONDAY + round(46.1 * HOUR))
        assert (found["hours"], found["offset_minutes"]) == ({9: 1, 33: 1, 46: 2}, 0)
        assert found["devices"] == {"desktop": 2, "mobile": 1}, "a proxy's device is nobody's"
        assert backend.email_opens("known:42", "autumn")["open_count"] == 0
        assert backend.email_opens("known:7")["hours"] == {}

        # A browser of theirs says where its clock stands; from then on hours are the person's.
        context = {"offset_minutes": 330}
        served.server.parts.ingest.accept(
            "web/b", [Event("p1", "page_view", "known:42", clock.now + HOUR, {"page_url": "/"}, context)]
        )
        assert backend.email_opens("known:42")["hours"] == {14: 1, 38: 1, 51: 2}
        third = _pixel(backend, "m-3", offset_minutes=-600)
        clock.now = MONDAY + 55 * HOUR
        served.ask(third)
        [local] = [event for event in served.events("email_open") if event.properties["message_id"] == "m-3"]
        assert (local.properties["hour_of_week"], local.context) == (45, {"offset_minutes": -600})
        assert backend.email_opens("known:42")["offset_minutes"] == 330, "a mail only repeats what was known"
        with pytest.raises(InvalidEventError):
            _pixel(backend, "m-4", offset_minutes=1_081)

        words = ["email", "opens", "--server", served.server.address, "--insecure", "--subject", "known:42"]
        shown = CliRunner().invoke(cli, words).output
        assert "5 opens of 3 mails (2 sent), 1 of them through a proxy; held for machines': 1" in shown
        assert "UTC+05:30: Mon 14: 1, Tue 14: 1, Wed 03: 2, Wed 12: 1" in shown
        assert json.loads(CliRunner().invoke(cli, [*words, "--json"]).output)["hours"] == {"14": 1, "38": 1, "51": 2, "60": 1}
        at_the_office = [e.event_id for e in served.events("email_open") if e.properties["hour_of_week"] in (9, 33)]
        wait_for(lambda: _decided(tmp_path) == at_the_office[1:])


def _decided(folder: Path) -> list[str]:
    """What made the trigger act: not the first morning, and no other hour."""
    return [d.cause_id for d in LogReader(folder / "server").decisions() if d.trigger_id == "office_reader"]
