"""HubSpot and Salesforce, written to by their own client packages: one record a person, whatever gets lost on the way."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reflexarc_build.source import parse
from reflexarc_core.errors import DefinitionError
from reflexarc_server.channels import Outbox, Outgoing, Refused, Unreachable
from reflexarc_server.channels.crm import HubSpotChannel, SalesforceChannel
from reflexarc_server.site.crm import Crm
from reflexarc_server.site.reader import site_of
from reflexarc_server.store.sqlite import SqliteStore
from reflexarc_server.testing import LocalHubSpot, LocalSalesforce
from tests.channels.test_outbox import run_for
from tests.identity.kit import Authority
from tests.server.kit import T0, ManualClock

SITE = """
crm:
  hubspot:
    kind: hubspot
    token: env:HUBSPOT_TOKEN
    url: HUBSPOT
    map: {email: values.email, firstname: values.name, source: website.first_touch.utm_source, news: consents.newsletter}
  salesforce:
    kind: salesforce
    url: SALESFORCE
    client_id: env:SALESFORCE_ID
    client_secret: env:SALESFORCE_SECRET
    id: Key__c
    ca_file: CA
    map:
      Key__c: values.email
      LastName: {from: values.name, default: unknown}
      Company: {value: web}
      Source__c: website.first_touch.utm_source
"""
BODY = {
    "kind": "lead", "values": {"email": "zoe/+1@example.org", "name": "Zoë"}, "consents": {"newsletter": True},
    "website": {"first_touch": {"utm_source": "letter"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """(authority, certificate, key)"""
    folder = tmp_path_factory.mktemp("tls")
    files = Authority(folder).issue().files
    return str(folder / "authority.pem"), str(files.cert), str(files.key)


@pytest.fixture
def hubspot() -> Iterator[LocalHubSpot]:
    started = LocalHubSpot()
    yield started
    started.close()


@pytest.fixture
def salesforce(tls: tuple[str, str, str]) -> Iterator[LocalSalesforce]:
    started = LocalSalesforce((tls[1], tls[2]))
    yield started
    started.close()


@pytest.fixture
def crms(
    hubspot: LocalHubSpot, salesforce: LocalSalesforce, tls: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Crm]:
    monkeypatch.setenv("HUBSPOT_TOKEN", hubspot.token)
    monkeypatch.setenv("SALESFORCE_ID", salesforce.client[0])
    monkeypatch.setenv("SALESFORCE_SECRET", salesforce.client[1])
    text = (
        SITE.replace("HUBSPOT\n", f"{hubspot.url}\n")
        .replace("SALESFORCE\n", f"{salesforce.url}\n")
        .replace("CA\n", f"{tls[0]}\n")
    )
    return {crm.name: crm for crm in site_of(parse(text, "site.yaml"), Path()).crm}


@pytest.fixture(params=["hubspot", "salesforce"])
def pair(request: pytest.FixtureRequest, crms: dict[str, Crm]) -> tuple[Any, Any]:
    """(channel, the local system behind it)"""
    crm = crms[request.param]
    return (HubSpotChannel if crm.kind == "hubspot" else SalesforceChannel)(crm), request.getfixturevalue(request.param)


def lead(channel: Any, key: str = "lead/1", **values: Any) -> Outgoing:
    body = {**BODY, "values": {**BODY["values"], **values}}  # type: ignore[dict-item]
    return Outgoing(channel.name, key, "lead/zoe", body)


def test_a_lead_becomes_one_record_with_what_is_mapped(pair: tuple[Any, Any]) -> None:
    channel, system = pair
    channel.send(lead(channel))
    channel.send(lead(channel))
    channel.send(lead(channel, "lead/2", name="Zoë B."))
    (record,) = system.records.values()
    assert list(system.records) == ["zoe/+1@example.org"] and len(system.writes) == 3
    wanted = {
        "hubspot": {"email": "zoe/+1@example.org", "firstname": "Zoë B.", "source": "letter", "news": "true"},
        "salesforce": {"LastName": "Zoë B.", "Company": "web", "Source__c": "letter"},
    }
    assert record == wanted[channel.name]


def test_what_is_not_there_is_left_out_and_without_an_id_it_is_refused(pair: tuple[Any, Any]) -> None:
    channel, system = pair
    channel.send(Outgoing(channel.name, "k", "", {"kind": "lead", "values": {"email": "a@example.org"}}))
    assert "source" not in system.records["a@example.org"] and "Source__c" not in system.records["a@example.org"]
    with pytest.raises(Refused, match="has nothing for"):
        channel.send(Outgoing(channel.name, "k", "", {"kind": "lead", "values": {"name": "nobody"}}))


@pytest.mark.parametrize(
    ("answer", "wanted", "retry_after_ms"),
    [
        ((429, {"Retry-After": "11"}, {"category": "RATE_LIMITS"}), Unreachable, 11_000),
        ((503, {}, [{"errorCode": "SERVER_UNAVAILABLE"}]), Unreachable, None), ((500, {}, None), Unreachable, None),
        ((400, {}, {"category": "VALIDATION_ERROR", "message": "zoe/+1@example.org is wrong"}), Refused, None),
        ((404, {}, {"category": "OBJECT_NOT_FOUND"}), Refused, None),
        ((302, {"Location": "http://127.0.0.1:9/"}, None), Refused, None), ((409, {}, {}), Unreachable, None),
    ],
)  # fmt: skip
def test_what_they_answer_is_judged_by_one_table(
    pair: tuple[Any, Any], answer: Any, wanted: type[Exception], retry_after_ms: int | None
) -> None:
    channel, system = pair
    channel.send(lead(channel))
    system.answers = [answer]
    with pytest.raises(wanted) as raised:
        channel.send(lead(channel))
    assert getattr(raised.value, "retry_after_ms", None) == retry_after_ms
    assert "example.org" not in str(raised.value) and len(system.writes) == 1


def test_credentials_that_are_wrong_are_later_and_nobody_there_is_too(pair: tuple[Any, Any], crms: dict[str, Crm]) -> None:
    channel, system = pair
    system.token, system.client = "another", ("app", "another")
    with pytest.raises(Unreachable):
        channel.send(lead(channel))
    system.close()
    with pytest.raises(Unreachable):
        channel.send(lead(channel))
    assert not system.writes


def test_a_session_of_salesforce_that_is_over_is_made_anew(crms: dict[str, Crm], salesforce: LocalSalesforce) -> None:
    channel = SalesforceChannel(crms["salesforce"])
    channel.send(lead(channel))
    salesforce.expire()
    channel.send(lead(channel))
    assert len(salesforce.writes) == 2
    salesforce.answers = [(403, {}, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "no"}])]
    with pytest.raises(Unreachable, match="REQUEST_LIMIT_EXCEEDED"):
        channel.send(lead(channel))


def test_ten_minutes_without_it_lose_and_double_nothing_and_keep_the_order(pair: tuple[Any, Any], tmp_path: Path) -> None:
    channel, system = pair
    clock, store = ManualClock(T0), SqliteStore(tmp_path)
    outbox = Outbox(store, clock, random.Random(3).uniform)
    outbox.add(channel)
    system.is_down = True
    for number in range(20):
        with store.transaction() as transaction:
            one = lead(channel, f"lead/{number}", email=f"v{number % 4}@example.org", name=f"name {number}")
            outbox.put(transaction.run, dataclasses.replace(one, order=f"lead/{number % 4}"))
        run_for(outbox, clock, 30_000, 5_000)
    assert not system.writes
    system.is_down, system.lose_answers = False, True
    run_for(outbox, clock, 20_000, 5_000)  # it takes them, and nobody hears of it
    system.lose_answers = False
    run_for(outbox, clock, 400_000, 5_000)
    assert outbox.counts()[channel.name] == {"open": 0, "sent": 20, "dead": 0}
    assert len(system.records) == 4
    field = "firstname" if channel.name == "hubspot" else "LastName"
    for visitor in range(4):
        its = [int(fields[field].split()[1]) for record_id, fields in system.writes if record_id.startswith(f"v{visitor}")]
        assert its == sorted(its) and sorted(set(its)) == list(range(visitor, 20, 4))
        assert system.records[f"v{visitor}@example.org"][field] == f"name {16 + visitor}"
    store.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: pipedrive}", "one of hubspot"), ("{kind: hubspot, map: {email: values.email}}", "has no token"),
        ("{kind: hubspot, token: s3cret, map: {email: values.email}}", "no reference"),
        ("{kind: hubspot, token: env:T, map: {name: values.name}}", "nothing is mapped to email"),
        ("{kind: hubspot, token: env:T, map: {email: mail}}", "leads nowhere"),
        ("{kind: hubspot, token: env:T, map: {email: {}}}", "has no value"),
        ("{kind: salesforce, url: 'http://x', client_id: env:T, client_secret: env:T, id: K, map: {K: subject}}", "no address"),
    ],
)  # fmt: skip
def test_a_wrong_section_names_its_line(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "t")
    with pytest.raises(DefinitionError, match=message) as raised:
        site_of(parse(f"crm:\n  sales: {text}\n", "site.yaml"), Path())
    assert "site.yaml:2" in str(raised.value) and "s3cret" not in str(raised.value)
