"""Catalogs as people write them: what is right builds, and each mistake names its line and what to write instead."""

from pathlib import Path

import pytest

from reflexarc_build.reader import build_file, build_text, check_file, mistakes_of
from reflexarc_build.source import NODE_COUNT_MAX, SOURCE_BYTES_MAX, SourceError, duration_ms
from reflexarc_core.errors import DefinitionError, StorageError

HEAD = "include: standard\n"
TRIGGER = HEAD + "triggers:\n  t:\n    condition: predicted_churn_risk > 0.7\n    action: a\n"
ACTION = "actions:\n  a: {payload: {x: hi}}\n"
RIGHT = TRIGGER + ACTION
FEATURE = "aggregation: count, of: [purchase], window: 7d, bucket: 1d"
MODEL = "output: o, algorithm: random_forest, features: [page_views]"


def with_trigger(line: str) -> str:
    return TRIGGER + f"    {line}\n" + ACTION


def condition(text: str) -> str:
    return RIGHT.replace("predicted_churn_risk > 0.7", text)


def feature(text: str) -> str:
    return HEAD + f"features: {{f: {{{text}}}}}\n"


def payload(text: str) -> str:
    return TRIGGER + f"actions:\n  a:\n    payload: {text}\n"


MISTAKES = {
    "nothing in it": ("# later\n", 1, "defines nothing", "include: standard"),
    "a list": ("- a\n", 1, "not a mapping", "NAME: VALUE"),
    "an unknown section": (HEAD + "trigers: {}\n", 2, "no field 'trigers'", "triggers"),
    "a tab": ("include: standard\ntriggers:\n\tt: 1\n", 3, "no YAML", "spaces"),
    "a control character": ("include: standard\nversion: a\x00b\n", 2, "number 0 is not allowed", "UTF-8"),
    "a double key": (with_trigger("action: b"), 6, "'action' stands here twice", "keep one"),
    "an alias": ("a: &x {}\nb: *x\n", 2, "alias", "write the value out"),
    "a key that is a list": ("? [a, b]\n: c\n", 1, "no word", "NAME: VALUE"),
    "deep nesting": ("a: " + "[" * 2000 + "]" * 2000, 1, "nested deeper", ""),
    "very many values": (HEAD + "version: [" + "1," * NODE_COUNT_MAX + "]\n", 2, "more than 50,000 values", "split"),
    "half a character": (with_trigger('description: "\\ud800"'), 6, "half a character", "itself"),
    "a huge number": (payload(f"{{x: 0x{'f' * 5000}}}"), 8, "whole number", "in quotes"),
    "a missing action": (TRIGGER, 5, "no action 'a'", "none is defined"),
    "a name with a dash": (RIGHT.replace("  t:", "  my-t:"), 3, "'my-t' is no name", "letters"),
    "a name in no ASCII": (RIGHT.replace("  t:", "  тест:"), 3, "is no name", "letters"),
    "double > int": (condition("predicted_churn_risk > 1"), 4, "double and int", "write 1.0 instead of 1"),
    "an unknown operand": (condition("predicted_churn > 0.7"), 4, "nothing is named", "predicted_churn_risk"),
    "an empty condition": (condition('""'), 4, "condition is empty", "write condition"),
    "a number for a condition": (condition("7"), 4, "condition is 7", "in quotes"),
    "a condition nested too deeply": (condition("(" * 400 + "true" + ")" * 400), 4, "too deeply", "segments"),
    "a line in percent": (condition("predicted_churn_risk > 70.0"), 4, "always or never", "0.7"),
    "a line under zero": (condition("predicted_churn_risk > -1.0"), 4, "always or never", "0.7"),
    "a bare number of days": (with_trigger("cooldown: 5"), 6, "cooldown is 5", "7d"),
    "an endless duration": (with_trigger("cooldown: " + "9" * 400 + "d"), 6, "cooldown is", "520w"),
    "a duration of centuries": (with_trigger("cooldown: 999999w"), 6, "cooldown is '999999w'", "520w"),
    "a share over one": (with_trigger("holdout: .inf"), 6, "holdout is inf", "from 0 to 1"),
    "a goal without time": (with_trigger("goal: {events: [purchase], within: 0d}"), 6, "no time at all", "7d"),
    "a goal without events": (with_trigger("goal: {events: [], within: 1d}"), 6, "empty list", "[a, b]"),
    "a name twice": (with_trigger("on: [page_view, page_view]"), 6, "'page_view' twice", "keep one"),
    "a field misspelt": (with_trigger("colldown: 5d"), 6, "no field 'colldown'", "cooldown"),
    "a payload that is a list": (payload("[1]"), 8, "payload is a list", "NAME: VALUE"),
    "a payload that is text": (payload("hi"), 8, "payload is 'hi'", "NAME: VALUE"),
    "a ${ left open": (payload("{x: 'hi ${predicted_churn_risk'}"), 8, "never closed", "${expression}"),
    "an infinite payload": (payload("{x: .inf}"), 8, "no value", "a number"),
    "properties as a list": (HEAD + "event_types: {x: {properties: [a]}}\n", 2, "properties is a list", "NAME: VALUE"),
    "a property with a space": (HEAD + "event_types: {x: {properties: {a b: string}}}\n", 2, "'a b' is no name", "letters"),
    "required: yes": (
        HEAD + "event_types: {x: {properties: {a: {type: int, required: yes}}}}\n", 2, "required is 'yes'", "true or false"
    ),
    "of a number": (feature("aggregation: count, of: 5, window: 7d, bucket: 1d"), 2, "of is no list", "[a, b]"),
    "of nothing": (feature("aggregation: count, of: [], window: 7d, bucket: 1d"), 2, "empty list", "[a, b]"),
    "a sum of text": (
        feature("aggregation: sum, of: {purchase: currency}, window: 7d, bucket: 1d"), 2, "sum needs a number", "double"
    ),
    "a weight that is no number": (
        feature("aggregation: sum, of: {purchase: .nan}, window: 7d, bucket: 1d"), 2, "purchase: nan", "a weight"
    ),
    "a filter of nothing": (feature(FEATURE + ", where: {nope: x}"), 2, "none of its events has", "currency"),
    "a filter that is a list": (feature(FEATURE + ", where: [x]"), 2, "where is a list", "NAME: VALUE"),
    "a filter of another type": (feature(FEATURE + ", where: {currency: 5}"), 2, "currency is string, never 5", "in quotes"),
    "an unknown key": (feature(FEATURE + ", key: nope"), 2, "no property 'nope'", "currency"),
    "an output with a dash": (HEAD + f"models: {{m: {{{MODEL}, every: 1d, output: o-o}}}}\n".replace("output: o, ", ""),
                              2, "'o-o' is no name", "letters"),
    "an output CEL owns": (HEAD + f"models: {{m: {{{MODEL}, every: 1d}}}}\n".replace("output: o,", "output: in,"),
                           2, "'in' is taken", "another"),
    "a model of nothing": (HEAD + f"models: {{m: {{{MODEL}, every: 1d}}}}\n".replace("[page_views]", "[]"),
                           2, "empty list", "[a, b]"),
    "a score every millisecond": (HEAD + f"models: {{m: {{{MODEL}, every: 1ms}}}}\n", 2, "too often", "1m"),
    "churn of whom": (
        HEAD + f"models: {{m: {{{MODEL}, every: 1d, label: {{kind: churn, events: [purchase], horizon: 9d}}}}}}\n",
        2, "active when", "active_within",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_one_line_a_place_and_advice(name: str) -> None:
    text, line, message, hint = MISTAKES[name]
    with pytest.raises(SourceError) as caught:
        build_text(text, "c.yaml")
    assert len(caught.value.mistakes) == 1, str(caught.value)
    found = caught.value.mistakes[0]
    assert (found.file, found.line) == ("c.yaml", line)
    assert message in found.message
    assert hint in found.hint
    assert "\n" not in str(found)
    assert len(str(found)) < 300


def test_what_is_right_builds_to_bytes_that_are_read_back() -> None:
    built = build_text(RIGHT)
    assert list(built.triggers) == ["t"]
    assert built.triggers["t"].lines[0].line == 0.7


def test_every_mistake_is_told_at_once() -> None:
    text = with_trigger("cooldown: 5") + "segments: {s: features.page_views > 2}\nevent_types: {x: {properties: [a]}}\n"
    with pytest.raises(SourceError) as first:
        build_text(text)
    assert [m.line for m in first.value.mistakes] == [10]  # definitions first: expressions are checked against them
    with pytest.raises(SourceError) as then:
        build_text(text.replace("event_types: {x: {properties: [a]}}\n", ""))
    assert sorted(m.line for m in mistakes_of(then.value)) == [6, 9]


def test_one_event_type_may_stand_alone() -> None:
    built = build_text(feature("aggregation: count, of: purchase, window: 7d, bucket: 1d"))
    assert [c.event_type for c in built.features["f"].of] == ["purchase"]


def test_dates_and_clock_times_are_text() -> None:
    built = build_text(payload("{day: 2024-01-01, time: 1:30}").replace("standard\n", "standard\nversion: 2024-02-03\n", 1))
    assert built.version == "2024-02-03"
    assert {name: field.languages[""].literal for name, field in built.actions["a"].payload.items()} == {
        "day": "2024-01-01", "time": "1:30",
    }  # fmt: skip


def test_a_filter_takes_one_value_or_several() -> None:
    built = build_text(feature(FEATURE + ", where: {currency: [EUR, USD], item_count: 3}"))
    assert built.features["f"].of[0].where == (("currency", ("EUR", "USD")), ("item_count", (3,)))


def test_what_nothing_uses_is_said_and_builds(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(RIGHT + "  b: {payload: {x: '${event.page_url}'}}\nsegments: {s: features.page_views > 2.0}\n")
    built, unused = check_file(file)
    assert set(built.actions) == {"a", "b"}
    assert [(m.line, m.message) for m in unused] == [(8, "no trigger uses action b"), (9, "nothing reads segment s")]
    file.write_text(RIGHT.replace("> 0.7", "> 0.7 && segments.s") + "segments: {s: features.page_views > 2.0}\n")
    assert check_file(file)[1] == []
    file.write_text(RIGHT + "segments: {s: {condition: features.page_views > 2.0, tracked: true}}\n")
    assert check_file(file)[1] == []
    waits = "  followed: {segment_left: s, action: a}\nactions:"
    file.write_text(RIGHT.replace("actions:", waits, 1) + "segments: {s: features.page_views > 2.0}\n")
    assert check_file(file)[1] == []


@pytest.mark.parametrize("held", [b"include: standard # \xff\n", b"#" * (SOURCE_BYTES_MAX + 1)], ids=["latin-1", "too long"])
def test_a_file_that_is_no_catalog_costs_one_line(tmp_path: Path, held: bytes) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(held)
    with pytest.raises(DefinitionError, match=r"c\.yaml") as caught:
        build_file(file)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        build_file(tmp_path / "nope.yaml")


def test_durations() -> None:
    assert duration_ms("1.5h") == 5_400_000
    assert [duration_ms(held) for held in ("7", "7 d", "-1d", "521w", 7, None)] == [None, 604_800_000, None, None, None, None]
