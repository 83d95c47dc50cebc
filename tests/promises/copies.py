"""Promise 24: a store that was copied, or a machine put back to an earlier state, loses nothing and shares only what both had.

One server and a family of stores that all began as one: each case opens them in a drawn order, copies them, puts them back,
lets them track at the very same millisecond, and sends. Whatever was delivered, or is left on a disk at the end, is at the
server once.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from reflexarc import Client
from reflexarc.testing import ManualClock
from reflexarc_server.app import start_server
from tests.promises import kit
from tests.promises.delivery import WAIT_S, check_server
from tests.promises.outcome import Outcome

T0 = 1_700_000_000_000
STORES_MAX = 4
CONFIG = {
    "backoff_ms_min": 2, "backoff_ms_max": 15, "flush_interval_ms": 1, "poll_ms": 1_000, "store_bytes_max": 8 * kit.MIB,
}  # fmt: skip


def run(count: int, seed: int) -> Outcome:
    """count families of stores."""
    outcome = Outcome(count)
    with kit.scratch("copies") as place:
        server = start_server(place / "server", "127.0.0.1:0", kit.catalog(), insecure=True)
        families = []
        try:
            for case in range(count):
                family = Family(place / str(case), server.address, seed * 100_000 + case, outcome)
                family.live()
                families.append(family)
        finally:
            server.stop()
        for family in families:
            check_server(place / "server", family.where, {family.installation}, family.told, outcome)
    return outcome


class Family:
    """held: store -> the events it holds. told: events that are at the server, as far as anybody was told."""

    def __init__(self, place: Path, address: str, seed: int, outcome: Outcome) -> None:
        self.place = place
        self.where = f"seed {seed}"
        self.outcome = outcome
        self.address = address
        self.draw = random.Random(seed)
        self.held: dict[Path, set[str]] = {}
        self.told: set[str] = set()
        self.installation = ""
        self._names = 0

    def live(self) -> None:
        draw = self.draw
        first = self._name()
        self.held[first] = set()
        self._use(first, draw.choice((0, 1, 60, 300)), delivers=draw.random() < 0.5)
        for _ in range(draw.randint(3, 6)):
            store = draw.choice(list(self.held))
            act = draw.choice(("use", "use", "use", "copy", "copy", "back"))
            if act == "copy" and len(self.held) < STORES_MAX:
                self.held[self._copy(store)] = set(self.held[store])
                self.outcome.add("copies")
            elif act == "back":
                earlier, kept = self._copy(store), set(self.held[store])
                self._use(store, draw.choice((1, 100, 300)), delivers=True)
                del self.held[store]
                self.held[earlier] = kept
                self._use(earlier, draw.choice((1, 70, 100, 150, 300, 450)), delivers=draw.random() < 0.7)
                self.outcome.add("put back")
            else:
                self._use(store, draw.choice((0, 1, 5, 60, 120)), delivers=draw.random() < 0.7)
        for store in list(self.held):
            self._use(store, 1, delivers=True)

    def _use(self, store: Path, count: int, *, delivers: bool) -> None:
        config = kit.config(**CONFIG, batch_records_max=self.draw.choice((20, 100, 500)))
        server = self.address if delivers or self.draw.random() < 0.3 else None
        with Client(
            store, server=server, insecure=True, catalog=kit.catalog(), clock=ManualClock(T0), config=config
        ) as client:  # fmt: skip
            self.installation = self.installation or client.log.installation
            self.outcome.check(client.log.installation == self.installation, f"{self.where}: another installation")
            for _ in range(count):
                receipt = client.track(kit.INERT, {"content_id": "same"})
                self.outcome.check(receipt.accepted, f"{self.where}: {receipt.reason}")
                self.outcome.check(receipt.event_id not in self.told, f"{self.where}: an id is given out twice")
                self.held[store].add(receipt.event_id)
            if delivers:
                result = client.flush(WAIT_S)
                self.outcome.check(result.delivered, f"{self.where}: {result} {client.stats()['uplink']}")
            if server is not None:
                self.outcome.add("new numberings", client.stats()["uplink"]["rekeyed"])
                # What it sent without being asked to may be there, whatever becomes of this store.
                sent = client.log.acked_seq == client.log.last_seq or delivers
                if not sent:
                    client.flush(WAIT_S)
                self.told |= self.held[store]

    def _copy(self, store: Path) -> Path:
        target = self._name()
        shutil.copytree(store, target)
        return target

    def _name(self) -> Path:
        self._names += 1
        return self.place / f"store-{self._names}"
