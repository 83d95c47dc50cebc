"""A child that captures until it is killed: by its host at a random moment, or by itself inside a call of the product.

Owns the hooks: each wraps a method of the product in this process only, and the n-th call of it ends in SIGKILL. After each
receipt the event's id goes into a ledger with one write, so that what was acknowledged is known whatever happens next.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from reflexarc import Client, Config
from reflexarc_core.catalog import Catalog
from reflexarc_core.record import DecisionOutput, EventInput
from reflexarc_edge import cursor, journal, log, repair, spool, store, upkeep
from reflexarc_edge.owed import Owed
from reflexarc_edge.upload import upload_batch
from tests.promises import kit

EVENTS_MAX: Final = 300
ROOM_BYTES: Final = kit.MIB
ROOMY_BYTES: Final = 16 * kit.MIB


class Counter:
    """Dies at the n-th call."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, die: Callable[[], None], *, after: bool, when: Callable[..., bool] | None = None) -> None:
    """Die before or after calls of a function of the product."""
    inner = getattr(owner, name)

    def outer(*given: Any, **named: Any) -> Any:
        counts = when is None or when(*given, **named)
        if counts and not after:
            die()
        result = inner(*given, **named)
        if counts and after:
            die()
        return result

    setattr(owner, name, outer)


def at_commit(die: Callable[[], None], *, after: bool) -> None:
    """Die before or after SQLite commits."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *given: Any) -> Any:
            if sql != "COMMIT":
                return super().execute(sql, *given)
            if not after:
                die()
            done = super().execute(sql, *given)
            if after:
                die()
            return done

    inner = sqlite3.connect
    sqlite3.connect = lambda path, **named: inner(path, factory=Connection, **named)  # type: ignore[assignment]


def at_header(die: Callable[[], None]) -> None:
    """Die between the payload of a frame and its header."""

    class Header:
        def __init__(self, real: Any) -> None:
            self._real = real
            self.size = real.size

        def pack_into(self, *given: Any) -> None:
            die()
            self._real.pack_into(*given)

        def unpack_from(self, *given: Any) -> Any:
            return self._real.unpack_from(*given)

    journal._HEADER = Header(journal._HEADER)  # type: ignore[misc, assignment]


def of_snapshot(_: object, name: str, *__: object) -> bool:
    return name == "snapshot"


HOOKS: Final[dict[str, tuple[int, Callable[[Callable[[], None]], None]]]] = {
    "commit_before": (40, lambda die: at_commit(die, after=False)),
    "commit_after": (40, lambda die: at_commit(die, after=True)),
    "wipe_before": (3, lambda die: around(journal.Journal, "_wipe", die, after=False)),
    "wipe_after": (3, lambda die: around(journal.Journal, "_wipe", die, after=True)),
    "header": (400, at_header),
    "insert": (20, lambda die: around(store.Store, "insert", die, after=True)),
    "snapshot_middle": (6, lambda die: around(store.Store, "_put", die, after=False, when=of_snapshot)),
    "snapshot_written": (6, lambda die: around(store.Store, "_put", die, after=True, when=of_snapshot)),
    "snapshot_kept": (6, lambda die: around(log.Log, "keep_snapshot", die, after=True)),
    "ack_before": (5, lambda die: around(cursor.Cursor, "_keep", die, after=False)),
    "ack_after": (5, lambda die: around(cursor.Cursor, "_keep", die, after=True)),
    "cut": (3, lambda die: around(upkeep.Upkeep, "_delete", die, after=True)),
    "adopted": (200, lambda die: around(spool.Spool, "take", die, after=True)),
    "handed": (20, lambda die: around(Owed, "handed", die, after=True)),
}
ROOM_HOOKS: Final[dict[str, tuple[int, Callable[[Callable[[], None]], None]]]] = {
    "room_lose": (20, lambda die: around(upkeep.Upkeep, "_lose", die, after=True)),
    "room_evict": (6, lambda die: around(upkeep.Upkeep, "_evict", die, after=True)),
    "room_checkpoint": (6, lambda die: around(store.Store, "checkpoint", die, after=False)),
    "room_back": (3, lambda die: around(upkeep.Upkeep, "give_back", die, after=True)),
}
REPAIR_HOOKS: Final[dict[str, tuple[int, Callable[[Callable[[], None]], None]]]] = {
    "repair_filled": (1, lambda die: around(repair, "_fill", die, after=True)),
    "repair_gaps": (1, lambda die: around(repair, "explain_gaps", die, after=True)),
    "repair_aside_before": (1, lambda die: around(repair, "set_aside", die, after=False)),
    "repair_aside_after": (1, lambda die: around(repair, "set_aside", die, after=True)),
    "repair_moving": (6, lambda die: around(os, "replace", die, after=True)),
    "repair_finishing": (2, lambda die: around(repair, "_finish", die, after=False)),
    "repair_finished": (2, lambda die: around(repair, "_finish", die, after=True)),
    "repair_commit": (8, lambda die: at_commit(die, after=True)),
}
ALL_HOOKS: Final = {**HOOKS, **ROOM_HOOKS, **REPAIR_HOOKS}


def run_child(order: dict[str, Any]) -> None:
    """Open the store, capture, and end in order when nobody killed us."""
    if order["hook"]:
        ALL_HOOKS[order["hook"]][1](Counter(order["nth"]))
    place = Path(order["place"])
    ledger = os.open(place / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    is_roomy = order["kind"] != "room"
    config = Config(offset_minutes=0, store_bytes_max=ROOMY_BYTES if is_roomy else ROOM_BYTES, history_rows=300)
    client = Client(place / "store", catalog=Catalog.from_bytes((place / "catalog.json").read_bytes()), config=config)
    if is_roomy and order["seed"] % 2:
        for trigger in ("offer", "gold"):  # what `gold` owes is offered again after a restart, unless it was handed over
            client.on(trigger, lambda decision: os.write(ledger, f"\nH {decision.decision_id} . .\n".encode()))
    threads = [
        threading.Thread(target=capture, args=(client, ledger, order, first))
        for first in range(1, order["threads"])
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    capture(client, ledger, order, 0)
    for thread in threads:
        thread.join()
    client.close()


def capture(client: Client, ledger: int, order: dict[str, Any], first: int) -> None:
    """Track, and do now and then what the client's threads do by themselves in a longer life."""
    draw = random.Random(order["seed"] * 10 + first)
    is_room = order["kind"] == "room"
    for i in range(EVENTS_MAX):
        serial = order["serial"] + first * EVENTS_MAX + i
        durability = "power" if draw.random() < 0.1 else "process"
        size = draw.choice((0, 200, 8_000)) if is_room else draw.choice((0, 0, 0, 50, 1_500))
        before = client.log.last_seq
        own_id = f"own-{serial}" if draw.random() < 0.3 else None
        receipt = kit.track(
            client, draw, serial, size=size, subject="known:1", durability=durability, priority=draw.choice((0, 1, 2)),
            event_id=own_id,
        )  # fmt: skip
        if receipt.accepted:
            if durability == "power" and draw.random() < 0.3:
                assert receipt.durable is not None
                receipt.durable.result(10)
            os.write(ledger, f"\nA {receipt.event_id} {serial} {before + 1}\n".encode())
        elif not (is_room and receipt.reason.startswith("storage")):
            raise AssertionError(receipt.reason)
        chance = draw.random()
        if chance < 0.03:
            client.log.drain()
        elif chance < 0.04:
            client.device.keep_house()
        elif chance < 0.06:
            client.runtime.keep_snapshot(force=True)
        elif chance < 0.07 and order["kind"] == "plain":
            exchange(client, Path(order["place"]))


def exchange(client: Client, place: Path) -> None:
    """What the uplink does: send what was fsynced, and acknowledge what the server wrote down."""
    client.log.sync_to_disk()
    batch = upload_batch(client.log, 200, 100_000)
    lines = []
    for seq, _, record in batch.records:
        if isinstance(record, EventInput):
            lines.append(f"E {record.event.event_id} {kit.serial_of(record)} {seq}")
        elif isinstance(record, DecisionOutput):
            lines.append(f"D {record.decision.decision_id} {record.decision.record} {seq} {record.decision.cause_id}")
    server = os.open(place / "server", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(server, ("\n" + "\n".join(lines) + "\n").encode())
    os.close(server)
    if batch.records:
        client.log.acknowledge(batch.records[-1][0])
