"""Sync files taken in: checked whole, then batch by batch through ingest, in the order of their numbers.

Owns what happens to a file that came before the one that belongs before it: it is laid by, and taken when that one was. A
batch that was stored is stored again to no effect, so whatever cut an import short, the next one ends it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reflexarc_core.errors import InvalidEventError, SyncFileError
from reflexarc_proto.sync_file import SyncFile, verified
from reflexarc_proto.v1 import event_pb2, event_service_pb2, sync_file_pb2
from reflexarc_server.ingest import DUPLICATE, LATER, REJECTED, STORED, Ingest
from reflexarc_server.store.port import Store
from reflexarc_server.sync_files.answering import Answering
from reflexarc_server.sync_files.keys import FileKeys
from reflexarc_server.sync_files.uploads import Uploads

REJECTED_NAMED_MAX: Final = 5_000
SUBJECTS_MAX: Final = 10_000
FILES_MAX: Final = 1_000
PIECE_BYTES: Final = 65_536


@dataclass(slots=True)
class Outcome:
    """What became of some files of one installation. streams: by numbering. subjects: whose values the device wants, each
    once: those its events were about, and others that it holds."""

    installation: str
    have_bundle_digest: str = ""
    file_ids: list[str] = field(default_factory=list)
    streams: dict[str, sync_file_pb2.StreamAnswer] = field(default_factory=dict)
    subjects: dict[bytes, event_pb2.Subject] = field(default_factory=dict)
    is_signed: bool = False

    def stream(self, incarnation: str) -> sync_file_pb2.StreamAnswer:
        """The answer of a numbering, as far as it is known."""
        if incarnation not in self.streams:
            self.streams[incarnation] = sync_file_pb2.StreamAnswer(incarnation=incarnation)
        return self.streams[incarnation]

    def ask_about(self, subjects: Iterable[event_pb2.Subject]) -> None:
        """The device wants the values of these."""
        for subject in subjects:
            if len(self.subjects) >= SUBJECTS_MAX:
                return
            self.subjects[subject.SerializeToString(deterministic=True)] = subject


class SyncFiles:
    """Takes in files and writes the answers. One import at a time."""

    def __init__(self, uploads: Uploads, keys: FileKeys, store: Store, ingest: Ingest, answering: Answering) -> None:
        self.uploads: Final = uploads
        self.keys: Final = keys
        self._store = store
        self._ingest = ingest
        self._answering = answering
        self._lock = threading.Lock()

    def receive(self, sha256: str, byte_count: int, offset: int, chunk: bytes) -> int:
        """See Uploads."""
        with self._lock:
            return self.uploads.receive(sha256, byte_count, offset, chunk)

    def apply(self, digests: Sequence[str], *, allow_unsigned: bool) -> Iterator[bytes]:
        """Take in uploaded files of one installation; the answers, in pieces.

        Raises SyncFileError when one of them is refused, and nothing of any was taken then; StorageError.
        """
        with self._lock:
            outcome = self._take_all(digests, allow_unsigned=allow_unsigned)
            answers = self._answering.written(outcome, self.keys.of(outcome.installation))
        with answers:
            while piece := answers.read(PIECE_BYTES):
                yield piece

    # -- inside ---------------------------------------------------------------------------------------------------

    def _take_all(self, digests: Sequence[str], *, allow_unsigned: bool) -> Outcome:
        if not 0 < len(digests) <= FILES_MAX:
            raise SyncFileError(f"{len(digests)} files at once", hint=f"1 to {FILES_MAX}")
        files = [self._verified(digest, allow_unsigned=allow_unsigned) for digest in dict.fromkeys(digests)]
        if len({file.header.installation for file in files}) > 1:
            raise SyncFileError("files of several installations at once", hint="import those of each device by themselves")
        newest = max(files, key=lambda file: file.header.created_time)
        outcome = Outcome(newest.header.installation, newest.header.have_bundle_digest, is_signed=newest.is_signed)
        for file in sorted(files, key=lambda file: file.header.first_seq):
            outcome.file_ids.append(file.header.file_id)
            self._take_or_lay_by(file, outcome)
        waiting = self._take_what_waited(outcome)
        for incarnation, answer in outcome.streams.items():
            self._finish(outcome.installation, answer, [f for f in waiting if f.header.incarnation == incarnation])
        return outcome

    def _verified(self, sha256: str, *, allow_unsigned: bool) -> SyncFile:
        path = self.uploads.whole(sha256)
        try:
            return verified(path, sync_file_pb2.SYNC_FILE_KIND_BATCHES, self.keys.of, allow_unsigned=allow_unsigned)
        except SyncFileError as error:
            self.uploads.drop(path)
            # Here it has the name of its digest; whoever brought it knows it by another.
            raise SyncFileError(error.message.replace(path.name, "the file"), hint=error.hint) from None

    def _take_or_lay_by(self, file: SyncFile, outcome: Outcome) -> bool:
        """Whether the whole file was taken."""
        try:
            is_whole = self._take(file, outcome)
        except SyncFileError:
            self.uploads.drop(file.path)
            raise
        if is_whole:
            self.uploads.drop(file.path)
        else:
            self.uploads.lay_by(file.path, outcome.installation)
        return is_whole

    def _take_what_waited(self, outcome: Outcome) -> list[SyncFile]:
        """Files that were laid by, as long as one of them fits now; those that still wait, in the order of their numbers."""
        held = [self._again(path) for path in self.uploads.laid_by(outcome.installation)]
        files = sorted((file for file in held if file is not None), key=lambda file: file.header.first_seq)
        while True:
            left = [file for file in files if not self._take_or_lay_by(file, outcome)]
            if len(left) == len(files):
                return left
            files = left

    def _again(self, path: Path) -> SyncFile | None:
        """A file that was checked when it was laid by; None, and it goes, when it is not what it was."""
        try:
            # Its key may have been replaced meanwhile: then it is refused like any other.
            return verified(path, sync_file_pb2.SYNC_FILE_KIND_BATCHES, self.keys.of, allow_unsigned=True)
        except SyncFileError:
            self.uploads.drop(path)
            return None

    def _take(self, file: SyncFile, outcome: Outcome) -> bool:
        """Take a file's batches in order; False when the rest waits for another file.

        What is held already is compared here and not pushed again. Where nothing can be compared, since the checksums are gone
        or the numbers were lost here, other batches of the file tell whose history it is.
        """
        found = outcome.stream(file.header.incarnation)
        is_told = False
        untold: event_service_pb2.PushRequest | None = None
        untold_seq = 0
        for frame in file.frames():
            if frame.WhichOneof("body") == "wants":
                outcome.ask_about(frame.wants.subjects)
                continue
            request = frame.push
            held_upto = self._upto(outcome.installation, request.incarnation)
            same = self._held_the_same(outcome.installation, request, held_upto)
            if same is not False:
                is_told |= same is True
                if same is None and untold is None:
                    untold, untold_seq = request, request.records[0].seq
                self._count_held(request, held_upto, outcome)
                if request.records[-1].seq <= held_upto:
                    continue
                request = _behind(request, held_upto)
            if self._comes_too_early(outcome.installation, request):
                return False
            if not self._push(request, outcome):
                return False
            is_told = True
            if found.answer.rekey:
                break  # another history of the store wrote it: it never fits
        if untold is not None and not is_told:
            self._push(untold, outcome)
        if found.answer.rekey and untold is not None:
            found.same_upto_seq = min(found.same_upto_seq, untold_seq - 1)
        return True

    def _push(self, request: event_service_pb2.PushRequest, outcome: Outcome) -> bool:
        try:
            answer = self._ingest.push(outcome.installation, request)
        except InvalidEventError as error:
            raise SyncFileError(f"a batch of the file is refused: {error}", hint="have it written again") from None
        if answer.rekey:
            outcome.stream(request.incarnation).same_upto_seq = answer.upto_seq
        return self._count(request, answer, outcome)

    def _upto(self, installation: str, incarnation: str) -> int:
        with self._store.transaction() as transaction:
            return transaction.stream(installation, incarnation).upto_seq

    def _held_the_same(self, installation: str, request: event_service_pb2.PushRequest, upto: int) -> bool | None:
        """Whether what a batch holds up to a number is held, record by record; None when no record of it can be compared, False
        when there is nothing, or another history."""
        records = [record for record in request.records if record.seq <= upto]
        if not records:
            return False
        with self._store.transaction() as transaction:
            oldest, held = transaction.checks(installation, request.incarnation, records[0].seq, records[-1].seq)
        pairs = [(held[one.seq], one.check) for one in records if one.check and held.get(one.seq)]
        if oldest <= records[0].seq and any(one.check and one.seq not in held for one in records):
            return False  # some were a loss here: ingest takes what comes late
        if not oldest or any(ours != theirs for ours, theirs in pairs):
            return False
        return True if pairs else None

    def _count_held(self, request: event_service_pb2.PushRequest, upto: int, outcome: Outcome) -> None:
        count = sum(record.seq <= upto for record in request.records)
        outcome.stream(request.incarnation).duplicate_count += count
        outcome.ask_about(record.event.event.subject for record in request.records if record.HasField("event"))
        with self._store.transaction() as transaction:
            transaction.count("resent", count)

    def _comes_too_early(self, installation: str, request: event_service_pb2.PushRequest) -> bool:
        """Whether a batch begins behind what is held: here that is no sign of records lost, only of another file to come."""
        numbers = [record.seq for record in request.records[:1]] + [loss.first_seq for loss in request.losses]
        return min(numbers, default=0) > self._upto(installation, request.incarnation) + 1

    def _count(self, request: event_service_pb2.PushRequest, answer: event_service_pb2.PushResponse, outcome: Outcome) -> bool:
        """Count what became of a batch; False when it came too early."""
        found = outcome.stream(request.incarnation)
        found.answer.rekey |= answer.rekey
        for verdict in answer.verdicts:
            if verdict.code == LATER:
                return False
            found.stored_count += verdict.code == STORED
            found.duplicate_count += verdict.code == DUPLICATE
            if verdict.code == REJECTED:
                found.rejected_count += 1
                if found.rejected_count <= REJECTED_NAMED_MAX:
                    found.answer.verdicts.append(verdict)
        outcome.ask_about(record.event.event.subject for record in request.records if record.HasField("event"))
        return True

    def _finish(self, installation: str, answer: sync_file_pb2.StreamAnswer, waiting: Sequence[SyncFile]) -> None:
        """How far the numbering is stored now, and what is missing for the files that wait."""
        with self._store.transaction() as transaction:
            stream = transaction.stream(installation, answer.incarnation)
        answer.answer.upto_seq, answer.upto_check = stream.upto_seq, stream.last_check
        upto = stream.upto_seq
        for file in waiting:
            if file.header.first_seq > upto + 1:
                answer.missing.add(first_seq=upto + 1, last_seq=file.header.first_seq - 1)
            upto = max(upto, file.end.last_seq)


def _behind(request: event_service_pb2.PushRequest, upto: int) -> event_service_pb2.PushRequest:
    """What a batch holds behind a number."""
    left = event_service_pb2.PushRequest()
    left.CopyFrom(request)
    check = next((record.check for record in request.records if record.seq == upto), 0)
    left.previous_seq, left.previous_check = upto, check
    del left.records[:]
    left.records.extend(record for record in request.records if record.seq > upto)
    return left
