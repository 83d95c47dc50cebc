"""The control stream: the server's word the moment it changes, where a poll would bring it later.

Owns one daemon thread that reads the stream and opens it again with full jitter. Must never be needed: whatever it says,
the next pull says too, so a server or a proxy that refuses it costs time and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from reflexarc.pacing import Pacing
from reflexarc_core.errors import ReflexArcError

if TYPE_CHECKING:
    from reflexarc.device import Device
    from reflexarc.transport import Signal, Transport

LIFE_S: Final = 3_600.0
"""Deadline of one stream: no call is without one."""
STEADY_S: Final = 10.0
"""A stream that stood as long begins its backoff anew."""
SILENCES: Final = 2.5
"""Heartbeats that may be missed before a stream is taken for dead."""


class ControlStream:
    """Reads the stream for one device. wake: something waits at the server, ask it now."""

    def __init__(self, transport: Transport, device: Device, wake: Callable[[], None]) -> None:
        self._transport = transport
        self._device = device
        self._wake = wake
        self._pacing = Pacing(device.config.backoff_ms_min, device.config.backoff_ms_max)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._cancel: Callable[[], object] | None = None
        self._silent_after = float("inf")
        self._bundle_told = ""
        self._hinted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reflexarc-control", daemon=True)
        self.heard_count = 0

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more. The transport is closed next, which ends the stream."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(timeout_s)

    def look(self) -> None:
        """End a stream that is silent for too long, half open say; called by whoever polls."""
        cancel = self._cancel
        if cancel is not None and time.monotonic() > self._silent_after:
            cancel()

    def take_hint(self) -> bool:
        """Whether the server said since the last time that something waits for this device."""
        hinted = self._hinted.is_set()
        self._hinted.clear()
        return hinted

    def polled(self, paused: set[str], heard_before: int) -> None:
        """What a pull said, asked for when `heard_before` responses had been heard: what was heard since is newer."""
        with self._lock:
            if self.heard_count == heard_before:
                self._device.pause_there(paused)

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            opened = time.monotonic()
            try:
                for signal in self._transport.watch(LIFE_S, self._opened):
                    self._heard(signal)
            except ReflexArcError:  # it is away, or knows no such call: polling goes on
                pass
            except Exception as error:  # a fault here must not end the thread
                if not self._stop.is_set():
                    self._device.note("control", error)
            self._cancel = None
            if time.monotonic() - opened >= STEADY_S:
                self._pacing.succeeded()
            self._stop.wait(self._pacing.failed() / 1000.0)

    def _opened(self, cancel: Callable[[], object]) -> None:
        self._silent_after = float("inf")
        self._cancel = cancel
        if self._stop.is_set():
            cancel()

    def _heard(self, signal: Signal) -> None:
        if signal.heartbeat_ms:
            self._silent_after = time.monotonic() + SILENCES * signal.heartbeat_ms / 1000.0
        with self._lock:
            self.heard_count += 1
            self._device.pause_there(set(signal.paused))
        is_new = signal.bundle_digest not in ("", self._device.live_bundle, self._bundle_told)
        self._bundle_told = signal.bundle_digest
        if signal.pull:
            self._hinted.set()
        if signal.pull or is_new:
            self._wake()


__all__ = ["ControlStream"]
