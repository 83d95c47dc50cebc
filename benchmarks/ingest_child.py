"""One variant of `ingest` in a process of its own: `python -m benchmarks.ingest_child '{"who": ..., "batches": ...}'`.

Every variant gets the same events in batches of 1,000, each already in the form that its interface takes (a request's
bytes, rows for SQLite, rows or a block for COPY), and waits for one batch to be durable before it sends the next.
Owns the rows: the columns that our server keeps of an event. Every round begins with a batch that is sent twice: a
variant that keeps it twice breaks the run.
"""

import json
import random
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.workload import properties
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, Moment
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.wire import INSTALLATION_KEY, event_to_proto, record_to_proto

BATCH = 1_000
SUBJECTS = 20_000
T0 = 1_700_000_000_000
COLUMNS = (
    "kind", "installation", "incarnation", "seq", "subject", "event_type", "event_time", "receive_time", "record_id", "body",
)  # fmt: skip
Send = Callable[[Any], int]
"""Makes a batch durable; how many of its events were new."""


def main() -> None:
    """Send the batches; print one JSON object."""
    given = json.loads(sys.argv[1])
    prepare, send, close = VARIANTS[given["who"]](given)
    batches = [prepare(batch) for batch in _batches(given["round"], given["batches"] + 1)]
    first = send(batches[0])
    again = send(batches[0])
    if (first, again) != (BATCH, 0):
        raise RuntimeError(f"{given['who']} kept {first} of a batch and {again} of the same one sent again")
    taken_ns = []
    begun = time.perf_counter()
    for batch in batches[1:]:
        start = time.perf_counter_ns()
        new = send(batch)
        taken_ns.append(time.perf_counter_ns() - start)
        if new != BATCH:
            raise RuntimeError(f"{given['who']} kept {new} of {BATCH} new events")
    rate = given["batches"] * BATCH / (time.perf_counter() - begun)
    close()
    print(json.dumps({"ns": taken_ns, "rate": rate}), flush=True)


def _batches(round_number: int, count: int) -> Iterator[list[tuple[int, Event]]]:
    """(number, event), the same for every variant of a round. Ids are ordered by time, as the SDK makes them."""
    draw = random.Random(round_number)
    for start in range(0, count * BATCH, BATCH):
        yield [(number + 1, _event(number, round_number, draw)) for number in range(start, start + BATCH)]


def _event(number: int, round_number: int, draw: random.Random) -> Event:
    moment = T0 + round_number * 86_400_000 + number
    context = {"session_id": f"{draw.getrandbits(64):016x}", "session_step": number % 40, "screen": "1920x1080", "online": True}
    return Event(
        f"{moment:012x}7{draw.getrandbits(76):019x}", "page_view", f"known:{draw.randrange(SUBJECTS)}", moment,
        properties(number), context,  # type: ignore[arg-type]
    )  # fmt: skip


def _row(number: int, event: Event, installation: str) -> tuple[Any, ...]:
    body = record_to_proto(number, EventInput(Moment(event.event_time, True), event), number).SerializeToString()
    return (
        1, installation, "one", number, event.subject, event.event_type, event.event_time, event.event_time, event.event_id, body,
    )  # fmt: skip


# -- the variants ---------------------------------------------------------------------------------------------------


def _ours(given: dict[str, Any], method: str) -> tuple[Callable[[Any], bytes], Send, Callable[[], None]]:
    import grpc

    channel = grpc.insecure_channel(f"127.0.0.1:{given['port']}")
    answer_of: Any = messages.PushResponse if method == "Push" else messages.TrackResponse
    call: Any = channel.unary_unary(
        f"/reflexarc.v1.EventService/{method}", request_serializer=None, response_deserializer=answer_of.FromString
    )
    metadata = ((INSTALLATION_KEY, f"device-{given['round']}"),)

    def prepare(batch: Sequence[tuple[int, Event]]) -> bytes:
        if method == "Track":
            return messages.TrackRequest(events=[event_to_proto(event) for _, event in batch]).SerializeToString()
        records = [record_to_proto(n, EventInput(Moment(event.event_time, True), event), n) for n, event in batch]
        return messages.PushRequest(incarnation="one", records=records, previous_check=batch[0][0] - 1).SerializeToString()

    def send(request: bytes) -> int:
        answer = call(request, metadata=metadata, timeout=30)
        return sum(verdict.code == messages.VERDICT_CODE_STORED for verdict in answer.verdicts)

    return prepare, send, channel.close


def _sqlite(given: dict[str, Any]) -> tuple[Callable[[Any], Any], Send, Callable[[], None]]:
    db = sqlite3.connect(Path(given["folder"]) / f"bare-{given['round']}.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute(
        "CREATE TABLE events (kind INTEGER, installation TEXT, incarnation TEXT, seq INTEGER, subject TEXT, event_type TEXT,"
        " event_time INTEGER, receive_time INTEGER, record_id TEXT NOT NULL UNIQUE, body BLOB)"
    )
    insert = f"INSERT OR IGNORE INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

    def prepare(batch: Sequence[tuple[int, Event]]) -> list[tuple[Any, ...]]:
        return [_row(number, event, "device") for number, event in batch]

    def send(rows: list[tuple[Any, ...]]) -> int:
        db.execute("BEGIN IMMEDIATE")
        new = db.executemany(insert, rows).rowcount
        db.execute("COMMIT")
        return new

    return prepare, send, db.close


def _postgres(given: dict[str, Any], *, block: bool) -> tuple[Callable[[Any], Any], Send, Callable[[], None]]:
    """COPY into a temporary table that empties itself, then what is new into the events. block: COPY gets one block of bytes
    made beforehand, in place of rows that psycopg encodes in the call."""
    import psycopg

    db = psycopg.connect(given["postgres"])
    name = f"events_{given['round']}_{'block' if block else 'rows'}"
    columns = (
        "kind int NOT NULL, installation text NOT NULL, incarnation text NOT NULL, seq bigint NOT NULL,"
        " subject text NOT NULL, event_type text NOT NULL, event_time bigint NOT NULL, receive_time bigint NOT NULL,"
        " record_id text{}, body bytea NOT NULL"
    )
    db.execute(f"CREATE TABLE {name} ({columns.format(' PRIMARY KEY')})")
    db.execute(f"CREATE TEMP TABLE staging ({columns.format('')}) ON COMMIT DELETE ROWS")
    for setting in ("fsync", "synchronous_commit"):
        found = db.execute(f"SHOW {setting}").fetchone()
        if found != ("on",):
            raise RuntimeError(f"PostgreSQL runs with {setting} {found}")
    db.commit()
    types = ("int4", "text", "text", "int8", "text", "text", "int8", "int8", "text", "bytea")

    def prepare(batch: Sequence[tuple[int, Event]]) -> Any:
        rows = [_row(number, event, "device") for number, event in batch]
        return _copy_block(rows) if block else rows

    def send(given_rows: Any) -> int:
        with db.cursor() as cursor:
            with cursor.copy("COPY staging FROM STDIN (FORMAT BINARY)") as copy:
                if block:
                    copy.write(given_rows)
                else:
                    copy.set_types(types)
                    for row in given_rows:
                        copy.write_row(row)
            cursor.execute(f"INSERT INTO {name} SELECT * FROM staging ON CONFLICT (record_id) DO NOTHING", prepare=True)
            new: int = cursor.rowcount
        db.commit()
        return new

    return prepare, send, db.close


def _copy_block(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """PostgreSQL's binary COPY form (its manual, COPY, "Binary Format"): a header, rows of counted fields, an end."""
    parts = [b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)]
    for row in rows:
        parts.append(struct.pack("!h", len(row)))
        for place, value in enumerate(row):
            if isinstance(value, int):
                parts.append(struct.pack("!ii", 4, value) if place == 0 else struct.pack("!iq", 8, value))
            else:
                content = value.encode() if isinstance(value, str) else value
                parts.append(struct.pack("!i", len(content)) + content)
    return b"".join((*parts, struct.pack("!h", -1)))


VARIANTS: dict[str, Callable[[dict[str, Any]], tuple[Callable[[Any], Any], Send, Callable[[], None]]]] = {
    "reflexarc, Push": lambda given: _ours(given, "Push"),
    "reflexarc, Track": lambda given: _ours(given, "Track"),
    "sqlite": _sqlite,
    "postgres, rows": lambda given: _postgres(given, block=False),
    "postgres, block": lambda given: _postgres(given, block=True),
}

if __name__ == "__main__":
    main()
