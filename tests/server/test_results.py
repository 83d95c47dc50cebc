"""The join of decisions and goals against a brute-force reference, and the interval against published figures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_core.record import DecisionOutput
from reflexarc_proto.v1 import report_service_pb2 as messages
from reflexarc_proto.wire import subject_to_proto
from reflexarc_server.intervals import Arm, always_valid, lift_of, wilson
from reflexarc_server.log_reader import LogReader
from tests.server.kit import DAY, T0, ManualClock, Stubs, decision, message, page


@pytest.mark.parametrize(
    ("treated", "held_out", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_is_newcombes(treated: tuple[int, int], held_out: tuple[int, int], low: float, high: float) -> None:
    lift = lift_of(Arm(treated[1], treated[0]), Arm(held_out[1], held_out[0]))
    assert lift is not None
    assert (round(lift.low, 4), round(lift.high, 4)) == (low, high)
    assert lift.difference == pytest.approx(treated[0] / treated[1] - held_out[0] / held_out[1])


def test_an_empty_side_has_no_interval_and_a_share_stays_in_range() -> None:
    assert lift_of(Arm(0, 0), Arm(5, 1)) is None
    assert lift_of(Arm(5, 1), Arm(0, 0)) is None
    for count, of in ((0, 1), (1, 1), (0, 40), (40, 40)):
        low, high = wilson(count, of)
        assert -1e-12 <= low <= count / of <= high <= 1 + 1e-12


def test_the_sequence_is_robbins_and_howards() -> None:
    # At information v and rho = 1 / tau**2 the boundary of Howard et al. (2021), eq. 14, over v.
    treated, held_out = Arm(800, 90), Arm(200, 20)
    p, q = 91 / 802, 21 / 202
    v, rho = 1 / (p * (1 - p) / 800 + q * (1 - q) / 200), 1 / 0.03**2
    assert always_valid(treated, held_out) == pytest.approx(math.sqrt((v + rho) * math.log((v + rho) / (rho * 0.05**2))) / v)
    lift = lift_of(treated, held_out)
    assert lift is not None
    assert lift.always_low < lift.low < lift.difference < lift.high < lift.always_high
    nobody = lift_of(Arm(50, 0), Arm(50, 0))
    assert nobody is not None
    assert nobody.always_low < 0.0 < nobody.always_high
    assert lift_of(Arm(1, 1), Arm(1, 0)) is not None


def test_looking_every_day_finds_nothing_where_nothing_is() -> None:
    """2,000 A/A tests of 60 daily looks: a fixed interval is wrong in a third of them, the sequence in at most one of twenty."""
    draw = np.random.default_rng(60)
    treated = draw.binomial(80, 0.12, (2_000, 60)).cumsum(axis=1)
    held_out = draw.binomial(20, 0.12, (2_000, 60)).cumsum(axis=1)
    plainly = always = 0
    for goals, controls in zip(treated.tolist(), held_out.tolist(), strict=True):
        looks = [
            lift_of(Arm(80 * day, goal), Arm(20 * day, control))
            for day, (goal, control) in enumerate(zip(goals, controls, strict=True), 1)
        ]
        plainly += any(one is not None and not one.low <= 0.0 <= one.high for one in looks)
        always += any(one is not None and not one.always_low <= 0.0 <= one.always_high for one in looks)
    assert always / 2_000 <= 0.05
    assert plainly / 2_000 > 0.2


def test_the_sequence_finds_what_is_there() -> None:
    """An effect of three in a hundred, 60 days of 1,000 treated and 250 held out: most are found, weeks later than by luck."""
    draw = np.random.default_rng(61)
    treated = draw.binomial(1_000, 0.09, (200, 60)).cumsum(axis=1)
    held_out = draw.binomial(250, 0.12, (200, 60)).cumsum(axis=1)
    found = 0
    for goals, controls in zip(treated.tolist(), held_out.tolist(), strict=True):
        looks = [
            lift_of(Arm(1_000 * day, goal), Arm(250 * day, control))
            for day, (goal, control) in enumerate(zip(goals, controls, strict=True), 1)
        ]
        found += any(one is not None and one.always_high < 0.0 for one in looks)
    assert found / 200 > 0.9


def _results(stubs: Stubs, **more: int) -> dict[str, messages.TriggerResult]:
    answer = stubs.reports.GetResults(messages.GetResultsRequest(**more), timeout=10)  # type: ignore[arg-type]
    return {row.trigger_id: row for row in answer.triggers}


def test_the_join_equals_a_brute_force_one(stubs: Stubs, clock: ManualClock) -> None:
    draw = random.Random(11)
    records, decisions, events = [], [], []
    window = 7 * DAY
    for i in range(400):
        subject = f"known:{draw.randrange(60)}"
        time = T0 + draw.randrange(40) * DAY // 4
        if draw.random() < 0.5:
            # Times on a coarse grid, so that both edges of the window are met exactly.
            event = Event(f"e{i}", draw.choice(["purchase", "page_view"]), subject, time, {"page_url": "/"})
            events.append(event)
        else:
            side = Reason.HOLDOUT if int(subject[6:]) % 3 == 0 else Reason.FIRED
            if subject.endswith("7") and draw.random() < 0.5:
                side = Reason.HOLDOUT
            reason = side if draw.random() < 0.6 else draw.choice([Reason.COOLDOWN, Reason.LOW_CONFIDENCE])
            held = decision(f"d{i}", reason, subject, time)
            decisions.append(held.decision)
            records.append(message(len(records) + 1, held))
    stubs.push(records)
    stubs.track(*events)
    clock.now = T0 + 12 * DAY

    by_subject: dict[str, list[tuple[int, str, Reason]]] = {}
    for made in decisions:
        if made.reason in (Reason.FIRED, Reason.HOLDOUT):
            by_subject.setdefault(made.subject, []).append((made.decision_time, made.decision_id, made.reason))
    expected = {Reason.FIRED: [0, 0], Reason.HOLDOUT: [0, 0]}
    crossed = still_open = 0
    for subject, made_for in by_subject.items():
        if len({reason for _, _, reason in made_for}) > 1:
            crossed += 1
            continue
        time, _, reason = min(made_for)
        expected[reason][0] += 1
        expected[reason][1] += any(
            e.subject == subject and e.event_type == "purchase" and time < e.event_time <= time + window for e in events
        )
        still_open += time + window > clock.now

    row = _results(stubs)["re_engage"]
    assert crossed >= 1
    assert still_open >= 1
    assert row.crossed_count == crossed
    assert row.open_window_count == still_open
    assert [row.treated.subject_count, row.treated.goal_count] == expected[Reason.FIRED]
    assert [row.held_out.subject_count, row.held_out.goal_count] == expected[Reason.HOLDOUT]
    assert (list(row.goal_event_types), row.goal_within_ms) == (["purchase"], window)
    lift = lift_of(Arm(*expected[Reason.FIRED]), Arm(*expected[Reason.HOLDOUT]))
    assert lift is not None
    assert (row.lift.difference, row.lift.low, row.lift.high) == (lift.difference, lift.low, lift.high)
    assert (row.lift.always_low, row.lift.always_high) == (lift.always_low, lift.always_high)
    assert sum(r.count for r in row.reasons) == len(decisions)


def test_the_last_record_of_a_decision_counts_and_its_fired_one_still_makes_the_side(stubs: Stubs) -> None:
    made = [
        decision("a", Reason.ESCALATED, "known:1", T0), decision("a", Reason.FIRED, "known:1", T0 + 1, record=1),
        decision("b", Reason.FIRED, "known:2", T0), decision("b", Reason.EXPIRED, "known:2", T0 + 1, record=1),
        decision("c", Reason.LOW_CONFIDENCE, "known:3", T0),
    ]  # fmt: skip
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])
    row = _results(stubs)["re_engage"]
    assert {(r.reason, r.count) for r in row.reasons} == {(1, 1), (17, 1), (4, 1)}
    assert (row.treated.subject_count, row.held_out.subject_count) == (2, 0)
    assert not row.HasField("lift")


def assigned(
    decision_id: str, reason: Reason, subject: str, time: int = T0, variant: str = "", record: int = 0
) -> DecisionOutput:
    plain = decision(decision_id, reason, subject, time, record=record)
    return DecisionOutput(replace(plain.decision, variant=variant))


def bought(subject: str, time: int) -> Event:
    return Event(f"buys-{subject}-{time}", "purchase", subject, time)


def test_who_was_assigned_counts_whether_the_action_came_or_not(stubs: Stubs) -> None:
    made = [
        assigned("acted", Reason.FIRED, "known:1"),
        assigned("dropped", Reason.QUIET_HOURS, "known:2"),
        assigned("kept", Reason.QUIET_HOURS, "known:3"),
        assigned("kept", Reason.EXPIRED, "known:3", T0 + DAY, record=1),
        assigned("late", Reason.QUIET_HOURS, "known:4"), assigned("late", Reason.FIRED, "known:4", T0 + DAY // 2, record=1),
        assigned("clock", Reason.CLOCK_UNTRUSTED, "known:5"),
        assigned("again", Reason.QUIET_HOURS, "known:1", T0 + DAY),
        assigned("out", Reason.HOLDOUT, "known:6"),
        assigned("cap", Reason.CAP, "known:7"), assigned("pause", Reason.PAUSED, "known:8"),
        DecisionOutput(replace(decision("test", Reason.FIRED, "known:9", T0).decision, mode="test")),
    ]  # fmt: skip
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])
    # From the assignment on: what was bought while the action was held counts.
    stubs.track(bought("known:2", T0 + 5), bought("known:4", T0 + DAY // 4), bought("known:6", T0 + 5), bought("known:7", T0 + 5))
    row = _results(stubs)["re_engage"]
    assert (row.treated.subject_count, row.treated.goal_count, row.treated.acted_count) == (5, 2, 2)
    assert (row.held_out.subject_count, row.held_out.goal_count, row.held_out.acted_count) == (1, 1, 0)
    assert sum(r.count for r in row.reasons) == 9, "a test subject counts nowhere"
    assert sum(r.count for r in stubs.status().edge_decisions) == 9


def test_each_variant_stands_against_the_whole_holdout(stubs: Stubs, clock: ManualClock) -> None:
    made, events = [], []
    for n in range(60):
        subject, variant = f"known:{n}", "bold" if n % 3 else "plain"
        if n % 5 == 0:
            made.append(assigned(f"d{n}", Reason.HOLDOUT, subject))
        else:
            made.append(assigned(f"d{n}", Reason.QUIET_HOURS if n % 7 == 0 else Reason.FIRED, subject, variant=variant))
            made.append(assigned(f"again{n}", Reason.FIRED, subject, T0 + DAY, variant=variant))
        if n % 2 == 0 or variant == "bold":
            events.append(bought(subject, T0 + 9))
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])
    stubs.track(*events)
    row = _results(stubs)["re_engage"]
    goals = {event.subject for event in events}
    for one, is_bold in zip(row.variants, (True, False), strict=True):
        people = [f"known:{n}" for n in range(60) if n % 5 and bool(n % 3) is is_bold]
        assert one.name == ("bold" if is_bold else "plain")
        assert (one.arm.subject_count, one.arm.goal_count) == (len(people), len(goals.intersection(people)))
        held_out = Arm(row.held_out.subject_count, row.held_out.goal_count)
        lift = lift_of(Arm(one.arm.subject_count, one.arm.goal_count), held_out)
        assert lift is not None
        assert (one.lift.difference, one.lift.low, one.lift.always_high) == (lift.difference, lift.low, lift.always_high)
    assert sum(one.arm.subject_count for one in row.variants) == row.treated.subject_count
    assert row.variant_crossed_count == 0


def test_who_had_two_variants_is_in_the_effect_and_in_no_variant(stubs: Stubs) -> None:
    made = [
        assigned("a", Reason.FIRED, "known:1", variant="bold"), assigned("b", Reason.FIRED, "known:1", T0 + 5, variant="plain"),
        assigned("c", Reason.FIRED, "known:2", variant="plain"), assigned("d", Reason.HOLDOUT, "known:3"),
        assigned("e", Reason.FIRED, "known:4", variant="plain"), assigned("f", Reason.HOLDOUT, "known:4", T0 + 5),
    ]  # fmt: skip
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])
    row = _results(stubs)["re_engage"]
    assert [(one.name, one.arm.subject_count) for one in row.variants] == [("bold", 0), ("plain", 1)]
    assert (row.treated.subject_count, row.crossed_count, row.variant_crossed_count) == (2, 1, 1)


def test_outcomes_and_times_are_kept_apart_per_trigger(stubs: Stubs) -> None:
    made = [decision("a", Reason.FIRED, "known:1", T0), decision("b", Reason.FIRED, "known:2", T0 + DAY, trigger_id="gone")]
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])
    for n, (decision_id, kind) in enumerate([("a", "impression"), ("a", "click"), ("b", "impression"), ("x", "click")]):
        stubs.track(Event(f"o{n}", "outcome", "known:1", T0, {"decision_id": decision_id, "kind": kind}))
    rows = _results(stubs)
    assert {o.kind: o.count for o in rows["re_engage"].outcomes} == {"impression": 1, "click": 1}
    assert {o.kind: o.count for o in rows["gone"].outcomes} == {"impression": 1}
    assert (rows["gone"].goal_within_ms, rows["gone"].treated.subject_count) == (0, 1)
    assert set(rows) == {"re_engage", "third_page", "gone"}
    early = _results(stubs, until_time=T0 + 1)
    assert (early["re_engage"].treated.subject_count, "gone" in early) == (1, False)


def test_decisions_are_listed_in_pages_newest_first(stubs: Stubs) -> None:
    made = [decision(f"d{i}", Reason.FIRED if i % 2 else Reason.COOLDOWN, f"known:{i % 3}", T0 + i) for i in range(25)]
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])

    def pages(**more: object) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            request = messages.ListDecisionsRequest(page_size=4, page_token=token, **more)  # type: ignore[arg-type]
            answer = stubs.reports.ListDecisions(request, timeout=10)
            assert len(answer.decisions) <= 4
            found += [held.decision_id for held in answer.decisions]
            token = answer.next_page_token
            if not token:
                return found

    assert pages() == [f"d{i}" for i in range(24, -1, -1)]
    assert pages(reason=1) == [f"d{i}" for i in range(23, -1, -2)]
    assert pages(subject=subject_to_proto("known:2"), trigger_id="re_engage") == [f"d{i}" for i in range(23, -1, -3)]
    assert pages(trigger_id="other") == []


def test_events_are_counted_by_type(stubs: Stubs) -> None:
    stubs.track(page(1, event_time=T0 + 5), page(2, event_time=T0 + 9), Event("p", "purchase", "known:1", T0 + 1))
    answer = stubs.reports.CountEvents(messages.CountEventsRequest(), timeout=10)
    assert [(c.event_type, c.count, c.first_time, c.last_time) for c in answer.counts] == [
        ("page_view", 2, T0 + 5, T0 + 9), ("purchase", 1, T0 + 1, T0 + 1)
    ]  # fmt: skip
    only = stubs.reports.CountEvents(messages.CountEventsRequest(event_types=["purchase"]), timeout=10)
    assert [c.event_type for c in only.counts] == ["purchase"]


def test_the_log_reader_hands_over_subject_by_subject(connect: Callable[[str], Stubs], data: Path) -> None:
    stubs = connect("device-1")
    stubs.track(page(1, "known:b"), page(2, "known:a"), page(3, "known:b"), page(4, "known:a"))
    made = [decision("a", Reason.FIRED, "known:b", T0 + 3), decision("c", Reason.HOLDOUT, "known:a", T0)]
    stubs.push([message(i, record) for i, record in enumerate(made, 1)])
    reader = LogReader(data)
    assert [event.event_id for _, event in reader.events()] == ["page-2", "page-4", "page-1", "page-3"]
    assert reader.fired_times() == {"re_engage": {"known:b": [T0 + 3]}}
    assert [held.decision_id for held in reader.decisions()] == ["a", "c"]
