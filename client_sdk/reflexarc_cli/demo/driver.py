"""The driver: the loop's stages in order, on a fleet of real processes.

history -> train -> publish -> replay (the server really stopped for a stretch) -> sync -> results. Owns the demo's
folder and the replay's clock.
"""

from __future__ import annotations

import errno
import json
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc.backend import Backend
from reflexarc_cli.demo.fleet import Fleet, ServerProcess, Worker, kill_plan, run_to_end
from reflexarc_cli.demo.memory import MemoryWatch
from reflexarc_cli.demo.results import Gathered, gather
from reflexarc_cli.demo.source import Source
from reflexarc_cli.demo.stream import DAY_MS
from reflexarc_cli.progress import Progress
from reflexarc_core.errors import ReflexArcError, StorageError, TransportError

DEVICE_COUNT: Final = 3
KILL_SPAN_S: Final = 0.3
TRAINING_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to run. days: replayed days. port: the server's, 0 for any free one."""

    source: Source
    days: int
    kill_count: int = 0
    seed: int = 1
    port: int = 0


def run(plan: DemoPlan, folder: Path, progress: Progress) -> Gathered:
    """Run the whole loop in a folder of its own (see demo_folder). Raises ReflexArcError with one clear line when it cannot."""
    try:
        return _Demo(plan, folder, progress).run()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="--folder names another place") from None


class _Demo:
    def __init__(self, plan: DemoPlan, folder: Path, progress: Progress) -> None:
        self.plan = plan
        self.folder = folder
        self.progress = progress
        self.source = plan.source
        self.days = min(plan.days, plan.source.days_max)
        self.clock = folder / "clock"
        self.outage = _outage(self.days)
        self.kills = kill_plan(plan.seed, plan.kill_count, self.days + 1, DEVICE_COUNT + 1, KILL_SPAN_S)

    def run(self) -> Gathered:
        started = time.monotonic()
        self._set_clock(self.source.start_time)
        catalog = self.folder / "catalog.json"
        catalog.write_bytes(self.source.catalog.to_bytes())
        server = ServerProcess(
            self.folder / "server", catalog, self.clock, self.folder / "server.log", self.plan.port or _free_port()
        )
        fleet = Fleet(server, [self._worker(i, server.address, catalog) for i in range(DEVICE_COUNT)])
        watch = MemoryWatch(fleet.pids)
        try:
            server.start()
            for device in fleet.devices:
                device.start()
            with watch:
                self._history(fleet)
                bundle, training = self._train(server)
                self._update(fleet, bundle)
                self._replay(fleet)
                self._drain(fleet)
                summaries = fleet.do({"do": "summary"})
                fleet.do({"do": "close"})
                backend = Backend(server.address, insecure=True)
                results = backend.results()
                status = backend.status()
                backend.close()
            server.stop()
            return gather(
                self.folder, self.source, summaries=summaries, results=results, status=status, training=training,
                kill_counts=(fleet.kill_count, fleet.kill_busy_count), days=self.days, outage=self.outage,
                seconds=time.monotonic() - started, pss_mb_peak=watch.peak_mb,
            )  # fmt: skip
        finally:
            fleet.close()

    # -- stages ---------------------------------------------------------------------------------------------------

    def _history(self, fleet: Fleet) -> None:
        with self.progress.stage("Capturing history, triggers paused", self.source.history_count) as step:
            fleet.do({"do": "history"}, step, self.kills.get(0, ()))
        with self.progress.stage("Uploading", len(fleet.devices)) as step:
            self._flush(fleet)
            step(len(fleet.devices))

    def _train(self, server: ServerProcess) -> tuple[str, dict[str, Any]]:
        self._set_clock(self.source.cut_time)
        self._wait_folded(server)
        with self.progress.stage("Training on the server's log", 1) as step:
            out = self.folder / "training.json"
            command = [
                sys.executable, "-m", "reflexarc_cli", "--until-input-ends", "train", "--data", str(self.folder / "server"),
                "--catalog", str(self.folder / "catalog.json"), "--until", str(self.source.cut_time), "--json-file", str(out),
                "--seed", str(self.plan.seed),
            ]  # fmt: skip
            try:
                run_to_end(command, self.folder / "train.log", TRAINING_TIMEOUT_S)
            except ReflexArcError as error:
                raise ReflexArcError(f"training failed: {error}") from None
            step(1)
        training = json.loads(out.read_text())
        backend = Backend(server.address, insecure=True)
        backend.activate(training["bundle"])
        backend.close()
        return training["bundle"], training

    def _update(self, fleet: Fleet, bundle: str) -> None:
        with self.progress.stage("Devices take the bundle", len(fleet.devices)) as step:
            answers = fleet.do({"do": "update", "until": self.source.cut_time})
            step(len(fleet.devices))
        if any(not answer["updated"] for answer in answers):
            raise ReflexArcError(f"a device did not take bundle {bundle[:12]}")

    def _replay(self, fleet: Fleet) -> None:
        with self.progress.stage(f"Replaying {self.days} days after the cut", self.days) as step:
            for day in range(self.days):
                if day == self.outage[0]:
                    self._flush(fleet)
                    fleet.server.stop()
                    fleet.do({"do": "notice", "online": False})
                    self.progress.note(f"server stopped before day {day + 1}")
                if day == self.outage[1]:
                    fleet.server.start()
                    self._flush(fleet)
                    self.progress.note(f"server back before day {day + 1}")
                until = self.source.cut_time + (day + 1) * DAY_MS
                self._set_clock(until - DAY_MS)
                kills = self.kills.get(day + 1, [])
                fleet.do({"do": "day", "index": day, "until": until}, kills=kills)
                if not self.outage[0] <= day < self.outage[1]:
                    self._flush(fleet)
                step(1)

    def _drain(self, fleet: Fleet) -> None:
        with self.progress.stage("Everything comes home", 1) as step:
            self._set_clock(self.source.cut_time + self.days * DAY_MS)
            self._flush(fleet)
            self._wait_folded(fleet.server)
            step(1)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _flush(self, fleet: Fleet) -> None:
        for answer in fleet.do({"do": "flush", "timeout_s": 120.0}):
            if not answer["delivered"]:
                raise TransportError(f"a device could not deliver {answer['remaining']} records: {answer['reason']}")

    def _wait_folded(self, server: ServerProcess) -> None:
        backend = Backend(server.address, insecure=True)
        deadline = time.monotonic() + 120
        while backend.status()["fold_lag"] > 0:
            if time.monotonic() > deadline:
                raise TransportError("the server did not fold its log in 120 s")
            time.sleep(0.05)
        backend.close()

    def _worker(self, index: int, address: str, catalog: Path) -> Worker:
        folder = self.folder / f"device-{index}"
        folder.mkdir(exist_ok=True)
        settings = {
            "folder": str(folder), "server": address, "catalog": str(catalog), "start_time": self.source.start_time,
            "stream": self.source.stream_settings(index, DEVICE_COUNT, folder),
        }  # fmt: skip

        worker = Worker(
            f"device {index}", [sys.executable, "-m", "reflexarc_cli.demo.device", json.dumps(settings)], folder / "device.log"
        )
        worker.restarts_allowed = 5 * self.plan.kill_count
        return worker

    def _set_clock(self, now_ms: int) -> None:
        self.clock.write_bytes(struct.pack("<q", now_ms))


def _outage(days: int) -> tuple[int, int]:
    """[first, last) day on which the server is stopped: about a fifth of the days, a third of the way in."""
    first = max(1, days // 3) if days > 1 else 0
    return first, min(days, first + max(1, days // 5))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def demo_folder(given: Path | None) -> Iterator[Path]:
    """Where everything is written: the given folder, empty or new, which stays; or one in the working folder, which goes."""
    if given is None:
        try:
            path = Path(tempfile.mkdtemp(prefix=".reflexarc-demo-", dir=Path.cwd()))
        except OSError as error:
            raise StorageError(f"nothing can be written here: {error.strerror}", hint="--folder names another place") from None
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        given.mkdir(parents=True, exist_ok=True)
        if any(given.iterdir()):
            raise StorageError(f"{given} is not empty", hint="name a new folder for the demo")
    except OSError as error:
        raise StorageError(f"{given} cannot be used: {error.strerror}") from None
    yield given
