"""The tables of erasure, and the erasing itself: every row that holds a subject, found and taken out.

Owns its SQL. A row's columns say whose event or decision it is; where only its body says so, the body is searched for the
subject as the wire writes it, then read. Must never leave a name: rows of a decision go by the decision's id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reflexarc_core.event import IDENTIFY
from reflexarc_proto.v1 import event_pb2, record_pb2
from reflexarc_proto.wire import subject_to_proto
from reflexarc_server.store import leads, leases, outbox, shares, social
from reflexarc_server.store.port import Transaction
from reflexarc_server.store.sqlite import SqliteStore

ROWS_AT_ONCE: Final = 500
_ANSWER, _HANDED, _SCORES, _VALUES, _LEASE = 3, 17, 2, 6, 8


class ErasedTable:
    """Whom one store was told to forget."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def all(self) -> list[tuple[str, int, str | None]]:
        """(digest, time in ms, the subject while something of it may be left)."""
        return [tuple(row) for row in self._store.ask("SELECT subject_digest, erase_time, subject FROM erased")]

    def due(self, installation: str) -> list[tuple[str, int]]:
        """(digest, time in ms) of what this installation still has to erase."""
        rows = self._store.ask(
            "SELECT subject_digest, erase_time FROM erasures WHERE installation = ? ORDER BY 1 LIMIT 1000", (installation,)
        )
        return [(str(digest), int(time)) for digest, time in rows]

    def owing(self) -> list[str]:
        """Devices that still have something to erase."""
        return [str(row[0]) for row in self._store.ask("SELECT DISTINCT installation FROM erasures")]

    def known(self) -> Iterator[str]:
        """Every subject that the store holds something of, some more than once."""
        self._store.index()
        for table, column in (("by_subject", "subject"), ("decisions", "subject"), ("links", "subject"), ("links", "known")):
            for (subject,) in self._store.ask(f"SELECT DISTINCT {column} FROM {table}"):
                yield subject

    def holders(self, subject: str) -> list[str]:
        """Devices that sent something of it. May be asked inside a transaction: it changes nothing."""
        rows = self._store.ask(
            "SELECT l.installation FROM by_subject b JOIN log l ON l.server_seq = b.server_seq"
            " WHERE b.subject = ?1 AND l.incarnation <> '' UNION SELECT installation FROM log"
            " WHERE server_seq > ?2 AND kind = 1 AND subject = ?1 AND incarnation <> ''",
            (subject, self._store.indexed_seq),
        )
        return [str(row[0]) for row in rows]

    def erase(self, subject: str, erase_time: int) -> int:
        """Take out what happened until then, and everything that only belongs to it; how many records went."""
        self._store.index()
        ask, count = self._store.ask, 0
        its = (subject, erase_time)
        decided = ask("SELECT server_seq, decision_id FROM decisions WHERE subject = ? AND decision_time <= ?", its)
        ids = {str(decision_id) for _, decision_id in decided}
        events = ask("SELECT server_seq FROM by_subject WHERE subject = ? AND event_time <= ?", its)
        count += self._delete([int(row[0]) for row in (*events, *decided)])
        needle = subject_to_proto(subject).SerializeToString()
        kinds = f"{_SCORES}, {_VALUES}, {_LEASE}"
        inside = ask(f"SELECT server_seq, body FROM log WHERE kind IN ({kinds}) AND instr(body, ?) > 0", (needle,))
        for seq, body in inside:
            left = without(body, subject, erase_time)
            if left is None:
                count += self._delete([seq])
            elif left != body:
                with self._store.transaction() as transaction:
                    transaction.run("UPDATE log SET body = ? WHERE server_seq = ?", (left, seq))
        identifying = "SELECT server_seq, body FROM log WHERE kind = 1 AND event_type = ? AND event_time <= ?"
        named = ask(identifying, (IDENTIFY, erase_time))
        count += self._delete([seq for seq, body in named if identified(body) == subject])
        if ids:
            for kind, field in ((_ANSWER, "answer"), (_HANDED, "handed")):
                rows = ask("SELECT server_seq, body FROM log WHERE kind = ?", (kind,))
                found = [s for s, b in rows if getattr(record_pb2.LogRecord.FromString(b), field).decision_id in ids]
                count += self._delete(found)
        with self._store.transaction() as transaction:
            transaction.run("DELETE FROM deliveries WHERE subject = ?", (subject,))
            leases.forget(transaction.run, subject)
            outbox.forget(transaction.run, subject, erase_time)
            social.forget(transaction.run, subject)
            shares.forget(transaction.run, subject)
            leads.forget(transaction.run, subject, erase_time)
            transaction.run("DELETE FROM links WHERE subject = ?1 OR known = ?1", (subject,))
        return count

    def _delete(self, seqs: list[int]) -> int:
        for start in range(0, len(seqs), ROWS_AT_ONCE):
            part = tuple(seqs[start : start + ROWS_AT_ONCE])
            marks = ", ".join("?" * len(part))
            with self._store.transaction() as transaction:
                transaction.run(
                    "DELETE FROM by_subject WHERE (subject, server_seq) IN"
                    f" (SELECT subject, server_seq FROM log WHERE kind = 1 AND server_seq IN ({marks}))", part,
                )  # fmt: skip
                for table in ("log", "decisions", "outcomes"):
                    transaction.run(f"DELETE FROM {table} WHERE server_seq IN ({marks})", part)
        return len(seqs)


def tell(transaction: Transaction, digest: str, erase_time: int, subject: str | None) -> None:
    """A subject is erased from then on, the latest time counts. subject: while something of it may be left."""
    transaction.run(
        "INSERT INTO erased VALUES (?, ?, ?) ON CONFLICT (subject_digest) DO UPDATE"
        " SET erase_time = max(erase_time, excluded.erase_time), subject = coalesce(excluded.subject, subject)",
        (digest, erase_time, subject),
    )


def settle(transaction: Transaction, digest: str) -> None:
    """Nothing of it is left, and its name goes."""
    transaction.run("UPDATE erased SET subject = NULL WHERE subject_digest = ?", (digest,))


def drop(transaction: Transaction, digest: str) -> None:
    """It is known under another digest now."""
    transaction.run("DELETE FROM erased WHERE subject_digest = ?", (digest,))


def owe(transaction: Transaction, installation: str, digest: str, erase_time: int) -> None:
    """This device still has to erase it."""
    transaction.run("INSERT OR REPLACE INTO erasures VALUES (?, ?, ?)", (installation, digest, erase_time))


def done(transaction: Transaction, installation: str, digest: str, erase_time: int) -> bool:
    """This device has; False when it was not asked to, or says a later time."""
    gone = transaction.run(
        "DELETE FROM erasures WHERE installation = ? AND subject_digest = ? AND erase_time >= ?",
        (installation, digest, erase_time),
    )
    return bool(gone.rowcount)


def time_of(transaction: Transaction, digest: str) -> int:
    """When it was erased, -1 for never."""
    row = transaction.run("SELECT erase_time FROM erased WHERE subject_digest = ?", (digest,)).fetchone()
    return int(row[0]) if row else -1


def named(message: record_pb2.LogRecord) -> list[event_pb2.Subject]:
    """Everybody that a record of values, a lease or scores is about."""
    if message.HasField("values"):
        return [message.values.subject]
    if message.HasField("lease"):
        return [message.lease.lease.subject]
    return [held.subject for held in message.scores.scores]


def without(body: bytes, subject: str, erase_time: int) -> bytes | None:
    """A record of scores, values or a lease as it is without the subject; None when nothing is left."""
    message = record_pb2.LogRecord.FromString(body)
    wanted = subject_to_proto(subject)
    if message.HasField("values"):
        is_its = message.values.subject == wanted and message.values.moment.now_time <= erase_time
        return None if is_its else body
    if message.HasField("lease"):
        is_its = message.lease.lease.subject == wanted and message.lease.moment.now_time <= erase_time
        return None if is_its else body
    if not message.HasField("scores") or message.scores.moment.now_time > erase_time:
        return body
    kept = [held for held in message.scores.scores if held.subject != wanted]
    if len(kept) == len(message.scores.scores):
        return body
    del message.scores.scores[:]
    message.scores.scores.extend(kept)
    return message.SerializeToString() if kept else None


def identified(body: bytes) -> str:
    """Whom an identify event names, as a subject; empty for another record."""
    event = record_pb2.LogRecord.FromString(body).event.event
    known_id = event.properties["known_id"].string_value if "known_id" in event.properties else ""
    return f"known:{known_id}" if event.event_type == IDENTIFY and known_id else ""
