"""Real stores in every condition, the command as a process of its own, and what its tools must never show."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY
KEY = bytes(range(32))
SEED = 20_260

SUBJECT = "CANARYsubject"
URL = "/CANARYurl"
PAYLOAD = "CANARYpayload"
CANARIES = (SUBJECT, URL, PAYLOAD)

CATALOG = f"""
include: standard
triggers:
  hesitating:
    condition: event.page_url.startsWith("{URL}")
    on: [page_view]
    life: 1d
    cooldown: 1h
    action: offer
actions:
  offer: {{payload: {{text: "{PAYLOAD} ${{event.session_step}}"}}}}
"""

OWNER = """
import sys
from reflexarc import Client
from tests.cli.kit import catalog, fill
client = Client(sys.argv[1], catalog=catalog(), key=bytes.fromhex(sys.argv[2]) if sys.argv[2] else None)
fill(client, int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.read()
client.close()
"""


@dataclass(frozen=True)
class Done:
    """How the command ended. `lines`: what it said, on both ways, without blank lines."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [line for line in (self.out + self.err).splitlines() if line.strip()]


def catalog() -> Catalog:
    """The shipped event types, and a trigger that fires for pages of the canary."""
    return build_text(CATALOG)


def fill(client: Client, count: int) -> None:
    """Events of some subjects, seeded, with canaries in subject, property and payload."""
    draw = random.Random(SEED)
    for number in range(count):
        url = f"{URL}-{draw.randrange(1000)}" if draw.random() < 0.5 else f"/{URL.strip('/')}/{number}"
        receipt = client.track("page_view", {"page_url": url}, subject=f"known:{SUBJECT}-{draw.randrange(7)}")
        assert receipt.accepted, receipt.reason


def make_store(folder: Path, count: int = 300, *, key: bytes | None = None, config: Config | None = None) -> Path:
    """A store that its client closed."""
    with Client(folder, catalog=catalog(), clock=ManualClock(T0), key=key, config=config or Config(locale="en")) as client:
        fill(client, count)
    return folder


@contextmanager
def owned_store(folder: Path, count: int = 300, *, key: bytes | None = None) -> Iterator[subprocess.Popen[str]]:
    """A store that a living process owns."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), key.hex() if key else "", str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_store(folder: Path, count: int = 300, *, key: bytes | None = None) -> Path:
    """A store whose process was killed with `kill -9`."""
    with owned_store(folder, count, key=key) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return folder


def environment() -> dict[str, str]:
    """What a child needs to import what this process does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*(path for path in sys.path if path), os.getcwd()])}


def reflexarc(*arguments: str | Path, cwd: Path | None = None, timeout_s: float = 60) -> Done:
    """Run the command."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "reflexarc_cli", *map(str, arguments)],
        capture_output=True, text=True, env=environment(), cwd=cwd, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def without_privilege(*arguments: str | Path) -> Done:
    """Run the command as a user for whom permissions hold; root's do not until that is given up. Raises FileNotFoundError."""
    give_up = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*give_up, sys.executable, "-m", "reflexarc_cli", *map(str, arguments)],
        capture_output=True, text=True, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def is_clean(done: Done) -> bool:
    """Whether nothing of what was captured is in what the command said."""
    return not any(canary in done.out + done.err for canary in CANARIES)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder; but for what SQLite rebuilds at will."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def change_row(folder: Path, seq: int) -> None:
    """Rot in one record: a byte of its body is another."""
    with _database(folder) as db:
        body = bytearray(db.execute("SELECT body FROM log WHERE seq = ?", (seq,)).fetchone()[0])
        body[len(body) // 2] ^= 0x40
        db.execute("UPDATE log SET body = ? WHERE seq = ?", (bytes(body), seq))


def execute(folder: Path, statement: str, *values: object) -> None:
    """Change a store behind its back."""
    with _database(folder) as db:
        db.execute(statement, values)


def rot_page(folder: Path, table: str = "log", count: int = 1) -> None:
    """Rot in some pages of a table: their content is noise. The root page stays."""
    path = folder / "store.db"
    with _database(folder) as db:
        size = db.execute("PRAGMA page_size").fetchone()[0]
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    content = bytearray(path.read_bytes())
    leaves = [at for at in range(0, len(content), size) if content[at] == 0x0D and at != (root - 1) * size and at]
    draw = random.Random(SEED)
    for at in draw.sample([at for at in leaves if URL.encode() in content[at : at + size]], count):
        content[at : at + size] = draw.randbytes(size)
    path.write_bytes(content)


def stale_index(folder: Path) -> None:
    """An index that does not know one of its rows; the tables are as they were."""
    with _database(folder) as db:
        seq, right = db.execute("SELECT seq, decision_id FROM log WHERE decision_id IS NOT NULL LIMIT 1").fetchone()
        db.execute("UPDATE log SET decision_id = 'another' WHERE seq = ?", (seq,))
        hidden = db.execute("SELECT * FROM sqlite_master WHERE name = 'log_decision'").fetchone()
        db.execute("PRAGMA writable_schema=ON")
        db.execute("DELETE FROM sqlite_master WHERE name = 'log_decision'")
    with _database(folder) as db:
        db.execute("UPDATE log SET decision_id = ? WHERE seq = ?", (right, seq))
        db.execute("PRAGMA writable_schema=ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", hidden)


def rot_first_leaf(folder: Path) -> None:
    """Rot in the page of the oldest records."""
    path = folder / "store.db"
    with _database(folder) as db:
        number = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'log'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    while content[(number - 1) * size] == 0x05:  # an interior page: down its first child
        page = content[(number - 1) * size : number * size]
        cell = int.from_bytes(page[12:14], "big")
        number = int.from_bytes(page[cell : cell + 4], "big")
    content[(number - 1) * size : number * size] = random.Random(SEED).randbytes(size)
    path.write_bytes(content)


@contextmanager
def _database(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "store.db", isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()
