"""Mending a store that nobody owns, for `reflexarc store repair`.

Owns what a tool mends beyond a start of the client: pages that a start does not look at, gaps in the numbering, rows that stand
beside the log. Whatever cannot be read becomes a loss with its number; nothing is thrown away that could be read. May be cut
short at any moment: the next start, or the next repair, goes on.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reflexarc.elsewhere import LIVE_CATALOG
from reflexarc_cli.misuse import Misused
from reflexarc_cli.store.completing import completing
from reflexarc_cli.store.look import LogRow, opened
from reflexarc_cli.store.place import BUNDLES, JOURNAL, check_seal, owner_of
from reflexarc_cli.store.verdict import WRONG, Verdict
from reflexarc_cli.store.verification import ANOTHERS, KEEP_DATABASE, digest_of, unfit_state, verify
from reflexarc_cli.store.walk import each, read_row, walk
from reflexarc_core.errors import StorageError
from reflexarc_core.record import LossOutput
from reflexarc_edge.codec import checksum, encode
from reflexarc_edge.entry import DECISION_KIND, LOSS_KIND
from reflexarc_edge.log import Log
from reflexarc_edge.seal import Seal
from reflexarc_edge.store import BATCH_ROWS, FILE, Store, connect

_INDEX_ONLY: Final = re.compile(r"(row \d+ missing from|wrong # of entries in|non-unique entry in) index log_decision")
_COMPLAINTS_MAX: Final = 100


@dataclass(slots=True)
class Mended:
    """before, after: what was wrong and what still is. done: one line for each thing that was done, without a payload.
    recovered_count: records that were in the journal only. lost: numbers lost in this repair, by reason."""

    before: Verdict
    after: Verdict
    done: list[str] = field(default_factory=list)
    recovered_count: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    set_aside: list[str] = field(default_factory=list)

    def mended(self) -> list[str]:
        """What was wrong and is not any more."""
        left = {finding.what for finding in self.after.findings}
        return [finding.what for finding in self.before.findings if finding.level == WRONG and finding.what not in left]


def repair(folder: Path, seal: Seal | None) -> Mended:
    """Mend a store. Raises StorageError when it is owned or the disk will not have it, Misused when its key is missing."""
    owner = owner_of(folder)
    if owner.is_alive:
        raise StorageError(
            f"the store at {folder} is in use by process {owner.pid or 'unknown'}",
            hint="a repair needs it alone: end that process",
        )
    before = verify(folder, seal)
    if not before.is_key_checked:
        _check_key_of_ruin(folder, seal)
    if any(finding.what == ANOTHERS for finding in before.findings):
        raise StorageError(f"the store at {folder}: {ANOTHERS}", hint=KEEP_DATABASE)
    had_journal = (folder / JOURNAL).exists()
    log = Log(folder, seal=seal, complete=completing(), connect=_checked_connect)
    try:
        for _ in log.records(0):  # what cannot be read is set aside and becomes a loss
            pass
        mender = _Mender(log.spool.store, folder, seal)
        mender.run()
        log.spool.store.checkpoint(force=True)
        if not had_journal:
            # One made here would have the size of no bound at all, and keep it: the application's client makes its own.
            (folder / JOURNAL).unlink(missing_ok=True)
        found = log.spool.repair
        mended = Mended(before, before, [*found.notes, *mender.done], log.spool.recovered_count, set_aside=found.set_aside)
    finally:
        log.close()
    mended.after = verify(folder, seal)
    if before.is_read_whole:  # else nobody knows which losses were there before
        mended.lost = dict(sorted((mended.after.losses - before.losses).items()))
    return mended


class _Mender:
    """What a start of the client leaves as it is."""

    def __init__(self, store: Store, folder: Path, seal: Seal | None) -> None:
        self._store = store
        self._folder = folder
        self._seal = seal
        self.done: list[str] = []

    def run(self) -> None:
        """Values first: the numbering is judged by them."""
        self._drop_unreadable_values()
        self._mend_log()
        self._restore_catalogs()
        self._restore_pending()
        self._drop_unfit_state()

    def _drop_unreadable_values(self) -> None:
        for name, kept in self._query("SELECT name, value FROM meta WHERE name != 'key'"):
            try:
                opened(self._seal, f"meta {name}", kept)
            except StorageError:
                with self._store.transaction() as db:
                    db.execute("DELETE FROM meta WHERE name = ?", (name,))
                self.done.append("a kept value that could not be read was dropped: the next start has its default")

    def _mend_log(self) -> None:
        floor = max(self._store.meta(name, 0) for name in ("acked_seq", "numbered_from", "held_once"))
        missing = misfiled = 0
        while True:  # a walk tells so many places and no more
            found = walk(each(self._log_rows), floor, self._seal)
            found.end(self._store.last_seq, floor)
            if not found.gaps and not found.misfiled:
                break
            with self._store.transaction() as db:
                for first, last in found.gaps.runs:
                    self._store.replace_row(first, *encode(LossOutput("damaged", first, last, last - first + 1)))
                    missing += last - first + 1
                for seq, decision_id in found.misfiled:
                    db.execute("UPDATE log SET decision_id = ? WHERE seq = ?", (decision_id, seq))
            misfiled += len(found.misfiled)
        if missing:
            self.done.append(f"{missing:,} missing numbers were written down as lost")
        if misfiled:
            self.done.append(f"{misfiled:,} records were filed under their decision again")

    def _log_rows(self, after: int) -> list[LogRow]:
        query = "SELECT seq, kind, CAST(decision_id AS BLOB), body, crc FROM log WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._store.reading() as db:
            rows = db.execute(query, (after, BATCH_ROWS)).fetchall()
        return [
            LogRow(seq, kind, name.decode(errors="replace") if isinstance(name, bytes) else name, body, crc)
            for seq, kind, name, body, crc in rows
        ]

    def _restore_catalogs(self) -> None:
        for digest, built in self._query("SELECT digest, built FROM catalogs"):
            if digest_of(built) == digest:
                continue
            copy = next((found for found in self._copies(str(digest)) if digest_of(found) == digest), None)
            with self._store.transaction() as db:
                db.execute("DELETE FROM catalogs WHERE digest = ?", (digest,))
                if copy is not None:
                    db.execute("INSERT INTO catalogs VALUES (?, ?)", (digest, copy))
            self.done.append(f"a damaged catalog was {'replaced by its copy' if copy is not None else 'dropped'}")

    def _copies(self, digest: str) -> list[bytes]:
        """Where else a catalog may lie."""
        found = []
        for path in (self._folder / LIVE_CATALOG, *(self._folder / BUNDLES).glob("*/catalog.json")):
            try:
                found.append(path.read_bytes())
            except OSError:
                continue
        return found

    def _restore_pending(self) -> None:
        """An action that waits is a copy of its record in the log."""
        for decision_id, seq, body in self._query("SELECT decision_id, seq, body FROM pending"):
            if _is_readable(LogRow(seq, DECISION_KIND, None, body, checksum(seq, DECISION_KIND, body)), self._seal):
                continue
            rows = [LogRow(row.seq, row.kind, None, row.body, row.crc) for row in self._store.decision_rows(decision_id)]
            copy = next((row for row in reversed(rows) if row.kind == DECISION_KIND and _is_readable(row, self._seal)), None)
            with self._store.transaction() as db:
                if copy is None:
                    db.execute("DELETE FROM pending WHERE decision_id = ?", (decision_id,))
                else:
                    db.execute("UPDATE pending SET body = ?, seq = ? WHERE decision_id = ?", (copy.body, copy.seq, decision_id))
            self.done.append(f"a damaged action was {'dropped' if copy is None else 'read from the log again'}")

    def _drop_unfit_state(self) -> None:
        kept = self._query("SELECT value FROM meta WHERE name = 'snapshot'")
        if not kept:
            return
        digests = {digest for digest, _ in self._query("SELECT digest, built FROM catalogs")}
        why = unfit_state(kept[0][0], self._query("SELECT subject, state FROM subjects"), digests, self._seal)
        if why:
            self._store.drop_snapshot()
            self.done.append("the kept state was of no use and was dropped: the next start folds the log from its oldest record")

    def _query(self, statement: str) -> list[tuple[Any, ...]]:
        with self._store.reading() as db:
            return list(db.execute(statement).fetchall())


def _checked_connect(path: str) -> Any:
    """A connection to a file every page of which was looked at; what SQLite finds wrong then is damage like any other."""
    connection = connect(path)
    complaints = _complaints(connection)
    if complaints and all(_INDEX_ONLY.search(line) for line in complaints):
        connection.execute("REINDEX log_decision")
        complaints = _complaints(connection)
    if complaints:
        connection.close()
        error = sqlite3.DatabaseError("SQLite's integrity check fails")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error
    return connection


def _complaints(connection: Any) -> list[str]:
    said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_COMPLAINTS_MAX})").fetchall()]
    return [line for text in said for line in text.splitlines() if line.strip() not in ("", "ok") and not line.startswith("***")]


def _check_key_of_ruin(folder: Path, seal: Seal | None) -> None:
    """A salvage in the belief that nothing is encrypted would write values nobody can read later. Raises Misused."""
    from reflexarc_edge.salvage import salvage

    saved = salvage(folder / FILE)
    key = next((row[1] for row in saved.tables["meta"] if row[0] == "key"), None)
    check_seal(folder, key, seal)
    rows = (LogRow(seq, kind, name, body, crc) for seq, (kind, name, body, crc) in saved.log.items() if kind != LOSS_KIND)
    some = list(itertools.islice(rows, BATCH_ROWS))
    if key is None and some and not any(_is_readable(row, seal) for row in some):
        raise Misused(
            f"nothing in the store at {folder} can be read with{'out a' if seal is None else ' this'} key", hint="give --key-file"
        )


def _is_readable(row: LogRow, seal: Seal | None) -> bool:
    try:
        read_row(row, seal)
    except (StorageError, TypeError):
        return False
    return True
