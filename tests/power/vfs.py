"""SQLite's way to the disk with everything it does written down, and a connection that goes this way.

Owns the VFS and its files, and the manners that make an apsw connection one of the standard library's. Must never change what
SQLite reads: only real syncs are left out, since they cost time and what they promise is on the tape.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import apsw

from tests.power.tape import Resize, Sync, SyncFolder, Write

if TYPE_CHECKING:
    from tests.power.recording import Recorder


SYSTEM: Final = apsw.vfs_names()[0]
"""SQLite's own way to the disk."""


class RecordingVfs(apsw.VFS):
    """SQLite's own way to the disk, with everything it does written down."""

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name: Final = name
        self.recorder: Final = recorder
        super().__init__(name, SYSTEM)

    def xOpen(self, name: Any, flags: list[int]) -> RecordingFile:
        return RecordingFile(self.recorder, name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:
        super().xDelete(name, False)
        path = self.recorder.relative(name)
        if path is not None:
            self.recorder.unlinked(path)
            if sync_folder:
                self.recorder.put(SyncFolder(os.path.dirname(path)))

    def xRandomness(self, count: int) -> bytes:
        return self.recorder.randomness(count)


class RecordingFile(apsw.VFSFile):
    """One file of SQLite's. What the operating system is asked to sync is put on the tape, and not done: it costs time."""

    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._recorder = recorder
        self._generation = recorder.generation
        self._path = recorder.relative(text) if text else None
        existed = bool(text) and os.path.exists(text)
        super().__init__(SYSTEM, name, flags)
        self._number = 0
        self._syncs_folder = False
        if self._path is not None:
            self._number = recorder.number_of(self._path) if existed else recorder.made(self._path)
            # As SQLite does on POSIX systems: a journal of either kind that it made, or may have made, is in its folder for
            # good with its first sync; the main file's name never is by itself.
            is_journal = flags[0] & (apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL)
            self._syncs_folder = bool(is_journal and flags[0] & apsw.SQLITE_OPEN_CREATE)

    def _is_recorded(self) -> bool:
        return self._path is not None and self._generation == self._recorder.generation

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        if self._is_recorded():
            self._recorder.put(Write(self._number, offset, bytes(data)))
            self._recorder.on_store_write()

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        if self._is_recorded():
            self._recorder.put(Resize(self._number, size))

    def xSync(self, flags: int) -> None:
        if not self._is_recorded():
            return
        self._recorder.put(Sync(self._number))
        if self._syncs_folder:
            self._syncs_folder = False
            self._recorder.put(SyncFolder(os.path.dirname(self._path or "")))
        self._recorder.on_store_write()


class Cursor:
    """What a statement gave, all of it, as sqlite3's cursor hands it out."""

    def __init__(self, rows: list[Any], description: Any, lastrowid: int, rowcount: int) -> None:
        self._rows = iter(rows)
        self.description = description
        self.lastrowid = lastrowid
        self.rowcount = rowcount

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class Connection:
    """An apsw connection with the manners of the standard library's: its cursors and its errors."""

    isolation_level = None

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        found: list[Any] = [None]

        def trace(cursor: Any, _: str, __: Any) -> bool:
            found[0] = cursor.get_description() or None
            return True

        with _errors():
            cursor = self._db.cursor()
            cursor.exec_trace = trace
            rows = list(cursor.execute(sql, parameters))
            return Cursor(rows, found[0], self._db.last_insert_rowid(), self._db.changes())

    def executemany(self, sql: str, parameters: Iterable[Any]) -> Cursor:
        with _errors():
            return Cursor(list(self._db.executemany(sql, parameters)), None, self._db.last_insert_rowid(), self._db.changes())

    def close(self) -> None:
        with _errors():
            self._db.close()


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        mapped = sqlite3.OperationalError(str(error))
        code = getattr(error, "extendedresult", 0)
        mapped.sqlite_errorname = str(apsw.mapping_extended_result_codes.get(code, apsw.mapping_result_codes.get(code & 255, "")))
        raise mapped from error
