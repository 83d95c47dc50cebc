"""A process that forks servers and devices for the tests, so that a real `kill -9` costs no imports.

It has no thread and no connection of its own. Orders come as JSON lines: start (role and its own keys), kill, wait. A server
tells its address in a file; with `die_at` it kills itself after that many commits of batches, before it answers, though not
before its address is told: a device that knows the port may be faster than the file. A device
tracks until its serials are through, delivers, and ends with status 0.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

START_S = 30.0


class Offspring:
    """The process, as the tests see it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.offspring"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def serve(self, folder: Path, address: str = "127.0.0.1:0", die_at: int = 0) -> tuple[int, str]:
        """(process, address) of a server that answers."""
        told = folder.parent / "address"
        told.unlink(missing_ok=True)
        pid = self._ask({"do": "start", "role": "server", "folder": str(folder), "address": address, "die_at": die_at})
        error = folder.parent / "server-error"
        deadline = time.monotonic() + START_S
        while not told.exists():
            assert not error.exists(), f"the server ended: {error.read_text()}"
            assert time.monotonic() < deadline, f"no server within {START_S} s"
            threading.Event().wait(0.005)
        return pid, told.read_text()

    def device(self, place: Path, **order: Any) -> int:
        """The process of a device whose store and ledger are in this place."""
        return self._ask({"do": "start", "role": "device", "place": str(place), **order})

    def kill(self, pid: int) -> int:
        """End it as SIGKILL does; its status."""
        return self._ask({"do": "kill", "pid": pid})

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """Its status once it ended, None when it did not in time. A negative one: by that signal."""
        status = self._ask({"do": "wait", "pid": pid, "timeout_s": timeout_s})
        return None if status == 999 else status

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"it ended with {self._process.wait(5)} at {order}"
        return int(answer)


# -- in the process and its children ----------------------------------------------------------------------------------


def _server(order: dict[str, Any]) -> None:
    from reflexarc_server.app import start_server
    from reflexarc_server.ingest import Ingest
    from tests.promises import kit

    left = [int(order["die_at"])]
    told = threading.Event()
    take = Ingest.take

    def taken(self: Ingest, installation: str, batch: Any) -> Any:
        answer = take(self, installation, batch)
        if answer.verdicts and left[0]:
            left[0] -= 1
            if not left[0]:
                told.wait()
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Ingest.take = taken  # type: ignore[method-assign]
    folder = Path(order["folder"])
    server = start_server(folder, order["address"], kit.catalog(), insecure=True)
    fresh = folder.parent / "address.new"
    fresh.write_text(server.address)
    fresh.rename(folder.parent / "address")
    told.set()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.stop()


def _device(order: dict[str, Any]) -> None:
    from reflexarc import Client
    from tests.promises import kit

    place = Path(order["place"])
    ledger = os.open(place / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    done = len((place / "ledger").read_text().splitlines())
    config = kit.config(
        batch_records_max=order["batch"], backoff_ms_min=5, backoff_ms_max=40, flush_interval_ms=2, poll_ms=50,
        push_deadline_ms=3_000,
    )  # fmt: skip
    with Client(place / "store", server=order["address"], insecure=True, catalog=kit.catalog(), config=config) as client:
        for serial in range(order["serial"] + done, order["serial"] + order["count"]):
            receipt = client.track("content_view", {"content_id": str(serial)})
            assert receipt.accepted, receipt.reason
            os.write(ledger, f"{receipt.event_id}\n".encode())
            if serial % 20 == 0:
                threading.Event().wait(0.004)
        while not client.flush(1).delivered:
            continue


def _start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 3
    place = Path(order.get("place") or Path(order["folder"]).parent)
    try:
        signal.set_wakeup_fd(-1)
        {"server": _server, "device": _device}[order["role"]](order)
        status = 0
    except BaseException:
        (place / f"{order['role']}-error").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def _end(order: dict[str, Any]) -> int:
    watched = os.pidfd_open(order["pid"])
    try:
        if order["do"] == "kill":
            signal.pidfd_send_signal(watched, signal.SIGKILL)
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        if not poll.poll(order.get("timeout_s", 30.0) * 1000):
            return 999
        _, status = os.waitpid(order["pid"], 0)
        return os.waitstatus_to_exitcode(status)
    finally:
        os.close(watched)


def main() -> None:
    """Serve orders until there are no more."""
    import grpc  # noqa: F401  # once, for every child

    import reflexarc.uplink  # noqa: F401
    import reflexarc_server.app  # noqa: F401
    from tests.promises import kit

    kit.catalog()
    for line in sys.stdin:
        order = json.loads(line)
        print(_start(order) if order["do"] == "start" else _end(order), flush=True)


if __name__ == "__main__":
    main()
