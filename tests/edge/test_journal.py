"""The journal: what was appended and is not safe elsewhere is found again, whole and in order, whatever the crash left."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.errors import StorageError
from reflexarc_edge.entry import LOW, Taken, part_payload, parts_of, payload_of
from reflexarc_edge.journal import HEADER_BYTES, OWN_BYTES, Frame, Journal

SEGMENT = 512


def reopened(path: Path, after_seq: int) -> list[Frame]:
    """What a process that starts after a crash finds: the mapping of the dead one is in the page cache."""
    journal = Journal(path, SEGMENT)
    found = journal.scan(after_seq)
    journal.close()
    return found.frames


steps = st.lists(st.one_of(st.binary(min_size=1, max_size=120), st.just(b"")), max_size=60)


@settings(deadline=None)
@given(steps)
def test_at_every_moment_a_crash_finds_exactly_what_is_not_safe_elsewhere(appended: list[bytes]) -> None:
    """An empty payload stands for a release of everything so far."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        journal = Journal(path, SEGMENT)
        expected: list[Frame] = []
        seq = safe = 0
        for payload in appended:
            if not payload:
                safe = seq
                journal.release(safe)
                expected.clear()
            else:
                count = 1 + len(payload) % 3
                if not journal.append(seq + 1, count, payload):
                    journal.release(safe, also_current=True)
                    if not journal.append(seq + 1, count, payload):
                        assert sum(len(f.payload) + HEADER_BYTES for f in expected) + len(payload) > SEGMENT - 2 * HEADER_BYTES
                        continue
                expected.append(Frame(seq + 1, count, payload))
                seq += count
            assert reopened(path, safe) == expected
        journal.close()


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 2 * SEGMENT - 1), st.integers(1, 255))
def test_a_flipped_byte_costs_the_frame_it_is_in_and_no_other(count: int, place: int, flip: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        journal = Journal(path, SEGMENT)
        written = {}
        for i in range(1, count + 1):
            payload = bytes([i]) * (20 + 7 * i)
            if journal.append(i, 1, payload):
                written[i] = Frame(i, 1, payload)
        journal.close()
        content = bytearray(path.read_bytes())
        content[OWN_BYTES + place] ^= flip
        path.write_bytes(bytes(content))
        journal = Journal(path, SEGMENT)
        found = journal.scan(0)
        journal.close()
        assert all(written[frame.first_seq] == frame for frame in found.frames)
        assert len(found.frames) >= len(written) - 1
        if len(found.frames) < len(written):
            assert len(found.damage) == 1, "what is neither frame nor zero is set aside"
        assert len(found.damage) <= 1, "behind the last frame it may be what a kill cut short"


def test_what_was_torn_is_told_and_does_not_hide_what_is_behind_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SEGMENT)
    for i in range(1, 4):
        assert journal.append(i, 1, b"frame %d" % i)
    journal.close()
    content = bytearray((tmp_path / "journal").read_bytes())
    second = OWN_BYTES + HEADER_BYTES + 7
    content[second : second + HEADER_BYTES] = bytes(HEADER_BYTES)  # a header that never reached the disk
    (tmp_path / "journal").write_bytes(bytes(content))
    journal = Journal(tmp_path / "journal", SEGMENT)
    found = journal.scan(0)
    assert [frame.first_seq for frame in found.frames] == [1, 3]
    assert found.damage == [b"frame 2"]
    journal.close()


def test_an_append_that_a_kill_cut_short_is_no_damage(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SEGMENT)
    assert journal.append(1, 1, b"whole")
    end = journal.position
    journal.close()
    content = bytearray((tmp_path / "journal").read_bytes())
    content[end + HEADER_BYTES : end + HEADER_BYTES + 4] = b"half"
    (tmp_path / "journal").write_bytes(bytes(content))
    journal = Journal(tmp_path / "journal", SEGMENT)
    found = journal.scan(0)
    assert (len(found.frames), found.damage) == (1, [])
    journal.close()


def test_a_released_segment_holds_nothing_of_what_was_in_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SEGMENT)
    for i in range(1, 9):
        assert journal.append(i, 1, b"a secret of somebody's" * 4)
    assert not journal.append(9, 1, b"x" * 200)
    journal.release(8)
    assert journal.append(9, 1, b"x" * 200)
    journal.release(8)
    assert journal.scan(0).frames == [Frame(9, 1, b"x" * 200)]
    journal.close()
    assert b"secret" not in (tmp_path / "journal").read_bytes()


def test_blanked_frames_keep_their_numbers_and_lose_their_words(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SEGMENT)
    for i in range(1, 4):
        assert journal.append(i, 1, b"a secret of somebody's")
    journal.blank(2)
    assert journal.append(4, 1, b"another")
    found = journal.scan(2)
    assert [frame.payload for frame in found.frames] == [b"a secret of somebody's", b"another"]
    assert not found.damage
    assert (tmp_path / "journal").read_bytes().count(b"secret") == 1
    journal.close()


def test_a_reader_follows_a_writer_through_both_segments(tmp_path: Path) -> None:
    """Seeded; the reader is another mapping of the file, as another process has it."""
    rng = random.Random(3)
    writer = Journal(tmp_path / "journal", SEGMENT)
    other = Journal(tmp_path / "journal", SEGMENT)
    reader = other.reader(0)
    written: list[Frame] = []
    read: list[Frame] = []
    for i in range(1, 400):
        payload = rng.randbytes(rng.randrange(1, 60))
        if not writer.append(i, 1, payload):
            while (frame := reader.next()) is not None:
                read.append(frame)
            other.taken_seq = read[-1].last_seq
            writer.release(writer.taken_seq, also_current=False)
            assert writer.append(i, 1, payload)
        written.append(Frame(i, 1, payload))
        if rng.random() < 0.3 and (frame := reader.next()) is not None:
            read.append(frame)
    while (frame := reader.next()) is not None:
        read.append(frame)
    assert read == written
    writer.close()
    other.close()


def test_a_frame_larger_than_a_segment_never_has_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SEGMENT)
    assert not journal.append(1, 1, b"x" * SEGMENT)
    assert journal.append(1, 1, b"x" * (SEGMENT - HEADER_BYTES))
    journal.close()


def test_a_journal_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be made"):
        Journal(tmp_path / "nowhere" / "journal")


def test_a_journal_cut_short_is_made_whole_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", SEGMENT)
    assert journal.append(1, 1, b"kept")
    journal.close()
    with (tmp_path / "journal").open("r+b") as file:
        file.truncate(OWN_BYTES + 101)
    assert reopened(tmp_path / "journal", 0) == [Frame(1, 1, b"kept")]


def test_a_journal_cut_to_less_than_any_ever_was_has_room_again(tmp_path: Path) -> None:
    """Half of what is left would be a segment, and nothing a segment could hold would ever fit in."""
    Journal(tmp_path / "journal", SEGMENT).close()
    with (tmp_path / "journal").open("r+b") as file:
        file.truncate(OWN_BYTES + 100)
    journal = Journal(tmp_path / "journal", SEGMENT)
    assert journal.is_new and journal.append(1, 1, b"x" * (SEGMENT - HEADER_BYTES))
    journal.close()


def test_a_frame_carries_what_belongs_to_its_first_record() -> None:
    parts = list(parts_of(5, payload_of([(1, b"event"), (2, b"scores")], LOW, Taken("j", 9))))
    assert [(p.seq, p.kind, p.body, p.priority, p.taken) for p in parts] == [
        (5, 1, b"event", LOW, Taken("j", 9)),
        (6, 2, b"scores", 1, None),
    ]
    assert [p.kind for p in parts_of(1, part_payload(32, b"x"))] == [32]


def test_a_payload_that_ends_in_the_middle_is_no_payload() -> None:
    with pytest.raises(StorageError):
        list(parts_of(1, b"\x04\x00"))
