"""A process that does nothing but capture at a steady pace with no server in reach, and tells how much memory it holds.

One sample in JSON a line on the standard output, and a last line with what became of the events.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from reflexarc import Client
from reflexarc_core.record import LossOutput
from tests.promises import kit
from tests.promises.disk_bound import Gauge

SUBJECTS = 300


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def queued(client: Client) -> dict[str, int]:
    """How much waits in memory, by where it waits."""
    spool, runtime = client.log.spool, client.runtime
    return {
        "captures": spool.captures_waiting,
        "entries": len(spool._waiting),
        "late": len(runtime._late),
        "open": len(runtime.owed.undelivered),
    }


def main(folder: Path, seconds: float, rate: float, bytes_max: int, sample_s: float, seed: int) -> None:
    draw = random.Random(seed)
    # Nobody listens at the discard port: the uplink tries, fails and backs off for the whole run.
    bounds = kit.config(store_bytes_max=bytes_max)
    client = Client(folder, catalog=kit.catalog(), server="127.0.0.1:9", insecure=True, config=bounds)
    client.on("offer", lambda decision: None)
    gauge = Gauge(folder, every_s=0.5)
    started = time.monotonic()
    accepted = refused = 0
    next_sample = 0.0
    total = int(seconds * rate)
    for serial in range(total):
        due = started + serial / rate
        pause = due - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        receipt = kit.track(client, draw, serial, size=draw.choice((0, 0, 100, 600)), subject=f"known:{draw.randrange(SUBJECTS)}")
        accepted += receipt.accepted
        refused += not receipt.accepted
        at = time.monotonic() - started
        if at >= next_sample:
            next_sample += sample_s
            print(json.dumps({"s": round(at, 3), "rss": rss_bytes(), "events": serial + 1, "queued": queued(client)}), flush=True)
    gauge.stop()
    late_s = time.monotonic() - started - seconds
    named: set[int] = set()
    reasons: dict[str, int] = {}
    held = 0
    for seq, record in client.log.records(0):
        named.add(seq)
        if isinstance(record, LossOutput):
            named.update(range(record.first_seq, record.last_seq + 1))
            reasons[record.reason] = reasons.get(record.reason, 0) + record.count
        held += kit.serial_of(record) is not None
    last = client.log.last_seq
    client.close()
    end = {"accepted": accepted, "refused": refused, "held": held, "numbers": last, "losses": reasons, "largest": gauge.largest}
    unnamed = last - len(named & set(range(1, last + 1)))
    print(json.dumps({**end, "unnamed": unnamed, "late_s": round(late_s, 2)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
