"""Sync files made by hand, and brought to a server: what the tests of the air gap stand on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reflexarc.backend import Backend
from reflexarc_cli.store.look import Look
from reflexarc_cli.sync.delivering import Delivered, Remote, deliver
from reflexarc_cli.sync.exporting import Wanted, export
from reflexarc_cli.sync.keys import key_of_store
from reflexarc_cli.sync.outbox import LookedOutbox
from reflexarc_cli.sync.receiving import Received, receive
from reflexarc_proto.sync_file import SyncFile, SyncFileWriter, new_header, verified
from reflexarc_proto.v1 import event_service_pb2, sync_file_pb2, sync_file_service_pb2
from reflexarc_server.app import Server
from tests.server.kit import T0, Stubs, event_record, page

INSTALLATION = "device-1"
KEY = bytes(range(32))
INCARNATION = "one"
ANSWERS = sync_file_pb2.SYNC_FILE_KIND_ANSWERS
BATCHES = sync_file_pb2.SYNC_FILE_KIND_BATCHES


def check_of(seq: int) -> int:
    """The checksum of a device's record; here a function of its number."""
    return seq * 7_919 % 2**32


def push_request(
    first: int, last: int, installation: str = INSTALLATION, incarnation: str = INCARNATION
) -> event_service_pb2.PushRequest:
    """A batch of events as a device numbers them."""
    return event_service_pb2.PushRequest(
        incarnation=incarnation,
        records=[
            event_record(seq, replace(page(seq, f"known:{seq % 7}", T0 + seq), event_id=f"{installation}-{seq}"), check_of(seq))
            for seq in range(first, last + 1)
        ],
        previous_check=check_of(first - 1),
    )


def write_batches(
    path: Path,
    requests: Iterable[event_service_pb2.PushRequest],
    *,
    key: bytes | None = KEY,
    installation: str = INSTALLATION,
    first_seq: int = 1,
    last_seq: int = 0,
    incarnation: str = INCARNATION,
) -> Path:
    """A device's file of these batches."""
    header = new_header(BATCHES, installation, T0, "test")
    header.incarnation, header.first_seq = incarnation, first_seq
    with path.open("wb") as stream:
        writer = SyncFileWriter(stream, header, key)
        for request in requests:
            writer.write(sync_file_pb2.SyncFrame(push=request))
        writer.end(last_seq)
    return path


def file_of(
    path: Path, first: int, last: int, *, installation: str = INSTALLATION, key: bytes | None = KEY, batch: int = 10
) -> Path:
    """A device's file with the records from first to last."""
    starts = range(first, last + 1, batch)
    requests = [push_request(start, min(last, start + batch - 1), installation) for start in starts]
    return write_batches(path, requests, first_seq=first, last_seq=last, installation=installation, key=key)


def upload(stubs: Stubs, path: Path, piece: int = 1 << 20) -> str:
    """Bring a file's bytes to the server; its digest."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    held = 0
    while held < len(content):
        request = sync_file_service_pb2.UploadRequest(
            sha256=digest, total_bytes=len(content), offset=held, chunk=content[held : held + piece]
        )
        held = stubs.sync_files.Upload(request, metadata=stubs.metadata, timeout=10).held_bytes
    return digest


def bring(stubs: Stubs, paths: Sequence[Path], answers: Path, *, allow_unsigned: bool = False) -> Path:
    """Bring files to the server and write down its answers. Raises grpc.RpcError."""
    digests = [upload(stubs, path) for path in paths]
    request = sync_file_service_pb2.ApplyRequest(sha256=digests, allow_unsigned=allow_unsigned)
    pieces = stubs.sync_files.Apply(request, metadata=stubs.metadata, timeout=30)
    answers.write_bytes(b"".join(piece.chunk for piece in pieces))
    return answers


def enrol(stubs: Stubs, installation: str = INSTALLATION, key: bytes = KEY, *, replace: bool = False) -> bool:
    """Make a device's key known. Whether it was."""
    request = sync_file_service_pb2.EnrolRequest(installation=installation, file_key=key, replace=replace)
    return bool(stubs.sync_files.Enrol(request, metadata=stubs.metadata, timeout=10).was_known)


def opened(answers: Path, key: bytes | None = KEY) -> SyncFile:
    """Answers, checked."""
    return verified(answers, ANSWERS, lambda _: key, allow_unsigned=key is None)


def stream_answer(answers: Path, key: bytes | None = KEY) -> sync_file_pb2.StreamAnswer:
    """The only acknowledgement in some answers."""
    (found,) = [frame.stream for frame in opened(answers, key).frames() if frame.WhichOneof("body") == "stream"]
    return found


# -- a device and its server, whole -----------------------------------------------------------------------------------


class Walk:
    """A device's store, a server, and somebody who carries files between them."""

    def __init__(self, root: Path, server: str) -> None:
        self.store = root / "store"
        self.stick = root / "stick"
        self.stick.mkdir(exist_ok=True)
        self.backend = Backend(server, insecure=True)

    def enrol(self) -> None:
        """Make the device's key known."""
        key = key_of_store(self.store, None)
        self.backend.enrol_by_hand(key.installation, key.file_key, key.secret_digest, replace=False)

    def export(self, name: str = "device.sync", **more: Any) -> list[Path]:
        """Write files."""
        return export(self.store, Wanted(self.stick / name, **more), None).files

    def deliver(self, *files: Path, allow_unsigned: bool = False) -> Delivered:
        """Bring them to the server."""
        (found,) = deliver(files, Remote(self.backend), None, allow_unsigned=allow_unsigned, told=lambda _: None)
        return found

    def receive(self, *answers: Path, allow_unsigned: bool = False) -> Received:
        """Bring answers back."""
        return receive(self.store, list(answers), None, allow_unsigned=allow_unsigned)

    def there_and_back(self, **more: Any) -> Received:
        """The whole walk."""
        return self.receive(self.deliver(*self.export(force=True, **more)).answers)


def stored(server: Server, installation: str) -> list[int]:
    """Numbers of a device's records on the server, in the order they were stored."""
    rows = server.parts.store._rows("SELECT seq FROM log WHERE installation = ? ORDER BY server_seq", (installation,))
    return [seq for (seq,) in rows]


def standing(store: Path) -> tuple[str, int, int]:
    """(installation, acknowledged up to, newest number) of a store."""
    with Look(store) as look:
        outbox = LookedOutbox(look, None)
        return outbox.installation, outbox.acked_seq, outbox.upto_seq
