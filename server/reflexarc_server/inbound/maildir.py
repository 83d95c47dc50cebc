"""A maildir as a mailbox: a folder with `new`, `cur` and `tmp`, a file a mail.

Owns which files are mails and where they go: what was taken into the folder `.taken`, what could not be read into `.set-aside`,
both maildirs of their own, so that a mail program shows them. A rename is atomic, so a mail is in one place. Must never follow a
symbolic link, change a file's bytes, or look into `tmp`, where a delivery may be under way.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reflexarc_core.errors import TransportError
from reflexarc_server.inbound.mailbox import BATCH, UnusableMail, too_large
from reflexarc_server.inbound.message import MAIL_BYTES_MAX

TAKEN: Final = ".taken"
SET_ASIDE: Final = ".set-aside"
_SEEN: Final = ":2,S"
_PLACES: Final = ("new", "cur")


class MaildirMailbox:
    """See Mailbox. A key is `new/NAME` or `cur/NAME`: what a mail program has looked at already is taken too."""

    def __init__(self, name: str, path: Path) -> None:
        self.name: Final = name
        self._path = path

    def waiting(self) -> list[str]:
        """See Mailbox."""
        return [key for _, _, key in heapq.nsmallest(BATCH, self._mails())]

    def read(self, key: str) -> bytes | None:
        """See Mailbox."""
        try:
            handle = os.open(self._path / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise UnusableMail("a mail that this user may not read", hint="let the server read what is delivered") from None
        with os.fdopen(handle, "rb") as file:
            size = os.fstat(handle).st_size
            if size > MAIL_BYTES_MAX:
                raise too_large(size)
            return file.read(MAIL_BYTES_MAX)

    def taken(self, key: str) -> None:
        """See Mailbox."""
        self._move(key, TAKEN)

    def set_aside(self, key: str) -> None:
        """See Mailbox."""
        self._move(key, SET_ASIDE)

    def close(self) -> None:
        """See Mailbox."""

    def cut(self) -> None:
        """See Mailbox. A file is read at once or not at all."""

    def _mails(self) -> Iterator[tuple[float, str, str]]:
        for place in _PLACES:
            try:
                entries = os.scandir(self._path / place)
            except (FileNotFoundError, NotADirectoryError):
                hint = "make its folders new, cur and tmp, or correct the path in the site file"
                raise TransportError(f"{self._path} is no maildir", hint=hint) from None
            with entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(status.st_mode):
                        yield status.st_mtime, entry.name, f"{place}/{entry.name}"

    def _move(self, key: str, where: str) -> None:
        folder = self._path / where
        name = key.partition("/")[2]
        target = folder / "cur" / (name.partition(":")[0] + _SEEN if where == TAKEN else name)
        try:
            self._rename(key, target)
        except FileNotFoundError:
            if folder.is_dir() and (folder / "cur").is_dir():
                return  # somebody else moved it
            for each in ("tmp", "new", "cur"):
                (folder / each).mkdir(parents=True, exist_ok=True)
            (folder / "maildirfolder").touch()
            self._rename(key, target)

    def _rename(self, key: str, target: Path) -> None:
        """A name is taken once a host, but a copy put back by hand has that of its first: both are kept."""
        if target.exists():
            target = target.with_name(f"{self._path.joinpath(key).stat().st_ino}.{target.name}")
        os.rename(self._path / key, target)


__all__ = ["SET_ASIDE", "TAKEN", "MaildirMailbox"]
