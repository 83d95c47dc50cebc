"""A file that is there whole or not at all.

Owns the way to that: written aside, synced, renamed. Its name outlives a power cut once its folder is synced too, which is the
caller's: the file systems of some sticks cannot.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reflexarc_edge.journal import sync_file


@contextmanager
def whole_file(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Takes its name when the block ends, in place of whatever had it; an error leaves nothing behind. mode: readable by its user
    alone where nothing is said. Raises OSError."""
    aside = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as stream:
            yield stream
            stream.flush()
            sync_file(stream.fileno())
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
