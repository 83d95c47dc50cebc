"""The sender: one batch after another, until the server holds everything.

Owns which batch is next (in turn, ahead of its turn, or half of one that was refused) and what an answer changes here. Believes
no number that was not sent, and deletes nothing. Must never wait: pacing is the uplink's. docs/sync.md says what it promises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from reflexarc.halving import Halving
from reflexarc.transport import Pushed, push_request
from reflexarc_core.errors import InvalidEventError, LimitError, TransportError
from reflexarc_edge.upload import UploadBatch, upload_batch, urgent_batch

if TYPE_CHECKING:
    from reflexarc.device import Device

EARLY_BACKLOG_BATCHES: Final = 2
"""An important event goes ahead of its turn when more than so many batches wait."""
EARLY_ROWS_MAX: Final = 20_000
"""Records looked through for important ones between two batches."""
ALONE_BYTES_MIN: Final = 65_536
"""A record refused for want of room is too large only from here on; a smaller one met a server that is busy."""
BATCH_BYTES_MIN: Final = 16_384
ANOTHER: Final = "another store goes on with this one's numbers"
KNOCK_RECORDS_MAX: Final = 10
"""Records of the first batch for a server that may be away: offline, nothing larger is read again and again."""


class Sender:
    """One device's. push: one call. Not safe for several threads: the sync thread's alone."""

    def __init__(self, device: Device, push: Callable[[UploadBatch], Pushed]) -> None:
        self._device = device
        self._push = push
        self._halving = Halving()
        self._bytes_max = device.config.batch_bytes_max
        self._is_introduced = False
        self._was_accepted = False
        self._renumbered_in_a_row = 0
        self._early_seq = 0
        self.counts = dict.fromkeys(("pushed", "early", "rejected", "refused", "rekeyed", "rewound"), 0)

    def introduce(self) -> None:
        """The connection is new: the next batch is sent even if it holds nothing, to learn how far that server is."""
        self._is_introduced = False

    def shrink(self) -> None:
        """A batch did not get through in time: the next ones are smaller, until one does."""
        self._bytes_max = max(BATCH_BYTES_MIN, self._bytes_max // 2)

    def send(self, target_seq: int = 2**62) -> tuple[UploadBatch, int] | None:
        """Send one batch: what was sent, and how long the server wants to be left alone, ms. None when it holds everything up
        to the target.

        Raises TransportError when it was not reached, or took nothing; whatever it said is kept then as well. StorageError.
        """
        log, config = self._device.log, self._device.config
        if self._is_introduced and log.acked_seq >= target_seq:
            return None
        log.drain()
        log.sync_to_disk()
        early = self._urgent()
        if early is not None:
            return early
        records_max = config.batch_records_max if self._is_introduced else min(config.batch_records_max, KNOCK_RECORDS_MAX)
        batch = upload_batch(log, self._halving.count(records_max), self._bytes_max)
        is_empty = not batch.records and not batch.losses
        if is_empty and self._is_introduced:
            return None
        try:
            answer = self._push(batch)
        except (InvalidEventError, LimitError) as error:
            if isinstance(error, LimitError) and error.retry_after_ms:
                raise
            self._refused(batch, error)
            return UploadBatch(batch.incarnation, 0), 0
        self._device.confirm_time(answer.server_time)
        self._settle(batch, answer)
        self._is_introduced = True
        return batch, answer.retry_after_ms

    # -- what the server said -------------------------------------------------------------------------------------

    def _settle(self, batch: UploadBatch, answer: Pushed) -> None:
        log = self._device.log
        if batch.incarnation != log.incarnation:  # the store was mended meanwhile, and everything is sent under new numbers
            return
        if answer.rekey:
            self._renumber(min(max(0, answer.upto_seq), batch.last_seq), ANOTHER)
            return
        before = log.acked_seq
        # No number is believed that was not sent: what lies behind it would never be sent at all.
        upto = min(answer.upto_seq, batch.last_seq)
        sent = {seq for seq, _, _ in batch.records if seq <= upto}
        rejected = {seq: reason for seq, reason in answer.rejected.items() if seq in sent}
        log.cursor.acknowledge(upto, rejected)
        self.counts["pushed"] += len(sent)
        self.counts["rejected"] += len(rejected)
        acknowledged = batch.previous_seq or (0 if answer.retry_after_ms else batch.renumbered_upto)
        if answer.upto_seq < acknowledged:
            if log.cursor.is_foreign(answer.upto_seq):
                self._renumber(0, f"the server went back to {answer.upto_seq}, which it never said to this store")
                return
            log.cursor.rewind(answer.upto_seq)
            self._early_seq = 0
            self._halving.clear()
            self.counts["rewound"] += 1
            lost = f"the server holds records up to {answer.upto_seq} only, though it acknowledged {acknowledged}"
            hint = "it was restored from an older copy; what is still here is sent again"
            self._device.note("sync", TransportError(lost, hint=hint))
            raise _not_now(lost, answer)
        if log.acked_seq > before:
            self._halving.passed(log.acked_seq)
            self._was_accepted = True
            self._renumbered_in_a_row = 0
            self._bytes_max = min(self._device.config.batch_bytes_max, self._bytes_max * 2)
        elif batch.last_seq > before:
            raise _not_now("the server took nothing of what was sent", answer)

    def _renumber(self, same_upto: int, why: str) -> None:
        """Somebody else goes on with our numbers, or may: we were copied, or put back to an earlier state."""
        log = self._device.log
        log.cursor.renumber(same_upto)
        self._halving.clear()
        self._early_seq = 0
        self.counts["rekeyed"] += 1
        self._renumbered_in_a_row += 1
        told = TransportError(
            f"{why}; a new numbering begins behind {same_upto}",
            hint="the store was copied, or put back to an earlier state, or the server was; nothing that is kept is lost by it",
        )
        self._device.note("sync", told)
        if self._renumbered_in_a_row > 1:  # a server that always says so is asked at the pace of failures
            raise told

    # -- a batch refused as a whole -------------------------------------------------------------------------------

    def _refused(self, batch: UploadBatch, error: InvalidEventError | LimitError) -> None:
        if not batch.records:
            raise TransportError(f"the server refuses what is no record: {error.message}")
        if not self._halving.refused([seq for seq, _, _ in batch.records]):
            return
        seq = batch.records[0][0]
        if isinstance(error, LimitError) and push_request(batch, 0).ByteSize() < ALONE_BYTES_MIN:
            raise TransportError(f"the server is busy: {error.message}")
        if not self._was_accepted:  # a server that takes nothing at all says nothing about this record
            self._push(UploadBatch(batch.incarnation, 0))
        self._device.log.cursor.refuse(seq, error.message)
        self._halving.buried(seq)
        self._was_accepted = False
        self.counts["refused"] += 1
        self._device.note("refused", error)

    # -- ahead of its turn ----------------------------------------------------------------------------------------

    def _urgent(self) -> tuple[UploadBatch, int] | None:
        """Send the important events of a long backlog; None when there are none, or the backlog is short."""
        log, config = self._device.log, self._device.config
        durable = log.spool.durable_seq
        if durable - log.acked_seq <= EARLY_BACKLOG_BATCHES * config.batch_records_max or not self._is_introduced:
            return None
        after = max(self._early_seq, log.acked_seq + config.batch_records_max)  # the batch whose turn it is holds the others
        upto = min(durable, after + EARLY_ROWS_MAX)
        if after >= upto:
            return None
        batch = urgent_batch(log, after, upto, config.batch_records_max, self._bytes_max)
        if not batch.records:
            self._early_seq = batch.last_seq
            return None
        try:
            answer = self._push(batch)
        except (InvalidEventError, LimitError) as error:
            if isinstance(error, LimitError) and error.retry_after_ms:
                raise
            self._early_seq = batch.last_seq  # one of them is bad: which one is found in their turn
            return None
        self._early_seq = batch.last_seq
        self.counts["early"] += len(batch.records)
        return batch, answer.retry_after_ms


def _not_now(message: str, answer: Pushed) -> TransportError:
    return LimitError(message, retry_after_ms=answer.retry_after_ms) if answer.retry_after_ms > 0 else TransportError(message)
