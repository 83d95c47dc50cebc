"""Our server as a process of its own, for benchmarks in which a device is connected. Owns its start and its end."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.child import ROOT

START_MAX_S = 30.0


class ServerMissing(RuntimeError):
    """The server cannot run here; the message says why."""


@contextlib.contextmanager
def server(folder: Path, catalog: Path) -> Iterator[int]:
    """A running `reflexarc serve`; its port. Raises ServerMissing where it does not come up."""
    if importlib.util.find_spec("reflexarc_server") is None or importlib.util.find_spec("reflexarc_server.app") is None:
        raise ServerMissing("reflexarc_server is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "reflexarc_cli", "serve", "--data", str(folder / "data"), "--address", "127.0.0.1:0",
             "--catalog", str(catalog), "--insecure"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        yield _port(process, said)
    finally:
        process.kill()
        process.wait()


def _port(process: "subprocess.Popen[bytes]", said: Path) -> int:
    deadline = time.monotonic() + START_MAX_S
    while time.monotonic() < deadline:
        for line in said.read_text().splitlines():
            if line.startswith("listening on "):
                return int(line.rsplit(":", 1)[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise ServerMissing(said.read_text()[-500:] or f"it did not come up within {START_MAX_S:g} s")
