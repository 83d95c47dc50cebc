"""Two releases of skew, both ways (rule 32): what older releases stored and said, against what is here now."""

from __future__ import annotations

import base64
import json
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from reflexarc import Client, Config
from reflexarc.definitions import load_catalog
from reflexarc_core.record import EventInput
from reflexarc_edge.upload import upload_batch
from reflexarc_proto.v1 import decision_pb2, record_pb2, report_service_pb2
from reflexarc_proto.v1 import event_service_pb2 as messages
from reflexarc_proto.wire import record_to_proto
from reflexarc_server.app import Server, start_server
from reflexarc_server.log_reader import LogReader, applied_event_ids
from tests.server.kit import Stubs, decision, event_record, message, page
from tests.skew.recorder import EVENTS, OFFLINE

HERE = Path(__file__).parent
RECORDS = sorted(path.name.removesuffix(".tar.gz") for path in (HERE / "records").glob("*.tar.gz"))
CONTRACTS = sorted(path.name for path in (HERE / "contract").iterdir())
T0 = 1_700_000_000_000
LOOPBACK = Config(insecure=True, offset_minutes=0, backoff_ms_min=50, backoff_ms_max=200)


@pytest.fixture(params=RECORDS)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What an older release left, unpacked."""
    with tarfile.open(HERE / "records" / f"{request.param}.tar.gz") as packed:
        packed.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    started: list[Server] = []

    def one(folder: Path) -> Server:
        started.append(start_server(folder, "127.0.0.1:0", load_catalog(None), insecure=True))
        return started[-1]

    yield one
    for server in started:
        server.stop()


def calls(release: Path, method: str) -> list[tuple[bytes, bytes]]:
    """(request, answer) of every recorded call of a method, in order."""
    kept = json.loads((release / "calls.json").read_text())
    return [(base64.b64decode(one["request"]), base64.b64decode(one["answer"])) for one in kept if one["method"].endswith(method)]


def test_there_are_two_releases() -> None:
    assert len(RECORDS) >= 2


def test_an_older_device_and_an_older_server_go_on_where_they_were(release: Path, serve: Callable[[Path], Server]) -> None:
    """Both stores are opened by today's code; what the device had not sent arrives, what it had does not arrive again."""
    before = sorted(event_id for event_id in applied_event_ids(release / "server"))
    assert len(before) == EVENTS + 3  # the identification, the support ticket, the event of a service
    server = serve(release / "server")
    faults: list[Exception] = []
    client = Client(release / "device", server=server.address, config=LOOPBACK, on_error=faults.append)
    offline = [
        record.event.event_id for _, record in client.log.records(0)
        if isinstance(record, EventInput) and str(record.event.properties.get("page_url", "")).startswith("/offline-")
    ]  # fmt: skip
    assert len(offline) == OFFLINE
    assert client.track("page_view", {"page_url": "/today"}).accepted
    reached = client.flush(20)
    client.close()
    assert reached.delivered, reached
    assert faults == []
    after = applied_event_ids(release / "server")
    assert len(after) == len(set(after)) == len(before) + OFFLINE + 1
    stubs = Stubs(server.address)
    counted = stubs.reports.CountEvents(report_service_pb2.CountEventsRequest(), timeout=10)
    stubs.close()
    assert sum(one.count for one in counted.counts) == len(after)
    assert set(before) | set(offline) < set(after)
    assert len(list(LogReader(release / "server").events())) == len(after)


def test_what_older_devices_sent_gets_the_answers_it_got(release: Path, tmp_path: Path, serve: Callable[[Path], Server]) -> None:
    stubs = Stubs(serve(tmp_path / "new").address, "older")
    kinds: tuple[tuple[str, Any], ...] = (("Push", messages.PushResponse), ("Track", messages.TrackResponse))
    for method, answers in kinds:
        call: Any = stubs.channel.unary_unary(f"/reflexarc.v1.EventService/{method}")
        sent = calls(release, method)
        assert sent
        for request, answer in sent:
            then, now = answers.FromString(answer), answers.FromString(call(request, metadata=stubs.metadata, timeout=10))
            assert [(v.seq, v.code) for v in now.verdicts] == [(v.seq, v.code) for v in then.verdicts]
            assert getattr(now, "upto_seq", 0) == getattr(then, "upto_seq", 0)
    stored = len(applied_event_ids(tmp_path / "new"))
    for request, _ in calls(release, "Push"):
        call = stubs.channel.unary_unary("/reflexarc.v1.EventService/Push")
        call(request, metadata=stubs.metadata, timeout=10)
    assert len(applied_event_ids(tmp_path / "new")) == stored == EVENTS + 3
    stubs.close()


class _Recorded(grpc.GenericRpcHandler):
    """An older server, as far as it was recorded: it gives the answers it gave, the newest again and again."""

    def __init__(self, release: Path) -> None:
        self.answers = {method: [answer for _, answer in calls(release, method)] for method in ("Push", "Pull")}
        self.requests: list[bytes] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        answers = self.answers.get(details.method.rsplit("/", 1)[1])
        if answers is None:
            return None

        def call(request: bytes, _: grpc.ServicerContext) -> bytes:
            if answers is self.answers["Push"]:
                self.requests.append(request)
            return answers[-1]

        return grpc.unary_unary_rpc_method_handler(call)


def test_a_new_device_takes_the_answers_of_older_servers(release: Path, tmp_path: Path) -> None:
    recorded = _Recorded(release)
    older = grpc.server(ThreadPoolExecutor(2), handlers=[recorded])
    port = older.add_insecure_port("127.0.0.1:0")
    older.start()
    faults: list[Exception] = []
    client = Client(tmp_path / "device", server=f"127.0.0.1:{port}", config=LOOPBACK, on_error=faults.append)
    for number in range(10):
        assert client.track("page_view", {"page_url": f"/{number}"}).accepted
    reached = client.flush(20)
    client.close()
    older.stop(0).wait()
    assert reached.delivered, reached
    assert faults == []
    assert recorded.requests


@pytest.mark.parametrize("contract", CONTRACTS)
def test_what_a_new_device_sends_is_read_by_the_last_contract(contract: str, tmp_path: Path) -> None:
    """Nothing that the older server needs has moved: it finds every event, and keeps what it does not know."""
    client = Client(tmp_path / "device", config=LOOPBACK)
    for number in range(5):
        client.track("page_view", {"page_url": f"/{number}", "time_on_page": 2.5})
    client.log.drain()
    client.log.sync_to_disk()
    batch = upload_batch(client.log, 500, 1_000_000)
    request = messages.PushRequest(
        incarnation=batch.incarnation, records=[record_to_proto(seq, record, check) for seq, check, record in batch.records]
    )
    client.close()
    read = _class(contract, tmp_path, "reflexarc.v1.PushRequest").FromString(request.SerializeToString())
    assert read.incarnation == batch.incarnation
    assert [(r.seq, r.check) for r in read.records] == [(seq, check) for seq, check, _ in batch.records]
    ours = [(r.event.event.event_id, r.event.event.subject.id) for r in request.records if r.HasField("event")]
    assert [(r.event.event.event_id, r.event.event.subject.id) for r in read.records if r.HasField("event")] == ours
    assert len(ours) >= 5
    assert messages.PushRequest.FromString(read.SerializeToString()) == request


def _class(contract: str, folder: Path, name: str) -> Any:
    """A message class of a contract, made from its .proto files in a pool of its own."""
    from grpc_tools import protoc

    root = HERE / "contract" / contract
    out = folder / "contract.pb"
    files = [str(path) for path in sorted(root.rglob("*.proto"))]
    assert protoc.main(["protoc", f"-I{root}", f"--descriptor_set_out={out}", "--include_imports", *files]) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def test_what_a_later_release_adds_survives(tmp_path: Path, serve: Callable[[Path], Server]) -> None:
    """Fields inside an event, kinds of record and reasons of decisions that this version does not know are kept as they came."""
    later_field = b"\xfa\x06\x05later"
    event = event_record(1, page(1))
    event = record_pb2.LogRecord(seq=1, event=record_pb2.EventInput.FromString(event.event.SerializeToString() + later_field))
    kind = record_pb2.LogRecord.FromString(record_pb2.LogRecord(seq=2).SerializeToString() + later_field)
    reason = message(3, decision("d", next(iter(_reasons())), "known:1", T0))
    reason.decision.reason = 1_000  # type: ignore[assignment]
    placement = message(4, decision("e", next(iter(_reasons())), "known:1", T0))
    placement.decision.placement = 1_000  # type: ignore[assignment]
    sent = [event, kind, reason, placement, event_record(5, page(5))]
    server = serve(tmp_path / "server")
    stubs = Stubs(server.address)
    answer = stubs.push(sent)
    assert [v.code for v in answer.verdicts] == [messages.VERDICT_CODE_STORED] * 5
    assert stubs.folded().unfoldable_count == 0
    stubs.close()
    reader = LogReader(tmp_path / "server")
    assert list(reader.decisions()) == []
    with sqlite3.connect(tmp_path / "server" / "server.db") as connection:
        bodies = [row[0] for row in connection.execute("SELECT body FROM log WHERE installation != '' ORDER BY server_seq")]
    connection.close()
    assert [record_pb2.LogRecord.FromString(body) for body in bodies] == sent
    assert later_field in bodies[0]


def _reasons() -> Any:
    from reflexarc_core.decision import Reason

    assert len(decision_pb2.Reason.values()) > 10
    return Reason
