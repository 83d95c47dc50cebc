"""The five real sets: every count of their source notes, and the traps in them."""

import datetime
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from reflexarc_cli.importing.mapping import Mapping
from reflexarc_cli.importing.ordered import in_time_order
from reflexarc_cli.importing.reader import choose
from reflexarc_cli.importing.run import MemorySink, run_import
from reflexarc_cli.importing.verdicts import ImportResult
from tests.importing.kit import event_types


def text(time: int | None) -> str:
    assert time is not None
    return datetime.datetime.fromtimestamp(time / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


@cache
def imported(folder: Path) -> tuple[Path, Mapping, MemorySink, ImportResult]:
    """Imported by the mapping its header finds: the one of the folder's name."""
    file, mapping = choose(folder, None)
    assert mapping.name == folder.name
    assert choose(file, None) == (file, mapping)
    sink = MemorySink()
    return file, mapping, sink, run_import(folder, mapping, sink, event_types())


@pytest.mark.parametrize(
    ("name", "rows", "subjects", "first", "last", "types"),
    [
        ("orders_online_retail", 22_190, 4_372, "2010-12-01T08:26:00", "2011-12-09T12:50:00",
         {"purchase": 18_536, "order_cancelled": 3_654}),
        ("clickstream_wikimedia_sessions", 63_524, 10_000, "2014-01-07T00:00:15", "2014-01-22T23:59:59", {"page_view": 63_524}),
        ("events_ecom_synthetic", 31_106, 600, "2024-01-04T11:45:38", "2024-06-29T22:02:40",
         {"page_view": 14_193, "product_interaction": 16_166, "purchase": 470, "support_ticket": 277}),
        ("email_events_fivetran", 17, 7, "2019-11-27T17:01:55", "2020-04-06T17:45:52", {"email_open": 12, "email_click": 5}),
        ("content_ml_latest_small", 100_004, 671, "1995-01-09T11:46:49", "2016-10-16T17:57:24", {"content_view": 100_004}),
    ],
)  # fmt: skip
def test_counts_are_those_of_the_source(
    real_sets: Path, name: str, rows: int, subjects: int, first: str, last: str, types: dict[str, int]
) -> None:
    _, _, sink, result = imported(real_sets / name)
    assert (result.row_count, result.accepted_count, result.rejected_count, result.skipped_count) == (rows, rows, 0, 0)
    assert len({event.subject for event in sink.events.values()}) == subjects
    assert (text(result.first_time), text(result.last_time)) == (first, last)
    assert dict(result.event_types) == types


def test_snowplow_rows_are_views_clicks_or_said_to_be_neither(real_sets: Path) -> None:
    _, _, _, result = imported(real_sets / "web_events_snowplow")
    assert result.row_count == 160
    assert dict(result.event_types) == {"page_view": 48, "button_click": 10}
    # Of 50 page views one has no user and one was sent twice under one id; so was one of 10 + 1 clicks.
    assert (result.accepted_count, result.duplicate_count, result.rejected_count, result.skipped_count) == (58, 2, 1, 99)
    assert dict(result.codes) == {"subject": 1}


@pytest.mark.parametrize("name", ["orders_online_retail", "events_ecom_synthetic", "web_events_snowplow"])
def test_a_second_import_of_a_real_set_adds_nothing(real_sets: Path, name: str) -> None:
    file, mapping, sink, first = imported(real_sets / name)
    before = len(sink.events)
    again = run_import(file, mapping, sink, event_types())
    assert again.accepted_count == 0
    assert again.duplicate_count == first.accepted_count + first.duplicate_count
    assert len(sink.events) == before


def test_trap_equal_rows_both_count(real_sets: Path) -> None:
    for name, equal in (("events_ecom_synthetic", 30), ("clickstream_wikimedia_sessions", 7)):
        _, _, sink, _ = imported(real_sets / name)
        contents = Counter(
            (e.subject, e.event_time, str(e.properties), e.context.get("session_id")) for e in sink.events.values()
        )
        if name == "clickstream_wikimedia_sessions":
            assert sum(contents.values()) - len(contents) == equal
        else:  # two names may become the same event, so at least the equal rows are there
            assert sum(contents.values()) - len(contents) >= equal


def test_trap_a_url_with_a_line_break_is_one_row(real_sets: Path) -> None:
    _, _, sink, _ = imported(real_sets / "clickstream_wikimedia_sessions")
    urls = [str(e.properties["page_url"]) for e in sink.events.values() if "\n" in str(e.properties["page_url"])]
    assert len(urls) == 2
    assert max(event.source_position for event in sink.events.values()) == 63_524


@pytest.mark.parametrize("name", ["events_ecom_synthetic", "web_events_snowplow", "orders_online_retail"])
def test_trap_sets_that_are_not_sorted_replay_in_time_order(real_sets: Path, tmp_path: Path, name: str) -> None:
    file, mapping, sink, result = imported(real_sets / name)
    as_they_stand = [event.event_time for event in sink.events.values()]
    assert (as_they_stand == sorted(as_they_stand)) == mapping.in_time_order == (name == "orders_online_retail")
    ordered = [
        accepted.event.event_time
        for accepted in in_time_order(file, mapping, event_types(), spill_folder=tmp_path, chunk_events_max=5_000)
    ]
    assert ordered == sorted(ordered)
    assert len(ordered) == result.accepted_count + result.duplicate_count


def test_local_times_of_the_orders_are_moved_to_utc_in_summer(real_sets: Path) -> None:
    _, _, sink, _ = imported(real_sets / "orders_online_retail")
    lines = (real_sets / "orders_online_retail/orders.csv").read_text().splitlines()[1:]
    for month, hours in (("2011-01", 0), ("2011-07", 1)):
        row = next(line.split(",") for line in lines if line.split(",")[3].startswith(month))
        local = datetime.datetime.fromisoformat(row[3]).replace(tzinfo=datetime.UTC)
        event = sink.events[f"online-retail:{row[0]}"]
        assert int(local.timestamp()) * 1000 - event.event_time == hours * 3_600_000
