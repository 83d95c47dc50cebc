"""A cap over all of a person's devices holds while none of them can ask anybody: rule 27."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc.testing import ManualClock as DeviceClock
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Reason
from reflexarc_core.policy import Cap
from reflexarc_server.app import Server, start_server
from reflexarc_server.leases import LIFE_MS, granted
from reflexarc_server.store import leases as table
from reflexarc_server.store.sqlite import SqliteStore
from tests.control.kit import QUICK
from tests.server.kit import T0, ManualClock

DAY = 86_400_000
WEEK = 7 * DAY
WHO = "known:1"


@cache
def catalog() -> Catalog:
    return build_text("""
include: standard
caps: {calm: {count: 3, within: 7d, scope: global}}
triggers: {every: {condition: subject.known || true, on: [page_view], action: offer}}
actions: {offer: {}}
""")


@pytest.fixture
def server(data: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    yield started
    started.stop()


class Device:
    """One of the person's devices, that can be cut off."""

    def __init__(self, folder: Path, server: Server, clock: DeviceClock) -> None:
        self.client = Client(folder, catalog=catalog(), server=server.address, clock=clock, config=QUICK)

    def page(self) -> list[Reason]:
        receipt = self.client.track("page_view", {"page_url": "/"}, subject=WHO)
        return [decision.reason for decision in receipt.decisions]

    def sync(self) -> None:
        for _ in range(2):  # the first may have been under way already when it was asked for, and come back without a lease
            assert self.client.flush(10).delivered
        self.client.settle()


def test_two_devices_share_one_cap_also_when_they_cannot_ask(server: Server, clock: ManualClock, tmp_path: Path) -> None:
    times = DeviceClock(T0)
    one, two = (Device(tmp_path / name, server, times) for name in ("one", "two"))
    assert one.page() == [Reason.NO_LEASE], "nothing was given to it yet"
    one.sync()
    two.page()
    two.sync()
    fired = [reason for _ in range(4) for device in (one, two) for reason in device.page()].count(Reason.FIRED)
    assert fired == 3, "two for the one that asked first, one for the other"
    for device in (one, two):
        device.sync()
        assert device.page() == [Reason.NO_LEASE]
        device.client.close()


def test_a_use_is_free_again_when_the_window_has_passed(server: Server, clock: ManualClock, tmp_path: Path) -> None:
    times = DeviceClock(T0)
    one = Device(tmp_path / "one", server, times)
    for _ in range(6):
        one.page()
        one.sync()
    spent = [decision.reason for decision in one.client.log.recent_decisions(50)].count(Reason.FIRED)
    assert spent == 3
    times.advance(WEEK + 1)
    clock.now = T0 + WEEK + 1
    one.page()
    one.sync()
    assert one.page() == [Reason.FIRED]
    one.client.close()


def test_a_lease_survives_a_restart_and_a_second_word_of_it_gives_nothing(
    server: Server, clock: ManualClock, tmp_path: Path
) -> None:
    times = DeviceClock(T0)
    one = Device(tmp_path / "one", server, times)
    one.page()
    one.sync()
    assert one.page() == [Reason.FIRED]
    one.client.close()
    again = Device(tmp_path / "one", server, times)
    granted = again.client.runtime.engine.state.subjects[WHO].ledger
    assert granted is not None
    (lease,) = granted.leases["cap:calm"]
    assert (lease.tokens, lease.used) == (2, 1)
    again.client.runtime.lease((WHO, "calm", lease.lease_id, 2, lease.expire_time + DAY), again.client.moment())
    assert [again.page() for _ in range(2)] == [[Reason.FIRED], [Reason.NO_LEASE]]
    again.client.close()


@pytest.mark.parametrize("seed", range(12))
def test_no_cap_is_exceeded_whoever_is_cut_off_for_however_long(seed: int, tmp_path: Path) -> None:
    """Devices that ask, use, report, go away and come back in any order, by the server's own ledger."""
    draw = random.Random(seed)
    cap = Cap(draw.choice((1, 2, 3, 5)), window_ms=draw.choice((DAY, 3 * DAY, WEEK)), scope="global")
    store = SqliteStore(tmp_path / "server")
    names = ("known:1", "anonymous:a")
    held: dict[str, dict[str, list[int]]] = {f"device{n}": {} for n in range(4)}
    uses: list[int] = []
    unreported: dict[str, list[tuple[str, str, int]]] = {name: [] for name in held}
    now = T0
    for number in range(600):
        now += draw.choice((1, 60_000, 3_600_000, DAY // 3)) if draw.random() < 0.7 else 0
        device = draw.choice(sorted(held))
        with store.transaction() as transaction:
            if draw.random() < 0.4:
                row = granted(transaction.run, device, draw.choice(names), names, "calm", cap, now)
                if row is not None and draw.random() < 0.8:  # the answer may be lost
                    known = held[device].setdefault(row.lease_id, [0, 0, 0])
                    known[0], known[1] = row.tokens, row.expire_time
            elif draw.random() < 0.5:
                for lease_id, decision_id, time in unreported[device]:
                    table.use(transaction.run, decision_id, lease_id, "calm", draw.choice(names), time)
                    table.use(transaction.run, decision_id, lease_id, "calm", names[0], time)  # sent twice
                unreported[device].clear()
            else:
                for lease_id, known in held[device].items():
                    if known[2] < known[0] and known[1] > now:
                        known[2] += 1
                        uses.append(now)
                        unreported[device].append((lease_id, f"d{number}", now))
                        break
    store.close()
    assert uses, "nothing was ever given"
    for end in uses:
        inside = [time for time in uses if end - cap.window_ms < time <= end]
        assert len(inside) <= cap.count, f"seed {seed}: {len(inside)} of {cap.count} before {end}"


def test_neither_question_to_the_ledger_walks_all_uses(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "server")
    asked: list[str] = []

    def planned(sql: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
        asked.extend(str(row[3]) for row in store.ask(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return store.ask(sql, parameters)

    assert table.of(planned, ("known:1", "anonymous:a"), "calm", 0) == []
    store.close()
    assert asked
    assert not [step for step in asked if step.startswith("SCAN")], asked


def test_the_build_says_what_a_global_cap_cannot_be() -> None:
    wrong = """
include: standard
caps: {a: {count: 1, each: day, scope: global}, b: {count: 1, within: 1d, scope: global}}
triggers:
  there: {condition: 'true', on: [page_view], placement: server, action: x}
  here: {condition: 'true', on: [page_view], cap: {count: 1, within: 1d, scope: global}, action: x}
actions: {x: {}}
"""
    with pytest.raises(Exception, match="a global cap rolls") as refused:
        build_text(wrong)
    assert "of one trigger, and global" in str(refused.value)
    right = wrong.replace("each: day", "within: 2d").replace("cap: {count: 1, within: 1d, scope: global}, ", "")
    with pytest.raises(Exception, match="acts at the server") as refused:
        build_text(right)
    assert "two global caps" in str(refused.value)
    assert LIFE_MS == DAY
