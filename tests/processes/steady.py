"""One process that tracks so many events a second until it is ended, or as many as it is let when the rate is 0."""

from __future__ import annotations

import sys
import time
from typing import Final

from reflexarc import Client
from tests.processes.kit import writes
from tests.processes.worker import ended, track

SLICE_S: Final = 0.01


def run(folder: str, ledger: str, catalog: str, first: int, rate: int, count: int) -> None:
    """count: how many at most. Without a rate nothing is written down: what is refused then is refused rightly."""
    write = writes(ledger)
    client = Client(folder, catalog=catalog)
    done = 0
    started = time.monotonic()
    while done < count and not ended(SLICE_S if rate else 0.0):
        due = min(count, int((time.monotonic() - started) * rate) if rate else done + 100)
        for position in range(first + done, first + due):
            receipt = track(client, position)
            if rate:
                write(f"kept {position} {receipt.event_id}" if receipt.accepted else f"refused {receipt.reason}")
        done = due
    write(f"done {first} {time.monotonic() - started:.3f}")
    while not ended(1.0):
        pass
    client.close()


if __name__ == "__main__":
    run(*sys.argv[1:4], *map(int, sys.argv[4:]))  # type: ignore[arg-type]
