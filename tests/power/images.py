"""Images: what a disk may hold after the power went, given the tape of what was written and synced before.

Owns the two models. Of a file's bytes: what was synced is there; what was not may be there in any version it had since, page
by page or sector by sector, or write by write. Of names: `strict`, where only a folder that was synced keeps them and each
other change may be undone by itself; `ordered`, as journalling filesystems do it, where names change in the order they
were changed in and a synced file that was made brings everything before it along. Must never know what a store means.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.power.tape import FOLDER, PAGE, SECTOR, Make, Rename, Resize, Restart, Sync, SyncFolder, Unlink, Write

WAYS: Final = ("none", "all", "prefix", "pages", "sectors", "writes")
_WAY_WEIGHTS: Final = (3, 2, 3, 3, 3, 2)

Change = Write | Resize
NameChange = Make | Rename | Unlink


@dataclass(frozen=True, slots=True)
class Image:
    """A folder's content. how: which way each file came about, for people."""

    files: dict[str, bytes]
    folders: frozenset[str]
    how: str

    def materialise(self, root: Path) -> None:
        """Put it below a folder that is empty."""
        for folder in sorted(self.folders):
            (root / folder).mkdir()
        for name, data in self.files.items():
            (root / name).write_bytes(data)


class Content:
    """The bytes of one file: as a reader sees them, as the disk surely has them, and the changes in between."""

    __slots__ = ("durable", "live", "pending")

    def __init__(self, data: bytes = b"") -> None:
        self.live = bytearray(data)
        self.durable = bytearray(data)
        self.pending: list[Change] = []

    def change(self, change: Change) -> None:
        """Something was written, or the size changed."""
        _apply(self.live, change)
        self.pending.append(change)

    def sync(self) -> None:
        """All of it is on the disk."""
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def survivor(self, rng: random.Random, way: str) -> bytes:
        """One version that may be left."""
        if way == "none" or not self.pending:
            return bytes(self.durable)
        if way == "all":
            return bytes(self.live)
        if way == "prefix":
            return self._kept(self.pending[: rng.randint(0, len(self.pending))])
        if way == "writes":
            share = rng.random()
            return self._kept([change for change in self.pending if rng.random() < share])
        return self._mixed(rng, PAGE if way == "pages" else SECTOR)

    def _kept(self, changes: Iterable[Change]) -> bytes:
        found = bytearray(self.durable)
        for change in changes:
            _apply(found, change)
        return bytes(found)

    def _mixed(self, rng: random.Random, unit: int) -> bytes:
        """Each unit, and the size, as of some moment since the last sync."""
        count = len(self.pending)
        drawn: dict[int, int] = {}
        # Most units lie close together in time or far apart: both kinds of mixture are met.
        low, high = sorted((rng.randint(0, count), rng.randint(0, count)))

        def moment(place: int) -> int:
            held = drawn.get(place)
            if held is None:
                held = drawn[place] = rng.choice((0, count, rng.randint(low, high)))
            return held

        # Sizes change in one order, each at once: a file that was cut off is whole or gone, never zero in places.
        sizes = rng.choice((0, count, rng.randint(0, count)))
        size = length = len(self.durable)
        found = bytearray(self.durable)
        for number, change in enumerate(self.pending):
            if isinstance(change, Resize):
                if number < sizes:
                    _apply(found, change)
                length = change.size
            else:
                end = change.at + len(change.data)
                if end > len(found):
                    found.extend(bytes(end - len(found)))
                for place in range(change.at // unit, -(-end // unit)):
                    if number < moment(place):
                        first, last = max(place * unit, change.at), min((place + 1) * unit, end)
                        found[first:last] = change.data[first - change.at : last - change.at]
                length = max(length, end)
            if number < sizes:
                size = length
        if size > len(found):
            found.extend(bytes(size - len(found)))
        return bytes(found[:size])


class Names:
    """Which names lead to which file: as the disk surely has them, and the changes since."""

    def __init__(self, *, is_ordered: bool) -> None:
        self.is_ordered: Final = is_ordered
        self.durable: dict[str, int] = {}
        self.pending: list[NameChange] = []

    def change(self, change: NameChange) -> None:
        """A name came, became another or went."""
        self.pending.append(change)

    def sync_folder(self, path: str) -> None:
        """The names in a folder are on the disk."""
        if self.is_ordered:
            self._settle(len(self.pending))
            return
        for change in self.pending:
            if os.path.dirname(change.path) == path:
                _rename(self.durable, change)
        self.pending = [change for change in self.pending if os.path.dirname(change.path) != path]

    def sync_file(self, file: int) -> None:
        """A file is on the disk."""
        if self.is_ordered:
            made = [at for at, change in enumerate(self.pending) if isinstance(change, Make) and change.file == file]
            self._settle(made[-1] + 1 if made else 0)

    def survivors(self, rng: random.Random) -> dict[str, int]:
        """Names that may be left, each below folders that are left."""
        way = rng.choice(("none", "all", "some"))
        if way == "all":
            kept = self.pending
        elif way == "none":
            kept = []
        elif self.is_ordered:
            kept = self.pending[: rng.randint(0, len(self.pending))]
        else:
            kept = [change for change in self.pending if rng.random() < 0.5]
        found = dict(self.durable)
        for change in kept:
            _rename(found, change)
        folders = {path for path, file in found.items() if file == FOLDER}
        return {path: file for path, file in found.items() if all(parent in folders for parent in _parents(path))}

    def _settle(self, count: int) -> None:
        for change in self.pending[:count]:
            _rename(self.durable, change)
        del self.pending[:count]


@dataclass(slots=True)
class Disk:
    """A tape played up to some moment."""

    files: dict[int, Content] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    names: dict[str, Names] = field(
        default_factory=lambda: {"strict": Names(is_ordered=False), "ordered": Names(is_ordered=True)}
    )

    def play(self, event: Any) -> None:
        """The next event. What is no event of a disk changes nothing."""
        if isinstance(event, (Write, Resize)):
            self.files[event.file].change(event)
        elif isinstance(event, Sync):
            self.files[event.file].sync()
            for names in self.names.values():
                names.sync_file(event.file)
        elif isinstance(event, (Make, Rename, Unlink)):
            if isinstance(event, Make) and event.file != FOLDER:
                self.files.setdefault(event.file, Content())
            _rename(self.live, event)
            for names in self.names.values():
                names.change(event)
        elif isinstance(event, SyncFolder):
            for names in self.names.values():
                names.sync_folder(event.path)
        elif isinstance(event, Restart):
            self._restart(event)

    def now(self) -> Image:
        """What a reader sees."""
        files = {path: bytes(self.files[number].live) for path, number in self.live.items() if number != FOLDER}
        return Image(files, frozenset(path for path, number in self.live.items() if number == FOLDER), "as it was")

    def survivor(self, rng: random.Random, model: str) -> Image:
        """What may be left when the power goes now. model: `strict` or `ordered`."""
        found = self.names[model].survivors(rng)
        common = rng.choices(WAYS, _WAY_WEIGHTS)[0] if rng.random() < 0.5 else ""
        files: dict[str, bytes] = {}
        how = [model, *(f"{path}: no name" for path in sorted(self.live.keys() - found.keys()))]
        for path, number in found.items():
            if number != FOLDER:
                way = common or rng.choices(WAYS, _WAY_WEIGHTS)[0]
                files[path] = self.files[number].survivor(rng, way)
                if self.files[number].pending:
                    how.append(f"{path}: {way} of {len(self.files[number].pending)}")
        return Image(files, frozenset(path for path, number in found.items() if number == FOLDER), ", ".join(how))

    def settle(self) -> None:
        """Everything is on the disk."""
        for content in self.files.values():
            content.sync()
        for names in self.names.values():
            names.durable, names.pending = dict(self.live), []

    def _restart(self, event: Restart) -> None:
        numbers = {path: event_number for event_number, path in enumerate(sorted(event.files), start=restart_base(self.files))}
        self.files = {number: Content(event.files[path]) for path, number in numbers.items()}
        self.live = {**dict.fromkeys(event.folders, FOLDER), **numbers}
        self.settle()


def restart_base(files: dict[int, Content]) -> int:
    """A number no file had before."""
    return max(files, default=0) + 1


def _apply(data: bytearray, change: Change) -> None:
    if isinstance(change, Resize):
        if change.size < len(data):
            del data[change.size :]
        else:
            data.extend(bytes(change.size - len(data)))
        return
    end = change.at + len(change.data)
    if change.at > len(data):
        data.extend(bytes(change.at - len(data)))
    data[change.at : end] = change.data


def _rename(names: dict[str, int], change: NameChange) -> None:
    if isinstance(change, Unlink):
        if names.get(change.path) == change.file:
            del names[change.path]
        return
    if isinstance(change, Rename) and names.get(change.source) == change.file:
        del names[change.source]
    names[change.path] = change.file


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
