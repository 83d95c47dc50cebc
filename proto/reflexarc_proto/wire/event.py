"""Events, subjects and moments."""

from __future__ import annotations

from typing import Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event, is_storable, subject_parts
from reflexarc_core.record import Moment
from reflexarc_proto.v1 import event_pb2
from reflexarc_proto.wire.value import fill, properties_from_proto

ID_LENGTH_MAX: Final = 200
SUBJECT_ID_LENGTH_MAX: Final = 512
TIME_MAX: Final = 2**53
"""Times are milliseconds that a float64 holds exactly, since features keep them as floats."""

_KIND_OF_NUMBER: Final = {
    event_pb2.SUBJECT_KIND_DEVICE: "device",
    event_pb2.SUBJECT_KIND_ANONYMOUS: "anonymous",
    event_pb2.SUBJECT_KIND_KNOWN: "known",
    event_pb2.SUBJECT_KIND_SESSION: "session",
}
_NUMBER_OF_KIND: Final = {kind: number for number, kind in _KIND_OF_NUMBER.items()}


def fill_subject(message: event_pb2.Subject, subject: str) -> None:
    """Write `kind:id` into an empty message. Raises InvalidEventError when the text is no subject."""
    kind, _, subject_id = subject.partition(":")
    number = _NUMBER_OF_KIND.get(kind)
    if number is None or not subject_id:
        raise InvalidEventError("a subject that is none", hint="write it as kind:id, for example known:42")
    message.kind = number
    message.id = subject_id


def subject_to_proto(subject: str) -> event_pb2.Subject:
    """The message of `kind:id`. Raises InvalidEventError when the text is no subject."""
    message = event_pb2.Subject()
    fill_subject(message, subject)
    return message


def subject_from_proto(message: event_pb2.Subject) -> str:
    """`kind:id`. Raises InvalidEventError when the kind is not one or the id is empty or too long."""
    kind = _KIND_OF_NUMBER.get(message.kind)
    subject_id = message.id
    if kind is None or not subject_id or len(subject_id) > SUBJECT_ID_LENGTH_MAX:
        raise InvalidEventError(
            "a subject without a kind, without an id or with too long a one",
            hint=f"one of {', '.join(_NUMBER_OF_KIND)} and 1 to {SUBJECT_ID_LENGTH_MAX} characters",
        )
    return f"{kind}:{subject_id}"


def fill_moment(message: event_pb2.Moment, moment: Moment) -> None:
    """Write a moment into an empty message."""
    message.now_time = moment.now
    message.online = moment.online
    message.trusted = moment.trusted
    if moment.offset_minutes:
        message.offset_minutes = moment.offset_minutes
    if moment.next_offset_time:
        message.next_offset_time = moment.next_offset_time


def moment_to_proto(moment: Moment) -> event_pb2.Moment:
    """The message of a moment."""
    message = event_pb2.Moment()
    fill_moment(message, moment)
    return message


def moment_from_proto(message: event_pb2.Moment) -> Moment:
    """The moment. Raises InvalidEventError when a time is out of range."""
    return Moment(
        checked_time(message.now_time, "now_time"), message.online, message.trusted, message.offset_minutes,
        checked_time(message.next_offset_time, "next_offset_time"),
    )  # fmt: skip


def fill_event(message: event_pb2.Event, event: Event) -> None:
    """Write an event into an empty message. Raises InvalidEventError for a value the wire has no form for."""
    message.event_id = event.event_id
    message.event_type = event.event_type
    fill_subject(message.subject, event.subject)
    message.event_time = event.event_time
    for name, value in event.properties.items():
        fill(message.properties[name], value)
    for name, value in event.context.items():
        fill(message.context[name], value)
    if event.source_position != -1:
        message.source_row = event.source_position + 1


def event_to_proto(event: Event) -> event_pb2.Event:
    """The message of an event. Raises InvalidEventError for a value the wire has no form for."""
    message = event_pb2.Event()
    fill_event(message, event)
    return message


def event_from_proto(message: event_pb2.Event) -> Event:
    """The event. Raises InvalidEventError naming what no event may be. Does not check the event type's declaration."""
    event_id, event_type = message.event_id, message.event_type
    _check_ids(event_id, event_type)
    row = message.source_row
    if row < 0:
        raise InvalidEventError(f"source_row is {row}", hint="row number plus one, or 0")
    return Event(
        event_id, event_type, subject_from_proto(message.subject), checked_time(message.event_time, "event_time"),
        properties_from_proto(message.properties), properties_from_proto(message.context), row - 1,
    )  # fmt: skip


def check_event(event: Event) -> None:
    """Raises InvalidEventError for an event that could be written and never be read again, by its names and its time."""
    _check_ids(event.event_id, event.event_type)
    check_subject(event.subject)
    checked_time(event.event_time, "event_time")


def check_subject(subject: str) -> None:
    """Raises InvalidEventError when it is no subject, too long a one, or no text."""
    _, subject_id = subject_parts(subject)
    if len(subject_id) > SUBJECT_ID_LENGTH_MAX or not is_storable(subject_id):
        raise InvalidEventError("too long a subject, or one that is no text", hint=f"1 to {SUBJECT_ID_LENGTH_MAX} characters")


def _check_ids(event_id: str, event_type: str) -> None:
    if not event_id or len(event_id) > ID_LENGTH_MAX:
        raise InvalidEventError(f"an event id of {len(event_id)} characters", hint=f"1 to {ID_LENGTH_MAX}")
    if not event_type or len(event_type) > ID_LENGTH_MAX:
        raise InvalidEventError(f"an event type of {len(event_type)} characters", hint=f"1 to {ID_LENGTH_MAX}")


def checked_time(time: int, name: str) -> int:
    """The time itself. Raises InvalidEventError when it is before 1970 or past what a float64 holds."""
    if not 0 <= time < TIME_MAX:
        raise InvalidEventError(f"{name} is {time}", hint="milliseconds since 1970")
    return time
