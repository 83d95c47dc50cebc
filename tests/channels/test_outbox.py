"""The outbox: with the transaction or not at all, in turn, again until it is there, and never under another key."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_server.channels import Outbox, Outgoing, Refused, Unreachable
from reflexarc_server.channels.backoff import AGE_MS_MAX, CHANNEL_MS, MESSAGE_MS, pause_ms
from reflexarc_server.store.sqlite import SqliteStore
from reflexarc_server.testing import Receiver
from tests.server.kit import DAY, T0, ManualClock, wait_for


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def crm() -> Receiver:
    return Receiver()


@pytest.fixture
def outbox(store: SqliteStore, clock: ManualClock, crm: Receiver) -> Outbox:
    made = Outbox(store, clock, random.Random(1).uniform)
    made.add(crm)
    return made


def put(outbox: Outbox, store: SqliteStore, *keys: str, order: str = "", subject: str = "", expire_time: int = 0) -> list[bool]:
    with store.transaction() as transaction:
        return [outbox.put(transaction.run, Outgoing("crm", key, order, {"is": key}, subject, expire_time)) for key in keys]


def run_for(outbox: Outbox, clock: ManualClock, ms: int, step_ms: int = 500) -> None:
    """Let virtual time pass, trying whatever is due."""
    until = clock.now + ms
    while clock.now < until:
        clock.now += step_ms
        outbox.work()


def test_a_message_goes_with_its_transaction_or_not_at_all(outbox: Outbox, store: SqliteStore, crm: Receiver) -> None:
    def fails() -> None:
        with store.transaction() as transaction:
            outbox.put(transaction.run, Outgoing("crm", "a", "", {}))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert outbox.work() == 0
    assert put(outbox, store, "a", "b", "a") == [True, True, False]
    assert outbox.work() == 2
    assert [(one.key, one.body) for one in crm.attempts] == [("a", {"is": "a"}), ("b", {"is": "b"})]
    assert put(outbox, store, "a") == [False]  # also when it is sent
    assert outbox.counts() == {"crm": {"open": 0, "sent": 2, "dead": 0}}


def test_ten_minutes_without_the_other_side_lose_and_double_nothing(
    outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock
) -> None:
    crm.is_down = True
    for number in range(60):
        put(outbox, store, f"{number}/1", f"{number}/2", order=f"lead-{number % 20}")
        run_for(outbox, clock, 10_000)
    assert not crm.taken and outbox.counts()["crm"]["open"] == 120
    assert len(crm.attempts) < 400  # it rests: nobody is overrun when he comes back
    crm.is_down, crm.attempts = False, []
    run_for(outbox, clock, CHANNEL_MS[1])
    assert len(crm.taken) > 100  # only what was itself tried waits longer
    run_for(outbox, clock, MESSAGE_MS[1])
    assert [one.key for one in crm.attempts] == list(crm.taken)
    for lead in range(20):
        its = [one.key for one in crm.attempts if one.order == f"lead-{lead}"]
        assert its == [f"{n}/{part}" for n in range(lead, 60, 20) for part in (1, 2)]
    assert outbox.counts() == {"crm": {"open": 0, "sent": 120, "dead": 0}}


def test_an_answer_that_was_lost_is_a_second_attempt_under_the_same_key(
    outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock
) -> None:
    put(outbox, store, "a")
    crm.lose_answer = True
    outbox.work()
    crm.lose_answer = False
    run_for(outbox, clock, 60_000)
    assert [one.key for one in crm.attempts] == ["a", "a"]
    assert list(crm.taken) == ["a"]


def test_the_other_sides_word_on_when_to_come_again_counts(
    outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock
) -> None:
    crm.answers = [Unreachable("429", retry_after_ms=90_000)]
    put(outbox, store, "a", "b")
    run_for(outbox, clock, 89_000)
    assert len(crm.attempts) == 1
    run_for(outbox, clock, 2_000)
    assert sorted(crm.taken) == ["a", "b"]


def test_one_message_that_must_wait_holds_up_only_its_order(
    outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock
) -> None:
    crm.answers = [Unreachable("a full mailbox", only_this=True)]
    put(outbox, store, "a/1", "a/2", order="a")
    put(outbox, store, "b/1", order="b")
    outbox.work()
    assert list(crm.taken) == ["b/1"]
    run_for(outbox, clock, 10_000)
    assert list(crm.taken) == ["b/1", "a/1", "a/2"]


def test_what_is_refused_is_a_dead_letter_until_somebody_replays_it(
    outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock
) -> None:
    crm.answers = [Refused("no such property: plan"), ValueError("a fault of ours")]
    outbox.add(Receiver("mail"))  # of which there is nothing
    put(outbox, store, "a", "b", "c", order="lead")
    outbox.work()
    assert list(crm.taken) == ["c"]
    dead = outbox.dead_letters()
    assert [(one.key, one.reason) for one in dead] == [("a", "no such property: plan"), ("b", "the channel failed: ValueError")]
    assert outbox.dead_letters(after=dead[0].row) == dead[1:] and outbox.dead_letters("mail") == []
    assert put(outbox, store, "a") == [False]
    assert outbox.replay("crm", [dead[0].row]) == 1
    assert outbox.replay("mail") == 0
    for unknown in (outbox.dead_letters, outbox.replay):
        with pytest.raises(InvalidEventError, match="there is no channel 'other'"):
            unknown("other")
    outbox.work()
    assert list(crm.taken) == ["c", "a"] and [one.key for one in outbox.dead_letters()] == ["b"]
    assert outbox.replay() == 1
    outbox.work()
    assert outbox.counts()["crm"] == {"open": 0, "sent": 3, "dead": 0}


def test_nobody_gives_up_for_a_week(outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock) -> None:
    crm.is_down = True
    put(outbox, store, "a")
    run_for(outbox, clock, AGE_MS_MAX - 3_600_000, 3_600_000)
    assert outbox.counts()["crm"]["open"] == 1
    run_for(outbox, clock, 7_200_000, 3_600_000)
    (dead,) = outbox.dead_letters()
    assert dead.reason == "tried for 7 days: crm is down" and dead.tries > 150
    crm.is_down = False
    assert outbox.replay() == 1
    run_for(outbox, clock, 60_000)
    assert list(crm.taken) == ["a"]


def test_what_is_no_longer_worth_sending_is_not_sent(
    outbox: Outbox, store: SqliteStore, crm: Receiver, clock: ManualClock
) -> None:
    crm.is_down = True
    put(outbox, store, "offer", expire_time=T0 + 60_000)
    run_for(outbox, clock, 50_000)
    crm.is_down = False
    clock.now = T0 + 60_000 + MESSAGE_MS[1]
    outbox.work()
    assert not crm.taken and "expired" in outbox.dead_letters()[0].reason


def test_an_erasure_takes_what_is_about_its_subject(outbox: Outbox, store: SqliteStore, crm: Receiver, tmp_path: Path) -> None:
    from reflexarc_server.store.erased import ErasedTable

    put(outbox, store, "sent", subject="known:ann@example.org", order="ann@example.org")
    outbox.work()
    crm.answers = [Refused("no")]
    put(outbox, store, "dead", subject="known:ann@example.org")
    outbox.work()
    put(outbox, store, "open", subject="known:ann@example.org", order="ann@example.org")
    put(outbox, store, "other", subject="known:bob@example.org")
    ErasedTable(store).erase("known:ann@example.org", T0)
    store.rewrite()
    outbox.work()
    assert list(crm.taken) == ["sent", "other"]
    assert outbox.counts() == {"crm": {"open": 0, "sent": 2, "dead": 0}}
    assert not any(b"ann@" in path.read_bytes() for path in tmp_path.iterdir())


def test_keys_are_forgotten_after_a_month(outbox: Outbox, store: SqliteStore, clock: ManualClock) -> None:
    put(outbox, store, "a")
    outbox.work()
    clock.now += 30 * DAY
    assert not outbox.tidy()
    clock.now += 3_600_001
    assert outbox.tidy()
    assert put(outbox, store, "a") == [True]


def test_what_cannot_be_sent_is_refused_where_it_is_put(outbox: Outbox, store: SqliteStore) -> None:
    wrong = [
        Outgoing("mail", "a", "", {}), Outgoing("crm", "", "", {}), Outgoing("crm", "a", "", {"x": object()}),
        Outgoing("crm", "a", "", {"x": "y" * 2**20}),
    ]  # fmt: skip
    for each in wrong:
        with pytest.raises(DefinitionError), store.transaction() as transaction:
            outbox.put(transaction.run, each)
    with pytest.raises(DefinitionError, match="two channels"):
        outbox.add(Receiver())
    assert outbox.counts()["crm"]["open"] == 0


def test_threads_keep_the_order_of_each_lead_and_send_leads_beside_each_other(
    outbox: Outbox, store: SqliteStore, crm: Receiver
) -> None:
    together = threading.Barrier(2, timeout=10)
    going: set[str] = set()

    def looks(outgoing: Outgoing) -> None:
        assert outgoing.order not in going
        going.add(outgoing.order)
        if outgoing.key.endswith("/0"):
            together.wait()  # passes only when two leads are under way at once
        going.discard(outgoing.order)

    crm.on_send = looks
    outbox.start()
    for lead in ("ann", "bob"):
        put(outbox, store, *(f"{lead}/{number}" for number in range(50)), order=lead)
    wait_for(lambda: len(crm.taken) == 100)
    outbox.stop()
    for lead in ("ann", "bob"):
        assert [one.key for one in crm.attempts if one.order == lead] == [f"{lead}/{number}" for number in range(50)]
    assert outbox.counts()["crm"]["dead"] == 0


def test_pauses_are_full_jitter_within_bounds() -> None:
    draw = random.Random(2).uniform
    for failures in range(1, 40):
        pauses = [pause_ms(MESSAGE_MS, failures, None, draw) for _ in range(50)]
        ceiling = min(MESSAGE_MS[1], MESSAGE_MS[0] * 2**failures)
        assert 0 < min(pauses) < ceiling / 4 and ceiling * 3 / 4 < max(pauses) <= ceiling + 1
    assert pause_ms(MESSAGE_MS, 1, 0, draw) == 1_000 and pause_ms(MESSAGE_MS, 1, 10**12, draw) == 3_600_000
