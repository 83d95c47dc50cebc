"""The demo's processes: one server, several devices, started, really stopped, really killed.

Owns every process it starts and ends only those. A process that dies is started again and told its command again; it
goes on where its store ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from reflexarc_core.errors import ReflexArcError, TransportError

COMMAND_TIMEOUT_S: Final = 600.0
START_TIMEOUT_S: Final = 60.0


class Died(Exception):
    """The process ended while it was awaited."""


class Worker:
    """One device process and its line to the driver."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._ended = False
        self.restart_count = 0
        self.restarts_allowed = 0

    @property
    def pid(self) -> int:
        """The process's id, 0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("a") as errors:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdout is not None
        self._lines = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True).start()
        self._await("ready", lambda _: None, START_TIMEOUT_S)

    def kill(self) -> None:
        """kill -9."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    def do(self, command: dict[str, Any], progress: Callable[[int], None]) -> dict[str, Any]:
        """Have it carry out a command; started again and told again when it dies of a kill."""
        while True:
            try:
                assert self._process is not None and self._process.stdin is not None
                self._process.stdin.write(json.dumps(command) + "\n")
                self._process.stdin.flush()
                return self._await("done", progress, COMMAND_TIMEOUT_S)
            except (Died, BrokenPipeError):
                if self._ended or self.restart_count >= self.restarts_allowed:
                    raise TransportError(f"{self.name} ended unexpectedly: {last_words(self._log)}") from None
                self.restart_count += 1
                while True:
                    try:
                        self.start()
                        break
                    except Died:
                        if self.restart_count >= self.restarts_allowed:
                            raise TransportError(f"{self.name} does not start: {last_words(self._log)}") from None
                        self.restart_count += 1

    def end(self) -> None:
        """End it for good; it is not started again."""
        self._ended = True
        if self._process is not None:
            self.kill()
            self._process.wait()

    def _await(self, wanted: str, progress: Callable[[int], None], timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise TransportError(f"{self.name} gave no answer in {timeout_s:.0f} s: {last_words(self._log)}") from None
            if line is None:
                raise Died
            if "failed" in line:  # it said so itself: telling it again would not help
                raise ReflexArcError(f"{self.name}: {line['failed']}")
            if "progress" in line:
                progress(line["progress"])
            elif wanted in line:
                return line


class ServerProcess:
    """The demo's server."""

    def __init__(self, data: Path, catalog: Path, clock: Path, log: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._arguments = [
            sys.executable, "-m", "reflexarc_cli", "--until-input-ends", "serve", "--data", str(data), "--address", self.address,
            "--catalog", str(catalog), "--clock-file", str(clock), "--insecure",
        ]  # fmt: skip
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()

    @property
    def pid(self) -> int:
        """The process's id, 0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Start it and wait until it says that it listens: a port that answers might be somebody else's."""
        with self._lock:
            with self._log.open("ab") as log:
                said_before = log.tell()
                self._process = subprocess.Popen(self._arguments, stdin=subprocess.PIPE, stdout=log, stderr=log)
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    break
                if b"listening on" in self._log.read_bytes()[said_before:]:
                    return
                self._process_wait(0.05)
            raise TransportError(f"the server did not start: {last_words(self._log)}")

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        with self._lock:
            if self._process is not None and self.pid:
                self._process.terminate()
                try:
                    self._process.wait(15)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._close_input()

    def kill(self) -> None:
        """kill -9, then start it again."""
        with self._lock:
            if self.pid:
                assert self._process is not None
                self._process.kill()
                self._process.wait()
                self._close_input()
                self.start()

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _process_wait(self, timeout_s: float) -> None:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)


class Fleet:
    """All processes together; commands go to every device at once."""

    def __init__(self, server: ServerProcess, devices: Sequence[Worker]) -> None:
        self.server = server
        self.devices = list(devices)
        self.kill_count = 0
        self.kill_busy_count = 0

    def do(
        self,
        command: dict[str, Any],
        progress: Callable[[int], None] = lambda _: None,
        kills: Sequence[tuple[float, int]] = (),
    ) -> list[dict[str, Any]]:
        """The answers of all devices. kills: (seconds from now, victim), a device's index or the device count for the
        server; victims die while the command runs."""
        answers: list[dict[str, Any]] = [{} for _ in self.devices]
        errors: list[Exception] = []

        def one(index: int) -> None:
            try:
                answers[index] = self.devices[index].do(command, progress)
            except Exception as error:  # raised again below, on the driver's thread
                errors.append(error)

        threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(self.devices))]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        for after_s, victim in sorted(kills):
            remaining = started + after_s - time.monotonic()
            if remaining > 0:
                threads[victim % len(threads)].join(remaining)
            if victim >= len(self.devices) and not self.server.pid:
                victim %= len(self.devices)  # the server is stopped just now: a device dies in its place
            self.kill_busy_count += threads[victim % len(threads)].is_alive()
            self._kill(victim)
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
        if errors:
            raise errors[0]
        return answers

    def close(self) -> None:
        """End every process."""
        for device in self.devices:
            device.end()
        self.server.stop()

    def pids(self) -> list[int]:
        """Processes that run now."""
        return [pid for pid in (self.server.pid, *(device.pid for device in self.devices)) if pid]

    def _kill(self, victim: int) -> None:
        self.kill_count += 1
        if victim >= len(self.devices):
            self.server.kill()
        else:
            self.devices[victim].kill()


def run_to_end(arguments: Sequence[str], log: Path, timeout_s: float) -> None:
    """Run one command to its end. Raises ReflexArcError with its last words when it fails or takes too long."""
    with log.open("w") as into:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=into, stderr=into)
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise ReflexArcError(f"no end in {timeout_s:.0f} s: {last_words(log)}") from None
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
    if status != 0:
        raise ReflexArcError(last_words(log))


def last_words(log: Path) -> str:
    """The last line a process wrote; its log may be gone by the time anybody could look."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].removeprefix("reflexarc: ") if lines else "no word from it; is the disk full?"


def kill_plan(
    seed: int, kill_count: int, stage_count: int, victim_count: int, span_s: float
) -> dict[int, list[tuple[float, int]]]:
    """Stage -> kills, drawn from the seed. Stage 0 is the history, the others are days."""
    draw = random.Random(seed)
    plan: dict[int, list[tuple[float, int]]] = {}
    for _ in range(kill_count):
        stage = draw.randrange(stage_count)
        plan.setdefault(stage, []).append((draw.uniform(0.0, span_s), draw.randrange(victim_count)))
    return plan


def _read(lines: IO[str], into: queue.Queue[dict[str, Any] | None]) -> None:
    for line in lines:
        try:
            into.put(json.loads(line))
        except ValueError:
            continue  # a line torn by a kill
    into.put(None)
