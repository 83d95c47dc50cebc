"""The cursor: how far the server holds this log, under which numbering, and which records it will never take.

Owns what an acknowledgement, its withdrawal and a new numbering change in the store, each in one transaction. Deletes no
record: what may be cut is the upkeep's to say.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from reflexarc_edge.repair import identity_of
from reflexarc_edge.spool import Spool
from reflexarc_edge.store import Row, Store

REASON_LENGTH_MAX: Final = 200
ACKED: Final = "acked_ends"
"""(number, checksum) of the newest numbers up to which the server said that it holds this log, oldest first."""
ENDS_MAX: Final = 64


class Cursor:
    """Of one log. Every method raises StorageError, and has changed nothing then."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def acknowledge(self, upto_seq: int, rejected: Mapping[int, str] | None = None) -> None:
        """The server holds everything up to this number. Numbers not yet written are refused.

        rejected: number -> why it judged that record and did not store it; a copy becomes a dead letter.
        """
        if self._spool.acked_seq < upto_seq <= self._spool.seq:
            self._keep(upto_seq, rejected or {})

    def rewind(self, upto_seq: int) -> None:
        """The server holds no more than this: what is behind it is sent again.

        One that is not even where this numbering began was restored from before that, and may lack what it was told under the
        numbering before: everything from there on that is still here is sent under this one.
        """
        if 0 <= upto_seq < self._spool.acked_seq:
            self._keep(upto_seq, {})

    def renumber(self, held_seq: int) -> None:
        """Begin a new numbering: somebody else goes on with ours. held_seq: up to where the server holds this history."""

        def begin(store: Store) -> None:
            with store.transaction():
                store.keep_meta("incarnation", secrets.token_hex(16))
                store.keep_meta("numbered_from", held_seq)
                store.keep_meta(ACKED, [])
                self._move(store, held_seq)
            store.sync_to_disk()

        self._spool.ask(begin)
        self._spool.acked_seq = held_seq
        self._spool.identity = identity_of(self._spool.folder, self._spool.store)

    def refuse(self, seq: int, reason: str) -> None:
        """The server refuses this record whatever surrounds it: a dead letter, and a loss wherever it would be sent.

        The record itself stays: the engine folded it.
        """

        def bury(store: Store) -> None:
            with store.transaction():
                held = [kept for kept in store.meta("refused", []) if kept > self._spool.acked_seq and kept != seq]
                store.keep_meta("refused", [*held, seq])
                _copy(store, {seq: f"refused: {reason}"})

        self._spool.ask(bury)

    def check_of(self, seq: int) -> int:
        """Checksum of a record as it was acknowledged, else as it is held; 0 when nobody knows it."""
        check: int = self._spool.ask(lambda store: kept_check(store.meta(ACKED, []), seq) or store.check_of(seq))
        return check

    def is_foreign(self, upto_seq: int) -> bool:
        """Whether a server that goes back to this number cannot mean our history: it never acknowledged just that much to us, and
        what stood there is gone, so that nothing can be compared. A copy of this store told it so."""

        def look(store: Store) -> bool:
            ends = store.meta(ACKED, [])
            may_be = not ends or upto_seq <= ends[0][0] or any(seq == upto_seq for seq, _ in ends)
            return not (may_be or store.check_of(upto_seq))

        return upto_seq > 0 and bool(self._spool.ask(look))

    def correct(self, upto_seq: int, check: int) -> None:
        """The server says what it holds there, whatever became of our copy of that record."""

        def keep(store: Store) -> None:
            with store.transaction():
                ends = [end for end in store.meta(ACKED, []) if end[0] < upto_seq]
                store.keep_meta(ACKED, [*ends, [upto_seq, check]])

        self._spool.ask(keep)

    def _keep(self, upto_seq: int, rejected: Mapping[int, str]) -> None:
        def keep(store: Store) -> None:
            with store.transaction():
                if upto_seq < self._spool.acked_seq and upto_seq < store.meta("numbered_from", 0):
                    store.keep_meta("numbered_from", 0)
                self._move(store, upto_seq)
                _copy(store, {seq: f"rejected: {reason}" for seq, reason in rejected.items()})

        self._spool.ask(keep)
        self._spool.acked_seq = upto_seq

    def _move(self, store: Store, upto_seq: int) -> None:
        if upto_seq < self._spool.acked_seq:  # what is gone of that was not lost here: the server held it once
            store.keep_meta("held_once", max(store.meta("held_once", 0), self._spool.acked_seq))
        ends = [end for end in store.meta(ACKED, []) if end[0] <= upto_seq]
        if not ends or ends[-1][0] != upto_seq:
            ends.append([upto_seq, store.check_of(upto_seq)])
        store.keep_meta("acked_seq", upto_seq)
        store.keep_meta(ACKED, ends[-ENDS_MAX:])


def _copy(store: Store, reasons: Mapping[int, str]) -> None:
    letters: list[tuple[Row, str]] = []
    for seq, reason in reasons.items():
        row = store.last_held(seq)
        if row is not None and row.seq == seq:
            letters.append((row, reason[:REASON_LENGTH_MAX]))
    if letters:
        store.bury(letters, None)


def kept_check(ends: Sequence[Sequence[int]], seq: int) -> int:
    """Checksum kept of a number that was acknowledged, 0 for none."""
    return next((check for held, check in reversed(ends) if held == seq), 0)
