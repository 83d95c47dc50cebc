"""Checksums of the newest records of each numbering, by which another history with the same numbers is told apart.

Owns their form: a few hundred (number, checksum) pairs a row, so that a batch costs a row or two, and a numbering a bounded
number of them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from reflexarc_server.store.port import CHECKS_MAX

_PAIR: Final = struct.Struct("<qI")
_PAIRS_A_ROW: Final = 250
_ROW_BYTES: Final = _PAIRS_A_ROW * _PAIR.size

Execute = Callable[..., Any]


def between(execute: Execute, name: tuple[str, str], first_seq: int, last_seq: int) -> tuple[int, dict[int, int]]:
    """See Transaction.checks. name: installation and incarnation."""
    query = "SELECT min(first_seq), count(*) FROM checks WHERE installation = ? AND incarnation = ?"
    oldest, row_count = execute(query, name).fetchone()
    if 0 < row_count <= CHECKS_MAX // _PAIRS_A_ROW:
        oldest = 1  # nothing was let go yet: what is before the first one was a loss
    rows = execute(
        "SELECT entries FROM checks WHERE installation = ?1 AND incarnation = ?2 AND first_seq <= ?4 AND first_seq >="
        " coalesce((SELECT max(first_seq) FROM checks WHERE installation = ?1 AND incarnation = ?2 AND first_seq <= ?3), 0)",
        (*name, first_seq, last_seq),
    ).fetchall()
    held = {seq: check for (entries,) in rows for seq, check in _PAIR.iter_unpack(entries) if first_seq <= seq <= last_seq}
    return oldest or 0, held


def keep(execute: Execute, name: tuple[str, str], fresh: Sequence[tuple[int, int]]) -> None:
    """See Transaction.keep_checks."""
    newest = execute(
        "SELECT first_seq, entries FROM checks WHERE installation = ? AND incarnation = ? ORDER BY first_seq DESC LIMIT 1", name
    ).fetchone()
    if newest is not None and fresh and fresh[0][0] <= _PAIR.unpack_from(newest[1], len(newest[1]) - _PAIR.size)[0]:
        _insert(execute, name, fresh)
        return
    entries = struct.pack("<" + "qI" * len(fresh), *chain.from_iterable(fresh))
    if newest is not None and len(newest[1]) < _ROW_BYTES:
        entries = newest[1] + entries
    _write(execute, name, entries)
    if newest is None or len(entries) > _ROW_BYTES or len(newest[1]) >= _ROW_BYTES:
        execute(
            "DELETE FROM checks WHERE installation = ?1 AND incarnation = ?2 AND first_seq < (SELECT first_seq FROM checks"
            " WHERE installation = ?1 AND incarnation = ?2 ORDER BY first_seq DESC LIMIT 1 OFFSET ?3)",
            (*name, CHECKS_MAX // _PAIRS_A_ROW),
        )


def _insert(execute: Execute, name: tuple[str, str], late: Sequence[tuple[int, int]]) -> None:
    """Put pairs where their numbers belong, among those that are kept: what came late is rare."""
    query = "SELECT first_seq FROM checks WHERE installation = ? AND incarnation = ? ORDER BY first_seq"
    firsts = [row[0] for row in execute(query, name).fetchall()]
    by_row: dict[int, dict[int, int]] = {}
    for seq, check in late:
        by_row.setdefault(firsts[max(0, bisect_right(firsts, seq) - 1)], {})[seq] = check
    of_row = "installation = ? AND incarnation = ? AND first_seq = ?"
    for first, pairs in by_row.items():
        (entries,) = execute(f"SELECT entries FROM checks WHERE {of_row}", (*name, first)).fetchone()
        pairs |= dict(_PAIR.iter_unpack(entries))
        execute(f"DELETE FROM checks WHERE {of_row}", (*name, first))
        _write(execute, name, b"".join(_PAIR.pack(seq, pairs[seq]) for seq in sorted(pairs)))


def _write(execute: Execute, name: tuple[str, str], entries: bytes) -> None:
    for at in range(0, len(entries), _ROW_BYTES):
        part = entries[at : at + _ROW_BYTES]
        execute("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)", (*name, _PAIR.unpack_from(part)[0], part))
