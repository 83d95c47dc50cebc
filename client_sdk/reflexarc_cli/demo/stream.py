"""What a demo device captures: its share of a file's events, or of the simulated shoppers' days.

Owns the order and the positions, which are the same however often a device is started again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from reflexarc_core.decision import Decision

DAY_MS: Final = 86_400_000


class Item(NamedTuple):
    """One event to capture, and its position in the device's stream."""

    position: int
    event_id: str
    event_type: str
    subject: str
    event_time: int
    properties: Mapping[str, Any]


class Stream(Protocol):
    """A device's events: everything before the cut, then day by day."""

    @property
    def reacts(self) -> bool:
        """Whether the people in it respond to actions."""
        ...

    def history(self, after: int) -> Iterator[Item]:
        """Events before the cut, behind position `after`."""
        ...

    def day(self, index: int, treated: Mapping[str, Mapping[str, int]], after: int) -> Iterator[Item]:
        """Events of one day after the cut, behind position `after`. treated: trigger -> subject -> first acted on (ms)."""
        ...

    def day_start(self, index: int) -> int:
        """When that day begins, ms."""
        ...

    def reaction(self, decision: Decision) -> list[tuple[str, int]]:
        """(outcome kind, ms after the decision) of a person who was shown an action."""
        ...


def device_of(subject: str, device_count: int) -> int:
    """The device a subject uses."""
    return zlib.crc32(subject.encode()) % device_count


@dataclass(frozen=True, slots=True)
class FileStream:
    """A recorded log: nobody saw an action, so nobody reacts."""

    items: tuple[Item, ...]
    cut_time: int
    reacts: bool = False

    def history(self, after: int) -> Iterator[Item]:
        return (item for item in self.items if item.position > after and item.event_time < self.cut_time)

    def day(self, index: int, treated: Mapping[str, Mapping[str, int]], after: int) -> Iterator[Item]:
        start = self.day_start(index)
        return (item for item in self.items if item.position > after and start <= item.event_time < start + DAY_MS)

    def day_start(self, index: int) -> int:
        return self.cut_time + index * DAY_MS

    def reaction(self, decision: Decision) -> list[tuple[str, int]]:
        return []


def open_stream(settings: Mapping[str, Any]) -> Stream:
    """The stream a device was given by the driver."""
    if settings["kind"] == "file":
        items = msgspec.msgpack.decode(Path(settings["path"]).read_bytes(), type=tuple[Item, ...])
        return FileStream(items, settings["cut_time"])
    from reflexarc_cli.demo.simulated import SimulatedStream

    return SimulatedStream(settings)
