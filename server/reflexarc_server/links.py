"""Links: which subjects are one person, as an append-only account that can be undone.

`identify` on a device, or an operator, says that a device, a session or an anonymous subject is a known person. Whatever is
folded or reported goes by that as it stands now: on a new link, and on an undoing, the states are made anew from the log, so an
undone link leaves nothing. A subject is one person's at a time: the first link that stands counts, so two known people are never
joined. Owns the rules and what stands; the refolding is the fold's.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import IDENTIFY, Event, subject_parts
from reflexarc_server.clock import Clock
from reflexarc_server.store import links as table
from reflexarc_server.store.links import LinkRow, LinkTable
from reflexarc_server.store.sqlite import SqliteStore

APPLIED: Final = "links_applied"
OPERATOR: Final = "operator"
KNOWN: Final = "known:"


class Link(NamedTuple):
    """One link as told. undone_time: ms, 0 while it is not. is_effective: it counts, for no older one of its subject does."""

    said: LinkRow
    undone_time: int
    undone_by: str
    is_effective: bool


class Links:
    """One server's. Safe to call from several threads; `identified`, `write` and `work` are the fold's."""

    def __init__(self, store: SqliteStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._table = LinkTable(store)
        self._said: list[tuple[int, int, Event]] = []
        self._applied = int(store.kept(APPLIED, 0))
        self._standing: dict[str, dict[str, str]] = {}
        """Subject -> its links that were not undone, in the order said: id -> known person."""
        self._known: dict[str, str] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self._follow(self._table.rows(upto=self._applied))
        self._news = threading.Event()
        self._news.set()
        self.wake: Callable[[], None] = lambda: None
        """Told that there is something to fold anew."""

    # -- reading --------------------------------------------------------------------------------------------------

    def canonical(self, subject: str) -> str:
        """The known person a subject is, or the subject itself."""
        return self._known.get(subject, subject)

    def members(self, subject: str) -> Sequence[str]:
        """A subject and everything that is linked to it."""
        return (subject, *self._members.get(subject, ()))

    def all(self, subject: str = "") -> list[Link]:
        """Every link, or those that name a subject, oldest first."""
        rows = self._table.rows()
        undone = {row.link_id: row for row in rows if row.is_undo}
        effective = {row.link_id for row in _standing(rows).values()}
        found = []
        for row in rows:
            if not row.is_undo and subject in ("", row.subject, row.known):
                undo = undone.get(row.link_id)
                by = undo.said_by if undo else ""
                found.append(Link(row, undo.said_time if undo else 0, by, row.link_id in effective))
        return found

    # -- an operator's word ---------------------------------------------------------------------------------------

    def link(self, subject: str, known: str) -> str:
        """Say that a subject is a known person; the link's id. Raises InvalidEventError when it cannot be, StorageError."""
        for each in (subject, known):
            subject_parts(each)
        if subject.startswith(KNOWN) or not known.startswith(KNOWN):
            hint = "a device, session or anonymous subject to a known one"
            raise InvalidEventError(f"{subject} cannot be linked to {known}", hint=hint)
        standing = _standing(self._table.rows(of=subject)).get(subject)
        if standing is not None:
            raise InvalidEventError(f"{subject} is linked to {standing.known}", hint=f"undo {standing.link_id} first")
        link_id = secrets.token_hex(16)
        self._add(LinkRow(0, link_id, False, subject, known, self._clock.now_ms(), OPERATOR))
        return link_id

    def undo(self, link_id: str) -> None:
        """Take a link back; again changes nothing. Raises InvalidEventError for no such link, StorageError."""
        row = next((row for row in self._table.rows() if row.link_id == link_id and not row.is_undo), None)
        if row is None:
            raise InvalidEventError(f"there is no link {link_id}", hint="list them")
        self._add(row._replace(is_undo=True, said_time=self._clock.now_ms(), said_by=OPERATOR))

    # -- the fold's -----------------------------------------------------------------------------------------------

    def identified(self, server_seq: int, receive_time: int, event: Event) -> None:
        """An event that may say who somebody is. A known person who is said to be another one is no link."""
        if event.event_type == IDENTIFY and not event.subject.startswith(KNOWN) and event.properties.get("known_id"):
            self._said.append((server_seq, receive_time, event))

    def write(self) -> None:
        """Write down what events said, before the fold says that it is past them."""
        if not self._said:
            return
        with self._store.transaction() as transaction:
            for server_seq, receive_time, event in self._said:
                known = f"{KNOWN}{event.properties['known_id']}"
                by = self._table.installation_of(server_seq)
                table.add(transaction, LinkRow(0, event.event_id, False, event.subject, known, receive_time, by))
        self._said.clear()
        self._news.set()

    def work(self, rebuild: Callable[[str], None]) -> bool:
        """Make what stands count: fold anew whom the new rows name. False when there are none."""
        if not self._news.is_set():
            return False
        self._news.clear()  # before the look: what is said behind it sets it again
        try:
            return self._apply(rebuild)
        except BaseException:
            self._news.set()
            raise

    def _apply(self, rebuild: Callable[[str], None]) -> bool:
        rows = self._table.rows(after=self._applied)
        if not rows:
            return False
        upto = rows[-1].row
        touched = {row.subject for row in rows}
        touched |= {self.canonical(row.subject) for row in rows}
        self._follow(rows)
        touched |= {self.canonical(row.subject) for row in rows} | {row.known for row in rows}
        for subject in sorted(touched):
            rebuild(subject)
        with self._store.transaction() as transaction:
            transaction.keep(APPLIED, upto)
        self._applied = upto
        return True

    def reload(self) -> None:
        """Rows were erased."""
        self._standing, self._known, self._members = {}, {}, {}
        self._follow(self._table.rows(upto=self._applied))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _add(self, row: LinkRow) -> None:
        with self._store.transaction() as transaction:
            table.add(transaction, row)
        self._news.set()
        self.wake()

    def _follow(self, rows: Sequence[LinkRow]) -> None:
        """Take in rows that were not looked at yet."""
        for row in rows:
            links = self._standing.setdefault(row.subject, {})
            if row.is_undo:
                links.pop(row.link_id, None)
            else:
                links[row.link_id] = row.known
            self._is_now(row.subject, next(iter(links.values()), ""))

    def _is_now(self, subject: str, person: str) -> None:
        before = self._known.get(subject, "")
        if before == person:
            return
        if before:
            self._members[before] = tuple(member for member in self._members[before] if member != subject)
        if person:
            self._known[subject] = person
            self._members[person] = (*self._members.get(person, ()), subject)
        else:
            del self._known[subject]


def _standing(rows: Sequence[LinkRow]) -> dict[str, LinkRow]:
    """By subject, the first of its links that was not undone."""
    undone = {row.link_id for row in rows if row.is_undo}
    standing: dict[str, LinkRow] = {}
    for row in rows:
        if not row.is_undo and row.link_id not in undone:
            standing.setdefault(row.subject, row)
    return standing
