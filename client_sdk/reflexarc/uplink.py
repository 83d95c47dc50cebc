"""The uplink: what a device says to its server, on its own threads.

Owns the sync thread (upload by the `sender`, then what came down), its pauses, the workers that ask about escalated decisions,
and whether the server can be reached. Must never run on the thread that tracks events.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from reflexarc.control import ControlStream
from reflexarc.following import Following
from reflexarc.pacing import Pacing, directed_ms
from reflexarc.receipt import FlushResult
from reflexarc.sender import Sender
from reflexarc.transport import Down, Pushed, Transport
from reflexarc_core.effect import RequestScore
from reflexarc_core.errors import (
    InvalidEventError,
    PermissionDeniedError,
    ReflexArcError,
    TransportError,
    UnauthenticatedError,
)
from reflexarc_core.record import EventInput
from reflexarc_edge.upload import UploadBatch

if TYPE_CHECKING:
    from reflexarc.device import Device

SUBJECTS_PER_PULL_MAX = 1_000
REFRESH_MAX = 5_000
HINTED_SUBJECTS = 100
"""Subjects asked about when the server says that something waits: those who were here last."""
WAITED_OUT = 0.9
"""Share of its deadline after which a failed call did not fail but wait."""


class Uplink:
    """One device's side of the conversation; it tells the device whether the server can be reached."""

    def __init__(self, server: str, device: Device) -> None:
        self._device = device
        self._config = device.config
        self._transport = Transport(server, device.log, device.config, self._reachable)
        self._wake = threading.Event()
        self._back = threading.Event()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._questions: queue.SimpleQueue[tuple[float, RequestScore] | None] = queue.SimpleQueue()
        self._open_count = 0
        self._workers: list[threading.Thread] = []
        self._pacing = Pacing(device.config.backoff_ms_min, device.config.backoff_ms_max)
        self._sender = Sender(device, self._push)
        self._attempts = 0
        self._failures = 0
        self._flush_waiting = 0
        self._last_error = ""
        self._refusal: type[Exception] | None = None
        self._following = Following(self._transport, device)
        self._to_pull: dict[str, None] = {}
        self._control = ControlStream(self._transport, device, self.wake)
        self._thread = threading.Thread(target=self._run, name="reflexarc-sync", daemon=True)

    # -- for the client -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to sync."""
        self._thread.start()
        self._control.start()

    def wake(self) -> None:
        """There is something new to send."""
        if not self._wake.is_set():
            self._wake.set()

    def ask(self, question: RequestScore) -> None:
        """Ask the server about a decision; the answer goes to the runtime, at the deadline at the latest."""
        with self._changed:
            self._open_count += 1
            if len(self._workers) < min(self._config.escalation_workers, self._open_count):
                worker = threading.Thread(target=self._answer_questions, name="reflexarc-ask", daemon=True)
                try:
                    worker.start()
                    self._workers.append(worker)
                except RuntimeError:  # the interpreter is going down: the next start ends what is open
                    pass
        self._questions.put((time.monotonic() + question.deadline_ms / 1000.0, question))

    def wait_online(self, online: bool, timeout_s: float) -> bool:
        """Wait until the server is there, or known to be away. True when it came so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._device.online is online, timeout_s)

    def wait_answered(self, timeout_s: float) -> bool:
        """True when no question is open."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open_count == 0, timeout_s)

    def flush(self, timeout_s: float) -> FlushResult:
        """Send everything written so far."""
        target = self._device.log.last_seq
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._flush_waiting += 1
            attempts = self._attempts
            self._wake.set()
            try:
                while not self._stop.is_set():
                    if self._device.log.acked_seq >= target and self._attempts > attempts:
                        return FlushResult(True, 0)
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        break
            finally:
                self._flush_waiting -= 1
        remaining = target - self._device.log.acked_seq
        return FlushResult(remaining <= 0, max(0, remaining), self._last_error or "not delivered in time")

    def stop(self, timeout_s: float) -> None:
        """Stop the threads; nothing more is sent."""
        self._stop.set()
        self._control.stop()
        self._wake.set()
        for _ in self._workers:
            self._questions.put(None)
        with self._changed:
            self._changed.notify_all()
        self._transport.close()  # first: a call under way would keep its thread until its deadline
        deadline = time.monotonic() + timeout_s
        for thread in (self._thread, *self._workers):
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._control.join(max(0.0, deadline - time.monotonic()))

    def stats(self) -> dict[str, Any]:
        """Counters."""
        return {
            "online": self._device.online,
            "attempts": self._attempts,
            "failures": self._failures,
            **self._sender.counts,
            "last_error": self._last_error,
        }

    def update(self, timeout_s: float) -> bool:
        """Take the server's newest bundle now. True when it (or one before it) is live. Raises ReflexArcError."""
        down = self._transport.pull((), self._device.live_bundle, timeout_s)
        self._following.take(down.bundle_digest, down.server_time)
        return bool(self._device.live_bundle)

    # -- the sync thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._exchange()
                self._pacing.succeeded()
                self._note(online=True, error="")
                self._refusal = None
                pause_ms = float(self._config.poll_ms)
            except Exception as error:  # a fault here must not end the thread that delivers
                pause_ms = self._pacing.failed(getattr(error, "retry_after_ms", 0))
                self._sender.introduce()
                self._back.clear()
                if isinstance(error, TransportError):
                    self._tell_refusal(error)
                self._note(online=False, error=str(error))
                if not isinstance(error, TransportError) and not self._stop.is_set():
                    self._device.note("sync", error)
            self._rest(pause_ms)

    def _rest(self, pause_ms: float) -> None:
        """Sleep until there is something to do.

        After a failure only a connection that came back, or a flush, shortens the pause, and not below the least one; after
        a word of the server's nothing does. Measured by a clock that nobody sets.
        """
        started = time.monotonic()
        earliest = started + min(pause_ms, self._config.backoff_ms_min) / 1000.0
        deadline = started + pause_ms / 1000.0
        while not self._stop.is_set():
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._wake.wait(remaining):
                return
            self._wake.clear()
            if self._pacing.failures == 0:
                if not self._flush_waiting:
                    self._stop.wait(self._config.flush_interval_ms / 1000.0)
                return
            if (self._back.is_set() or self._flush_waiting) and not self._pacing.is_directed:
                deadline = min(deadline, earliest)

    def _exchange(self) -> None:
        """Push batches until the server holds everything there is now, then ask what came down.

        Not what comes meanwhile: it travels together, an interval later. A host that tracks without a pause would else keep
        this thread at work without one, a few records at a time.
        """
        self._wake.clear()
        subjects = self._to_pull
        target = self._device.log.last_seq
        while not self._stop.is_set():
            sent = self._sender.send(target)
            if sent is None:
                break
            batch, retry_after_ms = sent
            for _, _, record in batch.records:
                if isinstance(record, EventInput):
                    subjects[record.event.subject] = None
            with self._changed:
                self._changed.notify_all()
            if retry_after_ms > 0:
                self._stop.wait(directed_ms(retry_after_ms) / 1000.0)
        device = self._device
        if self._control.take_hint():
            subjects.update(dict.fromkeys(device.runtime.newest_subjects(HINTED_SUBJECTS)))
        subjects.update(dict.fromkeys(device.runtime.subjects_to_refresh(device.moment(), REFRESH_MAX)))
        self._pull(list(subjects))
        subjects.clear()
        self._control.look()

    def _push(self, batch: UploadBatch) -> Pushed:
        started = time.monotonic()
        timeout_s = self._config.push_deadline_ms / 1000.0
        try:
            return self._transport.push(batch, self._device.clock.wall_ms(), timeout_s)
        except TransportError:
            if time.monotonic() - started >= timeout_s * WAITED_OUT:
                # Too slow, or a connection that only this end believes in: what comes next is smaller, and on a new one.
                self._sender.shrink()
                self._transport.renew()
            raise

    def _pull(self, subjects: list[str]) -> None:
        timeout_s = self._config.push_deadline_ms / 1000.0
        wanted = subjects or [f"device:{self._device.log.installation}"]
        for start in range(0, len(wanted), SUBJECTS_PER_PULL_MAX):
            part = tuple(wanted[start : start + SUBJECTS_PER_PULL_MAX])
            heard = self._control.heard_count
            down = self._transport.pull(part, self._device.live_bundle, timeout_s)
            self._device.confirm_time(down.server_time)
            self._receive(down)
            self._control.polled(set(down.paused), heard)
            for digest, erase_time in down.erased:
                self._device.forget_told(digest, erase_time)
                self.wake()  # the server waits for the tombstone
            self._following.follow(down.bundle_digest, down.server_time)
            self._take_decisions(down)  # behind the bundle: it may be the first that knows their triggers

    def _take_decisions(self, down: Down) -> None:
        """Of the server's triggers: the device's own log and handlers from now on."""
        for decision in down.decisions:
            try:
                self._device.take_decision(decision)
            except InvalidEventError as error:
                self._device.note("decision", error)

    def _receive(self, down: Down) -> None:
        """What came down: subject-scoped values, uses of global caps."""
        moment = self._device.moment()
        for subject, as_of_time, values in down.values:
            self._device.runtime.values(subject, as_of_time, values, moment)
        for lease in down.leases:
            self._device.runtime.lease(lease, moment)

    def _note(self, *, online: bool, error: str) -> None:
        with self._changed:
            self._attempts += 1
            self._failures += 0 if online else 1
            self._device.online = online
            self._last_error = error
            self._changed.notify_all()

    def _tell_refusal(self, error: Exception) -> None:
        """A server that does not know this device, or no more, is told to the host, once: waiting does not mend it."""
        if isinstance(error, UnauthenticatedError | PermissionDeniedError) and type(error) is not self._refusal:
            self._refusal = type(error)
            self._device.note("identity", error)

    def _reachable(self, reachable: bool) -> None:
        """The connection broke, or is there again: then the sync thread need not wait its backoff out."""
        if reachable:
            self._back.set()
            self._wake.set()
        else:
            self._sender.introduce()
            with self._changed:
                self._device.online = False
                self._changed.notify_all()

    # -- the workers ----------------------------------------------------------------------------------------------

    def _answer_questions(self) -> None:
        while True:
            item = self._questions.get()
            if item is None:
                return
            deadline, question = item
            scored, unavailable = None, "deadline"
            remaining_s = deadline - time.monotonic()
            if remaining_s > 0 and not self._stop.is_set():
                try:
                    inputs = self._device.model_inputs(question.model_id)
                    scored = self._transport.score(question, inputs, remaining_s)
                except ReflexArcError as error:
                    unavailable = getattr(error, "hint", "") or str(error)
            try:
                self._device.runtime.answer(question.decision_id, scored, unavailable, self._device.moment())
            except Exception as error:  # the store failed: the decision stays open and is ended at the next start
                self._device.note("storage", error)
            with self._changed:
                self._open_count -= 1
                self._changed.notify_all()
