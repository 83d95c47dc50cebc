"""One process of an application: tracks its share, writes what was accepted into the ledger, and waits to be ended."""

from __future__ import annotations

import os
import random
import select
import sys
import threading
import time
from collections.abc import Callable

from reflexarc import Client, Receipt
from reflexarc_core.errors import StorageError
from tests.processes.kit import writes

WAITING = "captures wait for the process"


def track(client: Client, position: int) -> Receipt:
    """One event that can be told from every other; every tenth one is decided on at once."""
    if position % 10:
        return client.track("page_view", {"page_url": f"/{position}"}, position=position)
    return client.track("purchase", {"order_id": f"/{position}", "amount": 1.0}, position=position)


def ended(timeout_s: float) -> bool:
    """Whether whoever started this process wants it to end; asks for as long."""
    return bool(select.select([sys.stdin], [], [], timeout_s)[0])


def owns(client: Client) -> bool:
    """Whether this process owns the store now."""
    try:
        return bool(client.log.installation)
    except StorageError:
        return False


def tell_owner(client: Client, write: Callable[[str], None]) -> None:
    """Write down the moment from which this process owns the store, and how long opening it took, s."""
    while not owns(client):
        time.sleep(0.005)
    write(f"own {os.getpid()} {time.monotonic()} {client.stats()['recovery_ms'] / 1000.0}")


def run(folder: str, ledger: str, catalog: str, first: int, count: int, seed: int) -> None:
    """Track `count` events from position `first` on, in bursts as people make them."""
    write = writes(ledger)
    draw = random.Random(seed)

    def note(error: Exception) -> None:
        if WAITING not in str(error):
            write(f"error {os.getpid()} {error!r}")

    client = Client(folder, catalog=catalog, on_error=note)
    write(f"open {os.getpid()}")
    threading.Thread(target=tell_owner, args=(client, write), daemon=True).start()
    upto = first + count
    while first < upto and not ended(draw.uniform(0.0, 0.2)):
        burst = range(first, min(upto, first + draw.randrange(1, 200)))
        for position in burst:
            receipt = track(client, position)
            while WAITING in receipt.reason and not ended(0.05):  # more than the owner takes: tried again, as a host would
                write("waited")
                receipt = track(client, position)
            write(f"kept {position} {receipt.event_id} {receipt.engine}" if receipt.accepted else f"refused {receipt.reason}")
        first = burst.stop
    while not ended(1.0):
        pass
    client.close()


if __name__ == "__main__":
    run(*sys.argv[1:4], *map(int, sys.argv[4:]))  # type: ignore[arg-type]
