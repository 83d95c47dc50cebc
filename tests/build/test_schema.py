"""The JSON Schema for editors: it takes what the reader takes, refuses what it names, and knows the same fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reflexarc_build import reader, source
from reflexarc_build.reader import build_text, standard_text
from reflexarc_build.schema import catalog_schema
from tests.conftest import ROOT
from tests.core.test_patterns import CART, FUNNEL
from tests.core.world import YAML

SCHEMA = catalog_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

EVERYTHING = """
include: [standard]
version: "3"
test_subjects: [known:me]
event_types:
  booking: {description: A room., properties: {room: string!, board: {type: string, required: true, values: [half, full]}}}
features:
  nights: {aggregation: sum, of: {purchase: item_count}, where: {currency: [EUR, USD]}, window: 90d, bucket: 3d, unit: nights}
  visits: {aggregation: total, of: [page_view]}
segments: {busy: features.visits > 3.0, loyal: {condition: features.page_views > 9.0, tracked: true}}
caps:
  calm: {count: 3, within: 7d}
  mail: {count: 1, each: day, channels: [email], triggers: [funnel], scope: device}
triggers:
  funnel:
    pattern:
      {within: 1h, cancel: purchase, steps: [{event: page_view, where: event.page_url == "/"}, {event: page_view, count: 2}]}
    goal: {events: [purchase], within: 7d}
    variants: {plain: {share: 0.5}, bold: {share: 0.5, action: letter}}
    group: {name: spring, from: 0.0, to: 0.5}
    follow: [{action: letter, on: [click], wait: 2d}]
    action: offer
  silent:
    inactive: {events: [page_view], for: 3d}
    quiet: [{from: "22:00", to: "08:00", days: [mon], then: drop}]
    action: offer
  regular: {segment_entered: [busy, loyal], segment_left: busy, action: offer}
  buyer:
    condition: purchase_intent_score > 0.8
    {rest}
actions:
  offer: {channel: in_app, fallback: en, payload: {title: {en: Hello, de: Hallo}, n: 3, ok: true}}
  letter: {channel: email, description: A letter.}
"""
REST = """confidence: off
    escalate: never
    deadline: 150ms
    life: 1h
    dry_run: true
    cooldown: 1d
    purpose: marketing
    max_age: 1h
    hold: 12h
    holdout: 0.1
    holdout_unit: device
    holdout_group: all
    reentry: after_exit
    exit: [purchase]
    exempt: [calm]
    cap: {count: 1, within: 1d}
    slot: banner
    priority: 3
    window: {from: "09:00", to: "17:00"}
    placement: edge
    description: Everything a trigger can say.
    action: offer"""


def of_one(trigger: str) -> str:
    indented = "\n".join(f"    {line}" for line in trigger.splitlines())
    return f"include: standard\ntriggers:\n  t:\n    action: x\n{indented}\nactions: {{x: {{}}}}"


RIGHT = {
    "everything": EVERYTHING.replace("{rest}", REST),
    "standard": standard_text(),
    "automations": (ROOT / "examples" / "catalog" / "automations.yaml").read_text(),
    "journeys": (ROOT / "examples" / "catalog" / "journeys.yaml").read_text(),
    "mail": (ROOT / "examples" / "catalog" / "mail.yaml").read_text(),
    "world": YAML,
    "cart": of_one(CART),
    "steps": of_one(FUNNEL),
}


def plain(text: str) -> Any:
    """As an editor sees it: `on` and `off` are words."""
    return source.parse(text, "c.yaml").plain()


@pytest.mark.parametrize("name", RIGHT)
def test_what_builds_is_taken(name: str) -> None:
    build_text(RIGHT[name])
    assert [error.message for error in VALIDATOR.iter_errors(plain(RIGHT[name]))] == []


WRONG = {
    "an unknown section": "plugins: {}",
    "an unknown field": RIGHT["everything"].replace("cooldown:", "cool_down:"),
    "no action": RIGHT["everything"].replace("    action: offer\n  silent", "  silent"),
    "a duration without a unit": RIGHT["everything"].replace("cooldown: 1d", "cooldown: 1"),
    "a time that is none": RIGHT["everything"].replace('"22:00"', '"25:00"'),
    "a day that is none": RIGHT["everything"].replace("[mon]", "[monday]"),
    "a share over one": RIGHT["everything"].replace("holdout: 0.1", "holdout: 1.1"),
    "a placement that is none": RIGHT["everything"].replace("placement: edge", "placement: cloud"),
    "a cap of nothing": RIGHT["everything"].replace("cap: {count: 1, within: 1d}", "cap: {count: 0, within: 1d}"),
    "a name with a dash": RIGHT["everything"].replace("  silent:", "  sil-ent:"),
    "an outcome that is none": RIGHT["everything"].replace("on: [click]", "on: [bought]"),
    "an aggregation that is none": RIGHT["everything"].replace("aggregation: sum", "aggregation: median"),
    "a type that is none": RIGHT["everything"].replace("type: string, required", "type: text, required"),
    "a variant of unknown size": RIGHT["everything"].replace("plain: {share: 0.5}", "plain: {}"),
    "a filter that says nothing": RIGHT["everything"].replace('where: event.page_url == "/"', 'where: ""'),
    "a segment without a condition": RIGHT["everything"].replace("{condition: features.page_views > 9.0, tr", "{tr"),
    "a segment that is followed perhaps": RIGHT["everything"].replace("tracked: true", "tracked: perhaps"),
    "a step of its own kind": RIGHT["everything"].replace("{event: page_view, count: 2}", "{event: page_view, times: 2}"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_it_refuses_the_reader_refuses_too(name: str) -> None:
    assert list(VALIDATOR.iter_errors(plain(WRONG[name])))
    with pytest.raises(source.SourceError):
        build_text(WRONG[name])


def test_it_knows_the_fields_that_the_reader_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, set[str]] = {}
    finish = source.Reading.finish

    def noting(self: source.Reading) -> None:
        words = self.what.split(":")
        kind = words[0].split(" ")[0] if len(words) == 1 else words[-1].strip().split(" ")[0]
        asked.setdefault(kind, set()).update(self._asked)
        finish(self)

    monkeypatch.setattr(source.Reading, "finish", noting)
    for name in ("everything", "cart"):
        build_text(RIGHT[name])
    sections = SCHEMA["properties"]

    def fields(section: str) -> dict[str, Any]:
        found: dict[str, Any] = sections[section]["additionalProperties"]["properties"]
        return found

    trigger = fields("triggers")
    assert asked["the"] == set(sections)
    assert asked["event"] == set(fields("event_types"))
    assert asked["feature"] == set(fields("features"))
    assert asked["model"] == set(fields("models"))
    assert asked["trigger"] == set(trigger)
    assert asked["action"] == set(fields("actions"))
    assert asked["segment"] == set(sections["segments"]["additionalProperties"]["anyOf"][1]["properties"])
    assert asked["pattern"] == set(trigger["pattern"]["properties"])
    assert asked["step"] == set(trigger["pattern"]["properties"]["steps"]["items"]["properties"])
    assert asked["inactive"] == set(trigger["inactive"]["properties"])
    assert asked["goal"] == set(trigger["goal"]["properties"])
    assert asked["follow"] == set(trigger["follow"]["items"]["properties"])
    assert asked["variant"] == set(trigger["variants"]["additionalProperties"]["properties"])
    assert asked["group"] == set(trigger["group"]["properties"])
    assert asked["quiet"] == set(trigger["quiet"]["anyOf"][0]["properties"])
    assert asked["window"] == set(trigger["window"]["anyOf"][0]["properties"])
    assert asked["cap"] == set(fields("caps"))
    assert asked["label"] == set(fields("models")["label"]["properties"])


def test_the_one_that_ships_is_this_one_and_sound() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    shipped = ROOT / "examples" / "catalog" / "catalog.schema.json"
    assert json.loads(shipped.read_text()) == SCHEMA, "reflexarc catalog schema -o examples/catalog/catalog.schema.json"
    assert reader.SECTIONS
    assert yaml.safe_load(RIGHT["automations"])
