"""One run: a fleet, a network and a server, what goes wrong with them, in an order that the seed alone decides.

Owns the order of steps and the trace. Each actor draws from a generator of its own, named after it, so that switching one kind
of fault off leaves the others as they were.
"""

from __future__ import annotations

import hashlib
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from reflexarc_edge.clock import EngineClock
from reflexarc_edge.journal import Journal
from reflexarc_edge.store import Store
from tests.simulation.catalogs import catalogs, read_once
from tests.simulation.checks import Checks
from tests.simulation.clocks import DAY, HOUR, MINUTE, SECOND, START, TrueTime
from tests.simulation.courier import Courier
from tests.simulation.device import SimulatedDevice
from tests.simulation.happenings import ACTS, WEIGHTS
from tests.simulation.network import Network
from tests.simulation.server import Parts, SimulatedServer
from tests.simulation.still import Broken, Killed, still

FAULTS = (
    "network",
    "clock",
    "disk",
    "kill",
    "server",
    "backup",
    "rollback",
    "clone",
    "operator",
    "tight",
    "forget",
    "catalog",
    "time",
)
"""Kinds of fault that can be switched off, to narrow a failure down."""

DEVICES = 3
HEAL_ROUNDS_MAX = 200


class Doom:
    """When a process ends: after so many of the points where it may, counted from when it was armed."""

    def __init__(self) -> None:
        self._left = 0
        self._freeze: Callable[[], None] = lambda: None
        self.point = ""

    def arm(self, after: int, freeze: Callable[[], None]) -> None:
        self._left, self._freeze = after, freeze

    def disarm(self) -> None:
        self._left = 0

    def at(self, point: str) -> None:
        """A point where the process may end."""
        if self._left > 0:
            self._left -= 1
            if self._left == 0:
                self.point = point
                self._freeze()
                raise Killed(point)

    def strikes(self, point: str) -> bool:
        """The same, for whoever freezes by itself."""
        if self._left > 0:
            self._left -= 1
            self.point = point
            return self._left == 0
        return False


class World:
    """One run of a seed. place: an empty folder. without: kinds of fault that do not happen. trace: told every line."""

    def __init__(
        self, seed: int, place: Path, *, without: frozenset[str] = frozenset(), parts: Parts | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.without = without
        self.time = TrueTime()
        self.doom = Doom()
        self.server_doom = Doom()
        self.errors: list[str] = []
        self.counts: Counter[str] = Counter()
        self.backend: set[int] = set()
        self.forgotten: set[str] = set()
        """Subjects that were erased somewhere: of them anything may be missing anywhere."""
        self.erased: set[int] = set()
        """Serials that have to be gone everywhere."""
        self.step = 0
        self._trace = trace
        self._digest = hashlib.sha256()
        self._serial = 0
        self._draw = random.Random(f"{seed}/world")
        self.server = SimulatedServer(place, self.time.now_ms, parts or Parts(), self.server_doom.strikes)
        self.network = Network(f"{seed}/network", self.time, self.server, self.say)
        self.checks = Checks(self)
        self.devices: list[SimulatedDevice] = []
        self.courier = Courier(self, place)
        self._place = place
        self.server_catalog = 0

    # -- for the actors -------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """One line of the trace."""
        text = f"{self.step:4} {self.time.now - START:>13} {line}".replace(f"{self._place}/", "")
        self._digest.update(text.encode() + b"\n")
        if self._trace is not None:
            self._trace(text)

    @property
    def digest(self) -> str:
        """Of the trace so far."""
        return self._digest.hexdigest()

    def next_serial(self) -> int:
        """A number no event has had."""
        self._serial += 1
        return self._serial

    def check(self, holds: bool, said: str) -> None:
        """Raises Broken, where what must hold does not."""
        if not holds:
            self.say(f"BROKEN {said}")
            raise Broken(f"step {self.step}: {said}")

    def reasons_allowed(self, device: SimulatedDevice) -> set[str]:
        """Why an event of this device may be missing."""
        allowed = {"erased"} if self.forgotten else set()
        if device.is_tight:
            allowed.add("evicted")
            if self.server.was_restored:
                allowed.add("cut")  # it had been told that they are stored, and had let them go
        return allowed

    # -- the run --------------------------------------------------------------------------------------------------

    def run(self, steps: int, until: int | None = None) -> None:
        """So many steps, then the healing and every checker. until: stop before that step, unhealed. Raises Broken."""
        with self._surroundings():
            self._begin()
            for self.step in range(1, steps + 1):
                if until is not None and self.step >= until:
                    return
                self._one_step()
            self.step += 1
            self._heal()
            self.checks.everything()
            self.check(not self.errors, f"errors nobody expected: {self.errors[:3]}")
            for device in self.devices:
                device.close()
                device.end_sibling()

    def _is_full(self, folder: Path) -> bool:
        return any(device.is_full and folder.is_relative_to(device.folder) for device in self.devices)

    def _let_go(self) -> None:
        """Whatever happened, no file stays open."""
        for device in self.devices:
            device.abandon()
        if self.server.is_up:
            self.server.abandon()

    def _begin(self) -> None:
        self.server.start(catalogs()[0])
        setup = random.Random(f"{self.seed}/setup")
        for number in range(DEVICES):
            is_tight = setup.random() < 0.35 and "tight" not in self.without
            device = SimulatedDevice(self, f"device{number}", self._place, is_tight=is_tight, drift_ppm=setup.randint(-50, 50))
            self.devices.append(device)
            self._guarded(device, device.open)

    def _one_step(self) -> None:
        draw = self._draw
        self._pass_time(draw)
        self.network.deliver_late()
        device = draw.choice(self.devices)
        name, act = draw.choices(ACTS, WEIGHTS)[0]
        after = draw.choice((0, 0, 0, 0, 0, 0, 0, draw.randint(1, 40)))
        server_after = draw.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, draw.randint(1, 12)))
        luck = draw.random()
        if act is None:
            self._device_step(device, name, after if "kill" not in self.without else 0, server_after)
        elif name.split()[0] not in self.without:
            self.say(f"{name}")
            act(self, device, luck)
        if not self.server.is_up and draw.random() < 0.3:
            self._start_server()
        self.check(not self.errors, f"errors nobody expected: {self.errors[:3]}")

    def _device_step(self, device: SimulatedDevice, name: str, doom: int, server_doom: int) -> None:
        if device.client is None:
            name = "open"
        self.say(f"{device.name} {name}")
        if server_doom and "server" not in self.without:
            self.server_doom.arm(server_doom, lambda: None)
        if doom:
            self.doom.arm(doom, device.freeze)
        step: Callable[[], None] = getattr(device, name.replace(" ", "_"))
        self._guarded(device, step)
        self.server_doom.disarm()

    def _guarded(self, device: SimulatedDevice, step: Callable[[], None]) -> None:
        """A step of a device, which may be its last."""
        was_open = device.client is not None
        errors = len(self.errors)
        try:
            step()
        except Killed:
            self.doom.disarm()
            del self.errors[errors:]  # a dead process complains to nobody
            self.say(f"  {device.name} is killed {self.doom.point}")
            self.counts["kills"] += 1
            device.after_kill()
            return
        self.doom.disarm()
        if device.client is not None and not was_open:
            device.opened_count += 1
            self.checks.reopened(device)
        self.checks.device(device)

    def _pass_time(self, draw: random.Random) -> None:
        by = draw.choice((0, 1, 20, 500, SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, 2 * HOUR))
        days = draw.choice((1, 5, 40))
        if draw.random() < 0.02 and "time" not in self.without:
            by = days * DAY
        self.time.pass_by(by)

    def _start_server(self) -> None:
        self.server.start(catalogs()[self.server_catalog])
        self.say("the server is up")
        self.checks.server_restarted()

    def fold_some(self) -> None:
        """Some work of the fold's thread. May end the server."""
        self.server.fold.step()

    def _heal(self) -> None:
        """Everything is put right, and everything that can still be done is done."""
        self.say("heal")
        self.network.is_calm = True
        self.network.cut_off.clear()
        if not self.server.is_up:
            self._start_server()
        self.network.deliver_all()
        for device in self.devices:
            device.is_full = False
            if device.client is None:
                self._guarded(device, device.open)
            device.up.device.adopt_all_others()
            if self.server.was_restored:
                device.track()  # a device that has nothing to say is not asked what it once said
        for device in self.devices:
            for _ in range(HEAL_ROUNDS_MAX):
                device.hand_over()
                device.answer()
                device.sync()
                log = device.up.log
                if log.acked_seq == log.last_seq:
                    break
            self.check(log.acked_seq == log.last_seq, f"{device.name} stays at {log.acked_seq} of {log.last_seq}")
            paused = device.up.runtime.engine.state.paused
            self.check(
                paused == set(self.server.switch.paused),
                f"{device.name} pauses {paused}, the operator {self.server.switch.paused}",
            )
        while self.server.fold.step():
            pass

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(still(self.time.now_ms, self.time.pass_by, f"{self.seed}/ids", self.network.connection))
            stack.enter_context(read_once())
            stack.enter_context(_points(self.doom, self._is_full))
            stack.enter_context(self._told())
            stack.enter_context(_silence())
            stack.callback(self._let_go)
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Count when a device is told the time."""
        real = EngineClock.confirm

        def confirm(clock: EngineClock, server_time: int) -> None:
            real(clock, server_time)
            for device in self.devices:
                if clock._clock is device.clock:
                    device.told_count += 1

        with mock.patch.object(EngineClock, "confirm", confirm):
            yield


@contextmanager
def _points(doom: Doom, is_full: Callable[[Path], bool]) -> Iterator[None]:
    """A device may be killed around every commit of its store and every frame of its journal. is_full: whether the disk below
    a folder takes nothing more."""
    transaction, append = Store.transaction, Journal.append

    @contextmanager
    def watched(store: Store) -> Iterator[Any]:
        with transaction(store) as db:
            yield db
            if is_full(store.folder):
                raise no_room()
            doom.at("before a commit")
        doom.at("after a commit")

    def no_room() -> sqlite3.OperationalError:
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorname = "SQLITE_FULL"
        return full

    def appended(journal: Journal, first_seq: int, count: int, payload: bytes) -> bool:
        doom.at("before a frame")
        written = append(journal, first_seq, count, payload)
        doom.at("after a frame")
        return written

    with mock.patch.object(Store, "transaction", watched), mock.patch.object(Journal, "append", appended):
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """A server that loses its network thousands of times says so thousands of times."""
    logger = logging.getLogger("reflexarc_server")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
