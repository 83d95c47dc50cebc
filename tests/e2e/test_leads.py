"""A form on a real server, HubSpot and Salesforce in their shape: how long a lead takes, and what a kill in an outage costs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reflexarc_server.testing import LocalHubSpot, LocalSalesforce
from tests.identity.kit import Authority
from tests.server.kit import wait_for

SUBMISSIONS, PEOPLE, KILLED = 200, 40, 60
EVERY_S = 0.05
"""Between two submissions: a busy site has one in minutes."""
BROWSERS = 4
"""That send one submission behind the other, without a pause."""
SITE = """
web:
  keys:
    shop: {{key: wk_shop_1}}
  limits: {{address_calls_per_s: 0, key_calls_per_s: 0}}
crm:
  hubspot: {{kind: hubspot, token: "env:TOKEN", url: "{hubspot}", map: {{email: values.email, last: values.name}}}}
  salesforce:
    kind: salesforce
    url: "{salesforce}"
    client_id: env:CLIENT_ID
    client_secret: env:CLIENT_SECRET
    id: Key__c
    ca_file: "{ca}"
    map: {{Key__c: values.email, LastName: values.name}}
forms:
  quote:
    type: lead_gen
    to: [hubspot, salesforce]
    identify_by: email
    fields:
      email: {{type: email, required: true}}
      name: {{required: true}}
"""
_PROGRAM = """
import sys
from pathlib import Path
from reflexarc.definitions import load_catalog
from reflexarc_server.app import http_options, start_server
from reflexarc_server.site import read_site
folder = Path(sys.argv[1])
server = start_server(folder / "server", "127.0.0.1:0", load_catalog(None), insecure=True,
                      http=http_options("127.0.0.1:0", None), site=read_site(folder / "site.yaml"))
print(server.http.address, flush=True)
sys.stdin.read()
server.stop()
"""


class _Timed:
    """When each write came, by the name it brought."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.lock = threading.Lock()

    def saw(self, name: str) -> None:
        with self.lock:
            self.at.setdefault(name, time.perf_counter())


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[tuple[LocalHubSpot, LocalSalesforce]]:
    files = Authority(tmp_path / "tls").issue().files
    hubspot, salesforce = LocalHubSpot(), LocalSalesforce((str(files.cert), str(files.key)))
    text = SITE.format(hubspot=hubspot.url, salesforce=salesforce.url, ca=tmp_path / "tls" / "authority.pem")
    (tmp_path / "site.yaml").write_text(text)
    yield hubspot, salesforce
    hubspot.close()
    salesforce.close()


def started(folder: Path) -> tuple[subprocess.Popen[str], str]:
    secrets = {"TOKEN": LocalHubSpot.token, "CLIENT_ID": LocalSalesforce.client[0], "CLIENT_SECRET": LocalSalesforce.client[1]}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **secrets},
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def submit(address: str, number: int) -> int:
    values = {"email": f"v{number % PEOPLE}@example.org", "name": f"name {number}"}
    body = {"key": "wk_shop_1", "anonymous_id": f"visitor-{number % PEOPLE}", "id": str(number), "values": values}
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("POST", "/forms/quote", json.dumps(body), {"content-type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def ended(process: subprocess.Popen[str], how: signal.Signals | None = None) -> None:
    assert process.stdin is not None and process.stdout is not None
    if how is not None:
        process.send_signal(how)
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def test_a_lead_is_in_both_crms_within_a_second_and_a_kill_in_an_outage_costs_none(
    systems: tuple[LocalHubSpot, LocalSalesforce], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hubspot, salesforce = systems
    timed = {"hubspot": _Timed(), "salesforce": _Timed()}
    hubspot.on_write = lambda _, fields: timed["hubspot"].saw(fields["last"])
    salesforce.on_write = lambda _, fields: timed["salesforce"].saw(fields["LastName"])
    process, address = started(tmp_path)
    sent: dict[str, float] = {}

    def one(number: int) -> None:
        sent[f"name {number}"] = time.perf_counter()
        assert submit(address, number) == 200

    def told(pace: str) -> None:
        wait_for(lambda: all(sent.keys() <= its.at.keys() for its in timed.values()), 60)
        with capsys.disabled():
            for name, its in timed.items():
                took = sorted((its.at[key] - sent[key]) * 1_000 for key in sent)
                p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99) - 1]
                said = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms over {len(took)} submissions, {pace}"
                print(f"\nform to {name}: {said}, load {os.getloadavg()[0]:.1f}")
        sent.clear()

    clock = threading.Event()  # nobody sets it: a wait for it ends at its deadline
    begin = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:  # each at its time, however long those before take
        waiting = []
        for number in range(SUBMISSIONS):
            clock.wait(max(0.0, begin + number * EVERY_S - time.perf_counter()))
            waiting.append(pool.submit(one, number))
        for each in waiting:
            each.result()
    told(f"one each {EVERY_S * 1_000:.0f} ms")
    with ThreadPoolExecutor(BROWSERS) as pool:
        for each in [pool.submit(one, number) for number in range(SUBMISSIONS, 2 * SUBMISSIONS)]:
            each.result()
    told(f"{BROWSERS} browsers without a pause")
    assert len(hubspot.records) == len(salesforce.records) == PEOPLE

    hubspot.writes.clear()
    salesforce.writes.clear()
    hubspot.is_down = salesforce.is_down = True
    for number in range(2 * SUBMISSIONS, 2 * SUBMISSIONS + KILLED):
        assert submit(address, number) == 200
        if number == 2 * SUBMISSIONS + KILLED // 2:
            ended(process, signal.SIGKILL)
            process, address = started(tmp_path)
    ended(process, signal.SIGKILL)
    hubspot.is_down = salesforce.is_down = False
    process, address = started(tmp_path)
    wanted = [f"name {number}" for number in range(2 * SUBMISSIONS, 2 * SUBMISSIONS + KILLED)]
    wait_for(lambda: len(hubspot.writes) >= KILLED and len(salesforce.writes) >= KILLED, 60)
    ended(process)
    for system, field in ((hubspot, "last"), (salesforce, "LastName")):
        assert sorted(fields[field] for _, fields in system.writes) == sorted(wanted)
        assert len(system.records) == PEOPLE
        for person in range(PEOPLE):
            its = [int(fields[field].split()[1]) for who, fields in system.writes if who == f"v{person}@example.org"]
            assert its == sorted(its)
