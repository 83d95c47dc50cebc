"""The kiosk of the examples on stores damaged in every way: it starts, says what was given up, and goes on capturing."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KIOSK = Path(__file__).resolve().parents[2] / "examples" / "kiosk.py"


def run(folder: Path) -> str:
    done = subprocess.run([sys.executable, str(KIOSK), str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kiosk") / "store"
    for _ in range(3):
        assert "note" not in run(folder)
    return folder


def garbage_page(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:  # a start reads what it needs: not every page of a file
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'log'").fetchone()
    content = bytearray(database.read_bytes())
    page = root - 1
    content[page * 4096 : (page + 1) * 4096] = random.Random(1).randbytes(4096)
    database.write_bytes(bytes(content))


def flipped(database: Path) -> None:
    content = bytearray(database.read_bytes())
    draw = random.Random(2)
    for _ in range(400):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    database.write_bytes(bytes(content))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped bits": flipped,
    "garbage page": garbage_page,
    "cut": lambda database: database.write_bytes(database.read_bytes()[: 5 * 4096 + 100]),
    "zero length": lambda database: database.write_bytes(b""),
    "no database": lambda database: database.write_bytes(b"hello, this is no database\n" * 999),
    "gone": lambda database: database.unlink(),
    "rotten journal": lambda database: (database.parent / "journal").write_bytes(random.Random(3).randbytes(300_000)),
    "another's write-ahead log": lambda database: (database.parent / "store.db-wal").write_bytes(b"\x37" * 50_000),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_kiosk_starts_says_what_it_gave_up_and_goes_on(used: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "store"
    shutil.copytree(used, folder)
    DAMAGE[kind](folder / "store.db")
    said = run(folder)
    assert "kept: " in said
    assert "handed over: 1" in said
    if kind != "another's write-ahead log":  # one that is none is passed over by SQLite itself
        assert "note: " in said
    assert "note" not in run(folder), "what was mended stays mended"
