"""One variant in one case, in a process of its own: `python -m benchmarks.capture_child '{"who": ..., "case": ...}'`.

Cases: `burst` (a tight loop), `paced` (at a given rate, as a host thread feels it), `memory` (what piles up), `kill`
(several threads, then SIGKILL). Owns the timing of single calls; ends without the libraries' own farewells, which may
wait for an endpoint that never answers.
"""

import gc
import json
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.machine import rss_bytes
from benchmarks.workload import properties, stream

WARM_UP_COUNT = 100
SETTLED_S = 0.5
SETTLE_S_MAX = 10.0
SETTLED_BYTES = 64 * 1024


def open_ours(given: Mapping[str, Any]) -> peers.Call:
    """Our capture call: `server` is host:port or empty, `catalog` a built file."""
    from reflexarc import Client

    client = Client(Path(given["folder"]), catalog=Path(given["catalog"]), server=given["server"] or None, insecure=True)
    track = client.track

    def call(_: int, event_properties: Mapping[str, object]) -> bool:
        return track("page_view", event_properties).accepted

    def numbered(number: int, event_properties: Mapping[str, object]) -> bool:
        return track("page_view", event_properties, position=number).accepted

    # The number lets the parent tell which event is missing; it costs a write of its own, so only then.
    return numbered if given["case"] == "kill" else call


def open_call(given: Mapping[str, Any]) -> peers.Call:
    """The call of the variant that was asked for."""
    return open_ours(given) if given["ours"] else peers.open_peer(given["who"], given["port"])


def timed(call: peers.Call, events: Sequence[Mapping[str, object]], first: int) -> tuple[list[int], int]:
    """Latency of each call in ns, and how many were refused."""
    clock = time.perf_counter_ns
    taken_ns = [0] * len(events)
    refused = 0
    for number, event in enumerate(events):
        start = clock()
        accepted = call(first + number, event)
        taken_ns[number] = clock() - start
        refused += not accepted
    return taken_ns, refused


def burst(given: Mapping[str, Any]) -> dict[str, Any]:
    """Calls in a tight loop."""
    call = open_call(given)
    events = stream(given["n"])
    timed(call, stream(WARM_UP_COUNT), 0)
    gc.collect()
    start = time.perf_counter()
    taken_ns, refused = timed(call, events, WARM_UP_COUNT)
    return {"ns": taken_ns, "refused": refused, "rate": len(events) / (time.perf_counter() - start)}


def paced(given: Mapping[str, Any]) -> dict[str, Any]:
    """Calls at `rate` a second; the time between two belongs to the library's own threads."""
    call = open_call(given)
    events = stream(given["n"])
    timed(call, stream(WARM_UP_COUNT), 0)
    clock = time.perf_counter_ns
    step_ns = 1_000_000_000 // given["rate"]
    taken_ns = []
    refused = 0
    due = clock() + step_ns
    begun = time.perf_counter()
    for number, event in enumerate(events):
        wait_ns = due - clock()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        start = clock()
        refused += not call(WARM_UP_COUNT + number, event)
        taken_ns.append(clock() - start)
        due += step_ns
    return {"ns": taken_ns, "refused": refused, "rate": len(events) / (time.perf_counter() - begun)}


def settled_rss_bytes() -> int:
    """Memory once it has not moved for half a second: what a library's threads load once is no growth with its events."""
    deadline = time.monotonic() + SETTLE_S_MAX
    held, since = rss_bytes(), time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < SETTLED_S:
        time.sleep(0.05)
        gc.collect()
        now = rss_bytes()
        if abs(now - held) > SETTLED_BYTES:
            held, since = now, time.monotonic()
    return held


def memory(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a library keeps in memory of events it cannot send."""
    call = open_call(given)
    timed(call, stream(2_000), 0)
    before = settled_rss_bytes()
    refused = sum(not call(2_000 + number, properties(number)) for number in range(given["n"]))
    gc.collect()
    return {"rss_grown_bytes": rss_bytes() - before, "refused": refused}


def kill(given: Mapping[str, Any]) -> None:
    """Capture on several threads, mark each accepted event in a shared file, and end by SIGKILL.

    kill_in_the_middle: one thread ends it all between a call and its mark, while the others are calling.
    """
    count, threads = given["n"], given["threads"]
    kill_at = random.Random(given["seed"]).randrange(count // 4, count) if given["kill_in_the_middle"] else -1
    with Path(given["marks"]).open("r+b") as file:
        marks = mmap.mmap(file.fileno(), count)
    call = open_call(given)
    events = stream(count)
    go = threading.Barrier(threads)

    def capture(first: int) -> None:
        go.wait()
        for number in range(first, count, threads):
            accepted = call(number, events[number])
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if accepted:
                marks[number] = 1

    workers = [threading.Thread(target=capture, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the case and print what it gave."""
    given = json.loads(sys.argv[1])
    found = {"burst": burst, "paced": paced, "memory": memory, "kill": kill}[given["case"]](given)
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
