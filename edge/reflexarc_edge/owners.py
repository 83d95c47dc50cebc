"""Who owns a store, and what the other processes of an application captured for it.

One process owns a store: it holds the lock on `owner.lock`, folds and delivers. Every other one only captures, into a
journal of its own under `captures/`, named after nobody and locked while its process lives; the owner takes the captures
from there. Owns those files and their locks. Must never read a capture.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reflexarc_core.errors import StorageError
from reflexarc_edge.entry import part_payload
from reflexarc_edge.inherited import hold, let_go
from reflexarc_edge.journal import Frame, Journal, make_folder, sync_folder

OWNER_LOCK: Final = "owner.lock"
CAPTURES: Final = "captures"
SEGMENT_BYTES: Final = 512 * 1024


class OwnedElsewhereError(StorageError):
    """Another process owns the store: this one can only capture."""


class LetGoError(StorageError):
    """This process captures elsewhere no more: it has come to own the store, or is closed."""


def own(folder: Path) -> int:
    """The lock on the store, held by its descriptor.

    flock, since POSIX locks vanish when any descriptor of the file closes. Raises OwnedElsewhereError, OSError.
    """
    descriptor = hold(os.open(folder / OWNER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        let_go(descriptor)
        raise OwnedElsewhereError(
            f"the store at {folder} is owned by process {owner or 'unknown'}", hint="close that client, or use another folder"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def is_owned(folder: Path) -> bool:
    """Whether some process owns the store now."""
    try:
        descriptor = own(folder)
    except OwnedElsewhereError:
        return True
    let_go(descriptor)
    return False


class CaptureJournal:
    """This process's own journal of captures, for an owner elsewhere. Thread-safe.

    Raises StorageError when it cannot be made.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        place = folder / CAPTURES
        make_folder(place)
        self.name: Final = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._locked = hold(os.open(place / f"{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Made under another name: an owner that looks meanwhile must not meet half a journal.
            fresh = place / f"{self.name}.new"
            self._journal = Journal(fresh, segment_bytes)
            os.replace(fresh, place / f"{self.name}.journal")
            sync_folder(place)
        except OSError as error:
            let_go(self._locked)
            raise StorageError(f"nothing can be captured in {place}: {error.strerror}") from None
        except BaseException:
            let_go(self._locked)
            raise
        self._seq = 0
        self._is_closed = False

    @property
    def waiting_count(self) -> int:
        """Captures the owner has not taken yet."""
        with self._lock:
            return 0 if self._is_closed else self._seq - self._journal.taken_seq

    def append(self, kind: int, body: bytes) -> int:
        """Keep one capture; its number here. 0 when there is no room until the owner has taken some."""
        with self._lock:
            if self._is_closed:
                raise LetGoError("nothing is captured here any more")
            seq = self._seq + 1
            payload = part_payload(kind, body)
            if not self._journal.append(seq, 1, payload):
                self._journal.release(self._journal.taken_seq)
                if not self._journal.append(seq, 1, payload):
                    return 0
            self._seq = seq
            return seq

    @property
    def newest_seq(self) -> int:
        """Number of the newest capture."""
        return self._seq

    def sync(self) -> int:
        """Returns when the disk holds every capture made before the call: the newest one's number. Raises StorageError."""
        with self._lock:
            if self._is_closed:
                raise LetGoError("nothing is captured here any more")
            seq = self._seq
            self._journal.sync()
        return seq

    def close(self) -> None:
        """Let go of it; what is in it stays for the owner."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._journal.close()
                let_go(self._locked)


class OthersCaptures:
    """The journals of the other processes, as the owner sees them."""

    def __init__(self, folder: Path, taken: dict[str, int], segment_bytes: int = SEGMENT_BYTES) -> None:
        self._place = folder / CAPTURES
        self._segment_bytes = segment_bytes
        self._open: dict[str, _Other] = {}
        self._taken = dict(taken)
        self.damage_count = 0

    def names(self) -> list[str]:
        """Journals that are there, in a stable order."""
        try:
            return sorted(path.stem for path in self._place.glob("*.journal"))
        except OSError:
            return []

    def frames(self, count_max: int) -> Iterator[tuple[str, Frame]]:
        """(journal, frame) of captures nobody has taken yet, at most so many of each journal. Each comes again until it
        `took`.
        """
        for name in self.names():
            other = self._open.get(name)
            if other is None:
                try:
                    other = self._open[name] = _Other(self._place, name, self._taken.get(name, 0), self._segment_bytes)
                except StorageError:
                    continue
            left = count_max
            while left > 0 and (frame := other.peek()) is not None:
                left -= 1
                yield name, frame
                if other.peek() is frame:
                    break  # it could not be taken now: what is behind it waits as well

    def took(self, name: str, seq: int) -> None:
        """This capture is in the log."""
        self._open[name].next()
        self._taken[name] = seq

    def stored(self, taken: dict[str, int]) -> list[str]:
        """These numbers are in the store for good: their room may be used again. The journals that are done with."""
        finished = []
        for name, seq in taken.items():
            other = self._open.get(name)
            if other is not None:
                other.journal.taken_seq = max(other.journal.taken_seq, seq)
        for name, other in list(self._open.items()):
            if other.has_ended and other.peek() is None and other.journal.taken_seq >= self._taken.get(name, 0):
                self.damage_count += other.damage_count
                other.remove(self._place)
                del self._open[name]
                self._taken.pop(name, None)
                finished.append(name)
        if finished:
            sync_folder(self._place)  # a journal that came back would be taken a second time
        return finished

    def blank(self) -> None:
        """Wipe the payload of everything that was taken."""
        for other in self._open.values():
            other.journal.blank(other.journal.taken_seq)

    def close(self) -> None:
        """Let go of them all."""
        for other in self._open.values():
            other.journal.close()
        self._open.clear()


class _Other:
    """One journal of another process, read on as it grows; read as it lies once that process has ended."""

    def __init__(self, place: Path, name: str, taken: int, segment_bytes: int) -> None:
        self.name = name
        self.journal = Journal(place / f"{name}.journal", segment_bytes)
        self._lock_path = place / f"{name}.lock"
        taken = max(taken, self.journal.taken_seq)
        self._reader = self.journal.reader(taken)
        self._after = taken
        self._rest: list[Frame] | None = None
        self._peeked: Frame | None = None
        self.has_ended = False
        self.damage_count = 0

    def peek(self) -> Frame | None:
        if self._peeked is None:
            self._peeked = self._read()
        return self._peeked

    def next(self) -> Frame | None:
        frame = self.peek()
        self._peeked = None
        return frame

    def _read(self) -> Frame | None:
        if self._rest is None:
            # Asked before reading: what is read afterwards is all there will ever be.
            ended = self.has_ended or not self._is_alive()
            frame = self._reader.next()
            if frame is not None:
                self._after = frame.first_seq
                return frame
            if not ended:
                return None
            self.has_ended = True
            found = self.journal.scan(self._after)
            self.damage_count = len(found.damage)
            self._rest = found.frames
        return self._rest.pop(0) if self._rest else None

    def remove(self, place: Path) -> None:
        self.journal.close()
        for path in (place / f"{self.name}.journal", self._lock_path):
            with contextlib.suppress(OSError):
                path.unlink()

    def _is_alive(self) -> bool:
        try:
            descriptor = hold(os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC))
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            let_go(descriptor)
        return False
