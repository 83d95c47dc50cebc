"""The log: what was appended is there again, in order, once, with its snapshots; one owner at a time."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.decision import Decision, Reason, ScoreEvidence
from reflexarc_core.errors import StorageError
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.record import (
    AnswerInput,
    CatalogInput,
    ControlInput,
    DecisionOutput,
    EventInput,
    HandedOutput,
    LossOutput,
    Moment,
    Record,
    ScoresInput,
    TickInput,
    ValuesInput,
)
from reflexarc_edge.codec import decode, encode
from reflexarc_edge.log import Log
from reflexarc_edge.pages import index_cells
from reflexarc_edge.schema import PAGE_BYTES
from reflexarc_edge.store import FILE

NOW = Moment(1_700_000_000_000, True, False, 60, 5)
SCORED = Scored("churn", "abc", 7, 0.75, ((0.7, 0.875),), (1.5, float("inf")), (("f", 0.25),))
EVIDENCE = ScoreEvidence("churn", "abc", 7, 0.75, 0.7, None, 0.8, "host")
DECISION = Decision(
    "d1", 0, "t", "known:1", "e1", Reason.FIRED, 5, "cat", "edge", False, evidence=(EVIDENCE,), action="a",
    payload={"title": "x", "n": [1, 2.5], "deep": {"k": True}}, assignment="treated", expire_time=9,
)  # fmt: skip
EVERY_KIND: list[Record] = [
    EventInput(
        NOW, Event("e1", "page_view", "known:1", 3, {"a": 1, "b": 1.0, "c": "x", "d": True, "e": ["y"]}, {"online": True}, 4)
    ),
    ScoresInput(NOW, "e1", (("known:1", SCORED),)),
    AnswerInput(NOW, "d1", SCORED),
    AnswerInput(NOW, "d1", None, "deadline"),
    TickInput(NOW),
    CatalogInput(NOW, "cat", "1", {"churn": LiveModel("abc", ("f",), 3)}),
    ValuesInput(NOW, "known:1", 2, {"f": 0.5}),
    ControlInput(NOW, ("*",)),
    DecisionOutput(DECISION),
    HandedOutput("d1", 6),
    LossOutput("evicted", 1, 4, 4),
]


@pytest.mark.parametrize("record", EVERY_KIND, ids=lambda record: type(record).__name__)
def test_every_kind_of_record_comes_back_equal(record: Record) -> None:
    kind, body = encode(record)
    back = decode(kind, body)
    assert back == record
    assert encode(back) == (kind, body)


def test_records_survive_a_reopening_in_order(tmp_path: Path) -> None:
    log = Log(tmp_path)
    installation, incarnation = log.installation, log.incarnation
    assert log.append(EVERY_KIND[:4]) == 4
    assert log.append(EVERY_KIND[4:]) == len(EVERY_KIND)
    log.close()
    log = Log(tmp_path)
    assert (log.installation, log.incarnation) == (installation, incarnation)
    assert list(log.records(0)) == list(enumerate(EVERY_KIND, start=1))
    assert [seq for seq, _ in log.records(6, 3)] == [7, 8, 9]
    assert log.position_max == 4
    assert log.append([TickInput(NOW)]) == len(EVERY_KIND) + 1
    log.close()


def test_what_the_journal_holds_is_stored_at_the_next_start(tmp_path: Path) -> None:
    """As a kill leaves it: the journal has everything, the store only what was drained."""
    log = Log(tmp_path / "live")
    log.append(EVERY_KIND[:4])
    log.drain()
    log.append(EVERY_KIND[4:])
    log.append([DecisionOutput(DECISION)])
    shutil.copytree(tmp_path / "live", tmp_path / "killed")
    again = Log(tmp_path / "killed")
    count = len(EVERY_KIND) + 1
    assert again.spool.recovered_count in (count - 4, 0), "the drain thread may have come in between"
    assert [record for _, record in again.records(0)] == [*EVERY_KIND, DecisionOutput(DECISION)]
    assert again.pending() == [DECISION]
    assert again.append([TickInput(NOW)]) == count + 1
    again.close()
    log.close()


def test_an_action_that_waits_is_read_though_its_number_rotted(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([DecisionOutput(DECISION)])
    log.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    for at in range(0, len(content), PAGE_BYTES):
        for cell in index_cells(bytes(content[at : at + PAGE_BYTES]), PAGE_BYTES)[0]:
            if len(cell.types) == 4:  # of `pending`, its number last: a type of 0 is none
                content[at + cell.start + cell.header_bytes - 1] = 0
    (tmp_path / FILE).write_bytes(content)
    again = Log(tmp_path)
    assert again.pending() == [DECISION]
    assert [decision for _, decision in again.owed()] == [DECISION]
    again.close()


def test_more_than_the_journal_holds_goes_through_to_the_store(tmp_path: Path) -> None:
    log = Log(tmp_path)
    big = EventInput(NOW, Event("e1", "page_view", "known:1", 3, {"a": "x" * 900_000}))
    for i in range(12):
        assert log.append([big, TickInput(NOW)]) == 2 * (i + 1)
    huge = EventInput(NOW, Event("e2", "page_view", "known:1", 3, {"a": "x" * 5_000_000}))
    assert log.append([huge]) == 25
    assert log.append([TickInput(NOW)]) == 26
    log.close()
    again = Log(tmp_path)
    assert [seq for seq, _ in again.records(0)] == list(range(1, 27))
    again.close()


def test_a_fired_decision_is_pending_until_it_is_handed(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([DecisionOutput(DECISION)])
    assert log.pending() == [DECISION]
    log.append([HandedOutput("d1", 6)])
    assert log.pending() == []
    assert [seq for seq, _ in log.decision_records("d1")] == [1, 2]
    log.close()


def test_a_second_owner_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with pytest.raises(StorageError, match="owned by process"):
        Log(tmp_path)
    log.close()
    Log(tmp_path).close()


def test_acknowledgements_never_reach_behind_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([TickInput(NOW)] * 3)
    log.acknowledge(99)
    assert log.acked_seq == 0, "a number that was never written is not believed"
    log.acknowledge(2)
    log.acknowledge(1)
    assert log.acked_seq == 2
    log.close()


def test_a_damaged_record_is_noticed(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.append([TickInput(NOW)] * 3)
    log.close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("UPDATE log SET body = x'80' WHERE seq = 2")
    db.close()
    log = Log(tmp_path)
    assert [record for _, record in log.records(0)] == [TickInput(NOW), LossOutput("damaged", 2, 2, 1), TickInput(NOW)]
    assert log.stats()["dead_letters"] == 1
    assert log.append([TickInput(NOW)]) == 4
    log.close()


def test_a_folder_that_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be opened"):
        Log(tmp_path / "file" / "store")


def test_what_is_no_database_is_set_aside_and_the_device_goes_on(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is no database, only text" * 100)
    log = Log(tmp_path)
    assert len(log.spool.repair.notes) == 1
    assert [path.name for path in (tmp_path / "set-aside").iterdir()] == log.spool.repair.set_aside == ["0001.store.db"]
    assert log.append([TickInput(NOW)]) == 1
    log.close()


def test_a_store_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    Log(tmp_path).close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StorageError, match="later version"):
        Log(tmp_path)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False)), max_size=5)
)
def test_snapshots_come_back_equal(tmp_path_factory: pytest.TempPathFactory, subjects: dict[str, dict[str, float]]) -> None:
    log = Log(tmp_path_factory.mktemp("store"))
    log.append([TickInput(NOW)])
    log.keep_snapshot({"x": 1}, {**subjects, "gone": {}}, set())
    log.keep_snapshot({"x": 2}, {}, {"gone"})
    kept = {subject: state for subject, state in subjects.items() if subject != "gone"}
    assert log.snapshot() == (1, {"x": 2}, kept)
    log.close()
