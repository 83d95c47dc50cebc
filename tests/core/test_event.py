"""Events: properties fit their declared types, or the event is refused in words."""

from __future__ import annotations

import pytest

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.event import EventType, PropertyType, check_event_type, subject_key, subject_parts

PAGE = EventType(
    "page_view",
    {
        "page_url": PropertyType("string", required=True),
        "time_on_page": PropertyType("double"),
        "step": PropertyType("int"),
        "seen": PropertyType("bool"),
        "kind": PropertyType("string", values=("a", "b")),
        "tags": PropertyType("list(string)"),
    },
)


def test_values_are_coerced_and_undeclared_ones_counted() -> None:
    given = {"page_url": "/", "time_on_page": 3, "step": 2.0, "seen": True, "tags": ("x",), "other": 1, "kind": None}
    assert PAGE.conform(given) == ({"page_url": "/", "time_on_page": 3.0, "step": 2, "seen": True, "tags": ["x"]}, 1)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "page_url is missing"),
        ({"page_url": 3}, "page_url is int (a string"),
        ({"page_url": "/", "time_on_page": float("nan")}, "time_on_page"),
        ({"page_url": "/", "time_on_page": True}, "time_on_page"),
        ({"page_url": "/", "time_on_page": 10**400}, "time_on_page"),
        ({"page_url": "/", "step": 2.5}, "step"),
        ({"page_url": "/", "step": 2**60}, "step"),
        ({"page_url": "/", "seen": 1}, "seen"),
        ({"page_url": "/", "kind": "c"}, "one of a, b"),
        ({"page_url": "/", "tags": ["x", 1]}, "tags"),
        ({"page_url": "x" * 9_000}, "page_url"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: dict[str, object], names: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        PAGE.conform(given)
    assert names in str(caught.value)
    assert len(str(caught.value)) < 200, "a value is never shown whole"


def test_a_property_may_not_take_the_name_of_enrichment() -> None:
    with pytest.raises(DefinitionError, match="taken by enrichment"):
        check_event_type(EventType("e", {"session_id": PropertyType("string")}))


def test_subjects_have_one_text_form() -> None:
    assert subject_key("known", "4:2") == "known:4:2"
    assert subject_parts("known:4:2") == ("known", "4:2")
    for wrong in ("42", "robot:1", "known:"):
        with pytest.raises(InvalidEventError):
            subject_parts(wrong)
