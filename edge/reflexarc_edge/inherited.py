"""What a forked child inherits of its parent's store, and must not take for its own.

Owns the descriptors of locks that a child closes at once, and the databases it may not open as they are: SQLite keeps in its
memory which locks a process holds on a file, and a child that inherits that memory believes in locks that only its parent
ever had. A file that is another inode is another file to it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from reflexarc_edge.journal import sync_file, sync_folder

_locks: Final[set[int]] = set()
_databases: Final[set[tuple[int, int]]] = set()


def hold(descriptor: int) -> int:
    """A lock's descriptor is this process's alone: a child that kept it open would hold the lock when its parent is dead."""
    _locks.add(descriptor)
    return descriptor


def let_go(descriptor: int) -> None:
    """Close a lock's descriptor, and with it the lock."""
    _locks.discard(descriptor)
    os.close(descriptor)


def remember(database: Path) -> None:
    """This database was opened by the parent of this process."""
    try:
        status = database.stat()
    except OSError:
        return
    _databases.add((status.st_dev, status.st_ino))


def renew(database: Path) -> None:
    """Make a database that the parent had open a file of its own, with the same content; whoever calls this owns the store.

    Raises OSError.
    """
    try:
        status = database.stat()
    except FileNotFoundError:
        return
    if (status.st_dev, status.st_ino) not in _databases:
        return
    copy = database.with_name(f"{database.name}.own")
    shutil.copyfile(database, copy)
    copy.chmod(0o600)
    descriptor = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)
    os.replace(copy, database)
    sync_folder(database.parent)


def _in_child() -> None:
    for descriptor in _locks:
        try:
            os.close(descriptor)
        except OSError:
            continue
    _locks.clear()


os.register_at_fork(after_in_child=_in_child)
