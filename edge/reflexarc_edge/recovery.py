"""Recovery: the engine as a log left it, whatever is left of the log.

Snapshot, then the records behind it. Owns what is given up when a part cannot be read, and the words for it: a store that
rotted must open all the same. Must never write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reflexarc_core.catalog import Catalog
from reflexarc_core.engine import Engine
from reflexarc_core.errors import ReflexArcError, StorageError
from reflexarc_core.replay import fold
from reflexarc_core.state import State
from reflexarc_edge.log import Log


@dataclass(slots=True)
class Recovered:
    """The engine, the number of the last record its snapshot holds, how many records were folded behind it, and what had
    to be given up, one line each."""

    engine: Engine
    snapshot_seq: int
    record_count: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)


def recover(log: Log) -> Recovered:
    """A new store has an empty catalog. Where the snapshot or the catalog it belongs to is gone, the state begins anew with
    the oldest record kept. Raises StorageError when the log cannot be read at all.
    """
    notes: list[str] = []
    catalogs = _catalogs(log, notes)
    snapshot_seq, state = _kept_state(log, catalogs, notes)
    engine = Engine(catalogs.get(state.catalog_digest, Catalog()), "edge", state, log.installation)
    found = Recovered(engine, snapshot_seq, notes=notes)
    for _, record in log.records(snapshot_seq):
        try:
            for _ in fold(engine, [record], catalogs):
                pass
        except ReflexArcError as error:  # its catalog is gone, or it never was a sound input
            found.note(f"records of the log could not be folded again: {error.message}")
        found.record_count += 1
    return found


def _kept_state(log: Log, catalogs: Mapping[str, Catalog], notes: list[str]) -> tuple[int, State]:
    try:
        snapshot_seq, head, subjects = log.snapshot()
        if head is None:
            return 0, State()
        state = State.from_plain(head, subjects)
        if state.catalog_digest in catalogs or state.catalog_digest in ("", Catalog().digest):
            return snapshot_seq, state
        why = f"the catalog {state.catalog_digest[:12]} it belongs to is gone"
    except StorageError as error:
        why = error.message
    except Exception as error:  # bytes that unpack, and are no state all the same
        why = f"it cannot be read ({type(error).__name__})"
    log.spool.state_lost = True
    notes.append(f"the kept state was given up: {why}; it begins anew with the oldest record kept")
    return 0, State()


def _catalogs(log: Log, notes: list[str]) -> dict[str, Catalog]:
    found: dict[str, Catalog] = {}
    for digest, built in log.catalogs().items():
        try:
            catalog = Catalog.from_bytes(built)
        except Exception:  # a byte that changed may break it anywhere
            catalog = None
        if catalog is not None and catalog.digest == digest:
            found[digest] = catalog
        else:
            notes.append(f"the kept catalog {digest[:12]} cannot be read")
    return found
