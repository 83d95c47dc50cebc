"""Hours of the week: what is asked of a few moments holds for every minute."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_core.hours import MINUTE_MS, Hours, opens_at, waits

minutes = st.one_of(st.sampled_from([0, 60, 480, 720, 1_020, 1_320]), st.integers(0, 1_439))
days = st.lists(st.integers(0, 6), max_size=6, unique=True).map(lambda some: tuple(sorted(some)))
stretches = st.lists(st.builds(Hours, minutes, minutes, days), max_size=2).map(tuple)
EVERY = range(0, 7 * 1_440 * MINUTE_MS, 7 * MINUTE_MS)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(stretches, stretches)
def test_no_moment_waits_longer_than_those_at_which_hours_begin(quiet: tuple[Hours, ...], window: tuple[Hours, ...]) -> None:
    told = waits(quiet, window)
    found = [None if (opens := opens_at(quiet, window, at)) is None else opens - at for at in EVERY]
    assert (None in found) <= (None in told)
    longest = max((wait for wait in told if wait is not None), default=0)
    assert all(wait is None or wait <= longest for wait in found)
    assert longest == 0 or longest - max(wait for wait in found if wait is not None) < 7 * MINUTE_MS


def test_a_working_week_waits_over_its_end() -> None:
    week = (Hours(540, 1_020, (0, 1, 2, 3, 4)),)
    assert max(wait for wait in waits((), week) if wait is not None) == 64 * 60 * MINUTE_MS
    assert waits((), ()) == [0] * 7
    assert None in waits((Hours(0, 0),), ())
