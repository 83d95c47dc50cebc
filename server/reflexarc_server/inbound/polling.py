"""Mailboxes looked through again and again: each mail taken in once, whatever happens in between.

Owns the order that makes it so: a mail is durable before it is marked, and a mail that was not marked is a duplicate when it
comes again. A mailbox that is not there is asked again with full jitter; a mail that cannot be taken in is set aside and named,
and the others go on. Must never log what a mail says.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from reflexarc_core.errors import InvalidEventError, ReflexArcError, StorageError
from reflexarc_server.chance import CHANCE
from reflexarc_server.channels.backoff import Draw, pause_ms
from reflexarc_server.clock import Clock
from reflexarc_server.inbound.imap import ImapMailbox
from reflexarc_server.inbound.keeping import Keeper, Kept
from reflexarc_server.inbound.mailbox import Mailbox, UnusableMail
from reflexarc_server.inbound.maildir import MaildirMailbox
from reflexarc_server.parts import Parts
from reflexarc_server.site import Site
from reflexarc_server.site.mailboxes import Imap, Source

AWAY_MS: Final = (1_000, 300_000)
"""Least and greatest ceiling of the pause while a mailbox is not there."""
STOP_S: Final = 5.0
_NAMED_MAX: Final = 20
_log = logging.getLogger(__name__)

Keep = Callable[[bytes, int], Kept]


@dataclass(frozen=True, slots=True)
class SetAside:
    """A mail that could not be taken in. key: a file, or a UID. reason: says nothing of what is in it. time: ms."""

    key: str
    reason: str
    time: int


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """How a mailbox does, since the server started.

    taken_count: mails that became events. duplicate_count: those that had before. set_aside: the last of set_aside_count.
    round_time: when it was looked through last, ms, 0 for never. failure_count: failed rounds in a row, 0 when it is well.
    reason: of the last one.
    """

    name: str
    taken_count: int = 0
    duplicate_count: int = 0
    set_aside_count: int = 0
    set_aside: tuple[SetAside, ...] = ()
    round_time: int = 0
    failure_count: int = 0
    reason: str = ""


class Poller:
    """One mailbox's thread. every_ms: from the end of a round to the next one. draw: a number between two, evenly."""

    def __init__(self, mailbox: Mailbox, keep: Keep, clock: Clock, every_ms: int, draw: Draw) -> None:
        self._mailbox = mailbox
        self._keep = keep
        self._clock = clock
        self._every_ms = every_ms
        self._draw = draw
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"reflexarc-mailbox-{mailbox.name}", daemon=True)
        self.status = MailboxStatus(mailbox.name)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._news.set()

    def stop(self) -> None:
        """Let the mail that is being taken in end, for a few seconds; the others wait where they are."""
        self._stop.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S / 2)
            self._mailbox.cut()
            self._thread.join(STOP_S / 2)

    def round(self) -> int:
        """Take in all that waits, on this thread: ms until the next round. Raises nothing."""
        try:
            self._look()
        except (ReflexArcError, OSError) as error:
            return self._failed(
                error.message if isinstance(error, ReflexArcError) else f"{type(error).__name__}: {error.strerror}"
            )
        except Exception as error:  # a fault of ours: the thread must go on
            return self._failed(type(error).__name__)
        finally:
            self._mailbox.close()
        self.status = replace(self.status, round_time=self._clock.now_ms(), failure_count=0, reason="")
        return self._every_ms

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.clear()
            pause = self.round()
            if not self._stop.is_set():
                self._news.wait(pause / 1_000)

    def _look(self) -> None:
        done: set[str] = set()
        while not self._stop.is_set():
            keys = self._mailbox.waiting()
            if not keys:
                return
            if not done.isdisjoint(keys):
                raise StorageError("the mailbox does not keep its marks", hint="let this user set flags, or move files, in it")
            for key in keys:
                if self._stop.is_set():
                    return
                self._take(key)
                done.add(key)

    def _take(self, key: str) -> None:
        now = self._clock.now_ms()
        try:
            content = self._mailbox.read(key)
            if content is None:
                return
            kept = self._keep(content, now)
        except (UnusableMail, InvalidEventError) as error:
            self._put_aside(key, f"{error.message}: {error.hint}", now)
        except (ReflexArcError, OSError):
            raise  # the mailbox or the store: nothing is wrong with this mail
        except Exception as error:  # a fault of ours that this mail shows; its text may be in the error's
            self._put_aside(key, f"a fault of the server: {type(error).__name__}", now)
        else:
            self._mailbox.taken(key)
            status = self.status
            self.status = replace(
                status,
                taken_count=status.taken_count + kept.is_new,
                duplicate_count=status.duplicate_count + (not kept.is_new),
            )

    def _put_aside(self, key: str, reason: str, now: int) -> None:
        self._mailbox.set_aside(key)
        status = self.status
        named = (*status.set_aside, SetAside(key, reason, now))[-_NAMED_MAX:]
        self.status = replace(status, set_aside_count=status.set_aside_count + 1, set_aside=named)
        _log.warning("mailbox %s: %s is set aside: %s", self._mailbox.name, key, reason)

    def _failed(self, reason: str) -> int:
        count = self.status.failure_count + 1
        self.status = replace(self.status, failure_count=count, reason=reason, round_time=self._clock.now_ms())
        pause = pause_ms(AWAY_MS, count - 1, None, self._draw)
        if count & (count - 1) == 0:  # 1, 2, 4, 8, ...: a mailbox that is away for long fills no log
            _log.warning("mailbox %s: %s; %d times in a row", self._mailbox.name, reason, count)
        return pause


def pollers_of(parts: Parts, site: Site) -> list[Poller]:
    """The pollers of a site's sources, not started yet. Raises DefinitionError for a rule whose channel is not there."""
    if not site.replies.sources:
        return []
    keeper = Keeper(parts, site)
    return [
        Poller(_mailbox(source), keeper.keep, parts.clock, source.every_ms, CHANCE.uniform) for source in site.replies.sources
    ]


def _mailbox(source: Source) -> Mailbox:
    return ImapMailbox(source) if isinstance(source, Imap) else MaildirMailbox(source.name, source.path)


__all__ = ["MailboxStatus", "Poller", "SetAside", "pollers_of"]
