"""Sync files: the calls of EventService in a file that somebody carries (`v1/sync_file.proto` has the layout).

Owns the layout, its limits and the mark that says who wrote a file. Must never apply what a file holds.
"""

from reflexarc_proto.sync_file.frames import FILE_BYTES_MAX, FRAME_BYTES_MAX, KEY_BYTES, frame_bytes
from reflexarc_proto.sync_file.reading import SyncFile, checked, header_of, peek, verified
from reflexarc_proto.sync_file.writing import SyncFileWriter, new_header

__all__ = [
    "FILE_BYTES_MAX",
    "FRAME_BYTES_MAX",
    "KEY_BYTES",
    "SyncFile",
    "SyncFileWriter",
    "checked",
    "frame_bytes",
    "header_of",
    "new_header",
    "peek",
    "verified",
]
