"""The folder of a store as a tool meets it: whether it is one, who owns it, which files are there, the key to it.

Owns what can be told without opening the database. Must never create, lock for longer than a look, or change a file.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import StorageError
from reflexarc_edge.journal import OWN_BYTES, SEGMENT_BYTES
from reflexarc_edge.owners import CAPTURES, OWNER_LOCK
from reflexarc_edge.repair import REPAIR, Identity, read_identity
from reflexarc_edge.seal import KEY_BYTES, Open, Seal, Sealed, check_key
from reflexarc_edge.store import FILE
from reflexarc_edge.upkeep import SEGMENT_SHARE

JOURNAL: Final = "journal"
BUNDLES: Final = "bundles"
_PID_DIGITS_MAX: Final = 20


class Owner(NamedTuple):
    """pid: of the process that owns the store, or of the last one that did; 0 when nobody can tell."""

    pid: int
    is_alive: bool


def store_folder(folder: Path) -> Path:
    """The folder, when there is a store in it or what is left of one. Raises Misused, StorageError."""
    names = set(_names(folder))
    is_left = {JOURNAL, OWNER_LOCK} <= names or (folder / REPAIR / FILE).is_file() or identity_beside(folder) is not None
    if FILE in names or is_left:
        return folder
    if "server.db" in names:
        raise Misused(f"{folder} is no device's store", hint="it is a server's folder")
    raise Misused(f"{folder} is no device's store", hint=f"it holds no {FILE}" if names else "it is empty")


def existing_folder(folder: Path) -> Path:
    """The folder, when it is one that can be read. Raises Misused, StorageError."""
    _names(folder)
    return folder


def owner_of(folder: Path) -> Owner:
    """Who owns the store now. Raises StorageError when that cannot be seen."""
    path = folder / OWNER_LOCK
    try:
        pid = path.read_bytes()[:_PID_DIGITS_MAX].strip()
        return Owner(int(pid) if pid.isdigit() else 0, is_locked(path))
    except FileNotFoundError:
        return Owner(0, False)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", hint="run this as the user of the store") from None


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on this file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Shared, so that two who look do not see each other, and given back at once by closing.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def identity_beside(folder: Path) -> Identity | None:
    """What the identity file says; None when it is gone or not what was written."""
    return read_identity(folder)


def files_of(folder: Path) -> dict[str, int]:
    """Bytes of every file of the store by its name from the folder. Files that vanish meanwhile are left out."""
    return {str(path.relative_to(folder)): size for path, size in sorted(_files(folder))}


def bounded_bytes(files: dict[str, int]) -> int:
    """How much of them counts against the store's bound: everything but bundles."""
    return sum(size for name, size in files.items() if not name.startswith(f"{BUNDLES}{os.sep}"))


def bound_by_journal(files: dict[str, int]) -> int | None:
    """The bound in bytes the store was made with, as far as its journal's size shows it: 2 MiB for less as well, None for 128 MiB
    and more.
    """
    segment = (files.get(JOURNAL, 0) - OWN_BYTES) // 2
    return segment * SEGMENT_SHARE if 0 < segment < SEGMENT_BYTES else None


def journals_of_others(folder: Path) -> list[Path]:
    """The journals of captures of other processes."""
    try:
        return sorted((folder / CAPTURES).glob("*.journal"))
    except OSError:
        return []


def read_key(key_file: Path | None) -> bytes | None:
    """The key in a file; None without one. Raises Misused when there is none in it."""
    if key_file is None:
        return None
    try:
        held = key_file.read_bytes()
    except OSError as error:
        raise Misused(f"the key file {key_file} cannot be read: {error.strerror}") from None
    if len(held) == KEY_BYTES:
        return held
    try:
        key = bytes.fromhex(held.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Misused(f"the key file {key_file} holds no key", hint=f"{KEY_BYTES} bytes, or {2 * KEY_BYTES} hex digits")
    return key


def seal_of(key_file: Path | None) -> Seal | None:
    """How the key in a file opens a store; None without one. Raises Misused, and StorageError where nothing can be opened."""
    key = read_key(key_file)
    return None if key is None else Sealed(key)


def is_sealed(kept_key: bytes | None) -> bool:
    """Whether a store that keeps this under `key` is encrypted."""
    return kept_key is not None and kept_key != check_key(Open(), None)


def check_seal(folder: Path, kept_key: bytes | None, seal: Seal | None, *, must_open: bool = True) -> None:
    """Raises Misused when the store is encrypted and no key was given (unless it need not open), or a key that is not its."""
    if not is_sealed(kept_key):
        if seal is not None and kept_key is not None:
            raise Misused(f"the store at {folder} is not encrypted", hint="leave --key-file out")
        return
    if seal is None:
        if must_open:
            raise Misused(f"the store at {folder} is encrypted", hint="give its key with --key-file")
        return
    try:
        check_key(seal, kept_key)
    except StorageError:
        raise Misused(f"the store at {folder} was made with another key", hint="give that one with --key-file") from None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        raise Misused(f"{folder} is not there") from None
    except NotADirectoryError:
        raise Misused(f"{folder} is no folder") from None
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}", hint="run this as the user of the store") from None


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                size = path.lstat().st_size
            except FileNotFoundError:
                continue
            yield path, size
