"""Promise 11: no thundering herd. Thousands of devices after an outage, in virtual time, with the real pacing of both sides.

A device is what decides when one calls: the client's `Pacing` for its pauses, gRPC's own waiting between two attempts to connect
(https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md), a poll while nothing happens, a batch when something did.
The server is its `Admission`, set to PROVISIONED times the steady load. Nothing sleeps.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from reflexarc import Config
from reflexarc.pacing import Pacing, directed_ms
from reflexarc_server.admission import Admission
from tests.promises.outcome import Outcome

CONFIG = Config()
EVENT_EVERY_S = 30.0
STEADY_S = 120.0
OUTAGE_S = 3_600.0
WATCHED_S = 180.0
"""After so long polls are no longer followed: they cost as much as ever and change nothing."""
OVER_S = 7_200.0
TIMES_MAX = 3.0
PROVISIONED = 2.5
"""Times the steady load that the server is set to take."""
CONTROL = 5
"""The same with a server that takes everything, by a fifth of the devices: it must break the promise."""
CONNECT_GROWTH, CONNECT_JITTER = 1.6, 0.2


@dataclass
class Minute:
    """What reached the server within a minute."""

    calls: int = 0
    records: int = 0


@dataclass
class Fleet:
    """The server's side of the account."""

    admission: Admission
    minutes: dict[int, Minute] = field(default_factory=dict)
    too_early: int = 0

    def count(self, now: float, records: int) -> None:
        """One call."""
        minute = self.minutes.setdefault(int(now // 60), Minute())
        minute.calls += 1
        minute.records += records


class Device:
    """One device: when it acts next, and what it still has."""

    def __init__(self, number: int, draw: random.Random) -> None:
        self.name = f"d{number}"
        self.draw = draw
        self.pacing = Pacing(CONFIG.backoff_ms_min, CONFIG.backoff_ms_max, draw.uniform)
        self.next_event = draw.expovariate(1 / EVENT_EVERY_S)
        self.waiting = 0
        self.connect_s = CONFIG.backoff_ms_min / 1_000
        self.not_before = 0.0

    def gather(self, now: float) -> None:
        """What happened on the device up to now."""
        while self.next_event <= now:
            self.waiting += 1
            self.next_event += self.draw.expovariate(1 / EVENT_EVERY_S)

    def reconnects_after(self) -> float:
        """gRPC's pause before it tries to connect again, s."""
        self.connect_s = min(self.connect_s * CONNECT_GROWTH, CONFIG.backoff_ms_max / 1_000)
        return self.connect_s * self.draw.uniform(1 - CONNECT_JITTER, 1 + CONNECT_JITTER)

    def speak(self, now: float, fleet: Fleet) -> float:
        """One exchange with a server that is there; seconds until the next."""
        self.gather(now)
        fleet.too_early += now < self.not_before
        if self.waiting:
            count = min(self.waiting, CONFIG.batch_records_max)
            wait_ms = fleet.admission.wait_ms(self.name, count)
            fleet.count(now, 0 if wait_ms else count)
            if wait_ms:
                pause_s = self.pacing.failed(wait_ms) / 1_000
                self.not_before = now + directed_ms(wait_ms) / 1_000
                return pause_s
            self.waiting -= count
        self.pacing.succeeded()
        if self.waiting:
            return 0.0
        fleet.count(now, 0)  # what came down
        until_event = self.next_event - now + CONFIG.flush_interval_ms / 1_000
        return min(CONFIG.poll_ms / 1_000, until_event)


def run(count: int, seed: int) -> Outcome:
    """count devices: a steady time, the server away for an hour, and the time after."""
    outcome = Outcome(1)
    directed = _scenario(count, seed, outcome, PROVISIONED)
    for name in ("calls", "records"):
        steady, peak, first = directed[name]
        ratio = max(peak, first) / steady
        outcome.details[f"{name} a minute, steady"] = round(steady)
        outcome.details[f"{name} in the first minute"] = first
        outcome.details[f"{name} in the fullest minute"] = peak
        outcome.details[f"{name}, times steady"] = round(ratio, 2)
        outcome.check(ratio <= TIMES_MAX, f"seed {seed}: {ratio:.2f} times the steady {name}")
    steady, peak, _ = _scenario(max(1, count // CONTROL), seed, Outcome(1), 1e6)["records"]
    outcome.details["records, times steady, without the server's word"] = round(peak / steady, 2)
    outcome.check(peak / steady > TIMES_MAX, f"seed {seed}: the control keeps it too, so this shows nothing")
    return outcome


def _scenario(count: int, seed: int, outcome: Outcome, provisioned: float) -> dict[str, tuple[float, int, int]]:
    """(steady a minute, fullest minute afterwards, first minute afterwards) of calls and of records."""
    clock = [0.0]
    records_per_s = provisioned * count / EVENT_EVERY_S
    fleet = Fleet(Admission(records_per_s, 1.0, lambda: clock[0], random.Random(seed).random))
    devices = [Device(number, random.Random(seed * 1_000_003 + number)) for number in range(count)]
    back = STEADY_S + OUTAGE_S
    agenda = [(device.draw.uniform(0, CONFIG.poll_ms / 1_000), number) for number, device in enumerate(devices)]
    heapq.heapify(agenda)
    drained_at = back
    behind = set(range(count))
    first_calls: list[float] = []
    while agenda:
        now, number = heapq.heappop(agenda)
        clock[0] = now
        device = devices[number]
        if STEADY_S <= now < back:
            # Both run side by side: the attempt to connect that finds the server wakes the device, and its own pause ends there.
            device.pacing.failed()
            heapq.heappush(agenda, (now + device.reconnects_after(), number))
            continue
        if now >= back and not device.not_before and device.pacing.failures:
            first_calls.append(now - back)
        pause_s = device.speak(now, fleet)
        if now >= back and not device.waiting and number in behind:
            behind.discard(number)
            drained_at = now
            if not behind and now >= back + WATCHED_S:
                break
        if now >= back + WATCHED_S and not device.waiting:
            pause_s = device.next_event - now + CONFIG.flush_interval_ms / 1_000
        if now > back + OVER_S:
            outcome.wrong.append(f"seed {seed}: {len(behind)} devices still hold records of the outage")
            break
        heapq.heappush(agenda, (now + max(pause_s, 0.001), number))
    outcome.check(fleet.too_early == 0, f"seed {seed}: {fleet.too_early} calls came before the server's delay was over")
    outcome.details["minutes until all was sent"] = round((drained_at - back) / 60)
    steady = [fleet.minutes[minute] for minute in range(int(STEADY_S // 60))]
    after = {minute: held for minute, held in fleet.minutes.items() if minute >= back // 60}
    first = after.get(int(back // 60), Minute())
    return {
        name: (
            sum(getattr(one, name) for one in steady) / len(steady), max(getattr(one, name) for one in after.values()),
            getattr(first, name),
        )
        for name in ("calls", "records")
    }  # fmt: skip
