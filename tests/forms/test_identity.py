"""Who sent a form: an address makes browsers one person, where the site lets it be believed, and it can be taken back."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_build.source import parse
from reflexarc_core.errors import DefinitionError
from reflexarc_server.app import Server
from reflexarc_server.collect.identifying import identify_by, known_id_of
from reflexarc_server.site.reader import site_of
from reflexarc_server.store.leads import LeadTable
from reflexarc_server.testing import Receiver
from tests.forms.kit import GOOD, SITE, Page, started
from tests.server.kit import T0, wait_for

SECRET = "0123456789abcdef0123456789abcdef"
ZOE = "zoe@shop.example.org"  # as GOOD has it, in lower case


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("IDENTITY_SECRET", SECRET)
    monkeypatch.setenv("SHOP_KNOWN", "s3cret")
    text = SITE.replace("key: wk_other_1", "key: wk_other_1, known_secret: env:SHOP_KNOWN")
    site = site_of(parse(text + "identity: {secret: env:IDENTITY_SECRET}\n", "site.yaml"), Path())
    running = started(tmp_path / "server", Receiver(), its_site=site)
    yield running
    running.stop()


def ticket(page: Page, number: int) -> None:
    entry = {
        "id": f"{page.anonymous_id}-{number}", "type": "support_ticket", "time": T0, "properties": {"severity": "high"},
    }  # fmt: skip
    body = {"key": "wk_shop_1", "anonymous_id": page.anonymous_id, "batch": [entry]}
    status, _, content = page.call("POST", "/e", json.dumps(body).encode())
    assert status == 200 and json.loads(content)["verdicts"][0][1] == "stored"


def tickets(server: Server, *subjects: str) -> list[float]:
    wait_for(lambda: server.parts.fold.lag == 0)
    return [held["support_tickets"] for held in server.parts.fold.values(subjects)[1]]


def test_two_browsers_become_one_person_and_a_link_is_undone(server: Server, tmp_path: Path) -> None:
    laptop, phone, links = Page(server, "laptop"), Page(server, "phone"), server.parts.links
    known, other = f"known:{known_id_of(ZOE, SECRET.encode())}", f"known:{known_id_of('max@example.org', SECRET.encode())}"
    ticket(laptop, 1)
    ticket(laptop, 2)
    ticket(phone, 1)
    assert tickets(server, "anonymous:laptop", "anonymous:phone", known) == [2, 1, 0]
    assert laptop.send("quote", GOOD)[0] == 200
    wait_for(lambda: tickets(server, "anonymous:laptop", known) == [2, 2])
    assert phone.send("quote", {**GOOD, "email": ZOE.upper()}, its_id="2")[0] == 200
    wait_for(lambda: tickets(server, "anonymous:laptop", "anonymous:phone", known) == [3, 3, 3])
    assert laptop.send("quote", GOOD, its_id="3")[0] == 200  # the same two again: no further link
    assert phone.send("quote", {**GOOD, "email": "max@example.org"}, its_id="4")[0] == 200
    wait_for(lambda: len(links.all()) == 3)
    assert [(link.said.subject, link.said.known, link.is_effective) for link in links.all()] == [
        ("anonymous:laptop", known, True), ("anonymous:phone", known, True), ("anonymous:phone", other, False),
    ]  # fmt: skip
    ticket(phone, 2)
    wait_for(lambda: tickets(server, known, other) == [4, 0])

    links.undo(links.all("anonymous:laptop")[0].said.link_id)
    wait_for(lambda: tickets(server, known, "anonymous:laptop", "anonymous:phone") == [2, 2, 2])
    assert laptop.send("quote", GOOD, its_id="5")[0] == 200  # an operator's word stands
    ticket(laptop, 3)
    wait_for(lambda: tickets(server, known, "anonymous:laptop") == [2, 3])
    events = server.parts.store.ask("SELECT body FROM log", ())
    assert events and not any(b"zoe@" in bytes(body).lower() for (body,) in events)


def test_a_key_with_a_known_secret_links_only_who_is_proven(server: Server) -> None:
    page, links = Page(server, "anna", origin=""), server.parts.links

    def proof(claimed: str) -> str:
        return hmac.new(b"s3cret", claimed.encode(), "sha256").hexdigest()

    given = {"key": "wk_other_1"}
    assert page.send("quote", GOOD, **given)[0] == 200
    assert page.send("quote", GOOD, its_id="2", known_id="42", known_proof=proof("43"), **given)[0] == 200
    assert page.send("quote", GOOD, its_id="3", known_id="42", known_proof=proof(ZOE), **given)[0] == 200
    assert [row.state for row in LeadTable(server.parts.store).newest()] == ["complete"] * 3  # no lead is lost by it
    wait_for(lambda: server.parts.fold.lag == 0)
    assert links.all() == []
    assert page.send("quote", GOOD, its_id="4", known_proof=proof(ZOE), **given)[0] == 200
    wait_for(lambda: links.canonical("anonymous:anna") == f"known:{known_id_of(ZOE, SECRET.encode())}")
    page.anonymous_id = "berta"
    assert page.send("quote", GOOD, its_id="5", known_id="42", known_proof=proof("42"), **given)[0] == 200
    wait_for(lambda: links.canonical("anonymous:berta") == "known:42")


def test_a_mails_signed_link_says_who_clicks() -> None:
    event = identify_by("email", "anna", T0, known_id="42", secret=SECRET.encode())
    assert event is not None and (event.subject, event.properties) == ("anonymous:anna", {"known_id": "42"})
    assert event == identify_by("email", "anna", T0, known_id="42", address=ZOE)
    assert identify_by("email", "anna", T0) is identify_by("email", "", T0, address=ZOE) is None


def test_without_a_secret_the_address_is_the_id_and_with_one_it_is_in_none() -> None:
    assert known_id_of(" Zoe@Example.org", b"") == "zoe@example.org"
    digest = known_id_of("Zoe@Example.org", SECRET.encode())
    assert digest == known_id_of("zoe@example.ORG ", SECRET.encode()) != known_id_of("zoe@example.org", b"x" * 32)
    assert len(digest) == 38 and "zoe" not in digest


@pytest.mark.parametrize("text", ["{}", "{secret: plain}", "{secret: env:SHORT}", "{secret: env:SHORT, other: 1}"])
def test_a_wrong_section_names_its_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "short")
    with pytest.raises(DefinitionError, match="identity") as raised:
        site_of(parse(f"identity: {text}\n", "site.yaml"), Path())
    assert "site.yaml:1" in str(raised.value) and "short" not in str(raised.value)
