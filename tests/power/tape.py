"""The events of a tape: what a disk was asked to do, in order, and what was said to the outside meanwhile.

Owns the kinds of event. A file is a number, whatever its name is; a folder is a name only.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

SECTOR: Final = 512
PAGE: Final = 4096
FOLDER: Final = 0
"""The number of every folder, in place of a file's."""


class Write(NamedTuple):
    """Bytes went into a file."""

    file: int
    at: int
    data: bytes


class Resize(NamedTuple):
    """A file was cut or extended with zeros."""

    file: int
    size: int


class Sync(NamedTuple):
    """Everything in a file is on the disk."""

    file: int


class Make(NamedTuple):
    """A name came to be."""

    path: str
    file: int


class Rename(NamedTuple):
    """A name became another, in place of whatever had that."""

    path: str
    file: int
    source: str


class Unlink(NamedTuple):
    """A name went."""

    path: str
    file: int


class SyncFolder(NamedTuple):
    """The names in a folder are on the disk."""

    path: str


class Note(NamedTuple):
    """Something that was said or promised to the outside at this moment."""

    kind: str
    value: Any


class Restart(NamedTuple):
    """The power was gone, this is what was left, and a store went on from there."""

    files: dict[str, bytes]
    folders: frozenset[str]
