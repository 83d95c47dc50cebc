"""`kill -9` and Ctrl-C anywhere on the way: run it again, and nothing is lost or doubled."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from reflexarc import Client
from reflexarc.testing import ManualClock
from reflexarc_cli.sync.exporting import Wanted, export
from reflexarc_proto.sync_file import peek
from reflexarc_server.app import start_server
from tests.airgap.kit import Walk, standing, stored
from tests.cli.kit import environment
from tests.server.kit import T0, catalog

SEED = 41
KILLS = 12
NEVER_SET = threading.Event()


def command(*arguments: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "reflexarc_cli", "sync", *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip


def killed(process: subprocess.Popen[bytes], after_s: float, how: signal.Signals = signal.SIGKILL) -> bool:
    """Kill a command some time after it began; False when it was done before."""
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
        process.wait(30)
        return True
    return False


def took_s(*arguments: str | Path) -> float:
    """How long a command takes here that nobody kills: kills are drawn from that, however fast the machine is."""
    started = time.monotonic()
    assert command(*arguments).wait(60) == 0
    return time.monotonic() - started


def a_store(store: Path, count: int) -> None:
    with Client(store, catalog=catalog(), clock=ManualClock(T0)) as client:
        for number in range(count):
            client.track("page_view", {"page_url": f"/{number}/{'x' * 200}"}, subject=f"known:{number % 9}")


def test_an_export_killed_anywhere_leaves_whole_files_only(tmp_path: Path) -> None:
    store, stick = tmp_path / "store", tmp_path / "stick"
    stick.mkdir()
    a_store(store, 3_000)
    _, _, newest = standing(store)
    arguments = ("export", stick / "f", "--store", store, "--unsigned", "--max-bytes", "70kB")
    draw = random.Random(SEED)
    kills = 0
    for turn in range(KILLS):
        process = command(*arguments)
        wanted = f"f.{len(list(stick.glob('f.*'))) + draw.randint(1, 2):03}"
        while process.poll() is None and not any(path.name in (wanted, f".{wanted}.part") for path in stick.iterdir()):
            NEVER_SET.wait(0.001)
        NEVER_SET.wait(draw.uniform(0, 0.01))
        if process.poll() is None:
            process.send_signal(signal.SIGINT if turn % 3 == 2 else signal.SIGKILL)
            kills += process.wait(30) != 0
        for path in stick.glob("f.*"):
            assert list(peek(path))[-1].WhichOneof("body") == "end"
    assert kills >= 2
    assert command(*arguments).wait(60) == 0
    records = [
        record.seq
        for path in sorted(stick.glob("f.*"))
        for frame in peek(path)
        for record in frame.push.records
    ]  # fmt: skip
    assert records == list(range(1, newest + 1))
    assert not list(stick.glob(".*"))


def test_imports_and_servers_killed_anywhere_double_nothing(tmp_path: Path) -> None:
    """The command is killed while it uploads, while the server applies, while it writes the answers; and so is the server."""
    data = tmp_path / "server"
    walk_server = Served(data)
    walk = Walk(tmp_path, walk_server.address)
    a_store(walk.store, 4_000)
    walk.enrol()
    installation, _, newest = standing(walk.store)
    parts = walk.export(bytes_max=300_000)
    assert len(parts) >= 4
    draw = random.Random(SEED)
    kills = 0
    least_s = took_s("import", parts[0], "--server", walk_server.address, "--insecure")
    for turn in range(KILLS):
        some = draw.sample(parts, draw.randint(1, len(parts)))
        process = command("import", *some, "--server", walk_server.address, "--insecure")
        if turn % 3 == 1:
            NEVER_SET.wait(draw.uniform(0.3, 1.0) * least_s)
            walk_server.kill()
            kills += process.wait(60) != 0
            walk_server = Served(data)
        else:
            kills += killed(process, draw.uniform(0.3, 1.0) * least_s)
    assert kills >= KILLS // 3
    walk.backend.close()
    walk = Walk(tmp_path, walk_server.address)
    answers = walk.deliver(*parts).answers
    walk.backend.close()
    walk_server.kill()
    shutil.copytree(walk.store, tmp_path / "copy")
    whole_s = took_s("import", answers, "--store", tmp_path / "copy")
    kills = sum(killed(command("import", answers, "--store", walk.store), draw.uniform(0.4, 0.9) * whole_s) for _ in range(4))
    assert kills >= 1
    assert walk.receive(answers).acked_seq == newest
    server = start_server(data, "127.0.0.1:0", catalog(), insecure=True)
    try:
        assert stored(server, installation) == list(range(1, newest + 1))
        assert not list((data / "sync-files" / "laid-by").glob("*"))
    finally:
        server.stop()


def test_a_still_servers_import_killed_is_run_again(tmp_path: Path) -> None:
    data = tmp_path / "server"
    start_server(data, "127.0.0.1:0", catalog(), insecure=True).stop()
    store, file = tmp_path / "store", tmp_path / "f"
    a_store(store, 3_000)
    installation, _, newest = standing(store)
    export(store, Wanted(file, unsigned=True), None)
    arguments = ("import", file, "--data", data, "--unsigned")
    shutil.copytree(data, tmp_path / "copy")
    whole_s = took_s("import", file, "--data", tmp_path / "copy", "--unsigned")
    draw = random.Random(SEED)
    assert sum(killed(command(*arguments), draw.uniform(0.3, 0.95) * whole_s) for _ in range(4)) >= 1
    assert command(*arguments).wait(60) == 0
    server = start_server(data, "127.0.0.1:0", catalog(), insecure=True)
    try:
        assert stored(server, installation) == list(range(1, newest + 1))
    finally:
        server.stop()


class Served:
    """A server in a process of its own, to be killed."""

    def __init__(self, data: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reflexarc_cli", "serve", "--data", str(data), "--address", "127.0.0.1:0", "--insecure"],
            stderr=subprocess.PIPE, env=environment(), text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert line.startswith("listening on "), line
        self.address = line.removeprefix("listening on ").split()[0]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
