"""An entry: one record with its number, as bytes, and what storing it changes beside the log.

Owns the frame payload (records one behind the other, and a margin) that the journal carries, and how entries come out of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from reflexarc_core.decision import Reason
from reflexarc_core.errors import StorageError
from reflexarc_core.record import KIND_OF, DecisionOutput, EventInput, HandedOutput, LossOutput, Record
from reflexarc_edge.codec import pack

PART: Final = struct.Struct("<BI")
"""Before each record of a frame: its kind, the length of its body."""
pack_part: Final = PART.pack
_TAKEN: Final = struct.Struct("<Q")
MARGIN_KIND: Final = 0
EVENT_KIND: Final = KIND_OF[EventInput]
DECISION_KIND: Final = KIND_OF[DecisionOutput]
HANDED_KIND: Final = KIND_OF[HandedOutput]
LOSS_KIND: Final = KIND_OF[LossOutput]

LOW, NORMAL, HIGH = 0, 1, 2
"""Priorities: what is given up last when a store is full. Decisions and hand-overs are high."""


class Taken(NamedTuple):
    """How far the owner has taken another process's captures: the name of its journal, and its number there."""

    journal: str
    seq: int


class Entry(NamedTuple):
    """decision_id: of a decision or a hand-over. fired_expire_time: set when an action now waits for its hand-over.
    handed: what waited waits no more, being handed over or ended by a later record of its decision.
    position: row number in the caller's source, -1 for none. taken: whose capture this was."""

    seq: int
    kind: int
    body: bytes
    decision_id: str | None = None
    fired_expire_time: int | None = None
    handed: bool = False
    position: int = -1
    priority: int = NORMAL
    taken: Taken | None = None


def entry_of(seq: int, record: Record, kind: int, body: bytes, priority: int = NORMAL, taken: Taken | None = None) -> Entry:
    """The entry of a record, given its bytes as the store will hold them."""
    if type(record) is EventInput:
        return Entry(seq, kind, body, None, None, False, record.event.source_position, priority, taken)
    if type(record) is DecisionOutput:
        decision = record.decision
        expire_time = decision.expire_time if decision.reason is Reason.FIRED else None
        ends = expire_time is None and decision.record > 0
        return Entry(seq, kind, body, decision.decision_id, expire_time, ends, -1, HIGH)
    if type(record) is HandedOutput:
        return Entry(seq, kind, body, record.decision_id, None, True, -1, HIGH)
    return Entry(seq, kind, body, priority=priority)


def entry_in(part: Part, body: bytes) -> Entry:
    """The same from a part of a frame alone. body: its bytes, unsealed; read no further than an entry needs.

    Raises StorageError when they are none of its kind.
    """
    decoder = _DECODERS.get(part.kind)
    if decoder is None:
        return Entry(part.seq, part.kind, part.body, priority=part.priority)
    try:
        found = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"a record of kind {part.kind} cannot be read: {error}") from None
    if part.kind == EVENT_KIND:
        position = found.event.source_position
        return Entry(part.seq, part.kind, part.body, None, None, False, position, part.priority, part.taken)
    if part.kind == HANDED_KIND:
        return Entry(part.seq, part.kind, part.body, found.decision_id, None, True, -1, HIGH)
    decision = found.decision
    expire_time = decision.expire_time if decision.reason == Reason.FIRED else None
    ends = expire_time is None and decision.record > 0
    return Entry(part.seq, part.kind, part.body, decision.decision_id, expire_time, ends, -1, HIGH)


def last_number(seq: int, record: Record) -> int:
    """The last number a record accounts for: a loss names more than its own."""
    return max(seq, record.last_seq) if isinstance(record, LossOutput) else seq


class Part(NamedTuple):
    """One record of a frame, unread."""

    seq: int
    kind: int
    body: bytes
    priority: int
    taken: Taken | None


def plain_payload(records: Sequence[Record]) -> bytes:
    """`payload_of` where nothing is sealed and there is no margin: straight from the records."""
    return b"".join([pack_part(KIND_OF[type(record)], len(body := pack(record))) + body for record in records])


def payload_of(bodies: Sequence[tuple[int, bytes]], priority: int = NORMAL, taken: Taken | None = None) -> bytes:
    """The records of one input as a frame carries them. The margin holds what belongs to the first of them."""
    parts = [pack_part(kind, len(body)) + body for kind, body in bodies]
    if taken is not None or priority != NORMAL:
        margin = bytes((priority,)) + _TAKEN.pack(taken.seq if taken else 0) + (taken.journal.encode() if taken else b"")
        parts.insert(0, pack_part(MARGIN_KIND, len(margin)) + margin)
    return b"".join(parts)


def part_payload(kind: int, body: bytes) -> bytes:
    """The frame of one record without a margin."""
    return pack_part(kind, len(body)) + body


def parts_of(first_seq: int, payload: bytes) -> Iterator[Part]:
    """The parts of a frame, unread. Raises StorageError when the payload is none."""
    position = 0
    seq = first_seq
    priority, taken = NORMAL, None
    while position < len(payload):
        if position + PART.size > len(payload):
            raise StorageError("a frame of the journal ends in the middle")
        kind, length = PART.unpack_from(payload, position)
        start = position + PART.size
        position = start + length
        body = payload[start:position]
        if len(body) != length or (kind == MARGIN_KIND and length < 1 + _TAKEN.size):
            raise StorageError("a frame of the journal ends in the middle")
        if kind == MARGIN_KIND:
            priority = body[0]
            name = body[1 + _TAKEN.size :].decode()
            taken = Taken(name, _TAKEN.unpack_from(body, 1)[0]) if name else None
            continue
        yield Part(seq, kind, body, priority, taken)
        priority, taken = NORMAL, None
        seq += 1


# -- what an entry needs of a record's bytes: msgspec passes over everything else without making anything of it -------


class _Event(msgspec.Struct):
    source_position: int


class _EventInput(msgspec.Struct):
    event: _Event


class _Decision(msgspec.Struct):
    decision_id: str
    record: int
    reason: str
    expire_time: int


class _DecisionOutput(msgspec.Struct):
    decision: _Decision


class _HandedOutput(msgspec.Struct):
    decision_id: str


_DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    EVENT_KIND: msgspec.msgpack.Decoder(_EventInput),
    DECISION_KIND: msgspec.msgpack.Decoder(_DecisionOutput),
    HANDED_KIND: msgspec.msgpack.Decoder(_HandedOutput),
}
