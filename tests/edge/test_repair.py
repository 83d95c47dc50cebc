"""Repair: what a damaged store becomes, and what stays true of its numbers."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from reflexarc_core.errors import StorageError
from reflexarc_core.record import LossOutput, TickInput
from reflexarc_edge.log import Log
from reflexarc_edge.schema import PAGE_BYTES
from reflexarc_edge.seal import Sealed
from reflexarc_edge.store import Store
from reflexarc_edge.upload import upload_batch
from tests.edge.kit import NOW, filled

COUNT = 3_000


def numbers(log: Log) -> dict[int, str]:
    return {seq: record.reason if isinstance(record, LossOutput) else "" for seq, record in log.records(0)}


def test_a_repair_while_running_touches_no_record_that_is_there(tmp_path: Path) -> None:
    log = filled(tmp_path, COUNT)
    with log.spool.store.transaction() as db:
        log.spool.upkeep._lose(db, 100, 109, "evicted")
    before = numbers(log)
    log.spool.mend("a page: rotted", log.spool.store)
    assert numbers(log) == before
    assert log.append([TickInput(NOW)]) == COUNT + 1
    log.close()


def test_a_database_that_is_gone_begins_a_numbering_of_its_own_and_says_so(tmp_path: Path) -> None:
    log = filled(tmp_path, 100)
    installation, incarnation = log.installation, log.incarnation
    log.close()
    (tmp_path / "store.db").unlink()
    log = Log(tmp_path)
    assert log.installation == installation
    assert log.incarnation != incarnation, "its numbers would be taken for those the server has"
    assert any("gone" in note for note in log.spool.repair.notes)
    log.close()


def test_a_database_that_ends_within_a_page_misses_no_record_unsaid(tmp_path: Path) -> None:
    """What a page lacks reads as zeros, which SQLite takes for rows; a write-ahead log in use keeps it from seeing the end."""
    log = filled(tmp_path / "sound", 500)
    log.spool.store.checkpoint(force=True)
    log.append([TickInput(NOW)])
    log.drain()
    shutil.copytree(tmp_path / "sound", tmp_path / "killed")
    log.close()
    pages = (tmp_path / "killed" / "store.db").stat().st_size // PAGE_BYTES
    for cut in [page * PAGE_BYTES + part for page in range(1, pages) for part in (200, 2_000, 4_000)]:
        shutil.copytree(tmp_path / "killed", tmp_path / str(cut))
        os.truncate(tmp_path / str(cut) / "store.db", cut)
        log = Log(tmp_path / str(cut))
        named = numbers(log)
        losses = [record for _, record in log.records(0) if isinstance(record, LossOutput)]
        explained = {number for loss in losses for number in range(loss.first_seq, loss.last_seq + 1)}
        assert set(range(1, 502)) <= named.keys() | explained or log.spool.repair.notes, cut
        log.close()


def test_a_store_that_does_not_open_for_want_of_room_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host tries again until there is room."""
    log = filled(tmp_path / "live", 100)
    with log.spool.store.lock:  # what comes now is in the journal only
        log.append([TickInput(NOW)])
        shutil.copytree(tmp_path / "live", tmp_path / "killed")
    log.close()

    def full(store: Store, entries: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "insert", full)
        open_before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with pytest.raises(StorageError, match="full"):
                Log(tmp_path / "killed")
        assert len(os.listdir("/proc/self/fd")) == open_before
    log = Log(tmp_path / "killed")
    assert len(numbers(log)) == 101
    log.close()


def test_the_oldest_records_are_explained_as_well(tmp_path: Path) -> None:
    log = filled(tmp_path, COUNT)
    log.sync_to_disk()
    log.acknowledge(10)
    log.close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("DELETE FROM log WHERE seq <= 200")
        db.execute("DROP TABLE erased")  # what makes it a damaged one
    db.close()
    log = Log(tmp_path)
    log.sync_to_disk()
    batch = upload_batch(log, 10, 1 << 20)
    named = {number for loss in batch.losses for number in range(loss.first_seq, loss.last_seq + 1)}
    assert set(range(1, 201)) <= named
    assert [seq for seq, _, _ in batch.records] == list(range(201, 211))
    log.close()


def test_a_sealed_ruin_is_left_as_it_is_without_its_key(tmp_path: Path) -> None:
    log = Log(tmp_path, seal=Sealed(bytes(32)))
    log.append([TickInput(NOW)] * 50)
    log.close()
    content = bytearray((tmp_path / "store.db").read_bytes())
    content[:16] = bytes(16)
    (tmp_path / "store.db").write_bytes(bytes(content))
    with pytest.raises(StorageError, match="encrypted"):
        Log(tmp_path)
    log = Log(tmp_path, seal=Sealed(bytes(32)))
    assert sorted(numbers(log)) == list(range(1, 51))
    log.close()


def test_a_catalog_that_rotted_is_put_right_when_it_is_kept_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.keep_catalog("d", json.dumps({"a": 1}).encode())
    with log.spool.store.transaction() as db:
        db.execute("UPDATE catalogs SET built = x'00'")
    log.keep_catalog("d", json.dumps({"a": 1}).encode())
    assert log.catalogs() == {"d": b'{"a": 1}'}
    log.close()


def test_an_earlier_version_is_migrated_with_its_log(tmp_path: Path) -> None:
    """As version 1 wrote it."""
    filled(tmp_path, 100).close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.executescript(
            "ALTER TABLE log DROP COLUMN priority; ALTER TABLE pending DROP COLUMN seq;"
            "DROP TABLE taken; DROP TABLE dead; DROP TABLE erased; PRAGMA user_version=1;"
        )
    db.close()
    log = Log(tmp_path)
    assert sorted(numbers(log)) == list(range(1, 101))
    assert log.spool.repair.notes == []
    assert log.append([TickInput(NOW)]) == 101
    log.close()


def test_a_plain_store_whose_mark_of_its_key_rotted_is_not_taken_for_an_encrypted_one(tmp_path: Path) -> None:
    filled(tmp_path, 100).close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("UPDATE meta SET value = CAST('reflexarc stare' AS BLOB) WHERE name = 'key'")
    db.close()
    log = Log(tmp_path)
    assert log.last_seq >= 100
    log.close()


def test_rows_of_a_state_whose_head_is_gone_are_no_state(tmp_path: Path) -> None:
    log = filled(tmp_path, 100)
    log.keep_snapshot({"format": 1}, {"known:1": {"touched": 1}}, set())
    with log.spool.store.transaction() as db:
        db.execute("DELETE FROM meta WHERE name = 'snapshot'")
    with pytest.raises(StorageError, match="cannot be read"):
        log.snapshot()
    log.close()
