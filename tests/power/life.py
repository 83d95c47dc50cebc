"""A life: one store from its beginning on, through every end it comes to, on a tape that can be cut anywhere.

Owns beginnings (nothing, a store of the first version), ends (closed, killed, cut off from power, each possibly in the middle of
a call; a file that rotted), and what is noted whenever a number is written. Must never judge: `ledger` does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, LossOutput, Moment
from reflexarc_edge.capture import CAPTURE_KIND, decode_capture
from reflexarc_edge.codec import checksum, decode, pack
from reflexarc_edge.entry import LOSS_KIND, parts_of
from reflexarc_edge.log import Log, bare_event
from reflexarc_edge.repair import Identity
from reflexarc_edge.store import FILE
from reflexarc_edge.upkeep import Bounds
from tests.power.images import Disk, Image
from tests.power.ledger import STORE, Ledger, Wrong, body_of, judge
from tests.power.recording import Recorder
from tests.power.tape import PAGE, Restart
from tests.power.visitors import Visitors

T0: Final = 1_700_000_000_000
SMALL: Final = 1024 * 1024
MEANWHILE: Final = 0.03
"""How often another thread has its turn when SQLite writes or syncs."""

_MIDDLES: Final = (0, 0, 1, 2, 5, 20, 60)
"""How many events ago an end was."""

# A store as version 1 of its tables had it.
FIRST_TABLES: Final = """
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, decision_id TEXT, body BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE INDEX log_decision ON log (decision_id) WHERE decision_id IS NOT NULL;
CREATE TABLE pending (decision_id TEXT PRIMARY KEY, expire_time INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE subjects (subject TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE catalogs (digest TEXT PRIMARY KEY, built BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version=1
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of life.

    durability: `power` syncs often, `process` only before an upload. begins: with `nothing`, with a store of the `first`
    version, or with nothing and the main file `rots` once. rows_max, history_rows: of its bounds. is_calm: nothing
    ends it, comes to it or gets between its steps.
    """

    seed: int
    durability: str
    begins: str = "nothing"
    rows_max: int = 1_000_000
    history_rows: int = 0
    is_calm: bool = False

    @property
    def bounds(self) -> Bounds:
        """As small as they may be, so that segments turn and the store is cut often."""
        return Bounds(SMALL, self.rows_max, self.history_rows)

    def __str__(self) -> str:
        return f"{self.durability}-{self.begins}-{self.seed}{'-calm' if self.is_calm else ''}"


class Life:
    """What every life has. base: an empty folder; each stretch of a life between two ends has a folder of its own there."""

    def __init__(self, plan: Plan, base: Path) -> None:
        self.plan: Final = plan
        self._base = base
        self.rng: Final = random.Random(f"life {plan}")
        self._places = itertools.count()
        self.recorder: Final = Recorder(self._place(), str(plan))
        self.recorder.live = self._live
        self.wrongs: list[Wrong] = []
        self.log: Log
        self.visitors: Final = Visitors(self.recorder, self.rng)
        self.made: Final = itertools.count(1)
        self.counts: Final[Counter[str]] = Counter()
        self.fired: list[str] = []
        self.subjects: dict[str, Any] = {}
        self._position = -1
        self._disk = Disk()
        self._played = 0
        self._is_busy = False
        self._is_alone = False

    def event(self, size: int) -> EventInput:
        """An event of about so many bytes, like no other."""
        number = next(self.made)
        self._position += 1
        text = f"{number}:{self.rng.randbytes(16).hex()}" * (size // 34 + 1)
        event = Event(
            f"e{number}", "page_view", f"known:{number % 7}", T0 + number, {"page_url": text[:size]}, {}, self._position
        )
        return EventInput(Moment(T0 + number), event)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody writes meanwhile."""
        before, self._is_alone = self._is_alone, True
        yield
        self._is_alone = before

    def sync(self) -> None:
        """Sync, and note what that promised."""
        self.recorder.note("durable", self.log.sync_to_disk())

    # -- the tape -------------------------------------------------------------------------------------------------

    def check_tape(self) -> None:
        """A write that was not recorded would make every image a lie."""
        self.recorder.sweep()
        image, root = self._play_all().now(), self.recorder.root
        for name, data in image.files.items():
            held = (root / name).read_bytes()
            assert held == data, f"{self.plan}: {name} is not what the tape says ({len(held)} bytes, {len(data)} on the tape)"
        found = {self.recorder.relative(path) for path in root.rglob("*") if path.is_file()} - {None}
        assert found == set(image.files), f"{self.plan}: files the tape does not know: {found ^ set(image.files)}"

    def _live(self, number: int) -> bytes:
        files = self._play_all().files
        return bytes(files[number].live) if number in files else b""

    def _play_all(self) -> Disk:
        tape = self.recorder.tape
        for event in tape[self._played :]:
            self._disk.play(event)
        self._played = len(tape)
        return self._disk

    # -- beginnings -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open it for the first time. What comes before the note is no part of this life."""
        if self.plan.begins == "first":
            self._make_first_version()
        self.recorder.note("begun")
        self.open()

    def open(self) -> None:
        """Open it, and note who it is and what it says is lost."""
        self.recorder.on_store_write = _nothing
        self.log = Log(self.recorder.root / STORE, bounds=self.plan.bounds, connect=self.recorder.connect)
        self.log.spool.drainer.stop(0)  # no drainer of its own: what happens when is this life's to say
        self._watch()
        self.recorder.note("identity", (self.log.installation, self.log.incarnation))
        rows = list(self.log.read_rows(0, 2**31))
        losses = [held for _, held in rows if isinstance(held, LossOutput) and held.reason != "evicted"]
        self.recorder.note("excused", {seq for loss in losses for seq in range(loss.first_seq, loss.last_seq + 1)})
        _, head, subjects = self.log.snapshot()
        self.subjects = dict(subjects) if head is not None else {}
        waiting = {decision.decision_id for decision in self.log.pending()}
        self.fired = [decision_id for decision_id in self.fired if decision_id in waiting]
        self.visitors.come(self.log)
        self.recorder.on_store_write = self._meanwhile

    def _watch(self) -> None:
        """Note what goes under which number before it is written, and what may be given up before it is."""
        journal, upkeep, identity = self.log.spool._journal, self.log.spool.upkeep, self.log.spool.scope
        write, make_room = journal.append, upkeep.make_room

        def append(first_seq: int, count: int, payload: bytes) -> bool:
            self.recorder.note("offered", dict(_bodies(identity, first_seq, payload)))
            return write(first_seq, count, payload)

        def give_up(*args: int) -> int:
            evicted: set[int] = set()
            self.recorder.note("evicting", evicted)
            count = make_room(*args)
            evicted |= self.evicted()
            self.counts["evicted"] += count
            return count

        journal.append = append  # type: ignore[method-assign]
        upkeep.make_room = give_up  # type: ignore[method-assign]

    def evicted(self) -> set[int]:
        """Numbers that losses say were given up for room."""
        rows = [row for row in self.log.spool.store.rows(0, 2**31)[0] if row.kind == LOSS_KIND]
        losses = [decode(row.kind, row.body) for row in rows]
        held = [loss for loss in losses if isinstance(loss, LossOutput) and loss.reason == "evicted"]
        return {seq for loss in held for seq in range(loss.first_seq, loss.last_seq + 1)}

    def end(self) -> list[Any]:
        """Let go of everything and hand the tape over, which has to be everything that the disk saw."""
        self.check_tape()
        self.abandon()
        return self.recorder.tape

    def _make_first_version(self) -> None:
        folder = self.recorder.root / STORE
        os.mkdir(folder.parent)
        os.mkdir(folder)
        db = self.recorder.connect(str(folder / FILE))
        for statement in FIRST_TABLES.split(";"):
            db.execute(statement)
        db.execute("BEGIN")
        offered = {}
        for seq in range(1, self.rng.randint(3, 300)):
            body = offered[seq] = body_of(self.event(self.rng.choice((10, 200, 900))))
            row = (seq, 1, None, body, checksum(seq, 1, body))
            db.execute("INSERT INTO log (seq, kind, decision_id, body, crc) VALUES (?, ?, ?, ?, ?)", row)
        kept = {"position_max": self._position, "installation": "0" * 32, "incarnation": "1" * 32}
        for name, value in kept.items():
            db.execute("INSERT INTO meta VALUES (?, ?)", (name, pack(value)))
        db.execute("COMMIT")
        self.recorder.note("offered", offered)
        if self.rng.random() < 0.5:  # its process was killed, and left a write-ahead log
            self.recorder.let_go()
        db.close()
        image = self._play_all().now()
        self.recorder.let_go()
        self.recorder.tape.append(Restart(image.files, image.folders))
        self.recorder.note("durable", max(offered))
        self._move_on(image)

    # -- ends -----------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Let go of the files without a word to them."""
        self.recorder.let_go()
        self.visitors.go()
        self.log.spool._journal.close()
        self.log.spool.store.close()
        os.close(self.log._owner)

    def close(self) -> None:
        """An orderly end."""
        self.recorder.on_store_write = _nothing
        self.visitors.go()
        self.log.close()

    def reopen(self) -> None:
        """Close it and open it again."""
        self.close()
        self.open()

    def kill(self, back: int | None = None) -> None:
        """Its process ends in the middle of something; what it wrote is with the system, synced or not.

        back: how many events ago that was; drawn where it is not said.
        """
        self._rewind(self.rng.choice(_MIDDLES) if back is None else back)
        self._move_on(self._disk.now())
        self.open()

    def cut(self) -> None:
        """The power goes in the middle of something. Names change in order here: each life has many images besides."""
        self._rewind(self.rng.choice(_MIDDLES))
        image = self._disk.survivor(self.rng, "ordered")
        ledger = Ledger()
        for event in self.recorder.tape:
            ledger.play(event)
        place = self._place()
        image.materialise(place)
        self.wrongs = judge(place, ledger)
        if not self.wrongs:
            self.recorder.tape.append(Restart(image.files, image.folders))
            self._move_on(image)
            self.open()

    def rot(self) -> None:
        """The first page of the main file is gone, and the rest of it has to be put into a new one."""
        before = {row.seq for row, held in self.log.read_rows(0, 2**31) if not isinstance(held, LossOutput)}
        self.close()
        self.recorder.let_go()
        image = self._play_all().now()
        name = f"{STORE}/{FILE}"
        files = {**image.files, name: bytes(PAGE) + image.files[name][PAGE:]}
        lost: set[int] = set()
        self.recorder.note("rotted", lost)
        self.recorder.tape.append(Restart(files, image.folders))
        self._move_on(Image(files, image.folders, "rotten"))
        self.open()
        assert self.log.spool.repair.set_aside, f"{self.plan}: nothing noticed that the store rotted"
        # What a repair brings back that nothing cuts short is what each repair has to bring back.
        lost |= before - {row.seq for row, held in self.log.read_rows(0, 2**31) if not isinstance(held, LossOutput)}

    def _rewind(self, back: int) -> None:
        """Undo the last events, as if they had not happened yet."""
        self.abandon()
        tape = self.recorder.tape
        del tape[max(1, len(tape) - back) :]
        self._disk, self._played = Disk(), 0
        self._play_all()

    def _move_on(self, image: Image) -> None:
        """Somewhere else, with the files of this image, which are what the tape says."""
        place = self._place()
        image.materialise(place)
        self.recorder.go_on(place, self._play_all().live)

    def _place(self) -> Path:
        place = self._base / f"stretch-{next(self._places)}"
        place.mkdir()
        return place

    # -- others ---------------------------------------------------------------------------------------------------

    def _meanwhile(self) -> None:
        """Another thread has its turn while SQLite writes: it syncs, or puts something into the journal."""
        spool = self.log.spool
        if self.plan.is_calm or self._is_busy or spool.lock.locked() or self.rng.random() > MEANWHILE:
            return
        self._is_busy = True
        journal = spool._journal
        if self.rng.random() < 0.5:
            self.sync()
        elif not self._is_alone and not spool.captures_waiting and journal._limit - journal._position > 1_000:
            self.log.append([self.event(100)])
        self._is_busy = False


def _bodies(identity: Identity, first_seq: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
    for part in parts_of(first_seq, payload):
        if part.kind == CAPTURE_KIND:
            yield part.seq, body_of(bare_event(identity, part.seq, decode_capture(part.body)))
        else:
            yield part.seq, part.body


def _nothing() -> None:
    pass
