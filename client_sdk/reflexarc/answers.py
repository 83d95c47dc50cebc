"""A server's answers from a file, and what they do to a device: acknowledge, go back, values, pauses, models.

Owns what may be believed of a file that was checked: nothing is acknowledged that this store has not written itself, and of
two files the older one changes nothing but values. Applying a file again, or going on with one that was cut short, is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reflexarc.credential import file_key
from reflexarc.device import INBOX, Device
from reflexarc.sender import ANOTHER
from reflexarc.transport import down_of
from reflexarc_core.decision import Decision
from reflexarc_core.errors import (
    DefinitionError,
    InvalidEventError,
    ManifestError,
    ReflexArcError,
    ScoringError,
    StorageError,
    SyncFileError,
)
from reflexarc_core.record import LossOutput, ScoresInput
from reflexarc_edge.forget import REASON as ERASED
from reflexarc_edge.log import Log
from reflexarc_edge.store import Store

if TYPE_CHECKING:
    from reflexarc_proto.sync_file import SyncFile
    from reflexarc_proto.v1 import artifact_service_pb2, event_service_pb2, sync_file_pb2

SUFFIX: Final = ".answers"


@dataclass(slots=True)
class Applied:
    """What a file of answers did. is_old: the server has said newer things before. acked_seq: before and after. missing: numbers
    the server waits for. rejected: (number, reason) of records it refused for good, of some when there are many. bundle:
    digest of the one that became live. notes: what did not work, one line each."""

    acked_before: int
    acked_seq: int
    is_old: bool = False
    missing: list[tuple[int, int]] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    rejected_count: int = 0
    values_count: int = 0
    decision_count: int = 0
    bundle: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def went_back(self) -> bool:
        """Whether the server holds less than it did: what is behind its number is sent again."""
        return self.acked_seq < self.acked_before


def open_answers(path: Path, installation: str, key_of: Callable[[], bytes | None], *, allow_unsigned: bool) -> SyncFile:
    """A file of answers to this installation, checked whole. key_of: its file key, asked for when the file is signed.

    Raises SyncFileError, StorageError.
    """
    from reflexarc_proto.sync_file import header_of, verified
    from reflexarc_proto.v1 import sync_file_pb2

    is_unsigned = header_of(path).mark == sync_file_pb2.SYNC_FILE_MARK_SHA256

    def key_for(named: str) -> bytes | None:
        if named != installation:
            raise SyncFileError(
                f"{path.name} answers installation {named}, and this is {installation}", hint="take it to that device"
            )
        return None if is_unsigned else key_of()

    return verified(path, sync_file_pb2.SYNC_FILE_KIND_ANSWERS, key_for, allow_unsigned=allow_unsigned)


def apply_answers(device: Device, file: SyncFile) -> Applied:
    """Do what a checked file of answers says.

    Raises SyncFileError when they are of another history of this store, and nothing was done then; StorageError.
    """
    log = device.log
    log.drain()
    log.sync_to_disk()
    found = Applied(log.acked_seq, log.acked_seq)
    found.is_old = file.header.created_time < device.heard_time
    streams = [frame.stream for frame in file.frames() if frame.WhichOneof("body") == "stream"]
    if not found.is_old:
        for stream in streams:
            _check(log, stream)
        for stream in streams:
            _acknowledge(log, stream, found)
    frames = file.frames()
    sent: list[Decision] = []
    for frame in frames:
        body = frame.WhichOneof("body")
        if body == "down":
            sent += _receive(device, frame.down, found)
        elif body == "bundle" and not found.is_old:
            _take_bundle(device, frame.bundle, frames, found)
            break  # its pieces are the last thing in a file
    for decision in sent:  # behind the bundle: it may be the first that knows their triggers
        try:
            device.take_decision(decision)
            found.decision_count += 1
        except InvalidEventError as error:
            found.notes.append(f"a decision of the server was refused: {error}")
            device.note("decision", error)
    if not found.is_old:
        device.hear(file.header.created_time)
    found.acked_seq = log.acked_seq
    return found


# -- acknowledgements -------------------------------------------------------------------------------------------------


def _check(log: Log, stream: sync_file_pb2.StreamAnswer) -> None:
    """Raises SyncFileError when the server holds another history under our numbers, and does not know it."""
    upto = stream.answer.upto_seq
    if stream.incarnation != log.incarnation or stream.answer.rekey:
        return
    if upto < 0 or upto > log.last_seq or not _is_ours(log, upto, stream.upto_check):
        raise SyncFileError(
            f"the server holds another history under this store's numbers, up to {upto:,}; the newest here is {log.last_seq:,}",
            hint="was the store copied, or an older one put back? Export from it: the answers to that give it numbers of its own",
        )


def _is_ours(log: Log, seq: int, check: int) -> bool:
    """Whether the server's record of that number is ours, as far as can be told."""
    known = log.check_of(seq) if seq and check else 0
    if not known or known == check:
        return True
    # What was lost since it was sent has another checksum, and rightly; where somebody was erased, scores of several people too.
    changed = LossOutput | ScoresInput if _has_erased(log) else LossOutput
    return any(row.seq == seq and isinstance(record, changed) for row, record in log.read_rows(seq - 1, 1, seq))


def _has_erased(log: Log) -> bool:
    def look(store: Store) -> bool:
        with store.reading() as db:
            return db.execute("SELECT 1 FROM erased LIMIT 1").fetchone() is not None

    return log.spool.ask(look)


def _is_surely_ours(log: Log, seq: int, check: int) -> bool:
    """The same, known: then an old file was brought again, so old that the server could not compare its records any more."""
    return 0 < seq <= log.last_seq and check != 0 and log.check_of(seq) == check


def _is_vouched_for(log: Log, seq: int, check: int) -> bool:
    """Whether anything left here speaks for the server's record being ours: itself, or what an erasure made of it."""
    if _is_surely_ours(log, seq, check):
        return True
    left = [record for row, record in log.read_rows(seq - 1, 1, seq) if row.seq == seq]
    is_erased = any(isinstance(one, ScoresInput) or (isinstance(one, LossOutput) and one.reason == ERASED) for one in left)
    return is_erased and _has_erased(log)


def _renumber(log: Log, same_upto: int, found: Applied) -> None:
    log.cursor.renumber(same_upto)
    found.notes.append(
        f"{ANOTHER}: it was copied, or put back to an earlier state; a new numbering begins behind {same_upto:,}, and the next"
        " export carries what the server lacks"
    )


def _acknowledge(log: Log, stream: sync_file_pb2.StreamAnswer, found: Applied) -> None:
    upto = stream.answer.upto_seq
    if stream.incarnation != log.incarnation:
        found.notes.append(f"an earlier numbering of this store is held up to {upto:,}")
        return
    rejected = {verdict.seq: verdict.reason for verdict in stream.answer.verdicts}
    if stream.answer.rekey and not _is_surely_ours(log, upto, stream.upto_check):
        same_upto = min(max(0, stream.same_upto_seq), log.last_seq)
        _renumber(log, same_upto, found)
        return
    if upto < log.acked_seq and log.cursor.is_foreign(upto):
        _renumber(log, 0, found)
        return
    if upto > log.acked_seq and stream.upto_check and not _is_vouched_for(log, upto, stream.upto_check):
        found.notes.append(
            f"the server holds records up to {upto:,}; what was given up here since may be others, and is said again"
        )
        return
    log.cursor.acknowledge(upto, rejected)
    log.cursor.rewind(upto)
    if stream.upto_check and log.acked_seq == upto:
        log.cursor.correct(upto, stream.upto_check)
    found.missing += [(gap.first_seq, gap.last_seq) for gap in stream.missing]
    found.rejected += sorted(rejected.items())
    found.rejected_count += stream.rejected_count


# -- what else came down ----------------------------------------------------------------------------------------------


def _receive(device: Device, answer: event_service_pb2.PullResponse, found: Applied) -> tuple[Decision, ...]:
    """Values that are newer than those held; pauses, unless the server has said newer things. The decisions that came along."""
    down = down_of(answer)
    for digest, erase_time in down.erased:
        device.forget_told(digest, erase_time)
    moment = device.moment()
    for subject, as_of_time, values in down.values:
        if device.was_erased_since(subject, as_of_time):
            continue
        held = device.runtime.engine.state.subjects.get(subject)
        fresh = values if held is None else {
            name: value for name, value in values.items() if held.values.get(name, (None, -1))[1] < as_of_time
        }  # fmt: skip
        if fresh:
            device.runtime.values(subject, as_of_time, fresh, moment)
            found.values_count += len(fresh)
    for lease in down.leases:
        if not device.was_erased_since(lease[0], answer.server_time):
            device.runtime.lease(lease, moment)
    if not found.is_old and not device.online:  # else the server says so itself, and sooner
        device.pause_there(set(down.paused))
    return down.decisions


def _take_bundle(
    device: Device, answer: artifact_service_pb2.GetBundleResponse, frames: Iterator[sync_file_pb2.SyncFrame], found: Applied
) -> None:
    """Install and switch to the bundle whose files follow. One that is refused leaves everything as it is."""
    if not answer.digest:
        return

    def next_file(sha256: str, byte_count: int) -> bytes:
        content = bytearray()
        while True:
            frame = next(frames, None)
            piece = None if frame is None or frame.WhichOneof("body") != "piece" else frame.piece
            if piece is None or piece.sha256 != sha256 or piece.offset != len(content):
                raise ManifestError("the file does not hold the bundle whole")
            content += piece.chunk
            if len(content) >= byte_count:
                return bytes(content)

    try:
        with device.bundle_lock:
            if answer.digest == device.live_bundle or device.online:
                return
            device.make_live(device.bundles.install(answer.digest, answer.manifest_json, next_file))
        found.bundle = answer.digest
    except (ManifestError, DefinitionError, ScoringError) as error:
        found.notes.append(f"the server's models were refused: {error}")
        device.note("bundle", error)


# -- the inbox: answers handed to the process that owns the store -----------------------------------------------------


def take_inbox(device: Device) -> None:
    """Apply what another process checked and laid into the inbox, oldest first. Never raises."""
    try:
        waiting = sorted(path for path in (device.log.folder / INBOX).iterdir() if path.suffix == SUFFIX)
    except OSError:
        return
    for path in waiting:
        try:
            # Whoever laid an unsigned one there said that it is to be taken, and nobody else can write there.
            apply_answers(device, open_answers(path, device.log.installation, lambda: file_key(device.log), allow_unsigned=True))
        except StorageError as error:  # a full disk, say: it waits
            device.note("storage", error)
            return
        except ReflexArcError as error:
            device.note("sync", error)
        except Exception as error:  # a fault here must not end the thread that looks in
            device.note("internal", error)
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            device.note("storage", StorageError(f"{path} cannot be removed: {error.strerror}"))
