"""An import as a whole: verdicts are counted, bad rows are kept, and a second one adds nothing."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from reflexarc_cli.importing.run import BATCH_EVENTS_MAX, REFUSED, STORED, MemorySink, Verdict, run_import
from reflexarc_core.errors import StorageError, TransportError
from reflexarc_core.event import Event
from tests.importing.kit import event_types, mapping, write

HEADER = "who,when,page\n"


def test_good_rows_go_in_bad_ones_are_written_down(tmp_path: Path) -> None:
    rows = "ann,2020-01-02,/a\nann,2020-01-02,/a\n,2020-01-01,/b\nbob,soon,/c\nbob,2020-01-01,\nx\neve,2020-01-03,/d\n"
    path = write(tmp_path / "a.csv", HEADER + rows)
    sink = MemorySink()
    result = run_import(path, mapping(), sink, event_types(), tmp_path / "rejected.jsonl")
    assert (result.row_count, result.accepted_count, result.duplicate_count, result.rejected_count) == (7, 3, 0, 4)
    assert len(sink.events) == 3  # equal rows both count
    assert dict(result.codes) == {"subject": 1, "time": 1, "property": 1, "framing": 1}
    assert (result.first_time, result.last_time) == (1_577_923_200_000, 1_578_009_600_000)
    kept = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [(row["row_number"], row["code"]) for row in kept] == [(3, "subject"), (4, "time"), (5, "property"), (6, "framing")]
    assert "soon" in kept[1]["raw"]
    json.dumps(result.to_json())


def test_a_second_import_adds_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + "ann,2020-01-02,/a\n" * 1_201)
    sink = MemorySink()
    seen: list[int] = []
    first = run_import(path, mapping(), sink, event_types(), progress=seen.append)
    second = run_import(path, mapping(), sink, event_types())
    assert (first.accepted_count, first.duplicate_count) == (1_201, 0)
    assert (second.accepted_count, second.duplicate_count) == (0, 1_201)
    assert len(sink.events) == 1_201
    assert seen == [BATCH_EVENTS_MAX, BATCH_EVENTS_MAX, 201]


def test_what_the_sink_refuses_is_a_rejected_row(tmp_path: Path) -> None:
    class Refusing:
        def add(self, events: Sequence[Event]) -> list[Verdict]:
            assert len(events) <= BATCH_EVENTS_MAX
            return [Verdict(REFUSED, "too old") if event.source_position % 2 else Verdict(STORED) for event in events]

    path = write(tmp_path / "a.csv", HEADER + "ann,2020-01-02,/a\n" * 5)
    result = run_import(path, mapping(), Refusing(), event_types(), tmp_path / "no.csv")
    assert (result.accepted_count, result.rejected_count, dict(result.reasons)) == (2, 3, {"too old": 3})
    with (tmp_path / "no.csv").open(newline="") as file:
        assert [row["row_number"] for row in csv.DictReader(file)] == ["1", "3", "5"]


def test_a_sink_that_answers_short_or_fails_stops_with_its_error(tmp_path: Path) -> None:
    class Short:
        def add(self, events: Sequence[Event]) -> list[Verdict]:
            return [Verdict(STORED)] * (len(events) - 1)

    class Down:
        def add(self, events: Sequence[Event]) -> list[Verdict]:
            raise TransportError("127.0.0.1:1 cannot be reached")

    path = write(tmp_path / "a.csv", HEADER + "ann,2020-01-02,/a\n" * 5)
    for sink in (Short(), Down()):
        with pytest.raises(TransportError):
            run_import(path, mapping(), sink, event_types())


def test_an_old_rejected_file_never_tells_of_a_new_import(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + "ann,2020-01-02,/a\n")
    rejected = write(tmp_path / "rejected.jsonl", "old")
    assert run_import(path, mapping(), MemorySink(), event_types(), rejected).rejected_file == ""
    assert not rejected.exists()


def test_a_rejected_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + "ann,never,/a\n")
    with pytest.raises(StorageError, match="cannot be written"):
        run_import(path, mapping(), MemorySink(), event_types(), tmp_path / "no" / "rejected.jsonl")


def test_different_reasons_are_bounded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER + "".join(f"ann,bad{i},/a\n" for i in range(900)))
    result = run_import(path, mapping(), MemorySink(), event_types())
    assert result.rejected_count == 900
    assert len(result.reasons) == 201
    assert result.reasons["..."] == 700
