"""`reflexarc store verify`: sound is 0, anything wrong is 1 with what to do, and nothing is changed."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from reflexarc_core.record import LossOutput
from reflexarc_edge.codec import checksum, encode
from tests.cli.kit import (
    SEED,
    Done,
    change_row,
    contents,
    execute,
    is_clean,
    make_store,
    owned_store,
    reflexarc,
    rot_page,
    stale_index,
)  # fmt: skip
from tests.cli.test_inspect import make_old


def wrong(folder: Path, *options: str | Path) -> list[str]:
    """The lines that say what is wrong."""
    before = contents(folder)
    done = reflexarc("store", "verify", folder, *options)
    assert is_clean(done)
    assert contents(folder) == before
    found = [line for line in done.lines if line.startswith("wrong: ")]
    assert done.status == (1 if found else 0), done
    assert all(f"(reflexarc store repair {folder}" in line for line in found), found
    return found


def test_a_sound_store(sound: Path) -> None:
    assert wrong(sound) == []
    assert reflexarc("store", "verify", sound).out == "sound: 601 records, 7 subjects, 1 catalog read\n"


def test_as_json(sound: Path) -> None:
    change_row(sound, 9)
    done = reflexarc("store", "verify", sound, "--json")
    found = json.loads(done.out)
    assert done.status == 1
    assert is_clean(done)
    assert (found["sound"], found["records"], found["last"]) == (False, 601, 601)
    assert found["findings"] == [
        {"level": "wrong", "what": "record 9 is damaged: not what was written", "todo": f"reflexarc store repair {sound}"}
    ]


def test_a_killed_store_is_sound_with_what_its_journal_holds(killed: Path) -> None:
    assert wrong(killed) == []
    found = json.loads(reflexarc("store", "verify", killed, "--json").out)
    assert found["records"] + found["in_journal_only"] == 601


def test_a_store_in_use_is_verified_beside_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with owned_store(folder):
        assert reflexarc("store", "verify", folder).status == 0


def test_a_gap_is_found_beside_an_owner_too(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with owned_store(folder):
        while json.loads(reflexarc("store", "inspect", folder, "--json").out)["records"]["held"] < 601:
            continue
        execute(folder, "DELETE FROM log WHERE seq <= 5 OR seq IN (300, 301)")
        done = reflexarc("store", "verify", folder)
    assert done.status == 1
    assert [line.split(" (")[0] for line in done.lines[:2]] == [
        "wrong: records 1 to 5 are missing, and nothing says why", "wrong: records 300 to 301 are missing, and nothing says why",
    ]  # fmt: skip


def test_an_encrypted_store_with_its_key(sealed: Path, key: Path) -> None:
    assert wrong(sealed, "--key-file", key) == []
    change_row(sealed, 4)
    assert len(wrong(sealed, "--key-file", key)) == 1


def test_a_row_sealed_for_another_place_is_found(sealed: Path, key: Path) -> None:
    """Its checksum fits: only the key tells."""
    with_key = ("--key-file", key)
    rows = _rows(sealed, (20, 21))
    for seq, (kind, body) in zip((20, 21), reversed(rows), strict=True):
        execute(sealed, "UPDATE log SET kind = ?, body = ?, crc = ? WHERE seq = ?", kind, body, checksum(seq, kind, body), seq)
    assert "records 20 to 21 are unchanged and cannot be read" in wrong(sealed, *with_key)[0]


def test_damaged_records_are_named_by_their_numbers(sound: Path) -> None:
    for seq in (17, 18, 50):
        change_row(sound, seq)
    assert [line.split("(")[0].strip() for line in wrong(sound)] == [
        "wrong: records 17 to 18 are damaged: not what was written",
        "wrong: record 50 is damaged: not what was written",
    ]


def test_much_damage_is_a_few_lines(sound: Path) -> None:
    for seq in range(2, 200, 3):
        change_row(sound, seq)
    found = wrong(sound)
    assert len(found) == 11
    assert found[-1].startswith("wrong: 56 more records are damaged")


def test_a_damaged_page(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    rot_page(folder)
    found = wrong(folder)
    assert any("the database cannot be read" in line or "integrity check fails" in line for line in found)


def test_an_index_that_lacks_a_row(sound: Path) -> None:
    stale_index(sound)
    assert "SQLite's integrity check fails: row" in wrong(sound)[0]


def test_gaps_are_found_and_explained_ones_are_none(sound: Path) -> None:
    execute(sound, "DELETE FROM log WHERE seq BETWEEN 100 AND 109")
    assert "records 100 to 109 are missing" in wrong(sound)[0]
    kind, body = encode(LossOutput("evicted", 100, 109, 10))
    execute(sound, "INSERT INTO log VALUES (100, ?, NULL, ?, ?, 2)", kind, body, checksum(100, kind, body))
    assert wrong(sound) == []


def test_the_oldest_numbers_may_be_gone_when_the_server_holds_them(sound: Path) -> None:
    execute(sound, "DELETE FROM log WHERE seq <= 30")
    assert "records 1 to 30 are missing" in wrong(sound)[0]
    execute(sound, "INSERT OR REPLACE INTO meta VALUES ('acked_seq', X'1E')")
    assert wrong(sound) == []


def test_the_newest_numbers_may_not(sound: Path) -> None:
    execute(sound, "DELETE FROM log WHERE seq > 590")
    assert "records 591 to 601 are missing" in wrong(sound)[0]


def test_a_rotten_place_in_the_journal(killed: Path) -> None:
    path = killed / "journal"
    content = bytearray(path.read_bytes())
    content[4096 + 60] ^= 0x10  # in the first frame
    path.write_bytes(content)
    assert any("places that are no record" in line for line in wrong(killed))


def test_a_journal_that_was_cut_off(killed: Path) -> None:
    path = killed / "journal"
    os.truncate(path, path.stat().st_size - 5_001)
    assert any("the journal has not the size of one" in line for line in wrong(killed))


def test_the_identity_beside(sound: Path) -> None:
    path = sound / "identity"
    kept = path.read_text()
    path.write_text(kept.replace('"installation": "', '"installation": "0'))
    assert "the file identity is gone, or not what was written" in wrong(sound)[0]
    path.unlink()
    assert "the file identity is gone, or not what was written" in wrong(sound)[0]


def test_the_identity_of_another_store(sound: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", 1)
    (sound / "identity").write_bytes((other / "identity").read_bytes())
    done = reflexarc("store", "verify", sound)
    assert done.status == 1
    assert done.lines[0].startswith("wrong: the file identity names another store than the database (put the right one back,")


def test_the_journal_of_another_store(sound: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", 1)
    (sound / "journal").write_bytes((other / "journal").read_bytes())
    assert any("the journal is another store's" in line for line in wrong(sound))


def test_a_catalog_that_is_not_what_its_digest_says(sound: Path) -> None:
    execute(sound, "UPDATE catalogs SET built = CAST(replace(CAST(built AS TEXT), 'hesitating', 'hesitatinG') AS BLOB)")
    assert any("is not what its digest says" in line for line in wrong(sound))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM subjects WHERE subject = (SELECT min(subject) FROM subjects)",
        "UPDATE subjects SET state = X'C1'",
        "UPDATE subjects SET state = X'92A1780A'",
        "UPDATE meta SET value = X'C1' WHERE name = 'snapshot'",
        "DELETE FROM catalogs",
    ],
)
def test_a_kept_state_that_is_of_no_use(sound: Path, statement: str) -> None:
    execute(sound, statement)
    assert any("the kept state is of no use" in line for line in wrong(sound))


def test_an_action_that_cannot_be_read(sound: Path) -> None:
    execute(sound, "UPDATE pending SET body = X'C1C1'")
    assert "7 actions are not handed over that cannot be read" in wrong(sound)[0]


def test_a_record_filed_under_another_decision(sound: Path) -> None:
    execute(sound, "UPDATE log SET decision_id = 'x' || decision_id WHERE seq = (SELECT min(seq) FROM log WHERE kind = 16)")
    assert any("1 record is filed under another decision" in line for line in wrong(sound))


def test_a_missing_table_and_a_missing_column(sound: Path) -> None:
    execute(sound, "DROP TABLE erased")
    execute(sound, "ALTER TABLE log DROP COLUMN priority")
    assert [line.split(" (")[0] for line in wrong(sound)] == [
        "wrong: the table log has no column priority as it should be", "wrong: the table erased is missing",
    ]  # fmt: skip


def test_an_older_store_is_sound_and_said_to_be_old(sound: Path) -> None:
    make_old(sound)
    done = reflexarc("store", "verify", sound)
    assert (done.status, done.lines[0].split(" (")[0]) == (0, "note: it was written by an earlier version")


def test_a_missing_journal_and_what_was_set_aside_are_worth_a_note(sound: Path) -> None:
    (sound / "journal").unlink()
    (sound / "set-aside").mkdir()
    (sound / "set-aside" / "0001.store.db").write_bytes(b"x")
    done = reflexarc("store", "verify", sound)
    assert done.status == 0
    assert [line[:24] for line in done.lines[:2]] == ["note: the journal is gon", "note: set aside by a rep"]


@pytest.mark.parametrize("seed", range(12))
def test_noise_anywhere_is_one_line_or_more_and_never_a_traceback(made: Path, tmp_path: Path, seed: int) -> None:
    folder = make_store(tmp_path / "store", 200) if seed == 0 else _copied(made / "killed", tmp_path / "store")
    draw = random.Random(SEED + seed)
    path = folder / draw.choice(["store.db", "store.db-wal", "journal", "identity"])
    if path.exists():
        content = bytearray(path.read_bytes())
        for _ in range(draw.randrange(1, 40)):
            content[draw.randrange(min(len(content), 200_000))] = draw.randrange(256)
        path.write_bytes(content)
    for command in ("verify", "inspect"):
        done: Done = reflexarc("store", command, folder)
        assert is_clean(done)
        assert done.status in (0, 1, 2)


def _copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def _rows(folder: Path, numbers: tuple[int, ...]) -> list[tuple[int, bytes]]:
    with sqlite3.connect(folder / "store.db") as db:
        found = [db.execute("SELECT kind, body FROM log WHERE seq = ?", (seq,)).fetchone() for seq in numbers]
    db.close()
    return found
