"""Promise 10: whatever the network does, everything is through within two backoff periods after it is well again.

A TCP proxy stands between a real client and a real server: it swallows everything, resets connections, leaves them half open,
lets one byte a second through, loses a share of connections and of pieces, and is not there at all. Wall clocks jump
meanwhile. A name that nobody resolves is tried apart: a plaintext client goes to this machine only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reflexarc import Client
from reflexarc_server.app import start_server
from tests.promises import kit
from tests.promises.clocks import START, YEAR, UntrustedClock
from tests.promises.delivery import check_server
from tests.promises.outcome import Outcome

AT_ONCE = 6
"""Clients, which share one interpreter with the server: more of them wait for each other, not for the network."""
LOSS = 0.3
BACKOFF_MS = 150
DEADLINE_MS = 400
PERIOD_S = (BACKOFF_MS * 1.2 + DEADLINE_MS) / 1000
"""A pause at its longest (gRPC's own has a fifth of jitter) and a call that has to wait its deadline out."""
SCHEDULING_S = 2.0
"""What a busy machine may add."""
GIVE_UP_S = 30.0
KINDS = ("swallowed", "reset", "half open", "a byte a second", "lossy", "gone")
CONFIG = {
    "backoff_ms_min": 15, "backoff_ms_max": BACKOFF_MS, "push_deadline_ms": DEADLINE_MS, "flush_interval_ms": 2, "poll_ms": 50,
    "store_bytes_max": 8 * kit.MIB, "batch_records_max": 50,
}  # fmt: skip


def run(count: int, seed: int) -> Outcome:
    """count schedules of one to three outages each."""
    outcome = Outcome(count)
    slowest = [0.0]
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it says of every connection that it is gone
    with kit.scratch("partition") as place:
        server = start_server(place / "server", "127.0.0.1:0", kit.catalog(), insecure=True)
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                cases = [
                    pool.submit(_one, place / str(n), server.address, seed * 100_000 + n, outcome, slowest) for n in range(count)
                ]
                told = [case.result() for case in cases]
            told.append(_unresolvable(place / "no-name", server.address, outcome))
        finally:
            server.stop()
        for installation, ids in told:
            check_server(place / "server", f"seed {seed}", {installation}, ids, outcome)
    outcome.details["slowest s"] = round(slowest[0], 2)
    return outcome


def _one(place: Path, address: str, seed: int, outcome: Outcome, slowest: list[float]) -> tuple[str, set[str]]:
    draw = random.Random(seed)
    where = f"seed {seed}"
    clock = UntrustedClock(START)
    proxy = Proxy(address, seed)
    ids: set[str] = set()
    with Client(
        place, server=proxy.address, insecure=True, catalog=kit.catalog(), clock=clock, config=kit.config(**CONFIG)
    ) as client:  # fmt: skip
        for _ in range(draw.randint(1, 3)):
            if draw.random() < 0.5:
                client.wait_online(True, 5)
            kind = draw.choice(KINDS)
            proxy.set(kind)
            outcome.add(kind)
            for _ in range(draw.randint(1, 4)):
                for serial in range(draw.randint(1, 40)):
                    receipt = client.track(kit.INERT, {"content_id": str(serial)}, subject="known:1")
                    if outcome.check(receipt.accepted, f"{where}: {receipt.reason}"):
                        ids.add(receipt.event_id)
                if draw.random() < 0.3:  # in the middle of a pause, say
                    clock.jump(draw.choice((50 * YEAR, -50 * YEAR)))
                threading.Event().wait(draw.uniform(0.01, 0.15))
        proxy.set("")
        healed = time.monotonic()
        target = client.log.last_seq
        while client.log.acked_seq < target and time.monotonic() - healed < GIVE_UP_S:
            threading.Event().wait(0.005)
        took = time.monotonic() - healed
        slowest[0] = max(slowest[0], took)
        outcome.check(
            took <= 2 * PERIOD_S + SCHEDULING_S, f"{where}: through only {took:.1f} s after {kind}: {client.stats()['uplink']}"
        )
        installation = client.log.installation
    proxy.close()
    return installation, ids


def _unresolvable(place: Path, address: str, outcome: Outcome) -> tuple[str, set[str]]:
    """A server whose name says nothing: events are kept, the end is quick, and all is sent once there is a name."""
    config = kit.config(**CONFIG)
    with Client(place, server="reflexarc.invalid:7443", catalog=kit.catalog(), config=config) as client:
        ids = {client.track(kit.INERT, {"content_id": str(n)}).event_id for n in range(200)}
        outcome.check(not client.flush(0.5).delivered, "delivered to nobody")
        outcome.check(not client.moment().online, "online with nobody")
        said = client.stats()["uplink"]["last_error"]
        outcome.check(bool(said), "nothing is said of it")
    with Client(place, server=address, insecure=True, catalog=kit.catalog(), config=config) as client:
        outcome.check(client.flush(GIVE_UP_S).delivered, f"not delivered: {client.stats()['uplink']}")
        outcome.add("name that says nothing")
        return client.log.installation, ids


class Proxy:
    """Bytes from one port to another, by whatever rule is set; "" lets everything through."""

    def __init__(self, upstream: str, seed: int) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._draw = random.Random(seed)
        self._kind = ""
        self._ways: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter | None]] = set()
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Future[None]] = set()
        self._listening: socket.socket | None = None
        # Holds the port while nobody listens on it: free, some other connection of this machine would take it now and then.
        self._reserved = _bound(0)
        self._port = self._reserved.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen())
        self.address = f"127.0.0.1:{self._port}"

    def set(self, kind: str) -> None:
        """The rule from now on."""
        self._do(self._set(kind))

    def close(self) -> None:
        self._do(self._end())
        self._reserved.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, what: object) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        # By hand: asyncio's own server loses a socket that it accepts while it is being closed.
        listening = _bound(self._port)
        listening.listen(128)
        listening.setblocking(False)
        self._listening = listening
        self._loop.add_reader(listening, self._let_in, listening)

    def _let_in(self, listening: socket.socket) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError:
            return
        accepted.setblocking(False)
        task = asyncio.ensure_future(self._enter(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enter(self, accepted: socket.socket) -> None:
        await self._accept(*await asyncio.open_connection(sock=accepted))

    def _shut(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    async def _set(self, kind: str) -> None:
        before, self._kind = self._kind, kind
        if kind in ("reset", "gone"):
            self._cut(reset=kind == "reset")
        if kind == "gone":
            self._shut()
        elif self._listening is None:
            await self._listen()
        if before == "half open" and not kind:  # the other side of those connections went away long ago, unseen from here
            for _, upstream in self._ways:
                if upstream is not None:
                    upstream.transport.abort()

    def _cut(self, *, reset: bool) -> None:
        for pair in list(self._ways):
            for writer in filter(None, pair):
                if reset:
                    with contextlib.suppress(OSError):
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        self._ways.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        if self._kind == "reset" or (self._kind == "lossy" and self._draw.random() < LOSS):
            writer.transport.abort()
            return
        try:
            there, out = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._ends.append(out)
        pair = (writer, out)
        self._ways.add(pair)
        born_in = self._kind
        await asyncio.gather(self._pump(reader, out, born_in), self._pump(there, writer, born_in), return_exceptions=True)
        self._ways.discard(pair)
        for end in pair:
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, born_in: str) -> None:
        is_dead = False  # a connection that was half open never comes back, however well the network is
        while piece := await reader.read(65_536):
            kind = self._kind
            is_dead = is_dead or kind == "half open" or born_in == "half open"
            if is_dead:
                continue
            while self._kind == "swallowed":
                await asyncio.sleep(0.01)  # what was swallowed comes again: TCP sees to that
            if kind == "lossy" and self._draw.random() < LOSS:
                return
            while kind == "a byte a second" and piece and self._kind == kind:
                writer.write(piece[:1])
                piece = piece[1:]
                for _ in range(100):
                    if self._kind == kind:
                        await asyncio.sleep(0.01)
            writer.write(piece)
            await writer.drain()

    async def _end(self) -> None:
        self._kind = ""
        self._shut()
        for _ in range(20):  # whoever is being let in is still to come, and what is aborted is closed a little later
            self._cut(reset=False)
            for end in self._ends:
                end.transport.abort()
            await asyncio.sleep(0.005)


def _bound(port: int) -> socket.socket:
    """A socket on a port that others of ours may share; connections to it are refused until one of them listens."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
