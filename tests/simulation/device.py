"""One device of a run: the real client on a simulated clock, its host, and what the host will hold it to.

Owns the folder and its copies, what the host was told (`accepted`), and every step a thread would take. A kill is a copy of
the folder at that moment; what goes on in the objects afterwards goes on in a folder nobody looks at again.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reflexarc import Client, Config
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.errors import StorageError, TransportError
from reflexarc_edge.inherited import let_go
from tests.simulation.catalogs import MODELS, Rule, catalogs
from tests.simulation.clocks import DeviceClock

if TYPE_CHECKING:
    from tests.simulation.world import World

SUBJECTS = tuple(f"known:{number}" for number in range(1, 6))


@dataclass
class Accepted:
    """An event the host was told is safe. first, last: the numbers given out for it and what it set off."""

    serial: int
    event_id: str
    incarnation: str
    first: int
    last: int
    subject: str
    number: int


@dataclass
class Copy:
    """A store as it was once, and how many events its host had been told are safe."""

    folder: Path
    accepted_count: int


class SimulatedDevice:
    """Closed until `open`."""

    def __init__(self, world: World, name: str, place: Path, *, is_tight: bool, drift_ppm: int) -> None:
        self.world = world
        self.name = name
        self.clock = DeviceClock(world.time.now_ms, drift_ppm)
        self.is_tight = is_tight
        self.draw = random.Random(f"{world.seed}/device/{name}")
        self.place = place
        self._folders = 0
        self.folder = self._next_folder()
        self.client: Client | None = None
        self.sibling: Client | None = None
        """Another process of the same application: it captures for whoever owns the store, and dies with the machine."""
        self.accepted: list[Accepted] = []
        self.unsure: set[int] = set()
        """Serials whose `track` never returned: they may be there or not."""
        self.rolled_back: set[int] = set()
        """Serials of what was captured after the snapshot that the machine went back to."""
        self.handed: Counter[str] = Counter()
        self.posted: list[Callable[[], None]] = []
        self.copies: list[Copy] = []
        self.catalog = 0
        self.installation = ""
        self.was_forked = False
        self.opened_count = self.told_count = 0
        self.is_full = False
        """Whether its disk takes nothing more."""
        self._is_busy = False

    # -- its life -------------------------------------------------------------------------------------------------

    @property
    def up(self) -> Client:
        """The client of a device that is running."""
        assert self.client is not None
        return self.client

    def open(self) -> None:
        """Open the store as it is."""
        rows_max, history = (100, 20) if self.is_tight else (1_000_000, 20_000)
        config = Config(
            insecure=True, offset_minutes=0, store_bytes_max=4 * 2**20, store_rows_max=rows_max, history_rows=history,
            batch_records_max=self.draw.choice((3, 40, 500)),
        )  # fmt: skip
        self.posted = []
        self.world.network.opening = self
        try:
            self.client = self._opened(config)
        except StorageError as error:
            self.world.say(f"  {self.name} does not open: {error.hint}")
            self.world.check(self.is_full, f"{self.name} does not open: {error}")
            return
        self.installation = self.client.log.installation
        for trigger_id in self.client.catalog.triggers:
            if trigger_id != "offer" or self.draw.random() < 0.7:
                self.client.on(trigger_id, self._handle)

    def _opened(self, config: Config) -> Client:
        return Client(
            self.folder, catalog=catalogs()[self.catalog], server="127.0.0.1:1", clock=self.clock, config=config,
            post=self.posted.append, scorer=Rule(), models=MODELS, on_error=self._on_error,
        )  # fmt: skip

    def close(self) -> None:
        """The host ends in good order."""
        client, self.client = self.up, None
        client.close()

    def kill(self) -> None:
        """The host is killed between two of our steps."""
        self.freeze()
        self.after_kill()

    def freeze(self) -> None:
        """The folder as a kill leaves it at this moment."""
        copy = self._next_folder()
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("bundles"))
        self._frozen = copy

    def after_kill(self) -> None:
        """The process is gone; what it left is the copy."""
        self.abandon()
        shutil.rmtree(self.folder)
        self.folder = self._frozen

    def abandon(self) -> None:
        """Let go of what a process that is gone still holds in this one."""
        client, self.client = self.client, None
        self.end_sibling()
        if client is not None and client._at.device is not None:
            log = client.log
            client._at.device._adoption.close()
            log.spool.store.close()
            log.spool._journal.close()
            let_go(log._owner)
            log._owner = -1

    def keep_copy(self) -> None:
        """A snapshot of the machine, taken at this moment."""
        copy = self._next_folder()
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("bundles"))
        self.copies = [*self.copies[-1:], Copy(copy, len(self.accepted))]

    def roll_back(self) -> None:
        """The machine goes back to the older of the snapshots that are kept; it is off afterwards."""
        copy = self.copies.pop(0)
        self.copies.clear()
        if self.client is not None:
            self.kill()
        self.end_sibling()
        self.folder = copy.folder
        self.rolled_back.update(one.serial for one in self.accepted[copy.accepted_count :])
        self.handed.clear()
        self.was_forked = True

    def clone_onto(self, other: SimulatedDevice) -> None:
        """Another machine begins with the disk of this one."""
        other.folder = other._next_folder()
        shutil.copytree(self.folder, other.folder, ignore=shutil.ignore_patterns("bundles"))
        self.was_forked = other.was_forked = True
        other.installation = self.installation
        other.catalog = self.catalog

    # -- the host -------------------------------------------------------------------------------------------------

    def track(self) -> None:
        """The host captures something."""
        draw, world = self.draw, self.world
        client = self.up
        serial = world.next_serial()
        event_type, properties = _event(draw, serial)
        subject = draw.choice((*SUBJECTS, None, None))
        before = client.log.last_seq
        self.unsure.add(serial)
        receipt = client.track(
            event_type, properties, subject=subject, durability=draw.choice(("process",) * 9 + ("memory",)),
            priority=draw.choice((1, 1, 1, 1, 2, 0)),
        )  # fmt: skip
        world.say(f"  {self.name} tracks {serial} {event_type} as {before + 1}: {receipt.reason or receipt.event_id[-8:]}")
        if not receipt.accepted:
            self.unsure.discard(serial)
            may = self.is_full or (self.is_tight and "lowest priority" in receipt.reason)
            world.check(may, f"{self.name} refused {serial}: {receipt.reason}")
            world.counts["refused"] += 1
            return
        world.counts["accepted"] += 1
        if receipt.durable is None:
            return  # memory: nothing was promised
        self.unsure.discard(serial)
        self.accepted.append(
            Accepted(
                serial, receipt.event_id, client.log.incarnation, before + 1, client.log.last_seq, subject or client.subject,
                len(self.accepted),
            )
        )  # fmt: skip
        paused = client.runtime.engine.state.paused
        for decision in receipt.decisions:
            world.say(f"    {decision.trigger_id} {decision.reason.value}")
            if decision.reason is Reason.FIRED:
                world.counts["fired"] += 1
                world.check(
                    not paused & {"*", decision.trigger_id}, f"{self.name}: {decision.trigger_id} fired while it is paused"
                )

    def sibling_track(self) -> None:
        """Another process of the application captures something."""
        if self.sibling is None:
            self.sibling = self._opened(Config(offset_minutes=0))
            self.world.check(self.sibling.engine == "elsewhere", f"two processes own the store of {self.name}")
        serial = self.world.next_serial()
        event_type, properties = _event(self.draw, serial)
        subject = self.draw.choice(SUBJECTS)
        self.unsure.add(serial)
        receipt = self.sibling.track(event_type, properties, subject=subject)
        self.world.say(f"  {self.name} captures {serial} elsewhere: {receipt.reason or receipt.event_id[-8:]}")
        self.world.check(receipt.accepted, f"{self.name} does not capture {serial}: {receipt.reason}")
        self.unsure.discard(serial)
        self.world.counts["captured elsewhere"] += 1
        # Its number is given out when the owner takes it: any loss may be about it.
        self.accepted.append(Accepted(serial, receipt.event_id, "", 1, 2**62, subject, len(self.accepted)))

    def end_sibling(self) -> None:
        """The other process ends; what it captured waits for the owner."""
        sibling, self.sibling = self.sibling, None
        if sibling is not None:
            sibling.close()

    def meanwhile(self, moment: str) -> None:
        """A call of the uplink is under way: the host goes on, and may be killed."""
        self.world.doom.at(moment)
        if self.client is None or self._is_busy or self.world.network.is_calm:
            return
        if self.draw.random() < 0.15:
            self._is_busy = True
            try:
                self.track()
            finally:
                self._is_busy = False

    def forget(self) -> None:
        """The host erases a person, here and wherever the word reaches."""
        subject = self.draw.choice(SUBJECTS)
        self.world.forgotten.add(subject)
        before = {one.serial for one in self.accepted if one.subject == subject}
        try:
            count = self.up.forget(subject)
        except StorageError as error:  # some of it may be gone: the host has to ask again
            self.world.check(self.is_full, f"{self.name} cannot forget: {error}")
            return
        self.world.say(f"  {self.name} forgets {subject}: {count} records")
        self.world.erased |= before

    # -- what threads would do ------------------------------------------------------------------------------------

    def sync(self) -> None:
        """One exchange with the server. Raises Killed."""
        uplink = self.up._at.uplink
        assert uplink is not None
        try:
            uplink._exchange()
            uplink._pacing.succeeded()
            uplink._note(online=True, error="")
        except Exception as error:  # as the thread does
            uplink._pacing.failed(getattr(error, "retry_after_ms", 0))
            uplink._sender.introduce()
            uplink._note(online=False, error=str(error))
            self.world.say(f"  {self.name} is offline: {error}")
            if not isinstance(error, TransportError):
                self._on_error(error)
        self.world.checks.device_after_sync(self)

    def answer(self) -> None:
        """The workers ask the server what is open."""
        uplink = self.up._at.uplink
        assert uplink is not None
        uplink._questions.put(None)
        uplink._answer_questions()

    def hand_over(self) -> None:
        """The host's loop runs what was posted."""
        posted, self.posted[:] = list(self.posted), []
        for deliver in posted:
            deliver()

    def adopt(self) -> None:
        """The beat takes what other processes captured."""
        self.up.device._adopt_others()

    def drain(self) -> None:
        with contextlib.suppress(*((StorageError,) if self.is_full else ())):
            self.up.log.drain()

    def keep_house(self) -> None:
        self.up.device.keep_house()

    def run_due(self) -> None:
        self.up.run_due()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _handle(self, decision: Decision) -> None:
        self.handed[decision.decision_id] += 1
        self.world.counts["handed"] += 1
        self.world.say(f"  {self.name} shows {decision.trigger_id} {decision.decision_id[:8]}")
        self.world.check(self.handed[decision.decision_id] == 1, f"{self.name} was handed {decision.decision_id} twice")
        self.world.checks.handed(self, decision)
        paused = self.up.runtime.engine.state.paused
        self.world.check(not paused & {"*", decision.trigger_id}, f"{self.name} shows {decision.trigger_id}, which is paused")

    def _on_error(self, error: Exception) -> None:
        text = str(error)
        if isinstance(error, StorageError) and self.is_full:
            self.world.counts["errors of a full disk"] += 1
        elif (text.startswith("another store goes on") and (self.was_forked or self.world.forgotten)) or (
            text.startswith("the server went back to") and self.world.server.was_restored
        ):
            self.world.counts["new numberings"] += 1
        elif text.startswith("the server holds records up to") and self.world.server.was_restored:
            self.world.counts["rewound"] += 1
        else:
            self.world.errors.append(f"{self.name}: {type(error).__name__}: {error}")

    def _next_folder(self) -> Path:
        self._folders += 1
        return self.place / f"{self.name}-{self._folders}"


def _event(draw: random.Random, serial: int) -> tuple[str, dict[str, object]]:
    """An event that carries its serial number."""
    text = str(serial)
    kind = draw.choices(("page", "content", "form", "purchase", "consent", "product"), (8, 4, 1, 1, 1, 2))[0]
    if kind == "page":
        url = draw.choice(("/", "/act", "/pricing", "/pricing", "/shop/1"))
        return "page_view", {"page_url": url, "title": text, "category": "x" * draw.choice((0, 0, 40, 400))}
    if kind == "content":
        return "content_view", {"content_id": text}
    if kind == "form":
        return "form_submit", {"form_id": text, "form_type": "newsletter"}
    if kind == "purchase":
        return "purchase", {"order_id": text, "amount": 1.0}
    if kind == "product":
        return "product_interaction", {"product_id": text, "kind": "view"}
    return "consent", {"purpose": "marketing", "granted": draw.random() < 0.7}
