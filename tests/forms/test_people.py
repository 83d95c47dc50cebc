"""What an operator asks about people: the visits of one, with what brought each; and where each lead is, never what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reflexarc_cli.main import cli
from reflexarc_core.event import Event
from reflexarc_server.app import Server
from reflexarc_server.channels import Refused, Unreachable
from reflexarc_server.testing import Receiver
from tests.forms.kit import GOOD, Page, started
from tests.server.kit import T0, wait_for

MINUTE = 60_000


@pytest.fixture
def crm() -> Receiver:
    return Receiver()


@pytest.fixture
def server(tmp_path: Path, crm: Receiver) -> Iterator[Server]:
    running = started(tmp_path / "server", crm)
    yield running
    running.stop()


def run(server: Server, *words: str) -> Result:
    assert server.http is not None
    return CliRunner().invoke(cli, [*words, "--http", f"http://{server.http.address}", "--insecure"])


def view(server: Server, its_id: str, minute: int, subject: str, url: str, **properties: str) -> None:
    event = Event(its_id, "page_view", subject, T0 + minute * MINUTE, {"page_url": url, **properties})
    [told] = server.parts.ingest.accept(f"web/{subject}", [event])
    assert told.verdict == "stored", told


def test_visits_of_a_person_with_what_brought_each(server: Server) -> None:
    shop = "https://shop.example"
    view(server, "a", 0, "anonymous:anna", f"{shop}/?utm_source=news&utm_medium=email&utm_campaign=spring")
    view(server, "b", 5, "anonymous:anna", f"{shop}/plans", referrer=f"{shop}/")
    view(server, "c", 200, "anonymous:phone", f"{shop}/plans", referrer="https://www.google.com/")
    view(server, "d", 1, "anonymous:bob", f"{shop}/bob")
    for subject in ("anonymous:anna", "anonymous:phone"):
        server.parts.links.link(subject, "known:7")
    found = json.loads(run(server, "visits", "--subject", "known:7", "--json").output)
    assert set(found["members"]) == {"known:7", "anonymous:anna", "anonymous:phone"}
    assert [(one["begin_time"], one["end_time"], one["pages_seen"], one["medium"], one["source"]) for one in found["visits"]] == [
        (T0, T0 + 5 * MINUTE, 2, "email", "news"), (T0 + 200 * MINUTE, T0 + 200 * MINUTE, 1, "search", "Google"),
    ]  # fmt: skip
    assert (found["first_touch"]["utm_campaign"], found["last_touch"]["source"]) == ("spring", "Google")
    table = run(server, "visits", "--subject", "anonymous:phone").output.splitlines()
    assert [line.split()[:2] for line in table[1:3]] == [["first", "touch"], ["last", "touch"]]
    assert len(table) == 6 and "bob" not in "".join(table)
    unknown = json.loads(run(server, "visits", "--subject", "known:nobody", "--json").output)
    assert unknown == {"subject": "known:nobody", "members": ["known:nobody"], "visits": []}
    wrong = run(server, "visits", "--subject", "nobody")
    assert (wrong.exit_code, str(wrong.exception)) == (1, "a subject that is none (write it as kind:id, for example known:42)")


def test_where_each_lead_is_and_never_what_it_says(server: Server, crm: Receiver) -> None:
    crm.answers = [Refused("no such\nproperty: plan"), Unreachable("down", only_this=True)]
    page = Page(server)
    assert page.send("quote", GOOD, "1")[0] == 200
    wait_for(lambda: bool(server.parts.outbox.dead_letters()))
    assert page.send("quote", {**GOOD, "email": "two@example.org"}, "2")[0] == 200
    wait_for(lambda: any(way.tries for (way,) in server.parts.outbox.ways([f"lead/{lead}" for lead in ids(server)]).values()))
    assert page.send("quote", {**GOOD, "email": "three@example.org"}, "3")[0] == 200
    wait_for(lambda: len(crm.taken) == 1)
    assert page.send("help", {"question": "how?"}, "4")[0] == 200
    assert page.send("quote", {"email": "x"}, "5", partial=True)[0] == 200

    def where() -> dict[tuple[str, str], list[tuple[str, str]]]:
        listed = json.loads(run(server, "leads", "list", "--state", "complete", "--json").output)
        return {(one["lead_id"], one["form_id"]): [(way["state"], way["reason"]) for way in one["ways"]] for one in listed}

    wait_for(lambda: [("sent", "")] in where().values())
    assert sorted(where().values()) == [[], [("dead", "no such\nproperty: plan")], [("open", "down")], [("sent", "")]]
    output = run(server, "leads", "list").output
    assert len(output.splitlines()) == 6 and "crm: delivered" in output and "crm: outbox, 1 tries: down" in output
    assert "crm: dead letter 1, no such property: plan" in output
    for typed in ("example.org", "how?", "Hello there"):
        assert typed not in output + run(server, "leads", "list", "--json").output
    assert len(json.loads(run(server, "leads", "list", "--form", "help", "--json").output)) == 1
    assert len(json.loads(run(server, "leads", "list", "--count", "2", "--json").output)) == 2


def ids(server: Server) -> list[str]:
    return [str(row[0]) for row in server.parts.store.ask("SELECT lead_id FROM leads")]


def test_what_happened_the_lead_and_its_message_are_there_together_or_not_at_all(server: Server, crm: Receiver) -> None:
    store = server.parts.store
    counts = "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM leads), (SELECT count(*) FROM outbox)"
    before = store.ask(counts)
    with store.transaction() as transaction:
        transaction.run("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END", ())
    assert Page(server).send("quote", GOOD, "1")[0] == 503
    assert store.ask(counts) == before
    with store.transaction() as transaction:
        transaction.run("DROP TRIGGER full", ())
    assert Page(server).send("quote", GOOD, "1")[0] == 200
    wait_for(lambda: len(crm.taken) == 1)
    types = [row[0] for row in store.ask("SELECT event_type FROM log WHERE kind = 1")]
    assert (types.count("form_submit"), store.ask("SELECT count(*) FROM leads")) == (1, [(1,)])
