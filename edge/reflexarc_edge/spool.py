"""The spool: a record's way from the memory-mapped journal into SQLite, whatever the disk does meanwhile.

put -> journal (at once) -> what waits -> store (SQLite, within a drainer's round, on its thread). Owns both halves, the
order between them, their recovery after a crash, and the help for a full or a rotten disk. Must never know what a record
means: it is handed numbered entries, and captures that become entries later.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from reflexarc_core.errors import StorageError
from reflexarc_core.record import EventInput, Record
from reflexarc_edge.capture import CAPTURE_KIND
from reflexarc_edge.codec import encode
from reflexarc_edge.drainer import Drainer
from reflexarc_edge.entry import LOSS_KIND, NORMAL, Entry, Taken, pack_part, part_payload, payload_of, plain_payload
from reflexarc_edge.journal import Frame
from reflexarc_edge.leftover import OfFrame, gap, left_in, open_journal
from reflexarc_edge.repair import Identity, explain_tail, identity_of, open_store
from reflexarc_edge.schema import StoreDamagedError
from reflexarc_edge.seal import Seal
from reflexarc_edge.store import Connect, Store, StoreFullError
from reflexarc_edge.upkeep import Bounds, Upkeep

THREAD_PREFIX: Final = "reflexarc-"
DRAINED_AT_ONCE: Final = 100
"""Inputs of one transaction: few enough that nobody waits for them, enough that a transaction costs little beside them."""
READ_AT_ONCE: Final = 10
"""Inputs whose bytes are read in one go: a host's thread that wants to run waits for so many."""
CAPTURES_MAX: Final = 10_000
CATCH_UP_ROWS: Final = 500

Answer = TypeVar("Answer")


class Spool:
    """Journal and store of one folder that this process owns.

    of_frame: the entries of a frame. Raises StorageError when the folder cannot be used.
    lock: of numbers and the journal, held for a frame; the store's own lock is taken before it, never after.
    """

    def __init__(self, folder: Path, bounds: Bounds, seal: Seal, connect: Connect, of_frame: OfFrame) -> None:
        self.folder: Final = folder
        self.bounds: Final = bounds
        self.lock: Final = threading.Lock()
        self._seal = seal
        self._connect = connect
        self.state_lost = False
        """The store lost something it had: the next snapshot has to hold every subject."""
        with contextlib.ExitStack() as failing:  # a host tries again until there is room: nothing stays open
            self.store, self.repair = open_store(folder, seal, connect)
            failing.callback(self.store.close)
            self._journal, self.identity, writer = open_journal(folder, bounds, self.store, self.repair)
            failing.callback(self._journal.close)
            self.upkeep = Upkeep(self.store, bounds)
            entries, self.damage_count = left_in(self._journal, self.store.last_seq, writer, of_frame, self.repair)
            if entries:
                self.store.insert(entries)
            # Also when the journal held nothing more: whoever drained it may have been killed before it synced.
            self.store.sync_to_disk()
            self._journal.clear()
            self.recovered_count: Final = len(entries)
            # Drawn anew at every start: a copy of this store goes on with the same numbers, and must make no same ids of them.
            self.scope: Final = Identity(self.identity.installation, secrets.token_hex(16))
            """Whose the journal is, and what ids of events in it come from; a repair or a new numbering leaves it alone."""
            self._journal.owner = (self.scope.installation, self.scope.incarnation)
            self._journal.sync()
            failing.pop_all()
        self.seq = self.store.last_seq
        self.durable_seq = self.seq
        """Number up to which records outlive a power cut."""
        self.acked_seq: int = self.store.meta("acked_seq", 0)
        self.position_max: int = self.store.meta("position_max", -1)
        self.captures_waiting = 0
        self._captures = self._journal.reader(self.seq)
        self._of_frame = of_frame
        self._waiting: list[Frame] = []
        self.drainer: Final = Drainer(lambda: self.seq, self.drain)
        self._beyond_journal_seq = 0
        """Number of a record too large for the journal that is on its way into the store, 0 for none."""
        self._unchecked_bytes = 0
        self._is_keeping_bounds = False
        self.cover: Callable[[], int] = lambda: self.covered_seq
        """Keeps a snapshot and tells up to where it covers the log; the runtime's, once there is one."""
        self.fold_some: Callable[[int], object] = lambda count: None
        """Folds so many captures; the runtime's, once there is one."""

    # -- in -------------------------------------------------------------------------------------------------------

    def put(self, records: Sequence[Record], priority: int = NORMAL, taken: Taken | None = None) -> int:
        """Number the records of one input and write them, all or none; they survive `kill -9` when this returns.

        The last number. Raises StorageError; then nothing was written.
        """
        with self.lock:
            frame = self._frame(records, priority, taken)
            written = self._journal.append(frame.first_seq, frame.record_count, frame.payload)
            if written:
                self._accept(frame, records)
        if not written:
            self._put_slowly(records, priority, taken)
        if not self.drainer.is_awake:
            self.drainer.wake()
        return self.seq

    def _frame(self, records: Sequence[Record], priority: int, taken: Taken | None) -> Frame:
        """The records of one input, numbered from the next number on. The caller holds `lock` until it is accepted."""
        first, count = self.seq + 1, len(records)
        if priority == NORMAL and taken is None and not self._seal.is_closed:
            return Frame(first, count, plain_payload(records))
        bodies = [encode(record) for record in records]
        if self._seal.is_closed:
            bodies = self.sealed(first, bodies)
        return Frame(first, count, payload_of(bodies, priority, taken))

    def sealed(self, first_seq: int, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Bodies as the disk may hold them. A loss holds nothing of anybody and stays open."""
        return [
            (kind, body if kind == LOSS_KIND else self._seal.close(f"{seq} {kind}", body))
            for seq, (kind, body) in enumerate(bodies, start=first_seq)
        ]

    def put_capture(self, body: bytes) -> int:
        """Write one capture; its number. Nothing else may be put meanwhile, nor before it is taken: the caller holds the
        engine's lock, as everybody does who puts.

        Raises StorageError; then nothing was written.
        """
        seq = self.seq + 1
        if not self.captures_waiting:
            # What lies before it are no captures: the reader of captures need not look at it.
            self._captures.skip_to(self._journal.position, self.seq)
        if not self._journal.append(seq, 1, pack_part(CAPTURE_KIND, len(body)) + body):
            self._make_room(body)
        self.seq = seq
        self.captures_waiting += 1
        if self.captures_waiting > CAPTURES_MAX:
            self._catch_up()
        if not self.drainer.is_awake:
            self.drainer.wake()
        return seq

    def _catch_up(self) -> None:
        """More captures wait than a thread can fold beside a caller who never pauses: the caller folds two for each it brings,
        so that it waits a little every time and not for all of them at once."""
        self.fold_some(2)
        if len(self._waiting) >= CATCH_UP_ROWS:
            with contextlib.suppress(StorageError):  # a full disk, say: the caller is told when the journal is full as well
                self.drain_within_bounds()

    def _make_room(self, body: bytes) -> None:
        """The journal has no room for one more capture: free it, and write that one. Raises StorageError."""
        payload = part_payload(CAPTURE_KIND, body)
        self._free_idle()
        if self._journal.append(self.seq + 1, 1, payload):
            return
        self.drainer.drain()
        self._free_journal()
        if not self._journal.append(self.seq + 1, 1, payload):
            raise StorageError("an event larger than the journal", hint="send less in one event")

    def next_capture(self) -> Frame | None:
        """The next capture that waits; None when there is none. `take` it before the next."""
        with self.lock:
            if not self.captures_waiting:
                return None
            frame = self._captures.next()
            if frame is None:
                self.captures_waiting = 0  # what cannot be read back is gone; the gap is explained when it is drained
            return frame

    def take(self, seq: int, record: EventInput, priority: int) -> None:
        """The capture that came last is this event."""
        bodies = [encode(record)]
        if self._seal.is_closed:
            bodies = self.sealed(seq, bodies)
        with self.lock:
            self.captures_waiting -= 1
            self._waiting.append(Frame(seq, 1, payload_of(bodies, priority)))
            self.position_max = max(self.position_max, record.event.source_position)

    # -- through --------------------------------------------------------------------------------------------------

    def drain_within_bounds(self) -> None:
        """The same as `drain`, with room made on the way. Whoever calls this holds the store's lock only if it holds the
        engine's as well.
        """
        while self._waiting:
            self.keep_bounds()
            with self.store.lock:
                self._drain_some()
            breathe()
        self.drain()

    def drain(self) -> None:
        """Bring everything but captures into the store. Raises StorageError; then it stays in the journal."""
        with self.store.lock:
            while self._drain_some():
                breathe()
            idle = self._journal.idle_segment
            if self._journal.waits(idle, self.store.last_seq):
                # A segment is used again only once a power cut cannot take from the store what was in it.
                self.store.sync_to_disk()
                self._journal.release(self.store.last_seq)

    def sync(self) -> int:
        """Returns when everything up to a number outlives a power cut: that number. It is the newest one put before the
        call, but for a record too large for the journal that is still on its way into the store. Raises StorageError.
        """
        with self.lock:
            seq = self._beyond_journal_seq - 1 if self._beyond_journal_seq else self.seq
        # What is no longer in the journal was synced in the store before its place was wiped.
        self._journal.sync()
        self.durable_seq = max(self.durable_seq, seq)
        return seq

    def keep_house(self, covered_seq: int) -> None:
        """Keep the store within its bounds. covered_seq: what a snapshot covers. Never on the thread that tracks."""
        with self.store.lock:
            self.drain()
            held_elsewhere = min(covered_seq, self.acked_seq)
            if self.upkeep.is_cut_due(held_elsewhere, self.store.last_seq) or self.upkeep.needs_room():
                self.store.sync_to_disk()  # nothing is cut behind a snapshot that a power cut could undo
                while self.upkeep.cut(held_elsewhere, self.store.last_seq):
                    self.store.checkpoint()
                self.upkeep.make_room(self.acked_seq, covered_seq)
            self.store.checkpoint()
            self.upkeep.lay_ballast()

    def keep_bounds(self) -> None:
        """Make room where the store has grown over its bounds. Whoever calls this holds the store's lock only if it holds
        the engine's as well.
        """
        if self._is_keeping_bounds or self._unchecked_bytes * 64 < self.bounds.bytes_max:
            return
        self._unchecked_bytes = 0
        if not self.upkeep.needs_room():
            return
        self._is_keeping_bounds = True
        try:
            self.keep_house(self.cover())
        finally:
            self._is_keeping_bounds = False

    def ask(self, use: Callable[[Store], Answer]) -> Answer:
        """Use the store; one that turns out to be damaged is mended, and used once more. Raises StorageError."""
        store = self.store
        try:
            return use(store)
        except StorageError as error:
            if isinstance(error, StoreDamagedError):
                self.mend(str(error), store)
            elif self.store is store:
                raise
            return use(self.store)  # it was mended, here or by another thread meanwhile

    def blank(self) -> None:
        """Leave nothing in the journal of what is in the store. The caller keeps everybody from putting."""
        with self.store.lock:
            self.drain()
            self._free_journal()

    def close(self) -> None:
        """Drain and close both. What cannot be drained stays in the journal for the next start."""
        try:
            self.drain()
            with contextlib.suppress(StorageError):  # the next start looks into the journal then, and finds nothing new
                self.store.sync_to_disk()
                with self.lock:
                    if not self._waiting and not self.captures_waiting:
                        self._journal.clear()
        finally:
            with self.store.lock, self.lock:
                self._journal.close()
                self.store.close()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _accept(self, frame: Frame, records: Sequence[Record]) -> None:
        self._waiting.append(frame)
        self.seq = frame.first_seq + frame.record_count - 1
        given = records[0]  # what they are the records of
        if type(given) is EventInput and given.event.source_position > self.position_max:
            self.position_max = given.event.source_position

    def _put_slowly(self, records: Sequence[Record], priority: int, taken: Taken | None) -> None:
        """The journal has no room: free some and try again; what is larger than a segment goes straight to the store."""

        def put(is_last_try: bool) -> tuple[Frame, bool]:
            with self.lock:
                frame = self._frame(records, priority, taken)
                fits = self._journal.append(*frame)
                if fits or is_last_try:
                    self._beyond_journal_seq = 0 if fits else frame.first_seq
                    self._accept(frame, records)
                return frame, fits

        with self.store.lock:
            for free, is_last_try in ((self._free_idle, False), (self._free_journal, True)):
                free()
                frame, fits = put(is_last_try)
                if fits:
                    return
            try:
                self.drain()
                self.store.sync_to_disk()
            except StorageError:
                with self.lock:
                    if self._waiting and self._waiting[-1] is frame:  # nobody came behind it: it never was
                        del self._waiting[-1]
                        self.seq = frame.first_seq - 1
                raise
            finally:
                self._beyond_journal_seq = 0

    def _free_idle(self) -> None:
        """Bring what the segment that is not being written holds into the store, and make it free again. Raises StorageError."""
        with self.store.lock:
            newest = self._journal.newest(self._journal.idle_segment)
            while self.store.last_seq < newest and (self.captures_waiting or self._waiting):
                if self.captures_waiting:
                    self.fold_some(CATCH_UP_ROWS)
                self.keep_bounds()
                self._drain_some()
            self.store.sync_to_disk()
            self._journal.release(self.store.last_seq)

    def _free_journal(self) -> None:
        """Bring everything into the store and make the whole journal free again. Raises StorageError."""
        self.drain_within_bounds()
        with self.store.lock:
            self.drain()
            self.store.sync_to_disk()
            with self.lock:
                if not self._waiting and not self.captures_waiting:
                    self._journal.release(self.store.last_seq, also_current=True)
                    self._captures.skip_to(self._journal.position, self.seq)

    def _drain_some(self) -> bool:
        """One transaction of what waits, whole inputs only. False when nothing is left."""
        batch: list[Frame] = []
        size = 0
        for frame in self._waiting[:DRAINED_AT_ONCE]:
            batch.append(frame)
            size += len(frame.payload) + 64 * frame.record_count
            if size > self.bounds.wal_bytes // 2:
                break
        fresh: list[Entry] = []
        reached = stored = self.store.last_seq
        for number, frame in enumerate(batch, start=1):
            if frame.last_seq > stored:  # else an interrupted drain left it behind
                if frame.first_seq > reached + 1:
                    fresh.append(gap(reached + 1, frame.first_seq - 1))
                fresh += self._of_frame(self.scope, frame)
                reached = frame.last_seq
            if number % READ_AT_ONCE == 0:
                breathe()
        if fresh:
            self._store_all(fresh)
        with self.lock:
            # Only now is it forgotten here: whatever interrupted, it is not lost.
            del self._waiting[: len(batch)]
        return bool(batch)

    def _store_all(self, entries: list[Entry]) -> None:
        """Into the store, which is helped where it is out of disk or damaged, twice at most."""
        for help_left in (2, 1, 0):
            try:
                self._insert(entries)
                return
            except StoreDamagedError as error:
                if not help_left:
                    raise
                self._mend(str(error))
            except StoreFullError:
                if not help_left or not self.upkeep.relieve(self.acked_seq, self.covered_seq):
                    raise

    def _insert(self, entries: list[Entry]) -> None:
        self.store.insert(entries)
        self.upkeep.added(len(entries))
        self._unchecked_bytes += sum(len(entry.body) for entry in entries)
        with contextlib.suppress(StorageError):  # they are in the store: moving them on can wait for room
            self.store.checkpoint()

    @property
    def folded_seq(self) -> int:
        """Number of the newest record that is no waiting capture. The caller holds the engine's lock."""
        with self.lock:
            return self._waiting[-1].last_seq if self._waiting else self.store.last_seq

    @property
    def covered_seq(self) -> int:
        """Number up to which a kept snapshot makes records needless."""
        kept = self.store.meta("snapshot", None)
        return 0 if kept is None else int(kept["seq"])

    def mend(self, why: str, damaged: Store) -> None:
        """Make the store anew of what is left of it, unless somebody has since it was found damaged. Raises StorageError."""
        with damaged.lock:
            if self.store is damaged:
                self._mend(why)

    def _mend(self, why: str) -> None:
        """The store rotted while in use: what is left of it goes into a new one, and we go on in that."""
        old, seq = self.store, self.store.last_seq
        with contextlib.suppress(StorageError):
            old.close()
        fresh, repair = open_store(self.folder, self._seal, self._connect, why)
        fresh.lock = old.lock
        repair.lost_count += explain_tail(fresh, seq)
        fresh.last_seq = max(fresh.last_seq, seq)
        self.store = fresh
        self.upkeep = Upkeep(fresh, self.bounds)
        self.identity = identity_of(self.folder, fresh)
        self.repair.notes += repair.notes
        self.repair.set_aside += repair.set_aside
        self.state_lost = True


def breathe() -> None:
    """On a thread of ours: let another one run. The interpreter would keep it waiting for 5 ms, and it may be the host's."""
    if threading.current_thread().name.startswith(THREAD_PREFIX):
        time.sleep(0)
