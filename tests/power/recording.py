"""Recording: everything a store does to its folder, in order, as a tape that can be played to any moment.

Owns the events of a tape and the three places they are taken from: SQLite's writes and syncs through a VFS of its own, the
pages of mapped files (compared whenever anything else happens, so that every state between two events is known), and the
calls of `os` that make, move, delete, write and sync. Must never decide what survives a power cut: `images` does.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import random
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Final
from unittest import mock

import apsw

from tests.power.tape import FOLDER, SECTOR, Make, Note, Rename, Resize, Sync, SyncFolder, Unlink, Write
from tests.power.vfs import SYSTEM, Connection, RecordingVfs

_SALVAGE: Final = ".salvage"
"""In the names of copies that a repair reads and deletes: like SQLite's shared memory, nobody reads them after a power cut."""


class Recorder:
    """Records what happens below `root` while it is entered. What is there before must come by a tape (`go_on`)."""

    def __init__(self, root: Path, seed: str) -> None:
        self.root = root.resolve()
        self.tape: list[Any] = []
        self.on_store_write: Callable[[], None] = _nothing
        """Called in the middle of whatever SQLite does, as if another thread had its turn."""
        self.live: Callable[[int], bytes] = lambda number: b""
        """What a reader sees of a file, by what is on the tape."""
        self.names: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._descriptors: dict[int, tuple[str, int]] = {}
        self._maps: list[RecordingMap] = []
        self.generation = 0
        self._random = random.Random(seed)
        self._stack = contextlib.ExitStack()
        self._vfs = RecordingVfs(f"recording-{id(self)}", self)

    # -- the tape -------------------------------------------------------------------------------------------------

    def note(self, kind: str, value: Any = None) -> None:
        """Put a note on the tape."""
        self.sweep()
        self.tape.append(Note(kind, value))

    def put(self, event: Any) -> None:
        """Put an event on the tape, behind what mapped pages saw before it."""
        self.sweep()
        self.tape.append(event)

    def sweep(self) -> None:
        """Bring what was written into mapped pages onto the tape."""
        for held in self._maps:
            self.tape.extend(held.changes())

    def let_go(self) -> None:
        """Whoever used the files so far is gone: nothing that its handles do counts any more."""
        self.sweep()
        self.generation += 1
        self._maps.clear()
        self._descriptors.clear()
        self.root = _NOWHERE

    def go_on(self, root: Path, names: dict[str, int]) -> None:
        """What is below `root` now goes on."""
        self.root = root.resolve()
        self.names = dict(names)
        self._numbers = itertools.count(max(names.values(), default=0) + 1_000_000 * self.generation)

    def connect(self, path: str) -> Connection:
        """A connection whose file operations are recorded, for `Store(connect=...)`."""
        return Connection(apsw.Connection(path, vfs=self._vfs.name))

    # -- for the three sources ------------------------------------------------------------------------------------

    def relative(self, path: Any) -> str | None:
        """A path as a tape names it; None outside the root, or for a file nobody reads again."""
        if not isinstance(path, (str, Path)):
            return None
        text = os.path.abspath(path)
        if not text.startswith(f"{self.root}{os.sep}") or text.endswith("-shm") or _SALVAGE in text:
            return None
        return text[len(str(self.root)) + 1 :]

    def number_of(self, path: str) -> int:
        """The file of a name; one that came by other ways is taken in as it lies there."""
        number = self.names.get(path)
        return self.take_in(path) if number is None else number

    def take_in(self, path: str) -> int:
        """The file of a name, with whatever was written into it by ways that are not watched (`open`, say)."""
        number = self.names[path] if path in self.names else self.made(path)
        self.sweep()
        data = (self.root / path).read_bytes() if number != FOLDER else b""
        if data != self.live(number):
            self.put(Resize(number, 0))
            self.put(Write(number, 0, data))
        return number

    def made(self, path: str) -> int:
        """A file that was not there before."""
        number = self.names[path] = next(self._numbers)
        self.put(Make(path, number))
        return number

    def unlinked(self, path: str) -> None:
        """A file that is gone."""
        number = self.names.pop(path, None)
        if number is not None:
            self.put(Unlink(path, number))

    def randomness(self, count: int) -> bytes:
        """The same on every run: a tape of one seed is one tape."""
        return self._random.randbytes(count)

    # -- os -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Recorder:
        for name in _CALLS:
            real = getattr(os, name)
            self._stack.enter_context(mock.patch.object(os, name, _bound(getattr(self, f"_{name}"), real)))
        self._stack.enter_context(mock.patch.object(mmap, "mmap", self._map))
        self._stack.enter_context(mock.patch.object(secrets, "token_hex", lambda count=32: self.randomness(count).hex()))
        # SQLite's own numbers too, which it draws from the default VFS when it has none.
        apsw.set_default_vfs(self._vfs.name)
        apsw.randomness(0)
        self._stack.callback(apsw.randomness, 0)
        self._stack.callback(apsw.set_default_vfs, SYSTEM)
        # The one connection a store opens by itself: the migration of an older one.
        import sqlite_utils.db

        def connect(path: str, *_: Any, **__: Any) -> Connection:
            return self.connect(path)

        fake = SimpleNamespace(**{**vars(sqlite3), "connect": connect})
        self._stack.enter_context(mock.patch.object(sqlite_utils.db, "sqlite3", fake))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
        self._vfs.unregister()

    def _map(self, descriptor: int, length: int, *args: Any, **options: Any) -> Any:
        held = self._descriptors.get(descriptor)
        if held is None:
            return _REAL_MMAP(descriptor, length, *args, **options)
        made = RecordingMap(descriptor, length, *args, **options)
        made.begin(self, held[1])
        self._maps.append(made)
        return made

    def forget_map(self, held: RecordingMap) -> None:
        """A mapped file that is no longer mapped."""
        self._maps = [other for other in self._maps if other is not held]

    def _open(self, real: Any, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        name = self.relative(path)
        existed = os.path.lexists(path)
        descriptor: int = real(path, flags, mode, **options)
        if name is not None or Path(path).resolve() == self.root:
            is_folder = os.path.isdir(path)
            number = FOLDER if is_folder else self.number_of(name or "") if existed else self.made(name or "")
            self._descriptors[descriptor] = (name or "", number)
            if existed and flags & os.O_TRUNC and not is_folder:
                self.put(Resize(number, 0))
        return descriptor

    def _close(self, real: Any, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        real(descriptor)

    def _write(self, real: Any, descriptor: int, data: Any) -> int:
        held = self._descriptors.get(descriptor)
        at = os.lseek(descriptor, 0, os.SEEK_CUR) if held else 0
        count: int = real(descriptor, data)
        if held:
            self.put(Write(held[1], at, bytes(data)[:count]))
        return count

    def _pwrite(self, real: Any, descriptor: int, data: Any, at: int) -> int:
        count: int = real(descriptor, data, at)
        if descriptor in self._descriptors:
            self.put(Write(self._descriptors[descriptor][1], at, bytes(data)[:count]))
        return count

    def _ftruncate(self, real: Any, descriptor: int, size: int) -> None:
        real(descriptor, size)
        if descriptor in self._descriptors:
            self.put(Resize(self._descriptors[descriptor][1], size))

    def _posix_fallocate(self, real: Any, descriptor: int, at: int, length: int) -> None:
        held = os.fstat(descriptor).st_size
        real(descriptor, at, length)
        if descriptor in self._descriptors and at + length > held:
            self.put(Resize(self._descriptors[descriptor][1], at + length))

    def _fsync(self, real: Any, descriptor: int) -> None:
        # The real one would only cost time: what is promised is what is on the tape.
        held = self._descriptors.get(descriptor) or self._known(descriptor)
        if held is None:
            real(descriptor)
        else:
            self.put(SyncFolder(held[0]) if held[1] == FOLDER else Sync(held[1]))

    _fdatasync = _fsync

    def _replace(self, real: Any, source: Any, target: Any, **options: Any) -> None:
        was, becomes = self.relative(source), self.relative(target)
        number = None if was is None else self.take_in(was)
        real(source, target, **options)
        if was is not None and becomes is not None and number is not None:
            self.names.pop(was, None)
            self.names[becomes] = number
            self.put(Rename(becomes, number, was))

    _rename = _replace

    def _unlink(self, real: Any, path: Any, **options: Any) -> None:
        real(path, **options)
        name = self.relative(path)
        if name is not None:
            self.unlinked(name)

    _remove = _unlink

    def _mkdir(self, real: Any, path: Any, mode: int = 0o777, **options: Any) -> None:
        real(path, mode, **options)
        name = self.relative(path)
        if name is not None:
            self.names[name] = FOLDER
            self.put(Make(name, FOLDER))

    def _rmdir(self, real: Any, path: Any, **options: Any) -> None:
        real(path, **options)
        name = self.relative(path)
        if name is not None:
            self.unlinked(name)

    def _known(self, descriptor: int) -> tuple[str, int] | None:
        """The file below the root that a descriptor of unknown origin belongs to."""
        held = os.fstat(descriptor)
        for path in self.root.rglob("*"):
            with contextlib.suppress(OSError):
                if os.path.samestat(held, path.stat()) and (name := self.relative(path)) is not None:
                    return name, self.take_in(name)
        return None


class RecordingMap(mmap.mmap):
    """A mapped file that knows what changed in it since somebody last looked."""

    _recorder: Recorder | None = None
    _file = 0
    _seen = b""

    def begin(self, recorder: Recorder, file: int) -> None:
        """From now on."""
        self._recorder = recorder
        self._file = file
        self._seen = self[:]

    def changes(self) -> Iterator[Write]:
        """Runs of sectors that are not what they were."""
        now = self[:]
        if now == self._seen:
            return
        seen, self._seen = self._seen, now
        start = -1
        for at in range(0, len(now) + SECTOR, SECTOR):
            is_same = now[at : at + SECTOR] == seen[at : at + SECTOR]
            if is_same and start >= 0:
                yield Write(self._file, start, now[start:at])
                start = -1
            elif not is_same and start < 0:
                start = at

    def __setitem__(self, where: Any, data: Any) -> None:
        if self._recorder is not None:
            self._recorder.sweep()
        super().__setitem__(where, data)
        if self._recorder is not None:
            self._recorder.sweep()

    def close(self) -> None:
        if self._recorder is not None:
            self._recorder.sweep()
            self._recorder.forget_map(self)
        super().close()


_NOWHERE: Final = Path(os.devnull)
_REAL_MMAP: Final = mmap.mmap
_CALLS: Final = (
    *("open", "close", "write", "pwrite", "ftruncate", "posix_fallocate", "fsync", "fdatasync"),
    *("replace", "rename", "unlink", "remove", "mkdir", "rmdir"),
)


def _bound(ours: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        return ours(real, *args, **options)

    return call


def _nothing() -> None:
    pass
