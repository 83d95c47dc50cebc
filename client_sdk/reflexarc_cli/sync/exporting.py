"""What a device has for its server, as files, for `reflexarc sync export`.

Owns the names of the files and when they are there: each is written aside, fsynced and renamed, so a torn one never has its
name. An export that was cut short goes on behind the parts that are there. Changes nothing in the store, and holds one batch in
memory, however much there is to send.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import reflexarc
from reflexarc.bundle import Bundles
from reflexarc.config import Config
from reflexarc.transport import push_request
from reflexarc_cli.misuse import Misused
from reflexarc_cli.store.completing import completing
from reflexarc_cli.store.inspection import captures_waiting, read_journals
from reflexarc_cli.store.look import Look
from reflexarc_cli.store.place import check_seal, owner_of
from reflexarc_cli.sync.outbox import LookedOutbox
from reflexarc_core.errors import DefinitionError, ManifestError, ReflexArcError, StorageError, SyncFileError
from reflexarc_core.secret import derive_file_key
from reflexarc_edge.journal import sync_folder
from reflexarc_edge.log import Log
from reflexarc_edge.seal import Seal
from reflexarc_edge.upload import UploadBatch, batch_behind
from reflexarc_edge.whole import whole_file
from reflexarc_proto.sync_file import FILE_BYTES_MAX, SyncFile, SyncFileWriter, new_header, verified
from reflexarc_proto.v1 import event_service_pb2, sync_file_pb2
from reflexarc_proto.wire import subject_to_proto

PARTS_MAX: Final = 999
PART_BYTES_MIN: Final = 65_536
SUBJECTS_MAX: Final = 5_000
SUBJECTS_AT_ONCE: Final = 100
_AROUND_BYTES: Final = 1_024
"""Header, end and mark."""
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """output: the file; with a bytes_max (0 for none) that of the parts OUTPUT.001 and so on, none of them larger.

    from_seq: number to begin with, 0 for the first one that the server has not acknowledged. unsigned: nobody signs. force:
    replace files that are there.
    """

    output: Path
    bytes_max: int = 0
    from_seq: int = 0
    unsigned: bool = False
    force: bool = False

    def path(self, part: int) -> Path:
        """The file of a part, counted from 1."""
        return self.output.with_name(f"{self.output.name}.{part:03}") if self.bytes_max else self.output


@dataclass(slots=True)
class Exported:
    """files: what is there now, in order; kept_count of them were there before. first_seq, last_seq: the numbers in them, none
    when last_seq is smaller. captures_waiting: of other processes, no records yet."""

    installation: str
    is_signed: bool
    acked_seq: int
    first_seq: int
    last_seq: int
    record_count: int = 0
    captures_waiting: int = 0
    files: list[Path] = field(default_factory=list)
    kept_count: int = 0

    def to_json(self) -> dict[str, Any]:
        """The same, JSON-able."""
        return {
            "installation": self.installation,
            "signed": self.is_signed,
            "acknowledged": self.acked_seq,
            "first": self.first_seq,
            "last": self.last_seq,
            "records": self.record_count,
            "captures_waiting": self.captures_waiting,
            "files": [str(path) for path in self.files],
        }


class _ChangedError(Exception):
    """The store was opened, or numbered anew, meanwhile: what was read is void."""


def export(folder: Path, wanted: Wanted, seal: Seal | None) -> Exported:
    """Write what the server has not acknowledged. Raises StorageError, SyncFileError, Misused."""
    if not wanted.bytes_max and wanted.output.exists() and not wanted.force:
        raise Misused(f"{wanted.output} is there already", hint="--force replaces it")
    with Look(folder) as look:  # before anything is written: it may be no store
        check_seal(folder, look.kept_key(), seal)
    bring_in_journal(folder, seal)
    for _ in range(_TRIES):
        with contextlib.suppress(_ChangedError), Look(folder) as look:
            return _export(folder, look, wanted, seal)
    raise StorageError(f"the store at {folder} is opened and closed all the time", hint="try again")


def bring_in_journal(folder: Path, seal: Seal | None) -> None:
    """Bring what only the journal of a killed process holds into the store, as its next start would. Raises StorageError."""
    if owner_of(folder).is_alive or not read_journals(folder, is_live=False).own:
        return
    try:
        Log(folder, seal=seal, complete=completing()).close()
    except StorageError:
        if not owner_of(folder).is_alive:  # else somebody opened it just now, and brings it in
            raise


def store_key(outbox: LookedOutbox, folder: Path) -> bytes:
    """The key that signs a device's files. Raises SyncFileError when the store has none yet."""
    secret = outbox.secret()
    if secret is None:
        raise SyncFileError(
            f"the store at {folder} has no key to sign with yet",
            hint=f"reflexarc sync key FILE --store {folder} makes one to take to the server; --unsigned does without",
        )
    return derive_file_key(secret)


def _export(folder: Path, look: Look, wanted: Wanted, seal: Seal | None) -> Exported:
    outbox = LookedOutbox(look, seal)
    key = None if wanted.unsigned else store_key(outbox, folder)
    first = wanted.from_seq or outbox.acked_seq + 1
    if first > outbox.upto_seq + 1:
        raise Misused(f"the store holds records up to {outbox.upto_seq}", hint=f"--from {outbox.upto_seq + 1} at most")
    found = Exported(outbox.installation, key is not None, outbox.acked_seq, first, first - 1)
    found.captures_waiting = captures_waiting(look, read_journals(folder, is_live=owner_of(folder).is_alive))
    part = 1
    while (path := wanted.path(part)).exists() and not wanted.force:
        found.last_seq = _kept(path, found, outbox, key).end.last_seq
        found.files.append(path)
        found.kept_count, part = part, part + 1
    source = _Source(outbox, found.last_seq, wanted.bytes_max, _usable_bundle(folder, str(outbox.meta("bundle", ""))))
    while source.ahead is not None or part == 1:
        if part > PARTS_MAX:
            raise Misused(f"that makes more than {PARTS_MAX} files", hint="give a larger --max-bytes")
        with _written(wanted.path(part), lambda: look.has_changed() or source.was_renumbered(look)) as stream:
            asked = outbox.subjects(SUBJECTS_MAX) if not found.record_count else []
            _write_part(stream, source, found, key, wanted.bytes_max, asked)
        found.files.append(wanted.path(part))
        part += 1
    return found


def _usable_bundle(folder: Path, digest: str) -> str:
    """The digest while that bundle is whole here: else the server's answer brings it again."""
    with contextlib.suppress(ManifestError, DefinitionError):
        return Bundles(folder / "bundles").open(digest).digest if digest else ""
    return ""


class _Source:
    """Batches one after the other, the next one ahead of being asked for. bundle: digest of the one in use, empty for none."""

    def __init__(self, outbox: LookedOutbox, after: int, file_bytes_max: int, bundle: str) -> None:
        config = Config()
        self.outbox: Final = outbox
        self.bundle: Final = bundle
        self._count_max = config.batch_records_max
        # A batch is measured as the store holds it; as a message it may be larger.
        self._bytes_max = min(config.batch_bytes_max, file_bytes_max // 4 or config.batch_bytes_max)
        self._after = after
        self.ahead: sync_file_pb2.SyncFrame | None = None
        self.batch: UploadBatch
        self.next()

    def next(self) -> None:
        """Make the next batch."""
        self.batch = batch_behind(self.outbox, self._after, self.outbox.upto_seq, self._count_max, self._bytes_max)
        self.ahead = None
        if self.batch.records or self.batch.last_seq > self._after:
            self._after = self.batch.last_seq
            self.ahead = sync_file_pb2.SyncFrame(push=push_request(self.batch, int(time.time() * 1000)))

    def was_renumbered(self, look: Look) -> bool:
        """Whether a repair began a new numbering meanwhile."""
        return look.packed_meta().get("incarnation") != self.outbox.packed_meta.get("incarnation")


def _write_part(
    stream: BinaryIO, source: _Source, found: Exported, key: bytes | None, bytes_max: int, asked: Sequence[str]
) -> None:
    """As many batches as one file holds. asked: subjects whose values are wanted, whether or not anything happened to them."""
    kind = sync_file_pb2.SYNC_FILE_KIND_BATCHES
    header = new_header(kind, found.installation, int(time.time() * 1000), reflexarc.__version__)
    header.incarnation, header.first_seq = source.outbox.incarnation, found.last_seq + 1
    header.have_bundle_digest = source.bundle
    writer = SyncFileWriter(stream, header, key)
    for start in range(0, len(asked), SUBJECTS_AT_ONCE):
        subjects = [subject_to_proto(subject) for subject in asked[start : start + SUBJECTS_AT_ONCE]]
        frame = sync_file_pb2.SyncFrame(wants=event_service_pb2.PullRequest(subjects=subjects))
        if bytes_max and writer.byte_count + frame.ByteSize() > bytes_max // 4:
            break
        writer.write(frame)
    is_empty = True
    while source.ahead is not None:
        size = writer.byte_count + source.ahead.ByteSize() + _AROUND_BYTES
        if size > (bytes_max or FILE_BYTES_MAX):
            if not is_empty and bytes_max:
                break
            raise Misused(f"{size:,} bytes are needed in one file", hint=f"--max-bytes {min(4 * size, FILE_BYTES_MAX)}")
        writer.write(source.ahead)
        is_empty = False
        found.record_count += len(source.batch.records)
        found.last_seq = source.batch.last_seq
        source.next()
    writer.end(found.last_seq)


def _kept(path: Path, found: Exported, outbox: LookedOutbox, key: bytes | None) -> SyncFile:
    """A part that an earlier run wrote, when this export would begin with it. Raises Misused when it is anything else."""
    try:
        part = verified(path, sync_file_pb2.SYNC_FILE_KIND_BATCHES, lambda _: key, allow_unsigned=key is None)
    except ReflexArcError:
        part = None
    ours = (found.installation, outbox.incarnation)
    if (
        part is None
        or (part.header.installation, part.header.incarnation) != ours
        or not part.header.first_seq <= found.last_seq + 1 <= part.end.last_seq + 1
    ):
        raise Misused(
            f"{path} is there already, and this export does not go on behind it", hint="--force replaces it; or take another name"
        )
    return part


@contextlib.contextmanager
def _written(path: Path, is_void: Callable[[], bool]) -> Iterator[BinaryIO]:
    """A file that takes its name when it is whole and durable. Raises StorageError, _ChangedError."""
    try:
        with whole_file(path) as stream:
            yield stream
            if is_void():
                raise _ChangedError
        with contextlib.suppress(OSError):  # the file systems of some sticks sync no folders
            sync_folder(path.parent)
    except FileNotFoundError:
        raise StorageError(f"{path.parent} is not there", hint="is the stick plugged in?") from None
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", hint="is the stick full? --max-bytes splits what there is over several"
        ) from None
