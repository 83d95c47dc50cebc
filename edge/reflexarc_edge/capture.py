"""A capture: what one `track()` gave, kept at once and taken into the engine a moment later.

Two kinds of call end in a capture: those of a process that does not own the engine, and those of an event that nothing
waits for (no model scores on it, no trigger listens to it). Owns the value and its bytes. Must never be uploaded: the owner
of the engine turns it into an event first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from reflexarc_core.errors import StorageError
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, Moment

if TYPE_CHECKING:
    from reflexarc_edge.repair import Identity

CAPTURE_KIND: Final = 32
"""Beside the kinds of record (`reflexarc_core.record`); never in the store, never on the wire."""


class Capture(NamedTuple):
    """One call's event before enrichment.

    event_id: empty for one that is derived from where the capture was kept. event_time: ms since the Unix epoch.
    elapsed_ms: of the machine's clock that never jumps. properties: conformed to the event type.
    """

    event_type: str
    subject: str
    event_id: str
    event_time: int
    elapsed_ms: int
    online: bool
    trusted: bool
    priority: int
    position: int
    properties: Mapping[str, Any]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[str, str, str, int, int, bool, bool, int, int, dict[str, Any]])

encode_capture: Final = _encoder.encode
"""A capture (or a plain tuple of its fields) as bytes."""


def decode_capture(body: bytes) -> Capture:
    """The capture back. Raises StorageError when the bytes are none."""
    try:
        return Capture(*_decoder.decode(body))
    except msgspec.MsgspecError as error:
        raise StorageError(f"a capture cannot be read: {error}") from None


def bare_event(identity: Identity, seq: int, capture: Capture) -> EventInput:
    """A capture as an event, with nothing added to it but an id of its place."""
    event_id = capture.event_id or f"{identity.incarnation}-{seq}"
    event = Event(event_id, capture.event_type, capture.subject, capture.event_time, capture.properties, {}, capture.position)
    return EventInput(Moment(capture.event_time, capture.online, capture.trusted), event)
