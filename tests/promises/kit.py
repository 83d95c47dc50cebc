"""What the promises share: a catalog with events that decide and events that nothing waits for, and a store to look into."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from reflexarc import Client, Config, Receipt
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.record import EventInput, LossOutput, Record
from reflexarc_edge.log import Log
from reflexarc_edge.upload import UploadBatch, upload_batch

MIB = 2**20
MEMORY = Path("/dev/shm")
ROOM_BYTES = 60 * MIB
YAML = """
include: standard
version: promises
triggers:
  offer:
    condition: event.page_url.startsWith("/act")
    on: [page_view]
    action: offer
  gold:
    condition: event.page_url.startsWith("/lives")
    on: [page_view]
    life: 1h
    action: offer
actions:
  offer: {payload: {text: hello}}
"""
INERT = "content_view"
DECIDING = "page_view"


@cache
def catalog() -> Catalog:
    """`page_view` decides, `/act` fires at once, `/lives` waits an hour for its handler; nothing waits for `content_view`."""
    return build_text(YAML)


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that is gone afterwards; in memory where there is room, since nothing here depends on a disk's pace."""
    has_room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix=f"reflexarc-{name}-", dir=MEMORY if has_room else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def config(**given: int) -> Config:
    """The promises' configuration: no time zone of the machine's."""
    return Config(offset_minutes=0, **given)  # type: ignore[arg-type]


def open_client(folder: Path, **given: int) -> Client:
    """A client of the promises' catalog, without a server."""
    return Client(folder, catalog=catalog(), config=config(**given))


def track(
    client: Client, draw: random.Random, serial: int, *, size: int = 0, subject: str | None = None, **more: object
) -> Receipt:
    """One event that carries its serial number; half of them decide, and some of those fire."""
    if draw.random() < 0.5:
        given: dict[str, object] = {"content_id": str(serial), "category": "x" * size}
        return client.track(INERT, given, subject=subject, **more)  # type: ignore[arg-type]
    url = draw.choice(("/", "/read", "/act", "/lives"))
    return client.track(DECIDING, {"page_url": url, "title": str(serial), "category": "x" * size}, subject=subject, **more)  # type: ignore[arg-type]


def serial_of(record: Record) -> int | None:
    """The serial number of a tracked event, None for another record."""
    if not isinstance(record, EventInput):
        return None
    text = record.event.properties.get("content_id") or record.event.properties.get("title")
    return int(str(text)) if text is not None and str(text).isdigit() else None


def freeze(client: Client, target: Path) -> None:
    """Copy a store as `kill -9` would leave it now: no page of it is being written meanwhile."""
    spool = client.log.spool
    with client.runtime.reading(), spool.store.lock, spool.lock:
        shutil.copytree(client.log.folder, target)


def walk(log: Log, draw: random.Random, *, acknowledge: bool = True) -> Iterator[UploadBatch]:
    """Upload batches to the end, as a server that stores everything would see them."""
    log.drain()
    log.sync_to_disk()
    while True:
        batch = upload_batch(log, draw.choice((3, 40, 500)), draw.choice((4_000, 200_000, MIB)))
        if not batch.records:
            if batch.losses:
                yield batch
            return
        yield batch
        if not acknowledge:
            return
        log.acknowledge(batch.records[-1][0])


def numbers_of(losses: list[LossOutput]) -> set[int]:
    """Every number the losses name."""
    return {number for loss in losses for number in range(loss.first_seq, loss.last_seq + 1)}
