"""Where the demo's events come from: a real file read by a mapping, or simulated shoppers.

Owns the share of each device and the catalog as the data needs it. Rows that are no events are counted, never fatal.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from reflexarc.definitions import load_catalog
from reflexarc_cli.demo.stream import DAY_MS, Item, device_of
from reflexarc_cli.importing.conversion import Rejected, Skipped
from reflexarc_cli.importing.mapping import adapted_catalog
from reflexarc_cli.importing.ordered import in_time_order
from reflexarc_cli.importing.reader import choose
from reflexarc_cli.progress import Progress
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError

EVENTS_MIN: Final = 100


class Source(Protocol):
    """What the driver needs to know of the data."""

    @property
    def name(self) -> str: ...
    @property
    def simulated(self) -> bool: ...
    @property
    def reacts(self) -> bool: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def start_time(self) -> int: ...
    @property
    def cut_time(self) -> int: ...
    @property
    def days_max(self) -> int: ...
    @property
    def history_count(self) -> int: ...

    def stream_settings(self, index: int, device_count: int, folder: Path) -> dict[str, Any]:
        """What a device opens its stream with."""
        ...


def cut_text(source: Source) -> str:
    """The cut as ISO text, UTC."""
    return datetime.datetime.fromtimestamp(source.cut_time / 1000, datetime.UTC).isoformat(timespec="minutes")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file's events, in time order. days_max: days between the cut and the file's end."""

    name: str
    simulated: bool
    catalog: Catalog
    items: tuple[Item, ...]
    cut_time: int
    rejected_count: int
    skipped_count: int

    @property
    def reacts(self) -> bool:
        return False

    @property
    def start_time(self) -> int:
        return self.items[0].event_time

    @property
    def days_max(self) -> int:
        return max(1, -(-(self.items[-1].event_time + 1 - self.cut_time) // DAY_MS))

    @property
    def history_count(self) -> int:
        return sum(1 for item in self.items if item.event_time < self.cut_time)

    def stream_settings(self, index: int, device_count: int, folder: Path) -> dict[str, Any]:
        share = [item for item in self.items if device_of(item.subject, device_count) == index]
        path = folder / "stream.msgpack"
        path.write_bytes(msgspec.msgpack.encode(share))
        return {"kind": "file", "path": str(path), "cut_time": self.cut_time}


def open_source(path: Path | None, mapping: str | None, seed: int, days: int, spill_folder: Path, progress: Progress) -> Source:
    """The data to run on: simulated shoppers for None. spill_folder: for what does not fit into memory.

    Raises ReflexArcError in one line when the data cannot be used.
    """
    if path is None:
        from reflexarc_cli.demo.simulated import simulated_source

        if mapping is not None:
            raise DefinitionError("--map needs --data", hint="name the file the mapping reads")
        return simulated_source(seed, days, progress)
    file, chosen = choose(path, mapping)
    if chosen.cut_time is None:
        raise DefinitionError(f"mapping {chosen.name} has no cut", hint="write cut: DATE, where history ends and replay begins")
    catalog = adapted_catalog(load_catalog(None), chosen)
    others: list[Rejected | Skipped] = []
    items: list[Item] = []
    with progress.stage(f"Reading {file.name} by mapping {chosen.name}", 2) as step:
        for accepted in in_time_order(file, chosen, catalog.event_types, spill_folder=spill_folder, on_other=others.append):
            event = accepted.event
            items.append(
                Item(len(items), event.event_id, event.event_type, event.subject, event.event_time, dict(event.properties))
            )
            step(1)
    rejected = sum(isinstance(other, Rejected) for other in others)
    if len(items) < EVENTS_MIN:
        raise DefinitionError(f"{file} holds {len(items)} events", hint=f"the demo needs at least {EVENTS_MIN}")
    if not items[0].event_time < chosen.cut_time <= items[-1].event_time:
        raise DefinitionError(f"the cut of mapping {chosen.name} is not inside {file}", hint="write another cut")
    if rejected:
        progress.note(f"{rejected:,} rows are no events")
    return FileSource(file.parent.name if file.parent.name else file.name, chosen.simulated, catalog, tuple(items),
                      chosen.cut_time, rejected, len(others) - rejected)  # fmt: skip
