"""`reflexarc doctor`: whether a machine, and a store on it, are fit for reflexarc.

Owns the checks and the words for what they find. Reads and probes only: what a probe makes, it takes away again. Must never
load a heavy package to see whether it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import mmap
import os
import platform
import re
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc.channel import Channel
from reflexarc.config import Config
from reflexarc.tls import Trust
from reflexarc_cli.store.place import bound_by_journal, bounded_bytes, existing_folder, files_of, owner_of, store_folder
from reflexarc_cli.store.verdict import WRONG as BROKEN
from reflexarc_cli.store.verification import verify
from reflexarc_core.errors import ReflexArcError
from reflexarc_edge.clock import JUMP_MS_MAX, RESTART_FORWARD_MS_MAX
from reflexarc_edge.journal import allocate, sync_file

OK: Final = "ok"
NOTE: Final = "note"
WRONG: Final = "wrong"

SERVER_DEADLINE_S: Final = 3.0
FREE_BYTES_MIN: Final = 16 * 1024 * 1024
"""A new store's files, and room to begin."""
SANE_TIME: Final = 1_735_689_600
"""The first second of 2025: no clock that is right shows less."""
WAL_RESET_FAULT: Final = ((3, 7, 0), (3, 51, 2))
"""First and last SQLite in which two connections that write and checkpoint at once may corrupt a file."""

NETWORK_TYPES: Final = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
     "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs")
)  # fmt: skip
PASSING_TYPES: Final = frozenset(("ramfs", "tmpfs"))
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")  # a blank in a name, as /proc/mounts has it
BASE: Final = ("grpc", "google.protobuf", "msgspec", "sqlite_utils")
EXTRAS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "edge": ("faster scoring and RE2 patterns", ("onnxruntime", "numpy", "re2")),
    "build": ("catalogs from YAML", ("yaml", "cel_expr_python")),
    "crypt": ("encrypted stores", ("cryptography",)),
    "server": (
        "the server",
        ("grpc_health", "grpc_reflection", "grpc_status", "onnxruntime", "numpy", "yaml", "cel_expr_python", "sklearn"),
    ),
    "cli": ("this command", ("click",)),
}


@dataclass(frozen=True, slots=True)
class Line:
    """level: OK, NOTE or WRONG. what: what was found. todo: what to do about it, empty for nothing."""

    level: str
    what: str
    todo: str = ""

    def __str__(self) -> str:
        return f"{self.level:<7}{self.what}{f' ({self.todo})' if self.todo else ''}"


def examine(folder: Path | None, server: str | None, trust: Trust) -> Iterator[Line]:
    """Every check, one line each at least. Raises Misused, StorageError when the folder cannot be read at all."""
    if folder is not None:
        existing_folder(folder)
    yield from _machine()
    if folder is not None:
        yield from _place(folder)
        yield from _store(folder)
    if server is not None:
        yield _server(server, trust)


# -- the machine ------------------------------------------------------------------------------------------------------


def _machine() -> Iterator[Line]:
    yield Line(OK, f"Python {platform.python_version()}")
    yield sqlite_line(sqlite3.sqlite_version_info)
    missing = [name for name in BASE if not is_there(name)]
    if missing:
        yield Line(WRONG, f"{', '.join(missing)} cannot be imported", "install reflexarc again")
    for extra, (use, names) in EXTRAS.items():
        missing = [name for name in names if not is_there(name)]
        if missing:
            yield Line(
                NOTE, f"the extra [{extra}] is not here: {use} ({', '.join(missing)})", f"pip install 'reflexarc[{extra}]'"
            )
        else:
            yield Line(OK, f"the extra [{extra}] is here: {use}")
    yield from _clock()


def sqlite_line(version: tuple[int, ...]) -> Line:
    """What is to be said of a version of SQLite."""
    shown = ".".join(map(str, version))
    if WAL_RESET_FAULT[0] <= version[:3] <= WAL_RESET_FAULT[1]:
        why = "two connections that write and checkpoint at once may corrupt a file; a store has one that writes"
        return Line(NOTE, f"SQLite {shown}: {why}", "nothing, but never write to a store with another program")
    return Line(OK, f"SQLite {shown}")


def is_there(module: str) -> bool:
    """Whether a module could be imported, without importing it (its package is, where it is in one)."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _clock() -> Iterator[Line]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        yield Line(OK, "the clock that never jumps goes on while the machine sleeps (CLOCK_BOOTTIME)")
    else:
        yield Line(NOTE, "no CLOCK_BOOTTIME here: time asleep is not counted until the server tells its time")
    now = time.time()
    local = time.localtime(now)
    shown = time.strftime("%Y-%m-%d %H:%M", local)
    zone = f"{local.tm_zone}, UTC{_offset(local.tm_gmtoff)}"
    if now < SANE_TIME:
        yield Line(WRONG, f"the clock says {shown} ({zone})", "set it: events would be dated so")
    else:
        yield Line(OK, f"the clock says {shown}, the time zone is {zone}")


def _offset(seconds: int) -> str:
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}"


# -- the place --------------------------------------------------------------------------------------------------------


def _place(folder: Path) -> Iterator[Line]:
    yield from _room(folder)
    yield filesystem_line(_mount_type(folder))
    yield from _permissions(folder)
    yield from _probes(folder)


def _room(folder: Path) -> Iterator[Line]:
    found = os.statvfs(folder)
    if found.f_flag & os.ST_RDONLY:
        yield Line(WRONG, f"{folder} is mounted read-only", "put the store elsewhere")
        return
    files = files_of(folder)
    bound = bound_by_journal(files) or Config().store_bytes_max
    yield room_line(found.f_bavail * found.f_frsize, bounded_bytes(files), bound)
    if found.f_files and not found.f_favail:
        yield Line(WRONG, "the disk can hold no more files (inodes)", "free some")


def room_line(free: int, used: int, bound: int) -> Line:
    """What is to be said of a disk with so many free bytes under a store of so many."""
    wanted = max(0, bound - used)
    if free < min(wanted, FREE_BYTES_MIN):
        return Line(WRONG, f"{free:,} bytes are free on the disk", "free some: events are refused when it is full")
    if free < wanted:
        what = f"{free:,} bytes are free on the disk, and the store may grow by {wanted:,} (to {bound:,})"
        return Line(NOTE, what, "free some, or give it a smaller Config(store_bytes_max=...)")
    return Line(OK, f"{free:,} bytes are free on the disk; the store has {used:,} of at most {bound:,}")


def filesystem_line(kind: str) -> Line:
    """What is to be said of a type of file system."""
    if not kind:
        return Line(NOTE, "the type of the file system cannot be told here", "see to it that it is a local disk")
    if kind in NETWORK_TYPES:
        return Line(
            WRONG, f"the file system is {kind}, over a network: locks and shared memory cannot be relied on", "use a local disk"
        )
    if kind in PASSING_TYPES:
        return Line(NOTE, f"the file system is {kind}: gone when the machine stops", "use a disk, unless that is what you want")
    return Line(OK, f"the file system is {kind}, on this machine")


def _mount_type(folder: Path) -> str:
    try:
        mounts = Path("/proc/mounts").read_text(errors="replace")
    except OSError:
        return ""
    return mount_type(mounts, Path(os.path.realpath(folder)))


def mount_type(mounts: str, place: Path) -> str:
    """The type of the file system a place is on, by the lines of /proc/mounts; empty when none fits."""
    best, found = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        mounted = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), parts[1]))
        if place.is_relative_to(mounted) and len(mounted.parts) >= best:  # a later line covers an earlier one
            best, found = len(mounted.parts), parts[2]
    return found


def _permissions(folder: Path) -> Iterator[Line]:
    open_files = []
    foreign = False
    for name in files_of(folder):
        if name.startswith("bundles/"):
            continue  # anybody's: nothing of a person is in them
        with contextlib.suppress(OSError):
            held = (folder / name).lstat()
            foreign |= held.st_uid != os.geteuid()
            if stat.S_IMODE(held.st_mode) & 0o077:
                open_files.append(name)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if open_files:
        named = ", ".join(open_files[:3]) + (f" and {len(open_files) - 3} more" if len(open_files) > 3 else "")
        yield Line(WRONG, f"others than the owner may use {named}", f"chmod -R go= {folder}")
    else:
        yield Line(OK, "the files are for their owner alone")
    if mode & 0o077:
        yield Line(NOTE, f"others than the owner may look into the folder (mode {mode:04o})", f"chmod 700 {folder}")
    if foreign or folder.stat().st_uid != os.geteuid():
        yield Line(NOTE, "you are not the user of the store: what follows is true of you only", "run this as that user")


def _probes(folder: Path) -> Iterator[Line]:
    """What a store needs of its file system, tried in a folder that is taken away again."""
    probes: dict[str, Callable[[Path], bool]] = {
        "shared memory maps": _maps, "space is set aside (fallocate)": _allocates, "locks": _locks, "syncs": _syncs,
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            for name, probe in probes.items():
                try:
                    works, why = probe(Path(place, "probe")), "it did not work"
                except OSError as error:
                    works, why = False, error.strerror or "it failed"
                if not works:
                    yield Line(WRONG, f"the file system cannot do this: {name}: {why}", "put the store on a local disk")
                    return
    except OSError as error:
        yield Line(NOTE, f"nothing can be written into {folder}: {error.strerror}", "run this as the user of the store")
        return
    yield Line(OK, f"the file system can do what a store needs: {', '.join(probes)}")


def _maps(path: Path) -> bool:
    with path.open("w+b") as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as page:
            page[:5] = b"hello"
            return os.pread(file.fileno(), 5, 0) == b"hello"


def _allocates(path: Path) -> bool:
    with path.open("w+b") as file:
        allocate(file.fileno(), 64 * 1024)
        return os.fstat(file.fileno()).st_size == 64 * 1024


def _locks(path: Path) -> bool:
    with path.open("w+b") as first, path.open("r+b") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _syncs(path: Path) -> bool:
    with path.open("w+b") as file:
        file.write(b"x")
        file.flush()
        sync_file(file.fileno())
        return True


# -- the store --------------------------------------------------------------------------------------------------------


def _store(folder: Path) -> Iterator[Line]:
    try:
        store_folder(folder)
    except ReflexArcError as error:
        yield Line(NOTE, str(error), "a client makes one")
        return
    owner = owner_of(folder)
    yield Line(OK, f"process {owner.pid or 'unknown'} owns the store" if owner.is_alive else "nobody owns the store now")
    try:
        verdict = verify(folder, None, must_decode=False)
    except ReflexArcError as error:
        yield Line(WRONG, error.message, error.hint)
        return
    broken = [finding for finding in verdict.findings if finding.level == BROKEN]
    if broken:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        yield Line(WRONG, f"{broken[0].what}{more}", f"reflexarc store verify {folder}")
    else:
        read = "" if verdict.decoded else ", as far as it can be told without its key"
        yield Line(OK, f"the store is sound{read}: {verdict.record_count:,} records")
    if verdict.fold_count is not None:
        yield Line(OK, f"the next start folds {verdict.fold_count:,} records")
    if verdict.engine_time:
        yield time_line(int(time.time() * 1000) - verdict.engine_time)


def time_line(ahead_ms: int) -> Line:
    """What is to be said of a clock that is so far ahead of the newest time in a store's state."""
    if ahead_ms < -JUMP_MS_MAX:
        what = f"the clock is {_span(-ahead_ms)} behind the store: time is not believed until the server tells it"
        return Line(NOTE, what, "set the clock, or connect it to its server")
    if ahead_ms > RESTART_FORWARD_MS_MAX:
        what = f"the clock is {_span(ahead_ms)} ahead of the store: so much is not believed until the server tells it"
        return Line(NOTE, what, "connect it to its server")
    return Line(OK, f"the store's newest time is {_span(max(0, ahead_ms))} ago")


def _span(ms: int) -> str:
    for unit, unit_ms in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= 2 * unit_ms:
            return f"{ms // unit_ms:,} {unit}"
    return f"{ms // 1000} seconds"


# -- the server -------------------------------------------------------------------------------------------------------


class _Health:
    """The standard health service, without the package that has its messages: a device has not."""

    def __init__(self, channel: Any) -> None:
        self.check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)


def _server(address: str, trust: Trust) -> Line:
    channel = None
    started = time.monotonic()
    try:
        channel = Channel(address, trust=trust)
        answer = channel.call(_Health, "check", b"", SERVER_DEADLINE_S)
    except ReflexArcError as error:
        why = error.message.removeprefix(f"the server at {address} ")
        return Line(WRONG, f"the server at {address} does not answer: {why}", error.hint)
    finally:
        if channel is not None:
            channel.close()
    if answer != b"\x08\x01":  # status: SERVING
        return Line(WRONG, f"the server at {address} says it is not serving", "look at its own messages")
    return Line(OK, f"the server at {address} answers, in {(time.monotonic() - started) * 1000:.0f} ms")
