"""Where this process stands to a store: it owns it, it captures for the process that does, or it was forked and must ask anew.

Owns what a client was opened with, and the change from one standing to another. Must never lose an event that was accepted
on the way: what was captured for another owner is taken like anybody else's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc import forking
from reflexarc.config import Config
from reflexarc.counters import Counters
from reflexarc.definitions import load_catalog
from reflexarc.device import Device
from reflexarc.durable import DiskSync
from reflexarc.elsewhere import Elsewhere, live_catalog
from reflexarc.ids import EventIds
from reflexarc.lane import Here, Lane, There
from reflexarc.uplink import Uplink
from reflexarc_core.catalog import Catalog
from reflexarc_core.conclude import PAUSE_ALL
from reflexarc_core.decision import Decision
from reflexarc_core.effect import RequestScore
from reflexarc_core.errors import StorageError
from reflexarc_core.model import LiveModel, Scorer
from reflexarc_edge.clock import Clock, SystemClock
from reflexarc_edge.owners import OwnedElsewhereError
from reflexarc_edge.seal import Seal, Sealed


@dataclass(frozen=True, slots=True)
class Given:
    """What a client was opened with."""

    folder: Path
    catalog: str | Path | bytes | Catalog | None
    server: str | None
    clock: Clock | None
    paused: bool
    scorer: Scorer | None
    models: Mapping[str, LiveModel]
    config: Config | None
    key: bytes | None
    share: bool


class Standing:
    """One process's standing to one store.

    hand_over takes a fired decision to its handlers; note counts an error and tells the host; leave is told of a subject that the
    server has this device erase. Raises DefinitionError when the
    catalog cannot be used, StorageError when the store cannot.
    """

    def __init__(
        self,
        given: Given,
        hand_over: Callable[[Decision], object],
        note: Callable[[str, Exception], None],
        leave: Callable[[str], None],
    ) -> None:
        self._given: Final = given
        self._catalog = load_catalog(given.catalog) if given.catalog is not None else None
        self._config: Final = given.config or Config()
        self._clock: Final[Clock] = given.clock or SystemClock()
        self._seal: Seal | None = None if given.key is None else Sealed(given.key)
        self._hand_over = hand_over
        self._note = note
        self._leave = leave
        self._is_stopped = False
        self._closed = False
        self._lock = threading.RLock()
        self._ids = EventIds()
        self.counters = Counters()
        self.subject = ""
        self.device: Device | None = None
        self.elsewhere: Elsewhere | None = None
        self.disk: DiskSync | None = None
        self.uplink: Uplink | None = None
        self.lane: Lane | None = None
        """The way of the next event; None when it has to be asked for with `reopened`."""

    def new_session(self) -> str:
        """A subject nobody has been yet."""
        return f"session:{self._ids.next(self._clock.wall_ms())}"

    def open(self) -> None:
        """Own the store, or capture for the process that does."""
        with self._lock:
            try:
                self._own()
            except OwnedElsewhereError:
                if not self._given.share:
                    raise
                elsewhere = Elsewhere(self._given.folder, self._seal, self._take_over)
                self.elsewhere = elsewhere
                self.disk = DiskSync(lambda: elsewhere.newest_seq, elsewhere.sync)
                # Who is there is not known here, until the process says so.
                self.subject = self.subject or self.new_session()
                catalog = self._catalog or live_catalog(self._given.folder) or load_catalog(None)
                self.lane = There(self._given.folder, elsewhere, self.disk, self._clock, catalog, self.counters)

    def reopened(self) -> Lane:
        """The lane, after a fork. Raises StorageError when the client is closed."""
        with self._lock:
            if self._is_stopped:
                raise StorageError("the client is closed")
            if self.lane is None:
                self.open()
            assert self.lane is not None
            return self.lane

    def ask(self, question: RequestScore) -> None:
        """Ask the server about a decision, or answer at once that there is none."""
        if self.uplink is not None:
            self.uplink.ask(question)
        elif self.device is not None:
            self.device.runtime.answer(question.decision_id, None, "no server", self.device.moment())

    def keep_subject(self) -> None:
        """The current subject outlives a restart."""
        if self.device is not None:
            try:
                self.device.log.keep_meta("subject", self.subject)
            except StorageError as error:
                self._note("storage", error)

    def stats(self) -> dict[str, Any]:
        """Counters and states, JSON-able."""
        if self._closed:
            return {"engine": "closed", "counts": self.counters.all()}
        if self.device is None:
            waiting = self.elsewhere.waiting_count if self.elsewhere is not None else 0
            return {"engine": "elsewhere", "captures_waiting": waiting, "counts": self.counters.all()}
        counts = self.counters.all()
        accepted = counts.pop("accepted", 0) + self.device.runtime.accepted_count
        return {
            "engine": "here",
            **self.device.stats(),
            "counts": {"accepted": accepted, **counts} if accepted else counts,
            "uplink": self.uplink.stats() if self.uplink is not None else None,
        }

    def stop(self, timeout_s: float) -> None:
        """Take no more events, become nothing else, and stop sending; `close` is to follow."""
        with self._lock:  # a take-over that is under way comes to its end first, and is stopped like anything else
            self._is_stopped = True
            self.lane = None
        if self.uplink is not None:
            self.uplink.stop(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Keep a snapshot, close the files. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        deadline = time.monotonic() + timeout_s
        if self.disk is not None:
            self.disk.close(timeout_s)
        if self.device is not None:
            self.device.close()
        if self.elsewhere is not None:
            self.elsewhere.close(max(0.0, deadline - time.monotonic()))

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def in_child(self) -> None:
        """This is a forked child: what was open belongs to the parent. The next event opens what it needs."""
        if self.device is not None:
            self.device.leave_to_parent()
        for thing in (self.device, self.elsewhere, self.uplink, self.disk):
            forking.leave(thing)
        self.device = self.elsewhere = self.uplink = self.disk = self.lane = None
        self._lock = threading.RLock()
        self._ids = EventIds()
        self.counters = Counters()

    def _own(self) -> None:
        given = self._given
        device = Device(
            given.folder, self._config, self._clock, seal=self._seal, hand_over=self._hand_over, ask=self.ask, note=self._note,
            leave=self._leave,
        )  # fmt: skip
        try:
            self.subject = self.subject or device.log.meta("subject", f"device:{device.log.installation}")
            self.device = device
            self.disk = DiskSync(lambda: device.log.last_seq, device.log.sync_to_disk)
            device.begin(self._catalog, given.scorer, given.models)
            if given.paused:
                device.pause_here(device.paused_here | {PAUSE_ALL})
            if given.server is not None:
                self.uplink = Uplink(given.server, device)
                device.log.spool.drainer.stored = self.uplink.wake
                self.uplink.start()
            self.lane = Here(device, self.disk, self.counters)
            for what in device.given_up():
                self._note("damage", StorageError(what))
        except BaseException:
            self.device = None
            device.close()
            raise

    def _take_over(self) -> bool:
        """The owner has ended: own the store now, and take what was captured here like everybody else's."""
        with self._lock:
            if self._is_stopped or self.elsewhere is None:
                return True
            captured, self.elsewhere = self.elsewhere, None
            try:
                self._own()
            except BaseException:
                self.elsewhere = captured
                raise
            captured.let_go()
            return True
