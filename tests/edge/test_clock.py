"""Engine time (rule 26): the last trusted wall time plus what a clock that never jumps says has passed since."""

from __future__ import annotations

import threading

import pytest

from reflexarc_edge.clock import RESTART_FORWARD_MS_MAX, EngineClock, SystemClock

DAY = 86_400_000
YEAR = 365 * DAY
T0 = 1_700_000_000_000


class Machine:
    """A machine whose wall clock anybody may set."""

    trusted = False

    def __init__(self, wall: int = T0) -> None:
        self.wall = wall
        self.monotonic = 5_000
        self.on_monotonic: list[EngineClock] = []

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> int:
        for clock in self.on_monotonic:
            self.on_monotonic = []
            reader = threading.Thread(target=clock.now)
            reader.start()
            reader.join(0.2)
        return self.monotonic

    def elapse(self, ms: int) -> None:
        self.wall += ms
        self.monotonic += ms


def test_rule_26_time_is_wall_plus_elapsed() -> None:
    machine = Machine()
    clock = EngineClock(machine, 0)
    machine.elapse(12_345)
    assert clock.now() == (T0 + 12_345, True)


@pytest.mark.parametrize("jump", [50 * YEAR, -50 * YEAR, 3_600_000, -3_600_000])
def test_rule_26_a_jump_nobody_confirms_moves_nothing(jump: int) -> None:
    machine = Machine()
    clock = EngineClock(machine, 0)
    machine.elapse(1_000)
    machine.wall += jump
    machine.elapse(1_000)
    assert clock.now() == (T0 + 2_000, False)
    machine.wall -= jump
    assert clock.now() == (T0 + 2_000, True), "and trust returns with it"


@pytest.mark.parametrize(
    ("away", "believed"), [(0, True), (RESTART_FORWARD_MS_MAX, True), (RESTART_FORWARD_MS_MAX + 1, False), (-1, False)]
)
def test_rule_26_across_a_restart_zero_to_thirty_days_forward_are_believed(away: int, believed: bool) -> None:
    clock = EngineClock(Machine(T0 + away), T0)
    assert clock.now() == (T0 + away if believed else T0, believed)


def test_rule_26_a_device_that_wakes_in_1970_goes_on_from_what_it_knew() -> None:
    machine = Machine(0)
    clock = EngineClock(machine, T0)
    machine.elapse(500)
    assert clock.now() == (T0 + 500, False)
    clock.confirm(T0 + DAY)
    machine.elapse(500)
    assert clock.now() == (T0 + DAY + 500, True), "confirmed time is trusted, whatever the wall clock shows"
    machine.wall += DAY
    assert clock.now() == (T0 + DAY + 500, False), "but a jump after it is a jump"


def test_rule_26_a_wall_clock_that_is_merely_wrong_is_no_jump() -> None:
    machine = Machine(T0 - 60_000)
    clock = EngineClock(machine, 0)
    clock.confirm(T0)
    machine.elapse(DAY)
    assert clock.now() == (T0 + DAY, True)


def test_rule_26_a_confirmed_step_back_slows_time_and_never_reverses_it() -> None:
    machine = Machine(T0 + 3_600_000)
    clock = EngineClock(machine, 0)
    clock.confirm(T0)
    last, steps = clock.now()[0], []
    assert last == T0 + 3_600_000
    for _ in range(300):
        machine.elapse(60_000)
        now = clock.now()[0]
        steps.append(now - last)
        last = now
    assert set(steps) == {30_000, 60_000}, "half as fast until it is caught up, never standing still"
    assert clock.now() == (machine.wall - 3_600_000, True)


def test_rule_26_a_reader_during_a_confirmation_sees_one_time_or_the_other() -> None:
    machine = Machine()
    clock = EngineClock(machine, 0)
    machine.elapse(DAY)
    machine.on_monotonic = [clock]
    clock.confirm(T0 + DAY)
    assert machine.on_monotonic == [], "somebody read in the middle of it"
    assert clock.now()[0] == T0 + DAY


def test_the_machines_clock_counts_sleep() -> None:
    import time

    if hasattr(time, "CLOCK_BOOTTIME"):
        told = SystemClock().monotonic_ms()
        assert abs(told - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000) < 1_000
