"""Promise 7: on a disk that is really full the application goes on, what was acknowledged stays, and space is enough."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reflexarc import Client
from reflexarc_core.errors import StorageError
from reflexarc_core.record import LossOutput
from reflexarc_edge.upkeep import BALLAST_BYTES
from tests.promises import kit
from tests.promises.outcome import Outcome

DISK_MIB = 8
STORE_BYTES = 3 * kit.MIB
CYCLES_PER_DISK = 25
RESUME_S_MAX = 5.0
EVENTS_MAX = 4_000


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own, of a few MiB. Needs the right to mount one: without it the promise is not proved."""
    with tempfile.TemporaryDirectory(prefix="reflexarc-full-") as made:
        folder = Path(made)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise PermissionError(f"promise 7 needs to mount a small file system (root): {done.stderr.strip()}")
        try:
            yield folder
        finally:
            held = _open_files(folder)
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        assert not held, f"closed, and still open: {held}"


def _open_files(folder: Path) -> list[str]:
    """Files below a folder that this process holds open or mapped."""
    held = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    held += [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    return sorted({name for name in held if name.startswith(str(folder))})


def run(count: int, seed: int) -> Outcome:
    """count cycles of: fill the disk, track until refused, free it, track again; now and then with a restart in between."""
    outcome = Outcome(count)
    for start in range(0, count, CYCLES_PER_DISK):
        with small_disk() as disk:
            _cycles(disk, seed * 100_000 + start, min(CYCLES_PER_DISK, count - start), outcome)
    return outcome


class App:
    """An application that keeps its own account of what was acknowledged."""

    def __init__(self, disk: Path, where: str, outcome: Outcome) -> None:
        self.disk = disk
        self.where = where
        self.outcome = outcome
        self.accepted: dict[int, int] = {}
        """Serial number of each acknowledged event, and its number in the log."""
        self.serial = 0
        self.errors: list[Exception] = []
        self.client = self._open()

    def _open(self) -> Client:
        return kit.open_client(self.disk / "store", store_bytes_max=STORE_BYTES, history_rows=100)

    def track(self, draw: random.Random, size: int, priority: int = 1) -> bool:
        """One event; an exception here is what the promise forbids."""
        self.serial += 1
        number = self.client.log.last_seq + 1
        try:
            receipt = kit.track(self.client, draw, self.serial, size=size, priority=priority)
        except Exception as error:
            self.outcome.wrong.append(f"{self.where}: track() raised {type(error).__name__}: {error}")
            return False
        if receipt.accepted:
            self.accepted[self.serial] = number
        else:
            self.outcome.check(receipt.reason.startswith("storage"), f"{self.where}: refused with {receipt.reason}")
        return receipt.accepted

    def restart(self) -> None:
        """Close and open, whatever room there is. A store that cannot be opened for lack of room says so, and is tried again."""
        self.client.close()
        self.client = self._open()


def _cycles(disk: Path, seed: int, count: int, outcome: Outcome) -> None:
    draw = random.Random(seed)
    app = App(disk, f"seed {seed}", outcome)
    try:
        _fill_and_free(app, disk / "filler", draw, seed, count, outcome)
        _account(app)
    except StorageError as error:
        sizes = {path.name: path.stat().st_size for path in (disk / "store").iterdir()}
        outcome.wrong.append(f"{app.where}: {error.message}; {sizes}")
    finally:
        app.client.close()


def _fill_and_free(app: App, filler: Path, draw: random.Random, seed: int, count: int, outcome: Outcome) -> None:
    for cycle in range(count):
        app.where = f"seed {seed} cycle {cycle}"
        for _ in range(draw.randint(0, 40)):
            app.track(draw, draw.choice((0, 500)))
        if draw.random() < 0.5:
            app.client.log.sync_to_disk()
            app.client.log.acknowledge(app.client.log.spool.durable_seq)
        if draw.random() < 0.3:
            app.client.device.keep_house()
        _fill(filler, leave=draw.choice((0, 0, 4_096, 100_000)))
        refused = tries = 0
        while refused < 20 and tries < EVENTS_MAX:
            refused += not app.track(draw, draw.choice((4_000, 8_000)), priority=2)
            tries += 1
        outcome.check(refused >= 20, f"{app.where}: the disk was never full")
        app.client.device.keep_house()
        filler.unlink()
        freed = time.monotonic()
        while not app.track(draw, 200, priority=2) and time.monotonic() < freed + RESUME_S_MAX:
            time.sleep(0.01)
        took = time.monotonic() - freed
        outcome.check(took < RESUME_S_MAX, f"{app.where}: nothing was accepted for {took:.1f} s after there was space")
        outcome.details["slowest resume, ms"] = max(int(str(outcome.details.get("slowest resume, ms", 0))), int(took * 1000))
        app.client.device.keep_house()
        ballast = app.disk / "store" / "ballast"
        laid = ballast.exists() and ballast.stat().st_blocks * 512 >= BALLAST_BYTES
        outcome.check(laid, f"{app.where}: the ballast did not come back")
        if draw.random() < 0.2:
            app.restart()


def _fill(filler: Path, leave: int) -> None:
    """Take every byte there is, but for `leave`."""
    with filler.open("wb", buffering=0) as file:
        step = 65_536
        while step >= 512:
            try:
                if file.write(b"\xff" * step) < step:
                    step //= 2
            except OSError:
                step //= 2
        if leave:
            os.ftruncate(file.fileno(), max(0, file.tell() - leave))


def _account(app: App) -> None:
    """Every acknowledged event is there under its number, was sent, or was evicted with a loss; no refused one is."""
    log = app.client.log
    acked = log.acked_seq
    held: dict[int, int] = {}
    evicted: set[int] = set()
    for seq, record in log.records(0):
        serial = kit.serial_of(record)
        if serial is not None:
            held[serial] = seq
        if isinstance(record, LossOutput):
            app.outcome.check(record.reason == "evicted", f"{app.where}: a loss for {record.reason!r}")
            evicted.update(range(record.first_seq, record.last_seq + 1) if record.reason == "evicted" else ())
    app.outcome.check(list(held) == sorted(held), f"{app.where}: the events are not in order")
    strangers = held.keys() - app.accepted.keys()
    app.outcome.check(not strangers, f"{app.where}: {len(strangers)} refused events are there")
    for serial, number in app.accepted.items():
        if held.get(serial) == number or (serial not in held and (number <= acked or number in evicted)):
            continue
        app.outcome.lost += 1
        app.outcome.wrong.append(f"{app.where}: event {serial} was acknowledged as {number} and is at {held.get(serial)}")
    app.outcome.add("accepted", len(app.accepted))
    app.outcome.add("evicted", len(evicted))
