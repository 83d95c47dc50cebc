"""Whether a sender's numbers mean what they mean here: a cloned or restored device goes on with numbers that are taken.

Owns the comparison of what a sender says with the checksums that are kept. Must never change anything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from reflexarc_core.record import RENUMBERED, LossOutput
from reflexarc_server.store.port import Stream, Transaction


class Sent(NamedTuple):
    """What a sender says of its history. previous: (number, checksum) of the record it was acknowledged last. records: those it
    sends. losses: those it names."""

    previous: tuple[int, int]
    records: Sequence[tuple[int, int]]
    losses: Sequence[LossOutput] = ()


def same_upto(transaction: Transaction, stream: Stream, name: tuple[str, str], sent: Sent) -> int | None:
    """None while the sender's history is ours; else the number up to which both are the same, 0 when nobody knows.

    name: installation and incarnation. A checksum of 0 is compared with nothing, nor is a record at a number that was a loss
    here: a file that was written before it was given up may come late. A sender that names as lost what is held here, and shows
    nothing of what is held last, may be a copy that gave up records of its own: it is taken for one. So is one so old that its
    checksum is gone. To begin anew costs bandwidth only, since an event's id is kept for ever.
    """
    upto, previous = stream.upto_seq, sent.previous
    records = [(seq, check) for seq, check in sent.records if check and seq <= upto]
    if previous[1] and 0 < previous[0] <= upto:
        if previous[0] == upto and not records:  # nearly always
            return 0 if stream.last_check not in (0, previous[1]) else None
    else:
        previous = (0, 0)
    lost = [(loss.first_seq, min(loss.last_seq, upto)) for loss in sent.losses if loss.reason != RENUMBERED]
    lost = [(first, last) for first, last in lost if first <= last]
    if not records and not previous[0] and not lost:
        return None
    firsts = [previous[0]] if previous[0] else [each[0][0] for each in (records, lost) if each]
    same = previous[0] or min(firsts) - 1
    last = max([previous[0], *(seq for seq, _ in records[-1:]), *(last for _, last in lost)])
    oldest, held = transaction.checks(*name, min(firsts), last)
    if not oldest:
        return None  # nobody ever gave a checksum
    if previous[0] and held.get(previous[0], previous[1]) != previous[1]:
        return 0
    for seq, check in records:
        if seq < oldest or held.get(seq, check) not in (0, check):
            return same  # what lies between is lost there, and need not be here
        same = seq
    unseen = sorted(seq for seq in held if seq > same)
    return same if any(_holds(unseen, first, last) for first, last in lost) else None


def _holds(seqs: Sequence[int], first: int, last: int) -> bool:
    """Whether one of these, in order, lies between the two."""
    at = bisect_left(seqs, first)
    return at < len(seqs) and seqs[at] <= last
