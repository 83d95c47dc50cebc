"""The hours of the week in which a subject acts: whole numbers, turned round the week, everybody's where nothing is known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import DefinitionError
from reflexarc_core.hours import opens_at
from reflexarc_core.purchase_window import (
    CHOSEN_COUNT,
    HOUR_MS,
    HOURS_OF_WEEK,
    SCALE,
    Intensity,
    Week,
    best_hours,
    check,
    hour_of_week,
    scores,
    stretches,
)

EVEN = tuple([SCALE // HOURS_OF_WEEK] * HOURS_OF_WEEK)
NEAR = (20_000, 10_000, 2_000)
DAILY = (1_500, 500)
LEARNED = Intensity(tuple(300 + hour for hour in range(HOURS_OF_WEEK)), NEAR, DAILY, 4)
MONDAY = 1_767_571_200_000  # 2026-01-05T00:00Z
COUNTS = st.dictionaries(st.integers(0, HOURS_OF_WEEK - 1), st.integers(1, 50), max_size=20)


def test_an_hour_of_the_week_begins_on_monday() -> None:
    assert hour_of_week(MONDAY) == 0
    assert hour_of_week(MONDAY - 1) == HOURS_OF_WEEK - 1
    assert hour_of_week(MONDAY + 30 * HOUR_MS + 59 * 60_000) == 30


def test_who_is_not_known_is_taken_for_everybody() -> None:
    assert best_hours(LEARNED, {}) == tuple(range(HOURS_OF_WEEK - CHOSEN_COUNT, HOURS_OF_WEEK))


def test_events_speak_for_their_hour_those_beside_it_and_the_same_hour_of_other_days() -> None:
    found = scores(Intensity(EVEN, NEAR, DAILY, 1), {0: 2})
    rest = SCALE // HOURS_OF_WEEK
    assert found[0] == rest + 2 * (20_000 + 1_500)
    assert found[1] == found[HOURS_OF_WEEK - 1] == rest + 2 * (10_000 + 500)
    assert found[24] == rest + 2 * 1_500
    assert found[12] == rest


@given(counts=COUNTS, turn=st.integers(0, HOURS_OF_WEEK - 1))
def test_a_turned_week_has_turned_hours(counts: dict[int, int], turn: int) -> None:
    even = Intensity(EVEN, NEAR, DAILY, 3)
    turned = {(hour + turn) % HOURS_OF_WEEK: events for hour, events in counts.items()}
    found = scores(even, counts)
    assert scores(even, turned) == found[-turn:] + found[:-turn] if turn else found == scores(even, turned)


def test_what_is_half_way_round_is_counted_once() -> None:
    near = (0,) * 84 + (1_000,)
    assert scores(Intensity(EVEN, near, (), 1), {0: 1})[84] == SCALE // HOURS_OF_WEEK + 1_000
    daily = (0,) * 12 + (100,)
    assert scores(Intensity(EVEN, (), daily, 1), {0: 1})[12] == SCALE // HOURS_OF_WEEK + 100


@given(counts=COUNTS)
def test_the_best_hours_are_a_few_and_many_events_have_the_say(counts: dict[int, int]) -> None:
    best = best_hours(LEARNED, counts)
    assert len(set(best)) == CHOSEN_COUNT
    assert list(best) == sorted(best)
    assert 50 in best_hours(LEARNED, {**counts, 50: 10_000})


@given(local=st.integers(0, 1 << 42), hours=st.sets(st.integers(0, HOURS_OF_WEEK - 1), min_size=1, max_size=6))
def test_the_next_of_some_hours_is_within_a_week_and_none_lies_before_it(local: int, hours: set[int]) -> None:
    opens = opens_at((), stretches(sorted(hours)), local)
    assert opens is not None
    assert local <= opens < local + 7 * 24 * HOUR_MS
    assert hour_of_week(opens) in hours
    assert not any(hour_of_week(at) in hours for at in range(local, opens, HOUR_MS // 2))


def test_several_times_in_one_hour_count_once_and_a_week_comes_back_as_it_was() -> None:
    week = Week()
    for minute in (0, 59, 60, 61, 7 * 24 * 60, 7 * 24 * 60 + 5):
        week.happened(MONDAY + minute * 60_000)
    assert week.counts == {0: 2, 1: 1}
    assert Week.from_plain(json.loads(json.dumps(week.to_plain()))) == week


@pytest.mark.parametrize(
    "wrong",
    [
        Intensity(EVEN[1:], NEAR, DAILY, 1),
        Intensity((0, *EVEN[1:]), NEAR, DAILY, 1),
        Intensity(tuple([SCALE] * HOURS_OF_WEEK), NEAR, DAILY, 1),
        Intensity(EVEN, (-1,), DAILY, 1),
        Intensity(EVEN, (1,) * 86, DAILY, 1),
        Intensity(EVEN, NEAR, (1,) * 14, 1),
        Intensity(EVEN, NEAR, DAILY, 0),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(wrong: Intensity) -> None:
    check(LEARNED)
    with pytest.raises(DefinitionError):
        check(wrong)
