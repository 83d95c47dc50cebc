"""A batch as it came: a PushRequest whose records are seen in its bytes, and decoded only where that says more.

Owns the reading of a request's bytes into a batch, the usual way or the decoder's. Must never judge a record, nor take what the
decoder would not: bytes that are no message raise DecodeError on either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reflexarc_core.value import frozen
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.usual import CHECK, END, SEQ, START, USUAL, Scan

_NOTHING: Final = b""


@frozen
class Batch:
    """head: the request, without its records where they stand in `raw`. rows: of each record in `raw`, what the scan found.
    records: those that were decoded, by place. seqs: every record's number."""

    head: messages.PushRequest
    raw: bytes
    rows: list[list[int]]
    records: dict[int, record_pb2.LogRecord]
    seqs: Sequence[int]


def read_batch(content: bytes, scan: Scan) -> Batch:
    """The batch that a request's bytes hold. Raises DecodeError."""
    scanned = scan.records(content)
    if scanned is None:
        return batch_of(messages.PushRequest.FromString(content), scan)
    rows, rest = scanned
    records: dict[int, record_pb2.LogRecord] = {}
    for place, row in enumerate(rows):
        if not row[USUAL]:
            records[place] = message = record_pb2.LogRecord.FromString(content[row[START] : row[END]])
            row[SEQ], row[CHECK] = message.seq, message.check
    return Batch(messages.PushRequest.FromString(rest), content, rows, records, [row[SEQ] for row in rows])


def batch_of(request: messages.PushRequest, scan: Scan) -> Batch:
    """The batch of a decoded request. scan: told of its size."""
    scan.wanted(len(request.records))
    records = dict(enumerate(request.records))
    return Batch(request, _NOTHING, [], records, [record.seq for record in request.records])
