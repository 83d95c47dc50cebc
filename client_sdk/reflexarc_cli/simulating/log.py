"""The log that is simulated over: a device's store, what `reflexarc store export` wrote of one, or plain events as JSON lines.

Owns which of the three a place is, and the words for a line that is none. Reads only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from reflexarc_cli.store.exporting import each_record
from reflexarc_cli.store.look import Look
from reflexarc_cli.store.place import check_seal, identity_beside, seal_of, store_folder
from reflexarc_cli.store.walk import NAMES
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import InvalidEventError, StorageError
from reflexarc_core.event import Event, subject_parts
from reflexarc_core.record import EventInput, Moment, Record

_BY_NAME: Final = {name: kind for kind, name in NAMES.items()}


def read_log(place: Path, key_file: Path | None, catalog: Catalog) -> Iterable[Record]:
    """Every record of the log, oldest first. catalog: declares plain events.

    Raises StorageError for what is no log, naming the line where it is one of a file.
    """
    return _of_store(place, key_file) if place.is_dir() else _of_file(place, catalog)


def device_of(place: Path) -> str:
    """The installation whose store it is: it is part of what a decision's id is made of. Empty for a file."""
    identity = identity_beside(place) if place.is_dir() else None
    return "" if identity is None else identity.installation


def _of_store(place: Path, key_file: Path | None) -> list[Record]:
    folder = store_folder(place)
    seal = seal_of(key_file)
    with Look(folder) as look:
        check_seal(folder, look.kept_key(), seal)
    records: list[Record] = []
    found = each_record(folder, seal, lambda _, record: records.append(record))
    if found.unreadable_count:
        raise StorageError(
            f"{found.unreadable_count} records of {place} cannot be read",
            hint="reflexarc store verify says which, repair mends it",
        )
    return records


def _of_file(place: Path, catalog: Catalog) -> Iterator[Record]:
    try:
        with place.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _record(f"{place}:{number}", number, line, catalog)
    except UnicodeDecodeError:
        raise StorageError(f"{place} is not UTF-8 text", hint="give a store's folder, or JSON lines") from None
    except OSError as error:
        raise StorageError(f"{place} cannot be read: {error.strerror}") from None


def _record(where: str, number: int, line: str, catalog: Catalog) -> Record:
    try:
        read = json.loads(line)
    except ValueError as error:
        raise StorageError(f"{where}: no JSON: {error}", hint="one object a line") from None
    if not isinstance(read, dict):
        raise StorageError(f"{where}: {type(read).__name__}, not an object", hint="one object a line")
    kind = read.pop("kind", "")
    if kind == "":
        return _plain_event(where, number, read, catalog)
    read.pop("seq", None)
    if kind not in _BY_NAME:
        raise StorageError(f"{where}: no record is of kind {kind!r}", hint=f"one of {', '.join(_BY_NAME)}")
    try:
        record: Record = msgspec.convert(read, _BY_NAME[kind])
    except msgspec.ValidationError as error:
        raise StorageError(f"{where}: {error}", hint="write it with `reflexarc store export`") from None
    return record


def _plain_event(where: str, number: int, read: dict[str, Any], catalog: Catalog) -> EventInput:
    """`{"event_type": ..., "subject": ..., "event_time": ..., "properties": {...}}`; the rest is optional."""
    name, subject, time = read.get("event_type"), read.get("subject"), read.get("event_time")
    if not isinstance(name, str) or not isinstance(subject, str) or type(time) is not int:
        raise StorageError(
            f"{where}: no event", hint='{"event_type": "page_view", "subject": "known:1", "event_time": 1700000000000}'
        )
    if name not in catalog.event_types:
        raise StorageError(f"{where}: the catalog has no event type {name!r}", hint="declare it, or leave the line out")
    try:
        subject_parts(subject)
        properties, _ = catalog.event_types[name].conform(read.get("properties") or {})
    except InvalidEventError as error:
        raise StorageError(f"{where}: {error.message}", hint=error.hint) from None
    event_id = str(read.get("event_id") or hashlib.sha256(f"{number} {name} {subject} {time}".encode()).hexdigest()[:32])
    event = Event(event_id, name, subject, time, properties, dict(read.get("context") or {}))
    return EventInput(Moment(time, offset_minutes=int(event.context.get("offset_minutes", 0) or 0)), event)  # type: ignore[arg-type]
