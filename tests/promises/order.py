"""Promise 5: first in, first out, and a gap explains itself, whatever evicted, damaged or tore the records that are missing."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from reflexarc import Client
from reflexarc_edge.journal import OWN_BYTES
from tests.promises import kit
from tests.promises.outcome import Outcome

REASONS = ("evicted", "damaged", "unreadable", "torn", "renumbered", "erased")


def run(count: int, seed: int) -> Outcome:
    """count stores, each with a schedule of its own of captures, acknowledgements, evictions, damage and crashes."""
    outcome = Outcome(count)
    for case in range(count):
        case_seed = seed * 100_000 + case
        with kit.scratch("order") as place:
            _schedule(place, case_seed, outcome)
    return outcome


class Server:
    """Takes batches as they come, and keeps its own account of every number."""

    def __init__(self, where: str, outcome: Outcome) -> None:
        self.where = where
        self.outcome = outcome
        self.newest = 0
        self.newest_serial = -1
        self.held: dict[int, tuple[int, str, int | None]] = {}
        self.named: dict[int, str] = {}

    def take(self, client: Client, draw: random.Random, batches: int | None) -> None:
        for number, batch in enumerate(kit.walk(client.log, draw)):
            for loss in batch.losses:
                self.outcome.check(
                    loss.reason in REASONS, f"{self.where}: {loss.first_seq}..{loss.last_seq} are missing for {loss.reason!r}"
                )
                for missing in range(loss.first_seq, loss.last_seq + 1):
                    self.named.setdefault(missing, loss.reason)
                    self.outcome.add(loss.reason)
            for seq, _, record in batch.records:
                if (seq, type(record).__name__, kit.serial_of(record)) == self.held.get(seq):
                    continue  # sent again, since the acknowledgement never arrived
                self.outcome.check(seq > self.newest, f"{self.where}: {seq} came behind {self.newest}")
                for missing in range(self.newest + 1, seq):
                    if missing not in self.named:
                        self.outcome.lost += 1
                        self.outcome.wrong.append(f"{self.where}: nobody explains {missing}")
                self.newest = seq
                serial = kit.serial_of(record)
                self.held[seq] = (seq, type(record).__name__, serial)
                if serial is not None:
                    if serial <= self.newest_serial:
                        self.outcome.duplicated += serial == self.newest_serial
                        self.outcome.wrong.append(f"{self.where}: event {serial} came behind {self.newest_serial}")
                    self.newest_serial = serial
            if batches is not None and number + 1 >= batches:
                return


def _schedule(place: Path, seed: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    where = f"seed {seed}"
    lives = draw.randint(2, 4)
    serial = 0
    server = Server(where, outcome)
    config = {
        "store_bytes_max": kit.MIB,
        "history_rows": draw.choice((0, 50, 20_000)),
        "store_rows_max": draw.choice((200, 1_000_000)),
    }
    folder = place / "store-0"
    for life in range(lives):
        client = kit.open_client(folder, **config)
        for _ in range(draw.randint(1, 6)):
            for _ in range(draw.randint(1, 120)):
                receipt = kit.track(client, draw, serial, size=draw.choice((0, 0, 300, 6_000)), priority=draw.choice((0, 1, 2)))
                serial += receipt.accepted
            act = draw.choice(("send", "house", "damage", "unreadable", "snapshot", "none"))
            if act == "send":
                server.take(client, draw, draw.randint(1, 4))
            elif act == "house":
                client.device.keep_house()
            elif act in ("damage", "unreadable"):
                _damage_rows(client, draw, act)
            elif act == "snapshot":
                client.runtime.keep_snapshot(force=True)
        last = client.log.last_seq
        if life + 1 == lives:
            server.take(client, draw, None)
            for missing in range(server.newest + 1, client.log.last_seq + 1):
                outcome.check(missing in server.named, f"{where}: {missing} of {last} was neither sent nor explained")
            outcome.add("records", len(server.held))
            client.close()
            return
        fresh = place / f"store-{life + 1}"
        if draw.random() < 0.5:
            kit.freeze(client, fresh)
            client.close()
            if draw.random() < 0.7:
                _tear(fresh / "journal", draw)
        else:
            client.close()
            folder.rename(fresh)
        folder = fresh


def _damage_rows(client: Client, draw: random.Random, how: str) -> None:
    """Rot some rows as a bad disk would: through a connection of its own, behind the client's back."""
    client.log.drain()
    connection = sqlite3.connect(client.log.folder / "store.db", timeout=10)
    try:
        held = [row[0] for row in connection.execute("SELECT seq FROM log WHERE seq > ?", (client.log.acked_seq,))]
        for seq in draw.sample(held, min(len(held), draw.randint(1, 5))):
            if how == "damage":
                connection.execute("UPDATE log SET body = zeroblob(7) WHERE seq = ?", (seq,))
            else:
                from reflexarc_edge.codec import checksum

                body = b"\xc1 no message at all"
                connection.execute(
                    "UPDATE log SET kind = 1, body = ?, crc = ? WHERE seq = ?", (body, checksum(seq, 1, body), seq)
                )
        connection.commit()
    finally:
        connection.close()


def _tear(journal: Path, draw: random.Random) -> None:
    """Some bytes of the journal are not what was written."""
    content = bytearray(journal.read_bytes())
    used = len(bytes(content).rstrip(b"\0"))
    if used <= OWN_BYTES:
        return
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(OWN_BYTES, used)
        length = draw.choice((1, 8, 200))
        content[at : at + length] = draw.randbytes(len(content[at : at + length]))
    journal.write_bytes(content)
