"""`reflexarc catalog` and `explain` against a running server: real processes, and a device that follows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc import Client, Config
from reflexarc_build.reader import build_text
from tests.cli.kit import Done, environment, reflexarc
from tests.server.kit import wait_for

ONE = """
include: standard
version: "1"
triggers:
  pricing: {condition: event.page_url == "/pricing", on: [page_view], action: offer}
  third: {placement: server, condition: features.page_views == 3.0, on: [page_view], action: offer}
actions: {offer: {payload: {text: hello}}}
"""
TWO = ONE.replace('version: "1"', 'version: "2"').replace('"/pricing"', '"/plans"')
UNTRUE = ONE.replace("action: offer}", "action: nothing}", 1)
CONFIG = Config(insecure=True, offset_minutes=0, poll_ms=50, flush_interval_ms=5, backoff_ms_min=20, backoff_ms_max=100)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of `reflexarc serve`, which ends with the test."""
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(TWO)
    words = ("--until-input-ends", "serve", "--data", str(tmp_path / "data"), "--address", "127.0.0.1:0", "--insecure")
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", *words, "--catalog", str(tmp_path / "one.yaml")],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    try:
        yield process.stderr.readline().removeprefix("listening on ").strip()
    finally:
        process.communicate(timeout=30)
    assert process.returncode in (0, 129, 143), process.returncode


def catalog(*words: object) -> Done:
    return reflexarc("catalog", *words)


def test_a_catalog_is_promoted_devices_follow_and_it_is_taken_back(server: str, tmp_path: Path) -> None:
    there = ("--server", server, "--insecure")
    client = Client(tmp_path / "device", catalog=build_text(ONE), server=server, config=CONFIG)

    def reasons(url: str) -> list[str]:
        return [str(one.reason) for one in client.track("page_view", {"page_url": url}, subject="known:1").decisions]

    assert (reasons("/pricing"), reasons("/plans")) == (["FIRED"], [])
    refused = catalog("promote", tmp_path / "two.yaml", *there)
    assert (refused.status, "--yes" in refused.err) == (2, True), "nobody could be asked"
    done = catalog("promote", tmp_path / "two.yaml", *there, "--yes", "--by", "ann", "--note", "spring")
    assert (done.status, done.err) == (0, ""), done.err
    assert done.out.splitlines()[:2] == [
        "~ trigger pricing", '    condition: event.page_url == "/pricing" -> event.page_url == "/plans"',
    ]  # fmt: skip
    assert " promoted " in done.out.splitlines()[-1] and done.out.endswith("by ann: spring\n")
    wait_for(lambda: client.device.runtime.engine.plan.catalog.version == "2")
    assert (reasons("/pricing"), reasons("/plans")) == ([], ["FIRED"])

    back = catalog("rollback", *there, "--by", "bob")
    assert (back.status, '"/plans" -> event.page_url == "/pricing"' in back.out) == (0, True)
    wait_for(lambda: client.device.runtime.engine.plan.catalog.version == "1")
    assert (reasons("/pricing"), reasons("/plans")) == (["FIRED"], [])
    told = json.loads(catalog("history", *there, "--json").out)["history"]
    assert [(one["action"], one["version"], one["by"]) for one in told] == [
        ("began", "1", "ann"), ("promoted", "2", "ann"), ("rolled back", "1", "bob"),
    ]  # fmt: skip
    assert len(catalog("history", *there).out.splitlines()) == 3
    again = catalog("rollback", *there)
    assert (again.status, len(again.lines)) == (1, 1), "there is nothing before the first"
    client.close()


def test_what_cannot_be_is_one_line(server: str, tmp_path: Path) -> None:
    there = ("--server", server, "--insecure")
    same = catalog("promote", tmp_path / "one.yaml", *there, "--yes")
    assert same.status == 0, "what was served from the start becomes a bundle"
    again = catalog("promote", tmp_path / "one.yaml", *there, "--yes")
    assert (again.status, "live already" in again.err, len(again.lines)) == (1, True, 1)
    (tmp_path / "untrue.yaml").write_text(UNTRUE)
    wrong = catalog("promote", tmp_path / "untrue.yaml", *there, "--yes")
    assert (wrong.status, "untrue.yaml" in wrong.err, "nothing" in wrong.err) == (1, True, True)
    built = json.loads(build_text(ONE).to_bytes())
    built["triggers"]["pricing"]["action"] = "nothing"
    (tmp_path / "hand.json").write_text(json.dumps(built))
    by_hand = catalog("promote", tmp_path / "hand.json", *there, "--yes")
    assert (by_hand.status, "trigger pricing: no action 'nothing'" in by_hand.err, len(by_hand.lines)) == (1, True, 1)
    for words in (
        ("promote", tmp_path / "two.yaml", *there, "--to", tmp_path / "prod"),
        ("promote", tmp_path / "two.yaml", "--yes"),
        ("promote", tmp_path / "two.yaml", *there, "--needs-approval", "--yes"),
        ("history", *there, "--in", tmp_path / "prod"),
        ("rollback",),
    ):
        assert catalog(*words).status == 2, words
    assert not (tmp_path / "prod").exists()
    nobody = catalog("history", "--server", "127.0.0.1:9", "--insecure")
    assert (nobody.status, len(nobody.lines)) == (1, 1)


def test_a_servers_trigger_is_explained_in_the_form_of_a_devices(server: str, tmp_path: Path) -> None:
    there = ("--server", server, "--insecure")
    with Client(tmp_path / "device", catalog=build_text(ONE), server=server, config=CONFIG) as client:
        for _ in range(3):
            client.track("page_view", {"page_url": "/pricing"}, subject="known:1")
        assert client.flush(10).delivered
    words = ("explain", *there, "--subject", "known:1", "third")
    wait_for(lambda: bool(json.loads(reflexarc(*words, "--json").out)["decisions"]))
    told = reflexarc(*words)
    assert told.out.splitlines()[:3] == [
        "third for known:1, catalog 1", "  true: features.page_views == 3.0   [features.page_views = 3.0]", "  passes: paused",
    ]  # fmt: skip
    assert told.out.splitlines()[-1].endswith(": FIRED")
    there_too = json.loads(reflexarc(*words, "--json").out)
    here = json.loads(reflexarc("explain", tmp_path / "device", "pricing", "--subject", "known:1", "--json").out)
    assert here.keys() == there_too.keys()
    assert (here["trigger"], there_too["trigger"], here["catalog"]) == ("pricing", "third", there_too["catalog"])
    assert here["decisions"][0].keys() == there_too["decisions"][0].keys()
    assert here["decisions"][0]["reason"] == "FIRED"
    devices = reflexarc("explain", *there, "--subject", "known:1", "pricing")
    assert "ask the device" in devices.out and "FIRED" in devices.out, "what devices decided is told all the same"
    unknown = reflexarc("explain", *there, "--subject", "known:1", "nothing")
    assert (unknown.status, len(unknown.lines)) == (1, 1)
    for wrong in (
        ("explain",),
        ("explain", tmp_path / "device"),
        ("explain", *there, "third"),
        ("explain", *there, "--decision", "d"),
        ("explain", *there, tmp_path / "device", "third"),
        ("explain", tmp_path / "device", "third", "--decision", "d"),
    ):
        assert reflexarc(*wrong).status == 2, wrong
