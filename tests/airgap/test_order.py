"""Files in any order, twice, mixed with calls: the server ends where one that was called in order does."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflexarc_core.record import KIND_OF, EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.app import Server
from tests.airgap.kit import bring, check_of, enrol, file_of, push_request, stream_answer
from tests.server.kit import Stubs

FILES = ((1, 30), (31, 55), (56, 56), (57, 90))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [file_of(tmp_path / f"file.{number}", first, last) for number, (first, last) in enumerate(FILES, 1)]


def held(server: Server) -> list[tuple[int, str]]:
    """(number, id) of every event of the device, in the order they were stored."""
    query = "SELECT seq, record_id FROM log WHERE installation = 'device-1' AND kind = ? ORDER BY server_seq"
    return [(seq, record_id) for seq, record_id in server.parts.store._rows(query, (KIND_OF[EventInput],))]


WANTED = [(seq, f"device-1-{seq}") for seq in range(1, 91)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_with_repeats_gives_what_calls_give(
    server: Server, stubs: Stubs, files: list[Path], tmp_path: Path, order: tuple[int, ...]
) -> None:
    enrol(stubs)
    for number in (*order, *order[:2], *reversed(order)):
        answer = stream_answer(bring(stubs, [files[number]], tmp_path / "answers"))
    assert held(server) == WANTED
    assert answer.answer.upto_seq == 90
    assert answer.upto_check == check_of(90)
    assert not answer.missing
    assert stubs.status().duplicate_count == 0


def test_what_is_missing_is_said_and_nobody_carries_a_file_twice(
    server: Server, stubs: Stubs, files: list[Path], tmp_path: Path
) -> None:
    enrol(stubs)
    early = stream_answer(bring(stubs, [files[3], files[1]], tmp_path / "answers"))
    assert (early.answer.upto_seq, early.stored_count) == (0, 0)
    assert [(gap.first_seq, gap.last_seq) for gap in early.missing] == [(1, 30), (56, 56)]
    middle = stream_answer(bring(stubs, [files[0]], tmp_path / "answers"))
    assert (middle.answer.upto_seq, middle.stored_count) == (55, 55)
    assert [(gap.first_seq, gap.last_seq) for gap in middle.missing] == [(56, 56)]
    late = stream_answer(bring(stubs, [files[2]], tmp_path / "answers"))
    assert (late.answer.upto_seq, late.stored_count) == (90, 35)
    assert held(server) == WANTED
    assert not list((tmp_path / "server" / "sync-files").rglob("*.sync"))


def test_a_file_that_comes_when_its_records_are_a_loss_is_taken_all_the_same(
    server: Server, stubs: Stubs, files: list[Path], tmp_path: Path
) -> None:
    """The device gave them up while the file was on its way, and said so by a call."""
    enrol(stubs)
    bring(stubs, [files[0]], tmp_path / "answers")
    loss = record_pb2.Loss(reason="evicted", first_seq=31, last_seq=56, count=26)
    request = push_request(57, 90)
    request.losses.append(loss)
    stubs.push(list(request.records), request.incarnation, losses=[loss])
    for _ in range(2):
        answer = stream_answer(bring(stubs, [files[1], files[2]], tmp_path / "answers"))
        assert not answer.answer.rekey
    assert sorted(held(server)) == WANTED
    assert stubs.status().duplicate_count == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.one_of(st.integers(0, 3), st.tuples(st.integers(1, 90), st.integers(1, 40))), max_size=12), run=st.uuids()
)
def test_files_and_calls_mixed(
    server: Server, stubs: Stubs, files: list[Path], tmp_path: Path, steps: list[int | tuple[int, int]], run: object
) -> None:
    """Calls as a device makes them: from a number that it believes to be the next, be it the right one or not."""
    installation = f"mixed-{run}"
    other = Stubs(server.address, installation)
    enrol(stubs, installation)
    mixed = [
        file_of(tmp_path / f"mixed.{number}", first, last, installation=installation)
        for number, (first, last) in enumerate(FILES, 1)
    ]
    for step in (*steps, 3, 0, 1, 2):
        if isinstance(step, int):
            upto = stream_answer(bring(other, [mixed[step]], tmp_path / "answers")).answer.upto_seq
        else:
            first, count = step
            request = push_request(first, min(90, first + count - 1), installation)
            upto = other.events.Push(request, metadata=other.metadata, timeout=10).upto_seq
    other.close()
    assert upto == 90
    rows = server.parts.store._rows("SELECT seq, record_id FROM log WHERE installation = ?", (installation,))
    assert sorted(rows) == [(seq, f"{installation}-{seq}") for seq in range(1, 91)]
