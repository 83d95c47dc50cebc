"""`reflexarc catalog`: what differs between two catalogs, which version is live, and the way back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc_build.reader import build_text
from reflexarc_cli.catalogs.versions import Versions
from reflexarc_core.catalog import Catalog
from tests.cli.kit import Done, reflexarc

ONE = """
include: standard
version: "1"
triggers:
  pricing: {condition: event.page_url == "/pricing", on: [page_view], cooldown: 1d, action: offer}
actions: {offer: {payload: {text: hello}}}
"""
TWO = ONE.replace('version: "1"', 'version: "2"').replace("cooldown: 1d", "cooldown: 2d").replace('"/pricing"', '"/plans"')
THREE = ONE.replace("actions: {", "actions: {letter: {channel: email}, ").replace('"1"', '"3"')


def catalog(*words: object) -> Done:
    return reflexarc("catalog", *words)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for name, text in (("one", ONE), ("two", TWO), ("three", THREE)):
        made.append(tmp_path / f"{name}.yaml")
        made[-1].write_text(text)
    return made


def promoted(folder: Path, *files: Path) -> None:
    for file in files:
        assert catalog("promote", file, "--to", folder, "--by", "ann", "--yes").status == 0


def live(folder: Path) -> str:
    return Catalog.from_bytes((folder / "live.json").read_bytes()).version


def test_a_difference_names_definitions_and_what_changed_in_them(files: list[Path], tmp_path: Path) -> None:
    said = catalog("diff", files[0], files[1])
    assert said.out.splitlines() == [
        "~ trigger pricing",
        '    condition: event.page_url == "/pricing" -> event.page_url == "/plans"',
        "    policy.cooldown_ms: 86400000 -> 172800000",
        "~ catalog version",
        "    text: 1 -> 2",
    ]
    assert "+ action letter" in catalog("diff", files[0], files[2]).out
    assert "- action letter" in catalog("diff", files[2], files[0]).out
    assert catalog("diff", files[0], files[0]).out == "no definition differs\n"
    assert catalog("build", files[0], "-o", tmp_path / "one.json").status == 0
    same = json.loads(catalog("diff", tmp_path / "one.json", files[0], "--json").out)
    assert (same["old"], same["changes"]) == (same["new"], []), "a built catalog is its source"


def test_a_version_is_made_live_and_taken_back(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    promoted(folder, *files)
    assert live(folder) == "3"
    assert catalog("rollback", "--in", folder, "--by", "bob").status == 0
    assert live(folder) == "2"
    first = build_text(ONE).digest
    assert catalog("rollback", "--in", folder, "--to", first[:10], "--by", "bob", "--note", "too soon").status == 0
    assert live(folder) == "1"
    told = json.loads(catalog("history", "--in", folder, "--json").out)["history"]
    assert [(entry["action"], entry["version"], entry["by"]) for entry in told] == [
        ("promoted", "1", "ann"), ("promoted", "2", "ann"), ("promoted", "3", "ann"), ("rolled back", "2", "bob"),
        ("rolled back", "1", "bob"),
    ]  # fmt: skip
    with Client(tmp_path / "store", catalog=folder / "live.json") as client:
        assert client.track("page_view", {"page_url": "/pricing"}).decisions[0].reason == "FIRED"


def test_rolling_back_twice_goes_back_twice(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    promoted(folder, *files)
    assert [(catalog("rollback", "--in", folder).status, live(folder)) for _ in range(3)] == [(0, "2"), (0, "1"), (2, "1")]
    promoted(folder, files[2])
    told = catalog("rollback", "--in", folder, "--by", "bob")
    assert told.out.splitlines()[0] == "- action letter", "what changes is told"
    assert "rolled back" in told.out and "by bob" in told.out.splitlines()[-1]
    assert live(folder) == "1", "what was rolled back from is not behind it"
    same = catalog("rollback", "--in", folder, "--to", build_text(ONE).digest)
    assert (same.status, "live already" in same.err) == (2, True)


def test_whoever_is_killed_before_the_history_has_it_can_be_rolled_back(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    promoted(folder, *files[:2])
    (folder / "live.json").write_bytes(build_text(THREE).to_bytes())
    assert catalog("rollback", "--in", folder).status == 0
    assert live(folder) == "2"


def test_several_at_once_make_one_line(tmp_path: Path) -> None:
    """Each entry's `before` is the one that really was live: nobody's change goes unseen."""
    fresh = [build_text(ONE.replace('"1"', f'"{n}"')) for n in range(12)]
    with ThreadPoolExecutor(6) as people:
        list(people.map(lambda one: Versions(tmp_path / "prod").promote(one, "ann", "", 0), fresh))
    entries = Versions(tmp_path / "prod").history()
    assert [entry.before for entry in entries] == ["", *(entry.digest for entry in entries[:-1])]
    live_one = Versions(tmp_path / "prod").live()
    assert live_one is not None and live_one.digest == entries[-1].digest


def test_a_proposal_is_a_change_of_what_was_live(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    promoted(folder, files[0])
    assert catalog("promote", files[1], "--to", folder, "--by", "ann", "--yes", "--needs-approval").status == 0
    promoted(folder, files[2])
    late = catalog("approve", "--in", folder, "--by", "bob")
    assert (late.status, "propose it again" in late.err, live(folder)) == (2, True, "3")
    (folder / "pending.json").write_text('{"digest": 1}')
    assert "nothing waits" in catalog("approve", "--in", folder, "--by", "bob").err


def test_a_proposal_waits_for_somebody_else(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    promoted(folder, files[0])
    assert catalog("promote", files[1], "--to", folder, "--by", "ann", "--yes", "--needs-approval").status == 0
    assert live(folder) == "1"
    own = catalog("approve", "--in", folder, "--by", "ann")
    assert (own.status, "somebody else" in own.err) == (2, True)
    assert catalog("approve", "--in", folder, "--by", "bob").status == 0
    assert live(folder) == "2"
    assert catalog("approve", "--in", folder, "--by", "bob").status == 2, "nothing waits any more"


def test_what_cannot_be_is_one_clear_line(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    assert catalog("promote", files[0], "--to", folder).status == 2, "nobody can be asked"
    assert not folder.exists()
    promoted(folder, files[0])
    again = catalog("promote", files[0], "--to", folder, "--yes")
    assert (again.status, "live already" in again.err) == (2, True)
    assert catalog("rollback", "--in", folder).status == 2, "there is none before the first"
    assert "no version with digest" in catalog("rollback", "--in", folder, "--to", "0000").err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ONE.replace("page_view", "page_vew"))
    refused = catalog("promote", wrong, "--to", folder, "--yes")
    assert (refused.status, "wrong.yaml:5" in refused.err, live(folder)) == (1, True, "1")
    assert catalog("history", "--in", tmp_path / "nowhere").err.strip() == "nothing was promoted here yet"


def test_a_line_cut_off_and_a_version_that_rotted_do_no_harm(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "prod"
    promoted(folder, *files[:2])
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"time": 1, "action": "pro')
    assert len(json.loads(catalog("history", "--in", folder, "--json").out)["history"]) == 2
    promoted(folder, files[2], files[1])
    assert len(json.loads(catalog("history", "--in", folder, "--json").out)["history"]) == 4
    version = folder / "versions" / f"{build_text(ONE).digest}.json"
    version.write_bytes(version.read_bytes().replace(b"hello", b"hallo"))
    refused = catalog("rollback", "--in", folder, "--to", build_text(ONE).digest)
    assert (refused.status, "another one now" in refused.err, live(folder)) == (1, True, "2")
