"""Limits of one caller: as much as was promised and no more, waits that are enough, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc import Client
from reflexarc.credential import bearer
from reflexarc_core.errors import LimitError
from reflexarc_proto.v1 import event_service_pb2
from reflexarc_proto.v1.event_service_pb2_grpc import EventServiceStub
from reflexarc_proto.wire import error_of_call
from reflexarc_server.identity.limits import WAIT_MS_MAX, Limits, Meter, limits_of
from tests.identity.kit import Secured

SMALL = Limits(calls_per_s=10.0, calls_max=5, bytes_per_s=1_000.0, bytes_max=4_000)


class Watch:
    """A stop-watch that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 3_000)), max_size=60))
def test_no_more_than_the_rate_and_one_message_gets_through(calls: list[tuple[float, int]]) -> None:
    watch = Watch()
    meter = Meter(SMALL, watch)
    taken_calls = taken_bytes = 0
    largest = 0
    for pause, size in calls:
        watch.now += pause
        if meter.take("one", size) == 0:
            taken_calls += 1
            taken_bytes += size
            largest = max(largest, size)
    elapsed = watch.now - 100.0
    assert taken_calls <= SMALL.calls_max + elapsed * SMALL.calls_per_s + 1e-6
    assert taken_bytes <= SMALL.bytes_max + elapsed * SMALL.bytes_per_s + largest + 1e-6


@given(st.integers(1, 50), st.integers(0, 20_000))
def test_whoever_waits_as_long_as_was_said_is_taken(calls: int, size: int) -> None:
    watch = Watch()
    meter = Meter(SMALL, watch)
    for _ in range(calls):
        wait_ms = meter.take("one", size)
        if wait_ms:
            assert 0 < wait_ms <= WAIT_MS_MAX
            watch.now += wait_ms / 1_000.0
            assert meter.take("one", size) == 0


def test_callers_do_not_share_and_are_bounded() -> None:
    watch = Watch()
    meter = Meter(SMALL, watch, callers_max=10)
    for _ in range(6):
        meter.take("greedy", 0)
    assert meter.take("greedy", 0) > 0
    assert meter.take("modest", 0) == 0
    for number in range(1_000):
        meter.take(f"caller {number}", 0)
    assert len(meter) == 10


def test_limits_of_the_command_line() -> None:
    assert limits_of(None, None) is None
    found = limits_of(20, None)
    assert found is not None
    assert (found.calls_per_s, found.calls_max, found.bytes_per_s) == (20.0, 200, Limits().bytes_per_s)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Secured]:
    running = Secured(tmp_path, limits=Limits(calls_per_s=20.0, calls_max=4, bytes_per_s=1e9, bytes_max=10**9))
    yield running
    running.stop()


def test_push_over_the_limit_is_answered_in_band_and_everything_else_with_a_status(narrow: Secured) -> None:
    credential, _ = narrow.server.identity.ring.issue("dev-1")
    with open(narrow.ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(narrow.address, credentials) as channel:
        stub = EventServiceStub(channel)
        answers = [
            stub.Push(event_service_pb2.PushRequest(incarnation="i", records=[]), timeout=10, metadata=bearer(credential))
            for _ in range(12)
        ]
        over = [answer for answer in answers if answer.retry_after_ms]
        assert over and all(answer.upto_seq == 0 and not answer.verdicts and not answer.rekey for answer in over)
        refused: list[grpc.RpcError] = []
        for _ in range(50):
            try:
                stub.Pull(event_service_pb2.PullRequest(), timeout=10, metadata=bearer(credential))
            except grpc.RpcError as error:
                refused.append(error)
    assert refused
    for error in refused:
        found = error_of_call(error)
        assert isinstance(found, LimitError) and found.retry_after_ms > 0
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
    status = narrow.operator.status()
    assert status["records"] == status["folded_count"] + 1, "the server's own first record, and none of the device's"


def test_a_device_over_the_limit_delivers_everything_all_the_same(narrow: Secured) -> None:
    token, _ = narrow.operator.create_token()
    config = narrow.config(token, batch_records_max=2)
    with Client(narrow.folder / "device", server=narrow.address, config=config) as client:
        for number in range(60):
            client.page(f"/{number}")
        assert client.flush(60).delivered
        assert client.stats()["uplink"]["rejected"] == 0
