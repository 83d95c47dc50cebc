"""The server's log as training and checks read it: from another process, beside the running server, changing nothing.

Owns the order of what it hands over: by subject, and within a subject in the order of the log (rule 16). One record
at a time is decoded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from reflexarc_core.decision import Decision
from reflexarc_core.errors import StorageError
from reflexarc_core.event import Event
from reflexarc_core.model import Scored
from reflexarc_core.record import DecisionOutput, EventInput, ScoresInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from reflexarc_server.store.sqlite import FILE


class LogReader:
    """The log in a server's folder. Raises StorageError when there is none."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE
        if not self._path.is_file():
            raise StorageError(f"{data} is no server's folder", hint=f"it holds no {FILE}")

    def events(self) -> Iterator[tuple[int, Event]]:
        """(engine time at capture in ms, event), subject by subject, each in log order.

        An event that came without a device's log (an import, a backend service) has no engine that saw it: its own time
        stands for the moment, so that years of history imported in a minute are still years.
        """
        with self._connection() as connection:
            # Keys are sorted, not records: a log is larger than the memory it is read in.
            for (seq,) in connection.execute("SELECT server_seq FROM log WHERE kind = 1 ORDER BY subject, server_seq"):
                row = connection.execute("SELECT incarnation, body FROM log WHERE server_seq = ?", (seq,)).fetchone()
                if row is None:
                    continue
                incarnation, body = row
                _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
                if isinstance(record, EventInput):
                    yield record.moment.now if incarnation else record.event.event_time, record.event

    def scores(self) -> Iterator[tuple[int, str, Scored]]:
        """(engine time in ms, subject, score with the vector that was scored), in log order: what the deciders saw."""
        for body in self._bodies("SELECT body FROM log WHERE kind = 2 ORDER BY server_seq"):
            _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
            if isinstance(record, ScoresInput):
                for subject, scored in record.scores:
                    yield record.moment.now, subject, scored

    def newest_score_time(self) -> int:
        """When the last of the newest scores in the log was given, ms; 0 for none."""
        with self._connection() as connection:
            row = connection.execute("SELECT body FROM log WHERE kind = 2 ORDER BY server_seq DESC LIMIT 1").fetchone()
        if row is None:
            return 0
        _, record = record_from_proto(record_pb2.LogRecord.FromString(row[0]))
        return record.moment.now if isinstance(record, ScoresInput) else 0

    def decisions(self) -> Iterator[Decision]:
        """Every decision record, in log order."""
        for body in self._bodies("SELECT body FROM log WHERE kind = 16 ORDER BY server_seq"):
            _, record = record_from_proto(record_pb2.LogRecord.FromString(body))
            if isinstance(record, DecisionOutput):
                yield record.decision

    def fired_times(self) -> dict[str, dict[str, list[int]]]:
        """Trigger -> subject -> times (ms, ascending) at which its action went out: whom training leaves out."""
        found: dict[str, dict[str, list[int]]] = {}
        with self._connection() as connection:
            for trigger_id, subject, fired_time in connection.execute(
                "SELECT trigger_id, subject, decision_time FROM decisions WHERE reason = 'FIRED' ORDER BY 1, 2, 3"
            ):
                found.setdefault(trigger_id, {}).setdefault(subject, []).append(fired_time)
        return found

    def live_bundle(self) -> str:
        """Digest of the bundle that is live, empty for none."""
        with self._connection() as connection:
            row = connection.execute("SELECT value FROM kept WHERE name = 'bundle'").fetchone()
        return str(msgspec.msgpack.decode(row[0])) if row else ""

    def event_ids(self) -> list[str]:
        """The id of every stored event, one entry per stored record."""
        with self._connection() as connection:
            return [row[0] for row in connection.execute("SELECT record_id FROM log WHERE kind = 1 ORDER BY server_seq")]

    def _bodies(self, query: str) -> Iterator[bytes]:
        with self._connection() as connection:
            for (body,) in connection.execute(query):
                yield body

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path)
            try:
                # Not mode=ro: beside a stopped server SQLite must be able to make the shared memory of the WAL again.
                connection.execute("PRAGMA query_only = ON")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StorageError(f"the log at {self._path} cannot be read: {error}") from None


def applied_event_ids(data: Path) -> list[str]:
    """The id of every event the server in `data` stored; an id that is there twice was applied twice."""
    return LogReader(data).event_ids()
