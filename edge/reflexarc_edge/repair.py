"""Repair: a store that is damaged is set aside, what is left of it goes into a new one, and the device goes on.

Owns what is kept of a damaged file, under which numbering the device goes on, and the words for what happened. Start-up
never fails for what is in a file, and never needs a human. Must never throw a file away: only `forget` does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reflexarc_core.errors import StorageError
from reflexarc_core.record import LossOutput, Record
from reflexarc_edge.codec import decode, encode, unpack
from reflexarc_edge.entry import LOSS_KIND, last_number
from reflexarc_edge.inherited import renew
from reflexarc_edge.journal import sync_file, sync_folder
from reflexarc_edge.schema import TABLE_NAMES, StoreDamagedError
from reflexarc_edge.seal import Open, Seal, check_key
from reflexarc_edge.store import FILE, Connect, Row, Store, connect
from reflexarc_edge.upkeep import SET_ASIDE, runs
from reflexarc_edge.wal_owner import wal_is_anothers

if TYPE_CHECKING:
    from reflexarc_edge.salvage import Salvaged

IDENTITY_FILE: Final = "identity"
REPAIR: Final = "repair"
SET_ASIDE_MAX: Final = 8
"""Damaged stores kept to be looked at; the oldest makes room, so that a disk that rots does not fill."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a store is. installation: for life. incarnation: of the numbering, new after a repair."""

    installation: str
    incarnation: str


@dataclass(slots=True)
class Repair:
    """What a start (or a repair while running) had to do. notes: one line each, for people; no payload in them."""

    notes: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    salvaged_count: int = 0
    lost_count: int = 0

    def __bool__(self) -> bool:
        return bool(self.notes)


def open_store(folder: Path, seal: Seal | None = None, connect: Connect = connect, damage: str = "") -> tuple[Store, Repair]:
    """The store in a folder: a new one, the one that is there, or what is left of it in a new one. damage: what is known to be
    wrong with the one that is there, though it may open.

    Raises StorageError for what no repair helps: no permission, no room, another key, a later version.
    """
    found = Repair()
    _finish(folder)
    try:
        renew(folder / FILE)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="free some space on the disk") from None
    if _is_empty(folder / FILE) and (folder / IDENTITY_FILE).exists():
        found.notes.append("the database was gone; a new one begins, with a numbering of its own")
    if not damage and wal_is_anothers(folder / FILE):
        damage = "the write-ahead log beside it is another store's"
    try:
        if not damage:
            store = Store(folder, seal, connect)
            if not _is_anothers(folder, store):
                return store, found
            store.close()
            damage = "it holds what another store wrote"
    except StoreDamagedError as error:
        damage = str(error)
    _salvage_into_new(folder, seal, connect, found, damage)
    return Store(folder, seal, connect), found


def set_aside(folder: Path, names: Iterable[str], found: Repair) -> Path:
    """Move files of a store into a place of their own. The moved main file's path."""
    place = folder / SET_ASIDE
    place.mkdir(mode=0o700, exist_ok=True)
    number = 1 + max((int(p.name.split(".")[0]) for p in place.iterdir() if p.name.split(".")[0].isdigit()), default=0)
    moved = None
    for name in names:
        source = folder / name
        if source.exists():
            target = place / f"{number:04d}.{name}"
            os.replace(source, target)
            found.set_aside.append(target.name)
            moved = moved or target
    for old in sorted(place.glob("*.*")):
        if int(old.name.split(".")[0]) <= number - SET_ASIDE_MAX:
            old.unlink()
    return moved or place / f"{number:04d}.none"


def keep_bytes(folder: Path, name: str, parts: Iterable[bytes], found: Repair) -> None:
    """Keep what was neither frame nor zero in a journal, to be looked at."""
    whole = b"\n".join(parts)
    (folder / SET_ASIDE).mkdir(mode=0o700, exist_ok=True)
    temporary = folder / f"{name}.damage"
    temporary.write_bytes(whole)
    temporary.chmod(0o600)
    set_aside(folder, [temporary.name], found)


def identity_of(folder: Path, store: Store, last: Identity | None = None) -> Identity:
    """Who this store is. Kept in the store and beside it: an installation outlives its database. last: what the journal
    says, where neither does.
    """
    beside = read_identity(folder) or last
    installation = store.meta("installation", None) or (beside.installation if beside else None) or secrets.token_hex(16)
    # A database that knows no numbering is a new one, whoever was here before: numbers are not given out twice under one name.
    incarnation = store.meta("incarnation", None) or secrets.token_hex(16)
    identity = Identity(str(installation), str(incarnation))
    if (store.meta("installation", None), store.meta("incarnation", None)) != (identity.installation, identity.incarnation):
        with store.transaction():
            store.keep_meta("installation", identity.installation)
            store.keep_meta("incarnation", identity.incarnation)
    if read_identity(folder) != identity:
        _write_identity(folder, identity)
    return identity


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True


def _is_anothers(folder: Path, store: Store) -> bool:
    """Whether the database is not of the store that this folder is: SQLite never asks whose write-ahead log it finds."""
    beside = read_identity(folder)
    installation = store.meta("installation", None)
    return beside is not None and installation is not None and installation != beside.installation


def _salvage_into_new(folder: Path, seal: Seal | None, connect: Connect, found: Repair, why: str) -> None:
    """Put a new store with everything that could be read of the old one in its place.

    The new one is whole before the old one is moved, and only then takes its name: whenever this is cut short, the next
    start finds one of the two and goes on from there.
    """
    from reflexarc_edge.salvage import salvage

    beside = read_identity(folder)
    saved = salvage(folder / FILE)
    if beside is not None and _text(saved, seal, "installation") not in ("", beside.installation):
        saved = salvage(folder / "nothing")  # what is there is another store's
    for row in saved.tables.get("meta", []):
        if row[0] == "key":
            check_key(seal or Open(), row[1])  # without its key, a store is left as it is
    place = folder / REPAIR
    place.mkdir(mode=0o700, exist_ok=True)
    store = Store(place, seal, connect)
    try:
        with store.transaction() as db:
            _fill(db, saved)
            acked = _meta(saved, seal, "acked_seq", 0)
            # Numbers up to the largest anybody may have seen are never given out again.
            floor = max([acked, *saved.log])
            # Where the small values are gone, nobody knows how far the server holds the log: its head may have been cut.
            is_known = bool(_text(saved, seal, "incarnation"))
            if is_known and saved.log and min(saved.log) > acked + 1:
                found.lost_count += _explain(store, acked + 1, min(saved.log) - 1)
            found.lost_count += explain_gaps(store, saved.log, floor)
            if beside is not None:
                store.keep_meta("installation", beside.installation)
            store.keep_meta("incarnation", secrets.token_hex(16))
            store.keep_meta("numbered_from", acked)
        store.checkpoint(force=True)
    finally:
        store.close()
    for named in (place, folder):
        sync_folder(named)
    aside = set_aside(folder, [FILE, f"{FILE}-wal", f"{FILE}-shm"], found)
    _finish(folder)
    found.salvaged_count = len(saved.log)
    found.notes.append(
        f"the store was damaged and set aside as {aside.name} ({why.rsplit(': ', 1)[-1]}): "
        f"{len(saved.log)} records were taken over, {found.lost_count} are lost"
    )


def _finish(folder: Path) -> None:
    """Finish a repair that was cut short: with the old store moved, the new one is whole; else it is begun again."""
    place = folder / REPAIR
    if not place.is_dir():
        return
    if not (folder / FILE).exists() and (place / FILE).exists():
        for name in (f"{FILE}-wal", f"{FILE}-shm"):
            (folder / name).unlink(missing_ok=True)
        os.replace(place / FILE, folder / FILE)
        sync_folder(folder)
    for left in place.iterdir():
        left.unlink()
    place.rmdir()


def _fill(db: Any, saved: Salvaged) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO log (seq, kind, decision_id, body, crc) VALUES (?, ?, ?, ?, ?)",
        [(seq, *row) for seq, row in sorted(saved.log.items())],
    )
    for table, rows in saved.tables.items():
        if table in TABLE_NAMES and table != "log" and rows:
            marks = ", ".join("?" * len(rows[0]))
            db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", [row for row in rows if len(row) == len(rows[0])])


def behind_a_gap(rows: Iterable[Row], after: int, floor: Callable[[], int], read: Callable[[Row], Record]) -> int:
    """The first of these rows, read in order behind `after`, that follows a number nobody may have cut and no row is left of; 0
    for none. floor: number up to which records may have been cut. What a loss among the rows names is no gap."""
    for row in rows:
        if row.seq > after + 1 and row.seq > floor() + 1:
            return row.seq
        after = max(after, row.seq)
        if row.kind == LOSS_KIND:
            with contextlib.suppress(StorageError):
                after = max(after, last_number(row.seq, read(row)))
    return 0


def explain_gaps(store: Store, held: Iterable[int], floor: int) -> int:
    """A loss for every stretch of numbers between the oldest record and the newest that is not there; how many numbers.

    held: numbers of the records that are. What a loss among them names is explained already.
    """
    numbers = set(held)
    with store.transaction() as db:
        for (body,) in db.execute(f"SELECT body FROM log WHERE kind = {LOSS_KIND}").fetchall():
            try:
                loss = decode(LOSS_KIND, body)
            except StorageError:
                continue
            if isinstance(loss, LossOutput):
                numbers.update(range(loss.first_seq, loss.last_seq + 1))
        lost = 0
        stretches = runs(sorted(numbers))
        for (_, last), (first, _) in itertools.pairwise(stretches):
            lost += _explain(store, last + 1, first - 1)
        if stretches and floor > stretches[-1][1]:
            lost += _explain(store, stretches[-1][1] + 1, floor)
    return lost


def explain_tail(store: Store, floor: int) -> int:
    """A loss for the numbers behind the newest record, up to the largest that was given out; how many there are."""
    newest = store.last_held(2**62)
    last = 0
    if newest is not None:
        last = newest.seq
        with contextlib.suppress(StorageError):
            if newest.kind == LOSS_KIND:
                last = last_number(newest.seq, decode(LOSS_KIND, newest.body))
    return _explain(store, last + 1, floor) if floor > last else 0


def _explain(store: Store, first: int, last: int) -> int:
    count = last - first + 1
    kind, body = encode(LossOutput("damaged", first, last, count))
    store.replace_row(first, kind, body)
    return count


def _meta(saved: Salvaged, seal: Seal | None, name: str, default: int) -> int:
    value = _value(saved, seal, name)
    return value if type(value) is int else default


def _text(saved: Salvaged, seal: Seal | None, name: str) -> str:
    value = _value(saved, seal, name)
    return value if type(value) is str else ""


def _value(saved: Salvaged, seal: Seal | None, name: str) -> Any:
    for row in saved.tables.get("meta", []):
        if row[0] == name:
            try:
                return unpack((seal or Open()).open(f"meta {name}", row[1]))
            except (ValueError, StorageError, RecursionError):
                return None
    return None


def read_identity(folder: Path) -> Identity | None:
    try:
        kept = json.loads((folder / IDENTITY_FILE).read_text())
        identity = Identity(str(kept["installation"]), str(kept["incarnation"]))
        return identity if kept["check"] == _check(identity) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_identity(folder: Path, identity: Identity) -> None:
    """In place of the old one at once: whole or not at all."""
    text = json.dumps({"installation": identity.installation, "incarnation": identity.incarnation, "check": _check(identity)})
    fresh = folder / f"{IDENTITY_FILE}.new"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text.encode())
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        os.replace(fresh, folder / IDENTITY_FILE)
        sync_folder(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="free some space on the disk") from None


def _check(identity: Identity) -> int:
    return zlib.crc32(f"{identity.installation} {identity.incarnation}".encode())
