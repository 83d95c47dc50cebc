"""Segments at a server: its own triggers wait for them, who is in is counted, over restarts, links and erasures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from reflexarc.backend import Backend
from reflexarc_build.reader import build_text
from reflexarc_cli.main import cli
from reflexarc_core.event import Event
from reflexarc_proto.v1 import admin_service_pb2
from reflexarc_proto.v1 import report_service_pb2 as messages
from reflexarc_proto.wire import reason_from_proto, subject_to_proto
from reflexarc_server.app import Server, start_server
from tests.server.kit import DAY, T0, ManualClock, Stubs, page, wait_for

HOUR = 3_600_000
CATALOG = build_text("""
include: standard
features:
  visits: {aggregation: count, of: [page_view], window: 1d, bucket: 6h}
  bought: {aggregation: total, of: [purchase]}
segments:
  regular: features.visits > 1.0
  buyer: {condition: features.bought > 0.0, tracked: true}
  visitor: features.visits > 0.0
  german: event.locale == "de"
triggers:
  goes: {segment_left: regular, placement: server, action: a}
  comes: {segment_entered: regular, placement: server, action: a}
actions: {a: {}}
""")


CAME, WENT = ("comes", "entered:regular", "FIRED"), ("goes", "left:regular", "FIRED")


class Place:
    """One server over one folder, that can be started again."""

    def __init__(self, data: Path, clock: ManualClock) -> None:
        self.data, self.clock = data, clock
        self.count = 0
        self._start()

    def _start(self) -> None:
        self.server: Server = start_server(self.data, "127.0.0.1:0", CATALOG, self.clock, insecure=True)
        self.stubs = Stubs(self.server.address)

    def stop(self) -> None:
        self.stubs.close()
        self.server.stop()

    def again(self) -> None:
        self.stop()
        self._start()

    def views(self, *subjects: str) -> None:
        for subject in subjects:
            self.count += 1
            self.stubs.track(page(self.count, subject, self.clock.now))
        self.stubs.folded()

    def standing(self, **more: object) -> dict[str, tuple[int | None, int, int, bool]]:
        answer = self.stubs.reports.CountSegments(messages.CountSegmentsRequest(**more), timeout=10)  # type: ignore[arg-type]
        return {
            one.name: (
                one.subject_count if one.HasField("subject_count") else None, one.entered_count, one.left_count, one.followed
            )
            for one in answer.segments
        }  # fmt: skip

    def expect(self, *wanted: tuple[str, str, str]) -> None:
        """These decisions and no others, once they are written: the state is there a moment before."""
        wait_for(lambda: self._decided() == sorted(wanted))

    def _decided(self) -> list[tuple[str, str, str]]:
        rows = self.stubs.reports.ListDecisions(messages.ListDecisionsRequest(), timeout=10).decisions
        return sorted((one.trigger_id, one.instance, str(reason_from_proto(one.reason))) for one in rows)


@pytest.fixture
def place(data: Path, clock: ManualClock) -> Iterator[Place]:
    opened = Place(data, clock)
    yield opened
    opened.stop()


def test_who_is_in_and_who_came_and_went(place: Place, clock: ManualClock) -> None:
    clock.now = T0 + HOUR
    place.views("known:1", "known:1", "known:2", "known:2", "known:3")
    place.stubs.track(Event("b", "purchase", "known:3", clock.now))
    place.stubs.folded()
    assert place.standing() == {
        "buyer": (1, 1, 0, True), "german": (None, 0, 0, False), "regular": (2, 2, 0, True), "visitor": (3, 0, 0, False),
    }  # fmt: skip
    place.expect(*[CAME] * 2)
    clock.now = T0 + 2 * DAY
    wait_for(lambda: place.standing()["regular"] == (0, 2, 2, True))
    assert place.standing()["visitor"] == (0, 0, 0, False), "the window is over for everybody"
    assert place.standing()["buyer"] == (1, 1, 0, True)
    place.expect(*[CAME, WENT] * 2)
    place.again()
    assert place.standing(segments=["regular"]) == {"regular": (0, 2, 2, True)}
    assert place.standing(segments=["regular"], since_time=T0 + 2 * HOUR) == {"regular": (0, 0, 2, True)}
    assert place.standing(segments=["regular"], until_time=T0 + 2 * HOUR) == {"regular": (0, 2, 0, True)}
    assert place.standing(segments=["regular"], since_time=T0 + 2 * HOUR, until_time=T0 + 3 * HOUR)["regular"] == (0, 0, 0, True)


def test_a_restart_tells_nobody_again(place: Place, clock: ManualClock) -> None:
    clock.now = T0 + HOUR
    place.views("known:1", "known:1")
    place.again()
    place.views("known:1")
    assert place.standing()["regular"] == (1, 1, 0, True)
    place.expect(CAME)


def test_linked_subjects_are_one_and_an_erased_one_is_gone(place: Place, clock: ManualClock) -> None:
    clock.now = T0 + HOUR
    place.views("session:1", "known:1", "known:2", "known:2")
    assert place.standing()["visitor"] == (3, 0, 0, False)
    assert place.standing()["regular"] == (1, 1, 0, True)
    request = admin_service_pb2.LinkSubjectsRequest(subject=subject_to_proto("session:1"), known=subject_to_proto("known:1"))
    place.stubs.admin.LinkSubjects(request, timeout=10)
    wait_for(lambda: place.standing()["visitor"] == (2, 0, 0, False))
    assert place.standing()["regular"] == (2, 1, 0, True), "both views are one person's, and nobody entered"
    place.expect(CAME)
    place.stubs.admin.ForgetSubject(admin_service_pb2.ForgetSubjectRequest(subject=subject_to_proto("known:2")), timeout=60)
    wait_for(lambda: place.standing()["regular"] == (1, 1, 0, True))


def test_a_segment_that_is_not_there_and_a_window_the_wrong_way_round(place: Place) -> None:
    for request, why in (
        (messages.CountSegmentsRequest(segments=["nobody"]), "no such segment"),
        (messages.CountSegmentsRequest(since_time=T0 + 1, until_time=T0), "ends before it begins"),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            place.stubs.reports.CountSegments(request, timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert why in refused.value.details()


def test_services_and_people_ask_alike(place: Place, clock: ManualClock) -> None:
    clock.now = T0 + HOUR
    place.views("known:1", "known:1")
    with Backend(place.server.address, insecure=True) as backend:
        found = backend.segments(["regular", "german"])
    assert found["segments"] == {
        "regular": {"subjects": 1, "entered": 1, "left": 0, "followed": True},
        "german": {"subjects": None, "entered": 0, "left": 0, "followed": False},
    }
    assert (found["subjects"], found["as_of_time"]) == (1, clock.now)
    assert found["until_time"] - found["since_time"] == 744 * HOUR
    asking = ["segments", "--server", place.server.address, "--insecure"]
    told = CliRunner().invoke(cli, [*asking, "buyer", "german"])
    assert [line.split() for line in told.output.splitlines()] == [
        ["segment", "subjects", "entered", "left", "followed"],
        ["buyer", "0", "0", "0", "True"], ["german", "-", "0", "0", "False"],
    ]  # fmt: skip
    as_json = json.loads(CliRunner().invoke(cli, [*asking, "--json"]).output)
    assert set(as_json["segments"]) == {"buyer", "german", "regular", "visitor"}
