"""The log at its edges: what was fsynced, what was damaged, what is larger than the journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from reflexarc_core.errors import StorageError
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, LossOutput, TickInput
from reflexarc_edge.log import Log
from reflexarc_edge.upload import upload_batch
from tests.edge.kit import NOW, T0

# -- the log (29, 30) -------------------------------------------------------------------------------------------------


def test_rule_30_only_what_was_fsynced_is_sent(tmp_path: Path) -> None:
    log = Log(tmp_path)
    assert upload_batch(log, 10, 1 << 20).records == []
    log.append([TickInput(NOW)] * 3)
    log.sync_to_disk()
    log.drain()
    log.append([TickInput(NOW)] * 2)
    assert [seq for seq, _, _ in upload_batch(log, 10, 1 << 20).records] == [1, 2, 3]
    log.drain()
    assert [seq for seq, _, _ in upload_batch(log, 10, 1 << 20).records] == [1, 2, 3]
    log.sync_to_disk()
    log.acknowledge(3)
    assert [seq for seq, _, _ in upload_batch(log, 10, 1 << 20).records] == [4, 5]
    log.close()


def test_a_damaged_record_is_not_sent(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([TickInput(NOW)])
    log.drain()
    with log.spool.store.transaction() as db:
        db.execute("UPDATE log SET crc = crc + 1")
    log.append([TickInput(NOW)])
    log.sync_to_disk()
    log.drain()
    batch = upload_batch(log, 10, 1 << 20)
    assert [seq for seq, _, _ in batch.records] == [2]
    assert batch.losses == [LossOutput("damaged", 1, 1, 1)]
    assert log.stats()["dead_letters"] == 1
    log.close()


def test_rule_29_a_server_that_holds_less_is_sent_it_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([TickInput(NOW)] * 5)
    log.sync_to_disk()
    log.drain()
    log.acknowledge(5)
    log.cursor.rewind(2)
    assert [seq for seq, _, _ in upload_batch(log, 10, 1 << 20).records] == [3, 4, 5]
    log.close()
    log = Log(tmp_path)
    assert log.acked_seq == 2
    log.close()


def test_a_drain_that_is_interrupted_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)
    log.spool.drainer.stop(0)  # no drainer beside this test

    def interrupted(entries: object) -> None:
        raise KeyboardInterrupt

    log.append([TickInput(NOW)])
    monkeypatch.setattr(log.spool.store, "insert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        log.drain()
    monkeypatch.undo()
    log.append([TickInput(NOW)])
    assert [seq for seq, _ in log.records(0)] == [1, 2]
    log.close()


def test_a_record_larger_than_the_journal_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread appends between the draining and the large record, which goes past the journal."""
    log = Log(tmp_path)
    log.spool.drainer.stop(0)
    real = log.spool.store.insert
    threads: list[threading.Thread] = []

    def insert(entries: Sequence[object]) -> None:
        real(entries)  # type: ignore[arg-type]
        if not threads:
            threads.append(threading.Thread(target=log.append, args=([TickInput(NOW)],)))
            threads[0].start()
            threads[0].join(0.3)

    log.append([TickInput(NOW)])
    monkeypatch.setattr(log.spool.store, "insert", insert)
    large = Event("e", "page_view", "known:1", T0, {"page_url": "x" * 5_000_000}, {}, 7)
    log.append([EventInput(NOW, large)])
    threads[0].join()
    assert log.position_max == 7
    assert log.spool.store.last_seq <= log.last_seq == 3
    stored = log.spool.store.last_seq
    assert [row.seq for row in log.spool.store.rows(0, 10)[0]] == list(range(1, stored + 1)), "no gap a kill could leave"
    assert [seq for seq, _ in log.records(0)] == [1, 2, 3]
    log.close()


def test_a_closed_log_speaks_the_familys_language(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([TickInput(NOW)])
    log.close()
    calls: list[Callable[[], object]] = [
        lambda: log.append([TickInput(NOW)]),
        lambda: list(log.records(0)),
        lambda: log.decision_records("d"),
        lambda: log.meta("x", 0),
        log.pending,
        log.snapshot,
        log.catalogs,
        lambda: log.keep_meta("x", 1),
        lambda: upload_batch(log, 1, 1),
    ]
    for call in calls:
        with pytest.raises(StorageError):
            call()
