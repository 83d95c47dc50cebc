"""A program that patches everything for gevent before it imports us, and tracks from many greenlets."""

from gevent import monkey  # type: ignore[import-untyped]

monkey.patch_all()

import faulthandler  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from reflexarc import Client  # noqa: E402
from tests.processes.kit import writes  # noqa: E402
from tests.processes.worker import track  # noqa: E402

GREENLETS = 100
EVENTS = 50


def run(folder: Path, server: str | None) -> None:
    write = writes(folder / "ledger")
    client = Client(
        folder / "store", catalog=folder / "catalog.json", server=server, insecure=True,
        on_error=lambda error: write(f"error {error!r}"),
    )  # fmt: skip
    handled: list[object] = []
    client.on("bought", handled.append)

    def work(first: int) -> None:
        for position in range(first, first + EVENTS):
            receipt = track(client, position)
            write(f"kept {position} {receipt.event_id}" if receipt.accepted else f"refused {receipt.reason}")
            gevent.sleep(0)

    started = time.monotonic()
    gevent.joinall([gevent.spawn(work, number * EVENTS) for number in range(GREENLETS)], raise_error=True)
    write(f"tracked {time.monotonic() - started:.3f}")
    write(f"settled {client.settle(10.0)} {len(handled)}")
    write(f"flushed {client.flush(5.0).delivered}")
    started = time.monotonic()
    client.close()
    write(f"closed {time.monotonic() - started:.3f}")


if __name__ == "__main__":
    faulthandler.enable()
    run(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
