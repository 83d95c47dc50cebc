"""Promise 4: there is no time after which what is sent again counts twice. 400 simulated days offline, and everything sent
twice.

One device captures for 400 days into a store with bounds, so that some of it is given up. Its store is copied before anything
is sent. Then the store and its copy are both delivered, part of it with the acknowledgements lost on the way, by one way or
by several mixed. A way is a function in WAYS: it brings some of what a store holds to the server, and the answers back or
not.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc.transport import Transport
from reflexarc_core.record import EventInput
from reflexarc_edge.upload import upload_batch
from reflexarc_server.app import start_server
from reflexarc_server.store.sqlite import FILE
from tests.promises import kit
from tests.promises.delivery import WAIT_S, check_server
from tests.promises.outcome import Outcome

DAY: Final = 86_400_000
START: Final = 1_700_000_000_000
DAYS: Final = 400
EVENTS_A_DAY: Final = 8
ROWS_MAX: Final = 2_500
CONFIG = {
    "store_rows_max": ROWS_MAX, "store_bytes_max": 16 * kit.MIB, "history_rows": ROWS_MAX, "batch_records_max": 200,
    "backoff_ms_min": 2, "backoff_ms_max": 15, "flush_interval_ms": 1, "poll_ms": 1_000,
}  # fmt: skip

Way = Callable[[Path, "Place", random.Random], None]


class Place:
    """Where a run happens: the server's folder and address, and the clock of both."""

    def __init__(self, folder: Path, address: str, clock: ManualClock) -> None:
        self.folder = folder
        self.address = address
        self.clock = clock

    def open(self, store: Path, server: str | None = None) -> Client:
        """A client on this store, on the simulated clock."""
        config = kit.config(**CONFIG)
        return Client(store, server=server, insecure=server is not None, catalog=kit.catalog(), clock=self.clock, config=config)


def by_calls(store: Path, place: Place, draw: random.Random) -> None:
    """Everything, as a device that is online again."""
    with place.open(store, place.address) as client:
        assert client.flush(WAIT_S).delivered, client.stats()["uplink"]


def by_calls_unanswered(store: Path, place: Place, draw: random.Random) -> None:
    """Some batches from the beginning; every answer is lost."""
    with place.open(store) as client:
        transport = Transport(place.address, client.log, Config(insecure=True), lambda reachable: None)
        acked = client.log.acked_seq
        client.log.sync_to_disk()
        for _ in range(draw.randint(1, 5)):
            batch = upload_batch(client.log, 200, kit.MIB)
            transport.push(batch, 0, 10.0)
            client.log.acknowledge(batch.last_seq)
        client.log.cursor.rewind(acked)
        transport.close()


WAYS: Final[dict[str, Way]] = {"calls": by_calls, "calls without answers": by_calls_unanswered}
"""Ways by which what a store holds reaches the server. The last thing done with each store is `by_calls`."""


def run(count: int, seed: int) -> Outcome:
    """count devices, each DAYS days offline."""
    outcome = Outcome(count)
    for case in range(count):
        with kit.scratch("offline") as folder:
            _one(folder, seed * 100_000 + case, outcome)
    return outcome


def _one(folder: Path, seed: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    where = f"seed {seed}"
    clock = ManualClock(START)
    place = Place(folder, "", clock)
    with place.open(folder / "store") as client:
        for day in range(DAYS):
            for number in range(EVENTS_A_DAY):
                assert kit.track(client, draw, day * EVENTS_A_DAY + number, subject="known:1").accepted
                clock.advance(DAY // EVENTS_A_DAY)
            if day % 20 == 19:
                client.runtime.keep_snapshot(force=True)
                client.device.keep_house()
        client.runtime.keep_snapshot(force=True)
        client.device.keep_house()  # nothing more is given up once it is copied: each copy would choose by itself
        kept = {record.event.event_id for _, record in client.log.records(0) if isinstance(record, EventInput)}
        outcome.add("given up", client.stats()["store"]["given_up"])
    shutil.copytree(folder / "store", folder / "copy")
    server = start_server(folder / "server", "127.0.0.1:0", kit.catalog(), insecure=True)
    place.address = server.address
    try:
        for store in (folder / "store", folder / "copy"):
            for name in draw.choices(list(WAYS), k=draw.randint(1, 3)):
                WAYS[name](store, place, draw)
                outcome.add(name)
            clock.advance(DAYS * DAY)
            by_calls(store, place, draw)
    finally:
        server.stop()
    check_server(folder / "server", where, None, kept, outcome)
    with sqlite3.connect(folder / "server" / FILE) as db:
        streams, checks, entries = (
            db.execute(f"SELECT {what}").fetchone()[0]
            for what in ("count(*) FROM streams", "count(*) FROM checks", "coalesce(sum(length(entries)), 0) / 12 FROM checks")
        )
        (resent,) = db.execute("SELECT value FROM counters WHERE name = 'resent'").fetchone() or (0,)
    outcome.add("sent again", resent)
    outcome.check(resent >= len(kept), f"{where}: only {resent} records were sent twice")
    is_small = streams <= 2 and checks <= 40
    outcome.check(is_small, f"{where}: {streams} numberings and {checks} rows of {entries} checksums are kept")
