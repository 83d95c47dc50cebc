"""Forgetting a person: everything a store holds of one subject goes, and what stays says only that something went.

Owns what is rewritten, in which order, and the tombstone. Numbers stay taken: an erased record becomes a loss. Flash memory may
keep old cells for a while whatever is written; nothing here can promise otherwise.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reflexarc_core.event import IDENTIFY
from reflexarc_core.record import (
    AnswerInput,
    DecisionOutput,
    EventInput,
    HandedOutput,
    LeaseInput,
    LossOutput,
    Record,
    ScoresInput,
    TombstoneOutput,
    ValuesInput,
    erased_digest,
)
from reflexarc_edge.entry import HIGH, last_number
from reflexarc_edge.log import Log
from reflexarc_edge.repair import REPAIR
from reflexarc_edge.runtime import Runtime
from reflexarc_edge.salvage import COPY_SUFFIX
from reflexarc_edge.store import BATCH_ROWS, FILE
from reflexarc_edge.upkeep import SET_ASIDE

REASON: Final = "erased"


def forget(runtime: Runtime, log: Log, subject: str, erase_time: int) -> int:
    """Erase one subject; how many records of the log went. erase_time: engine time, ms. Raises StorageError.

    When it returns, neither the database nor its write-ahead log, the journal, the dead letters or what was set aside
    holds anything of the subject; a digest of the subject and the time are all that is kept.
    """
    digest = erased_digest(log.installation, subject)
    with runtime.reading():
        log.drain()
        erased = _erase_rows(log, subject)
        runtime.drop_subject(subject)
        runtime.keep_snapshot(force=True, whole=True)
        spool = log.spool
        with spool.store.transaction() as db:
            for decision_id, decision in log.owed():
                if decision is None or decision.subject == subject:
                    db.execute("DELETE FROM pending WHERE decision_id = ?", (decision_id,))
            # A dead letter cannot be read, so nobody can tell whose it is.
            db.execute("DELETE FROM dead")
            db.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", (digest, erase_time))
        spool.blank()
        # SQLite leaves pieces of rows in the gaps of pages it moved rows away from, whatever it deletes securely.
        spool.store.rewrite()
        spool.store.checkpoint(force=True)
        for name in (SET_ASIDE, REPAIR, f"{FILE}{COPY_SUFFIX}"):
            shutil.rmtree(log.folder / name, ignore_errors=True)
        log.append([TombstoneOutput(digest, erase_time)], priority=HIGH)  # it travels: the server forgets too
    return erased


def not_held(runtime: Runtime, log: Log, digest: str, erase_time: int) -> None:
    """A subject to be erased of which nothing is here: say so, or the server asks for ever."""
    with runtime.reading():
        log.append([TombstoneOutput(digest, erase_time)], priority=HIGH)


def subject_of(runtime: Runtime, log: Log, digest: str) -> str:
    """The subject that a digest means, among all that the store holds something of; empty for none."""
    with runtime.reading():
        for subject in runtime.engine.state.subjects:
            if erased_digest(log.installation, subject) == digest:
                return subject
        for _, record in log.records(0):
            for subject in _subjects(record):
                if erased_digest(log.installation, subject) == digest:
                    return subject
    return ""


def _subjects(record: Record) -> Iterator[str]:
    if isinstance(record, EventInput):
        yield record.event.subject
        if record.event.event_type == IDENTIFY:
            yield f"known:{record.event.properties.get('known_id')}"
    elif isinstance(record, DecisionOutput):
        yield record.decision.subject
    elif isinstance(record, (ValuesInput, LeaseInput)):
        yield record.subject


def _erase_rows(log: Log, subject: str) -> int:
    """Replace every record of the subject by a loss, and take it out of records that hold several subjects."""
    erased = 0
    after = 0
    decisions: set[str] = set()
    while True:
        pairs = list(log.read_rows(after, BATCH_ROWS))
        if not pairs:
            return erased
        with log.spool.store.transaction() as db:
            for row, record in pairs:
                left = _without(record, subject, decisions)
                if left is record:
                    continue
                erased += left is None
                log.rewrite(row.seq, left or LossOutput(REASON, row.seq, row.seq, 1))
            for decision_id in decisions:
                db.execute("DELETE FROM pending WHERE decision_id = ?", (decision_id,))
        after = last_number(pairs[-1][0].seq, pairs[-1][1])


def _without(record: Record, subject: str, decisions: set[str]) -> Record | None:
    """What is left of a record without the subject: the record itself, a smaller one, or None."""
    if isinstance(record, EventInput):
        event = record.event
        names = event.event_type == IDENTIFY and f"known:{event.properties.get('known_id')}" == subject
        return None if names or event.subject == subject else record
    if isinstance(record, (ValuesInput, LeaseInput)):
        return None if record.subject == subject else record
    if isinstance(record, DecisionOutput):
        if record.decision.subject != subject:
            return record
        decisions.add(record.decision.decision_id)
        return None
    if isinstance(record, (AnswerInput, HandedOutput)):
        return None if record.decision_id in decisions else record
    if isinstance(record, ScoresInput) and any(key == subject for key, _ in record.scores):
        scores = tuple((key, scored) for key, scored in record.scores if key != subject)
        return replace(record, scores=scores) if scores else None
    return record
