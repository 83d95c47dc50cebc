"""Real processes over one store: started, killed by pid, and what the store holds when they are gone.

A program is a module of this package, run by a fresh interpreter. It ends by itself when its standard input closes, so that
nothing outlives a test that was interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from reflexarc import Client
from reflexarc_build.reader import build_text
from reflexarc_core.record import EventInput, LossOutput

ROOT: Final = Path(__file__).resolve().parents[2]

CATALOG: Final = """
include: standard
version: processes
triggers:
  bought:
    condition: event.amount > 0.0
    on: [purchase]
    action: thanks
actions:
  thanks: {payload: {text: thank you}}
"""
"""Something is decided on a purchase at once; a page view is kept to be folded later."""


@cache
def catalog_bytes() -> bytes:
    """The built catalog."""
    return build_text(CATALOG).to_bytes()


def catalog_in(folder: Path) -> Path:
    """The built catalog as a file beside a store."""
    path = folder / "catalog.json"
    path.write_bytes(catalog_bytes())
    return path


def start(program: str, *arguments: object, stdin: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
    """A fresh interpreter that runs a module of this package, in a group of its own. Its output is read by `end`."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.processes.{program}", *map(str, arguments)],
        cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment}, start_new_session=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str], timeout_s: float = 20.0) -> tuple[int, str, str]:
    """Close its standard input and wait; (status, output, errors). Whatever does not end in time is killed, and fails."""
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        signal_all(process, signal.SIGABRT)  # a program that has asked for it says where it stands
        output, errors = process.communicate(timeout=timeout_s)
        raise AssertionError(f"process {process.pid} did not end in {timeout_s} s: {output[-300:]} {errors[-2_000:]}") from None
    return process.returncode, output, errors


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and nothing of it left, nor of what it has forked."""
    signal_all(process, signal.SIGKILL)
    process.communicate()


def signal_all(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to what is left of a group that `start` made."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def wait_for(holds: Callable[[], bool], what: str, timeout_s: float = 20.0) -> float:
    """Poll until it holds; the seconds it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() < started + timeout_s, f"it did not come about in {timeout_s} s: {what}"
        time.sleep(0.002)
    return time.monotonic() - started


class Ledger:
    """A file that many processes append whole lines to, and a reader that goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._read = 0
        self._rest = b""
        self._lines: dict[str, list[list[str]]] = {}
        self._kept: dict[int, str] = {}

    def of(self, kind: str) -> list[list[str]]:
        """The words behind the first one, of every line so far that begins with it."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        self._read += len(fresh)
        *whole, self._rest = (self._rest + fresh).split(b"\n")
        for line in whole:
            first, *words = line.decode().split(" ")
            self._lines.setdefault(first, []).append(words)
        return self._lines.get(kind, [])

    def kept(self) -> dict[int, str]:
        """Position -> event id of every accepted event. No two have one position."""
        for words in self.of("kept")[len(self._kept) :]:
            self._kept[int(words[0])] = words[1]
        assert len(self._kept) == len(self._lines.get("kept", [])), "two accepted events have one position"
        return self._kept


Write = Callable[[str], None]


def writes(path: Path | str) -> Write:
    """Appends one line with one system call, so that lines of several processes never mix and a kill leaves none in half."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return write


class Held(NamedTuple):
    """What a store holds. events: position -> how often. ids: position -> its event id. marks: position -> its property."""

    events: Counter[int]
    ids: dict[int, str]
    marks: dict[int, str]
    losses: int
    dead: int

    def lost(self, positions: Iterable[int]) -> list[int]:
        """Accepted, and not there."""
        return sorted(position for position in positions if not self.events[position])

    @property
    def doubled(self) -> list[int]:
        """There more than once."""
        return sorted(position for position, count in self.events.items() if count > 1)


def journals(folder: Path) -> list[Path]:
    """What other processes captured and nobody has taken yet, or whose process lives."""
    return sorted((folder / "captures").glob("*.journal"))


def held(client: Client) -> Held:
    """What the store of this client holds."""
    found = Held(Counter(), {}, {}, 0, client.stats()["store"]["dead_letters"])
    losses = 0
    for _, record in client.log.records(0):
        losses += isinstance(record, LossOutput)
        if isinstance(record, EventInput):
            event = record.event
            found.events[event.source_position] += 1
            found.ids[event.source_position] = event.event_id
            found.marks[event.source_position] = str(event.properties.get("page_url") or event.properties.get("order_id"))
    return found._replace(losses=losses)


def held_in(folder: Path, timeout_s: float = 60.0) -> Held:
    """What a store holds once every process but this one is gone and the last capture is taken."""
    with Client(folder, share=False) as client:
        wait_for(lambda: not journals(folder), "every capture is taken", timeout_s)
        return held(client)
