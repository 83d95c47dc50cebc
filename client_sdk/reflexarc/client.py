"""The client: what an application calls.

Owns the calls, the current subject and who captures: this process's engine, or another's that owns the store. Importing this
module loads next to nothing; opening a client loads the rest. After construction nothing raises into the host: errors
come back as values, counters and `on_error`.
"""

from __future__ import annotations

import time

from reflexarc.receipt import FlushResult, Receipt
from reflexarc_core.errors import InvalidEventError, ReflexArcError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from reflexarc.config import Config
    from reflexarc.device import Device
    from reflexarc.explain import Explanation
    from reflexarc.handlers import Handler, Post
    from reflexarc_core.catalog import Catalog
    from reflexarc_core.decision import Decision
    from reflexarc_core.model import LiveModel, Scorer
    from reflexarc_core.record import Moment
    from reflexarc_edge.clock import Clock
    from reflexarc_edge.log import Log
    from reflexarc_edge.runtime import Runtime


class Client:
    """One device.

    folder: where the store lives. One process owns it; in every other one the client only captures, and takes over when the
    owner ends. catalog: a built catalog (path, bytes or Catalog), a YAML path where the extra [build] is installed, None for
    what the store last ran or else the shipped one; a bundle taken from the server wins over it.
    server: `host:port` to sync with over TLS, None for no server at all. insecure: in plaintext, on this machine only; the
    same as Config's. clock: the machine's unless given. paused: start
    with every trigger paused. scorer and models: a host's own models in place of downloaded ones. post: runs a
    callable on the host's own loop (Tk `after`, `loop.call_soon_threadsafe`) instead of our thread. key: 32 bytes to
    encrypt the store with, from the host's keyring. share: False raises where another process owns the store.
    on_error: told of every error that was not raised.

    Raises StorageError when the store cannot be opened, DefinitionError when the catalog cannot be used. Never
    touches the network.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        catalog: str | Path | bytes | Catalog | None = None,
        server: str | None = None,
        insecure: bool = False,
        clock: Clock | None = None,
        paused: bool = False,
        scorer: Scorer | None = None,
        models: Mapping[str, LiveModel] | None = None,
        config: Config | None = None,
        post: Post | None = None,
        key: bytes | None = None,
        share: bool = True,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        from dataclasses import replace
        from pathlib import Path

        from reflexarc import forking
        from reflexarc.config import Config
        from reflexarc.handlers import Handlers
        from reflexarc.standing import Given, Standing

        if insecure:
            config = replace(config or Config(), insecure=True)
        self._on_error = on_error
        self._handlers = Handlers(self._mark_handed, self._handler_error, post)
        given = Given(Path(folder), catalog, server, clock, paused, scorer, models or {}, config, key, share)
        self._at = Standing(given, self._hand_over, self._note, self._erased)
        self._at.open()
        forking.tell(self._after_fork)

    # -- capture --------------------------------------------------------------------------------------------------

    def track(
        self,
        event_type: str,
        properties: Mapping[str, object] | None = None,
        *,
        subject: str | None = None,
        event_time: int | None = None,
        event_id: str | None = None,
        position: int = -1,
        durability: str = "process",
        priority: int = 1,
    ) -> Receipt:
        """Capture one event and decide what it sets off. Never raises.

        subject: `kind:id`, the current subject unless given. event_time: ms since the epoch, now unless given.
        position: row number in the source the caller reads from; `position` tells the largest one kept.
        durability: `process`: an accepted event survives kill -9. `power`: and the receipt's `durable` resolves once it
        survives a power cut. `memory`: it is written a moment later, with what comes next. priority: 0 is refused first
        when the store is full, and given up first; 2 last.
        """
        at = self._at
        try:
            lane = at.lane or at.reopened()
            if (
                subject is None and event_time is None and event_id is None
                and position == -1 and durability == "process" and priority == 1
            ):  # fmt: skip
                receipt = lane.quick(event_type, properties or {}, at.subject)
                if receipt is not None:
                    return receipt
            given = (event_type, properties or {}, subject or at.subject, event_time, event_id, position, durability, priority)
            try:
                return lane.track(*given)
            except StorageError:
                if at.lane is lane:
                    raise
                return at.reopened().track(*given)  # this process came to own the store in the middle of it
        except InvalidEventError as error:
            return self._refused("invalid_event", error)
        except StorageError as error:
            return self._refused("storage", error)
        except Exception as error:  # whatever goes wrong here must not reach the host, nor its words a log
            return self._refused("internal", ReflexArcError(type(error).__name__))

    def page(self, page_url: str, **properties: object) -> Receipt:
        """A page or screen is shown: `page_view`."""
        return self.track("page_view", {"page_url": page_url, **properties})

    def identify(self, known_id: str) -> Receipt:
        """The person here is `known:ID` from now on.

        Said while somebody else is known, the first person's session ends: two people are never linked.
        """
        from reflexarc_core.event import IDENTIFY

        known = f"known:{known_id}"
        if not known_id:
            return self._refused("invalid_event", InvalidEventError("identify() without an id"))
        if self._at.subject.startswith("known:") and self._at.subject != known:
            self.reset()
        receipt = self.track(IDENTIFY, {"known_id": known_id})
        if receipt.accepted:
            self._set_subject(known)
        return receipt

    def reset(self) -> Receipt:
        """The person left: their session ends, what waits for them expires, the next event is somebody new's."""
        from reflexarc_core.event import RESET

        ended = self._at.subject
        receipt = self.track(RESET, {})
        self._handlers.end_subject(ended)
        device = self._at.device
        if device is not None:
            try:
                device.runtime.owed.end_subject(ended, device.moment())
            except StorageError as error:
                device.note("storage", error)
            device.enricher.end(ended)
        self._set_subject(self._at.new_session())
        return receipt

    def consent(self, purpose: str, granted: bool) -> Receipt:
        """The person allowed or refused a purpose."""
        from reflexarc_core.event import CONSENT

        return self.track(CONSENT, {"purpose": purpose, "granted": granted})

    def outcome(self, decision_id: str, kind: str) -> Receipt:
        """What the person did with an action: impression, click or dismissal."""
        from reflexarc_core.event import OUTCOME

        subject = self._at.subject
        if self._at.device is not None:
            try:
                records = self._at.device.log.decision_records(str(decision_id))
                subject = next((r.decision.subject for _, r in records if hasattr(r, "decision")), subject)
            except StorageError as error:
                return self._refused("storage", error)
        return self.track(OUTCOME, {"decision_id": decision_id, "kind": kind}, subject=subject)

    def forget(self, subject: str) -> int:
        """Erase a person from this device: log, state, dead letters, journals and whatever was set aside.

        What is left is a digest of the subject and the time. It goes to the server, which erases the person too and tells every
        device that sent something of them. How many records were erased. Raises InvalidEventError when it is no subject,
        StorageError when the disk will not have it, or when another process owns the store.
        """
        from reflexarc_core.event import subject_parts

        subject_parts(subject)
        device = self.device
        self._erased(subject)
        count = device.forget(subject, device.moment().now)
        if self._at.uplink is not None:
            self._at.uplink.wake()
        return count

    # -- actions --------------------------------------------------------------------------------------------------

    def on(self, trigger_id: str, handler: Handler | None = None) -> Callable[[Handler], Handler]:
        """Register a handler for a trigger's action: `client.on("offer", show)` or as a decorator."""
        if self._at.device is not None and trigger_id not in self.catalog.triggers:
            self._at.device.note("unknown_trigger", ReflexArcError(f"on({trigger_id!r}): the live catalog has no such trigger"))

        def register(function: Handler) -> Handler:
            self._handlers.on(trigger_id, function)
            return function

        if handler is not None:
            register(handler)
        return register

    def pause(self, *trigger_ids: str) -> None:
        """Pause these triggers, or all when none is named. They are evaluated and recorded, never acted on."""
        from reflexarc_core.conclude import PAUSE_ALL

        device = self._at.device
        if device is not None:
            device.pause_here(device.paused_here | set(trigger_ids or (PAUSE_ALL,)))

    def resume(self) -> None:
        """Lift every pause set on this device; what the server paused stays paused."""
        if self._at.device is not None:
            self._at.device.pause_here(set())

    # -- time, sync, end ------------------------------------------------------------------------------------------

    def run_due(self) -> None:
        """Run what is due by the clock. A thread does this on the system's clock; a replay calls it."""
        if self._at.device is not None:
            self._at.device.run_due()

    def settle(self, timeout_s: float = 5.0) -> bool:
        """Wait until no question is open at the server and no action is being handed over."""
        answered = self._at.uplink.wait_answered(timeout_s) if self._at.uplink is not None else True
        return self._handlers.wait_idle(timeout_s) and answered

    def wait_online(self, online: bool = True, timeout_s: float = 5.0) -> bool:
        """Wait until the server can be reached (or, given False, is known to be away). True when it came so in time."""
        return self._at.uplink.wait_online(online, timeout_s) if self._at.uplink is not None else not online

    def flush(self, timeout_s: float = 10.0) -> FlushResult:
        """Send now everything written so far, and wait for the server's acknowledgement."""
        if self._at.uplink is not None:
            return self._at.uplink.flush(timeout_s)
        if self._at.elsewhere is not None:
            return FlushResult(False, self._at.elsewhere.waiting_count, "another process owns the store and sends")
        log = self.log
        return FlushResult(False, log.last_seq - log.acked_seq, "no server")

    def update(self, timeout_s: float = 10.0) -> bool:
        """Take the server's newest bundle now instead of at the next exchange. True when a bundle is live."""
        if self._at.uplink is None or self._at.is_closed:
            return False
        try:
            return self._at.uplink.update(timeout_s)
        except Exception as error:  # a full disk too
            self.device.note("bundle", error)
            return False

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop the threads, keep a snapshot, close the store. Sends nothing: the next start does. May be called twice."""
        deadline = time.monotonic() + timeout_s
        self._at.stop(timeout_s)
        self._handlers.close(max(0.0, deadline - time.monotonic()))
        self._at.close(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- telling --------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        """`here` when this process owns the store and decides, `elsewhere` when another one does."""
        return "elsewhere" if self._at.elsewhere is not None else "here"

    @property
    def subject(self) -> str:
        """The current subject, `kind:id`."""
        return self._at.subject

    @property
    def position(self) -> int:
        """The largest source position kept, -1 for none: where a caller that reads a source goes on."""
        return self.log.position_max

    @property
    def catalog(self) -> Catalog:
        """The live catalog."""
        return self.device.runtime.engine.plan.catalog

    def stats(self) -> dict[str, Any]:
        """Counters and states, JSON-able: what was accepted, refused and why, decided, sent, handed over."""
        return {
            **self._at.stats(),
            "handed": self._handlers.handed_count,
            "handler_errors": self._handlers.error_count,
        }

    def explain(self, trigger_id: str = "", *, subject: str | None = None, decision_id: str = "") -> Explanation:
        """Why a decision came out as it did, or why a trigger would (not) fire now for a subject.

        Raises DefinitionError when the trigger or decision is not known here.
        """
        from reflexarc.explain import explain_decision, explain_trigger

        if decision_id:
            return explain_decision(self.log, decision_id)
        return explain_trigger(self.runtime, self.log, trigger_id, subject or self._at.subject, self.moment())

    # -- a look inside, for tools and tests -----------------------------------------------------------------------

    @property
    def device(self) -> Device:
        """The device behind this client. Raises StorageError where another process owns the store."""
        if self._at.device is None:
            raise StorageError("another process owns this store", hint="ask there, or end it: this one takes over then")
        return self._at.device

    @property
    def log(self) -> Log:
        """The store's log."""
        return self.device.log

    @property
    def runtime(self) -> Runtime:
        """The engine's shell."""
        return self.device.runtime

    @property
    def live_bundle(self) -> str:
        """Digest of the live bundle, empty for none."""
        return self.device.live_bundle

    def moment(self) -> Moment:
        """Now, as the engine takes it."""
        return self.device.moment()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        """This is a child now: what was open belongs to the parent. The next call opens what it needs."""
        self._handlers = self._handlers.in_child()
        self._at.in_child()

    def _refused(self, kind: str, error: Exception) -> Receipt:
        self._note(kind, error)
        return Receipt(False, "", f"{kind}: {error}")

    def _note(self, kind: str, error: Exception) -> None:
        """Count an error and tell `on_error`."""
        self._at.counters.add(f"errors_{kind}")
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:  # the host's callback: its errors are only counted
                self._at.counters.add("errors_on_error")

    def _hand_over(self, decision: Decision) -> bool:
        return self._handlers.hand_over(decision)

    def _mark_handed(self, decision: Decision) -> bool:
        device = self._at.device
        return device is not None and device.runtime.owed.handed(decision, device.moment())

    def _erased(self, subject: str) -> None:
        """A person is about to be erased: nothing of theirs reaches anybody any more, and the next event is somebody new's."""
        self._handlers.end_subject(subject)
        if subject == self._at.subject:
            self._set_subject(self._at.new_session())

    def _handler_error(self, error: Exception) -> None:
        self._note("handler", error)

    def _set_subject(self, subject: str) -> None:
        from reflexarc_core.event import subject_key, subject_parts

        self._at.subject = subject_key(*subject_parts(subject))
        if self._at.device is not None:
            self._at.device.runtime.owed.came(self._at.subject)
        self._at.keep_subject()
