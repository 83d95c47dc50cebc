"""Promise 14, the wire's half: events that a server refuses, with their whole batch or alone, never hold up the good ones.

One event in BAD_EVERY is bad: of a kind for which the whole batch is refused as invalid or as too large, of a kind that the
server judges bad by itself, or a row that rotted. A real gRPC server stands before the real one and refuses; it counts how
often each bad one was sent before the device put it aside.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import grpc

from reflexarc import Client
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1.record_pb2 import LogRecord
from reflexarc_server.app import start_server
from reflexarc_server.store.sqlite import FILE
from tests.promises import kit
from tests.promises.delivery import WAIT_S
from tests.promises.outcome import Outcome
from tests.promises.poison import spoil
from tests.promises.relay import PUSH, Relay

ROWS_PER_STORE: Final = 2_500
BAD_EVERY: Final = 50
BATCH: Final = 250
LARGE: Final = 80_000
PARTS: Final = 12
KINDS: Final = ("invalid", "large", "rejected", "rotten")
CONFIG = {
    "batch_records_max": BATCH, "backoff_ms_min": 2, "backoff_ms_max": 15, "flush_interval_ms": 1, "poll_ms": 1_000,
}  # fmt: skip


@cache
def catalog() -> Catalog:
    """Events as large as one server's limit."""
    return build_text("include: standard\nversion: refusals\nevent_types:\n  wide:\n    properties:\n      content_id: string!\n"
                      + "".join(f"      part_{n}: string\n" for n in range(PARTS)))  # fmt: skip


def run(count: int, seed: int) -> Outcome:
    """count events, one in BAD_EVERY bad, over stores of ROWS_PER_STORE."""
    outcome = Outcome(count)
    for start in range(0, count, ROWS_PER_STORE):
        with kit.scratch("refusals") as place:
            _one(place, seed * 100_000 + start, min(ROWS_PER_STORE, count - start), outcome)
    return outcome


class Judge(Relay):
    """Refuses batches that hold something marked, or are too large; makes the real server refuse single records."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, 0, 0.0)
        self.sends: Counter[str] = Counter()

    def _pass(self, method: str, content: bytes, context: grpc.ServicerContext) -> bytes:
        if method == PUSH:
            request = messages.PushRequest.FromString(content)
            marked = [mark for mark in map(_mark, request.records) if mark.startswith(("invalid", "large"))]
            self.sends.update(marked)
            if len(content) > LARGE:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than this server takes")
            if any(mark.startswith("invalid") for mark in marked):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such thing")
            for record in request.records:
                if _mark(record).startswith("rejected"):
                    record.event.event.subject.Clear()
            content = request.SerializeToString()
        return super()._pass(method, content, context)


def _mark(record: LogRecord) -> str:
    return record.event.event.properties["content_id"].string_value if record.HasField("event") else ""


def _one(place: Path, seed: int, count: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    where = f"seed {seed}"
    bad = {serial: draw.choice(KINDS) for serial in draw.sample(range(count), max(1, count // BAD_EVERY))}
    server = start_server(place / "server", "127.0.0.1:0", catalog(), insecure=True)
    judge = Judge(server.address)
    with Client(place / "store", catalog=catalog(), config=kit.config(**CONFIG)) as client:
        ids = [_track(client, serial, bad.get(serial, "")) for serial in range(count)]
        numbers = {record.event.event_id: seq for seq, record in client.log.records(0) if hasattr(record, "event")}
        rotten = [numbers[ids[serial]] for serial, kind in bad.items() if kind == "rotten"]
        spoil(client, rotten, draw)
    with Client(
        place / "store", server=judge.address, insecure=True, catalog=catalog(), config=kit.config(**CONFIG)
    ) as client:  # fmt: skip
        outcome.check(client.flush(WAIT_S / 2).delivered, f"{where}: not delivered: {client.stats()['uplink']}")
        with client.log.spool.store.reading() as db:
            dead = dict(db.execute("SELECT seq, reason FROM dead").fetchall())
    judge.close()
    server.stop()
    with sqlite3.connect(place / "server" / FILE) as db:
        query = "SELECT record_id FROM log WHERE kind = 1 AND incarnation != '' ORDER BY server_seq"
        held = [row[0] for row in db.execute(query)]
        losses = {
            seq: LogRecord.FromString(body).loss.reason for seq, body in db.execute("SELECT seq, body FROM log WHERE kind = 18")
        }
    good = [ids[serial] for serial in range(count) if serial not in bad]
    outcome.lost += len(set(good) - set(held))
    outcome.duplicated += len(held) - len(set(held))
    outcome.check(held == good, f"{where}: {len(held)} of {len(good)} good events are there in order")
    for serial, kind in bad.items():
        seq = numbers[ids[serial]]
        reason, loss = dead.get(seq, ""), losses.get(seq, "")
        fits = {
            "invalid": reason.startswith("refused: ") and loss == "refused",
            "large": reason.startswith("refused: ") and loss == "refused",
            "rejected": reason.startswith("rejected: ") and "subject" in reason and not loss,
            "rotten": bool(reason) and loss in ("damaged", "unreadable"),
        }[kind]
        outcome.check(fits, f"{where}: {kind} event {seq} ended as {reason!r}, its number as {loss!r}")
        outcome.add(kind)
    waits = max(judge.sends.values(), default=1) - 1
    outcome.details["most sends behind a refused one"] = waits
    outcome.check(waits <= math.ceil(math.log2(BATCH)) + 1, f"{where}: one bad event was sent again {waits} times")


def _track(client: Client, serial: int, kind: str) -> str:
    given: dict[str, object] = {"content_id": f"{kind}/{serial}"}
    if kind == "large":
        given |= {f"part_{n}": "x" * 8_000 for n in range(PARTS)}
    receipt = client.track("wide", given)
    assert receipt.accepted, receipt.reason
    return receipt.event_id
