"""From a mail to a goal, over a real server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc_cli.main import cli
from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.event import Event
from reflexarc_server.email.path import paths_of
from reflexarc_server.site import Site
from tests.email.kit import BROWSER, NOW, Served, site_of
from tests.server.kit import ManualClock


def test_one_mail_from_sending_to_a_purchase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(NOW)
    served = Served(tmp_path / "server", site_of(tmp_path, monkeypatch), clock)
    with Backend(served.server.address, insecure=True) as backend:
        html = '<a href="https://shop.example/a">x</a><a href="https://shop.example/b">x</a>'
        made = backend.prepare_email(html, "", "m-1", "known:42", campaign="spring", utm={"utm_source": "mail"})
        assert made["links"][0]["url"] == "https://shop.example/a?utm_source=mail"
        clock.now += 60_000
        served.ask(made["html"].partition('<img src="')[2].partition('"')[0])
        clock.now += 10_000
        served.ask(made["links"][1]["tracked_url"], agent=BROWSER)
        parts = served.server.parts
        page = Event("p1", "page_view", "known:42", clock.now + 2_000, {"page_url": "https://shop.example/b"})
        goal = Event("g1", "purchase", "known:42", clock.now + 30_000, {"amount": 9.5, "order_id": "o-1"})
        parts.ingest.accept("web/x", [page, goal])
        [path] = backend.email_paths("known:42")
        assert [step["event_type"] for step in path["steps"]] == ["email_open", "email_click", "page_view", "purchase"]
        assert [step["since_ms"] for step in path["steps"]] == [0, 10_000, 2_000, 28_000]
        assert (path["converted"], path["click_to_goal_ms"], path["campaign"]) == (True, 30_000, "spring")
        assert backend.email_paths(message_id="m-1") == [path]
        assert backend.email_paths(message_id="m-2") == []
        with pytest.raises(InvalidEventError):
            backend.email_paths()
        with pytest.raises(InvalidEventError, match="line 1"):
            backend.prepare_email('<a href="https://a\\b">x</a>', "", "m-2", "known:42")
    done = CliRunner().invoke(cli, ["email", "path", "--server", served.server.address, "--message", "m-1", "--insecure"])
    assert json.loads(done.output) == [path]
    served.stop()


def test_a_server_without_mail_says_so(tmp_path: Path) -> None:
    served = Served(tmp_path / "server", Site())
    with Backend(served.server.address, insecure=True) as backend, pytest.raises(DefinitionError, match="no mail"):
        backend.prepare_email("x", "", "m", "known:1")
    served.stop()


def _click(number: int, time: int, machine: bool = False) -> Event:
    properties = {"message_id": "m", "link_position": number, "link_count": 9, "machine": machine}
    return Event(f"c{number}.{time}", "email_click", "known:1", time, properties)


def test_the_first_clicks_of_a_burst_are_a_machines_once_all_are_known() -> None:
    events = [_click(1, 1_000), _click(2, 1_100), _click(3, 1_200, machine=True), Event("g", "purchase", "known:1", 9_000)]
    [path] = paths_of(events)
    assert [step.machine for step in path.steps] == [True, True, True]
    assert not path.converted
    [path] = paths_of([*events, _click(1, 5_000)])
    assert (path.converted, path.click_to_goal_ms) == (True, 4_000)


def test_a_goal_that_comes_too_late_is_not_the_mails() -> None:
    events = [_click(1, 0), Event("g", "purchase", "known:1", 1_001)]
    assert not paths_of(events, within_ms=1_000)[0].converted
    assert paths_of(events, within_ms=1_001)[0].converted
