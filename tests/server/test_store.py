"""The server's store: many records at the price of few, an older file, what the reports look up behind the answer."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.decision import Reason
from reflexarc_server.log_reader import LogReader
from reflexarc_server.precedence import SLICE_S, WAIT_MAX_S, Precedence
from reflexarc_server.records import row_of
from reflexarc_server.store import schema
from reflexarc_server.store.port import Assigned, DecisionRow, NewRecord
from reflexarc_server.store.sqlite import FILE, SqliteStore
from tests.server.kit import T0, decision, event_record, page


def _row(record_id: str, kind: int = 1) -> NewRecord:
    return NewRecord("d", "i", 1, kind, "known:1", "page_view", T0, record_id, T0, b"x")


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(0, 90), max_size=130), max_size=4))
def test_many_at_once_are_what_they_are_one_by_one(batches: list[list[int]]) -> None:
    """Number 0 has no id and is always new; every seventh is a decision, which has rows of its own."""

    def rows(batch: list[int]) -> list[NewRecord]:
        return [
            row_of(decision(f"d{n}", Reason.FIRED, "known:1", T0), "d", "i", 1, T0, b"x") if n and n % 7 == 0
            else _row(f"e{n}" if n else "")
            for n in batch
        ]  # fmt: skip

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        by_one, by_many = SqliteStore(Path(one)), SqliteStore(Path(other))
        for batch in batches:
            with by_one.transaction() as transaction:
                expected = [transaction.insert(row) for row in rows(batch)]
            with by_many.transaction() as transaction:
                assert transaction.insert_all(rows(batch)) == expected
            assert by_many.last_seq() == by_one.last_seq()
        assert by_many.decisions(0, 100) == by_one.decisions(0, 100)
        assert by_many.foldable(0, 1_000) == by_one.foldable(0, 1_000)
        by_one.close()
        by_many.close()


def test_reports_look_up_events_that_were_stored_a_moment_ago(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for start in (0, 1_500, 3_000):
        with store.transaction() as transaction:
            transaction.insert_all([_row(f"e{number}") for number in range(start, start + 1_500)])
        assert store.event_counts() == [("page_view", start + 1_500, T0, T0)]
    assert store.reached("known:1", ["page_view"], T0 - 1, T0)
    assert not store.reached("known:1", ["page_view"], T0, T0 + 1)
    with store.transaction() as transaction:
        transaction.insert(_row("last"))
    store.close()
    again = SqliteStore(tmp_path)
    assert again.event_counts() == [("page_view", 4_501, T0, T0)]
    again.close()


def test_a_store_of_the_first_version_becomes_this_one(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with store.transaction() as transaction:
        for number in range(3):
            body = event_record(number + 1, page(number, f"known:{2 - number}")).SerializeToString()
            transaction.insert(NewRecord("d", "i", number, 1, f"known:{2 - number}", "page_view", T0, f"e{number}", T0, body))
        row = DecisionRow("decision", 0, "t", "known:1", "FIRED", T0, "edge")
        transaction.insert(NewRecord("d", "i", 3, 16, "known:1", "", T0, "decision/0", T0, b"", decision=row))
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:  # as version 1 had it
        connection.executescript(
            "DROP TABLE by_subject; DROP TABLE deliveries; DROP TABLE links; DROP TABLE erased; DROP TABLE erasures;"
            "DROP TABLE checks; DROP TABLE leases; DROP TABLE lease_uses; DROP TABLE outbox;"
            "DROP TABLE social_seen; DROP TABLE social_cases; DROP TABLE social_responses; DROP TABLE shares;"
            "DROP TABLE share_visits; DROP TABLE leads;"
            "ALTER TABLE decisions DROP COLUMN variant;"
            "PRAGMA user_version=1;"
            "CREATE INDEX log_subject ON log (subject, server_seq, event_type, event_time) WHERE kind = 1;"
        )
    connection.close()
    store = SqliteStore(tmp_path)
    assert store.reached("known:1", ["page_view"], 0, T0)
    assert store.event_counts() == [("page_view", 3, T0, T0)]
    assert store.assigned("t", 0, 0) == [Assigned("known:1", T0, is_held_out=False, is_acted=True, variant="")]
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    connection.close()
    assert [event.subject for _, event in LogReader(tmp_path).events()] == ["known:0", "known:1", "known:2"]


def test_the_fold_gives_way_and_never_starves() -> None:
    precedence = Precedence()
    stop, waited = threading.Event(), threading.Event()

    def storing() -> None:
        with precedence.storing():
            waited.set()
            stop.wait(10)

    thread = threading.Thread(target=storing)
    thread.start()
    waited.wait(10)
    precedence.give_way()  # somebody stores all the while, and it goes on nevertheless
    stop.set()
    thread.join()
    precedence.give_way()
    assert SLICE_S / (SLICE_S + WAIT_MAX_S) > 0.05
