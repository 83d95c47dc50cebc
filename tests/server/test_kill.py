"""kill -9 of a real server at random moments: nothing it acknowledged is lost, nothing is applied twice."""

from __future__ import annotations

import random
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc

from reflexarc_server.log_reader import LogReader, applied_event_ids
from tests.server.kit import DAY, T0, Stubs, catalog, event_record, page

KILLS = 6
EVENTS = 1_500
_PROGRAM = """
import signal, sys, threading
from pathlib import Path
from reflexarc_core.catalog import Catalog
from reflexarc_server import fold
from reflexarc_server.app import start_server
from reflexarc_server.clock import FileClock
fold.SNAPSHOT_EVERY = 200
folder = Path(sys.argv[1])
catalog = Catalog.from_bytes((folder / "catalog.json").read_bytes())
server = start_server(folder / "server", "127.0.0.1:0", catalog, FileClock(folder / "clock"), insecure=True)
print(server.address, flush=True)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
stop.wait()
server.stop()
"""


class _Process:
    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.stubs = Stubs(self.process.stdout.readline().strip(), "device-1")

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        status = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.stubs.close()
        return status


def test_a_killed_server_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    draw = random.Random(4)
    (tmp_path / "catalog.json").write_bytes(catalog().to_bytes())
    (tmp_path / "clock").write_bytes(struct.pack("<q", T0 + DAY))
    records = [event_record(i, page(i, f"known:{i % 97}", T0 + i), check=i) for i in range(1, EVENTS + 1)]
    acked = kills = 0
    held = _Process(tmp_path)
    timer = threading.Timer(draw.uniform(0.0, 0.15), held.process.kill)
    timer.start()
    while acked < EVENTS:
        try:
            previous = records[acked - 1].check if acked else 0
            answer = held.stubs.push(records[acked : acked + draw.randrange(1, 20)], previous_check=previous)
            assert not answer.rekey
            assert answer.upto_seq >= acked, "what was acknowledged is gone"
            acked = answer.upto_seq
        except grpc.RpcError:
            held.end(signal.SIGKILL)
            kills += 1
            held = _Process(tmp_path)
            timer.cancel()
            if kills < KILLS:
                timer = threading.Timer(draw.uniform(0.0, 0.15), held.process.kill)
                timer.start()
        if kills < KILLS:
            time.sleep(0.005)
    timer.cancel()
    if held.process.poll() is not None:
        held.end(signal.SIGKILL)
        held = _Process(tmp_path)
    status = held.stubs.folded()
    assert kills >= 2
    assert (status.event_count, status.folded_count, status.subject_count) == (EVENTS, EVENTS, 97)
    assert held.end(signal.SIGTERM) == 0
    assert sorted(applied_event_ids(tmp_path / "server")) == sorted(f"page-{i}" for i in range(1, EVENTS + 1))
    made = list(LogReader(tmp_path / "server").decisions())
    assert len({d.decision_id for d in made}) == len(made) == 97
    assert {d.subject: d.cause_id for d in made} == {f"known:{i % 97}": f"page-{i + 194}" for i in range(1, 98)}
