"""Endings: written together, each durable when it is told so, and all told when the disk refuses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reflexarc_core.errors import StorageError
from reflexarc_server.channels.endings import Endings
from reflexarc_server.store.sqlite import SqliteStore
from tests.server.kit import wait_for

MANY = 16


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path)
    with opened.transaction() as transaction:
        transaction.run("CREATE TABLE ended (number INTEGER, thread INTEGER)", ())
    yield opened
    opened.close()


def ended(number: int, run: Any) -> None:
    run("INSERT INTO ended VALUES (?, ?)", (number, threading.get_ident()))


def together(endings: Endings, store: SqliteStore, numbers: range) -> list[BaseException | None]:
    """Write each on a thread of its own while the store is busy; what each was told."""
    begun = threading.Semaphore(0)

    def one(number: int) -> None:
        begun.release()
        endings.write(partial(ended, number))
        assert (number,) in store.ask("SELECT number FROM ended"), "told before it is durable"

    with ThreadPoolExecutor(len(numbers)) as pool:
        with store.transaction():
            told = [pool.submit(one, number) for number in numbers]
            for _ in numbers:
                assert begun.acquire(timeout=20)
            wait_for(lambda: len(endings._waiting) == len(numbers))
        return [each.exception(20) for each in told]


def test_those_that_wait_are_written_by_one(store: SqliteStore) -> None:
    assert together(Endings(store), store, range(MANY)) == [None] * MANY
    rows = store.ask("SELECT number, thread FROM ended")
    assert sorted(number for number, _ in rows) == list(range(MANY))
    assert len({thread for _, thread in rows}) == 1


def test_what_cannot_be_written_is_told_to_all_and_the_next_goes_on(store: SqliteStore) -> None:
    endings = Endings(store)
    with store.transaction() as transaction:
        transaction.run(
            "CREATE TRIGGER refused BEFORE INSERT ON ended WHEN NEW.number = 3 BEGIN SELECT RAISE(ABORT, 'no'); END", ()
        )
    told = together(endings, store, range(MANY))
    assert all(isinstance(error, StorageError) for error in told)
    assert store.ask("SELECT count(*) FROM ended") == [(0,)]
    assert together(endings, store, range(MANY, 2 * MANY)) == [None] * MANY
    assert store.ask("SELECT count(*) FROM ended") == [(MANY,)]
