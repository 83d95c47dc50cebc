"""The courier: a person who carries files between devices and the server, in any order, late, and some of them twice.

Owns the files under way. What is in them is the real export's and the real server's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reflexarc.answers import apply_answers, open_answers
from reflexarc_cli.sync.exporting import Wanted, export
from reflexarc_core.errors import ReflexArcError, SyncFileError
from tests.simulation.still import Killed

if TYPE_CHECKING:
    from tests.simulation.device import SimulatedDevice
    from tests.simulation.world import World

CARRIED_MAX = 6


@dataclass
class Letter:
    """A file under way."""

    path: Path
    installation: str


class Courier:
    """Carries for one world."""

    def __init__(self, world: World, place: Path) -> None:
        self._world = world
        self._place = place
        self._draw = random.Random(f"{world.seed}/courier")
        self._count = 0
        self._up: list[Letter] = []
        self._down: list[Letter] = []

    def turn(self, device: SimulatedDevice) -> None:
        """One thing a courier does: take a file from this device, bring one to the server, bring answers to a device."""
        self._draw.choice((self._take, self._deliver, self._deliver, self._bring_back, self._bring_back))(device)

    def _take(self, device: SimulatedDevice) -> None:
        if not device.installation:
            return
        path = self._new("batches")
        try:
            found = export(device.folder, Wanted(path, unsigned=True), None)
        except ReflexArcError as error:
            self._world.say(f"  nothing to carry from {device.name}: {error.message.split('/')[0]}")
            self._world.check(device.is_full or device.client is None, f"{device.name} cannot be exported: {error}")
            return
        self._world.say(f"  {device.name} writes a file: {found.first_seq}..{found.last_seq}")
        self._up = [*self._up, Letter(path, found.installation)][-CARRIED_MAX:]

    def _deliver(self, device: SimulatedDevice) -> None:
        world, server = self._world, self._world.server
        letter = self._pick(self._up)
        if letter is None or not server.is_up:
            return
        try:
            content = server.import_file(letter.path.read_bytes())
        except Killed as killed:
            world.say(f"  the server is killed {killed} of a file")
            server.abandon()
            return
        except SyncFileError as error:
            world.say(f"  a file is refused: {error.message}")
            return
        path = self._new("answers")
        path.write_bytes(content)
        world.counts["files imported"] += 1
        world.say(f"  the server takes a file of {len(content)} bytes of answers")
        self._down = [*self._down, Letter(path, letter.installation)][-CARRIED_MAX:]
        server.answered_by_file(path)

    def _bring_back(self, device: SimulatedDevice) -> None:
        world = self._world
        letter = self._pick(self._down)
        at_home = [one for one in world.devices if letter and one.installation == letter.installation and one.client is not None]
        if letter is None or not at_home:
            return
        device = self._draw.choice(at_home)
        client = device.up
        try:
            file = open_answers(letter.path, device.installation, lambda: None, allow_unsigned=True)
            found = apply_answers(client.device, file)
        except SyncFileError as error:
            world.say(f"  {device.name} refuses answers: {error.message}")
            world.check(
                device.was_forked or bool(world.forgotten) or world.server.was_restored,
                f"{device.name} refuses sound answers: {error}",
            )
            return
        except ReflexArcError:
            world.check(device.is_full, f"{device.name} cannot apply answers")
            return
        world.counts["answers applied"] += 1
        world.say(f"  {device.name} applies answers: {found.acked_before} to {found.acked_seq}{' (old)' if found.is_old else ''}")

    def _pick(self, letters: list[Letter]) -> Letter | None:
        return self._draw.choice(letters) if letters else None

    def _new(self, kind: str) -> Path:
        self._count += 1
        return self._place / f"{self._count}.{kind}"
