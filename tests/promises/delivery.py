"""Promise 3: applied exactly once, however often it is sent. Promise 13: a server killed between its commit and its answer.

Messages are lost, doubled, reordered and delayed by a real gRPC server on the way; devices are killed and go on; in a share
of the runs both sides are processes that die by SIGKILL. The server's log is compared with what the devices were told is
safe.
"""

from __future__ import annotations

import random
import sqlite3
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reflexarc import Client, Receipt
from reflexarc_proto.v1.record_pb2 import LogRecord
from reflexarc_server.app import Server, start_server
from reflexarc_server.store.sqlite import FILE
from tests.promises import kit
from tests.promises.offspring import Offspring
from tests.promises.outcome import Outcome
from tests.promises.relay import Relay

EVENTS = 500
RUNS_PER_SERVER = 48
AT_ONCE = 4
"""Devices of one server: they wait more than they work."""
PROCESSES_EVERY = 20
"""One run in so many has both sides in processes of their own that are killed."""
WAIT_S = 60.0
CATCH_UP_EVERY = 100
"""Kills after which a server lives until it has everything."""
CONFIG = {"backoff_ms_min": 2, "backoff_ms_max": 15, "flush_interval_ms": 1, "poll_ms": 20, "push_deadline_ms": 3_000,
          "store_bytes_max": 8 * kit.MIB}  # fmt: skip


def run(count: int, seed: int) -> Outcome:
    """count runs of EVENTS events."""
    outcome = Outcome(count)
    in_processes = max(1, count // PROCESSES_EVERY)
    for start in range(0, count - in_processes, RUNS_PER_SERVER):
        with kit.scratch("delivery") as place:
            _by_message(place, seed * 100_000 + start, min(RUNS_PER_SERVER, count - in_processes - start), outcome)
    offspring = Offspring()
    try:
        for case in range(in_processes):
            with kit.scratch("delivery") as place:
                _by_kill(place, offspring, seed * 100_000 + 50_000 + case, outcome)
    finally:
        offspring.close()
    return outcome


def run_kills(count: int, seed: int) -> Outcome:
    """count servers, each killed between a commit and its answer."""
    outcome = Outcome(count)
    draw = random.Random(seed)
    offspring = Offspring()
    try:
        with kit.scratch("ack-lost") as place:
            _between(place, offspring, count, draw, outcome)
    finally:
        offspring.close()
    return outcome


# -- messages -----------------------------------------------------------------------------------------------------------


def _by_message(place: Path, seed: int, runs: int, outcome: Outcome) -> None:
    server = start_server(place / "server", "127.0.0.1:0", kit.catalog(), insecure=True)
    relay = Relay(server.address, seed, 0.4)
    told: dict[str, dict[str, str]] = {}
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [
                pool.submit(_one_device, place / f"{n}", relay, random.Random(seed + n), f"seed {seed} run {n}", told, outcome)
                for n in range(runs)
            ]:
                done.result()
    finally:
        relay.close()
        _folded(server, f"seed {seed}", outcome)
        server.stop()
    for fault, times in relay.counts.items():
        outcome.add(fault, times)
    for installation, events in told.items():
        check_server(place / "server", f"seed {seed}", {installation}, set(events), outcome)


def _one_device(
    place: Path, relay: Relay, draw: random.Random, where: str, told: dict[str, dict[str, str]], outcome: Outcome
) -> None:
    place.mkdir()
    life = 0
    config = {**CONFIG, "batch_records_max": draw.choice((17, 60, 250))}
    client = _open(place / "store-0", relay.address, config)
    mine = told.setdefault(client.log.installation, {})
    for serial in range(EVENTS):
        receipt = _track(client, draw, serial)
        if outcome.check(receipt.accepted, f"{where}: {receipt.reason}"):
            mine[receipt.event_id] = str(serial)
        if draw.random() < 0.002:  # killed: what was on the disk goes on, what was under way is not known
            life += 1
            kit.freeze(client, place / f"store-{life}")
            client.close()
            client = _open(place / f"store-{life}", relay.address, config)
            outcome.add("kills of a device")
    if not client.flush(WAIT_S).delivered:
        outcome.wrong.append(f"{where}: not delivered: {client.stats()['uplink']}")
    client.close()


def _track(client: Client, draw: random.Random, serial: int) -> Receipt:
    """Nothing waits for most of them, a few decide."""
    if draw.random() < 0.02:
        return kit.track(client, draw, serial, subject="known:1")
    return client.track(kit.INERT, {"content_id": str(serial)}, subject="known:1", priority=draw.choice((0, 1, 1, 2)))


def _open(folder: Path, address: str, config: dict[str, int]) -> Client:
    return Client(folder, server=address, insecure=True, catalog=kit.catalog(), config=kit.config(**config))


def _folded(server: Server, where: str, outcome: Outcome) -> None:
    deadline = time.monotonic() + WAIT_S
    fold = server.parts.fold
    while fold.lag and time.monotonic() < deadline:
        time.sleep(0.01)
    outcome.check(not fold.lag, f"{where}: the fold is {fold.lag} behind")
    events = server.parts.store.counters()["events"]
    outcome.check(fold.folded_count == events, f"{where}: {fold.folded_count} of {events} events were folded, each once")


# -- processes ----------------------------------------------------------------------------------------------------------


def _by_kill(place: Path, offspring: Offspring, seed: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    where = f"seed {seed}"
    server, address = offspring.serve(place / "server")
    order = {"address": address, "serial": 0, "count": EVENTS, "batch": draw.choice((17, 60))}
    device: int | None = offspring.device(place, **order)
    deadline = time.monotonic() + WAIT_S
    while device is not None and time.monotonic() < deadline:
        status = offspring.wait(device, draw.uniform(0.02, 0.15))
        if status is not None:
            if not outcome.check(status == 0, f"{where}: a device ended with {status}: {_error(place)}"):
                break
            device = None
        elif draw.random() < 0.5:
            offspring.kill(device)
            device = offspring.device(place, **order)
            outcome.add("kills -9 of a device")
        else:
            offspring.kill(server)
            server, _ = offspring.serve(place / "server", address)
            outcome.add("kills -9 of a server")
    outcome.check(device is None, f"{where}: not delivered")
    offspring.kill(server)
    ids = set((place / "ledger").read_text().split())
    # An event whose receipt never came back may be there as well: nobody was told that it is not.
    check_server(place / "server", where, None, ids, outcome, more=True)


def _error(place: Path) -> str:
    said = place / "device-error"
    return said.read_text()[-600:] if said.exists() else ""


def _between(place: Path, offspring: Offspring, count: int, draw: random.Random, outcome: Outcome) -> None:
    server, address = offspring.serve(place / "server", die_at=draw.randint(1, 3))
    ids: set[str] = set()
    client = _open(place / "store", address, {**CONFIG, "batch_records_max": 10})
    for kill in range(count):
        for serial in range(30):
            ids.add(client.track("content_view", {"content_id": str(kill * 30 + serial)}).event_id)
        status = offspring.wait(server, WAIT_S)
        if not outcome.check(status == -9, f"kill {kill}: the server ended with {status}: {client.stats()['uplink']}"):
            offspring.kill(server)
        if kill % CATCH_UP_EVERY == CATCH_UP_EVERY - 1:
            # More comes than a server takes that dies so soon: without this the store's bound gives up the oldest, as it must.
            server, address = offspring.serve(place / "server", address)
            outcome.check(client.flush(WAIT_S).delivered, f"kill {kill}, not caught up: {client.stats()['uplink']}")
            offspring.kill(server)
        server, address = offspring.serve(place / "server", address, die_at=draw.randint(1, 3) if kill + 1 < count else 0)
    outcome.check(client.flush(WAIT_S).delivered, f"not delivered: {client.stats()['uplink']}")
    client.close()
    offspring.kill(server)
    check_server(place / "server", "ack lost", None, ids, outcome)
    with sqlite3.connect(place / "server" / FILE) as db:
        (resent,) = db.execute("SELECT value FROM counters WHERE name = 'resent'").fetchone() or (0,)
    outcome.details["records sent again"] = resent


# -- what the server holds -----------------------------------------------------------------------------------------------


def check_server(
    folder: Path, where: str, installations: set[str] | None, told: set[str], outcome: Outcome, *, more: bool = False
) -> None:
    """The server's log holds every event that was told to be safe, once; numbers go up, and those that are missing are named.

    more: events nobody was told about may be there too.
    """
    with sqlite3.connect(folder / FILE) as db:
        query = "SELECT installation, incarnation, seq, kind, record_id, body FROM log WHERE incarnation != ''"
        rows = db.execute(query).fetchall()
        streams = db.execute("SELECT installation, incarnation, upto_seq FROM streams").fetchall()
        judged = db.execute("SELECT incarnation, entries FROM checks").fetchall()
    ours = [row for row in rows if installations is None or row[0] in installations]
    ids = Counter(row[4] for row in ours if row[3] == 1)
    missing = told - set(ids)
    outcome.lost += len(missing)
    outcome.duplicated += sum(times - 1 for times in ids.values())
    if missing:
        outcome.wrong.append(f"{where}: {len(missing)} events are missing, {sorted(missing)[:2]}")
    if not more:
        outcome.check(set(ids) <= told, f"{where}: {len(set(ids) - told)} events that nobody tracked")
    outcome.add("events", len(told))
    for installation, incarnation, upto in streams:
        if installations is not None and installation not in installations:
            continue
        # What came under this numbering and was held under another, by its id, has no row of its own.
        explained = {seq for of, entries in judged if of == incarnation for seq, _ in struct.iter_unpack("<qI", entries)}
        for _, of, seq, kind, _, body in ours:
            if of == incarnation:
                last = LogRecord.FromString(body).loss.last_seq if kind == 18 else seq
                explained.update(range(seq, min(last, upto) + 1))
        gaps = set(range(1, upto + 1)) - explained
        outcome.check(not gaps, f"{where}: nobody explains {sorted(gaps)[:5]} of {upto}")
