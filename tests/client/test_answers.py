"""Answers that come by file, about numbers of which nothing is left here to compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc.answers import Applied, _acknowledge
from reflexarc_edge.log import Log
from reflexarc_edge.upload import upload_batch
from reflexarc_proto.v1 import sync_file_pb2
from tests.edge.kit import filled


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return filled(tmp_path, 1_000)


def answered(log: Log, upto: int, check: int) -> Applied:
    found = Applied(log.acked_seq, log.acked_seq)
    stream = sync_file_pb2.StreamAnswer(incarnation=log.incarnation, upto_check=check)
    stream.answer.upto_seq = upto
    _acknowledge(log, stream, found)
    return found


def test_what_was_given_up_is_said_though_a_copy_was_answered(log: Log) -> None:
    """A copy of this store had its file taken up to 300; what lies there was given up here."""
    log.acknowledge(100)
    with log.spool.store.transaction() as db:
        log.spool.upkeep._lose(db, 101, 500, "evicted")
    found = answered(log, 300, 12345)
    assert (log.acked_seq, len(found.notes)) == (100, 1)
    batch = upload_batch(log, 10, 10**6)
    assert [(loss.reason, loss.first_seq, loss.last_seq) for loss in batch.losses] == [("evicted", 101, 500)]
    assert answered(log, 600, log.check_of(600)).notes == []
    assert log.acked_seq == 600
    log.close()


def test_a_server_that_a_copy_moved_on_is_not_taken_for_ours(log: Log) -> None:
    for upto in (300, 600, 1_000):
        log.acknowledge(upto)
    with log.spool.store.transaction() as db:
        db.execute("DELETE FROM log WHERE seq <= 900")
    before = log.incarnation
    assert len(answered(log, 400, 12345).notes) == 1
    assert (log.incarnation != before, log.acked_seq) == (True, 0)
    log.close()
