"""`reflexarc simulate`: a catalog tried on a device's store, on its export, and on plain events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.kit import CATALOG, Done, reflexarc

COOLER = CATALOG.replace("cooldown: 1h", "cooldown: 52w")


def simulated(*words: object) -> Done:
    return reflexarc("simulate", *words)


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    file = tmp_path / "live.yaml"
    file.write_text(CATALOG)
    return file


def test_the_live_catalog_over_its_own_store_decides_the_same(sound: Path, catalog_file: Path, tmp_path: Path) -> None:
    found = json.loads(simulated("--catalog", catalog_file, "--events", sound, "--changes", "1000", "--json").out)
    reflexarc("store", "export", sound, "-o", tmp_path / "decisions.jsonl", "--kind", "decisions")
    lines = [json.loads(line)["decision"] for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    first = {one["decision_id"]: one["reason"] for one in lines if one["record"] == 0}
    assert found["events"] == 300
    again = {one["decision_id"]: one["new"] for one in found["changes"]}
    assert first, "a store without decisions says nothing"
    assert again == first
    assert sum(found["triggers"]["hesitating"]["new"].values()) == len(first)


def test_what_differs_is_told_by_reason_and_by_decision(sound: Path, catalog_file: Path, tmp_path: Path) -> None:
    cooler = tmp_path / "cooler.yaml"
    cooler.write_text(COOLER)
    exported = tmp_path / "records.jsonl"
    reflexarc("store", "export", sound, "-o", exported, "--kind", "all")
    words = ("--catalog", cooler, "--against", catalog_file, "--changes", "3")
    by_store = simulated(*words, "--events", sound)
    assert by_store.status == 0
    assert "decisions of" in by_store.out
    ids = [json.loads(simulated(*words, "--events", place, "--json").out) for place in (sound, exported)]
    assert ids[0]["triggers"] == ids[1]["triggers"], "a store and its export hold the same"
    same = simulated("--catalog", catalog_file, "--against", catalog_file, "--events", sound)
    assert "0 decisions of 0 subjects come out otherwise" in same.out


def test_what_is_still_in_the_journal_of_a_killed_process_counts_too(killed: Path, catalog_file: Path, tmp_path: Path) -> None:
    exported = reflexarc("store", "export", killed, "-o", tmp_path / "events.jsonl", "--kind", "events")
    assert exported.status == 0
    events = len((tmp_path / "events.jsonl").read_text().splitlines())
    assert json.loads(simulated("--catalog", catalog_file, "--events", killed, "--json").out)["events"] == events


def test_plain_events_and_everybody_at_the_end(catalog_file: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    lines = [
        {"event_type": "page_view", "subject": f"known:{n}", "event_time": 1_700_000_000_000 + n, "properties": {"page_url": "/"}}
        for n in range(5)
    ]
    events.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    trigger = "  busy: {condition: features.page_views > 0.0, on: [purchase], action: offer}\n"
    wider = tmp_path / "wider.yaml"
    wider.write_text(CATALOG.replace("triggers:\n", "triggers:\n" + trigger).replace("${event.session_step}", "x"))
    words = ("--catalog", wider, "--against", catalog_file, "--events", events, "--subjects", "existing")
    assert json.loads(simulated(*words, "--json").out)["preview"] == {"busy": {"FIRED": 5}}
    assert "on everybody known at the end: 2 would fire" in simulated(*words, "--limit", "2").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "not an object"),
        ('{"event_type": "page_view"}', "no event"),
        ('{"event_type": "nothing", "subject": "known:1", "event_time": 1}', "no event type 'nothing'"),
        ('{"event_type": "page_view", "subject": "nobody", "event_time": 1}', "a subject that is none"),
        ('{"kind": "strange"}', "no record is of kind 'strange'"),
        ('{"kind": "event", "moment": 3}', "Expected `object`"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, said: str, catalog_file: Path, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(f"\n{text}\n")
    done = simulated("--catalog", catalog_file, "--events", events)
    assert done.status == 1
    assert len(done.lines) == 1
    assert f"{events}:2: " in done.err
    assert said in done.err


def test_misuse_says_what_to_write(catalog_file: Path, sound: Path, tmp_path: Path) -> None:
    assert simulated("--catalog", catalog_file, "--events", sound, "--limit", "3").status == 2
    unknown = simulated("--catalog", catalog_file, "--events", sound, "--subjects", "existing", "--trigger", "nobody")
    assert (unknown.status, "known: hesitating" in unknown.err) == (2, True)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "0 events of 0 subjects" in simulated("--catalog", catalog_file, "--events", empty).out
