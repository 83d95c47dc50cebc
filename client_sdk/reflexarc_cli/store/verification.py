"""Whether a store is sound: everything in it is read once, for `reflexarc store verify`.

Owns what is checked and the words for what is wrong, each with what to do. Reads only. Must never quote what a record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from reflexarc_cli.store.frames import read_journal
from reflexarc_cli.store.look import LogRow, Look, looked, opened, opened_state
from reflexarc_cli.store.place import (
    JOURNAL,
    check_seal,
    files_of,
    identity_beside,
    is_sealed,
    journals_of_others,
    owner_of,
)
from reflexarc_cli.store.verdict import Verdict
from reflexarc_cli.store.walk import Runs, each, read_row, walk
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import ReflexArcError, StorageError
from reflexarc_core.state import State
from reflexarc_edge import schema
from reflexarc_edge.capture import CAPTURE_KIND, decode_capture
from reflexarc_edge.codec import checksum
from reflexarc_edge.entry import DECISION_KIND, parts_of
from reflexarc_edge.journal import Frame
from reflexarc_edge.log import CAPTURE_PLACE
from reflexarc_edge.repair import IDENTITY_FILE, REPAIR, Identity
from reflexarc_edge.schema import StoreDamagedError
from reflexarc_edge.seal import Open, Seal
from reflexarc_edge.upkeep import SET_ASIDE

T = TypeVar("T")

PLACES_MAX: Final = 10
"""Lines about one kind of damage; the rest is counted in one more."""

ANOTHERS: Final = f"the file {IDENTITY_FILE} names another store than the database"
KEEP_DATABASE: Final = (
    "put the right one back, or delete it to keep the database: as it is, the next start sets the database aside"
)
_COMPLAINTS_MAX: Final = 20
_READ: Final = ("acked_seq", "acked_ends", "bundle", "held_once", "incarnation", "installation", "numbered_from",
                "paused", "position_max", "refused", "snapshot", "subject")  # fmt: skip
"""Small values whose names are ours to say."""


def verify(folder: Path, seal: Seal | None, *, must_decode: bool = True) -> Verdict:
    """Read everything. must_decode: an encrypted store without its key is refused, else only checked as far as it goes.

    Raises StorageError when the store cannot be read at all, Misused when a key is missing or does not fit.
    """
    return _Verification(folder, seal, must_decode).run()


class _Verification:
    def __init__(self, folder: Path, seal: Seal | None, must_decode: bool) -> None:
        self._folder = folder
        self._seal = seal
        self._must_decode = must_decode
        self._mend: Final = f"reflexarc store repair {folder}"
        self._verdict = Verdict()
        self._frames: list[Frame] = []
        self._writer: Identity | None = None

    def run(self) -> Verdict:
        """Journals first: what is in neither a journal nor, later, in the store was never kept."""
        is_live = owner_of(self._folder).is_alive
        before = Verdict()
        self._verdict = before
        self._read_own_journal(is_live)

        def read(look: Look) -> Verdict:
            self._verdict = Verdict(findings=list(before.findings))
            self._check_database(look, is_live)
            return self._verdict

        try:
            self._verdict = looked(self._folder, read)
        except StoreDamagedError as error:
            self._verdict.is_read_whole = False
            self._verdict.wrong(error.message, self._mend)
        self._check_beside()
        return self._verdict

    # -- the journals ---------------------------------------------------------------------------------------------

    def _read_own_journal(self, is_live: bool) -> None:
        path = self._folder / JOURNAL
        if not path.exists():
            self._verdict.note("the journal is gone, and what was in it only", "the next start makes a new one")
            return
        found = read_journal(path, is_live=is_live)
        self._frames, self._writer = found.frames, found.writer
        if not found.is_whole:
            self._verdict.wrong("the journal has not the size of one: it was cut off", self._mend)
        if found.damage:
            size = sum(map(len, found.damage))
            self._verdict.wrong(
                f"the journal holds {size:,} bytes in {len(found.damage):,} places that are no record", self._mend
            )

    def _check_frames(self, look: Look, is_live: bool) -> None:
        """What only the journal holds can be read, and goes on where the store ends."""
        stored = look.last_seq()
        expected = stored + 1
        bad = Runs()
        for frame in self._frames:
            if frame.last_seq <= stored:
                continue
            if frame.first_seq > expected and not is_live:
                lost = _numbers(expected, frame.first_seq - 1)
                self._verdict.wrong(f"{lost} missing between the store and its journal", self._mend)
            expected = max(expected, frame.last_seq + 1)
            self._verdict.journal_count += frame.record_count
            if self._verdict.decoded and not self._is_readable(frame):
                bad.add(frame.first_seq, frame.last_seq)
        self._tell(bad, "in the journal and cannot be read")

    def _is_readable(self, frame: Frame) -> bool:
        try:
            for part in parts_of(frame.first_seq, frame.payload):
                if part.kind == CAPTURE_KIND:
                    decode_capture((self._seal or Open()).open(CAPTURE_PLACE, part.body))
                else:
                    read_row(_sound(part.seq, part.kind, part.body), self._seal)
        except (StorageError, ValueError, IndexError):
            return False
        return True

    # -- the database ---------------------------------------------------------------------------------------------

    def _check_database(self, look: Look, is_live: bool) -> None:
        verdict = self._verdict
        kept = look.packed_meta() if "meta" in look.tables else {}
        check_seal(self._folder, kept.get("key"), self._seal, must_open=self._must_decode)
        verdict.is_key_checked = "key" in kept
        verdict.decoded = self._seal is not None or not is_sealed(kept.get("key"))
        if not verdict.decoded:
            verdict.note("the store is encrypted: what its records say was not read", "give its key with --key-file")
        self._check_tables(look)
        self._guarded("the database", lambda: self._check_integrity(look))
        values = self._read_values(kept)
        self._guarded("the log", lambda: self._check_log(look, values, is_live))
        self._guarded("the log", lambda: self._check_frames(look, is_live))
        self._guarded("what waits to be handed over", lambda: self._check_pending(look))
        digests = self._guarded("the kept catalogs", lambda: self._check_catalogs(look)) or set()
        self._guarded("the kept state", lambda: self._check_snapshot(look, digests))
        self._check_identity(values)
        dead_count = self._guarded("the dead letters", lambda: look.count("dead")) or 0
        if dead_count:
            verdict.note(
                f"{dead_count:,} dead letters are kept: records that could not be used", "forgetting a person drops them"
            )

    def _check_tables(self, look: Look) -> None:
        """Every table has its columns, as a store made now would."""
        if look.version < schema.VERSION:
            self._verdict.note(
                f"it was written by an earlier version (store {look.version})",
                f"the next start makes it version {schema.VERSION}",
            )
            return
        from sqlite_utils import Database

        wanted = Database(memory=True)
        try:
            wanted.conn.executescript(schema.TABLES)
            for name in schema.TABLE_NAMES:
                if name not in look.tables:
                    self._verdict.wrong(f"the table {name} is missing", self._mend)
                    continue
                held = {(column.name, column.type, column.is_pk) for column in look.database[name].columns}
                lacking = {(column.name, column.type, column.is_pk) for column in wanted[name].columns} - held
                for column in sorted(column for column, _, _ in lacking):
                    self._verdict.wrong(f"the table {name} has no column {column} as it should be", self._mend)
        finally:
            wanted.close()

    def _check_integrity(self, look: Look) -> None:
        said = [str(row[0]) for row in look.query(f"PRAGMA integrity_check({_COMPLAINTS_MAX})")]
        complaints = [line.strip() for text in said for line in text.splitlines() if line.strip() not in ("", "ok")]
        complaints = [line for line in complaints if not line.startswith("*** in database")]
        if complaints:
            more = f", and {len(complaints) - 1} more complaints" if len(complaints) > 1 else ""
            self._verdict.wrong(f"SQLite's integrity check fails: {complaints[0]}{more}", self._mend)

    def _read_values(self, kept: dict[str, Any]) -> dict[str, Any]:
        """The small values by name, those that can be read."""
        values: dict[str, Any] = {}
        for name in _READ:
            if name in kept and self._verdict.decoded:
                try:
                    values[name] = opened(self._seal, f"meta {name}", kept[name])
                except StorageError:
                    self._verdict.wrong(f"the kept value {name} cannot be read", self._mend)
        return values

    def _check_log(self, look: Look, values: dict[str, Any], is_live: bool) -> None:
        floor = self._floor(values)
        given = look.last_seq()
        found = walk(self._rows(look, given), floor, self._seal, decodes=self._verdict.decoded)
        self._verdict.record_count, self._verdict.last_seq = found.record_count, given
        if self._verdict.is_read_whole:
            found.end(given, floor)
        self._verdict.losses = found.losses
        if is_live and found.gaps:
            found.gaps = self._still_missing(look, found.gaps)
        self._tell(found.damaged, "damaged: not what was written")
        self._tell(found.unreadable, "unchanged and cannot be read")
        self._tell(found.gaps, "missing, and nothing says why")
        if found.misfiled:
            self._verdict.wrong(f"{_count(found.misfiled_count, 'record')} filed under another decision", self._mend)

    def _rows(self, look: Look, upto: int) -> Iterator[LogRow]:
        """Every row of the log, as far as it can be read."""
        last = 0
        try:
            for row in each(lambda after: look.log_rows(after, upto)):
                last = row.seq
                yield row
        except StoreDamagedError as error:
            self._verdict.is_read_whole = False
            self._verdict.wrong(f"the log cannot be read behind number {last:,}: {_reason(error)}", self._mend)

    def _floor(self, values: dict[str, Any]) -> int:
        """Numbers up to here may be gone."""
        if not self._verdict.decoded:
            return 2**62  # what the server holds cannot be told
        return max(_whole(values.get(name)) for name in ("acked_seq", "numbered_from", "held_once"))

    def _still_missing(self, look: Look, gaps: Runs) -> Runs:
        """Those of the gaps that are there at a second look: the owner may have given up or cut records meanwhile."""
        found = Runs()
        for first, last in gaps.runs:
            before = look.query(f"SELECT max(seq) FROM log WHERE seq <= {first}")[0][0]
            floor = self._floor(self._read_values(look.packed_meta())) if before is None else before - 1
            start = 0 if before is None else before - 1
            again = walk(self._between(look, start, last + 1), floor, self._seal, decodes=self._verdict.decoded)
            for stretch in again.gaps.runs:
                found.add(*stretch)
        return found

    @staticmethod
    def _between(look: Look, start: int, end: int) -> Iterator[LogRow]:
        return each(lambda after: look.log_rows(max(after, start), end))

    def _check_pending(self, look: Look) -> None:
        bad = 0
        for row in look.rows("pending"):
            if self._verdict.decoded:
                try:
                    read_row(_sound(row.get("seq", 0), DECISION_KIND, row["body"]), self._seal)
                except (StorageError, TypeError):
                    bad += 1
        if bad:
            self._verdict.wrong(f"{_count(bad, 'action')} not handed over that cannot be read", self._mend)

    def _check_catalogs(self, look: Look) -> set[str]:
        good: set[str] = set()
        for row in look.rows("catalogs"):
            self._verdict.catalog_count += 1
            if digest_of(row["built"]) == row["digest"]:
                good.add(row["digest"])
            else:
                self._verdict.wrong(f"the kept catalog {str(row['digest'])[:12]!a} is not what its digest says", self._mend)
        return good

    def _check_snapshot(self, look: Look, digests: set[str]) -> None:
        if not self._verdict.decoded:
            self._verdict.subject_count = look.count("subjects")
            return
        with look.as_one():  # a snapshot and its subjects belong together
            kept = look.packed_meta().get("snapshot")
            if kept is None:
                self._verdict.fold_count = self._verdict.last_seq + self._verdict.journal_count
                return
            held = [(row["subject"], row["state"]) for row in look.rows("subjects")]
        self._verdict.subject_count = len(held)
        why = unfit_state(kept, held, digests, self._seal)
        if why:
            self._verdict.wrong(f"the kept state is of no use: {why}", self._mend)
            return
        snapshot = opened(self._seal, "meta snapshot", kept)
        self._verdict.fold_count = self._verdict.last_seq + self._verdict.journal_count - snapshot["seq"]
        self._verdict.engine_time = snapshot["head"]["engine_time"]

    def _check_identity(self, values: dict[str, Any]) -> None:
        beside = identity_beside(self._folder)
        if beside is None:
            self._verdict.wrong(f"the file {IDENTITY_FILE} is gone, or not what was written", self._mend)
        elif {"installation", "incarnation"} <= values.keys():
            if beside.installation != values["installation"]:
                self._verdict.wrong(ANOTHERS, KEEP_DATABASE)
            elif beside.incarnation != values["incarnation"]:
                self._verdict.wrong(f"the file {IDENTITY_FILE} names another numbering than the database", self._mend)
            if self._writer is not None and self._writer.installation != values["installation"]:
                self._verdict.wrong("the journal is another store's", f"{self._mend} sets it aside")
        elif self._verdict.decoded:
            self._verdict.wrong("the database does not say whose it is", self._mend)

    # -- beside ---------------------------------------------------------------------------------------------------

    def _check_beside(self) -> None:
        if (self._folder / REPAIR).is_dir():
            self._verdict.note("a repair was cut short", f"the next start finishes it, or {self._mend}")
        for path in journals_of_others(self._folder):
            try:
                found = read_journal(path, is_live=True)
            except StorageError:
                if path.exists():
                    self._verdict.wrong("a journal of captures cannot be read", "look at its permissions")
                continue
            if found.damage or not found.is_whole:
                self._verdict.wrong("a journal of captures is damaged", "its process or the next start takes what is whole")
        kept = sorted({name.split("/", 1)[1] for name in files_of(self._folder) if name.startswith(f"{SET_ASIDE}/")})
        if kept:
            self._verdict.note(f"set aside by a repair: {', '.join(kept)}", f"look at them, or delete {self._folder / SET_ASIDE}")

    # -- words ----------------------------------------------------------------------------------------------------

    def _guarded(self, what: str, check: Callable[[], T]) -> T | None:
        """What a check gives; None when the file cannot be read there, which is then said."""
        try:
            return check()
        except StoreDamagedError as error:
            self._verdict.wrong(f"{what} cannot be read: {_reason(error)}", self._mend)
            return None

    def _tell(self, runs: Runs, what: str) -> None:
        for first, last in runs.runs[:PLACES_MAX]:
            self._verdict.wrong(f"{_numbers(first, last)} {what}", self._mend)
        rest = runs.count - sum(last - first + 1 for first, last in runs.runs[:PLACES_MAX])
        if rest:
            self._verdict.wrong(f"{rest:,} more records are {what}", self._mend)


def digest_of(built: object) -> str:
    """The digest of a built catalog, empty when it is none."""
    try:
        return Catalog.from_bytes(built).digest if isinstance(built, bytes) else ""
    except (ReflexArcError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""


def unfit_state(kept: Any, held: list[tuple[Any, Any]], digests: set[str], seal: Seal | None) -> str:
    """Why a snapshot is of no use, empty when it is."""
    try:
        head = opened(seal, "meta snapshot", kept)
        pairs = [opened_state(seal, name, state) for name, state in held]
        if len(pairs) != head["subjects"]:
            return f"it has {len(pairs):,} subjects, not {head['subjects']:,}"
        digest = State.from_plain(head["head"], dict(pairs)).catalog_digest
    except StorageError:
        return "a part of it cannot be read"
    except Exception as error:  # bytes that unpack, and are no state all the same: they may break it anywhere
        return f"it is no state ({type(error).__name__})"
    return "" if digest in digests or digest in ("", Catalog().digest) else f"the catalog {digest[:12]} it belongs to is gone"


def _reason(error: StorageError) -> str:
    return error.message.rpartition(": ")[2]


def _sound(seq: int, kind: int, body: bytes) -> LogRow:
    return LogRow(seq, kind, None, body, checksum(seq, kind, body))


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _numbers(first: int, last: int) -> str:
    return f"record {first:,} is" if first == last else f"records {first:,} to {last:,} are"


def _count(count: int, name: str) -> str:
    return f"1 {name} is" if count == 1 else f"{count:,} {name}s are"
