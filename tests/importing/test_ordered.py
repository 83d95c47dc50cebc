"""Time order: equal to sorting everything in memory, however small the runs are."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_cli.importing.conversion import Accepted, Rejected, Skipped
from reflexarc_cli.importing.ordered import in_time_order
from reflexarc_cli.importing.reader import read_events
from reflexarc_core.errors import DefinitionError, StorageError
from tests.importing.kit import event_types, mapping, write

SECONDS = mapping(
    """
columns: [who, when, page]
subject: who
time: {column: when, format: epoch_s}
event_type: page_view
properties: {page_view: {page_url: page}}
context: {session_id: page}
"""
)


@given(st.lists(st.integers(0, 30) | st.none(), max_size=40), st.integers(1, 9))
def test_runs_merge_to_what_sorting_gives(times: list[int | None], chunk: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = "".join(f"u{i % 3},{'bad' if t is None else t},/ä{i}\n" for i, t in enumerate(times))
        path = write(folder / "a.csv", "who,when,page\n" + lines)
        spill = folder / "spill"
        spill.mkdir()
        others: list[Rejected | Skipped] = []
        found = list(
            in_time_order(path, SECONDS, event_types(), spill_folder=spill, on_other=others.append, chunk_events_max=chunk)
        )
        accepted = [one for one in read_events(path, SECONDS, event_types()) if isinstance(one, Accepted)]
        assert found == sorted(accepted, key=lambda one: (one.event.event_time, one.row_number))
        assert len(others) == times.count(None)
        assert not list(spill.iterdir())


def test_more_than_one_run_needs_a_folder_that_can_be_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "who,when,page\n" + "u,1,/\n" * 10)
    with pytest.raises(DefinitionError, match="folder for temporary files"):
        list(in_time_order(path, SECONDS, event_types(), chunk_events_max=4))
    with pytest.raises(StorageError, match="cannot be written"):
        list(in_time_order(path, SECONDS, event_types(), spill_folder=tmp_path / "no", chunk_events_max=4))


def test_a_mapping_that_promises_order_is_held_to_it(tmp_path: Path) -> None:
    text = """
columns: [who, when, page]
in_time_order: true
subject: who
time: {column: when, format: epoch_s}
event_type: page_view
properties: {page_view: {page_url: page}}
"""
    path = write(tmp_path / "a.csv", "who,when,page\nu,1,/\nu,3,/\nu,2,/\n")
    events = in_time_order(path, mapping(text), event_types())
    assert [next(events).row_number, next(events).row_number] == [1, 2]
    with pytest.raises(DefinitionError, match="row 3"):
        next(events)
