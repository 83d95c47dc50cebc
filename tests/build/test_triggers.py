"""What an author writes of a trigger: each right form and what it becomes, each mistake with its place and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflexarc_build.reader import build_text, check_file
from reflexarc_build.source import SourceError
from reflexarc_core.hours import Hours
from reflexarc_core.pattern import Pattern, Step
from reflexarc_core.policy import Cap, Group, Holdout, Policy, Variant, Variants
from reflexarc_core.trigger import Follow, Goal, Trigger

DAY = 86_400_000
ON = "on: [page_view]\ncondition: 'true'\n"
TWO = "pattern: {steps: [{event: page_view}, {event: purchase}]}"


def text(fields: str, head: str = "") -> str:
    """A catalog of one trigger, whose fields begin at line 5."""
    lines = "".join(f"    {line}\n" for line in fields.splitlines())
    return f"include: standard\ntriggers:\n  t:\n    action: a\n{lines}actions: {{a: {{}}, b: {{channel: email}}}}\n{head}"


def built(fields: str, head: str = "") -> Trigger:
    return build_text(text(fields, head)).triggers["t"]


def policy(fields: str, head: str = "") -> Policy:
    return built(ON + fields, head).policy


def test_patterns() -> None:
    found = built(
        "pattern:\n  key: product_id\n  within: 2h\n  cancel: purchase\n  steps:\n"
        "    - {event: product_interaction, where: event.price > 5.0, count: 3}\n"
        "    - {event: [product_interaction, purchase]}\n"
        "    - {no: product_interaction, within: 30m}"
    ).pattern
    assert found is not None
    first, second, third = found.steps
    assert (first.events, first.count, first.within_ms, first.absent) == (("product_interaction",), 3, 0, False)
    assert first.where is not None and first.where.text == "event.price > 5.0"
    assert second == Step(("product_interaction", "purchase"))
    assert third == Step(("product_interaction",), within_ms=1_800_000, absent=True)
    assert (found.key, found.within_ms, found.cancel) == ("product_id", 7_200_000, ("purchase",))
    assert built(TWO).condition.text == "true", "a pattern may stand alone"


def test_inactivity_is_short_for_a_pattern() -> None:
    events = ("page_view", "session")
    expected = Pattern((Step(events), Step(events, within_ms=3 * DAY, absent=True)))
    assert built("inactive: {events: [page_view, session], for: 3d}").pattern == expected


def test_policies() -> None:
    assert policy("") == Policy()
    assert policy("cap: {count: 2, within: 7d}").cap == Cap(2, 7 * DAY)
    assert policy("cap: {count: 1, each: week}").cap == Cap(1, calendar="week")
    assert policy("exempt: calm", "caps: {calm: {count: 1, within: 1d}}").exempt == ("calm",)
    assert policy("reentry: once").reentry == "once"
    left = policy("reentry: after_exit\nexit: purchase")
    assert (left.reentry, left.exit) == ("after_exit", ("purchase",))
    quiet = policy('quiet: {from: "22:00", to: "8:00", days: [tue, mon], then: drop}')
    assert (quiet.quiet, quiet.quiet_then) == ((Hours(1_320, 480, (0, 1)),), "drop")
    assert policy('quiet: {from: "22:00", to: "24:00"}').quiet == (Hours(1_320, 0),)
    both = policy('window: [{from: "09:00", to: "12:00"}, {from: "13:00", to: "17:00"}]\nhold: 2d')
    assert (both.window, both.hold_ms_max) == ((Hours(540, 720), Hours(780, 1_020)), 2 * DAY)
    assert (policy("slot: banner\npriority: -3").slot, policy("priority: -3").priority) == ("banner", -3)
    split = policy(
        "holdout: 0.25\nholdout_unit: device\nholdout_group: g\nvariants: {x: {share: 0.5}, y: {share: 0.5, action: b}}\n"
        "group: {name: spring, to: 0.5}"
    )
    assert split.holdout == Holdout(0.25, "device", "g")
    assert split.variants == Variants((Variant("x", 0.5), Variant("y", 0.5, "b")), "device")
    assert split.group == Group("spring", 0.0, 0.5, "device")
    assert policy("max_age: 2h\ncooldown: 1d\npurpose: ads") == Policy(DAY, "ads", max_age_ms=7_200_000)


LOYAL = "segments: {loyal: features.page_views > 9.0, local: event.locale == 'de'}\n"


def test_segments_as_causes() -> None:
    one = built("segment_entered: loyal\nsegment_left: [loyal]", LOYAL)
    assert (one.segment_entered, one.segment_left, one.crossed, one.on) == (("loyal",), ("loyal",), ("loyal",), ())
    assert one.condition.text == "true", "it may stand alone"
    both = "segments: {a: {condition: features.page_views > 9.0%s}, b: features.page_views > 1.0}\n"
    catalog = build_text(text(ON, both % ", tracked: true"))
    assert (catalog.tracked, catalog.segments["a"].text) == (("a",), "features.page_views > 9.0")
    assert build_text(text(ON, both % "")).tracked == ()


def test_the_rest_of_a_trigger() -> None:
    one = built(ON + "follow: [{action: b, on: [click, dismissal], wait: 2d}]\ndry_run: true\nlife: 1h\ndeadline: 0ms")
    assert one.follows == (Follow("b", ("click", "dismissal"), 2 * DAY),)
    assert (one.dry_run, one.life_ms, one.deadline_ms, one.actions) == (True, 3_600_000, 0, ("a", "b"))
    assert built(ON + "goal: {events: purchase, within: 7d}").goal == Goal(("purchase",), 7 * DAY)


STEPS = "pattern: {steps: [%s]}"
MISTAKES = {
    "a pattern that is text": ("pattern: hello", "pattern is not a mapping", "NAME: VALUE"),
    "no steps": ("pattern: {within: 1h}", "pattern has no steps", "steps:"),
    "an empty list of steps": (STEPS % "", "steps is a list", "{event: page_view}"),
    "steps by name": ("pattern: {steps: {event: page_view}}", "steps is a mapping", "{event: page_view}"),
    "a step that is a word": (STEPS % "{event: purchase}, page_view", "step 2 is not a mapping", "NAME: VALUE"),
    "a step of nothing": (STEPS % "{event: purchase}, {where: 'true'}", "step 2 has no event", "event:"),
    "a step misspelt": (STEPS % "{event: page_vew}, {event: purchase}", "step 1: no event type 'page_vew'", "page_view?"),
    "a step of two kinds": (
        STEPS % "{event: page_view}, {event: purchase, no: session, within: 1h}", "step 2 has event and no", "two steps",
    ),
    "an unknown field of a step": (STEPS % "{event: purchase, times: 2}", "has no field 'times'", "known"),
    "it begins with what must not come": (STEPS % "{no: purchase, within: 1h}", "t: pattern: a pattern begins", "after"),
    "what must not come in the middle": (
        STEPS % "{event: page_view}, {no: purchase, within: 1h}, {event: session}", "t: pattern: only the last", "cancel",
    ),
    "what must never come": (STEPS % "{event: page_view}, {no: purchase}", "has no within", "30m"),
    "what must not come twice": (STEPS % "{event: page_view}, {no: purchase, within: 1h, count: 2}", "has a count", "leave"),
    "a first step in time": (STEPS % "{event: page_view, within: 1h}, {event: purchase}", "the first step has", "on the next"),
    "within in two places": (
        "pattern: {within: 1h, steps: [{event: page_view}, {event: purchase, within: 1h}]}", "on the pattern and", "one of",
    ),
    "a pattern of one event": (STEPS % "{event: page_view}", "a pattern of one event", "on: [EVENT]"),
    "thirty-three steps": (STEPS % "{event: page_view, count: 20}, {event: purchase, count: 13}", "of 33 steps", "at most 32"),
    "half a time": (STEPS % "{event: page_view, count: 1.5}", "count is 1.5", "whole number"),
    "no time": (STEPS % "{event: page_view, count: 0}, {event: purchase}", "count is 0", "from 1 to 32"),
    "where over features": (STEPS % "{event: page_view, where: features.page_views > 1.0}, {event: purchase}",
                            "nothing is named features.page_views", "event."),
    "where without a text": (STEPS % "{event: page_view, where: ''}, {event: purchase}", "where is empty", "where:"),
    "where a number": (STEPS % "{event: page_view, where: '1'}, {event: purchase}", "where is int", "true or false"),
    "a key some step lacks": (
        "pattern: {key: product_id, steps: [{event: page_view}, {event: purchase}]}", "page_view has no property", "every step",
    ),
    "cancelled by nothing known": ("pattern: {cancel: purchse, steps: [{event: page_view}, {event: session}]}",
                                   "no event type 'purchse'", "purchase?"),
    "on and a pattern": ("on: [page_view]\n" + TWO, "on and a pattern", "leave `on` out"),
    "a pattern and inactivity": (TWO + "\ninactive: {events: [session], for: 1d}", "pattern and inactive", "one of them"),
    "inactive for how long": ("inactive: {events: [session]}", "inactive has no for", "for:"),
    "inactive in what": ("inactive: {for: 3d}", "inactive has no events", "events:"),
    "inactive as text": ("inactive: 3d", "inactive is not a mapping", "NAME: VALUE"),
    "inactive by an unknown key": ("inactive: {events: [session], for: 3d, key: nope}", "session has no property", "every step"),
    "mail on a device": (STEPS % "{event: email_open}, {event: purchase}", "email_open reaches the server", "placement: server"),
    "cancelled by mail on a device": (
        "pattern: {cancel: email_open, steps: [{event: page_view}, {event: session}]}", "email_open reaches", "placement: server",
    ),
    "left by mail on a device": (ON + "reentry: after_exit\nexit: [email_reply]", "email_reply reaches", "placement: server"),
    "a cap in no time": (ON + "cap: {count: 1}", "not in which time", "within: 7d"),
    "a cap in two": (ON + "cap: {count: 1, within: 1d, each: day}", "both within and each", "within: 7d"),
    "a cap of nothing": (ON + "cap: {within: 1d}", "cap has no count", "count:"),
    "a cap of a half": (ON + "cap: {count: 1.5, within: 1d}", "count is 1.5", "whole"),
    "a cap of a thousand": (ON + "cap: {count: 1000, within: 1d}", "count is 1000", "from 1 to 100"),
    "a cap each month": (ON + "cap: {count: 1, each: month}", "each is 'month'", "day, week"),
    "a cap in no time at all": (ON + "cap: {count: 1, within: 0d}", "no time at all", "7d"),
    "a cap that is a number": (ON + "cap: 3", "cap is not a mapping", "NAME: VALUE"),
    "its own cap, global": (ON + "cap: {count: 1, within: 1d, scope: global}", "of one trigger, and global", "caps:"),
    "its own cap, by channel": (ON + "cap: {count: 1, within: 1d, channels: [email]}", "no field 'channels'", "known"),
    "exempt from nothing": (ON + "exempt: [calm]", "no cap 'calm'", "none is defined"),
    "a reentry that is none": (ON + "reentry: never", "reentry is 'never'", "until_exit"),
    "after which exit": (ON + "reentry: after_exit", "nothing is an exit", "exit:"),
    "an exit misspelt": (ON + "exit: [purchse]", "no event type 'purchse'", "purchase?"),
    "twenty-five o'clock": (ON + 'quiet: {from: "25:00", to: "08:00"}', "from is '25:00'", '"22:00"'),
    "an hour as a number": (ON + 'quiet: {from: 22, to: "08:00"}', "from is 22", "in quotes"),
    "quiet until when": (ON + 'quiet: {from: "22:00"}', "quiet has no to", "to:"),
    "a day in full": (ON + 'quiet: {from: "22:00", to: "08:00", days: [monday]}', "no day 'monday'", "mon?"),
    "quiet, then what": (ON + 'quiet: {from: "22:00", to: "08:00", then: wait}', "then is 'wait'", "hold, drop"),
    "quiet hours of two minds": (
        ON + 'quiet: [{from: "22:00", to: "23:00", then: drop}, {from: "01:00", to: "02:00"}]', "hold and others", "the same",
    ),
    "a window that drops": (ON + 'window: {from: "09:00", to: "17:00", then: drop}', "no field 'then'", "known"),
    "quiet all day": (ON + 'quiet: {from: "00:00", to: "24:00"}', "leave no moment", "shorter"),
    "hours in a list of numbers": (ON + "quiet: [22]", "quiet is not a mapping", "NAME: VALUE"),
    "shares under one": (ON + "variants: {x: {share: 0.4}, y: {share: 0.5}}", "add up to 0.9", "make 1"),
    "a variant of unknown size": (ON + "variants: {x: {action: b}, y: {share: 1.0}}", "variant x has no share", "share:"),
    "a variant that does nothing known": (ON + "variants: {x: {share: 1.0, action: c}}", "no action 'c'", "a, b"),
    "a variant with a dash": (ON + "variants: {a-b: {share: 1.0}}", "'a-b' is no name", "letters"),
    "a group of nobody": (ON + "group: {name: g, from: 0.5, to: 0.5}", "holds nobody", "under to"),
    "a group without a name": (ON + "group: {to: 0.5}", "group has no name", "name:"),
    "a group that is text": (ON + "group: spring", "group is not a mapping", "NAME: VALUE"),
    "held out by person": (ON + "holdout_unit: person", "holdout_unit is 'person'", "session"),
    "a priority of a half": (ON + "priority: 1.5", "priority is 1.5", "whole number"),
    "a high priority": (ON + "priority: high", "priority is 'high'", "a number"),
    "a slot by number": (ON + "slot: 3", "slot is 3", "in quotes"),
    "followed by nothing": (ON + "follow: []", "follow is no list", "{action: NAME"),
    "followed by a word": (ON + "follow: b", "follow is no list", "{action: NAME"),
    "followed never": (ON + "follow: [{action: b}]", "follow 1 would never come", "wait: 2d"),
    "followed on what": (ON + "follow: [{action: b, on: [bought]}]", "no outcome 'bought'", "click"),
    "followed by an unknown action": (ON + "follow: [{action: c, wait: 1d}]", "no action 'c'", "a, b"),
    "followed by no action": (ON + "follow: [{wait: 1d}]", "follow 1 has no action", "action:"),
    "a dry run, yes": (ON + "dry_run: yes", "dry_run is 'yes'", "true or false"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_one_line_a_place_and_advice(name: str) -> None:
    fields, message, hint = MISTAKES[name]
    with pytest.raises(SourceError) as caught:
        build_text(text(fields), "c.yaml")
    assert len(caught.value.mistakes) == 1, str(caught.value)
    found = caught.value.mistakes[0]
    assert (message in found.message, hint in found.hint) == (True, True), str(found)
    assert found.message.startswith("trigger t")
    of_the_whole = "on a device" in name or name == "on and a pattern"
    assert (found.file, found.line) == ("c.yaml", 3 if of_the_whole else 4 + len(fields.splitlines())), str(found)
    assert len(str(found)) < 300


KEYED = "features: {per_page: {aggregation: count, of: [page_view], window: 7d, bucket: 1d, key: page_url}}\n"
SEGMENTS = {
    "a segment misspelt": ("segment_entered: loyl", LOYAL, 5, "no segment 'loyl'", "loyal?"),
    "no segment": ("segment_left: []", LOYAL, 5, "segment_left is an empty list", "[a, b]"),
    "a segment of events": ("segment_entered: local", LOYAL, 5, "local reads event.locale, which no subject keeps", "features"),
    "a segment by key": (
        "segment_entered: k", KEYED + "segments: {k: features.per_page > 1.0}\n", 5, "k reads features.per_page", "without a key",
    ),
    "a segment and an event": ("segment_left: loyal\n" + ON, LOYAL, 3, "a segment, and on", "a trigger for each"),
    "a segment and a pattern": ("segment_left: loyal\n" + TWO, LOYAL, 3, "a segment, and a pattern", "a trigger for each"),
    "a segment no device sees": (
        "segment_left: reader", "features: {mail: {aggregation: count, of: email_open, window: 7d, bucket: 1d}}\n"
        "segments: {reader: features.mail > 1.0}\n", 5, "reader rests on mail", "placement: server",
    ),
    "an event's own property": (
        "segment_left: loyal\ncondition: event.page_url == '/'", LOYAL, 6, "nothing is named event.page_url", "event.",
    ),
    "tracked by event": (ON, "segments: {x: {condition: event.locale == 'de', tracked: true}}\n", 8, "x is tracked and", "key"),
    "tracked without a condition": (ON, "segments: {x: {tracked: true}}\n", 8, "segment x has no condition", "condition:"),
    "tracked, if you like": (
        ON, "segments: {x: {condition: features.page_views > 1.0, tracked: maybe}}\n", 8, "tracked is 'maybe'", "true or false",
    ),
    "with more": (ON, "segments: {x: {condition: features.page_views > 1.0, of: y}}\n", 8, "has no field 'of'", "known"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_segment_that_cannot_be_followed(name: str) -> None:
    fields, head, line, message, hint = SEGMENTS[name]
    with pytest.raises(SourceError) as caught:
        build_text(text(fields, head), "c.yaml")
    found = [(m.line, message in m.message, hint in m.hint) for m in caught.value.mistakes]
    assert found == [(line, True, True)], str(caught.value)


CAPS = {
    "a trigger that is not there": ("{count: 1, within: 1d, triggers: [u]}", "no trigger 'u'", "known: t"),
    "a channel nobody acts on": ("{count: 1, within: 1d, channels: [fax]}", "no channel of an action 'fax'", "email"),
    "a global one each day": ("{count: 1, each: day, scope: global}", "is global, and each day", "within: 7d"),
    "a scope that is none": ("{count: 1, within: 1d, scope: world}", "scope is 'world'", "device, global"),
}


@pytest.mark.parametrize("name", CAPS)
def test_a_wrong_cap_of_several(name: str) -> None:
    cap, message, hint = CAPS[name]
    with pytest.raises(SourceError) as caught:
        build_text(text(ON, f"caps:\n  x: {cap}\n"), "c.yaml")
    assert [(m.line, message in m.message, hint in m.hint) for m in caught.value.mistakes] == [(9, True, True)], caught.value


def test_test_subjects() -> None:
    assert build_text(text(ON, "test_subjects: [known:me, device:abc]")).test_subjects == ("known:me", "device:abc")
    with pytest.raises(SourceError) as caught:
        build_text(text(ON, "test_subjects: [me]"), "c.yaml")
    assert [(m.line, "'me' is no subject" in m.message) for m in caught.value.mistakes] == [(8, True)]


MAIL = "features: {mail: {aggregation: count, of: [email_open, email_click], window: 7d, bucket: 1d%s}}\n"
MODEL = "models: {m: {output: o, algorithm: random_forest, features: [%s], every: 1d}}\n"
UNSEEN = {
    "a feature": ("features.mail > 1.0", MAIL % "", "features.mail rests on mail"),
    "a segment": ("segments.reader", MAIL % "" + "segments: {reader: features.mail > 1.0}\n", "segments.reader rests on mail"),
    "a model": ("o > 0.5", MAIL % "" + MODEL % "mail", "every input of o"),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_an_edge_trigger_rests_on_what_reaches_a_device(name: str) -> None:
    condition, head, message = UNSEEN[name]
    fields = f"condition: {condition}\non: [page_view]"
    with pytest.raises(SourceError) as caught:
        build_text(text(fields, head), "c.yaml")
    assert [(m.line, message in m.message, "scope: subject" in m.hint) for m in caught.value.mistakes] == [(5, True, True)]
    assert built(fields + "\nplacement: server", head)
    assert built(fields, head.replace("bucket: 1d", "bucket: 1d, scope: subject"))
    assert built(fields, head.replace("email_click", "page_view"))
    if name == "a model":
        assert built(fields, MAIL % "" + MODEL % "mail, page_views"), "one input that it sees is enough"


IDLE = {
    "a cap of nothing": (ON + "exempt: x", "caps: {x: {count: 1, within: 1d}}", 9, "cap x covers no trigger"),
    "a cap of another channel": (ON, "caps: {x: {count: 1, within: 1d, channels: [email]}}", 8, "cap x covers no trigger"),
    "a week-end longer than a day": (
        ON + 'window: {from: "09:00", to: "17:00", days: [mon, tue, wed, thu, fri]}', "", 3, "hold an action for 64h",
    ),
    "held for no time": (ON + 'quiet: {from: "22:00", to: "08:00"}\nhold: 0d', "", 3, "expires after 0ms"),
    "a dry run of several steps": (
        ON + "dry_run: true\nfollow: [{action: b, wait: 1d}]", "", 3, "its further steps are not tried",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IDLE)
def test_what_cannot_do_what_it_seems_to_builds_and_is_said(name: str, tmp_path: Path) -> None:
    fields, head, line, message = IDLE[name]
    file = tmp_path / "c.yaml"
    file.write_text(text(fields, head))
    notes = [note for note in check_file(file)[1] if "uses action" not in note.message]
    assert [(note.line, message in note.message) for note in notes] == [(line, True)], notes


def test_what_does_what_it_seems_to_is_not_talked_about(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    fields = ON + 'window: {from: "09:00", to: "17:00"}\nfollow: [{action: b, wait: 1d}]\ndry_run: true\n'
    file.write_text(text(fields, "caps: {x: {count: 1, within: 1d}}\ntest_subjects: known:me\n"))
    assert check_file(file)[1] == []
