"""Rows that are missing in a database that is sound otherwise: noticed when the log is read, and mended once."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc_core.record import EventInput, LossOutput, TickInput
from reflexarc_edge.capture import Capture, encode_capture
from reflexarc_edge.codec import encode
from reflexarc_edge.log import Log
from reflexarc_edge.pages import is_log, table_cells
from reflexarc_edge.schema import PAGE_BYTES
from reflexarc_edge.upload import upload_batch
from tests.edge.kit import NOW, filled

COUNT = 3_000
LEAF = 0x0D
"""First byte of a page of rows in SQLite's file format."""


def capture(log: Log, number: int) -> None:
    log.append_capture(encode_capture(Capture("page_view", "known:1", f"e{number}", NOW.now, 0, True, True, 1, -1, {})))


def delete(log: Log, first: int, last: int) -> None:
    """So that no page holds a piece of them."""
    with log.spool.store.reading() as db:
        db.execute("PRAGMA secure_delete = ON")
    with log.spool.store.transaction() as db:
        db.execute("DELETE FROM log WHERE seq BETWEEN ? AND ?", (first, last))


@pytest.mark.parametrize("acked", [0, 1_500])
def test_rows_that_a_page_no_longer_counts_are_missed_and_come_back(tmp_path: Path, acked: int) -> None:
    """SQLite finds nothing wrong with a page that says it holds fewer rows than it does."""
    filled(tmp_path, COUNT).close()
    path = tmp_path / "store.db"
    content = bytearray(path.read_bytes())
    pages = [at for at in range(PAGE_BYTES, len(content), PAGE_BYTES) if content[at] == LEAF]
    at = pages[len(pages) * 3 // 4]
    held = int.from_bytes(content[at + 3 : at + 5], "big")
    content[at + 3 : at + 5] = (held - 7).to_bytes(2, "big")
    path.write_bytes(content)
    log = Log(tmp_path)
    log.acknowledge(acked)
    sent: list[int] = []
    while (batch := upload_batch(log, 500, 10**6)).records:
        assert batch.incarnation == log.incarnation
        assert {loss.reason for loss in batch.losses} <= {"renumbered"}
        sent += [seq for seq, _, _ in batch.records]
        log.acknowledge(batch.last_seq)
    assert sent == list(range(acked + 1, COUNT + 1))
    assert any("missing" in note for note in log.spool.repair.notes), log.spool.repair.notes
    log.close()


def renumber(folder: Path, number: int, to: int) -> None:
    """What a few flipped bits make of a row's number in its page, where SQLite keeps it in two bytes of seven bits."""
    path = folder / "store.db"
    content = bytearray(path.read_bytes())
    for at in range(PAGE_BYTES, len(content), PAGE_BYTES):
        cells, _ = table_cells(bytes(content[at : at + PAGE_BYTES]), PAGE_BYTES)
        for cell in cells:
            if cell.rowid == number and is_log(cell):
                place = at + cell.start
                content[place - 2 : place] = (0x80 | to >> 7, to & 0x7F)
    path.write_bytes(content)


@pytest.mark.parametrize(("number", "to"), [(190, 2_238), (190, 16_000), (1_000, 1_128), (1_001, 900), (COUNT, 16_000)])
def test_a_row_under_anothers_number_costs_itself_and_nothing_else(tmp_path: Path, number: int, to: int) -> None:
    log = filled(tmp_path, COUNT)
    capture(log, 1)
    log.close()
    renumber(tmp_path, number, to)
    log = Log(tmp_path)
    log.append([TickInput(NOW)])
    held = list(log.records(0))
    assert [seq for seq, _ in held] == list(range(1, COUNT + 3)), "all are there, and what came since"
    assert [seq for seq, record in held if isinstance(record, LossOutput)] == [number]
    assert len(log.spool.repair.notes) == 1
    log.close()
    log = Log(tmp_path)
    assert (log.last_seq, log.spool.repair.notes) == (COUNT + 2, [])
    log.close()


def test_the_head_of_a_log_that_nobody_acknowledged_is_mended_once(tmp_path: Path) -> None:
    log = filled(tmp_path, COUNT)
    delete(log, 1, 44)
    for _ in range(3):
        batch = upload_batch(log, 500, 10**6)
        assert [(loss.reason, loss.first_seq, loss.last_seq) for loss in batch.losses] == [("damaged", 1, 44)]
        assert (batch.incarnation, batch.last_seq) == (log.incarnation, 544)
    assert len(log.spool.repair.notes) == 1
    log.close()
    log = Log(tmp_path)
    assert len(list(log.records(0))) == COUNT - 43
    assert not log.spool.repair.notes, "a loss says what is missing: there is nothing more to mend"
    log.close()


def test_a_loss_vouches_for_no_record_that_was_there(tmp_path: Path) -> None:
    """A server that went back to that number has the record: what stands here instead must not tell them apart."""
    log = filled(tmp_path, 100)
    check = log.check_of(40)
    log.spool.store.replace_row(40, *encode(LossOutput("evicted", 40, 60, 21)))
    assert (check != 0, log.check_of(40)) == (True, 0)
    log.close()


def test_captures_that_wait_come_through_a_mend(tmp_path: Path) -> None:
    log = filled(tmp_path, COUNT)
    log.spool.drainer.stop(5)
    delete(log, 500, 505)
    for number in range(5):
        capture(log, number)
    assert log.spool.captures_waiting
    list(log.read_rows(0, 1_000))
    assert log.spool.repair.notes
    assert [type(record) for _, record in log.records(COUNT)] == [EventInput] * 5
    log.close()


def test_a_frame_that_rots_among_captures_is_named_and_mends_nothing(tmp_path: Path) -> None:
    log = filled(tmp_path, COUNT)
    log.spool.drainer.stop(5)
    capture(log, 1)
    at = log.spool._journal.position
    capture(log, 2)
    capture(log, 3)
    log.spool._journal._map[at + 30] ^= 0xFF
    log.append([TickInput(NOW)])
    left = [(seq, record.reason if isinstance(record, LossOutput) else "") for seq, record in log.records(COUNT)]
    assert left[1:] == [(COUNT + 2, "torn"), (COUNT + 4, "")]
    assert not log.spool.repair.notes, "the database is sound"
    log.close()


def test_a_gap_is_mended_by_one_of_two_who_find_it(tmp_path: Path) -> None:
    log = filled(tmp_path, COUNT)
    delete(log, 500, 505)
    damaged = log.spool.store
    for _ in range(2):
        log.spool.mend("found by two at once", damaged)
    assert len(log.spool.repair.notes) == 1
    log.close()


@pytest.mark.parametrize(("upto", "is_foreign"), [(300, False), (200, True), (600, False), (601, True), (950, False)])
def test_a_number_the_server_never_said_to_this_store_is_foreign_where_nothing_can_be_compared(
    tmp_path: Path, upto: int, is_foreign: bool
) -> None:
    log = filled(tmp_path, COUNT)
    for acked in (100, 300, 600, 1_000):
        log.acknowledge(acked)
    delete(log, 1, 900)
    assert log.cursor.is_foreign(upto) == is_foreign
    log.close()
