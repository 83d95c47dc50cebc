"""The device's log: every record in order, safe against `kill -9` before `append` returns.

Owns the lock on the folder, and what a row of the store says: sealed or not, readable or set aside. How records get onto the
disk is the spool's. Must never decide what a record means. Reading drains first, so nothing is ever seen out of order.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, Final

from reflexarc_core.decision import Decision
from reflexarc_core.errors import InvalidEventError, StorageError
from reflexarc_core.record import DecisionOutput, EventInput, LossOutput, Record
from reflexarc_edge.capture import CAPTURE_KIND, Capture, bare_event, decode_capture
from reflexarc_edge.codec import decode, encode
from reflexarc_edge.cursor import Cursor
from reflexarc_edge.entry import LOSS_KIND, NORMAL, Entry, Taken, entry_in, entry_of, last_number, parts_of
from reflexarc_edge.inherited import let_go, remember
from reflexarc_edge.journal import Frame, make_folder
from reflexarc_edge.owners import own
from reflexarc_edge.repair import Identity, behind_a_gap
from reflexarc_edge.seal import Open, Seal
from reflexarc_edge.spool import Spool
from reflexarc_edge.store import BATCH_ROWS, FILE, Connect, Row, Store, connect, is_sound
from reflexarc_edge.upkeep import Bounds

SERVER_FILE: Final = "server.db"
"""What a server keeps in a folder: never a place for a device's store."""
CAPTURE_PLACE: Final = "capture"
STOP_S: Final = 5.0
FOLDED_AT_ONCE: Final = 256

Complete = Callable[[Identity, int, Capture], EventInput]
"""(whose log, number in it, capture) -> the event as the log keeps it."""


class Log:
    """One store in one folder, owned by one process.

    bounds: how large it may become. seal: encryption of what it keeps of people. complete: makes an event of a capture.
    Raises OwnedElsewhereError when another process owns the folder, StorageError when it cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bounds: Bounds | None = None,
        seal: Seal | None = None,
        complete: Complete | None = None,
        connect: Connect = connect,
    ) -> None:
        self.folder: Final = folder
        self._seal: Final[Seal] = seal or Open()
        self._complete: Complete = complete or bare_event
        self._pid = os.getpid()
        self._missed: Final[set[int]] = set()  # records behind a gap that a mend was to close
        started = time.monotonic()
        if (folder / SERVER_FILE).exists() and not (folder / FILE).exists():
            raise StorageError(f"{folder} is a server's folder", hint="give the client a folder of its own")
        try:
            make_folder(folder)
            self._owner = own(folder)
        except OSError as error:
            raise StorageError(f"the store at {folder} cannot be opened: {error.strerror}") from None
        try:
            self.spool: Final = Spool(folder, bounds or Bounds(), self._seal, connect, self._of_frame)
        except BaseException:
            let_go(self._owner)
            raise
        self.cursor: Final = Cursor(self.spool)
        self.spool.drainer.drain = self.drain
        self.spool.fold_some = self._take_without_engine
        self._put_capture: Final = self.spool.put_capture
        self.installation: Final = self.spool.identity.installation
        self.held: Final[list[tuple[Sequence[Record], int]]] = []
        """Records kept in memory only, input by input; they are written before whatever comes next."""
        self.adopt: Callable[[], object] = self._adopt_without_engine
        """Takes every capture that waits into the engine, under the engine's lock; the runtime's, once there is one."""
        self.opened_ms: Final = (time.monotonic() - started) * 1000.0

    @property
    def incarnation(self) -> str:
        """Of the numbering: new after a repair."""
        return self.spool.identity.incarnation

    @property
    def scope(self) -> str:
        """What the id of an event is derived from, beside its number: stays while this log is open."""
        return self.spool.scope.incarnation

    @property
    def last_seq(self) -> int:
        """Number of the newest record, 0 when there is none."""
        return self.spool.seq

    @property
    def acked_seq(self) -> int:
        """Number up to which the server holds everything."""
        return self.spool.acked_seq

    @property
    def position_max(self) -> int:
        """Largest source position of an event kept, -1 for none."""
        return self.spool.position_max

    @property
    def is_sealed(self) -> bool:
        """Whether what it keeps is encrypted."""
        return self._seal.is_closed

    def check_process(self) -> None:
        """Raises StorageError in a process that did not open this log: both would corrupt the files they share."""
        if os.getpid() != self._pid:
            raise StorageError("this store belongs to the process that opened it", hint="open a client after the fork")

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], *, priority: int = NORMAL, taken: Taken | None = None) -> int:
        """Write the records of one input, all or none; they survive `kill -9` when this returns. The last one's number.

        A fired decision stays pending until its HandedOutput. priority: of an event among them, when the store is full.
        taken: whose capture this was. Raises StorageError; then nothing of the call was written.
        """
        spool = self.spool
        if self._owner < 0:
            self._check_open()
        if spool.captures_waiting or self.held:
            self.adopt()
        return spool.put(records, priority, taken)

    def append_capture(self, body: bytes) -> int:
        """Keep one capture that nothing waits for; its number. The caller holds the engine's lock. Raises StorageError."""
        if self.held or self._seal.is_closed or self._owner < 0:
            self._check_open()
            self.write_held()
            body = self._seal.close(CAPTURE_PLACE, body)
        return self._put_capture(body)

    def hold(self, records: Sequence[Record], priority: int = NORMAL) -> None:
        """Keep the records of one input in memory only, until the next input is written or drained; they go before it."""
        self._check_open()
        self.held.append((records, priority))
        self.spool.drainer.wake()

    def take_captures(self, count_max: int) -> Iterator[EventInput]:
        """Captures that wait, as events in their order; the caller holds the engine's lock and folds each of them."""
        while count_max > 0:
            frame = self.spool.next_capture()
            if frame is None:
                return
            found = self._captured(self.spool.scope, frame)
            if found is not None:
                count_max -= 1
                self.spool.take(frame.first_seq, *found)
                yield found[0]

    def capture_in(self, frame: Frame) -> Capture:
        """What another process captured. Raises InvalidEventError when it cannot be read."""
        try:
            part = next(parts_of(frame.first_seq, frame.payload))
            return decode_capture(self._seal.open(CAPTURE_PLACE, part.body) if self._seal.is_closed else part.body)
        except (StorageError, StopIteration):
            raise InvalidEventError("a capture of another process cannot be read") from None

    def refuse(self, frame: Frame, taken: Taken, reason: str) -> None:
        """Another process's capture is no event: a dead letter, and taken all the same. Raises StorageError."""
        store = self.spool.store
        with store.transaction():
            store.bury([(Row(0, CAPTURE_KIND, frame.payload, 0), reason)], None)
            store.take(taken)

    def rewrite(self, seq: int, record: Record) -> None:
        """Another record under a number, within a transaction of the store: for erasing."""
        ((kind, body),) = self.spool.sealed(seq, [encode(record)]) if self._seal.is_closed else [encode(record)]
        self.spool.store.replace_row(seq, kind, body, entry_of(seq, record, kind, body).decision_id)

    def write_held(self) -> None:
        """Write what was kept in memory only. The caller holds the engine's lock. Raises StorageError."""
        while self.held:
            records, priority = self.held[0]
            self.spool.put(records, priority)
            del self.held[0]

    def drain(self) -> None:
        """Bring everything into the store. Raises StorageError; then it stays in the journal."""
        self.check_process()
        self._check_open()
        spool = self.spool
        upto = spool.seq
        if self.held:
            self.adopt()
        while spool.captures_waiting and spool.store.last_seq < upto:
            spool.fold_some(FOLDED_AT_ONCE)  # a part at a time, so that no backlog is ever held in memory
            spool.drain_within_bounds()
        spool.drain_within_bounds()

    def keep_snapshot(
        self,
        head: dict[str, Any],
        subjects: dict[str, dict[str, Any]],
        dropped: set[str],
        *,
        upto_seq: int | None = None,
        whole: bool = False,
    ) -> None:
        """Keep the state as of a record (the newest): the head, and the subjects that changed since the last call, or `whole`
        all there are. Raises StorageError, the earlier one is kept then.
        """
        self._check_open()
        spool = self.spool

        def keep(store: Store) -> None:
            with store.transaction():
                if whole:
                    store.drop_snapshot()
                store.keep_snapshot(upto_seq or store.last_seq, head, subjects, dropped)

        spool.drain()
        spool.ask(keep)
        if whole:
            spool.state_lost = False

    def keep_catalog(self, digest: str, built: bytes) -> None:
        """Keep a catalog for as long as the log may name it."""
        self.spool.ask(lambda store: store.keep_catalog(digest, built))
        self.spool.ask(Store.sync_to_disk)  # a record that names it may be durable in the journal before the store is

    def keep_meta(self, name: str, value: Any) -> None:
        """Keep one small named value."""
        self.spool.ask(lambda store: store.keep_meta(name, value))

    def acknowledge(self, upto_seq: int) -> None:
        """See Cursor."""
        self.cursor.acknowledge(upto_seq)

    def sync_to_disk(self) -> int:
        """Returns when everything written before the call outlives a power cut: the newest such number.

        Raises StorageError. Never on the thread that tracks.
        """
        self.check_process()
        self._check_open()
        if self.held:
            self.adopt()
        return self.spool.sync()

    # -- reading --------------------------------------------------------------------------------------------------

    def records(self, after: int, count_max: int | None = None) -> Iterator[tuple[int, Record]]:
        """(number, record) pairs behind `after`, in order, read in batches. What cannot be read is set aside and a loss."""
        self.drain()
        left = count_max if count_max is not None else self.last_seq
        while left > 0:
            pairs = list(self.read_rows(after, min(left, BATCH_ROWS)))
            if not pairs:
                return
            for row, record in pairs:
                yield row.seq, record
            after = last_number(pairs[-1][0].seq, pairs[-1][1])
            left -= len(pairs)

    def read_rows(self, after: int, count_max: int, upto: int = 2**62) -> Iterator[tuple[Row, Record]]:
        """Stored rows behind `after` with what they say; damaged ones become losses with their number first."""
        rows = methodcaller("rows", after, count_max, upto)
        store = self.spool.store
        sound, damaged = self.spool.ask(rows)
        if damaged:
            self._bury(damaged, "damaged")
            sound, _ = self.spool.ask(rows)
        behind = self._behind_a_gap(after, sound)
        if behind and behind not in self._missed and self._behind_a_gap(after, self.spool.ask(rows)[0]) == behind:
            self._missed.add(behind)  # once: what a mend did not bring back, no mend will
            self.spool.mend("some of its records are missing, and nothing says why", store)
            sound, _ = self.spool.ask(rows)
        if not sound or sound[0].seq > after + 1:
            yield from self._loss_over(after)
        for row in sound:
            try:
                yield row, self._read(row)
            except StorageError:
                self._bury([row], "unreadable")
                yield row, LossOutput("unreadable", row.seq, row.seq, 1)

    def _behind_a_gap(self, after: int, rows: Sequence[Row]) -> int:
        """See `behind_a_gap`: the database rotted so that nothing else notices."""
        if rows and rows[0].seq > after + 1:
            after = max((loss.last_seq for _, loss in self._loss_over(after)), default=after)
        return behind_a_gap(rows, after, lambda: max(self.acked_seq, self.meta("held_once", 0)), self._read)

    def _loss_over(self, after: int) -> Iterator[tuple[Row, LossOutput]]:
        """What is left, behind a number, of a loss that began before it: losses grow together while somebody reads."""
        row = self.spool.ask(lambda store: store.last_held(after))
        if row is not None and row.kind == LOSS_KIND and is_sound(row):
            with contextlib.suppress(StorageError):
                loss = self._read(row)
                if isinstance(loss, LossOutput) and loss.last_seq > after:
                    rest = LossOutput(loss.reason, after + 1, loss.last_seq, loss.last_seq - after)
                    yield Row(after + 1, LOSS_KIND, row.body, row.crc), rest

    def check_of(self, seq: int) -> int:
        """See Cursor."""
        return self.cursor.check_of(seq)

    def decision_records(self, decision_id: str) -> list[tuple[int, Record]]:
        """Every record of one decision, in order."""
        self.drain()
        return [(row.seq, self._read(row)) for row in self.spool.ask(lambda store: store.decision_rows(decision_id))]

    def recent_decisions(self, count_max: int) -> list[Decision]:
        """The newest decision records, newest first."""
        self.drain()
        return self._decisions(self.spool.ask(lambda store: store.newest_decision_rows(count_max)))

    def pending(self) -> list[Decision]:
        """Fired decisions whose action was never handed over."""
        self.drain()
        return self._decisions(self.spool.ask(Store.pending_rows))

    def oldest_owed(self, beyond: int, count_max: int) -> list[Decision]:
        """The oldest fired decisions that wait for their hand-over, where there are more than `beyond`."""
        return self._decisions(self.spool.ask(lambda store: store.oldest_owed_rows(beyond, count_max)))

    def owed(self) -> list[tuple[str, Decision | None]]:
        """Every decision whose action waits for its hand-over, by its id; None for one that cannot be read."""
        rows = self.spool.ask(Store.owed_rows)
        return [(decision_id, next(iter(self._decisions([row])), None)) for decision_id, row in rows]

    def snapshot(self) -> tuple[int, dict[str, Any] | None, dict[str, dict[str, Any]]]:
        """(number of the last record it holds, head, subjects); (0, None, {}) when none was kept.

        Raises StorageError when what was kept cannot be read.
        """
        return self.spool.ask(Store.snapshot)

    def catalogs(self) -> dict[str, bytes]:
        """Every kept catalog's built bytes by digest."""
        return self.spool.ask(Store.catalogs)

    def meta(self, name: str, default: Any) -> Any:
        """A named value, or the default."""
        return self.spool.ask(lambda store: store.meta(name, default))

    def taken(self) -> dict[str, int]:
        """How far each other process's journal has been taken, by its name."""
        return self.spool.ask(Store.taken)

    def untake(self, journal: str) -> None:
        """Another process's journal is gone for good."""
        self.spool.ask(lambda store: store.untake(journal))

    def stats(self) -> dict[str, Any]:
        """Sizes and counters, JSON-able."""
        spool = self.spool
        return {
            "bytes": spool.upkeep.byte_count(),
            "bytes_max": spool.bounds.bytes_max,
            "records_held": spool.ask(Store.record_count),
            "given_up": spool.upkeep.evicted_count,
            "dead_letters": spool.ask(Store.dead_count),
            "damaged_places": spool.damage_count,
            "repairs": list(spool.repair.notes),
        }

    def close(self) -> None:
        """Drain, close the files and give up the lock. A second call does nothing. What cannot be drained stays in the
        journal for the next start."""
        if self._owner < 0 or os.getpid() != self._pid:
            return
        self.spool.drainer.stop(STOP_S)
        try:
            with contextlib.suppress(StorageError):
                self.drain()
            self.spool.close()
        finally:
            let_go(self._owner)
            self._owner = -1

    def leave_to_parent(self) -> None:
        """This is a forked child: nothing of this may be touched or closed here. Its lock went with the fork."""
        self._owner = -1
        remember(self.folder / FILE)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._owner < 0:
            raise StorageError(f"the store at {self.folder} is closed")

    def _read(self, row: Row) -> Record:
        body = row.body
        if self._seal.is_closed and row.kind != LOSS_KIND:
            body = self._seal.open(f"{row.seq} {row.kind}", body)
        return decode(row.kind, body)

    def _decisions(self, rows: Iterable[Row]) -> list[Decision]:
        found = []
        for row in rows:
            with contextlib.suppress(StorageError):  # one that cannot be read is dealt with when the log is read in order
                record = self._read(row)
                if isinstance(record, DecisionOutput):
                    found.append(record.decision)
        return found

    def _captured(self, identity: Identity, frame: Frame) -> tuple[EventInput, int] | None:
        """The event that a frame's capture is, and its priority; None for a frame that holds none."""
        part = next(parts_of(frame.first_seq, frame.payload))
        if part.kind != CAPTURE_KIND:
            return None
        capture = decode_capture(self._seal.open(CAPTURE_PLACE, part.body) if self._seal.is_closed else part.body)
        return self._complete(identity, part.seq, capture), capture.priority

    def _of_frame(self, identity: Identity, frame: Frame) -> Iterator[Entry]:
        """The entries of a frame: on its way into the store, or found after a crash."""
        for part in parts_of(frame.first_seq, frame.payload):
            try:
                if part.kind == CAPTURE_KIND:
                    captured = self._captured(identity, frame)
                    if captured is not None:
                        kind, body = encode(captured[0])
                        body = self._seal.close(f"{part.seq} {kind}", body)
                        yield entry_of(part.seq, captured[0], kind, body, captured[1])
                    continue
                is_sealed = self._seal.is_closed and part.kind != LOSS_KIND
                yield entry_in(part, self._seal.open(f"{part.seq} {part.kind}", part.body) if is_sealed else part.body)
            except StorageError:
                yield Entry(part.seq, part.kind, part.body)  # kept as it is: reading it sets it aside with its reason

    def _bury(self, rows: list[Row], reason: str) -> None:
        def loss(row: Row, why: str) -> tuple[int, bytes]:
            # The row may have been a loss itself: whatever is not held behind it went with it.
            last = self.spool.store.next_held(row.seq) - 1
            return encode(LossOutput(why, row.seq, last, last - row.seq + 1))

        self.spool.ask(lambda store: store.bury([(row, reason) for row in rows], loss))

    def _take_without_engine(self, count_max: int) -> None:
        for _ in self.take_captures(count_max):
            pass

    def _adopt_without_engine(self) -> None:
        self._take_without_engine(2**31)
        self.write_held()
