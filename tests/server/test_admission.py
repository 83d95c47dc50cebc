"""Too many at once come back spread out; nobody is refused for good, and what is small never waits."""

from __future__ import annotations

import heapq
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from reflexarc_server.admission import SMALL_MAX, WAIT_MS_MAX, WAIT_MS_MIN, Admission, spread_ms
from reflexarc_server.app import start_server
from tests.server.kit import ManualClock, Stubs, catalog, event_record, page

BATCH_MAX = 500


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(0, 2**32), st.integers(50, 5_000), st.integers(2, 60))
def test_no_window_takes_more_than_rate_and_burst(seed: int, rate: int, devices: int) -> None:
    """Whoever obeys: each waits as told, and comes back with a batch. All of it is taken, and never too much of it."""
    draw = random.Random(seed)
    clock = _Clock()
    admission = Admission(rate, 1.0, clock, draw.random)
    waiting = [(clock.now + draw.random(), f"d{number}", draw.randint(SMALL_MAX + 1, BATCH_MAX)) for number in range(devices)]
    heapq.heapify(waiting)
    taken: list[tuple[float, int]] = []
    while waiting:
        at, name, count = heapq.heappop(waiting)
        clock.now = at
        wait_ms = admission.wait_ms(name, count)
        if wait_ms:
            heapq.heappush(waiting, (at + wait_ms / 1_000, name, count))
        else:
            taken.append((at, count))
    assert len(taken) == devices
    for first in range(len(taken)):
        total = 0
        for at, count in taken[first:]:
            total += count
            # A burst and what came in the span, and a batch that overdraws it.
            assert total <= rate * (at - taken[first][0] + 1.0) + BATCH_MAX + 0.001


def test_moments_are_drawn_evenly_from_what_all_need() -> None:
    assert [spread_ms(20_000, 100.0, drawn) for drawn in (0.0, 0.25, 0.999)] == [WAIT_MS_MIN, 50_000, 199_800]
    assert spread_ms(10**9, 1.0, 0.9) == WAIT_MS_MAX
    clock = _Clock()
    admission = Admission(100, 1.0, clock, lambda: 0.5)
    assert admission.wait_ms("a", 300) == 0
    assert admission.wait_ms("b", 500) == 2_500
    assert admission.wait_ms("c", 500) == 5_000
    assert admission.wait_ms("b", 700) == 6_000  # it asks again, with more: once among those who wait
    clock.now += 3
    assert admission.wait_ms("c", 500) == 0
    assert admission.wait_ms("d", 100) == 4_000


def test_what_is_small_never_waits_and_is_counted() -> None:
    clock = _Clock()
    admission = Admission(100, 1.0, clock)
    admission.wait_ms("a", 300)
    assert all(admission.wait_ms("c", SMALL_MAX) == 0 for _ in range(50))
    clock.now += 6.9
    assert admission.wait_ms("d", 500) > 0
    clock.now += 0.2
    assert admission.wait_ms("d", 500) == 0


def test_a_server_that_has_enough_says_when_to_come_again(tmp_path: Path) -> None:
    """Through a real server: nothing is taken, nothing is lost, and the same batch is taken later."""
    server = start_server(tmp_path, "127.0.0.1:0", catalog(), ManualClock(), insecure=True, records_per_s=10)
    stubs = Stubs(server.address)
    batches = [[event_record(n, page(n)) for n in range(start, start + 60)] for start in (1, 61, 121)]
    stubs.push(batches[0])
    stubs.push(batches[1])  # overdraws
    later = stubs.push(batches[2])
    assert (later.upto_seq, len(later.verdicts)) == (120, 0)
    assert later.retry_after_ms >= WAIT_MS_MIN
    assert stubs.status().event_count == 120
    assert len(stubs.push(batches[2][:5]).verdicts) == 5  # small: what is new never waits
    assert stubs.status().event_count == 125
    stubs.close()
    server.stop()
