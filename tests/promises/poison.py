"""Promise 14, the store's half: rows that are no records never block, reorder or stop the good ones, and end as dead letters."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from reflexarc import Client
from reflexarc_core.record import LossOutput
from reflexarc_edge.capture import CAPTURE_KIND, Capture, encode_capture
from reflexarc_edge.codec import checksum
from reflexarc_edge.owners import CaptureJournal
from reflexarc_edge.store import DEAD_MAX
from tests.promises import kit
from tests.promises.outcome import Outcome

ROWS_PER_STORE = 2_500
BAD_EVERY = 50


def run(count: int, seed: int) -> Outcome:
    """count good rows with one bad one in BAD_EVERY, over stores of ROWS_PER_STORE; and one store with more bad rows than
    dead letters are kept."""
    outcome = Outcome(count)
    for store, start in enumerate(range(0, count, ROWS_PER_STORE)):
        with kit.scratch("poison") as place:
            _mixed(place / "store", seed * 100_000 + store, min(ROWS_PER_STORE, count - start), outcome)
    with kit.scratch("poison") as place:
        _flooded(place / "store", seed, outcome)
    return outcome


def spoil(client: Client, numbers: list[int], draw: random.Random) -> dict[int, str]:
    """Make these rows unreadable in one way or another; number -> the reason their loss must give."""
    client.log.drain()
    reasons: dict[int, str] = {}
    connection = sqlite3.connect(client.log.folder / "store.db", timeout=10)
    try:
        for seq in numbers:
            how = draw.choice(("cut", "empty", "kind", "junk", "crc", "text"))
            body, kind = {
                "cut": (b"\x82\xa6moment\x85", 1), "empty": (b"", 1), "kind": (b"\x80", 99), "junk": (draw.randbytes(40), 2),
            }.get(how, (b"", 0))  # fmt: skip
            if how == "crc":
                connection.execute("UPDATE log SET crc = crc + 1 WHERE seq = ?", (seq,))
            elif how == "text":
                connection.execute("UPDATE log SET body = 'a text' WHERE seq = ?", (seq,))
            else:
                update = "UPDATE log SET kind = ?, body = ?, crc = ?, decision_id = NULL WHERE seq = ?"
                connection.execute(update, (kind, body, checksum(seq, kind, body), seq))
            reasons[seq] = "damaged" if how in ("crc", "text") else "unreadable"
        connection.commit()
    finally:
        connection.close()
    return reasons


def _mixed(folder: Path, seed: int, count: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    where = f"seed {seed}"
    kit.open_client(folder).close()
    refused = _refuse(folder, max(1, count // BAD_EVERY // 4))
    with kit.open_client(folder) as client:  # takes what the other process captured
        for serial in range(count):
            kit.track(client, draw, serial, size=draw.choice((0, 30)))
        numbers = {seq: kit.serial_of(record) for seq, record in client.log.records(0)}
        bad = draw.sample(sorted(numbers), max(1, len(numbers) // BAD_EVERY))
        reasons = spoil(client, bad, draw)
        expected = [serial for seq, serial in sorted(numbers.items()) if seq not in reasons and serial is not None]
        sent: list[int] = []
        losses: list[LossOutput] = []
        newest = 0
        for batch in kit.walk(client.log, draw):
            losses += batch.losses
            for seq, _, record in batch.records:
                outcome.check(seq > newest, f"{where}: {seq} is sent behind {newest}")
                newest = seq
                kept = kit.serial_of(record)
                if kept is not None:
                    sent.append(kept)
        outcome.lost += len(set(expected) - set(sent))
        outcome.duplicated += len(sent) - len(set(sent))
        outcome.check(sent == expected, f"{where}: {len(sent)} of {len(expected)} good events came out in order")
        said = {loss.first_seq: loss.reason for loss in losses}
        wrong = {seq: (reason, said.get(seq)) for seq, reason in reasons.items() if said.get(seq) != reason}
        outcome.check(not wrong, f"{where}: bad rows without their reason: {list(wrong.items())[:3]}")
        dead = _dead(folder)
        outcome.check(len(dead) == len(reasons) + refused, f"{where}: {len(dead)} dead letters of {len(reasons)} + {refused}")
        outcome.check(all(dead.values()), f"{where}: a dead letter without a reason")
        outcome.check(client.track("content_view", {"content_id": "1"}).accepted, f"{where}: blocked")
        outcome.add("bad rows", len(reasons))
        outcome.add("refused captures", refused)


def _refuse(folder: Path, count: int) -> int:
    """Another process captured what is no event: half of it bytes that say nothing, half of a type nobody declared."""
    journal = CaptureJournal(folder)
    unknown = encode_capture(Capture("no_such_type", "known:1", "", 1, -1, False, False, 1, -1, {}))
    for number in range(count):
        assert journal.append(CAPTURE_KIND, b"\xc1 nothing" if number % 2 else unknown)
    journal.close()
    return count


def _flooded(folder: Path, seed: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    with kit.open_client(folder) as client:
        for serial in range(DEAD_MAX + 400):
            client.track("content_view", {"content_id": str(serial)})
        numbers = [seq for seq, record in client.log.records(0) if kit.serial_of(record) is not None]
        last = numbers.pop()
        spoil(client, numbers, draw)
        sent = [
            seq for batch in kit.walk(client.log, draw) for seq, _, record in batch.records if kit.serial_of(record) is not None
        ]
        outcome.check(sent == [last], f"seed {seed}: behind {len(numbers)} bad rows {sent} were sent, not {last}")
        dead = _dead(folder)
        outcome.check(len(dead) == DEAD_MAX, f"seed {seed}: {len(dead)} dead letters are kept, not {DEAD_MAX}")


def _dead(folder: Path) -> dict[int, str]:
    connection = sqlite3.connect(folder / "store.db", timeout=10)
    try:
        return dict(connection.execute("SELECT id, reason FROM dead").fetchall())
    finally:
        connection.close()
