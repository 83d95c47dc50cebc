"""The way from one process's journal of captures to its owner, whoever that is by then: each once, in order.

Writer and reader are the real ones over real files, in one process here, so that every order of their steps can be tried.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from reflexarc_edge.capture import CAPTURE_KIND
from reflexarc_edge.entry import parts_of
from reflexarc_edge.journal import HEADER_BYTES
from reflexarc_edge.owners import CaptureJournal, OthersCaptures

SEGMENT: Final = 512


class Pair:
    """A process that captures into small segments, and the owner of the moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._journal = CaptureJournal(folder, SEGMENT)
        self._stored: dict[str, int] = {}
        self._owner = OthersCaptures(folder, self._stored, SEGMENT)
        self.accepted: list[bytes] = []
        self.taken: list[bytes] = []

    def capture(self, size: int) -> bool:
        body = len(self.accepted).to_bytes(4, "big").ljust(size, b"x")
        kept = self._journal.append(CAPTURE_KIND, body) > 0
        if kept:
            self.accepted.append(body)
        return kept

    def take(self, count_max: int) -> None:
        """The owner takes so many at most."""
        for name, frame in self._owner.frames(count_max):
            (part,) = parts_of(frame.first_seq, frame.payload)
            self.taken.append(part.body)
            self._owner.took(name, frame.first_seq)
            self._stored[name] = frame.first_seq

    def store(self) -> None:
        """What was taken is on the disk: its room is given back."""
        for name in self._owner.stored(dict(self._stored)):
            self._stored.pop(name, None)

    def another_owner(self) -> None:
        """The owner ends; the next one knows what is in the store, and no more."""
        self._owner.close()
        self._owner = OthersCaptures(self._folder, self._stored, SEGMENT)

    def end(self) -> None:
        """The capturing process ends, and the owner takes what is left."""
        self._journal.close()
        while self._owner.names():
            before = len(self.taken)
            self.take(7)
            self.store()
            assert len(self.taken) > before or not self._owner.names(), "a journal that is neither read on nor done with"
        self._owner.close()


def step(pair: Pair, given: tuple[str, int]) -> None:
    kind, number = given
    if kind == "capture":
        pair.capture(number)
    elif kind == "take":
        pair.take(number)
    elif kind == "store":
        pair.store()
    else:
        pair.another_owner()


captures = st.tuples(st.just("capture"), st.integers(4, 120))
takes = st.tuples(st.just("take"), st.integers(1, 12))
others = st.tuples(st.sampled_from(["store", "another owner"]), st.just(0))


@given(st.lists(st.one_of(captures, captures, takes, others), max_size=80))
def test_each_capture_comes_once_and_in_order_whoever_owns_the_store(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder))
        for given in steps:
            step(pair, given)
        pair.end()
        assert pair.taken == pair.accepted


def test_a_new_owner_reads_on_in_the_middle_of_a_segment(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    for _ in range(5):
        assert pair.capture(60)
    pair.take(3)
    pair.another_owner()
    for _ in range(4):  # into the other segment
        assert pair.capture(60)
    pair.take(100)
    assert pair.taken == pair.accepted


def test_a_writer_a_whole_round_ahead_is_not_followed_past_what_it_wrote_before(tmp_path: Path) -> None:
    """The reader stands at the end of the first segment; by the time it looks again, a new frame begins just there."""
    pair = Pair(tmp_path)
    part_bytes = HEADER_BYTES + 5
    for _ in range(6):  # 6 frames of 80 bytes: 32 are left, which the next does not fit into
        assert pair.capture(80 - part_bytes)
    pair.take(100)
    pair.store()
    for _ in range(5):
        assert pair.capture(100 - part_bytes)  # the other segment
    for _ in range(12):
        assert pair.capture(40 - part_bytes)  # the first again: the 13th of them begins where the reader stands
    assert pair.capture(32 - part_bytes)
    pair.take(100)
    assert pair.taken == pair.accepted
