"""Catalogs written in Python: the same definitions as in YAML, field for field."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest
import yaml

from reflexarc_build import author
from reflexarc_build.author import (
    absent,
    action,
    cap,
    catalog,
    event_type,
    feature,
    follow,
    goal,
    group,
    hours,
    inactive,
    label,
    model,
    pattern,
    property_of,
    segment,
    step,
    trigger,
    variant,
)
from reflexarc_build.reader import build_text
from reflexarc_build.schema import catalog_schema
from reflexarc_build.source import SourceError
from reflexarc_build.writer import text_of
from tests.build.test_schema import EVERYTHING, REST

DAY = timedelta(days=1)
OTHER_WORDS = {"begin": "from", "end": "to", "lasting": "for", "low": "from", "high": "to"}


def everything() -> Any:
    """As tests.build.test_schema.EVERYTHING, in Python."""
    rest = yaml.safe_load(f"    {REST}".replace("confidence: off", "confidence: 'off'"))
    rest["cap"] = cap(1, within=DAY)
    rest["window"] = hours("09:00", "17:00")
    return catalog(
        version="3",
        test_subjects="known:me",
        event_types={
            "booking": event_type(
                description="A room.",
                properties={"room": "string!", "board": property_of("string", required=True, values=["half", "full"])},
            )
        },
        features={
            "nights": feature(
                "sum", {"purchase": "item_count"}, where={"currency": ["EUR", "USD"]}, window=90 * DAY, bucket="3d", unit="nights"
            ),
            "visits": feature("total", ["page_view"]),
        },
        segments={"busy": "features.visits > 3.0", "loyal": segment("features.page_views > 9.0", tracked=True)},
        caps={
            "calm": cap(3, within="7d"),
            "mail": cap(1, each="day", channels=["email"], triggers=["funnel"], scope="device"),
        },
        triggers={
            "funnel": trigger(
                pattern=pattern(
                    [step("page_view", where='event.page_url == "/"'), step("page_view", count=2)], within="1h", cancel="purchase"
                ),
                goal=goal(["purchase"], 7 * DAY),
                variants={"plain": variant(0.5), "bold": variant(0.5, action="letter")},
                group=group("spring", 0.0, 0.5),
                follow=[follow("letter", on=["click"], wait=2 * DAY)],
                action="offer",
            ),
            "silent": trigger(
                inactive=inactive(["page_view"], 3 * DAY),
                quiet=[hours("22:00", "08:00", days=["mon"], then="drop")],
                action="offer",
            ),
            "regular": trigger(segment_entered=["busy", "loyal"], segment_left="busy", action="offer"),
            "buyer": trigger(condition="purchase_intent_score > 0.8", **rest),
        },
        actions={
            "offer": action(
                channel="in_app", fallback="en", payload={"title": {"en": "Hello", "de": "Hallo"}, "n": 3, "ok": True}
            ),
            "letter": action(channel="email", description="A letter."),
        },
    )


def test_it_is_the_catalog_of_the_same_yaml() -> None:
    assert everything().digest == build_text(EVERYTHING.replace("{rest}", REST)).digest
    assert build_text(text_of(everything())).digest == everything().digest


def test_what_must_not_come_and_models_too() -> None:
    written = catalog(
        models={
            "m": model(
                "o", "random_forest", ["page_views"], label=label("churn", ["purchase"], "9d", active_within="30d"), every=DAY
            )
        },
        triggers={"t": trigger(pattern=pattern([step("page_view"), absent("purchase", timedelta(minutes=30))]), action="a")},
        actions={"a": action()},
    )
    assert (
        written.digest
        == build_text("""
include: standard
models:
  m:
    {output: o, algorithm: random_forest, features: [page_views], every: 1d,
     label: {kind: churn, events: [purchase], horizon: 9d, active_within: 30d}}
triggers: {t: {action: a, pattern: {steps: [{event: page_view}, {no: purchase, within: 30m}]}}}
actions: {a: {}}
""").digest
    )


def test_a_mistake_names_its_path() -> None:
    with pytest.raises(SourceError) as refused:
        catalog(triggers={"t": trigger(condition="event.page > 1", on="page_view", action="a")}, actions={"a": action()})
    assert [mistake.file for mistake in refused.value.mistakes] == ["catalog.triggers.t.condition"]
    with pytest.raises(TypeError):
        trigger(action="a", colldown="1d")  # type: ignore[call-arg]


def test_every_field_of_the_yaml_has_its_argument() -> None:
    schema = catalog_schema()["properties"]
    one = {name: held["additionalProperties"] for name, held in schema.items() if "additionalProperties" in held}
    fields = one["triggers"]["properties"]
    steps = set(fields["pattern"]["properties"]["steps"]["items"]["properties"])
    expected = {
        "catalog": set(schema), "event_type": set(one["event_types"]["properties"]),
        "feature": set(one["features"]["properties"]),
        "property_of": set(one["event_types"]["properties"]["properties"]["additionalProperties"]["anyOf"][1]["properties"]),
        "segment": set(one["segments"]["anyOf"][1]["properties"]),
        "model": set(one["models"]["properties"]), "label": set(one["models"]["properties"]["label"]["properties"]),
        "trigger": set(fields), "action": set(one["actions"]["properties"]), "cap": set(one["caps"]["properties"]),
        "pattern": set(fields["pattern"]["properties"]), "inactive": set(fields["inactive"]["properties"]),
        "step": steps - {"no"}, "absent": steps - {"event", "count"}, "goal": set(fields["goal"]["properties"]),
        "variant": set(fields["variants"]["additionalProperties"]["properties"]), "group": set(fields["group"]["properties"]),
        "follow": set(fields["follow"]["items"]["properties"]), "hours": set(fields["quiet"]["anyOf"][0]["properties"]),
    }  # fmt: skip
    for name, wanted in expected.items():
        arguments = inspect.signature(getattr(author, name)).parameters
        assert {OTHER_WORDS.get(argument, argument) for argument in arguments} == wanted, name
