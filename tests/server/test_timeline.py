"""One person's timeline, over the real port and by the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc_cli.main import cli
from reflexarc_core.decision import Reason
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_server.app import start_server
from reflexarc_server.channels import Refused
from reflexarc_server.testing import Receiver
from tests.channels.test_acting import CATALOG
from tests.server.kit import DAY, T0, ManualClock, Stubs, decision, message, page, wait_for

ANN = "known:1"
BROWSER = "anonymous:b"


class Place(NamedTuple):
    backend: Backend
    address: str
    crm: Receiver


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    crm = Receiver()
    server = start_server(tmp_path / "server", "127.0.0.1:0", CATALOG, ManualClock(T0 + DAY), insecure=True, channels=[crm])
    with Backend(server.address, insecure=True) as backend:
        yield Place(backend, server.address, crm)
    server.stop()


def what(entry: dict[str, Any]) -> str:
    return str(entry.get("event_type") or entry.get("trigger_id") or entry.get("channel"))


def test_a_person_and_their_browser_are_one_in_the_order_in_which_it_happened(place: Place) -> None:
    place.backend.track([page(2, ANN, T0 + 2), page(1, BROWSER, T0 + 1), page(9, "known:2"), page(3, ANN, T0 + 3)])
    link = place.backend.link(BROWSER, ANN)
    wait_for(lambda: [one["effective"] for one in place.backend.links(ANN)] == [True])
    wait_for(lambda: len(place.crm.taken) == 1)
    wait_for(lambda: len(place.backend.timeline(ANN)["entries"]) == 7 and _message(place)["state"] == "sent")
    entries = place.backend.timeline(BROWSER)["entries"]
    assert [(entry["kind"], entry["subject"]) for entry in entries[:3]] == [("event", BROWSER), ("event", ANN), ("event", ANN)]
    assert [entry["properties"]["page_url"] for entry in entries[:3]] == ["/1", "/2", "/3"]
    decided = {what(entry): (entry["reason"], entry["mode"]) for entry in entries[3:6]}
    assert decided == {"tell_sales": ("FIRED", ""), "greet": ("FIRED", ""), "would_tell": ("FIRED", "dry_run")}
    assert (entries[6]["kind"], entries[6]["channel"], entries[6]["end_time"]) == ("message", "crm", T0 + DAY)
    place.backend.undo_link(link)
    wait_for(lambda: len(place.backend.timeline(BROWSER)["entries"]) == 1)


def _message(place: Place) -> dict[str, Any]:
    found = [entry for entry in place.backend.timeline(ANN)["entries"] if entry["kind"] == "message"]
    return found[0] if found else {"state": ""}


def test_what_could_not_be_sent_says_why(place: Place) -> None:
    place.crm.answers = [Refused("nobody there")]
    place.backend.track([page(1, ANN), page(2, ANN)])
    wait_for(lambda: _message(place)["state"] == "dead")
    assert _message(place)["reason"] == "nobody there"


def test_a_decision_is_told_once_as_it_ended(place: Place) -> None:
    device = Stubs(place.address)
    asked, ended = decision("d", Reason.ESCALATED, ANN, T0), decision("d", Reason.FIRED, ANN, T0 + 150, record=1)
    device.push([message(1, asked), message(2, ended)])
    device.close()
    [entry] = place.backend.timeline(ANN)["entries"]
    assert (entry["time"], entry["reason"]) == (T0 + 150, "FIRED")


def test_the_first_clicks_of_a_burst_are_a_machines(place: Place) -> None:
    said = {"message_id": "m-1", "link_count": 3, "machine": False}
    place.backend.track([Event(f"c{n}", "email_click", ANN, T0 + n * 100, {**said, "link_position": n}) for n in (1, 2, 3)])
    assert [entry["machine"] for entry in place.backend.timeline(ANN)["entries"]] == [True] * 3


def test_the_newest_are_shown_and_the_older_counted(place: Place) -> None:
    place.backend.track([page(n, ANN, T0 + n) for n in range(5)])

    def shown(**more: int) -> tuple[list[str], int]:
        found = place.backend.timeline(ANN, **more)
        return [entry["properties"]["page_url"] for entry in found["entries"] if entry["kind"] == "event"], found["older"]

    assert shown(until_time=T0 + 3, entry_max=2) == (["/1", "/2"], 1)


def test_of_what_does_not_fit_into_an_answer_there_is_the_newest(place: Place) -> None:
    for start in (0, 200, 400):
        said = {"topic": "x" * 8_000}
        place.backend.track([Event(f"l{n}", "support_ticket", ANN, T0 + n, said) for n in range(start, start + 200)])
    found = place.backend.timeline(ANN, entry_max=1_000)
    assert 300 < len(found["entries"]) < 600
    assert len(found["entries"]) + found["older"] == 600
    assert found["entries"][-1]["event_id"] == "l599"


def test_nobody_is_empty_and_no_subject_is_an_error(place: Place) -> None:
    assert place.backend.timeline("known:nobody") == {"entries": [], "older": 0}
    for wrong in ({"subject": "who"}, {"subject": ANN, "entry_max": -1}, {"subject": ANN, "until_time": -1}):
        with pytest.raises(InvalidEventError):
            place.backend.timeline(**wrong)


def test_the_command_shows_a_line_each_and_nothing_that_a_terminal_obeys(place: Place) -> None:
    reply = {"message_id": "m", "text": "what she wrote", "mood": "negative", "queue": "care"}
    place.backend.track([Event("r", "email_reply", ANN, T0, reply)])
    place.backend.track([Event("p", "page_view", ANN, T0 + 1, {"page_url": "/\x1b[2J\n"})])
    words = ["timeline", "--server", place.address, "--insecure", "--subject", ANN]
    done = CliRunner().invoke(cli, words)
    first, second = done.output.splitlines()
    assert first.endswith("known:1  mood negative, queue care") and first.startswith("2023-11-14 00:00:00.000  event")
    assert second.endswith("/\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}")
    assert "what she wrote" not in done.output
    done = CliRunner().invoke(cli, [*words, "--last", "1", "--json"])
    assert (json.loads(done.output)["older"], json.loads(done.output)["entries"][0]["event_id"]) == (1, "p")
