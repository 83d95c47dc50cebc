"""The ledger: what a store had said and promised by some moment of a tape, and whether what is left keeps to it.

Owns the meaning of the notes on a tape and the judgement of an image that the real code opened. Must never look at how
an image came about: what was promised has to hold whatever was written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from reflexarc_core.decision import Reason
from reflexarc_core.errors import ReflexArcError
from reflexarc_core.event import Event
from reflexarc_core.record import CatalogInput, DecisionOutput, EventInput, HandedOutput, LossOutput, Moment, Record
from reflexarc_edge.codec import encode, pack
from reflexarc_edge.log import Log
from reflexarc_edge.owners import OthersCaptures
from reflexarc_edge.upkeep import Bounds
from reflexarc_edge.upload import upload_batch
from tests.power.tape import Note
from tests.power.visitors import adopt

ROOM: Final = Bounds(bytes_max=16 * 1024 * 1024)
"""Wide enough that nothing is given up while an image is judged."""
STORE: Final = "device/store"
"""The store's folder below the root: two folders deep, since a store makes what is missing of its path."""


class Wrong(NamedTuple):
    """One thing that does not hold.

    kind: `lost` (what was durable), `malformed` (does not open, or not as the store it was), `reused` (a number that was told),
    `doubled` (an event of another process), `altered` (a record is not what was written), `unexplained` (a gap), `renamed`
    (another identity), `state` (what is kept beside the records does not fit them).
    """

    kind: str
    text: str


@dataclass(slots=True)
class Ledger:
    """Everything noted so far."""

    offered: dict[int, bytes] = field(default_factory=dict)
    """Number -> the bytes last written under it."""
    durable_seq: int = 0
    """What `sync_to_disk` returned."""
    handed: dict[int, bytes] = field(default_factory=dict)
    """Number -> the bytes an upload was given under it."""
    acked_max: int = 0
    """The largest number the server confirmed."""
    evictable: set[int] = field(default_factory=set)
    """Numbers that may have been given up for room."""
    excused: set[int] = field(default_factory=set)
    """Numbers that an earlier power cut took before anything was promised of them; a loss stands for them since."""
    rotted: set[int] = field(default_factory=set)
    """Numbers that a repair could not bring back though nothing cut it short."""
    is_rotten: bool = False
    """Whether the main file rotted: a repair is due or was done, and only records are promised."""
    snapshots: dict[int, list[bytes]] = field(default_factory=dict)
    """Number -> states that were kept as of it."""
    identity: tuple[str, str] | None = None
    """Installation and incarnation that the store opened with last."""
    installation: str = ""
    """The one that something was promised or sent under first: it stays for life."""
    incarnation: str = ""
    """The one that something was promised or sent under last: it stays until a repair."""
    visited: set[str] = field(default_factory=set)
    """Events of other processes that were to outlive a power cut."""
    adopted: dict[str, int] = field(default_factory=dict)
    """Events of other processes -> the number they came into the log under."""

    def play(self, event: Any) -> None:
        """The next event of a tape; only notes count."""
        if isinstance(event, Note):
            getattr(self, f"_{event.kind}")(event.value)

    def _offered(self, value: dict[int, bytes]) -> None:
        self.offered.update(value)

    def _durable(self, value: int) -> None:
        self.durable_seq = max(self.durable_seq, value)
        if value:
            self._name()

    def _handed(self, value: dict[int, bytes]) -> None:
        self.handed.update(value)
        self._name()

    def _name(self) -> None:
        if self.identity is not None:
            self.installation = self.installation or self.identity[0]
            self.incarnation = self.identity[1]

    def _evicting(self, value: set[int]) -> None:
        self.evictable |= value  # filled in when the call was over

    def _acked(self, value: int) -> None:
        self.acked_max = max(self.acked_max, value)

    def _snapshot(self, value: tuple[int, bytes]) -> None:
        self.snapshots.setdefault(value[0], []).append(value[1])

    def _identity(self, value: tuple[str, str]) -> None:
        self.identity = value

    def _rotted(self, value: set[int]) -> None:
        self.rotted |= value  # filled in when the repair was done
        self.is_rotten = True
        self.incarnation = ""  # a new numbering begins, and counts once something is promised under it

    def _visited(self, value: set[str]) -> None:
        self.visited |= value

    def _adopted(self, value: dict[str, int]) -> None:
        self.adopted.update(value)

    def _excused(self, value: set[int]) -> None:
        self.excused |= {seq for seq in value if seq > self.durable_seq and seq not in self.handed}

    def _step(self, value: str) -> None:
        pass

    def _begun(self, value: None) -> None:
        pass


def judge(root: Path, ledger: Ledger) -> list[Wrong]:
    """Open what is left with the code as it is, and say what does not hold."""
    try:
        log = Log(root / STORE, bounds=ROOM)
    except (ReflexArcError, OSError) as error:
        return [Wrong("malformed", f"it does not open: {error}")]
    try:
        return _Judge(log, ledger).wrongs()
    except ReflexArcError as error:
        return [Wrong("malformed", f"it fails in use: {error}")]
    finally:
        log.close()


class _Judge:
    def __init__(self, log: Log, ledger: Ledger) -> None:
        self._log = log
        self._ledger = ledger
        self._wrongs: list[Wrong] = []
        self._gone: set[int] = set()

    def wrongs(self) -> list[Wrong]:
        self._opened()
        rows = self._rows()
        self._identity()
        self._contents(rows)
        self._numbers(rows)
        self._promises(rows)
        if not self._ledger.is_rotten:
            self._states(rows)
        self._visitors()
        self._goes_on()
        return self._wrongs

    def _say(self, kind: str, text: str) -> None:
        self._wrongs.append(Wrong(kind, text))

    def _rows(self) -> dict[int, tuple[bytes, Record]]:
        self._log.drain()
        rows = list(self._log.read_rows(0, 2**31))
        return {row.seq: (row.body, record) for row, record in rows}

    def _opened(self) -> None:
        repair = self._log.spool.repair
        if repair.set_aside and any("store.db" in name for name in repair.set_aside) and not self._ledger.is_rotten:
            self._say("malformed", f"the store was set aside: {repair.notes}")
        with self._log.spool.store.reading() as db:
            found = db.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            self._say("malformed", f"integrity_check: {found[:3]}")

    def _identity(self) -> None:
        if self._ledger.installation not in ("", self._log.installation):
            self._say("renamed", "another installation than the one that was promised under")
        if self._ledger.incarnation not in ("", self._log.incarnation):
            self._say("renamed", "another numbering than the one that was promised under")

    def _contents(self, rows: dict[int, tuple[bytes, Record]]) -> None:
        for seq, (body, record) in rows.items():
            if isinstance(record, LossOutput):
                continue
            if body != self._ledger.offered.get(seq):
                self._say("altered", f"record {seq} is not what was written")
            if seq in self._ledger.handed and body != self._ledger.handed[seq]:
                self._say("reused", f"record {seq} is not what was sent under this number")

    def _numbers(self, rows: dict[int, tuple[bytes, Record]]) -> None:
        """Every number has a record, or a loss that names it, or is held by the server and covered by the snapshot."""
        log = self._log
        expected = 1 + min(log.acked_seq, log.spool.covered_seq)
        for seq in sorted(rows):
            record = rows[seq][1]
            if seq > expected:
                self._say("unexplained", f"nothing says why {expected} to {seq - 1} are not there")
            expected = max(expected, seq + 1)
            if isinstance(record, LossOutput):
                if record.first_seq != seq or record.count != record.last_seq - seq + 1:
                    self._say("unexplained", f"a loss under {seq} says {record}")
                doubled = [number for number in range(seq + 1, record.last_seq + 1) if number in rows]
                if doubled:
                    self._say("unexplained", f"{doubled[:3]} are there and said to be lost: {record}")
                expected = max(expected, record.last_seq + 1)
        if log.last_seq > expected - 1:
            self._say("unexplained", f"nothing says why {expected} to {log.last_seq} are not there")

    def _promises(self, rows: dict[int, tuple[bytes, Record]]) -> None:
        """What was to outlive a power cut is there, was held by the server, or was given up for room while all was well."""
        log, ledger = self._log, self._ledger
        if log.acked_seq > ledger.acked_max:
            self._say("state", f"{log.acked_seq} are said to be at the server, which confirmed {ledger.acked_max}")
        cut_upto = min(log.acked_seq, log.spool.covered_seq)
        given_up = ledger.rotted | ledger.excused
        for _, record in rows.values():
            if isinstance(record, LossOutput) and record.reason == "evicted":
                given_up.update(ledger.evictable.intersection(range(record.first_seq, record.last_seq + 1)))
        owed: set[int] = set(range(1, ledger.durable_seq + 1)) | ledger.handed.keys()
        missing = sorted(
            seq
            for seq in owed
            if seq > cut_upto and seq not in given_up and (seq not in rows or isinstance(rows[seq][1], LossOutput))
        )
        if missing:
            self._say("lost", f"{len(missing)} of {ledger.durable_seq} durable records are gone: {missing[:5]}")
        self._gone = given_up | set(range(1, cut_upto + 1))

    def _states(self, rows: dict[int, tuple[bytes, Record]]) -> None:
        """What is kept beside the records fits them."""
        log, ledger = self._log, self._ledger
        try:
            seq, head, subjects = log.snapshot()
        except ReflexArcError as error:
            self._say("state", f"the snapshot cannot be read: {error}")
        else:
            if head is not None and state_bytes(head, subjects) not in ledger.snapshots.get(seq, []):
                self._say("state", f"the snapshot as of {seq} is none that was kept")
            if seq > log.last_seq:
                self._say("state", f"the snapshot holds {seq} records, the log {log.last_seq}")
        records = [record for _, record in rows.values()]
        positions = [record.event.source_position for record in records if isinstance(record, EventInput)]
        if max(positions, default=-1) > log.position_max:
            self._say("state", f"position {max(positions)} is stored, {log.position_max} is said to be the last")
        handed = {record.decision_id for record in records if isinstance(record, HandedOutput)}
        fired = {
            record.decision.decision_id
            for record in records
            if isinstance(record, DecisionOutput) and record.decision.reason is Reason.FIRED
        }
        waiting = {decision.decision_id for decision in log.pending()}
        if waiting & handed or not fired - handed <= waiting:
            self._say("state", "the actions that wait are not those that fired and were never handed over")
        catalogs = log.catalogs()
        for record in records:
            if isinstance(record, CatalogInput) and record.catalog_digest not in catalogs:
                self._say("state", f"the catalog {record.catalog_digest} is named by a record and gone")
        if log.stats()["dead_letters"]:
            self._say("state", "there are dead letters")

    def _visitors(self) -> None:
        """What other processes were told to be durable comes in, once."""
        log, ledger = self._log, self._ledger
        others = OthersCaptures(log.folder, log.taken())
        adopt(log, others)
        others.close()
        events = [record.event.event_id for _, record in log.records(0) if isinstance(record, EventInput)]
        held = Counter(event_id for event_id in events if event_id.startswith("v"))
        lost = sorted(
            event_id for event_id in ledger.visited if not held[event_id] and ledger.adopted.get(event_id) not in self._gone
        )
        if lost:
            self._say("lost", f"{len(lost)} of {len(ledger.visited)} durable events of other processes are gone: {lost[:5]}")
        doubled = sorted(event_id for event_id, count in held.items() if count > 1)
        if doubled:
            self._say("doubled", f"events of other processes came in twice: {doubled[:5]}")

    def _goes_on(self) -> None:
        """New records get numbers nobody was told before, and are there at once."""
        log, ledger = self._log, self._ledger
        promised = max(ledger.durable_seq, *ledger.handed) if ledger.handed else ledger.durable_seq
        held = log.last_seq
        record = EventInput(Moment(5), Event("after", "page_view", "known:9", 5, {}, {}))
        first = log.append([record])
        if first != held + 1 or first <= promised:
            self._say("reused", f"number {first} is given out again: {promised} were promised")
        log.sync_to_disk()
        log.drain()
        batch = upload_batch(log, 10_000, 1 << 30)
        said = [record for _, record in log.records(0) if isinstance(record, LossOutput)]
        made_up = [loss for loss in batch.losses if loss not in said and loss.reason != "renumbered"]
        if made_up:
            self._say("unexplained", f"an upload has to say for itself what is not there: {made_up}")
        if not batch.records or batch.records[-1][::2] != (first, record):
            self._say("altered", f"record {first} was written and is not read back")


def state_bytes(head: dict[str, Any], subjects: dict[str, Any]) -> bytes:
    """A kept state as bytes that can be compared."""
    return pack([head, sorted(subjects.items())])


def body_of(record: Record) -> bytes:
    """A record as a store that is not sealed holds it."""
    return encode(record)[1]
