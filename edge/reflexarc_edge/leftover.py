"""What a crash left in the journal: whose it is, which of it the store lacks, and what of it is neither frame nor zero.

Owns the first look into a journal at a start. Must never write a record: the spool stores what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from reflexarc_core.record import LossOutput
from reflexarc_edge.codec import encode
from reflexarc_edge.entry import HIGH, Entry
from reflexarc_edge.journal import Frame, Journal
from reflexarc_edge.repair import IDENTITY_FILE, Identity, Repair, identity_of, keep_bytes, set_aside
from reflexarc_edge.store import Store
from reflexarc_edge.upkeep import Bounds

OfFrame = Callable[[Identity, Frame], Iterable[Entry]]
"""(who wrote the journal, frame) -> its records as the store takes them."""


def open_journal(folder: Path, bounds: Bounds, store: Store, found: Repair) -> tuple[Journal, Identity, Identity]:
    """The journal of a folder, who this store is, and who wrote the journal: the same, or the same before a repair. Another
    store's journal is set aside. Raises StorageError.
    """
    journal = Journal(folder / "journal", bounds.segment_bytes)
    try:
        owner = journal.owner
        writer = None if owner is None else Identity(*owner)
        had_journal = (folder / IDENTITY_FILE).exists()  # a store of the first version has neither
        identity = identity_of(folder, store, writer)
    except BaseException:
        journal.close()
        raise
    if writer is not None and writer.installation != identity.installation:
        journal.close()
        set_aside(folder, [journal.path.name], found)
        found.notes.append("the journal belonged to another store and was set aside")
        journal, writer = Journal(folder / "journal", bounds.segment_bytes), None
    elif journal.is_new and store.last_seq and had_journal:
        found.notes.append("the journal was gone; what only it held is lost")
    return journal, identity, writer or identity


def left_in(journal: Journal, stored_seq: int, writer: Identity, of_frame: OfFrame, found: Repair) -> tuple[list[Entry], int]:
    """What the journal holds behind a number, frame by frame as it was written, and how many places of it are damaged."""
    scanned = journal.scan(stored_seq)
    entries: list[Entry] = []
    expected = stored_seq + 1
    is_torn = False
    for frame in scanned.frames:
        if frame.first_seq < expected:
            continue
        if frame.first_seq > expected:
            entries.append(gap(expected, frame.first_seq - 1))
            is_torn = True
        for entry in of_frame(writer, frame):
            # Behind a gap nobody knows how far another process's journal was taken: what came from there comes again.
            entries.append(gap(entry.seq, entry.seq) if is_torn and entry.taken is not None else entry)
        expected = frame.last_seq + 1
    if scanned.damage:
        keep_bytes(journal.path.parent, "journal", scanned.damage, found)
        size = sum(map(len, scanned.damage))
        found.notes.append(f"the journal held {size} bytes in {len(scanned.damage)} places that are no record")
    return entries, len(scanned.damage)


def gap(first: int, last: int) -> Entry:
    """What stands for numbers that were given out and are gone."""
    kind, body = encode(LossOutput("torn", first, last, last - first + 1))
    return Entry(first, kind, body, priority=HIGH)
