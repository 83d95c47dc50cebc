"""The answers to sync files: acknowledgements, and whatever else is new for the device, as a file to take back.

Owns what is in it and its time, which is never given out twice. Acknowledges what the store holds and nothing else.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from reflexarc_core.errors import StorageError
from reflexarc_proto.sync_file import SyncFileWriter, new_header
from reflexarc_proto.v1 import artifact_service_pb2, event_service_pb2, sync_file_pb2
from reflexarc_server.clock import Clock
from reflexarc_server.distribution import Distribution
from reflexarc_server.live import Switch
from reflexarc_server.store.port import Store

if TYPE_CHECKING:
    from reflexarc_server.sync_files.applying import Outcome

SUBJECTS_AT_ONCE: Final = 1_000
CATCH_UP_S: Final = 20.0
LOOK_S: Final = 0.01
_TIME: Final = "time of the newest answers"

Pull = Callable[[str, event_service_pb2.PullRequest], event_service_pb2.PullResponse]
"""What EventService.Pull answers to an installation."""


class Answering:
    """Writes answers. lag: how many records are not folded yet; the values wait for those just taken, for a while."""

    def __init__(
        self, store: Store, distribution: Distribution, switch: Switch, clock: Clock, pull: Pull, lag: Callable[[], int]
    ) -> None:
        self._store = store
        self._distribution = distribution
        self._switch = switch
        self._clock = clock
        self._pull = pull
        self._lag = lag
        self._pause = threading.Event()

    def written(self, outcome: Outcome, key: bytes | None) -> BinaryIO:
        """The answers, to be read from the start and closed; no file has their name. Raises StorageError."""
        self._let_fold_catch_up()
        stream = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 -- the caller's, when it was written whole
        try:
            self._write(stream, outcome, key)
            stream.seek(0)
        except OSError as error:
            stream.close()
            raise StorageError(f"the answers cannot be written: {error.strerror}", hint="free some space on the disk") from None
        except BaseException:
            stream.close()
            raise
        return stream

    def _write(self, stream: BinaryIO, outcome: Outcome, key: bytes | None) -> None:
        now = self._new_time()
        header = new_header(sync_file_pb2.SYNC_FILE_KIND_ANSWERS, outcome.installation, now, _version())
        header.answers_file_ids.extend(outcome.file_ids)
        writer = SyncFileWriter(stream, header, key)
        for answer in outcome.streams.values():
            answer.answer.server_time = now
            writer.write(sync_file_pb2.SyncFrame(stream=answer))
        subjects = list(outcome.subjects.values())
        live = ""
        for start in range(0, max(1, len(subjects)), SUBJECTS_AT_ONCE):
            request = event_service_pb2.PullRequest(
                subjects=subjects[start : start + SUBJECTS_AT_ONCE], have_bundle_digest=outcome.have_bundle_digest
            )
            down = self._pull(outcome.installation, request)
            live = down.bundle_digest
            writer.write(sync_file_pb2.SyncFrame(down=down))
        if live and live != outcome.have_bundle_digest:
            self._write_bundle(writer, live)
        writer.end()

    def _write_bundle(self, writer: SyncFileWriter, digest: str) -> None:
        bundle = self._distribution.load(digest)
        manifest = artifact_service_pb2.GetBundleResponse(
            digest=bundle.digest, version=bundle.version, manifest_json=bundle.manifest
        )
        writer.write(sync_file_pb2.SyncFrame(bundle=manifest))
        for sha256 in bundle.device_files():
            offset = 0
            for chunk, _ in self._distribution.chunks(sha256, 0):
                writer.write(sync_file_pb2.SyncFrame(piece=sync_file_pb2.BundlePiece(sha256=sha256, offset=offset, chunk=chunk)))
                offset += len(chunk)

    def _new_time(self) -> int:
        """Now, and later than any answers before, however the clock was set meanwhile."""
        with self._store.transaction() as transaction:
            now = max(self._clock.now_ms(), int(self._store.kept(_TIME, 0)) + 1)
            transaction.keep(_TIME, now)
        return now

    def _let_fold_catch_up(self) -> None:
        wanted, deadline = self._store.last_seq(), time.monotonic() + CATCH_UP_S
        while self._store.last_seq() - self._lag() < wanted and time.monotonic() < deadline:
            self._pause.wait(LOOK_S)


def _version() -> str:
    try:
        return metadata.version("reflexarc")
    except metadata.PackageNotFoundError:
        return "source"
