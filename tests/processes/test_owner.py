"""What the process that owns a store does for the others: it takes what they capture, all of it, from all of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc_core.record import EventInput
from tests.processes.kit import Ledger, catalog_in, end, held, journals, kill, start, wait_for


class Owned:
    """A store that the test's own process owns, and the processes that capture for it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.ledger = Ledger(folder / "ledger")
        self.catalog = catalog_in(folder)
        self.client = Client(self.store, catalog=self.catalog)
        self.processes: dict[int, subprocess.Popen[str]] = {}

    def hire(self, program: str, *arguments: int) -> int:
        process = start(program, self.store, self.ledger.path, self.catalog, *arguments)
        self.processes[process.pid] = process
        return process.pid

    def end(self) -> None:
        """End the others; everything is taken."""
        while self.processes:
            _, process = self.processes.popitem()
            assert end(process) == (0, "", "")
        wait_for(lambda: not journals(self.store), "every capture is taken", 60.0)


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    made = Owned(tmp_path)
    yield made
    for process in made.processes.values():
        kill(process)
    made.client.close()


def test_erasing_a_person_meanwhile_takes_nothing_twice_and_passes_nothing_over(owned: Owned) -> None:
    """`forget` takes what waits first, on the caller's thread, while the owner's own thread does the same."""
    for number in range(3):
        owned.hire("worker", number * 10_000, 1_500, number)
    deadline = time.monotonic() + 60.0
    while len(owned.ledger.kept()) < 4_500 or len(journals(owned.store)) > 3:
        assert time.monotonic() < deadline
        owned.client.forget("known:nobody")
    owned.end()
    kept = owned.ledger.kept()
    found = held(owned.client)
    assert owned.ledger.of("refused") == []
    assert found.doubled == []
    assert found.lost(kept) == []
    assert found.ids == kept


def test_a_process_that_captures_all_the_time_starves_no_other(owned: Owned) -> None:
    """Two take all the room there is; the one event of each of six others is taken soon, in whatever order the owner looks."""
    for number in range(2):
        owned.hire("steady", number * 10_000_000, 0, 10_000_000)
    wait_for(lambda: owned.client.position > 1_000 and len(journals(owned.store)) == 2, "the busy ones are there")
    after = owned.client.log.last_seq
    quiet = {100_000_000 + number for number in range(6)}
    for position in quiet:
        owned.hire("worker", position, 1, 1)
    wait_for(lambda: quiet <= set(owned.ledger.kept()), "the quiet ones have tracked")
    seen: set[int] = set()

    def are_taken() -> bool:
        nonlocal after
        for seq, record in owned.client.log.records(after, 10_000):
            after = seq
            if isinstance(record, EventInput):
                seen.add(record.event.source_position)
        return quiet <= seen

    wait_for(are_taken, "what the quiet ones tracked is taken", 5.0)


def test_five_thousand_events_a_second_are_taken_as_they_come(owned: Owned) -> None:
    """More than twice what a journal of captures holds, from one process: none is refused."""
    owned.hire("steady", 0, 5_000, 20_000)
    wait_for(lambda: len(owned.ledger.of("done")) == 1, "it has tracked", 60.0)
    owned.end()
    refused = owned.ledger.of("refused")
    assert (len(refused), refused[:1]) == (0, [])
    assert held(owned.client).ids == owned.ledger.kept()


def test_a_process_that_never_tracked_takes_over_as_well(tmp_path: Path) -> None:
    """It has handlers, and perhaps a server to send to: what others left must not wait for its first event."""
    ledger = Ledger(tmp_path / "ledger")
    arguments = (tmp_path / "store", ledger.path, catalog_in(tmp_path))
    owner = start("worker", *arguments, 0, 1, 1)
    try:
        wait_for(lambda: len(ledger.kept()) == 1 and len(ledger.of("own")) == 1, "the owner has tracked")
        heir = start("worker", *arguments, 1_000, 0, 1)
        try:
            wait_for(lambda: len(ledger.of("open")) == 2, "the other one is there")
            kill(owner)
            wait_for(lambda: len(ledger.of("own")) == 2, "it takes over", 5.0)
        finally:
            kill(heir)
    finally:
        kill(owner)
