"""`reflexarc store inspect`: what is there, without a trace and without a word of what was captured."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_edge.capture import CAPTURE_KIND, encode_capture
from reflexarc_edge.journal import Journal
from reflexarc_edge.owners import CaptureJournal
from tests.cli.kit import (
    SUBJECT,
    T0,
    URL,
    catalog,
    change_row,
    contents,
    execute,
    is_clean,
    killed_store,
    make_store,
    owned_store,
    reflexarc,
    rot_page,
)  # fmt: skip


def facts(folder: Path, *options: str | Path) -> dict[str, Any]:
    done = reflexarc("store", "inspect", folder, "--json", *options)
    assert done.status == 0, done.err
    assert is_clean(done)
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_closed_store_is_counted_and_left_as_it_was(sound: Path) -> None:
    before, names = contents(sound), sorted(os.listdir(sound))
    found = facts(sound)
    records = found["records"]
    assert (records["held"], records["first"], records["last"], records["newest"]) == (601, 1, 601, 601)
    assert records["by_kind"] == {"catalog": 1, "decision": 300, "event": 300}
    assert (records["acknowledged"], records["not_acknowledged"], records["behind_snapshot"]) == (0, 601, 0)
    assert found["snapshot"] == {"seq": 601, "subjects": 7}
    assert list(found["catalogs"]) == [catalog().digest]
    assert (found["version"], found["encrypted"], found["unreadable"]) == (2, False, [])
    assert found["actions_waiting"] == 7
    assert (contents(sound), sorted(os.listdir(sound))) == (before, names)


def test_the_page_has_a_line_for_every_fact_and_nothing_that_was_captured(sound: Path) -> None:
    done = reflexarc("store", "inspect", sound)
    assert done.status == 0
    assert is_clean(done)
    labels = {line[:17].strip() for line in done.out.split("\n\n")[0].splitlines()}
    wanted = {"store", "owner", "installation", "incarnation", "records", "acknowledged", "snapshot", "journal", "lost",
              "dead letters", "actions", "other processes", "erased", "catalogs", "set aside"}  # fmt: skip
    assert wanted <= labels
    assert "601 held, numbers 1 to 601" in done.out


def test_identity_is_told(sound: Path) -> None:
    with Client(sound) as client:
        installation, incarnation = client.log.installation, client.log.incarnation
    found = facts(sound)
    assert (found["installation"], found["incarnation"]) == (installation, incarnation)


def test_a_store_in_use_is_read_beside_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with owned_store(folder) as process:
        found = facts(folder)
        assert found["owner"] == {"pid": process.pid, "alive": True}
        assert found["records"]["held"] + found["records"]["in_journal_only"] == 601
        assert found["records"]["newest"] == 601
        assert not (folder / "captures").exists()
        assert (folder / "owner.lock").read_text() == str(process.pid)
    assert facts(folder)["owner"] == {"pid": process.pid, "alive": False}


def test_a_killed_store_is_read_as_it_lies(killed: Path) -> None:
    before, names = contents(killed), sorted(os.listdir(killed))
    found = facts(killed)
    assert found["records"]["held"] + found["records"]["in_journal_only"] == 601
    assert (contents(killed), sorted(os.listdir(killed))) == (before, names)


def test_a_copy_without_the_index_of_its_write_ahead_log_stays_without(tmp_path: Path) -> None:
    with owned_store(tmp_path / "one", 2_000) as process:
        while not (tmp_path / "one" / "store.db-wal").stat().st_size:
            assert process.poll() is None
        process.kill()
        process.wait()
    copy = Path(shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("*-shm")))
    names = sorted(os.listdir(copy))
    found = facts(copy)
    assert found["records"]["held"] + found["records"]["in_journal_only"] == found["records"]["newest"]
    assert sorted(os.listdir(copy)) == names


def test_an_encrypted_store_is_told_without_its_key_but_for_two_values(sealed: Path, key: Path) -> None:
    found = facts(sealed)
    assert found["encrypted"]
    assert (found["records"]["held"], found["snapshot"]["subjects"]) == (601, 7)
    assert (found["records"]["acknowledged"], found["snapshot"]["seq"]) == (None, None)
    assert "not readable without --key-file" in reflexarc("store", "inspect", sealed).out
    found = facts(sealed, "--key-file", key)
    assert (found["records"]["acknowledged"], found["snapshot"]["seq"]) == (0, 601)


def test_losses_and_dead_letters_are_counted_by_reason(sound: Path) -> None:
    for seq in (10, 11, 40):
        change_row(sound, seq)
    assert reflexarc("store", "repair", sound).status == 0
    found = facts(sound)
    assert found["losses"] == {"damaged": 3}
    assert found["dead_letters"] == {"damaged": 3}


def test_a_reason_that_rotted_is_not_shown(sound: Path) -> None:
    execute(sound, "INSERT INTO dead (seq, kind, body, reason) VALUES (1, 1, X'00', ?)", f"known:{SUBJECT} was here")
    assert facts(sound)["dead_letters"] == {"unknown": 1}


def test_captures_of_other_processes_are_counted(sound: Path) -> None:
    journal = CaptureJournal(sound)
    for number in range(5):
        journal.append(
            CAPTURE_KIND,
            encode_capture(("page_view", f"known:{SUBJECT}", "", T0, 0, False, False, 1, -1, {"page_url": f"{URL}{number}"})),
        )
    assert facts(sound)["captures_of_others"] == {"journals": 1, "alive": 1, "waiting": 5}
    journal.close()
    assert facts(sound)["captures_of_others"] == {"journals": 1, "alive": 0, "waiting": 5}
    execute(sound, "INSERT INTO taken VALUES (?, 3)", journal.name)
    assert facts(sound)["captures_of_others"]["waiting"] == 2
    opened = Journal(sound / "captures" / f"{journal.name}.journal")
    opened.taken_seq = 4  # as its owner tells whoever captures
    opened.close()
    assert facts(sound)["captures_of_others"]["waiting"] == 1


def test_erased_subjects_are_counted(sound: Path) -> None:
    with Client(sound, clock=ManualClock(T0)) as client:
        client.forget(f"known:{SUBJECT}-3")
    found = facts(sound)
    assert found["erased_subjects"] == 1
    assert found["losses"]["erased"] > 10


def test_the_bound_is_told_where_the_journal_shows_it(tmp_path: Path, sound: Path) -> None:
    make_store(tmp_path / "small", 5, config=Config(store_bytes_max=2 * 1024 * 1024))
    bound = facts(tmp_path / "small")["bytes_max"]
    assert abs(bound - 2 * 1024 * 1024) < 64 * 1024
    assert facts(sound)["bytes_max"] is None


def test_sizes_are_those_of_the_files(sound: Path) -> None:
    found = facts(sound)
    assert found["files"] == {name: (sound / name).stat().st_size for name in os.listdir(sound)}
    assert found["bytes"] == sum(found["files"].values())


def test_what_can_be_told_of_a_damaged_store_is_told(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    rot_page(folder, count=2)
    found = facts(folder)
    assert found["unreadable"]
    assert found["snapshot"]["subjects"] == 7
    assert found["installation"]
    (folder / "store.db").write_bytes(b"noise" * 5_000)
    found = facts(folder)
    assert any("damaged" in what for what in found["unreadable"])
    assert found["files"]["store.db"] == 25_000
    page = reflexarc("store", "inspect", folder)
    assert page.status == 0
    assert "cannot be read" in page.out


def test_what_was_set_aside_is_named(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    rot_page(folder)
    reflexarc("store", "repair", folder)
    assert "set-aside/0001.store.db" in facts(folder)["set_aside"]


def test_without_a_database_the_rest_is_told(killed: Path) -> None:
    (killed / "store.db").unlink()
    found = facts(killed)
    assert any("is not there" in what for what in found["unreadable"])
    assert found["installation"]


def test_an_older_store_is_read(sound: Path) -> None:
    make_old(sound)
    found = facts(sound)
    assert (found["version"], found["records"]["held"], found["erased_subjects"]) == (1, 601, 0)


def make_old(folder: Path) -> None:
    """As the version before this wrote it."""
    for statement in (
        "DROP TABLE taken", "DROP TABLE dead", "DROP TABLE erased", "ALTER TABLE log DROP COLUMN priority",
        "ALTER TABLE pending DROP COLUMN seq", "PRAGMA user_version=1",
    ):  # fmt: skip
        execute(folder, statement)


def test_a_killed_store_can_still_be_opened_afterwards(tmp_path: Path) -> None:
    folder = killed_store(tmp_path / "store", 50)
    facts(folder)
    with Client(folder, catalog=catalog()) as client:
        assert client.log.last_seq >= 101
