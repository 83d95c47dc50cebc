"""The services over a real port: who may call, what hostile callers get, what an operator can do."""

from __future__ import annotations

import random
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reflexarc_core.errors import DefinitionError, InvalidEventError, StorageError, TransportError
from reflexarc_core.event import Event
from reflexarc_proto.v1 import admin_service_pb2, event_service_pb2, report_service_pb2
from reflexarc_proto.wire import error_of_call, subject_to_proto
from reflexarc_server.app import SERVICES, Server, start_server
from reflexarc_server.clock import FileClock, SystemClock
from tests.server.kit import DAY, T0, ManualClock, Stubs, catalog, event_record, page


def test_reflection_and_health_name_every_service(server: Server, stubs: Stubs) -> None:
    asked = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
    )
    named = {service.name for service in next(iter(asked)).list_services_response.service}
    assert {f"reflexarc.v1.{name}Service" for name in ("Event", "Scoring", "Artifact", "Report", "Admin")} <= named
    health = health_pb2_grpc.HealthStub(stubs.channel)
    for name in ("", *SERVICES):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert server.address.startswith("127.0.0.1:")


def test_hostile_bytes_get_a_status_and_never_more(stubs: Stubs) -> None:
    draw = random.Random(5)
    records = [event_record(i, page(i)) for i in range(1, 4)]
    whole = event_service_pb2.PushRequest(incarnation="i", records=records).SerializeToString()
    answers: set[grpc.StatusCode] = set()
    call = stubs.channel.unary_unary("/reflexarc.v1.EventService/Push")
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 20)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            call(bytes(damaged), metadata=stubs.metadata, timeout=10)
        except grpc.RpcError as error:
            answers.add(error.code())
    assert answers == {grpc.StatusCode.INVALID_ARGUMENT}
    fetch = stubs.channel.unary_stream("/reflexarc.v1.ArtifactService/FetchFile")
    with pytest.raises(grpc.RpcError) as refused:
        list(fetch(b"\xff\xff", timeout=10))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert stubs.folded().fold_lag_count == 0
    assert stubs.track(page(99)) == [1]


def test_a_message_over_the_limit_is_refused(stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stubs.push([event_record(1, Event("e", "page_view", "known:1", T0, {f"p{i}": "x" * 100_000 for i in range(50)}))])
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_too_much_at_once_is_invalid(stubs: Stubs) -> None:
    for call, request in (
        (stubs.events.Pull, event_service_pb2.PullRequest(subjects=[subject_to_proto("known:1")] * 1_001)),
        (stubs.reports.ListDecisions, report_service_pb2.ListDecisionsRequest(page_token="x")),
        (stubs.reports.ListDecisions, report_service_pb2.ListDecisionsRequest(page_size=-1)),
        (stubs.admin.SetPaused, admin_service_pb2.SetPausedRequest(trigger_ids=["t"] * 5_000)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(request, metadata=stubs.metadata, timeout=10)
        assert type(error_of_call(refused.value)) is InvalidEventError


def test_an_error_keeps_its_class_message_and_hint(stubs: Stubs) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stubs.admin.ActivateBundle(admin_service_pb2.ActivateBundleRequest(digest="0" * 64), timeout=10)
    error = error_of_call(refused.value)
    assert type(error) is DefinitionError
    assert error.hint == "train one first"


def test_values_come_down_as_the_server_folded_them(stubs: Stubs, clock: ManualClock) -> None:
    stubs.track(*(Event(f"t{i}", "support_ticket", "known:1", T0 + i, {"ticket_id": str(i)}) for i in range(3)), page(1))
    stubs.folded()
    clock.now = T0 + DAY
    answer = stubs.events.Pull(
        event_service_pb2.PullRequest(subjects=[subject_to_proto("known:1"), subject_to_proto("known:new")]), timeout=10
    )
    assert [dict(v.values)["support_tickets"] for v in answer.values] == [3.0, 0.0]
    assert {v.as_of_time for v in answer.values} == {T0 + DAY}
    assert "page_views" not in answer.values[0].values  # a device's own
    clock.now = T0 + 200 * DAY
    later = stubs.events.Pull(event_service_pb2.PullRequest(subjects=[subject_to_proto("known:1")]), timeout=10)
    assert dict(later.values[0].values)["support_tickets"] == 0.0


def test_pauses_outlive_a_restart_and_reach_devices(data: Path, clock: ManualClock) -> None:
    for expected in ((), ("a", "b")):
        server = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
        stubs = Stubs(server.address)
        pulled = stubs.events.Pull(event_service_pb2.PullRequest(), timeout=10)
        assert tuple(pulled.paused) == expected
        told = stubs.admin.SetPaused(admin_service_pb2.SetPausedRequest(trigger_ids=["b", "a", "b"]), timeout=10)
        assert list(told.trigger_ids) == ["a", "b"]
        stubs.close()
        server.stop()


def test_one_clear_error_when_it_cannot_start(server: Server, data: Path, tmp_path: Path, clock: ManualClock) -> None:
    port = server.address.rpartition(":")[2]
    with pytest.raises(TransportError, match="in use"):
        start_server(tmp_path / "other", f"127.0.0.1:{port}", catalog(), clock, insecure=True)
    with pytest.raises(StorageError, match="another server"):
        start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    with pytest.raises(TransportError, match="loopback"):
        start_server(tmp_path / "other", "0.0.0.0:0", catalog(), clock, insecure=True)
    with pytest.raises(TransportError, match="no address"):
        start_server(tmp_path / "other", "localhost", catalog(), clock, insecure=True)


def test_a_store_of_a_later_version_is_refused_and_left_alone(data: Path, clock: ManualClock) -> None:
    import sqlite3

    data.mkdir()
    with sqlite3.connect(data / "server.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="later version"):
        start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)


def test_the_replays_clock_is_read_from_its_file_and_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    with pytest.raises(StorageError):
        FileClock(path)
    path.write_bytes((1_000).to_bytes(8, "little"))
    clock = FileClock(path)
    assert clock.now_ms() == 1_000
    path.write_bytes((5_000).to_bytes(8, "little"))
    assert clock.now_ms() == 5_000
    path.write_bytes(b"")
    assert clock.now_ms() == 5_000
    path.write_bytes((2_000).to_bytes(8, "little"))
    assert clock.now_ms() == 5_000
    system = SystemClock()
    assert system.now_ms() <= system.now_ms()
