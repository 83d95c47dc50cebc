"""Simulated shoppers as a source and as a device's stream. SIMULATED: nobody is real, and actions have an effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc.definitions import load_catalog
from reflexarc_cli.demo.stream import Item, device_of
from reflexarc_cli.importing.mapping import adapted_catalog, load_mapping
from reflexarc_cli.progress import Progress
from reflexarc_cli.shoppers import DAY_MS, HISTORY_DAYS, SHOPPER_COUNT, START_TIME, ShopperWorld, event_of
from reflexarc_cli.shoppers.world import Row
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision

DAY_BASE: Final = 10_000_000
ROWS_PER_DAY_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """The invented shop: HISTORY_DAYS before the cut, `days` after it."""

    seed: int
    days: int
    catalog: Catalog
    history_count: int
    name: str = "simulated shoppers"
    simulated: bool = True
    reacts: bool = True

    @property
    def start_time(self) -> int:
        return START_TIME

    @property
    def cut_time(self) -> int:
        return START_TIME + HISTORY_DAYS * DAY_MS

    @property
    def days_max(self) -> int:
        return self.days

    def stream_settings(self, index: int, device_count: int, folder: Path) -> dict[str, Any]:
        return {"kind": "simulated", "seed": self.seed, "days": self.days, "index": index, "device_count": device_count}


class SimulatedStream:
    """One device's shoppers. Who was acted on changes the days after it."""

    reacts = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        index, device_count = settings["index"], settings["device_count"]
        self._world = ShopperWorld(
            settings["seed"], SHOPPER_COUNT, HISTORY_DAYS, settings["days"],
            owns=lambda subject: device_of(subject, device_count) == index,
        )  # fmt: skip

    def history(self, after: int) -> Iterator[Item]:
        return (_item(position, row) for position, row in enumerate(self._world.history()) if position > after)

    def day(self, index: int, treated: Mapping[str, Mapping[str, int]], after: int) -> Iterator[Item]:
        base = DAY_BASE + index * ROWS_PER_DAY_MAX
        rows = enumerate(self._world.day(index, treated), start=base)
        return (_item(position, row) for position, row in rows if position > after)

    def day_start(self, index: int) -> int:
        return self._world.cut_time + index * DAY_MS

    def reaction(self, decision: Decision) -> list[tuple[str, int]]:
        return self._world.reaction(decision)


def simulated_source(seed: int, days: int, progress: Progress) -> SimulatedSource:
    """The shop of this seed."""
    catalog = adapted_catalog(load_catalog(None), load_mapping("simulated_shoppers"))
    with progress.stage("Inventing shoppers (simulated)", 2) as step:
        count = 0
        for _ in ShopperWorld(seed, SHOPPER_COUNT, HISTORY_DAYS, days).history():
            count += 1
        step(count)
    return SimulatedSource(seed, days, catalog, count)


def _item(position: int, row: Row) -> Item:
    event = event_of(row)
    return Item(position, event.event_id, event.event_type, event.subject, event.event_time, event.properties)
