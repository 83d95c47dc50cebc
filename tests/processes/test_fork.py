"""Forks at every moment: no child hangs, and what both sides track is there once (promise 22).

Each scenario is one process with children of its own; how many forks a run of it makes is said beside its name.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc_edge.owners import is_owned
from reflexarc_server.app import start_server
from reflexarc_server.log_reader import applied_event_ids
from tests.processes import forks
from tests.processes.kit import Held, Ledger, catalog_in, end, held_in, kill, signal_all, start, wait_for
from tests.server.kit import ManualClock, catalog

FORKS = {
    forks.before_a_client_is_there: 5,
    forks.after_it_was_opened: 8,
    forks.while_threads_track: 10,
    forks.while_its_store_is_busy: 250,
    forks.of_a_fork: 8,
    forks.in_a_pool: 4,
    forks.child_ends_as_an_interpreter_does: 5,
    forks.of_one_that_only_captures: 4,
}
UPLOADS, OUTLIVED, OUTLIVED_SENDING = 5, 6, 3


def orphans(ledger: Ledger) -> list[int]:
    """Children that have outlived their parent and not ended."""
    ended = {pid for pid, _ in ledger.of("child")}
    return [int(pid) for (pid,) in ledger.of("orphan") if pid not in ended]


def run(scenario: object, folder: Path, *more: str) -> tuple[Ledger, Held]:
    """Run one scenario to its end; what was said and what the store holds."""
    catalog_in(folder)
    ledger = Ledger(folder / "ledger")
    process = start("forks", scenario.__name__, folder, *more)  # type: ignore[attr-defined]
    try:
        process.wait(60.0)
        wait_for(lambda: not orphans(ledger), "the children that are left end", 10.0)
    except BaseException:
        signal_all(process, signal.SIGABRT)  # what is left says where it stands
        print(end(process))
        raise
    status, output, errors = end(process)
    assert (status, output, errors) == (0, "", "")
    assert {int(pid) for (pid,) in ledger.of("orphan")} <= {int(pid) for pid, _ in ledger.of("child")}
    assert ledger.of("hang") == []
    assert [words[1] for words in ledger.of("child")] == ["0"] * len(ledger.of("child"))
    return ledger, held_in(folder / "store")


def is_there_once(ledger: Ledger, held: Held) -> None:
    assert ledger.of("refused") == []
    assert ledger.of("error") == []
    kept = ledger.kept()
    assert held.lost(kept) == []
    assert held.doubled == []
    assert {position: held.ids[position] for position in kept} == kept
    assert (held.losses, held.dead) == (0, 0)


def is_sound(folder: Path) -> None:
    """As the standard library's SQLite sees it."""
    with contextlib.closing(sqlite3.connect(folder / "store" / "store.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("scenario", FORKS, ids=lambda scenario: scenario.__name__)
def test_a_fork(scenario: object, tmp_path: Path) -> None:
    ledger, held = run(scenario, tmp_path)
    is_there_once(ledger, held)
    is_sound(tmp_path)


def test_a_fork_during_an_upload_leaves_everything_at_the_server_once(tmp_path: Path) -> None:
    server = start_server(tmp_path / "server", "127.0.0.1:0", catalog(), ManualClock(), insecure=True)
    try:
        ledger, held = run(forks.during_an_upload, tmp_path, server.address)
    finally:
        server.stop()
    is_there_once(ledger, held)
    is_sound(tmp_path)
    assert ledger.of("flushed") == [["True"]]
    assert sorted(applied_event_ids(tmp_path / "server")) == sorted(ledger.kept().values())


def test_a_fork_right_after_a_channel_was_closed_hangs_nobody(tmp_path: Path) -> None:
    server = start_server(tmp_path / "server", "127.0.0.1:0", catalog(), ManualClock(), insecure=True)
    try:
        ledger, held = run(forks.right_after_a_channel_was_closed, tmp_path, server.address)
    finally:
        server.stop()
    is_there_once(ledger, held)


@pytest.mark.parametrize("turn", range(OUTLIVED))
def test_a_child_that_outlives_its_parent_takes_over(turn: int, tmp_path: Path) -> None:
    ledger, held = run(forks.child_outlives_its_parent, tmp_path)
    assert len(ledger.of("own")) == 1
    is_there_once(ledger, held)
    is_sound(tmp_path)


@pytest.mark.parametrize("turn", range(OUTLIVED_SENDING))
def test_a_child_that_outlives_a_parent_that_was_sending_takes_over(turn: int, tmp_path: Path) -> None:
    server = start_server(tmp_path / "server", "127.0.0.1:0", catalog(), ManualClock(), insecure=True)
    try:
        ledger, held = run(forks.child_outlives_its_parent, tmp_path, server.address)
        is_there_once(ledger, held)
        is_sound(tmp_path)
        with Client(tmp_path / "store", server=server.address, insecure=True) as client:
            assert client.flush(30.0).delivered
    finally:
        server.stop()
    applied = Counter(applied_event_ids(tmp_path / "server"))
    assert [event_id for event_id, count in applied.items() if count > 1] == []
    assert set(ledger.kept().values()) - set(applied) == set()


def test_a_look_from_outside_harms_no_owner_that_was_forked(tmp_path: Path) -> None:
    """Another process opens the file with its own SQLite and closes it again, as `sqlite3` on a command line does."""
    catalog_in(tmp_path)
    ledger = Ledger(tmp_path / "ledger")
    process = start("forks", forks.child_is_looked_at.__name__, tmp_path)
    assert process.stdin is not None
    try:
        wait_for(lambda: len(ledger.of("own")) == 1, "the child owns the store")
        for turn in range(5):
            is_sound(tmp_path)
            process.stdin.write("more\n")
            process.stdin.flush()
            wait_for(lambda turn=turn: len(ledger.of("more")) > turn, "it tracks more")  # type: ignore[misc]
        assert end(process) == (0, "", "")
    finally:
        kill(process)
    is_there_once(ledger, held_in(tmp_path / "store"))


def test_forks_in_the_middle_of_a_take_over_keep_no_part_of_it(tmp_path: Path) -> None:
    """Whoever was forked while its parent came to own the store must not hold the store once that parent is dead."""
    ledger = Ledger(tmp_path / "ledger")
    store, built = tmp_path / "store", catalog_in(tmp_path)
    owner = start("worker", store, ledger.path, built, 0, 1, 1)
    heir = None
    try:
        wait_for(lambda: len(ledger.of("own")) == 1, "the first owner is there")
        heir = start("forks", forks.during_a_take_over.__name__, tmp_path)
        wait_for(lambda: len(ledger.of("open")) == 2, "the other one captures")
        assert heir.stdin is not None
        heir.stdin.write("go\n")
        heir.stdin.flush()
        kill(owner)
        wait_for(lambda: len(ledger.of("own")) == 2, "it takes over")
        heir.kill()
        heir.wait(5.0)
        wait_for(lambda: not is_owned(store), "nobody owns the store", 5.0)
        assert end(heir) == (-signal.SIGKILL, "", "")  # its children track when its standard input ends
        count = int(ledger.of("own")[1][1])
        assert len(ledger.kept()) == 1 + 20 + 20 + 5 * count
    finally:
        kill(owner)
        if heir is not None:
            kill(heir)
    is_there_once(ledger, held_in(store))


def test_the_run_makes_fifty_forks_and_more() -> None:
    assert sum(FORKS.values()) + UPLOADS + OUTLIVED + OUTLIVED_SENDING >= 50
