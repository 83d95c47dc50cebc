"""`reflexarc store export`: every record once, in order, whole files or none, and little memory."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reflexarc_cli.store.exporting import CSV_COLUMNS
from reflexarc_cli.store.walk import NAMES
from reflexarc_core.record import KINDS, EventInput
from reflexarc_edge.log import Log
from tests.cli.kit import (
    PAYLOAD,
    SUBJECT,
    URL,
    Done,
    change_row,
    contents,
    environment,
    execute,
    make_store,
    owned_store,
    reflexarc,
)  # fmt: skip


def lines(done: Done) -> list[dict[str, Any]]:
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_every_record_is_a_line_that_says_it_all(sound: Path) -> None:
    before = contents(sound)
    found = lines(reflexarc("store", "export", sound, "-o", "-"))
    assert contents(sound) == before
    log = Log(sound)
    for line, (seq, record) in zip(found, log.records(0), strict=True):
        assert line.pop("seq") == seq
        assert line.pop("kind") == NAMES[type(record)]
        assert msgspec.convert(line, type(record)) == record
    log.close()
    assert set(NAMES) == set(KINDS.values())


def test_a_file_is_there_whole_and_for_its_owner_alone(sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    done = reflexarc("store", "export", sound, "-o", target)
    assert (done.status, done.out, done.err) == (0, "", "601 records\n")
    assert len(target.read_text().splitlines()) == 601
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert all(canary in target.read_text() for canary in (SUBJECT, URL, PAYLOAD))
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "store"]


def test_a_file_that_is_there_is_replaced_with_force_only(sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("mine")
    done = reflexarc("store", "export", sound, "-o", target)
    assert (done.status, done.lines) == (2, [f"reflexarc: {target} is there already (--force replaces it)"])
    assert target.read_text() == "mine"
    assert reflexarc("store", "export", sound, "-o", target, "--force").status == 0
    assert len(target.read_text().splitlines()) == 601


def test_kinds_and_numbers_are_chosen(sound: Path) -> None:
    events = lines(reflexarc("store", "export", sound, "-o", "-", "--kind", "events"))
    assert (len(events), {line["kind"] for line in events}) == (300, {"event"})
    decisions = lines(reflexarc("store", "export", sound, "-o", "-", "--kind", "decisions"))
    assert (len(decisions), {line["kind"] for line in decisions}) == (300, {"decision"})
    rest = lines(reflexarc("store", "export", sound, "-o", "-", "--after", "590"))
    assert [line["seq"] for line in rest] == list(range(591, 602))
    assert lines(reflexarc("store", "export", sound, "-o", "-", "--after", "601")) == []


def test_dead_letters_come_with_their_reason_and_what_can_be_read(sound: Path) -> None:
    log = Log(sound)
    seq, event = next((seq, record) for seq, record in log.records(0) if isinstance(record, EventInput))
    log.cursor.refuse(seq, "no such thing")
    log.close()
    execute(sound, "INSERT INTO dead (seq, kind, body, reason) VALUES (9, 1, X'C1', 'unreadable')")
    refused, rotten = lines(reflexarc("store", "export", sound, "-o", "-", "--kind", "dead"))
    assert (refused["seq"], refused["kind"], refused["reason"]) == (seq, "event", "refused: no such thing")
    assert refused["event"]["event_id"] == event.event.event_id
    assert rotten == {"seq": 9, "kind": "event", "reason": "unreadable"}
    assert json.loads(reflexarc("store", "inspect", sound, "--json").out)["dead_letters"] == {"refused": 1, "unreadable": 1}
    assert reflexarc("store", "export", sound, "-o", "-", "--kind", "dead", "--format", "csv").status == 2


def test_csv_has_a_row_for_each_event(sound: Path) -> None:
    done = reflexarc("store", "export", sound, "-o", "-", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert done.out.splitlines()[0] == ",".join(CSV_COLUMNS)
    events = lines(reflexarc("store", "export", sound, "-o", "-", "--kind", "events"))
    assert [(int(row["seq"]), row["subject"], json.loads(row["properties"])) for row in rows] == [
        (line["seq"], line["event"]["subject"], line["event"]["properties"]) for line in events
    ]


def test_csv_is_for_events(sound: Path) -> None:
    done = reflexarc("store", "export", sound, "-o", "-", "--format", "csv", "--kind", "decisions")
    assert (done.status, len(done.lines)) == (2, 1)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_what_only_the_journal_holds_is_exported_too(killed: Path, form: str) -> None:
    done = reflexarc("store", "export", killed, "-o", "-", "--format", form, "--kind", "events")
    assert done.err == "300 records\n"
    found = lines(reflexarc("store", "export", killed, "-o", "-"))
    assert [line["seq"] for line in found] == list(range(1, 602))


def test_a_store_in_use(tmp_path: Path) -> None:
    with owned_store(tmp_path / "store"):
        found = lines(reflexarc("store", "export", tmp_path / "store", "-o", "-"))
    assert [line["seq"] for line in found] == list(range(1, 602))


def test_an_encrypted_store_comes_out_in_the_clear_with_its_key(sealed: Path, key: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    done = reflexarc("store", "export", sealed, "-o", target)
    assert (done.status, len(done.lines), target.exists()) == (2, 1, False)
    found = lines(reflexarc("store", "export", sealed, "-o", "-", "--key-file", key))
    assert any(SUBJECT in json.dumps(line) for line in found)
    assert len(found) == 601


def test_what_cannot_be_read_is_left_out_and_said(sound: Path, tmp_path: Path) -> None:
    change_row(sound, 5)
    target = tmp_path / "out.jsonl"
    done = reflexarc("store", "export", sound, "-o", target)
    assert done.status == 1
    assert done.lines == ["600 records", f"reflexarc: 1 record cannot be read: left out (reflexarc store verify {sound})"]
    assert len(target.read_text().splitlines()) == 600


def test_a_failure_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    content = bytearray((folder / "store.db").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (folder / "store.db").write_bytes(content)
    done = reflexarc("store", "export", folder, "-o", tmp_path / "out.jsonl")
    assert (done.status, len(done.lines)) == (1, 1)
    assert os.listdir(tmp_path) == ["store"]


def test_an_interrupt_leaves_no_file_and_is_one_line(sound: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", "store", "export", str(sound), "-o", "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.read(10)  # it runs, and waits for us to read the rest
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"interrupted\n")


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", "store", "export", str(folder), "-o", "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(30)) == (b"", 1)
    process.stderr.close()


def test_a_pipe_as_a_file(sound: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "read").open("wb") as file:
        reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=file)
    assert reflexarc("store", "export", sound, "-o", tmp_path / "pipe").status == 0
    assert reader.wait(30) == 0
    assert len((tmp_path / "read").read_bytes().splitlines()) == 601
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    """Thirty times the records, and the same peak within two megabytes."""
    code = (
        "import sys\nfrom reflexarc_cli.main import cli\n"
        "cli(['store', 'export', sys.argv[1], '-o', '/dev/null'], standalone_mode=False)\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for count in (300, 9_000):
        folder = make_store(tmp_path / str(count), count)
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, env=environment(), timeout=60, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    assert (tmp_path / "9000" / "store.db").stat().st_size > 8 * 1024 * 1024
    assert abs(peaks[1] - peaks[0]) < 2, peaks


def test_the_help_says_what_it_prints() -> None:
    done = reflexarc("store", "export", "--help")
    assert "PRINTS WHAT WAS CAPTURED" in done.out


def test_the_oldest_record_may_be_anyones(sound: Path) -> None:
    execute(sound, "DELETE FROM log WHERE seq < 300")
    assert [line["seq"] for line in lines(reflexarc("store", "export", sound, "-o", "-"))] == list(range(300, 602))
