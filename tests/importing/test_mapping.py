"""Mappings: what one says is what it does, and a wrong one says where and what to write."""

import pytest

from reflexarc.definitions import load_catalog
from reflexarc_build.source import SourceError
from reflexarc_cli.importing.conversion import RowConverter
from reflexarc_cli.importing.mapping import (
    adapted_catalog,
    all_event_types,
    find_mapping,
    load_mapping,
    shipped_mappings,
    shipped_names,
)
from reflexarc_cli.importing.mapping_reader import read_mapping
from reflexarc_core.errors import DefinitionError
from tests.importing.kit import VISITS, event_types, mapping

DAY_MS = 86_400_000


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_mapping_fits_the_shipped_event_types(name: str) -> None:
    shipped = load_mapping(name)
    RowConverter(shipped, all_event_types(event_types(), shipped), "digest")
    assert shipped.name == name
    assert shipped.file
    assert shipped.cut_time is not None


def test_seven_mappings_are_shipped() -> None:
    assert set(shipped_names()) == {
        "orders_online_retail", "clickstream_wikimedia_sessions", "events_ecom_synthetic", "web_events_snowplow",
        "content_ml_latest_small", "simulated_shoppers", "email_events_fivetran",
    }  # fmt: skip


def test_a_cancelled_order_is_never_a_support_ticket() -> None:
    orders = load_mapping("orders_online_retail")
    assert orders.kinds["order_cancelled"].event_type == "order_cancelled"
    assert "support_ticket" not in {kind.event_type for kind in orders.kinds.values()}
    assert "order_cancelled" in orders.event_types


def test_horizons_and_cuts_are_what_the_sets_need() -> None:
    orders = load_mapping("orders_online_retail")
    assert orders.labels["churn"] is not None
    assert (orders.labels["churn"].horizon_ms, orders.labels["churn"].active_within_ms) == (90 * DAY_MS, 180 * DAY_MS)
    assert orders.labels["purchase_intent"] is not None
    assert orders.labels["purchase_intent"].horizon_ms == 30 * DAY_MS
    assert orders.cut_time == 1_315_522_800_000  # 2011-09-09 00:00 in London is 23:00 UTC the day before
    visits = load_mapping("clickstream_wikimedia_sessions")
    assert visits.labels["purchase_intent"] is None
    assert visits.cut_time == 1_390_003_200_000


def test_the_catalog_takes_the_horizons_and_the_custom_types() -> None:
    catalog = adapted_catalog(load_catalog(None), load_mapping("orders_online_retail"))
    churn = catalog.models["churn"].label
    assert churn is not None
    assert (churn.horizon_ms, churn.active_within_ms) == (90 * DAY_MS, 180 * DAY_MS)
    assert "order_cancelled" in catalog.event_types
    with pytest.raises(DefinitionError, match="another way"):
        adapted_catalog(load_catalog(None), mapping(event_types="{purchase: {properties: {amount: string}}}"))


MISTAKES = [
    ("subject: who\n", "subject: whom\n", 3, "which is not in columns", "did you mean who?"),
    ("time: when\n", "time: {column: when, format: iso8601}\n", 4, "format is 'iso8601'", "epoch_s"),
    ("subject: who\n", "subject: {column: who, kind: person}\n", 3, "kind is 'person'", "anonymous"),
    ("event_type: page_view\n", "event_type: {column: page, values: {a: b}, unlisted: drop}\n", 5, "'drop'", "reject, skip"),
    ("{page_url: page}", "{page_url: {column: page, value: x}}", 7, "both or neither", "one of the two"),
    ("columns: [who, when, page]\n", "", 2, "no columns", "columns: ..."),
]


@pytest.mark.parametrize(("old", "new", "line", "message", "hint"), MISTAKES)
def test_a_mistake_names_its_line_and_what_to_write(old: str, new: str, line: int, message: str, hint: str) -> None:
    with pytest.raises(SourceError) as caught:
        mapping(VISITS.replace(old, new))
    lines = str(caught.value).splitlines()
    assert any(f"test.yaml:{line}:" in one and message in one and hint in one for one in lines), lines


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(SourceError) as caught:
        mapping(VISITS, zone="Europe/Londn", cut="soon", labels="{churn: {horizon: 5}}", fiel="x.csv")
    assert len(caught.value.mistakes) == 4
    assert "did you mean file?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (VISITS.replace("event_type: page_view", "event_type: page_viw"), 5, "did you mean page_view?"),
        (VISITS.replace("{page_url: page}", "{page_ur: page}"), 7, "did you mean page_url?"),
        (VISITS.replace("properties:\n  page_view: {page_url: page}", ""), 5, "page_view needs page_url"),
    ],
)
def test_what_does_not_fit_the_event_types_is_found_before_the_first_row(text: str, line: int, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        RowConverter(mapping(text), event_types(), "digest")
    assert f"test.yaml:{line}:" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", shipped_names())
def test_a_header_finds_its_mapping(name: str) -> None:
    shipped = load_mapping(name)
    assert find_mapping([*reversed(shipped.columns), "one more"]).name == name


def test_no_mapping_and_two_mappings_are_one_line_each() -> None:
    with pytest.raises(DefinitionError) as none:
        find_mapping(["a", "b"])
    assert "--map" in str(none.value)
    both = [column for name in ("orders_online_retail", "content_ml_latest_small") for column in load_mapping(name).columns]
    with pytest.raises(DefinitionError) as two:
        find_mapping(both)
    assert "content_ml_latest_small" in str(two.value)
    assert "orders_online_retail" in str(two.value)
    assert all("\n" not in str(error.value) for error in (none, two))


def test_no_shipped_mapping_shadows_another() -> None:
    for name, shipped in shipped_mappings().items():
        others = [other for other in shipped_mappings().values() if set(shipped.columns) >= set(other.columns)]
        assert [other.name for other in others] == [name]


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(DefinitionError, match="orders_online_retail"):
        load_mapping("orders")


def test_hostile_yaml_is_a_definition_error() -> None:
    for text in ("a: &x [*x]", "- 1", "\t", "{" * 200, "columns: {a: b}\nsubject: [1]\ntime: 3\nevent_type: 4", ""):
        with pytest.raises(DefinitionError):
            read_mapping(text, "bad.yaml", "bad")
