"""Promise 8: whatever is in the files, a client starts, says what it gave up, and nothing false is kept or sent."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reflexarc import Client
from reflexarc_core.record import EventInput, LossOutput, Record
from reflexarc_edge.codec import checksum, encode
from reflexarc_edge.journal import OWN_BYTES
from tests.promises import kit
from tests.promises.outcome import Outcome

EVENTS = 300
WAITING = 40
"""Events that are still in the journal only."""
BYTES_MAX = 8 * kit.MIB
PAGE_BYTES = 4096
TABLE_LEAF = 0x0D
"""First byte of a page of rows in SQLite's file format."""


@dataclass(frozen=True)
class Template:
    """A store as `kill -9` left it, and what it holds: the meaning of every record by its number."""

    folder: Path
    truth: dict[int, object]
    installation: str
    incarnation: str
    acked_seq: int
    stored_seq: int


def make_template(folder: Path, seed: int, events: int = EVENTS, waiting: int = WAITING) -> Template:
    """A store with decisions, a snapshot in the middle, records at the server, a write-ahead log and a journal in use."""
    draw = random.Random(seed)
    live = folder.with_name(folder.name + "-live")
    with kit.open_client(live, store_bytes_max=BYTES_MAX) as client:
        for serial in range(events):
            kit.track(
                client,
                draw,
                serial,
                size=draw.choice((0, 0, 20, 900, 6_000 if serial % 40 == 0 else 0)),
                subject=f"known:{serial % 9}",
            )
            if serial == events // 3:
                client.runtime.keep_snapshot(force=True)
                client.log.sync_to_disk()
                client.log.acknowledge(serial // 2)
            if serial == events // 2:
                client.log.drain()
                client.log.spool.store.checkpoint(force=True)
        client.log.drain()
        spool = client.log.spool
        with client.runtime.reading(), spool.store.lock:
            for serial in range(events, events + waiting):
                kit.track(client, draw, serial, subject="known:1")
            stored_seq = spool.store.last_seq
            with spool.lock:
                shutil.copytree(live, folder)
        truth = {seq: meaning(record) for seq, record in client.log.records(0)}
        made = Template(folder, truth, client.log.installation, client.log.incarnation, client.log.acked_seq, stored_seq)
    shutil.rmtree(live)
    return made


def meaning(record: Record) -> object:
    """What must never change of a record. The context of an event that was not folded yet is made anew by whoever folds it."""
    if isinstance(record, EventInput):
        event = record.event
        return event.event_id, event.event_type, event.subject, event.event_time, tuple(event.properties.items())
    return encode(record)


# -- the kinds of damage ----------------------------------------------------------------------------------------------


def _flip_bits(path: Path, draw: random.Random, count: int, start: int = 0) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[draw.randrange(start, len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _write(path: Path, at: int, junk: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(junk)


def _bit_flips(case: Case) -> None:
    _flip_bits(case.draw.choice((case.db, case.wal)), case.draw, case.draw.randint(1, 8))


def _garbage_pages(case: Case) -> None:
    path = case.draw.choice((case.db, case.db, case.wal))
    for _ in range(case.draw.randint(1, 3)):
        page = case.draw.randrange(max(1, path.stat().st_size // PAGE_BYTES))
        _write(
            path, page * PAGE_BYTES, case.draw.choice((case.draw.randbytes(PAGE_BYTES), bytes(PAGE_BYTES), b"\xff" * PAGE_BYTES))
        )


def _shortened_pages(case: Case) -> None:
    """A page of rows says that it holds fewer of them than it does, which no reader of it can notice."""
    pages = range(PAGE_BYTES, case.db.stat().st_size, PAGE_BYTES)
    content = case.db.read_bytes()
    rows = [at for at in pages if content[at] == TABLE_LEAF and int.from_bytes(content[at + 3 : at + 5], "big") > 2]
    for at in case.draw.sample(rows, min(len(rows), case.draw.randint(1, 3))):
        held = int.from_bytes(content[at + 3 : at + 5], "big")
        _write(case.db, at + 3, case.draw.randrange(1, held).to_bytes(2, "big"))


def _truncated(path: Path, draw: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(draw.randrange(path.stat().st_size))


def _truncated_db(case: Case) -> None:
    _truncated(case.db, case.draw)


def _truncated_wal(case: Case) -> None:
    _truncated(case.wal, case.draw)


def _zero_length(case: Case) -> None:
    case.draw.choice((case.db, case.db, case.wal, case.journal)).write_bytes(b"")


def _swapped_wal(case: Case) -> None:
    shutil.copy(case.other.folder / "store.db-wal", case.wal)
    (case.folder / "store.db-shm").unlink(missing_ok=True)


def _wrong_schema(case: Case) -> None:
    _with_sql(case, case.draw.choice(("DROP TABLE meta", "DROP TABLE log", "ALTER TABLE log DROP COLUMN priority",
        "ALTER TABLE subjects RENAME COLUMN state TO thing", "DROP TABLE subjects", "DROP TABLE catalogs", "DROP TABLE dead",
        "ALTER TABLE pending RENAME TO was_pending")))  # fmt: skip


def _not_a_database(case: Case) -> None:
    case.db.write_bytes(case.draw.choice((b"hello, this is no database\n" * 400, case.draw.randbytes(50_000), b"\x00" * 9_000)))


def _missing_db(case: Case) -> None:
    case.db.unlink()
    if case.draw.random() < 0.5:
        case.wal.unlink()


def _rotten_journal(case: Case) -> None:
    _flip_bits(case.journal, case.draw, case.draw.randint(1, 30), OWN_BYTES)
    used = len(case.journal.read_bytes().rstrip(b"\0"))
    _write(case.journal, case.draw.randrange(OWN_BYTES, max(OWN_BYTES + 1, used)), case.draw.randbytes(64))


def _truncated_journal(case: Case) -> None:
    _truncated(case.journal, case.draw)


def _foreign_journal(case: Case) -> None:
    shutil.copy(case.other.folder / "journal", case.journal)


def _damaged_identity(case: Case) -> None:
    identity = case.folder / "identity"
    choice = case.draw.randrange(3)
    if choice == 0:
        identity.unlink()
    elif choice == 1:
        _flip_bits(identity, case.draw, 3)
    else:
        identity.write_bytes(b"")


def _damaged_snapshot(case: Case) -> None:
    _with_sql(case, case.draw.choice((
        "UPDATE subjects SET state = zeroblob(9)", "DELETE FROM subjects WHERE subject > 'known:4'",
        "UPDATE meta SET value = x'c1' WHERE name = 'snapshot'", "UPDATE subjects SET state = x'93' WHERE subject = 'known:3'",
        "UPDATE subjects SET state = x'92a76b6e6f776e3a3380'",
    )))  # fmt: skip


def _damaged_catalogs(case: Case) -> None:
    _with_sql(case, case.draw.choice((
        "UPDATE catalogs SET built = zeroblob(100)", "DELETE FROM catalogs", "UPDATE catalogs SET built = substr(built, 1, 50)",
        "UPDATE catalogs SET digest = 'nobody'",
    )))  # fmt: skip


def _rotten_rows(case: Case) -> None:
    _with_sql(case, case.draw.choice((
        "UPDATE log SET crc = crc + 1 WHERE seq % 50 = 7", "UPDATE log SET body = zeroblob(20) WHERE seq % 40 = 3",
        "UPDATE log SET kind = kind + 1 WHERE seq % 60 = 1", "UPDATE log SET seq = seq + 1000000 WHERE seq % 90 = 5",
    )))  # fmt: skip


KINDS: dict[str, Callable[[Case], None]] = {
    "bit flips": _bit_flips,
    "garbage pages": _garbage_pages,
    "shortened pages": _shortened_pages,
    "truncated db": _truncated_db,
    "truncated wal": _truncated_wal,
    "zero length": _zero_length,
    "swapped wal": _swapped_wal,
    "wrong schema": _wrong_schema,
    "not a database": _not_a_database,
    "missing db": _missing_db,
    "rotten journal": _rotten_journal,
    "truncated journal": _truncated_journal,
    "foreign journal": _foreign_journal,
    "damaged identity": _damaged_identity,
    "damaged snapshot": _damaged_snapshot,
    "damaged catalogs": _damaged_catalogs,
    "rotten rows": _rotten_rows,
}


def _with_sql(case: Case, statement: str) -> None:
    connection = sqlite3.connect(case.db)
    try:
        connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


@dataclass
class Case:
    """One damaged copy."""

    folder: Path
    template: Template
    other: Template
    draw: random.Random
    where: str

    @property
    def db(self) -> Path:
        return self.folder / "store.db"

    @property
    def wal(self) -> Path:
        return self.folder / "store.db-wal"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"


# -- the promise ------------------------------------------------------------------------------------------------------


def run(count: int, seed: int) -> Outcome:
    """count damaged copies of a store, every kind of damage in turn."""
    outcome = Outcome(count)
    with kit.scratch("corrupt") as place:
        template = make_template(place / "template", seed)
        other = make_template(place / "other", seed + 1)
        kinds = list(KINDS)
        for number in range(count):
            kind = kinds[number % len(kinds)]
            case_seed = seed * 100_000 + number
            folder = place / "case"
            shutil.copytree(template.folder, folder)
            case = Case(folder, template, other, random.Random(case_seed), f"seed {case_seed} {kind}")
            KINDS[kind](case)
            _check(case, outcome)
            outcome.add(kind)
            shutil.rmtree(folder)
    return outcome


def _check(case: Case, outcome: Outcome) -> None:
    try:
        client = kit.open_client(case.folder, store_bytes_max=BYTES_MAX)
    except Exception as error:
        outcome.wrong.append(f"{case.where}: did not start: {type(error).__name__}: {error}")
        return
    try:
        _check_open(case, client, outcome)
    except Exception as error:
        outcome.wrong.append(f"{case.where}: {type(error).__name__}: {error}")
    finally:
        client.close()
    if case.draw.random() < 0.7:
        return
    try:
        kit.open_client(case.folder, store_bytes_max=BYTES_MAX).close()
    except Exception as error:
        outcome.wrong.append(f"{case.where}: did not start again: {type(error).__name__}: {error}")


def _check_open(case: Case, client: Client, outcome: Outcome) -> None:
    template = case.template
    receipt = client.track("content_view", {"content_id": "987654321"})
    deciding = client.track("page_view", {"page_url": "/act", "title": "987654322"})
    outcome.check(receipt.accepted and deciding.accepted, f"{case.where}: captures no more: {receipt.reason or deciding.reason}")
    held = dict(client.log.records(0))
    serials = [kit.serial_of(record) for record in held.values()]
    outcome.check(serials.count(987654321) == serials.count(987654322) == 1, f"{case.where}: what is captured now is not there")
    was_there = {seq for seq, record in held.items() if template.truth.get(seq) == meaning(record)}
    lost = template.truth.keys() - was_there - set(range(1, template.acked_seq + 1))
    notes = client.stats()["given_up"]
    explained = kit.numbers_of([record for record in held.values() if isinstance(record, LossOutput)])
    unsaid = lost - explained
    outcome.check(not unsaid or bool(notes), f"{case.where}: {len(lost)} records are gone and nothing says so")
    is_same = client.log.incarnation == template.incarnation
    false = [
        seq for seq, record in held.items()
        if seq <= template.stored_seq and seq not in was_there and not isinstance(record, LossOutput) and is_same
    ]  # fmt: skip
    # Under the same numbering a number has one content for good: the server may have seen all that was in the database.
    outcome.check(not false, f"{case.where}: {len(false)} numbers hold another record than was written, {sorted(false)[:3]}")
    strangers = _strangers(case, held)
    outcome.check(not strangers, f"{case.where}: {strangers} records of another store are there")
    _check_sent(case, client, outcome)
    if lost:
        outcome.add("stores with losses")


def _strangers(case: Case, held: dict[int, Record]) -> int:
    """Records of the other store."""
    others = set(case.other.truth.values()) - set(case.template.truth.values())
    return sum(meaning(record) in others for record in held.values())


def _check_sent(case: Case, client: Client, outcome: Outcome) -> None:
    """What would be sent is what was written, with the checksum of what was written, in order."""
    newest = 0
    for batch in kit.walk(client.log, case.draw):
        for seq, check, record in batch.records:
            kind, body = encode(record)
            outcome.check(seq > newest, f"{case.where}: {seq} is sent behind {newest}")
            newest = seq
            outcome.check(check == checksum(seq, kind, body), f"{case.where}: {seq} is sent with a bad checksum")


def run_pages(count: int, seed: int, rows: int = 5_000) -> Outcome:
    """count copies of a store of 5,000 rows, each with one page of garbage: at least 99 % of the rows are taken over."""
    outcome = Outcome(count)
    worst = 1.0
    with kit.scratch("pages") as place:
        template = _plain_store(place / "template", seed, rows)
        pages = (template / "store.db").stat().st_size // PAGE_BYTES
        draw = random.Random(seed)
        for number in range(count):
            page = draw.randrange(pages)
            folder = place / "case"
            shutil.copytree(template, folder)
            _write(folder / "store.db", page * PAGE_BYTES, draw.randbytes(PAGE_BYTES))
            where = f"seed {seed} page {page + 1} of {pages} (case {number})"
            kept = 0
            try:
                with kit.open_client(folder) as client:
                    kept = sum(kit.serial_of(record) is not None for _, record in client.log.records(0))
            except Exception as error:
                outcome.wrong.append(f"{where}: {type(error).__name__}: {error}")
            worst = min(worst, kept / rows)
            outcome.check(kept >= rows * 0.99, f"{where}: {kept} of {rows} rows")
            shutil.rmtree(folder)
    outcome.details["worst share kept"] = f"{worst:.2%}"
    return outcome


def _plain_store(folder: Path, seed: int, rows: int) -> Path:
    draw = random.Random(seed)
    with kit.open_client(folder) as client:
        for serial in range(rows):
            size = draw.choice((0, 40, 200))
            client.track("content_view", {"content_id": str(serial), "category": "x" * size})
        client.log.drain()
        client.log.spool.store.checkpoint(force=True)
    return folder
