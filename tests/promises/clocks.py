"""Promise 9: a clock that jumps loses and reorders nothing, and engine time never goes back."""

from __future__ import annotations

import random
from pathlib import Path

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_core.record import EventInput, LossOutput
from tests.promises import kit
from tests.promises.outcome import Outcome

HOUR = 3_600_000
YEAR = 365 * 24 * HOUR
START = 1_700_000_000_000
JUMPS_PER_STORE = 25
CONFIRMED_WITHIN_MS = 1_000


class UntrustedClock(ManualClock):
    """A host's clock: the wall can be set to anything, the monotonic one only goes on."""

    trusted = False

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self.monotonic = 1_000_000
        self.is_frozen = False

    def monotonic_ms(self) -> int:
        return self.monotonic

    def pass_by(self, by_ms: int) -> None:
        """Let time pass; a frozen wall clock does not notice."""
        self.monotonic += by_ms
        if not self.is_frozen:
            self.advance(by_ms)

    def jump(self, by_ms: int) -> None:
        """Set the wall clock by so much, back or forward."""
        self.advance(by_ms)

    def boot(self) -> None:
        """The machine starts again: its monotonic clock begins at zero."""
        self.monotonic = 0


def run(count: int, seed: int) -> Outcome:
    """count jumps over stores of JUMPS_PER_STORE, some of them while the store is closed."""
    outcome = Outcome(count)
    for start in range(0, count, JUMPS_PER_STORE):
        with kit.scratch("clock") as place:
            _one_store(place / "store", seed * 100_000 + start, min(JUMPS_PER_STORE, count - start), outcome)
    return outcome


class Device:
    """A client on such a clock, and what it must not forget."""

    def __init__(self, folder: Path, where: str, outcome: Outcome) -> None:
        self.folder = folder
        self.where = where
        self.outcome = outcome
        self.clock = UntrustedClock(START)
        self.given: list[int] = []
        self.engine_time = 0
        self.true_time = START
        self.client = self.open()

    def open(self) -> Client:
        return Client(self.folder, catalog=kit.catalog(), clock=self.clock, config=Config(offset_minutes=0, history_rows=10))

    def reopen(self, between: object) -> None:
        self.client.close()
        if callable(between):
            between()
        self.client = self.open()

    def track(self, draw: random.Random, count: int) -> None:
        for _ in range(count):
            step = draw.choice((0, 1, 50, 1_000))
            self.clock.pass_by(step)
            self.true_time += step
            serial = len(self.given)
            receipt = kit.track(self.client, draw, serial, subject="known:1")
            if self.outcome.check(receipt.accepted, f"{self.where}: {receipt.reason}"):
                self.given.append(serial)
            self.look()

    def look(self) -> None:
        now = self.client.moment().now
        self.outcome.check(now >= self.engine_time, f"{self.where}: engine time went from {self.engine_time} back to {now}")
        self.engine_time = now


def _one_store(folder: Path, seed: int, count: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    device = Device(folder, f"seed {seed}", outcome)
    for case in range(count):
        device.track(draw, draw.randint(1, 4))
        kind = draw.choice(("+50 y", "-50 y", "dst +", "dst -", "1970", "frozen", "thawed", "random", "confirmed"))
        is_closed = draw.random() < 0.15
        device.where = f"seed {seed} case {case} {kind}{' closed' if is_closed else ''}"
        if is_closed:
            device.reopen(lambda kind=kind: _jump(device, draw, kind, is_booting=draw.random() < 0.5))
        elif kind == "confirmed":
            _confirm(device)
        else:
            _jump(device, draw, kind, is_booting=False)
        device.look()
        outcome.add(kind)
        device.track(draw, draw.randint(1, 4))
        if draw.random() < 0.3:
            device.client.device.keep_house()
        if draw.random() < 0.1:
            device.client.runtime.keep_snapshot(force=True)
    device.reopen(None)
    device.look()
    _check(device)
    device.client.close()


def _jump(device: Device, draw: random.Random, kind: str, *, is_booting: bool) -> None:
    clock = device.clock
    if is_booting:
        clock.boot()
    by = {
        "+50 y": 50 * YEAR, "-50 y": -50 * YEAR, "dst +": HOUR, "dst -": -HOUR, "1970": 5_000 - clock.wall_ms(),
        "random": draw.randint(-2 * YEAR, 2 * YEAR),
    }.get(kind, 0)  # fmt: skip
    clock.jump(by)
    clock.is_frozen = kind == "frozen" or (clock.is_frozen and kind != "thawed")


def _confirm(device: Device) -> None:
    """The server says what time it is: engine time is that, or waits for it at half its speed."""
    before = device.client.moment().now
    device.client.device.confirm_time(device.true_time)
    now, trusted = device.client.device.engine_clock.now()
    device.outcome.check(trusted, f"{device.where}: a time the server confirmed is not believed")
    if device.true_time >= before:
        off = abs(now - device.true_time)
        device.outcome.check(off <= CONFIRMED_WITHIN_MS, f"{device.where}: {off} ms off a confirmed time")
    else:
        device.clock.pass_by(10_000)
        device.true_time += 10_000
        later = device.client.moment().now
        device.outcome.check(
            before <= later <= before + 10_000, f"{device.where}: a step back made {later - before} ms of 10,000"
        )


def _check(device: Device) -> None:
    held: list[int] = []
    times: list[int] = []
    for number, (seq, record) in enumerate(device.client.log.records(0), start=1):
        device.outcome.check(seq == number, f"{device.where}: number {seq} stands where {number} should")
        device.outcome.check(not isinstance(record, LossOutput), f"{device.where}: {record}")
        serial = kit.serial_of(record)
        if serial is not None and isinstance(record, EventInput):
            held.append(serial)
            times.append(record.moment.now)
    device.outcome.check(times == sorted(times), f"{device.where}: the log's engine time goes back")
    device.outcome.lost += len(set(device.given) - set(held))
    device.outcome.duplicated += len(held) - len(set(held))
    device.outcome.check(held == device.given, f"{device.where}: {len(held)} of {len(device.given)} events, or not in order")
    given_up = device.client.stats()["given_up"]
    device.outcome.check(not given_up and not device.client.log.stats()["given_up"], f"{device.where}: {given_up} was given up")
