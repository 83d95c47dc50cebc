"""One process that measures every `track()`: `python -m tests.processes.slow FOLDER SERVER COUNT`.

It goes on when a line comes in, and prints one JSON line: percentiles in milliseconds, and how often it was refused.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from reflexarc import Client, Config

LARGE = {"store_bytes_max": 2**31, "store_rows_max": 10_000_000}
"""Nothing is given up, however many wait: a million do not fit into what a store may take by default."""


def run(folder: Path, server: str, count: int) -> None:
    errors: list[str] = []
    client = Client(
        folder / "store", catalog=folder / "catalog.json", server=server, config=Config(insecure=True, **LARGE),
        on_error=lambda error: errors.append(repr(error)),
    )  # fmt: skip
    assert client.wait_online(timeout_s=20.0)
    print("online", flush=True)
    sys.stdin.readline()
    took_ns = [0] * count
    refused = 0
    gc.freeze()
    for position in range(count):
        properties = {"page_url": f"/{position}"}
        before = time.perf_counter_ns()
        receipt = client.track("page_view", properties, position=position)
        took_ns[position] = time.perf_counter_ns() - before
        refused += not receipt.accepted
    took_ns.sort()
    at = {name: took_ns[min(count - 1, int(count * share))] / 1e6 for name, share in
          (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))}  # fmt: skip
    uplink = client.stats()["uplink"]
    print(json.dumps({"ms": at, "refused": refused, "errors": errors, "pushed": uplink["pushed"]}), flush=True)
    sys.stdin.readline()
    patience_s = max(60.0, count / 1_000)
    print(json.dumps({"flushed": client.flush(patience_s).delivered, "position": client.position}), flush=True)
    client.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
