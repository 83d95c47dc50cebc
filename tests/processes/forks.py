"""Forks of a process that tracks, one scenario a run: `python -m tests.processes.forks SCENARIO FOLDER [SERVER]`.

Parent and children write every accepted event into one ledger. A child that hangs is killed after its limit, with the places
its threads stand at on standard error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from reflexarc import Client, Config
from reflexarc.channel import Channel
from reflexarc.tls import Trust
from reflexarc_core.errors import TransportError
from reflexarc_proto.v1.admin_service_pb2 import GetStatusRequest
from reflexarc_proto.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.processes.kit import Write, wait_for, writes
from tests.processes.worker import owns, track

CHILD_S: Final = 5.0
EVENTS: Final = 20
RANGE: Final = 100_000


class World:
    """The store and the ledger of one run, and positions nobody else has."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self.folder = folder
        self.write = writes(folder / "ledger")
        self.server = server
        self._next = 0
        self.draw = random.Random(folder.name)

    def open(self) -> Client:
        config = Config(flush_interval_ms=1, batch_records_max=20)
        return Client(
            self.folder / "store", catalog=self.folder / "catalog.json", server=self.server, insecure=True, config=config,
            on_error=lambda error: self.write(f"error {os.getpid()} {error!r}"),
        )  # fmt: skip

    def range(self) -> int:
        """The first of many positions for one who tracks."""
        self._next += RANGE
        return self._next

    def track(self, client: Client, first: int, count: int = EVENTS) -> None:
        for position in range(first, first + count):
            receipt = track(client, position)
            self.write(f"kept {position} {receipt.event_id}" if receipt.accepted else f"refused {receipt.reason}")

    @contextlib.contextmanager
    def tracking(self, client: Client, threads: int = 3) -> Iterator[None]:
        """Other threads track all the time, one keeps the store's file busy; all may be interrupted anywhere."""
        stop = threading.Event()
        interval = sys.getswitchinterval()

        def work(first: int) -> None:
            while not stop.wait(0.0005):
                self.track(client, first, 5)
                first += 5

        def keep_busy() -> None:
            while not stop.is_set():
                client.pause("bought")
                client.stats()
                client.resume()

        workers = [threading.Thread(target=work, args=(self.range(),)) for _ in range(threads)]
        workers.append(threading.Thread(target=keep_busy))
        sys.setswitchinterval(1e-5)
        for worker in workers:
            worker.start()
        try:
            time.sleep(self.draw.uniform(0.0, 0.1))  # the moment is the point, not what has come about by then
            yield
        finally:
            stop.set()
            for worker in workers:
                worker.join()
            sys.setswitchinterval(interval)


def fork(work: Callable[..., object], *given: object, leave: Callable[[int], object] = os._exit) -> int:
    """A child that does this with what is given, and nothing else; its pid. leave: how it ends."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work(*given)
        status = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    leave(status)
    raise AssertionError("the child goes on")


def join(write: Write, *pids: int) -> None:
    """Wait for children, and write down how each ended."""
    deadline = time.monotonic() + CHILD_S
    for pid in pids:
        while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                write(f"hang {pid}")
                os.kill(pid, signal.SIGABRT)  # where its threads stand
                os.waitpid(pid, 0)
                break
            time.sleep(0.002)
        else:
            write(f"child {pid} {os.waitstatus_to_exitcode(ended[1])}")


def before_a_client_is_there(world: World) -> None:
    def alone(first: int) -> None:
        with world.open() as client:
            world.track(client, first)

    pids = [fork(alone, world.range()) for _ in range(5)]
    alone(world.range())
    join(world.write, *pids)


def after_it_was_opened(world: World) -> None:
    with world.open() as client:
        pids = []
        for _ in range(8):
            pids.append(fork(world.track, client, world.range()))
            world.track(client, world.range())
        join(world.write, *pids)
        world.track(client, world.range())


def while_threads_track(world: World) -> None:
    with world.open() as client, world.tracking(client):
        for _ in range(10):
            join(world.write, fork(world.track, client, world.range()))


def during_an_upload(world: World) -> None:
    with world.open() as client:
        assert client.wait_online(timeout_s=20.0)
        with world.tracking(client, 1):
            for _ in range(5):
                join(world.write, fork(world.track, client, world.range()))
        wait_for(lambda: not list((world.folder / "store" / "captures").glob("*.journal")), "every capture is taken")
        world.write(f"flushed {client.flush(20.0).delivered}")


def while_its_store_is_busy(world: World) -> None:
    """A child may use SQLite for itself: no thread of the parent may have been inside it, with its locks, at the fork."""

    def use_sqlite() -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            assert database.execute("SELECT 1").fetchall() == [(1,)]

    with world.open() as client, world.tracking(client):
        for _ in range(250):
            join(world.write, fork(use_sqlite))


def right_after_a_channel_was_closed(world: World) -> None:
    """gRPC cleans up behind its last channel on a thread of its own; neither waits for the other for ever."""
    server, world.server = world.server or "", None
    with world.open() as client, world.tracking(client):
        for _ in range(300):
            channel = Channel(server, trust=Trust(insecure=True))
            with contextlib.suppress(TransportError):  # a fork may cut it off: the uplink would ask again
                channel.call(AdminServiceStub, "GetStatus", GetStatusRequest(), CHILD_S)
            channel.close()
            join(world.write, fork(lambda: None))


def of_a_fork(world: World) -> None:
    """Three generations; the one in the middle ends first or last."""

    def middle(client: Client, first: int, grandchild: int, waits: bool) -> None:
        if waits:
            world.track(client, first)
        pid = fork(world.track, client, grandchild)
        world.track(client, first + EVENTS)
        if waits:
            join(world.write, pid)

    with world.open() as client:
        for waits in (True, True, True, False):
            join(world.write, fork(middle, client, world.range(), world.range(), waits))
            world.track(client, world.range())


_pooled: list[tuple[World, Client]] = []


def _work_of_a_pool(first: int) -> int:
    world, client = _pooled[0]
    world.track(client, first)
    return os.getpid()


def in_a_pool(world: World) -> None:
    with world.open() as client:
        _pooled.append((world, client))
        world.track(client, world.range())
        with multiprocessing.get_context("fork").Pool(4) as pool:
            pids = set(pool.map(_work_of_a_pool, [world.range() for _ in range(40)], chunksize=1))
            world.track(client, world.range())
            pool.close()
            pool.join()
        assert os.getpid() not in pids
        world.write(f"pool {len(pids)}")


def child_ends_as_an_interpreter_does(world: World) -> None:
    """Its finalisation runs over all it inherited, while the parent goes on writing."""
    with world.open() as client, world.tracking(client, 2):
        for _ in range(5):
            pid = fork(world.track, client, world.range(), leave=sys.exit)
            join(world.write, pid)


def child_outlives_its_parent(world: World) -> None:
    """The parent is gone in the middle of its work; the child comes to own what it inherited."""
    client = world.open()
    if world.server:
        assert client.wait_online(timeout_s=20.0)
    ready, tell = os.pipe()

    def outlive(first: int) -> None:
        os.read(ready, 1)
        world.track(client, first)
        wait_for(lambda: owns(client), "the child owns the store", CHILD_S)
        world.write(f"own {os.getpid()}")
        world.track(client, first + EVENTS)
        client.flush(1.0)  # a fork of a process that talked to a server need not be able to: it must not hang
        client.close()
        world.write(f"child {os.getpid()} 0")

    with world.tracking(client):
        pid = fork(outlive, world.range())
        world.write(f"orphan {pid}")
        os.close(ready)
        os.write(tell, b"1")
        os._exit(0)


def child_is_looked_at(world: World) -> None:
    """The child owns what it inherited, and tracks a little more each time it is told to."""
    client = world.open()
    world.track(client, world.range())
    client.log.drain()

    def own(first: int) -> None:
        world.track(client, first)
        wait_for(lambda: owns(client), "the child owns the store", CHILD_S)
        world.write(f"own {os.getpid()}")
        while sys.stdin.readline():
            first += EVENTS
            world.track(client, first)
            client.log.drain()
            world.write(f"more {first}")
        client.close()
        world.write(f"child {os.getpid()} 0")

    pid = fork(own, world.range())
    world.write(f"orphan {pid}")
    os._exit(0)


def of_one_that_only_captures(world: World) -> None:
    """The parent captures for another process, which a fourth and fifth never touch."""
    with world.open() as owner:
        world.track(owner, world.range())

        def capture(first: int) -> None:
            with world.open() as client:
                world.track(client, first)
                pids = [fork(world.track, client, first + 1_000 * n) for n in (1, 2, 3)]
                world.track(client, first + EVENTS)
                join(world.write, *pids)

        join(world.write, fork(capture, world.range()))


def during_a_take_over(world: World) -> None:
    """Told to, it forks again and again until it owns the store. The children wait, and track when their parent is dead."""
    client = world.open()
    world.track(client, world.range())
    world.write(f"open {os.getpid()}")
    sys.stdin.readline()
    count = 0
    while not owns(client) and count < 100:
        count += 1
        first = world.range()
        if os.fork() == 0:
            sys.stdin.read()
            world.track(client, first, 5)
            os._exit(0)
        time.sleep(0.005)
    wait_for(lambda: owns(client), "it owns the store", CHILD_S)
    world.track(client, world.range())
    world.write(f"own {os.getpid()} {count}")
    sys.stdin.read()


SCENARIOS: Final = (
    before_a_client_is_there, after_it_was_opened, while_threads_track, during_an_upload, of_a_fork, in_a_pool,
    child_ends_as_an_interpreter_does, child_outlives_its_parent, of_one_that_only_captures,
    during_a_take_over, child_is_looked_at, while_its_store_is_busy,
    right_after_a_channel_was_closed,
)  # fmt: skip


if __name__ == "__main__":
    faulthandler.enable()
    {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]](
        World(Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
    )
