"""A sync file written frame by frame, so that it may be larger than the memory.

Owns the order: header, frames, end, mark. Where the file lies and when it takes its name is the caller's.
"""

from __future__ import annotations

import secrets
from typing import BinaryIO

from reflexarc_core.errors import SyncFileError
from reflexarc_proto.sync_file.frames import FILE_BYTES_MAX, FRAME_BYTES_MAX, FRAMES_MAX, MAGIC, frame_bytes, new_mark
from reflexarc_proto.v1 import sync_file_pb2 as messages


def new_header(
    kind: messages.SyncFileKind.ValueType, installation: str, created_time: int, software_version: str
) -> messages.SyncHeader:
    """The header of a new file. created_time: ms."""
    return messages.SyncHeader(
        kind=kind,
        installation=installation,
        file_id=secrets.token_hex(16),
        created_time=created_time,
        software_version=software_version,
    )


class SyncFileWriter:
    """Writes one file. key: the installation's file key, None for a file nobody signs."""

    def __init__(self, stream: BinaryIO, header: messages.SyncHeader, key: bytes | None) -> None:
        self._stream = stream
        self._mark = new_mark(key)
        self._frame_count = 0
        self.byte_count = 0
        header.mark = messages.SYNC_FILE_MARK_SHA256 if key is None else messages.SYNC_FILE_MARK_HMAC_SHA256
        self._put(MAGIC)
        self.write(messages.SyncFrame(header=header))

    def write(self, frame: messages.SyncFrame) -> None:
        """Append a frame. Raises SyncFileError when it, or the file, grows too large, OSError."""
        payload = frame.SerializeToString()
        if len(payload) > FRAME_BYTES_MAX:
            raise SyncFileError(f"{len(payload):,} bytes at once are too many for a sync file")
        if self._frame_count >= FRAMES_MAX - 1 or self.byte_count + len(payload) > FILE_BYTES_MAX - 4_096:
            raise SyncFileError("that is more than one sync file holds", hint="split it: --max-bytes 1GB")
        self._put(frame_bytes(payload))
        self._frame_count += 1

    def end(self, last_seq: int = 0) -> None:
        """Close the frames and put the mark behind them."""
        end = messages.SyncEnd(frame_count=self._frame_count, last_seq=last_seq)
        self._put(frame_bytes(messages.SyncFrame(end=end).SerializeToString()))
        self._stream.write(self._mark.digest())

    def _put(self, content: bytes) -> None:
        self._stream.write(content)
        self._mark.update(content)
        self.byte_count += len(content)
