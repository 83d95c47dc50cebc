"""Entries: what is read of a frame's bytes alone is what the records themselves would give."""

from __future__ import annotations

from reflexarc_core.decision import Decision, Reason
from reflexarc_core.event import Event
from reflexarc_core.record import DecisionOutput, EventInput, HandedOutput, LossOutput, Moment, Record, TickInput
from reflexarc_edge.codec import encode
from reflexarc_edge.entry import HIGH, LOW, NORMAL, Entry, Taken, entry_in, entry_of, parts_of, payload_of, plain_payload

MOMENT = Moment(5)


def decision(number: int, record: int, reason: Reason, expire_time: int = 0) -> DecisionOutput:
    """One record of one decision."""
    return DecisionOutput(
        Decision(
            f"d{number}", record, "t", "known:1", "e", reason, 5, "c", "edge", True,
            payload={"a": 1} if reason is Reason.FIRED else None, expire_time=expire_time,
        )
    )  # fmt: skip


RECORDS: tuple[Record, ...] = (
    EventInput(MOMENT, Event("e", "view", "known:1", 5, {"url": "/", "tags": ["a"]}, {"online": True}, 7)),
    EventInput(MOMENT, Event("e", "view", "known:1", 5)),
    decision(1, 0, Reason.FIRED),
    decision(2, 0, Reason.FIRED, expire_time=99),
    decision(3, 0, Reason.COOLDOWN),
    decision(4, 1, Reason.EXPIRED),
    HandedOutput("d1", 6),
    TickInput(MOMENT),
    LossOutput("torn", 1, 2, 2),
)


def entries(records: tuple[Record, ...], priority: int, taken: Taken | None) -> list[Entry]:
    """From the bytes of one frame."""
    payload = payload_of([encode(record) for record in records], priority, taken)
    return [entry_in(part, part.body) for part in parts_of(3, payload)]


def test_the_bytes_say_what_the_record_says() -> None:
    for record in RECORDS:
        for priority, taken in ((NORMAL, None), (LOW, None), (HIGH, Taken("journal-1", 9))):
            assert entries((record,), priority, taken) == [entry_of(3, record, *encode(record), priority, taken)], record


def test_what_belongs_to_the_first_record_of_a_frame_is_not_given_to_the_others() -> None:
    first, second = entries((RECORDS[1], RECORDS[0]), LOW, Taken("journal-1", 9))
    assert (first.priority, first.taken) == (LOW, Taken("journal-1", 9))
    assert (second.priority, second.taken, second.position) == (NORMAL, None, 7)


def test_the_short_way_to_a_payload_gives_the_same_bytes() -> None:
    assert plain_payload(RECORDS) == payload_of([encode(record) for record in RECORDS])
