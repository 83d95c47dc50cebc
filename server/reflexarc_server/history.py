"""Whether a sender's numbers mean what they mean here: a cloned or restored device goes on with numbers that are taken.

Owns the comparison of what a sender says with the checksums that are kept. Must never change anything.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from reflexarc_core.record import RENUMBERED, LossOutput
from reflexarc_server.store.port import Stream, Transaction


def same_upto(
    transaction: Transaction,
    stream: Stream,
    name: tuple[str, str],
    previous: tuple[int, int],
    records: Sequence[tuple[int, int]],
) -> int | None:
    """None while the sender's history is ours; else the largest number that both are known to have alike, 0 for none.

    name: installation and incarnation. previous: the (number, checksum) the sender was acknowledged last. records: those it
    sends. A checksum of 0 is compared with nothing, nor is a record at a number that was a loss here: a file that was written
    before it was given up may come late. One so old that its checksum is gone counts as another history: to begin anew costs
    bandwidth only, since an event's id is kept for ever.
    """
    upto = stream.upto_seq
    sent = [(seq, check) for seq, check in records if check and seq <= upto]
    if previous[1] and 0 < previous[0] <= upto:
        if previous[0] == upto and not sent:  # nearly always
            return 0 if stream.last_check not in (0, previous[1]) else None
    else:
        previous = (0, 0)
    if not sent and not previous[0]:
        return None
    first = previous[0] or sent[0][0]
    oldest, held = transaction.checks(*name, first, sent[-1][0] if sent else first)
    if not oldest:
        return None  # nobody ever gave a checksum
    same = 0
    for seq, check in (previous, *sent) if previous[0] else sent:
        ours = held.get(seq)
        if (seq < oldest and seq != previous[0]) or ours not in (None, 0, check):
            return same  # what lies between is lost there, and need not be here
        if ours == check:  # not what is only not denied: a copy may have said that all of it is lost
            same = seq
    return None


def unshown(
    transaction: Transaction,
    stream: Stream,
    name: tuple[str, str],
    previous: tuple[int, int],
    records: Sequence[tuple[int, int]],
    losses: Sequence[LossOutput],
) -> list[LossOutput]:
    """Losses behind the cursor over what is held here, of a sender that shows nothing of what is held last.

    It may be a copy that gave up records of its own under these numbers, or have given up what it never knew to be stored; nobody
    can tell. Given as to `same_upto`, for which both are the same history.
    """
    upto = stream.upto_seq
    over = [loss for loss in losses if loss.reason != RENUMBERED and loss.last_seq <= upto]
    if not over:  # nearly always
        return []
    shown = max([previous[0] if previous[1] else 0, *(seq for seq, check in records if check and seq <= upto)])
    over = [loss for loss in over if loss.last_seq > shown]
    if not over:
        return []
    _, held = transaction.checks(*name, max(shown + 1, min(loss.first_seq for loss in over)), upto)
    seqs = sorted(held)
    return [loss for loss in over if bisect_right(seqs, loss.last_seq) > bisect_left(seqs, loss.first_seq)]
