"""One process whose threads all track at once, without a pause, until it is ended.

Each event carries much that its type does not declare: it takes its time and little room, so that at any moment every thread
but one stands somewhere in the middle of a call.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

from reflexarc import Client
from tests.processes.kit import writes
from tests.processes.worker import ended, tell_owner

UNDECLARED: Final = {f"undeclared_{number}": number for number in range(5_000)}


def run(folder: str, ledger: str, catalog: str, first: int, threads: int) -> None:
    write = writes(ledger)
    stop = threading.Event()
    sys.setswitchinterval(1e-4)  # a call takes longer than that
    client = Client(folder, catalog=catalog, on_error=lambda error: write(f"error {error!r}"))

    def work(position: int) -> None:
        while not stop.is_set():
            receipt = client.track("page_view", {"page_url": f"/{position}", **UNDECLARED}, position=position)
            write(f"kept {position} {receipt.event_id} {receipt.engine}" if receipt.accepted else f"refused {receipt.reason}")
            position += 1

    workers = [threading.Thread(target=work, args=(first + i * 100_000,), daemon=True) for i in range(threads)]
    for worker in (threading.Thread(target=tell_owner, args=(client, write), daemon=True), *workers):
        worker.start()
    while not ended(1.0):
        pass
    stop.set()
    for worker in workers:
        worker.join()
    client.close()


if __name__ == "__main__":
    run(*sys.argv[1:4], *map(int, sys.argv[4:6]))  # type: ignore[arg-type]
