"""Salvage: whatever has become of a store's file, what comes back is true, and is nearly everything."""

from __future__ import annotations

import bisect
import itertools
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.event import Event
from reflexarc_core.record import DecisionOutput, EventInput, HandedOutput, Record, TickInput
from reflexarc_edge.codec import checksum, encode, pack
from reflexarc_edge.entry import Entry, entry_of
from reflexarc_edge.salvage import LogRow, Salvaged, salvage
from reflexarc_edge.seal import Seal, Sealed
from reflexarc_edge.store import Store
from tests.core.world import catalog
from tests.edge.kit import NOW, T0

PAGE = 4096
FRAME = 24 + PAGE
ROWS = 5_000

Rows = dict[int, LogRow]


@dataclass(frozen=True)
class Kept:
    """A store's files as bytes, and the rows that were written."""

    main: bytes
    wal: bytes
    rows: Rows

    def put(self, folder: Path, main: bytes | None = None, wal: bytes | None = None) -> Path:
        """The files in a folder, or others in their place; an empty write-ahead log is as good as none."""
        folder.mkdir(exist_ok=True)
        (folder / "store.db").write_bytes(self.main if main is None else main)
        (folder / "store.db-wal").write_bytes(self.wal if wal is None else wal)
        return folder / "store.db"


def decided(number: int, reason: Reason) -> Record:
    made = Decision(f"{number:032x}", 0, "offer", "known:1", "e", reason, T0, "d", "device", True, expire_time=T0)
    return DecisionOutput(made)


def record_of(rng: random.Random, seq: int) -> Record:
    """Mostly events, of all sizes: one in thirty overflows its page."""
    choice = rng.random()
    if choice < 0.1:
        return TickInput(NOW)
    if choice < 0.2:
        return decided(seq, rng.choice([Reason.FIRED, Reason.COOLDOWN]))
    if choice < 0.23:
        return HandedOutput(f"{rng.randrange(1, seq + 1):032x}", T0)
    size = rng.randrange(20, 900) if choice < 0.97 else rng.randrange(PAGE, 5 * PAGE)
    text = "".join(rng.choices("abcdefgh/", k=size))
    return EventInput(NOW, Event(f"{seq:x}", "page_view", f"known:{rng.randrange(50)}", T0 + seq, {"page_url": text}))


def entries(rng: random.Random, first: int, count: int) -> list[Entry]:
    records = [(seq, record_of(rng, seq)) for seq in range(first, first + count)]
    return [entry_of(seq, record, *encode(record)) for seq, record in records]


def rows_of(written: Iterable[Entry]) -> Rows:
    return {e.seq: (e.kind, e.decision_id, e.body, checksum(e.seq, e.kind, e.body)) for e in written}


def kept(
    folder: Path,
    seed: int,
    count: int,
    behind: int = 0,
    *,
    checkpoint: bool = True,
    acked_max: int = 0,
    seal: Seal | None = None,
) -> Kept:
    """A store of `count` rows in its file (unless not `checkpoint`) and `behind` more in the write-ahead log."""
    folder.mkdir()
    rng = random.Random(seed)
    store = Store(folder, seal)
    written: list[Entry] = []

    def write(until: int) -> None:
        while len(written) < until:
            batch = entries(rng, len(written) + 1, min(50, until - len(written)))
            store.insert(batch)
            written.extend(batch)

    write(count)
    store.keep_meta("installation", f"store {seed}")
    store.keep_snapshot(count, {"x": "z" * 9_000}, {f"known:{n}": {"n": n, "text": "y" * 300} for n in range(60)}, set())
    store.keep_catalog(catalog().digest, catalog().to_bytes())
    if checkpoint:
        store.checkpoint(force=True)
    write(count + behind)
    for acked in range(acked_max):  # so that pages have many images
        store.keep_meta("acked_seq", acked)
    found = Kept((folder / "store.db").read_bytes(), (folder / "store.db-wal").read_bytes(), rows_of(written))
    store.close()
    return found


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept(tmp_path_factory.mktemp("large") / "store", 1, ROWS)


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept(tmp_path_factory.mktemp("growing") / "store", 1, 1_500, 500, acked_max=20)


@pytest.fixture(scope="module")
def unmerged(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return kept(tmp_path_factory.mktemp("unmerged") / "store", 2, 1_000, checkpoint=False)


def spoiled(whole: bytes, rng: random.Random, number: int | None = None, step: int = PAGE, start: int = 0) -> bytes:
    """With one page (from 1), any unless said which, replaced by random bytes."""
    number = rng.randrange(1, (len(whole) - start) // step + 1) if number is None else number
    at = start + (number - 1) * step
    return whole[:at] + rng.randbytes(step) + whole[at + step :]


def flipped(whole: bytes, rng: random.Random, count: int) -> bytes:
    found = bytearray(whole)
    for place in rng.sample(range(len(found)), count):
        found[place] ^= 1 << rng.randrange(8)
    return bytes(found)


def assert_true(saved: Salvaged, rows: Rows, share: float = 0.0) -> None:
    """No row that was not written, none other than it was; and at least this share of them."""
    assert [seq for seq, row in saved.log.items() if rows.get(seq) != row] == []
    assert sum(saved.methods.values()) == len(saved.log) >= share * len(rows), f"of {len(rows)}, {saved.methods}"


def test_a_sound_store_comes_back_whole_and_is_not_touched(growing: Kept, tmp_path: Path) -> None:
    path = growing.put(tmp_path / "s")
    saved = salvage(path)
    assert list(saved.log.items()) == list(growing.rows.items())
    assert saved.methods == {"forward": 2_000, "reverse": 0, "point": 0, "pages": 0}
    assert saved.bad_count == 0
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == {"store.db": growing.main, "store.db-wal": growing.wal}


def test_rows_that_are_only_in_the_write_ahead_log(unmerged: Kept, tmp_path: Path) -> None:
    assert len(unmerged.main) == PAGE
    assert salvage(unmerged.put(tmp_path / "s")).log == unmerged.rows
    path = unmerged.put(tmp_path / "s", main=b"")
    assert salvage(path).log == unmerged.rows
    path.unlink()
    assert salvage(path).log == unmerged.rows


@pytest.mark.parametrize("seed", range(40))
def test_one_garbage_page_costs_no_more_than_its_own_rows(large: Kept, tmp_path: Path, seed: int) -> None:
    """The first seeds are the header, the page map and the roots of every table, the log's among them."""
    number = seed + 1 if seed < 12 else None
    path = large.put(tmp_path / "s", spoiled(large.main, random.Random(seed), number))
    started = time.process_time()
    saved = salvage(path)
    assert time.process_time() - started < 2.0, "seconds, for 5,000 rows"
    assert_true(saved, large.rows, 0.99)
    if seed == 2:
        assert saved.methods == {"forward": 0, "reverse": 0, "point": 0, "pages": ROWS}, "the log has lost its root"


def test_every_way_to_a_row_is_used(large: Kept, tmp_path: Path) -> None:
    met: set[str] = set()
    for seed in range(12):
        rng = random.Random(seed)
        damaged = spoiled(spoiled(large.main, rng, 60 + seed * 20), rng, 500 + seed * 10)
        saved = salvage(large.put(tmp_path / "s", damaged))
        assert_true(saved, large.rows, 0.98)
        met |= {method for method, count in saved.methods.items() if count}
    assert met == {"forward", "reverse", "point", "pages"}


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_costs_one_row(large: Kept, tmp_path: Path, seed: int) -> None:
    saved = salvage(large.put(tmp_path / "s", flipped(large.main, random.Random(seed), 10)))
    assert_true(saved, large.rows)
    assert len(saved.log) >= ROWS - 10


@pytest.mark.parametrize("seed", range(12))
def test_a_page_whose_head_is_wrong_still_gives_its_rows(large: Kept, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    at = rng.choice([at for at in range(PAGE * 12, len(large.main), PAGE) if large.main[at] == 0x0D])
    # Garbage, or a count of cells that is too low: SQLite sees nothing wrong with that.
    start, head = (0, rng.randbytes(100)) if seed % 2 else (3, b"\0\1")
    damaged = large.main[: at + start] + head + large.main[at + start + len(head) :]
    assert_true(salvage(large.put(tmp_path / "s", damaged)), large.rows, 0.9996)


@pytest.mark.parametrize("seed", range(12))
def test_a_file_cut_off_gives_what_is_left(large: Kept, tmp_path: Path, seed: int) -> None:
    length = random.Random(seed).randrange(len(large.main))
    saved = salvage(large.put(tmp_path / "s", large.main[:length]))
    # Rows lie in the order of their numbers, so that the file's share is a share of what was written first.
    sizes = list(itertools.accumulate(len(row[2]) for row in large.rows.values()))
    left = bisect.bisect(sizes, (length / len(large.main) - 0.01) * sizes[-1])
    assert_true(saved, {seq: row for seq, row in large.rows.items() if seq <= max(left, *saved.log, 0)}, 0.99)


def test_the_write_ahead_log_of_a_file_cut_off(tmp_path: Path) -> None:
    """No row is in both any more; that the log goes on where the file once ended is kept in another table."""
    store = kept(tmp_path / "made", 8, 600, 200)
    saved = salvage(store.put(tmp_path / "s", store.main[: len(store.main) // 2]))
    assert_true(saved, store.rows)
    assert set(range(601, 801)) <= saved.log.keys()


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_write_ahead_log(growing: Kept, unmerged: Kept, tmp_path: Path, seed: int) -> None:
    """SQLite reads it up to the first wrong bit; what lies behind that is not lost."""
    for store in (growing, unmerged):
        rng = random.Random(seed)
        if seed < 10:
            wal = spoiled(store.wal, rng, step=FRAME, start=32)
        elif seed < 19:
            wal = flipped(store.wal, rng, 5)
        else:
            wal = rng.randbytes(32) + store.wal[32:]
        assert_true(salvage(store.put(tmp_path / "s", wal=wal)), store.rows, 0.98)


@pytest.mark.parametrize("seed", range(8))
def test_a_write_ahead_log_cut_off(growing: Kept, tmp_path: Path, seed: int) -> None:
    saved = salvage(growing.put(tmp_path / "s", wal=growing.wal[: random.Random(seed).randrange(len(growing.wal))]))
    assert_true(saved, growing.rows)
    assert set(range(1, 1_501)) <= saved.log.keys()


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_to_both_files_nothing_is_raised_and_nothing_is_wrong(growing: Kept, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = [growing.main, growing.wal]
    damages: list[Callable[[bytes], bytes]] = [
        lambda whole: spoiled(whole, rng),
        lambda whole: flipped(whole, rng, rng.choice([1, 100, 5_000])),
        lambda whole: whole[: rng.randrange(PAGE, len(whole) + 1)],
        lambda whole: whole[len(whole) // 2 :] + whole[: len(whole) // 2],
        lambda whole: whole[: rng.randrange(len(whole))] + whole,
        lambda whole: whole[:PAGE] + bytes(3 * PAGE) + whole[4 * PAGE :],
        lambda whole: whole,
    ]
    for _ in range(3):
        files = [rng.choice(damages)(whole) for whole in files]
    assert_true(salvage(growing.put(tmp_path / "s", *files)), growing.rows)


def test_overflow_pages_that_lead_round_in_circles_come_to_an_end(large: Kept, tmp_path: Path) -> None:
    damaged = bytearray(large.main)
    for at in range(0, len(damaged), PAGE):
        if damaged[at] == 0 and any(damaged[at : at + 4]):
            damaged[at : at + 4] = (at // PAGE + 1).to_bytes(4, "big")
    saved = salvage(large.put(tmp_path / "s", bytes(damaged)))
    assert_true(saved, large.rows)
    short = {seq for seq, row in large.rows.items() if len(row[2]) < PAGE - 100}
    assert short <= saved.log.keys()
    assert saved.bad_count == ROWS - len(saved.log) > 20


def test_a_row_is_put_together_from_both_files(unmerged: Kept, growing: Kept, tmp_path: Path) -> None:
    """A checkpoint cut short has moved the row and not yet what overflows from it; the row's frame rots. And the reverse: a
    frame names a page that it is not, one that a row of the file overflows to."""
    connection = sqlite3.connect(unmerged.put(tmp_path / "s"))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    merged = (tmp_path / "s" / "store.db").read_bytes()
    connection.close()
    pages = [merged[at : at + PAGE] for at in range(0, len(merged), PAGE)]
    main = b"".join(page if page[0] or n == 0 else bytes(PAGE) for n, page in enumerate(pages))
    frames = [unmerged.wal[at : at + FRAME] for at in range(32, len(unmerged.wal), FRAME)]
    wal = unmerged.wal[:32] + b"".join(f for f in frames if f[24] == 0)
    by_parts = salvage(unmerged.put(tmp_path / "s", spoiled(main, random.Random(1), 3), wal))
    assert by_parts.log == unmerged.rows

    overflows = [n for n in range(1, len(growing.main) // PAGE + 1) if growing.main[(n - 1) * PAGE] == 0]
    wrong = b"".join(n.to_bytes(4, "big") + bytes(20) + random.Random(n).randbytes(PAGE) for n in overflows)
    by_main = salvage(growing.put(tmp_path / "s", spoiled(growing.main, random.Random(1), 3), growing.wal[:32] + wrong))
    assert by_main.log == {seq: row for seq, row in growing.rows.items() if seq <= 1_500}


def test_a_row_that_does_not_fit_is_counted_and_not_handed_out(tmp_path: Path) -> None:
    store = kept(tmp_path / "made", 5, 200)
    path = store.put(tmp_path / "s")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE log SET crc = crc + 1 WHERE seq IN (7, 9)")
    connection.execute("UPDATE log SET decision_id = 'other' WHERE kind = 16")
    connection.commit()
    connection.close()
    saved = salvage(path)
    assert saved.bad_count == 2
    assert saved.log == {seq: row for seq, row in store.rows.items() if seq not in (7, 9)}, "a decision's id is in its body"


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 9_000, b"no database\n" * 900, random.Random(1).randbytes(50_000), b"SQLite format 3\0"]
)
def test_what_is_no_database_is_empty(tmp_path: Path, content: bytes) -> None:
    nothing = {"forward": 0, "reverse": 0, "point": 0, "pages": 0}
    for wal in (b"", content):
        saved = salvage(Kept(content, wal, {}).put(tmp_path / "s"))
        assert (saved.log, saved.bad_count, saved.methods) == ({}, 0, nothing)
        assert not any(saved.tables.values())


def test_what_is_missing_or_no_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "folder" / "store.db-wal").mkdir(parents=True)
    for name in ("missing", "folder", "folder/store.db", "no/such"):
        assert salvage(tmp_path / name).log == {}


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes VALUES (1, 'x');",
        "CREATE TABLE log (seq TEXT, kind, decision_id, body, crc); INSERT INTO log VALUES ('a', 'b', x'00', 1.5, NULL);"
        "CREATE TABLE meta (a, b, c); INSERT INTO meta VALUES (1, 2, 3); CREATE TABLE pending (a);",
        "CREATE VIEW log AS WITH RECURSIVE t(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM t)"
        " SELECT seq, 1 AS kind, NULL AS decision_id, x'00' AS body, 5 AS crc FROM t;",
        "CREATE TABLE subjects (subject, state, ROTTED); INSERT INTO subjects VALUES ('known:1', x'00', 1);",
    ],
)
def test_another_schema_is_empty(tmp_path: Path, script: str) -> None:
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.executescript(script)
    connection.close()
    path = tmp_path / "store.db"
    path.write_bytes(path.read_bytes().replace(b"ROTTED", b"ROTTE\xe9"))
    saved = salvage(path)
    assert saved.log == {}
    assert not any(saved.tables.values())


@pytest.mark.parametrize("acked_max", [0, 20])
@pytest.mark.parametrize(("count", "behind"), [(1_500, 500), (1_600, 50), (900, 300), (2_500, 200), (1_500, 0), (1_541, 380)])
def test_the_write_ahead_log_of_another_store_is_left_alone(
    growing: Kept, tmp_path: Path, count: int, behind: int, acked_max: int
) -> None:
    other = kept(tmp_path / "other", 77 + count, count, behind, acked_max=acked_max)  # acks bring its name into its log
    saved = salvage(growing.put(tmp_path / "s", wal=other.wal))
    assert saved.log == {seq: growing.rows[seq] for seq in range(1, 1_501)}
    assert dict(saved.tables["meta"])["installation"] == pack("store 1")


# -- what was deleted, and the other tables ---------------------------------------------------------------------------


def test_what_was_deleted_does_not_come_back_from_older_pages(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    rng = random.Random(3)
    store = Store(folder)
    written = entries(rng, 1, 600)
    store.insert(written)
    store.checkpoint(force=True)
    with store.transaction() as db:
        db.execute("DELETE FROM log WHERE seq <= 300")
    found = Kept((folder / "store.db").read_bytes(), (folder / "store.db-wal").read_bytes(), {})
    store.close()
    left = rows_of(written[300:])
    assert salvage(found.put(tmp_path / "s")).log == left
    by_pages = salvage(found.put(tmp_path / "s", main=spoiled(found.main, rng, 3), wal=rng.randbytes(32) + found.wal[32:]))
    assert by_pages.methods["pages"] == 300
    assert by_pages.log == left


@pytest.mark.parametrize("is_sealed", [False, True])
def test_the_other_tables_come_back_without_the_schema(tmp_path: Path, is_sealed: bool) -> None:
    if is_sealed:
        pytest.importorskip("cryptography")
    store = kept(tmp_path / "made", 4, 300, 50, acked_max=20, seal=Sealed(bytes(32)) if is_sealed else None)
    whole = salvage(store.put(tmp_path / "s")).tables
    counts = {name: len(rows) for name, rows in whole.items() if rows}
    assert counts.pop("pending") > 5
    assert counts == {"subjects": 60, "catalogs": 1, "meta": 4}
    header = bytes(32)  # SQLite takes no frame of a write-ahead log whose header is wrong
    raw = salvage(store.put(tmp_path / "s", spoiled(store.main, random.Random(1), 1), header + store.wal[32:])).tables
    assert {name: sorted(rows) for name, rows in raw.items()} == {name: sorted(rows) for name, rows in whole.items()}


def test_what_the_log_knows_as_handed_is_not_pending(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    store = Store(folder)
    fired = [decided(number, Reason.FIRED) for number in (1, 2)]
    store.insert([entry_of(seq, record, *encode(record)) for seq, record in enumerate(fired, start=1)])
    store.checkpoint(force=True)
    handed = HandedOutput(f"{1:032x}", T0)
    store.insert([entry_of(3, handed, *encode(handed))])
    found = Kept((folder / "store.db").read_bytes(), (folder / "store.db-wal").read_bytes(), {})
    store.close()
    # To SQLite, which reads none of this write-ahead log, both are still pending.
    saved = salvage(found.put(tmp_path / "s", wal=bytes(32) + found.wal[32:]))
    assert list(saved.log) == [1, 2, 3]
    assert [row[0] for row in saved.tables["pending"]] == [f"{2:032x}"]


def test_a_catalog_that_is_not_what_its_digest_says_is_none(tmp_path: Path) -> None:
    store = kept(tmp_path / "made", 6, 10)
    at = store.main.rindex(catalog().to_bytes()[:60])
    damaged = store.main[: at + 30] + b"#" + store.main[at + 31 :]
    assert salvage(store.put(tmp_path / "s", damaged)).tables["catalogs"] == []


@pytest.mark.parametrize("size", [512, 1024, 8192, 65536])
def test_an_older_store_of_another_page_size_with_its_header_gone(tmp_path: Path, size: int) -> None:
    rows = rows_of(entries(random.Random(size), 1, 300))
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA page_size={size};"
        "CREATE TABLE log (seq INTEGER PRIMARY KEY, kind INTEGER, decision_id TEXT, body BLOB, crc INTEGER);"
        "CREATE TABLE pending (decision_id TEXT PRIMARY KEY, expire_time INTEGER, body BLOB) WITHOUT ROWID;"
    )
    connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", [(seq, *row) for seq, row in rows.items()])
    fired = next(row for row in rows.values() if row[0] == 16)
    connection.execute("INSERT INTO pending VALUES (?, ?, ?)", (fired[1], T0, fired[2]))
    connection.commit()
    connection.close()
    whole = path.read_bytes()
    path.write_bytes(spoiled(whole, random.Random(size), 1, size))
    saved = salvage(path)
    assert saved.log == rows
    assert saved.tables["pending"] in ([(fired[1], T0, fired[2], 0)], [])


def test_a_copy_left_by_a_salvage_that_was_cut_short_is_cleared_away(growing: Kept, tmp_path: Path) -> None:
    path = growing.put(tmp_path / "s")
    shutil.copytree(path.parent, tmp_path / "s" / "store.db.salvage")
    assert salvage(path).methods["forward"] == len(growing.rows)
    assert sorted(p.name for p in path.parent.iterdir()) == ["store.db", "store.db-wal"]
    (tmp_path / "s" / "store.db.salvage").write_bytes(b"no room for a copy")
    assert salvage(path).methods["pages"] == len(growing.rows), "without SQL"
