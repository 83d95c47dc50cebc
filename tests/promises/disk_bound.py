"""Promise 6: a store stays within its bytes, whatever comes and however slowly the server takes it."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

from reflexarc import Client
from reflexarc_core.record import EventInput, LossOutput
from tests.promises import kit
from tests.promises.outcome import Outcome

EVENTS_PER_STORE = 10_000
SHARE_SLACK = 0.02
JUDGED_SHARE = 0.2
SLACK_BYTES = kit.MIB
SAMPLE_S = 0.005


class Gauge:
    """The largest total of a folder's files (bundles apart) that anybody saw, sampled beside what happens."""

    def __init__(self, folder: Path, every_s: float = SAMPLE_S) -> None:
        self._folder = folder
        self._every_s = every_s
        self.largest = 0
        self.samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def sample(self) -> None:
        total = 0
        for place, folders, names in os.walk(self._folder):
            if place == str(self._folder) and "bundles" in folders:
                folders.remove("bundles")
            for name in names:
                try:
                    total += os.stat(os.path.join(place, name)).st_size
                except FileNotFoundError:
                    continue
        self.largest = max(self.largest, total)
        self.samples += 1

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.sample()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def run(count: int, seed: int) -> Outcome:
    """count events over stores of EVENTS_PER_STORE, each with bounds, sizes and a server of its own."""
    outcome = Outcome(count)
    done = store = 0
    while done < count:
        wanted = min(EVENTS_PER_STORE, count - done)
        with kit.scratch("bound") as place:
            _one_store(place / "store", wanted, seed * 100_000 + store, outcome)
        done += wanted
        store += 1
    outcome.details["stores"] = store
    return outcome


def _one_store(folder: Path, count: int, seed: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    bytes_max = draw.choice((2, 3, 5, 8, 16)) * kit.MIB
    large = draw.choice((500, 2_000, 8_000))
    is_acknowledged = draw.random() < 0.4
    where = f"seed {seed}, {bytes_max // kit.MIB} MiB"
    client = kit.open_client(folder, store_bytes_max=bytes_max, history_rows=draw.choice((100, 20_000)))
    gauge = Gauge(folder)
    given: dict[int, int] = {}
    refused: dict[int, int] = {0: 0, 1: 0, 2: 0}
    try:
        for serial in range(count):
            priority = draw.choice((0, 1, 1, 1, 2))
            size = draw.choice((0, 0, 100, draw.randrange(large)))
            subject = f"known:{draw.randrange(200)}"
            receipt = kit.track(client, draw, serial, size=size, subject=subject, priority=priority)
            if receipt.accepted:
                given[serial] = priority
            else:
                outcome.check(receipt.reason.startswith("storage"), f"{where}: {receipt.reason}")
                refused[priority] += 1
            if serial % 500 == 0:
                gauge.sample()
                if is_acknowledged and draw.random() < 0.5:
                    client.log.sync_to_disk()
                    client.log.acknowledge(min(client.log.spool.durable_seq, client.log.acked_seq + 300))
        client.device.keep_house()
        gauge.sample()
        outcome.check(refused[1] == refused[2] == 0, f"{where}: events that are not low were refused: {refused}")
        _check_kept(client, given, where, outcome)
    finally:
        gauge.stop()
        client.close()
        gauge.sample()
    over = gauge.largest - bytes_max
    outcome.check(over <= SLACK_BYTES, f"{where}: {gauge.largest} bytes, {over / kit.MIB:.2f} MiB over")
    outcome.details["most over, KiB"] = max(int(str(outcome.details.get("most over, KiB", -(2**40)))), over // 1024)
    outcome.add("samples", gauge.samples)
    outcome.add("refused (low)", refused[0])


def _check_kept(client: Client, given: dict[int, int], where: str, outcome: Outcome) -> None:
    """Every number is there or named by a loss; low ones went before high ones."""
    acked, newest = client.log.acked_seq, client.log.last_seq
    held: dict[int, int] = {}
    numbers: set[int] = set()
    evicted = 0
    for seq, record in client.log.records(0):
        numbers.add(seq)
        if isinstance(record, LossOutput):
            numbers.update(range(record.first_seq, record.last_seq + 1))
            evicted += record.count
            outcome.check(record.reason == "evicted", f"{where}: a loss for {record.reason!r}")
        elif isinstance(record, EventInput):
            serial = kit.serial_of(record)
            assert serial is not None
            held[serial] = given[serial]
    missing = [n for n in range(acked + 1, newest + 1) if n not in numbers]
    outcome.lost += len(missing)
    outcome.check(not missing, f"{where}: {len(missing)} numbers behind {acked} are nowhere, {missing[:3]}")
    outcome.add("evicted", evicted)
    # Where next to nothing is left, it is what came last and no snapshot covers yet: no question of priority.
    if evicted and not acked and len(held) >= JUDGED_SHARE * len(given):
        share = {p: _share(held, given, p) for p in (0, 1, 2)}
        # Among the oldest, what stands alone between losses goes with them, however important: a small share of the whole.
        in_order = share[0] <= share[1] + SHARE_SLACK and share[1] <= share[2] + SHARE_SLACK
        outcome.check(in_order, f"{where}: of low, normal, high are left {share}")
        oldest = {p: min((s for s in held if held[s] == p), default=len(given)) for p in (0, 1, 2)}
        outcome.check(
            share[0] == 0 or share[2] == 1.0 or oldest[2] <= oldest[0], f"{where}: high went before low: {oldest}, {share}"
        )


def _share(held: dict[int, int], given: dict[int, int], priority: int) -> float:
    asked = sum(p == priority for p in given.values())
    return sum(p == priority for p in held.values()) / asked if asked else 1.0
