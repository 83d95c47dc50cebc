"""400 simulated days without a network, the whole outbox carried twice and more, by files and by calls mixed: nothing doubles,
every gap is explained."""

from __future__ import annotations

import random
from pathlib import Path

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_core.record import KIND_OF, LossOutput
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.app import Server
from reflexarc_server.ingest import LATER
from tests.airgap.kit import Walk, standing
from tests.server.kit import T0, catalog

DAY = 86_400_000
DAYS = 400
SEED = 7
SMALL = Config(
    offset_minutes=0, store_bytes_max=4_194_304, store_rows_max=4_000, history_rows=200, flush_interval_ms=10, backoff_ms_min=20
)


def test_400_days_offline_carried_twice_by_files_and_calls(tmp_path: Path, server: Server) -> None:
    draw = random.Random(SEED)
    clock = ManualClock(T0)
    walk = Walk(tmp_path, server.address)
    files: list[Path] = []
    names: list[str] = []
    for day in range(DAYS):
        with Client(walk.store, catalog=catalog(), clock=clock, config=SMALL) as client:
            for number in range(draw.randint(1, 60)):
                url = f"/{day}/{number}/{'x' * draw.choice((0, 300, 900))}"
                receipt = client.track("content_view", {"content_id": url}, subject=f"known:{draw.randrange(40)}")
                assert receipt.accepted, receipt.reason
            names.append(client.log.incarnation)
            client.device.keep_house()  # nobody stays open long enough here for the beat to come round
        clock.advance(DAY)
        if day == 0:
            walk.enrol()
        if draw.random() < 0.05:  # somebody comes by with a stick; it may be long before the server sees it
            files += walk.export(f"day.{day}", **({"bytes_max": 300_000} if draw.random() < 0.5 else {}))
    files += walk.export("last")
    installation, acked, newest = standing(walk.store)
    assert acked == 0
    assert len(set(names)) == 1
    answers: list[Path] = []
    draw.shuffle(files)
    half = len(files) // 2
    for path in files[:half]:
        walk.deliver(path)
    # Somewhere in between the device is online for once, and drains itself.
    with Client(walk.store, clock=clock, config=SMALL, server=server.address, insecure=True) as client:
        assert client.flush(60).delivered
    for path in [*files[half:], *files, *reversed(files)]:
        delivered = walk.deliver(path)
        assert LATER not in [verdict.code for verdict in delivered.streams[0].answer.verdicts]
        # A part of which every number was lost here meanwhile cannot be told from a copy's, but by the device itself.
        assert not delivered.streams[0].answer.rekey or delivered.streams[0].stored_count == 0
        answers.append(delivered.answers)
    walk.receive(*dict.fromkeys(answers))
    with Client(walk.store, clock=clock, config=SMALL) as client:
        assert client.log.incarnation == names[0]
        assert client.log.acked_seq >= newest
    rows = server.parts.store._rows("SELECT seq, kind, body FROM log WHERE installation = ? ORDER BY seq", (installation,))
    seqs = [seq for seq, _, _ in rows]
    assert len(seqs) == len(set(seqs))
    assert explained(rows) >= newest
    assert any(kind == KIND_OF[LossOutput] for _, kind, _ in rows), "nothing was given up: the store is too large for this test"
    counters = server.parts.store.counters()
    assert counters["duplicates"] == 0
    assert counters["resent"] > len(seqs)
    assert server.parts.store.stream_count() == 1
    walk.backend.close()


def explained(rows: list[tuple[int, int, bytes]]) -> int:
    """Up to which number everything is there or named by a loss."""
    upto = 0
    for seq, kind, body in rows:
        assert seq <= upto + 1, f"{upto + 1} to {seq - 1} are missing and nothing says why"
        upto = max(upto, seq)
        if kind == KIND_OF[LossOutput]:
            upto = max(upto, record_pb2.LogRecord.FromString(body).loss.last_seq)
    return upto
