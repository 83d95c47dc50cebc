"""The promises that are proved here: what each runs, and how often on every pull request and every night."""

from __future__ import annotations

from typing import Final

from tests.promises import (
    bogus,
    canary,
    clocks,
    copies,
    corrupt,
    delivery,
    disk_bound,
    disk_full,
    erasure,
    herd,
    kill,
    memory,
    misuse,
    offline,
    order,
    partition,
    poison,
    refusals,
)
from tests.promises.halves import in_two
from tests.promises.outcome import Promise
from tests.simulation import simulated

PROMISES: Final = (
    Promise(1, "killed process loses nothing", in_two(kill.run), 200, 5_000, "kills"),
    Promise(3, "exactly once, a simulated fleet", in_two(simulated.run), 30, 5_000, "simulated runs"),
    Promise(3, "exactly once, messages lost and sides killed", in_two(delivery.run), 200, 5_000, "runs of 500 events"),
    Promise(4, "no window: 400 days offline, all sent twice", offline.run, 2, 60, "devices"),
    Promise(5, "in order, gaps explained", order.run, 24, 500, "schedules"),
    Promise(6, "disk bounded", disk_bound.run, 100_000, 1_000_000, "events"),
    Promise(7, "full disk", disk_full.run, 50, 1_000, "cycles"),
    Promise(8, "corrupt files", in_two(corrupt.run), 500, 20_000, "files"),
    Promise(8, "one bad page of 5,000 rows", corrupt.run_pages, 60, 600, "pages"),
    Promise(9, "clock jumps", in_two(clocks.run), 1_000, 20_000, "jumps"),
    Promise(10, "bad networks", in_two(partition.run), 100, 2_000, "outage schedules"),
    Promise(11, "no thundering herd", herd.run, 10_000, 50_000, "devices"),
    Promise(13, "killed between commit and answer", in_two(delivery.run_kills), 100, 5_000, "kills of the server"),
    Promise(14, "poison never blocks (store)", poison.run, 5_000, 200_000, "rows"),
    Promise(14, "poison never blocks (wire)", refusals.run, 5_000, 200_000, "events"),
    Promise(15, "bogus answers delete nothing", in_two(bogus.run), 10_000, 200_000, "answers"),
    Promise(20, "TLS misuse refused", misuse.run, 13, 130, "cases"),
    Promise(24, "copied stores, machines put back", in_two(copies.run), 12, 300, "families of stores"),
    Promise(25, "memory bounded", memory.run, 20, 1_800, "s at 200/s"),
    Promise(26, "erasure leaves no byte", erasure.run, 14, 1_000, "stores"),
    Promise(27, "no payload in what is said", canary.run, 1, 20, "hosts"),
)
