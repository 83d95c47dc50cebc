"""The ways an interpreter ends while a client is open: `python -m tests.processes.exits WAY FOLDER [SERVER]`.

Every accepted event is in the ledger, and so is the moment from which this process is about to end.
"""

from __future__ import annotations

import atexit
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from reflexarc import Client, Decision
from tests.processes.kit import Write, wait_for, writes
from tests.processes.worker import track

EVENTS: Final = 300
BUSY_S: Final = 60.0


class World:
    """One client and what it tracked."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self.write: Write = writes(folder / "ledger")
        self._folder = folder
        self._server = server
        self.open()

    def open(self) -> None:
        self.client = Client(
            self._folder / "store", catalog=self._folder / "catalog.json", server=self._server, insecure=True,
            on_error=self._note,
        )  # fmt: skip

    def track(self, first: int, count: int = EVENTS) -> None:
        for position in range(first, first + count):
            receipt = track(self.client, position)
            self.write(f"kept {position} {receipt.event_id}" if receipt.accepted else f"refused {receipt.reason}")

    def now(self) -> None:
        """From here on the process is about to end."""
        self.write(f"ends {time.monotonic()}")

    def in_background(self, first: int, *, daemon: bool, until: Callable[[], bool]) -> None:
        """Another thread tracks, until it is told otherwise or nobody asks any more."""
        started = threading.Event()

        def work(position: int) -> None:
            while not until():
                self.track(position, 10)
                position += 10
                started.set()

        threading.Thread(target=work, args=(first,), daemon=daemon).start()
        started.wait()

    def _note(self, error: Exception) -> None:
        self.write(f"error {error!r}")


def falls_off_the_end(world: World) -> None:
    world.now()


def calls_sys_exit(world: World) -> None:
    world.now()
    sys.exit(3)


def raises(world: World) -> None:
    world.now()
    raise RuntimeError("the application's own fault")


def is_terminated(world: World) -> None:
    world.now()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()


def is_interrupted(world: World) -> None:
    world.now()
    signal.raise_signal(signal.SIGINT)


def leaves_at_once(world: World) -> None:
    world.now()
    os._exit(3)


def closes(world: World) -> None:
    world.now()
    world.client.close()


def closes_at_exit(world: World) -> None:
    atexit.register(world.client.close)
    world.now()


def tracks_at_exit(world: World) -> None:
    """What `atexit` runs comes after every thread that is no daemon; some runs of it begin the first thread of ours."""
    atexit.register(world.track, 10_000)
    world.now()


def tracks_after_it_closed_at_exit(world: World) -> None:
    """Refused in words, and quietly."""
    atexit.register(lambda: world.client.page("/late").accepted and world.write("error accepted by a closed client"))
    atexit.register(world.client.close)
    world.now()


def has_a_busy_handler(world: World) -> None:
    busy = threading.Event()

    def handle(decision: Decision) -> None:
        busy.set()
        time.sleep(BUSY_S)

    world.client.on("bought", handle)
    world.track(10_000, 20)
    busy.wait()
    world.now()


def closes_with_a_busy_handler(world: World) -> None:
    has_a_busy_handler(world)
    world.client.close()


def has_a_daemon_that_tracks(world: World) -> None:
    world.in_background(10_000, daemon=True, until=lambda: False)
    world.now()


def has_a_thread_that_tracks_on(world: World) -> None:
    """The interpreter waits for it, and only then it is over."""
    ended = threading.main_thread()
    world.in_background(10_000, daemon=False, until=lambda: not ended.is_alive())
    world.now()


def has_a_server_under_way(world: World) -> None:
    """What the server says or does not say must not be waited for."""
    wait_for(lambda: bool(world.client.stats()["uplink"]["attempts"]) or is_connecting(), "it has tried")
    world.track(10_000)
    world.now()


def closes_with_a_server_under_way(world: World) -> None:
    has_a_server_under_way(world)
    world.client.close()


def closes_while_it_connects(world: World) -> None:
    """Client after client over one store, each closed a few milliseconds after it began to look for the server."""
    draw = random.Random(23)
    for turn in range(1, 41):
        world.client.close()
        world.open()
        world.track(turn * 1_000, 1)
        time.sleep(draw.uniform(0.0, 0.06))  # the moment is the point
    world.client.close()
    world.now()


def is_connecting() -> bool:
    """Whether the part that talks to a server is loaded: it is at the first try."""
    return "grpc" in sys.modules


SERVED: Final = (has_a_server_under_way, closes_with_a_server_under_way)
CAPTURING: Final = (falls_off_the_end, calls_sys_exit, is_terminated, closes, tracks_at_exit, has_a_daemon_that_tracks)
"""Ways of a process that does not own the store."""
WAYS: Final = (
    *CAPTURING, raises, is_interrupted, leaves_at_once, closes_at_exit, tracks_after_it_closed_at_exit, has_a_busy_handler,
    closes_with_a_busy_handler, has_a_thread_that_tracks_on,
)  # fmt: skip


if __name__ == "__main__":
    made = World(Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
    made.track(0)
    {way.__name__: way for way in (*WAYS, *SERVED, closes_while_it_connects)}[sys.argv[1]](made)
