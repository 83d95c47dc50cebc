"""The device behind a client: store, engine, models, clock, and what the server told it.

Owns the wiring and everything that is true of this installation rather than of one call. The client captures through it,
the uplink syncs it; neither knows the other's insides. Must never open a connection.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import reflexarc
from reflexarc import forking
from reflexarc.adoption import ADOPTED_AT_ONCE, Adoption
from reflexarc.bundle import Bundle, Bundles, LazyScorer
from reflexarc.config import Config
from reflexarc.definitions import load_catalog
from reflexarc.elsewhere import keep_live_catalog
from reflexarc.enrich import Enricher
from reflexarc.ids import derived_id
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision
from reflexarc_core.effect import RequestScore
from reflexarc_core.errors import DefinitionError, ManifestError, StorageError
from reflexarc_core.event import Event
from reflexarc_core.model import LiveModel, Scorer
from reflexarc_core.record import EventInput, Moment, erased_digest
from reflexarc_edge.capture import Capture
from reflexarc_edge.clock import Clock, EngineClock
from reflexarc_edge.forget import forget, not_held, subject_of
from reflexarc_edge.log import Log
from reflexarc_edge.repair import Identity
from reflexarc_edge.runtime import Runtime
from reflexarc_edge.seal import Seal
from reflexarc_edge.spool import breathe

TICK_S_MIN: Final = 0.05
TICK_S_MAX: Final = 60.0
BEAT_S: Final = 0.25
FORK_WAIT_S: Final = 1.0
UNTAKEN_ROUNDS_MAX: Final = 10
HOUSE_EVERY_BEATS: Final = 4
HEARD_EVERY_MS: Final = 60_000
INBOX: Final = "inbox"
"""Folder in the store's: answers of a server that came by file, checked, for the process that owns the store."""


class Device:
    """One installation in one folder. `online`: the server could be reached a moment ago; the uplink says so.

    hand_over takes a fired decision to its handlers, ask a question to the server. Raises StorageError when the store
    cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        clock: Clock,
        *,
        seal: Seal | None = None,
        hand_over: Callable[[Decision], object],
        ask: Callable[[RequestScore], object],
        note: Callable[[str, Exception], None],
        leave: Callable[[str], None] = lambda subject: None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.online = False
        self._note = note
        self._leave = leave
        self._forgotten: dict[str, int] = {}
        self._forgotten_seq: dict[str, int] = {}
        self._held_for_fork: Any = None
        self._pauses_lock = threading.RLock()
        self.bundle_lock = threading.RLock()
        """Held by whoever installs a bundle and makes it live, by call or by file."""
        self._own: tuple[Scorer, Mapping[str, LiveModel]] | None = None
        self._timer: threading.Timer | None = None
        self._closed = False
        self._beat: threading.Thread | None = None
        self._stop_beat = threading.Event()
        self._is_left = False
        self._beats = 0
        self._heard_time = -1
        self._enricher: Enricher | None = None
        started = time.monotonic()
        self.log = Log(folder, bounds=config.bounds(), seal=seal, complete=self._complete)
        try:
            self.bundles = Bundles(folder / "bundles")
            self._kept, self._not_kept = self._open_bundle(str(self.log.meta("bundle", "")))
            self.runtime = Runtime(
                self.log,
                LazyScorer(self._kept),
                hand_over=hand_over,
                ask=ask,
                on_scoring_error=lambda error: self.note("scoring", error),
                on_error=lambda error: self.note("internal", error),
            )
            self.recovery_ms = (time.monotonic() - started) * 1000.0
            self.engine_clock = EngineClock(clock, self.runtime.engine_time)
            self._adoption = Adoption(self.log, self.runtime, clock, self.enricher)
            here, there = self.log.meta("paused", ([], []))
            self._paused_here: set[str] = set(here)
            self._paused_there: set[str] = set(there)
        except BaseException:
            self.log.close()
            raise

    def begin(self, catalog: Catalog | None, scorer: Scorer | None, models: Mapping[str, LiveModel]) -> None:
        """Make a catalog live and end what a restart cut off.

        A bundle of the server's wins over `catalog`, which wins over what the store last ran, then the shipped one.
        scorer and models: the host's own, in place of any bundle's. A bundle that cannot be used any more is told of and counts
        as none: the server's is fetched anew.
        """
        if self._not_kept is not None:
            self.note("bundle", self._not_kept)
        if scorer is not None:
            self._own = (scorer, models)
        else:
            scorer = LazyScorer(self._kept)
            models = self._kept.live_models if self._kept is not None else {}
        state = self.runtime.engine.state
        if self._kept is not None:
            catalog = self._kept.catalog
        elif catalog is None:
            last = self.runtime.engine.plan.catalog
            catalog = last if last.event_types else load_catalog(None)
        if catalog.digest != state.catalog_digest or dict(models) != state.models:
            self.runtime.switch(catalog, models, scorer, self.moment())
        else:
            self.runtime.use(scorer)
        self.pause_there(self._paused_there)  # whoever kept them may have been killed before the engine had them
        self.runtime.expire_unhanded(self.moment())
        self._tell_live_catalog()
        self._arm_timer()
        forking.keep_still(self)
        self._adopt_others()
        self._beat = threading.Thread(target=self._keep_beat, name="reflexarc-beat", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter is going down
            self._beat.start()

    @property
    def enricher(self) -> Enricher:
        """What adds context to events."""
        if self._enricher is None:
            self._enricher = Enricher(self.config, self.log.installation, reflexarc.__version__)
        return self._enricher

    # -- time -----------------------------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Now, as the engine takes it."""
        now, trusted = self.engine_clock.now()
        return Moment(now, self.online, trusted, (self._enricher or self.enricher).offset_minutes(now))

    def confirm_time(self, server_time: int) -> None:
        """The server's time, ms, as it just said it."""
        self.engine_clock.confirm(server_time)
        if server_time - self.heard_time >= HEARD_EVERY_MS:
            try:
                self.hear(server_time)
            except StorageError as error:
                self.note("storage", error)

    @property
    def heard_time(self) -> int:
        """When the server said what is newest here, by its own clock, within HEARD_EVERY_MS; 0 for never. Outlives a restart:
        answers that come by file may be older than what came over the network."""
        if self._heard_time < 0:
            self._heard_time = int(self.log.meta("heard_time", 0))
        return self._heard_time

    def hear(self, server_time: int) -> None:
        """Something that the server said then is known here now. Raises StorageError."""
        if server_time > self.heard_time:
            self.log.keep_meta("heard_time", server_time)
            self._heard_time = server_time

    def run_due(self) -> None:
        """Run what is due by the clock. Never raises."""
        try:
            self.runtime.tick(self.moment())
        except Exception as error:  # runs on our own thread or in the host's loop: it must survive
            self.note("internal", error)

    def keep_house(self) -> None:
        """Keep a snapshot when enough was written, and the store within its bounds. Never raises."""
        try:
            self.runtime.owed.expire_over(self.moment())
            for _ in range(UNTAKEN_ROUNDS_MAX):
                if not self.runtime.owed.expire_untaken(self.moment()):
                    break
                self.log.drain()  # within its bounds, a few at a time
            self.runtime.keep_snapshot(force=self.log.spool.upkeep.needs_room())
            self.log.spool.keep_house(self.runtime.snapshot_seq)
        except Exception as error:  # a full disk, say: the next time may find room
            self.note("storage", error)

    def _adopt_others(self) -> int:
        """Take in what other processes captured, some of it; how many captures. Never raises."""
        try:
            count, refused = self._adoption.run(self.moment())
            for error in refused:
                self.note("invalid_event", error)
            return count
        except Exception as error:  # a full disk, say: they wait in their journals
            self.note("storage", error)
            return 0

    def _keep_beat(self) -> None:
        while not self._stop_beat.wait(BEAT_S) and not self._is_left:
            while self._adopt_others() >= ADOPTED_AT_ONCE and not self._stop_beat.is_set():
                breathe()  # they come faster than a beat takes them
            self._beats += 1
            if self._beats % HOUSE_EVERY_BEATS == 0:
                self.keep_house()
                self._look_into_inbox()

    def _look_into_inbox(self) -> None:
        if (self.log.folder / INBOX).is_dir():
            from reflexarc.answers import take_inbox

            take_inbox(self)

    def _complete(self, identity: Identity, seq: int, capture: Capture) -> EventInput:
        """A capture of this process as the log keeps it."""
        if self._enricher is None:  # the log recovers what a crash left before anything else is there
            self._enricher = Enricher(self.config, identity.installation, reflexarc.__version__)
        time_, properties = capture.event_time, capture.properties
        context = self._enricher.context(capture.subject, capture.event_type, time_, properties, capture.online)
        event_id = capture.event_id or derived_id(time_, identity.incarnation, seq)
        event = Event(event_id, capture.event_type, capture.subject, time_, properties, context, capture.position)
        return EventInput(Moment(time_, capture.online, capture.trusted, self._enricher.offset_minutes(time_)), event)

    def _open_bundle(self, digest: str) -> tuple[Bundle | None, Exception | None]:
        """The bundle that was live, and why it cannot be any more."""
        try:
            return (self.bundles.open(digest), None) if digest else (None, None)
        except (ManifestError, DefinitionError) as error:
            return None, error

    def _tell_live_catalog(self) -> None:
        try:
            keep_live_catalog(self.log.folder, self.runtime.engine.plan.catalog)
        except OSError as error:
            self.note("storage", error)

    # -- what the server says -------------------------------------------------------------------------------------

    @property
    def live_bundle(self) -> str:
        """Digest of the bundle that is in use, empty for none."""
        return self._kept.digest if self._kept is not None else ""

    def make_live(self, bundle: Bundle) -> None:
        """Switch to a verified bundle between two events; the one before it is kept beside it. The caller holds `bundle_lock`."""
        previous = self.live_bundle
        scorer, models = self._own or (LazyScorer(bundle), bundle.live_models)
        self.runtime.switch(bundle.catalog, models, scorer, self.moment())
        self._kept = bundle
        # Cut off between the two, the next start goes back to the bundle before, and takes this one again.
        self.log.keep_meta("bundle", bundle.digest)
        self._tell_live_catalog()
        self.bundles.keep_only([bundle.digest, previous])
        self._arm_timer()

    def pause_here(self, triggers: set[str]) -> None:
        """The triggers this device pauses by itself, whole."""
        with self._pauses_lock:
            self._paused_here = triggers
            self._apply_pauses()

    def pause_there(self, triggers: set[str]) -> None:
        """The triggers the server pauses, whole."""
        with self._pauses_lock:
            # Once more, where the engine does not have them for want of room.
            if triggers != self._paused_there or self.runtime.engine.state.paused != self._paused_here | triggers:
                self._paused_there = triggers
                self._apply_pauses()

    def forget(self, subject: str, erase_time: int) -> int:
        """Erase a subject from every file of the store; how many records went. erase_time: ms. Raises StorageError."""
        self.adopt_all_others()  # what another process captured of them would come back otherwise
        self._forgotten[erased_digest(self.log.installation, subject)] = erase_time
        count = forget(self.runtime, self.log, subject, erase_time)
        self.enricher.end(subject)
        self._adoption.blank()
        return count

    def take_decision(self, decision: Decision) -> None:
        """A decision of one of the server's triggers, unless its subject was erased since. Raises InvalidEventError."""
        if not self.was_erased_since(decision.subject, decision.decision_time):
            self.runtime.take_sent(decision, self.moment())

    def was_erased_since(self, subject: str, then: int) -> bool:
        """Whether a subject was erased at this time or later, ms."""
        return self._forgotten.get(erased_digest(self.log.installation, subject), -1) >= then

    def forget_told(self, digest: str, erase_time: int) -> None:
        """The server has this device erase a subject, named by digest. Raises StorageError."""
        if self.log.acked_seq < self._forgotten_seq.get(digest, 0):
            return  # said again, before it could know; once it knows, and says so still, something of them came since
        subject = subject_of(self.runtime, self.log, digest)
        if subject:
            self._leave(subject)
            self.forget(subject, erase_time)
        else:
            not_held(self.runtime, self.log, digest, erase_time)
        self._forgotten[digest] = erase_time
        self._forgotten_seq[digest] = self.log.last_seq

    @property
    def paused_here(self) -> set[str]:
        """The triggers this device pauses by itself."""
        return set(self._paused_here)

    def model_inputs(self, model_id: str) -> tuple[str, ...]:
        """Names of the live model's inputs, in vector order."""
        live = self.runtime.engine.state.models.get(model_id)
        return () if live is None else live.inputs

    # -- counters -------------------------------------------------------------------------------------------------

    def note(self, kind: str, error: Exception) -> None:
        """An error nobody was told by a return value."""
        self._note(kind, error)

    def given_up(self) -> list[str]:
        """What a damaged store lost or had set aside, one line each."""
        return [*self.log.spool.repair.notes, *self.runtime.notes]

    def stats(self) -> dict[str, Any]:
        """Counters and states, JSON-able."""
        state = self.runtime.engine.state
        return {
            "installation": self.log.installation,
            "records": self.log.last_seq,
            "acknowledged": self.log.acked_seq,
            "recovered": self.runtime.recovered_count,
            "recovered_from_journal": self.log.spool.recovered_count,
            "recovery_ms": round(self.recovery_ms, 1),
            "given_up": self.given_up(),
            "store": self.log.stats(),
            "position": self.log.position_max,
            "subjects": len(state.subjects),
            "engine_time": state.engine_time,
            "catalog": {"version": self.runtime.engine.plan.catalog.version, "digest": state.catalog_digest},
            "models": {model_id: model.artifact_digest for model_id, model in state.models.items()},
            "paused": sorted(state.paused),
            "decisions": dict(self.runtime.decision_counts),
            "conditions_false": self.runtime.condition_counts(),
        }

    def before_fork(self) -> None:
        """No thread of ours is inside SQLite while the process forks; bounded in time."""
        lock = self.log.spool.store.lock
        self._held_for_fork = lock if lock.acquire(timeout=FORK_WAIT_S) else None

    def after_fork_in_parent(self) -> None:
        """Go on."""
        held, self._held_for_fork = self._held_for_fork, None
        if held is not None:
            held.release()

    def leave_to_parent(self) -> None:
        """This is a forked child: let go of the lock, and never touch the rest again."""
        self._is_left = True  # a greenlet goes on in a child; an Event's lock may be held there by nobody
        self.log.leave_to_parent()

    def adopt_all_others(self) -> None:
        """Take in everything that other processes have captured so far."""
        while self._adopt_others():
            continue

    def close(self) -> None:
        """Keep a snapshot and close the store."""
        self._closed = True
        self._stop_beat.set()
        if self._beat is not None and self._beat is not threading.current_thread() and self._beat.is_alive():
            self._beat.join(1.0)
        if self._timer is not None:
            self._timer.cancel()
        try:
            for _ in range(UNTAKEN_ROUNDS_MAX):
                if not self.runtime.owed.expire_untaken(self.moment()):
                    break
                self.log.drain()  # within its bounds, a few at a time
            self.runtime.keep_snapshot(force=True)
        except StorageError as error:
            self.note("storage", error)
        self._adoption.close()
        try:
            self.log.close()
        except StorageError as error:
            self.note("storage", error)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _apply_pauses(self) -> None:
        """A trigger is paused when this device or the server says so; both sets outlive a restart."""
        try:
            self.log.keep_meta("paused", [sorted(self._paused_here), sorted(self._paused_there)])
            self.runtime.pause(tuple(self._paused_here | self._paused_there), self.moment())
        except StorageError as error:
            self.note("storage", error)

    def _arm_timer(self) -> None:
        """Wake for the engine's next deadline; a trusted clock (a replay's) drives `run_due` itself."""
        if self._timer is not None:
            self._timer.cancel()
        if self.clock.trusted or self._closed:
            return
        deadline = self.runtime.engine.next_deadline()
        wait_s = TICK_S_MAX
        if deadline is not None:
            wait_s = min(TICK_S_MAX, max(TICK_S_MIN, (deadline - self.moment().now) / 1000.0))
        self._timer = threading.Timer(wait_s, self._on_timer)
        self._timer.daemon = True
        self._timer.start()

    def _on_timer(self) -> None:
        self.run_due()
        self._arm_timer()
