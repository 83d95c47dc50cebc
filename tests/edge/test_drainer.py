"""The drainer: nothing waits long, nothing is left behind, and most calls wake nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from reflexarc_core.errors import StorageError
from reflexarc_edge.drainer import Drainer

LONG_S = 10.0


class Basin:
    """Numbers that are written and drained, as a spool's are. fails: how many drains raise before one goes through."""

    def __init__(self, fails: int = 0) -> None:
        self.newest = self.drained = 0
        self.fails = fails
        self.changed = threading.Condition()
        self.told = 0
        self.at_the_last_moment = 0
        self.drainer = Drainer(self.count, self.drain, round_ms=1)
        self.drainer.stored = self.tell

    def count(self) -> int:
        """What is written. Asked when it is about to sleep, something comes from a caller who saw it awake a moment before."""
        if self.at_the_last_moment and not self.drainer.is_awake:
            self.at_the_last_moment -= 1
            self.newest += 1
        return self.newest

    def write(self) -> None:
        """One more, as `Spool.put` does it."""
        self.newest += 1
        if not self.drainer.is_awake:
            self.drainer.wake()

    def drain(self) -> None:
        """All there is."""
        if self.fails:
            self.fails -= 1
            raise StorageError("no room")
        with self.changed:
            self.drained = self.newest
            self.changed.notify_all()

    def tell(self) -> None:
        """As an uplink is told."""
        self.told += 1

    def is_drained(self) -> bool:
        """Whether everything written comes to be drained in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.drained == self.newest, LONG_S)


@pytest.fixture
def basin() -> Iterator[Basin]:
    made = Basin()
    yield made
    made.drainer.stop(LONG_S)


def test_no_thread_runs_before_something_is_written(basin: Basin) -> None:
    assert not basin.drainer.is_awake and basin.drainer._thread is None


def test_what_is_written_while_it_falls_asleep_is_drained(basin: Basin) -> None:
    basin.at_the_last_moment = 3
    basin.write()
    with basin.changed:
        assert basin.changed.wait_for(lambda: basin.drained == 4, LONG_S)


def test_whatever_is_written_is_drained_asleep_or_not(basin: Basin) -> None:
    asleep = 0
    for _ in range(200):
        basin.write()
        assert basin.is_drained()
        # Now and then it has fallen asleep by the next write, or is just about to.
        while basin.drainer.is_awake and asleep < 20:
            threading.Event().wait(0.001)
        asleep += not basin.drainer.is_awake
    assert asleep >= 20
    assert basin.told >= 200


def test_while_something_comes_nobody_has_to_wake_it(basin: Basin) -> None:
    basin.write()
    assert basin.is_drained()
    assert basin.drainer.is_awake, "it looks on by itself for some rounds"


def test_a_drain_that_failed_is_tried_again(basin: Basin) -> None:
    basin.fails = 1
    basin.write()
    assert basin.is_drained()


def test_stopped_it_starts_no_thread() -> None:
    basin = Basin()
    basin.drainer.stop(0)
    basin.write()
    assert basin.drainer._thread is None and basin.drained == 0
