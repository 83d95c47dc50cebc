"""A catalog and its source, there and back: the same digest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_build.reader import build_mapping, build_text
from reflexarc_build.source import SourceError
from reflexarc_build.writer import source_of, text_of
from tests.build.test_schema import RIGHT

times = st.sampled_from(["1ms", "90s", "45m", "36h", "7d", "2w"])
names = st.lists(st.sampled_from(["page_view", "purchase", "session"]), min_size=1, max_size=3, unique=True)
minutes = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
steps = st.fixed_dictionaries(
    {"event": names},
    optional={"count": st.integers(1, 4), "where": st.sampled_from(["event.session_step > 1", "has(event.locale)"])},
)
triggers = st.fixed_dictionaries(
    {"action": st.just("act")},
    optional={
        "cooldown": times, "max_age": times, "life": times, "hold": times, "priority": st.integers(-9, 9), "slot": st.just("s"),
        "holdout": st.sampled_from([0.1, 0.25]), "holdout_unit": st.sampled_from(["subject", "device", "session"]),
        "cap": st.one_of(
            st.fixed_dictionaries({"count": st.integers(1, 9), "within": times}),
            st.fixed_dictionaries({"count": st.integers(1, 9), "each": st.sampled_from(["day", "week"])}),
        ),
        "exit": names, "reentry": st.sampled_from(["always", "once"]), "dry_run": st.booleans(),
        "window": st.fixed_dictionaries({"from": minutes, "to": minutes}),
        "goal": st.fixed_dictionaries({"events": names, "within": times}),
        "follow": st.lists(st.fixed_dictionaries({"action": st.just("other"), "wait": times}), min_size=1, max_size=2),
        "variants": st.just({"a": {"share": 0.5}, "b": {"share": 0.5, "action": "other"}}),
        "group": st.just({"name": "g", "from": 0.25, "to": 1.0}),
        "description": st.sampled_from(["yes", "1", "null", "a: b", "# no", "ü", "2024-01-01", "12:30", "on"]),
    },
)  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_there_and_back_is_the_same_catalog(name: str) -> None:
    catalog = build_text(RIGHT[name])
    assert build_text(text_of(catalog)).digest == catalog.digest
    assert build_mapping(source_of(catalog)).digest == catalog.digest


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(triggers, st.lists(steps, min_size=2, max_size=3), st.booleans())
def test_drawn_triggers_too(trigger: dict[str, Any], pattern: list[dict[str, Any]], on: bool) -> None:
    what = {"on": ["page_view"], "condition": "features.page_views > 1.0"} if on else {"pattern": {"steps": pattern}}
    payload = {
        "title": {"en": "a ${event.session_step}", "de": "b"},
        "n": 3,
        "yes": True,
        "text": "off",
        "e": "${features.page_views}",
    }
    actions = {"act": {"payload": payload}, "other": {"channel": "email"}}
    source = {"include": "standard", "triggers": {"t": {**what, **trigger}}, "actions": actions}
    catalog = build_mapping(source)
    assert build_text(text_of(catalog)).digest == catalog.digest
    assert source_of(build_mapping(source_of(catalog))) == source_of(catalog)


def test_a_mistake_in_python_is_named_by_its_path() -> None:
    source = {
        "include": "standard",
        "triggers": {"t": {"on": ["page_view"], "condition": "1", "action": "x"}},
        "actions": {"x": {}},
    }
    with pytest.raises(SourceError, match=r"^catalog\.triggers\.t\.condition: trigger t: the condition is int"):
        build_mapping(source)
    with pytest.raises(SourceError, match=r"^catalog\.triggers\.t: object is no value of a catalog"):
        build_mapping({"triggers": {"t": object()}})
