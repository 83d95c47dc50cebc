"""One row, one verdict: times, ids, types and reasons."""

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_cli.importing.conversion import Accepted, Rejected, RowConverter, Skipped
from reflexarc_cli.importing.mapping import Mapping
from reflexarc_cli.importing.rows import Row
from reflexarc_cli.importing.times import TimeReader
from tests.importing.kit import VISITS, event_types, mapping

ORDERS = """
columns: [id, who, when, what, total, count, test]
subject: {column: who, kind: known}
time: {column: when, format: epoch_s}
event_id: {columns: [id], prefix: "shop:"}
event_type:
  column: what
  values:
    order: purchase
    ping: skip
    open: {type: email_open, properties: {message_id: {column: id}, client: {value: web}}}
properties:
  purchase: {order_id: id, amount: total, item_count: count, currency: {column: test, values: {"1": EUR}}}
  email_open: {machine: test}
"""
ROW = {"id": "7", "who": "ann", "when": "1600000000", "what": "order", "total": "12.5", "count": "3", "test": "1"}


def convert(cells: dict[str, object], text: str = ORDERS, number: int = 1, digest: str = "d") -> Accepted | Rejected | Skipped:
    return converter(mapping(text), digest).convert(Row(number, cells))


def converter(held: Mapping, digest: str = "d") -> RowConverter:
    return RowConverter(held, event_types(), digest)


def test_a_row_becomes_the_event_its_mapping_says() -> None:
    found = convert({**ROW})
    assert isinstance(found, Accepted)
    event = found.event
    assert (event.event_id, event.event_type, event.subject) == ("shop:7", "purchase", "known:ann")
    assert event.event_time == 1_600_000_000_000
    assert event.properties == {"order_id": "7", "amount": 12.5, "item_count": 3, "currency": "EUR"}
    assert event.source_position == 1


def test_a_listed_kind_has_its_own_properties_on_top() -> None:
    found = convert({**ROW, "what": "open", "test": "no"})
    assert isinstance(found, Accepted)
    assert found.event.properties == {"message_id": "7", "client": "web", "machine": False}


def test_an_empty_cell_is_an_absent_property() -> None:
    found = convert({**ROW, "total": "", "count": " "})
    assert isinstance(found, Accepted)
    assert set(found.event.properties) == {"order_id", "currency"}


@pytest.mark.parametrize(
    ("changed", "code", "word"),
    [
        ({"who": " "}, "subject", "who is empty"),
        ({"when": "yesterday"}, "time", "'yesterday'"),
        ({"when": "-5"}, "time", "after 1970"),
        ({"when": "9" * 40}, "time", "after 1970"),
        ({"when": "nan"}, "time", "after 1970"),
        ({"id": ""}, "event_id", "id is empty"),
        ({"id": "x" * 300}, "event_id", "at most"),
        ({"what": "refund"}, "event_type", "'refund'"),
        ({"total": "much"}, "property", "total is 'much'"),
        ({"total": "nan"}, "property", "amount"),
        ({"total": "inf"}, "property", "amount"),
        ({"count": "1.5"}, "property", "count is '1.5'"),
        ({"what": "open", "test": "perhaps"}, "property", "a bool"),
    ],
)
def test_a_row_that_is_no_event_says_why(changed: dict[str, object], code: str, word: str) -> None:
    found = convert({**ROW, **changed})
    assert isinstance(found, Rejected)
    assert found.code == code
    assert word in found.reason
    assert "order" in found.raw or "open" in found.raw or "refund" in found.raw


def test_unlisted_rows_are_rejected_or_skipped_as_the_mapping_says() -> None:
    assert isinstance(convert({**ROW, "what": "refund"}), Rejected)
    found = convert({**ROW, "what": "refund"}, ORDERS.replace("column: what", "column: what\n  unlisted: skip"))
    assert found == Skipped(1, "unlisted")
    assert convert({**ROW, "what": "ping"}) == Skipped(1, "ping")


def test_rows_without_an_id_get_one_from_file_and_row_number() -> None:
    visit: dict[str, object] = {"who": "ann", "when": "2020-01-01T00:00:00", "page": "/"}

    def event_id(number: int, digest: str) -> str:
        found = convert({**visit}, VISITS, number, digest)
        assert isinstance(found, Accepted)
        return found.event.event_id

    assert event_id(1, "a") == event_id(1, "a")
    assert len({event_id(1, "a"), event_id(2, "a"), event_id(1, "b"), event_id(11, ""), event_id(1, "1")}) == 5


def test_json_values_keep_their_types_and_an_object_may_hold_the_properties() -> None:
    text = """
format: jsonl
columns: [who, when, type, all]
subject: who
time: {column: when, format: epoch_ms}
event_type: {column: type}
properties_column: all
"""
    row = {"who": 42, "when": 1_600_000_000_123, "type": "purchase", "all": {"amount": 3, "unknown": 1}}
    found = convert(dict(row), text)
    assert isinstance(found, Accepted)
    event = found.event
    assert (event.subject, event.event_time, event.properties) == ("known:42", 1_600_000_000_123, {"amount": 3.0})
    bad: list[dict[str, object]] = [
        {"type": "nothing"}, {"all": [1]}, {"all": {"amount": "3"}}, {"when": None}, {"when": True}, {"who": None},
        {"who": ["a"]},
    ]  # fmt: skip
    codes = [convert({**row, **change}, text) for change in bad]
    assert [one.code if isinstance(one, Rejected) else one for one in codes] == [
        "event_type", "property", "property", "time", "time", "subject", "subject",
    ]  # fmt: skip
    lone = convert({**row, "who": "\ud800"}, text)
    assert isinstance(lone, Rejected)
    assert lone.code == "encoding"


def test_local_times_take_the_zone_and_the_rule_for_the_two_odd_hours() -> None:
    london = TimeReader("iso", "Europe/London")

    def utc(text: str) -> str:
        return datetime.datetime.fromtimestamp(london.read(text) / 1000, datetime.UTC).strftime("%m-%dT%H:%M")

    assert utc("2011-01-10T12:00") == "01-10T12:00"
    assert utc("2011-07-10 12:00") == "07-10T11:00"
    assert utc("2011-10-30T01:30") == "10-30T00:30"  # twice: the first, in summer time
    assert utc("2011-03-27T01:30") == "03-27T01:30"  # never: moved on by the hour, 02:30 in summer time
    assert utc("2011-07-10T12:00+02:00") == "07-10T10:00"
    assert utc("2011-07-10T12:00Z") == "07-10T12:00"


@given(st.datetimes(datetime.datetime(1980, 1, 1), datetime.datetime(2037, 1, 1)), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_any_format_reads_the_same_moment(moment: datetime.datetime, zone: str) -> None:
    moment = moment.replace(microsecond=0)
    expected = int(moment.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()) * 1000
    assert TimeReader("iso", zone).read(moment.isoformat()) == expected
    assert TimeReader("%d.%m.%Y %H:%M:%S", zone).read(moment.strftime("%d.%m.%Y %H:%M:%S")) == expected
    assert TimeReader("epoch_s", zone).read(str(expected // 1000)) == expected
    assert TimeReader("epoch_ms", zone).read(expected) == expected


@given(st.dictionaries(st.sampled_from(sorted(ROW)), st.text(max_size=20) | st.none() | st.integers() | st.floats(), max_size=7))
def test_no_row_ever_raises(cells: dict[str, object]) -> None:
    assert isinstance(convert({**ROW, **cells}), (Accepted, Rejected, Skipped))
    assert isinstance(convert(dict(cells)), (Accepted, Rejected, Skipped))
