"""`reflexarc store repair`: what can be read is kept, what cannot is a loss with its number, and the client goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_cli.store.look import Look
from reflexarc_cli.store.walk import each, read_row
from reflexarc_core.record import EventInput, LossOutput, Record
from reflexarc_edge.journal import OWN_BYTES
from reflexarc_edge.log import Log
from reflexarc_edge.owners import is_owned
from tests.cli.kit import (
    KEY,
    SEED,
    T0,
    catalog,
    change_row,
    contents,
    environment,
    execute,
    is_clean,
    killed_store,
    make_store,
    owned_store,
    reflexarc,
    rot_first_leaf,
    rot_page,
    stale_index,
)  # fmt: skip


def repaired(folder: Path, *options: str | Path, status: int = 0) -> list[str]:
    """The lines of a repair; the store is sound afterwards."""
    done = reflexarc("store", "repair", folder, *options)
    assert is_clean(done)
    assert done.status == status, done
    if not status:
        assert reflexarc("store", "verify", folder, *options).status == 0
    return done.lines


def records(folder: Path) -> dict[int, Record]:
    """What the rows of the log say, one each."""
    with Look(folder) as look:
        return {row.seq: read_row(row, None) for row in each(look.log_rows)}


def losses(folder: Path) -> list[tuple[str, int, int]]:
    return [(r.reason, r.first_seq, r.last_seq) for r in records(folder).values() if isinstance(r, LossOutput)]


def opens(folder: Path, key: bytes | None = None) -> None:
    """The client goes on in it."""
    with Client(folder, catalog=catalog(), clock=ManualClock(T0 + 1_000), key=key) as client:
        before = client.log.last_seq
        assert client.page("/").accepted
        client.log.drain()
        assert client.log.last_seq > before


def test_a_sound_store_is_said_to_be_sound_and_keeps_every_record(sound: Path) -> None:
    before, kept = records(sound), contents(sound)
    assert repaired(sound) == ["it was sound: there was nothing to mend", "sound: 601 records, 7 subjects, 1 catalog read"]
    assert records(sound) == before
    assert contents(sound)["journal"][OWN_BYTES:] == kept["journal"][OWN_BYTES:], "whoever opens it signs it, no more"
    assert {name for name in contents(sound) if contents(sound)[name] != kept[name]} <= {"owner.lock", "store.db", "journal"}
    opens(sound)


def test_what_only_the_journal_holds_comes_into_the_store(killed: Path) -> None:
    waiting = json.loads(reflexarc("store", "inspect", killed, "--json").out)["records"]["in_journal_only"]
    lines = repaired(killed)
    assert waiting == 0 or f"{waiting:,} records that only the journal held came into the store" in lines
    assert sorted(records(killed)) == list(range(1, 602))


CAPTURES = """
import os, sys
from reflexarc import Client
from tests.cli.kit import catalog
client = Client(sys.argv[1], catalog=catalog())
print(*(client.track("product_interaction").event_id for _ in range(20)), flush=True)
os.kill(os.getpid(), 9)
"""


def test_captures_in_the_journal_become_the_events_their_receipts_named(tmp_path: Path) -> None:
    """Nothing waits for such an event, so that it is no record yet; the export reads it as the repair does."""
    folder = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", CAPTURES, str(folder)], capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    given = done.stdout.split()
    assert len(set(given)) == 20
    out = reflexarc("store", "export", folder, "-o", "-", "--kind", "events").out
    assert [json.loads(line)["event"]["event_id"] for line in out.splitlines()] == given
    repaired(folder)
    assert [record.event.event_id for record in records(folder).values() if isinstance(record, EventInput)] == given


def test_damaged_records_become_losses(sound: Path) -> None:
    for seq in (17, 18, 50):
        change_row(sound, seq)
    lines = repaired(sound)
    assert "mended: record 50 is damaged: not what was written" in lines
    assert "lost: 3 damaged" in lines
    assert losses(sound) == [("damaged", 17, 17), ("damaged", 18, 18), ("damaged", 50, 50)]
    opens(sound)


def test_a_damaged_page_costs_its_records_only(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    before = records(folder)
    rot_page(folder, count=2)
    lines = repaired(folder)
    assert any(line.startswith("the store was damaged and set aside as 0001.store.db") for line in lines)
    after = records(folder)
    assert {seq for seq, record in after.items() if before[seq] == record} == {
        seq for seq, record in after.items() if not isinstance(record, LossOutput)
    }
    lost = sum(record.count for record in after.values() if isinstance(record, LossOutput))
    assert 0 < lost <= 80
    assert len(after) - len(losses(folder)) + lost == len(before)
    assert (folder / "set-aside" / "0001.store.db").exists()
    opens(folder)


def test_the_page_of_the_oldest_records_is_explained_too(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 1_500)
    rot_first_leaf(folder)
    repaired(folder)
    assert losses(folder)[0][:2] == ("damaged", 1)
    opens(folder)


def test_an_index_is_made_anew_without_setting_anything_aside(sound: Path) -> None:
    before = records(sound)
    stale_index(sound)
    lines = repaired(sound)
    assert lines[0].startswith("mended: SQLite's integrity check fails")
    assert not (sound / "set-aside").exists()
    assert records(sound) == before


def test_gaps_are_written_down(sound: Path) -> None:
    execute(sound, "DELETE FROM log WHERE seq BETWEEN 100 AND 109")
    execute(sound, "DELETE FROM log WHERE seq > 590")
    execute(sound, "DELETE FROM log WHERE seq < 4")
    assert "lost: 24 damaged" in repaired(sound)
    assert losses(sound) == [("damaged", 1, 3), ("damaged", 100, 109), ("damaged", 591, 601)]


def test_the_end_of_a_log_is_written_down(sound: Path) -> None:
    execute(sound, "DELETE FROM log WHERE seq > 590")
    assert "11 missing numbers were written down as lost" in repaired(sound)
    assert losses(sound) == [("damaged", 591, 601)]


def test_what_was_cut_before_a_server_went_back_is_not_missing(sound: Path) -> None:
    log = Log(sound)
    log.acknowledge(400)
    log.cursor.rewind(200)
    log.close()
    execute(sound, "DELETE FROM log WHERE seq <= 300")
    assert not [line for line in repaired(sound) if "missing" in line]
    assert losses(sound) == []


def test_more_places_than_one_walk_tells(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 2_400)
    execute(folder, "UPDATE log SET decision_id = 'x' || decision_id WHERE kind = 16")
    lines = repaired(folder)
    assert "mended: 2,400 records are filed under another decision" in lines
    assert "2,400 records were filed under their decision again" in lines
    execute(folder, "DELETE FROM log WHERE seq > 1 AND seq % 4 = 0")
    lines = repaired(folder)
    assert "mended: 1,190 more records are missing, and nothing says why" in lines
    assert "lost: 1,200 damaged" in lines


def test_a_lost_identity_is_written_anew(sound: Path) -> None:
    kept = (sound / "identity").read_bytes()
    (sound / "identity").unlink()
    assert repaired(sound)[0] == "mended: the file identity is gone, or not what was written"
    assert (sound / "identity").read_bytes() == kept


def test_a_store_with_the_identity_of_another_is_left_to_a_person(sound: Path, tmp_path: Path) -> None:
    """A start would set the database aside as another's; somebody who looks can know better."""
    other = make_store(tmp_path / "other", 1)
    (sound / "identity").write_bytes((other / "identity").read_bytes())
    before = contents(sound)
    lines = repaired(sound, status=1)
    assert len(lines) == 1
    assert "delete it to keep the database" in lines[0]
    assert contents(sound) == before
    (sound / "identity").unlink()
    repaired(sound)
    assert sorted(records(sound)) == list(range(1, 602))


def test_the_journal_of_another_store_is_set_aside(sound: Path, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", 1)
    (sound / "journal").write_bytes((other / "journal").read_bytes())
    repaired(sound)
    assert (sound / "set-aside" / "0001.journal").exists()
    opens(sound)


def test_a_rotten_catalog_is_replaced_by_its_copy(sound: Path) -> None:
    execute(sound, "UPDATE catalogs SET built = CAST(replace(CAST(built AS TEXT), 'hesitating', 'hesitatinG') AS BLOB)")
    assert "a damaged catalog was replaced by its copy" in repaired(sound)
    with Client(sound, clock=ManualClock(T0)) as client:
        assert client.stats()["given_up"] == []


def test_a_rotten_catalog_without_a_copy_is_dropped_with_the_state_it_belongs_to(sound: Path) -> None:
    execute(sound, "UPDATE catalogs SET built = X'00'")
    (sound / "live-catalog.json").unlink()
    lines = repaired(sound)
    assert "a damaged catalog was dropped" in lines
    assert any(line.startswith("the kept state was of no use and was dropped") for line in lines)
    opens(sound)


def test_an_action_that_waits_is_read_from_the_log_again(sound: Path) -> None:
    execute(sound, "UPDATE pending SET body = X'C1C1' WHERE decision_id = (SELECT min(decision_id) FROM pending)")
    execute(
        sound,
        "UPDATE pending SET body = X'C1C1', decision_id = 'unknown' WHERE decision_id = (SELECT max(decision_id) FROM pending)",
    )
    lines = repaired(sound)
    assert {"a damaged action was read from the log again", "a damaged action was dropped"} <= set(lines)
    log = Log(sound)
    assert len(log.pending()) == 6
    log.close()


def test_a_record_is_filed_under_its_decision_again(sound: Path) -> None:
    execute(sound, "UPDATE log SET decision_id = 'x' || decision_id WHERE kind = 16 AND seq < 20")
    assert any("records were filed under their decision again" in line for line in repaired(sound))


def test_a_value_that_cannot_be_read_is_dropped(sound: Path) -> None:
    execute(sound, "UPDATE meta SET value = X'C1' WHERE name IN ('position_max', 'subject')")
    repaired(sound)
    opens(sound)


def test_a_rotten_journal_is_kept_aside_and_its_gap_explained(killed: Path) -> None:
    path = killed / "journal"
    content = bytearray(path.read_bytes())
    content[4096 + 60] ^= 0x10
    path.write_bytes(content)
    lines = repaired(killed)
    assert any("places that are no record" in line for line in lines)
    assert sorted(os.listdir(killed / "set-aside")) == ["0001.journal.damage"]
    opens(killed)


def test_a_lost_database_begins_anew_with_what_the_journal_holds(killed: Path) -> None:
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (killed / name).unlink()
    repaired(killed)
    opens(killed)


def test_a_journal_made_for_the_repair_does_not_stay(tmp_path: Path) -> None:
    """Its size would be the default bound's, and outlive the repair."""
    config = Config(store_bytes_max=2 * 1024 * 1024)
    folder = make_store(tmp_path / "store", 20, config=config)
    (folder / "journal").unlink()
    repaired(folder)
    assert not (folder / "journal").exists()
    with Client(folder, catalog=catalog(), clock=ManualClock(T0), config=config) as client:
        assert client.stats()["store"]["bytes"] < 2 * 1024 * 1024


def test_an_encrypted_store(sealed: Path, key: Path) -> None:
    change_row(sealed, 7)
    assert reflexarc("store", "repair", sealed).status == 2
    assert "lost: 1 damaged" in repaired(sealed, "--key-file", key)
    opens(sealed, KEY)


def test_the_ruin_of_an_encrypted_store_is_not_touched_without_its_key(tmp_path: Path, key: Path) -> None:
    """Salvaged in the belief that it is open, it would lose what only the key can read."""
    folder = make_store(tmp_path / "store", 1_500, key=KEY)
    content = bytearray((folder / "store.db").read_bytes())
    content[:100] = bytes(100)
    (folder / "store.db").write_bytes(content)
    before = contents(folder)
    done = reflexarc("store", "repair", folder)
    assert (done.status, len(done.lines)) == (2, 1)
    assert "--key-file" in done.err
    assert contents(folder) == before
    repaired(folder, "--key-file", key)
    opens(folder, KEY)


def test_a_store_in_use_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with owned_store(folder) as process:
        done = reflexarc("store", "repair", folder)
        assert done.status == 1
        assert done.lines == [
            f"reflexarc: the store at {folder} is in use by process {process.pid} (a repair needs it alone: end that process)"
        ]
        assert is_owned(folder)
        assert not (folder / "captures").exists()


@pytest.mark.parametrize("seed", range(3))
def test_a_repair_may_be_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    folder = make_store(tmp_path / "store", 2_000)
    before = records(folder)
    rot_page(folder, count=3)
    draw = random.Random(SEED + seed)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "reflexarc_cli", "store", "repair", str(folder)],
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(draw.uniform(0.15, 0.7))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    repaired(folder)
    after = records(folder)
    kept = {seq for seq, record in after.items() if not isinstance(record, LossOutput)}
    assert all(after[seq] == before[seq] for seq in kept)
    assert len(kept) > len(before) - 120
    opens(folder)


def test_an_interrupt_is_one_line(tmp_path: Path) -> None:
    folder = make_store(tmp_path / "store", 2_000)
    rot_page(folder, count=3)
    process = subprocess.Popen(
        [sys.executable, "-c", "import time\nfrom reflexarc_edge import salvage\nreal = salvage.salvage\n"
         "def slow(path):\n    print('salvaging', flush=True)\n    time.sleep(30)\n    return real(path)\n"
         "salvage.salvage = slow\nfrom reflexarc_cli.main import main\nmain()", "store", "repair", str(folder)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "salvaging\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert not is_owned(folder)
    repaired(folder)


def test_a_killed_store_with_a_damaged_page(tmp_path: Path) -> None:
    """What was in the write-ahead log and the journal is kept beside what the pages still hold."""
    folder = make_store(tmp_path / "store", 1_500)
    killed_store(folder, 200)
    rot_page(folder)
    repaired(folder)
    opens(folder)
