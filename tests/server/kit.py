"""A small catalog, a server of its own per test, and raw stubs: what the server's tests stand on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import grpc

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.decision import Decision, Reason
from reflexarc_core.event import Event
from reflexarc_core.record import DecisionOutput, EventInput, Moment, Record
from reflexarc_proto.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    artifact_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    record_pb2,
    report_service_pb2_grpc,
    scoring_service_pb2_grpc,
    sync_file_service_pb2_grpc,
)
from reflexarc_proto.wire import INSTALLATION_KEY, event_to_proto, record_to_proto

DAY = 86_400_000
T0 = 1_700_000_000_000 // DAY * DAY

YAML = """
include: standard
version: server-test
triggers:
  re_engage:
    condition: predicted_churn_risk > 0.7
    cooldown: 3d
    holdout: 0.3
    goal: {events: [purchase], within: 7d}
    action: campaign
  third_page:
    placement: server
    condition: features.page_views == 3.0
    on: [page_view]
    holdout: 0.4
    cooldown: 1d
    goal: {events: [purchase], within: 2d}
    action: campaign
actions:
  campaign:
    payload: {title: Hello}
"""


@cache
def catalog() -> Catalog:
    """The test's catalog: one trigger for devices, one for the server."""
    return build_text(YAML)


class ManualClock:
    """A server clock that a test sets."""

    def __init__(self, now: int = T0) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class Stubs:
    """Every service of one server, called as one installation."""

    def __init__(self, address: str, installation: str = "device-1") -> None:
        self.channel = grpc.insecure_channel(address)
        self.metadata = ((INSTALLATION_KEY, installation),) if installation else ()
        self.events = event_service_pb2_grpc.EventServiceStub(self.channel)
        self.scoring = scoring_service_pb2_grpc.ScoringServiceStub(self.channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(self.channel)
        self.reports = report_service_pb2_grpc.ReportServiceStub(self.channel)
        self.sync_files = sync_file_service_pb2_grpc.SyncFileServiceStub(self.channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(self.channel)

    def push(self, records: list[record_pb2.LogRecord], incarnation: str = "one", **more: Any) -> event_service_pb2.PushResponse:
        request = event_service_pb2.PushRequest(incarnation=incarnation, records=records, **more)
        answer: event_service_pb2.PushResponse = self.events.Push(request, metadata=self.metadata, timeout=10)
        return answer

    def track(self, *events: Event) -> list[int]:
        request = event_service_pb2.TrackRequest(events=[event_to_proto(event) for event in events])
        return [verdict.code for verdict in self.events.Track(request, metadata=self.metadata, timeout=10).verdicts]

    def status(self) -> admin_service_pb2.GetStatusResponse:
        answer: admin_service_pb2.GetStatusResponse = self.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=10)
        return answer

    def folded(self) -> admin_service_pb2.GetStatusResponse:
        """The status once the fold has caught up."""
        wait_for(lambda: self.status().fold_lag_count == 0)
        return self.status()

    def close(self) -> None:
        self.channel.close()


def wait_for(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


def page(number: int, subject: str = "known:1", event_time: int = T0) -> Event:
    """A page view."""
    return Event(f"page-{number}", "page_view", subject, event_time, {"page_url": f"/{number}"})


def event_record(seq: int, event: Event, check: int = 0) -> record_pb2.LogRecord:
    """An event's record as a device sends it."""
    return message(seq, EventInput(Moment(event.event_time), event), check)


def message(seq: int, record: Record, check: int = 0) -> record_pb2.LogRecord:
    """Any record as a device sends it."""
    return record_to_proto(seq, record, check)


def decision(
    decision_id: str, reason: Reason, subject: str, decision_time: int, trigger_id: str = "re_engage", record: int = 0
) -> DecisionOutput:
    """A decision's record."""
    return DecisionOutput(
        Decision(decision_id, record, trigger_id, subject, f"cause-{decision_id}", reason, decision_time, "c", "edge", True)
    )


def folder_of(root: Path) -> Path:
    """A server's folder."""
    return root / "server"
