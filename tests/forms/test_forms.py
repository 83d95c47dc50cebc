"""Forms over HTTP: nothing that was typed is lost, every mistake is told in its language, a lead goes out once, with its past."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_build.source import parse
from reflexarc_core.errors import DefinitionError
from reflexarc_core.event import Event
from reflexarc_server.app import Server
from reflexarc_server.log_reader import LogReader
from reflexarc_server.site.reader import site_of
from reflexarc_server.store.leads import LeadTable
from reflexarc_server.testing import Receiver
from tests.forms.kit import GOOD, Page, started
from tests.server.kit import T0, ManualClock, wait_for


@pytest.fixture
def crm() -> Receiver:
    return Receiver()


@pytest.fixture
def server(tmp_path: Path, crm: Receiver) -> Iterator[Server]:
    running = started(tmp_path / "server", crm)
    yield running
    running.stop()


@pytest.fixture
def page(server: Server) -> Page:
    return Page(server)


def events(tmp_path: Path) -> list[Event]:
    return [event for _, event in LogReader(tmp_path / "server").events()]


def states(server: Server) -> list[str]:
    return [row.state for row in LeadTable(server.parts.store).newest()]


def test_a_browser_gets_the_declaration_in_its_language(page: Page) -> None:
    status, headers, content = page.call("GET", "/forms/quote.json", headers={"accept-language": "fr, de;q=0.8, en;q=0.5"})
    said = json.loads(content)
    assert status == 200 and headers["access-control-allow-origin"] == "*"
    assert (said["form_id"], said["form_type"], said["honeypot"]) == ("quote", "lead_gen", "website")
    by_name = {each["name"]: each for each in said["fields"]}
    assert by_name["email"] == {"name": "email", "type": "email", "label": "E-Mail-Adresse", "required": True, "max_length": 500}
    assert by_name["plan"] == {"name": "plan", "type": "select", "options": ["small", "large"]}
    assert by_name["news"] == {"name": "news", "type": "checkbox", "consent": "newsletter"}
    assert by_name["message"]["min_length"] == 5 and by_name["code"]["pattern"] == "[A-Z]{2}[0-9]+"
    assert b"crm" not in content and page.call("GET", "/forms/none.json")[0] == 404


def test_a_lead_is_kept_told_to_the_log_and_sent_once(page: Page, server: Server, crm: Receiver, tmp_path: Path) -> None:
    assert page.send("quote", GOOD) == (200, {"ok": True})
    assert page.send("quote", GOOD) == (200, {"ok": True})
    assert page.send("quote", {**GOOD, "name": "somebody else"}) == (200, {"ok": True})  # the same submission
    wait_for(lambda: bool(crm.taken))
    (lead,) = crm.taken.values()
    assert lead.body["values"] == {
        "email": "Zoe@shop.example.org", "name": "Zoë", "phone": "+4930123456", "code": "AB12", "message": "Hello there",
        "plan": "small", "news": True, "terms": True,
    }  # fmt: skip
    assert (lead.body["form_type"], lead.body["consents"], lead.subject) == ("lead_gen", {"newsletter": True}, "anonymous:anna")
    assert states(server) == ["complete"] and len(crm.attempts) == 1
    said = [(event.event_type, dict(event.properties)) for event in events(tmp_path)]
    assert said == [
        ("identify", {"known_id": "zoe@shop.example.org"}),
        ("consent", {"purpose": "newsletter", "granted": True}),
        ("form_submit", {
            "form_id": "quote", "form_type": "lead_gen", "page_url": "https://shop.example/quote",
            "lead_id": lead.body["lead_id"],
        }),
    ]  # fmt: skip
    wait_for(lambda: server.parts.links.canonical("anonymous:anna") == "known:zoe@shop.example.org")


@pytest.mark.parametrize(
    ("field", "value", "english", "german"),
    [
        ("email", "", "Please fill this in.", "Bitte füllen Sie dieses Feld aus."),
        ("email", "zoe@", "not a complete e-mail", "keine vollständige E-Mail"),
        ("email", "zoe@example.org\nbcc: x@example.org", "not a complete", "keine vollständige"),
        ("phone", "12", "not a phone number", "keine Telefonnummer"),
        ("code", "ab12", "form that is asked for", "verlangte Form"),
        ("message", "Hi", "at least 5", "mindestens 5"),
        ("name", "x" * 41, "at most 40", "höchstens 40"),
        ("plan", "huge", "one of the options", "eine der Möglichkeiten"),
        ("terms", False, "tick this box", "einen Haken"),
        ("name", {"a": 1}, "not text", "kein Text"),
        ("name", "half \ud800", "not text", "kein Text"),
    ],
)
def test_a_mistake_is_told_in_the_callers_language_and_loses_nothing(
    page: Page, server: Server, crm: Receiver, field: str, value: object, english: str, german: str
) -> None:
    wrong = {**GOOD, field: value}
    for language, text in (("en-GB", english), ("de-AT,de;q=0.9", german)):
        status, said = page.send("quote", wrong, language=language)
        assert status == 422 and list(said["errors"]) == [field] and text in said["errors"][field]
    (row,) = LeadTable(server.parts.store).newest()
    held = json.loads(row.body)
    assert row.state == "partial" and held["values"]["plan" if field != "plan" else "name"] and held["errors"] == [field]
    assert not crm.attempts
    assert page.send("quote", GOOD) == (200, {"ok": True})
    wait_for(lambda: len(crm.taken) == 1)
    assert states(server) == ["complete"]


def test_what_was_left_unsent_is_kept_and_forwarded_to_nobody(page: Page, server: Server, crm: Receiver, tmp_path: Path) -> None:
    assert page.send("quote", {"email": "zoe@ex", "name": "Zoë"}, partial=True) == (200, {"ok": True})
    (row,) = LeadTable(server.parts.store).newest()
    assert row.state == "partial" and json.loads(row.body)["values"] == {
        "email": "zoe@ex", "name": "Zoë", "news": False,
    }  # fmt: skip
    assert not events(tmp_path) and not crm.attempts


def test_who_fills_in_what_nobody_sees_is_thanked_and_not_forwarded(
    page: Page, server: Server, crm: Receiver, tmp_path: Path
) -> None:
    assert page.send("quote", {**GOOD, "website": "http://spam.example"}) == (200, {"ok": True})
    assert states(server) == ["spam"] and not events(tmp_path) and not server.parts.outbox.counts()["crm"]["open"]
    assert not crm.attempts


def test_a_lead_arrives_with_what_its_subject_did(page: Page, server: Server, crm: Receiver) -> None:
    def view(number: int, minutes: int, subject: str = "anonymous:anna", session: str = "s1", **properties: object) -> Event:
        url = f"https://shop.example/{number}"
        context = {"session_id": session, "device_class": "mobile"}
        return Event(f"v{number}", "page_view", subject, T0 - 10**7 + minutes * 60_000, {"page_url": url, **properties}, context)  # type: ignore[arg-type]

    server.parts.ingest.accept("web/phone", [
        view(0, 0, "anonymous:phone", "s0", referrer="https://search.example/", utm_source="search", time_on_page=4.5),
        Event("i", "identify", "anonymous:phone", T0 - 10**7, {"known_id": "zoe@shop.example.org"}),
    ])  # fmt: skip
    server.parts.ingest.accept("web/anna", [
        view(1, 10, utm_source="letter", utm_campaign="spring", time_on_page=10.0),
        view(2, 11, referrer="https://shop.example/1", time_on_page=2.25),
        view(9, 11, "anonymous:stranger", utm_source="nobody"),
        Event("j", "identify", "anonymous:anna", T0 - 10**7, {"known_id": "zoe@shop.example.org"}),
    ])  # fmt: skip
    wait_for(lambda: server.parts.links.canonical("anonymous:anna") != "anonymous:anna")
    assert page.send("quote", GOOD)[0] == 200
    wait_for(lambda: bool(crm.taken))
    website = next(iter(crm.taken.values())).body["website"]
    assert website["first_touch"] == {
        "source": "search", "utm_source": "search", "referrer": "https://search.example/", "landing_page": "https://shop.example/0",
        "time": T0 - 10**7,
    }  # fmt: skip
    assert website["last_touch"] == {
        "source": "letter", "utm_source": "letter", "utm_campaign": "spring", "landing_page": "https://shop.example/1",
        "time": T0 - 10**7 + 600_000,
    }  # fmt: skip
    assert (website["pages_seen"], website["active_s"]) == (3, 16.75)
    assert website["pages"] == [f"https://shop.example/{number}" for number in (2, 1, 0)]
    assert website["session"] == {
        "session_id": "s1", "begin_time": T0 - 10**7 + 600_000, "end_time": T0 - 10**7 + 660_000, "pages_seen": 2,
        "active_s": 12.25, "landing_page": "https://shop.example/1", "last_page": "https://shop.example/2",
    }  # fmt: skip
    assert website["device"] == {"device_class": "mobile"}


def test_a_question_is_a_ticket_too(page: Page, tmp_path: Path) -> None:
    assert page.send("help", {"topic": "billing", "question": "Why?"})[0] == 200
    submit, ticket = events(tmp_path)
    assert submit.event_type == "form_submit" and ticket.event_type == "support_ticket"
    assert ticket.properties == {"ticket_id": submit.properties["lead_id"], "topic": "billing"}


def test_a_page_without_script_is_redirected_or_told(page: Page, server: Server, crm: Receiver) -> None:
    good = {name: "on" if value is True else str(value) for name, value in GOOD.items()}
    status, headers, _ = page.post("quote", {**good, "_key": "wk_shop_1"})
    assert (status, headers["location"]) == (303, "https://shop.example/thanks")
    wait_for(lambda: len(crm.taken) == 1)
    status, _, content = page.post("quote", {"_key": "wk_shop_1", "name": "<script>"}, **{"accept-language": "de"})
    assert status == 422 and "E-Mail-Adresse: Bitte füllen".encode() in content and b"<script>" not in content
    boundary = "\r\n".join(
        part for name, value in {**good, "_key": "wk_shop_1"}.items()
        for part in ("--b", f'content-disposition: form-data; name="{name}"', "", value)
    )  # fmt: skip
    kind = {"content-type": "multipart/form-data; boundary=b"}
    assert page.call("POST", "/forms/quote", f"{boundary}\r\n--b--\r\n".encode(), kind)[0] == 303
    wait_for(lambda: len(crm.taken) == 2)
    assert sorted(states(server)) == ["complete", "complete", "partial"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400), (b"[1]", {}, 400), (b'{"values": 1}', {}, 400), (b'{"values": {}}', {}, 401),
        (b'{"values": {}, "key": 1}', {}, 400), (b'{"values": {}, "key": "wk_shop_1", "id": "\\ud800"}', {}, 400),
        (b'{"values": {}, "key": "wk_shop_1"}', {"origin": "https://evil.example"}, 403),
        (b"x", {"content-type": "application/xml"}, 415), (b"[" * 100_000, {}, 400),
        (b"--b\r\nnonsense", {"content-type": "multipart/form-data; boundary=b"}, 401),
        (b"x", {"content-length": "2000000"}, 413),
        (b"&".join(b"a%d=1" % n for n in range(300)), {"content-type": "application/x-www-form-urlencoded"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_submission_is_refused(page: Page, server: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    found, _, content = page.call("POST", "/forms/quote", body, {"content-type": "application/json", **headers})
    assert found == status and set(json.loads(content)) >= {"error", "hint"}
    assert states(server) == []


def test_a_page_elsewhere_asks_before_it_sends(page: Page) -> None:
    status, headers, _ = page.call("OPTIONS", "/forms/quote", headers={"access-control-request-method": "POST"})
    assert status == 204 and headers["access-control-allow-origin"] == "https://shop.example"
    page.origin = "https://evil.example"
    assert page.call("OPTIONS", "/forms/quote")[0] == 403


def test_whoever_is_erased_leaves_no_lead(page: Page, server: Server, crm: Receiver, tmp_path: Path) -> None:
    crm.is_down = True
    assert page.send("quote", GOOD)[0] == 200
    wait_for(lambda: server.parts.links.canonical("anonymous:anna") == "known:zoe@shop.example.org")
    assert server.parts.erasures.forget("known:zoe@shop.example.org", 20)[1]
    assert states(server) == [] and server.parts.outbox.counts()["crm"] == {"open": 0, "sent": 0, "dead": 0}
    for path in (tmp_path / "server").glob("server.db*"):
        assert b"Hello there" not in path.read_bytes() and b"zoe@" not in path.read_bytes().lower()


def test_ten_minutes_without_the_crm_and_a_kill_in_between_lose_and_double_nothing(tmp_path: Path) -> None:
    """A copy of the folder, taken while the server runs, is what a killed one leaves."""
    import shutil

    clock, crm = ManualClock(T0), Receiver()
    crm.is_down = True
    server = started(tmp_path / "server", crm, clock)
    page = Page(server)
    for number in range(20):
        page.anonymous_id = f"visitor-{number % 5}"
        assert page.send("quote", {**GOOD, "email": f"v{number % 5}@example.org"}, its_id=f"id-{number}")[0] == 200
        clock.now += 30_000
        server.parts.outbox.wake()
    shutil.copytree(tmp_path / "server", tmp_path / "killed")
    server.stop()
    assert not crm.taken
    crm.is_down, crm.attempts = False, []
    again = started(tmp_path / "killed", crm, clock)
    page = Page(again)
    for number in range(20):  # nobody was answered, say: all send again
        page.anonymous_id = f"visitor-{number % 5}"
        assert page.send("quote", {**GOOD, "email": f"v{number % 5}@example.org"}, its_id=f"id-{number}")[0] == 200
    clock.now += 600_000
    again.parts.outbox.wake()
    wait_for(lambda: len(crm.taken) == 20)
    orders: dict[str, list[int]] = {}
    for one in crm.attempts:
        orders.setdefault(one.body["values"]["email"], []).append(one.body["time"])
    assert len(crm.attempts) == 20 and len(orders) == 5
    wait_for(lambda: again.parts.outbox.counts()["crm"]["sent"] == 20)
    assert again.parts.outbox.counts()["crm"] == {"open": 0, "sent": 20, "dead": 0}
    keys = [row.lead_id for row in reversed(LeadTable(again.parts.store).newest())]
    places = {key: place for place, key in enumerate(keys)}
    for visitor in {one.order for one in crm.attempts}:
        its = [places[one.body["lead_id"]] for one in crm.attempts if one.order == visitor]
        assert its == sorted(its)
    again.stop()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{type: lead, fields: {a: {}}}", "one of contact"), ("{type: contact}", "0 fields"),
        ("{type: contact, fields: {a: {type: date}}}", "one of text"),
        ("{type: contact, fields: {a: {pattern: '(?=x)'}}}", "pattern"),
        ("{type: contact, fields: {a: {consent: x}}}", "checkbox"), ("{type: contact, fields: {a: {type: select}}}", "options"),
        ("{type: contact, identify_by: a, fields: {a: {}}}", "no e-mail field"),
        ("{type: contact, honeypot: a, fields: {a: {}}}", "people see"),
        ("{type: contact, thanks: 'javascript:x', fields: {a: {}}}", "no address"),
    ],
)  # fmt: skip
def test_a_wrong_form_names_its_line(text: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as raised:
        site_of(parse(f"forms:\n  f: {text}\n", "site.yaml"), Path())
    assert "site.yaml:2" in str(raised.value)
