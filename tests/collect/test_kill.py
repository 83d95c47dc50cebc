"""kill -9 of a real server in the middle of a load over HTTP: nothing it acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import contextlib
import http.client
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from reflexarc_server.log_reader import applied_event_ids
from tests.collect.kit import SITE, Page, view
from tests.server.kit import catalog

SENDERS, BATCHES, KILLS = 4, 30, 2
_PROGRAM = """
import signal, sys, threading
from pathlib import Path
from reflexarc_build.source import parse
from reflexarc_core.catalog import Catalog
from reflexarc_server.app import http_options, start_server
from reflexarc_server.site.reader import site_of
folder = Path(sys.argv[1])
catalog = Catalog.from_bytes((folder / "catalog.json").read_bytes())
site = site_of(parse((folder / "site.yaml").read_text(), "site.yaml"), folder)
server = start_server(folder / "server", "127.0.0.1:0", catalog, insecure=True, http=http_options("127.0.0.1:0", None), site=site)
print(server.http.address, flush=True)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stop.wait()
server.stop()
"""


class _Process:
    """A server that is killed after so many acknowledged batches and started again, on the same folder."""

    def __init__(self, folder: Path, kill_after: list[int]) -> None:
        self._folder = folder
        self._kill_after = kill_after
        self.lock = threading.Lock()
        self.acked: dict[str, str] = {}
        self.kills = 0
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(self._folder)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def acknowledged(self, verdicts: list[list[str]]) -> None:
        with self.lock:
            self.acked.update((one[0], one[1]) for one in verdicts)
            if self._kill_after and len(self.acked) >= self._kill_after[0]:
                self._kill_after.pop(0)
                self.kills += 1
                self.end(signal.SIGKILL)
                self._start()

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        status = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def test_a_killed_server_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_bytes(catalog().to_bytes())
    (tmp_path / "site.yaml").write_text(SITE)
    total = SENDERS * BATCHES * 2
    draw = random.Random(7)
    held = _Process(tmp_path, sorted(draw.sample(range(20, total - 40), KILLS)))
    broken: list[BaseException] = []

    def sending(number: int) -> None:
        try:
            for turn in range(BATCHES):
                batch = [view(f"{number}-{turn}-{place}") for place in (1, 2)]
                while not _sent(held, number, batch):
                    pass
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=sending, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert broken == []
    assert held.kills == KILLS
    assert len(held.acked) == total
    assert set(held.acked.values()) <= {"stored", "duplicate"}
    assert held.end(signal.SIGTERM) == 0
    assert sorted(applied_event_ids(tmp_path / "server")) == sorted(f"web:shop:{its_id}" for its_id in held.acked)


def _sent(held: _Process, number: int, batch: list[dict[str, Any]]) -> bool:
    page = Page(held.address, f"a{number}")
    try:
        status, said = page.send(*batch)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        with contextlib.suppress(OSError):
            page.connection.close()
    if status == 200:
        held.acknowledged(said["verdicts"])
    return status == 200
