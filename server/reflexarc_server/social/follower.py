"""Following the log: what was stored of some event types, each once, in order.

Owns a cursor kept in the store. Whoever follows may make events of what it sees: they are stored before the cursor moves, and
carry ids made of what they come from, so that a kill between the two only makes duplicates of them. Knows no event's meaning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.store.sqlite import SqliteStore

BATCH: Final = 200
_log = logging.getLogger(__name__)
Take = Callable[[Any, Event, int], Sequence[Event]]
"""(run, event, time of its arrival in ms) -> events that come of it. What it writes by `run` goes with the cursor."""


class Follower:
    """One follower. name: of its cursor. It begins with what comes after it was first made."""

    def __init__(
        self,
        store: SqliteStore,
        name: str,
        event_types: Sequence[str],
        take: Take,
        accept: Callable[[Sequence[Event]], object] = lambda events: None,
    ) -> None:
        self._store = store
        self._name = name
        self._types = tuple(event_types)
        self._take = take
        self._accept = accept
        kept = store.kept(name, None)
        self._cursor = store.last_seq() if kept is None else int(kept)
        if kept is None:
            with store.transaction() as transaction:
                transaction.keep(name, self._cursor)

    def work(self) -> bool:
        """One step; False when there is nothing new."""
        last = self._store.last_seq()
        if last <= self._cursor:
            return False
        marks = ", ".join("?" * len(self._types))
        rows = self._store.ask(
            "SELECT server_seq, receive_time, body FROM log WHERE server_seq > ? AND server_seq <= ? AND kind = 1"
            f" AND event_type IN ({marks}) ORDER BY server_seq LIMIT ?",
            (self._cursor, last, *self._types, BATCH),
        )
        upto = int(rows[-1][0]) if len(rows) == BATCH else last
        if not rows and upto - self._cursor < BATCH:
            self._cursor = upto  # it costs nothing to look at them again after a restart
            return False
        made: list[Event] = []
        with self._store.transaction() as transaction:
            for server_seq, receive_time, body in rows:
                try:
                    _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
                    if isinstance(record, EventInput):
                        made += self._take(transaction.run, record.event, int(receive_time))
                except (InvalidEventError, DecodeError):  # one that cannot be read must not stop those behind it
                    _log.exception("record %d could not be followed", server_seq)
            if not made:
                transaction.keep(self._name, upto)
        if made:
            self._accept(made)
            with self._store.transaction() as transaction:
                transaction.keep(self._name, upto)
        self._cursor = upto
        return True
