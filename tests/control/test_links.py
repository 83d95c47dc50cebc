"""Links: who is who counts everywhere, and an undone link leaves nothing, as on a server that was never told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_proto.v1 import admin_service_pb2 as messages
from reflexarc_proto.v1 import event_service_pb2, report_service_pb2
from reflexarc_proto.wire import subject_from_proto, subject_to_proto
from reflexarc_server.app import Server, start_server
from tests.control.kit import Kiosk, catalog
from tests.server import kit
from tests.server.kit import T0, ManualClock, Stubs, decision, message, wait_for

KNOWN, OTHER, SESSION = "known:1", "known:2", "session:s1"
TICKET = "support_tickets"


@pytest.fixture
def server(data: Path, clock: ManualClock) -> Iterator[Server]:
    started = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    yield started
    started.stop()


def ticket(number: int, subject: str) -> Event:
    return Event(f"t{number}", "support_ticket", subject, T0 + number, {"severity": "high"})


def identify(number: int, subject: str, known_id: str) -> Event:
    return Event(f"i{number}", "identify", subject, T0 + number, {"known_id": known_id})


def tickets(stubs: Stubs, *subjects: str) -> list[float]:
    """What the server says of them, once it is at rest."""
    wait_for(lambda: stubs.status().fold_lag_count == 0)
    request = event_service_pb2.PullRequest(subjects=[subject_to_proto(subject) for subject in subjects])
    answer = stubs.events.Pull(request, metadata=stubs.metadata, timeout=10)
    return [held.values[TICKET] for held in answer.values]


def links(stubs: Stubs, subject: str = "") -> list[messages.Link]:
    request = messages.ListLinksRequest(subject=subject_to_proto(subject) if subject else None)
    return list(stubs.admin.ListLinks(request, timeout=10).links)


def link(stubs: Stubs, subject: str, known: str) -> str:
    request = messages.LinkSubjectsRequest(subject=subject_to_proto(subject), known=subject_to_proto(known))
    return str(stubs.admin.LinkSubjects(request, timeout=10).link_id)


def undo(stubs: Stubs, link_id: str) -> None:
    stubs.admin.UndoLink(messages.UndoLinkRequest(link_id=link_id), timeout=10)


def test_identifying_joins_what_was_before_and_what_comes_after(stubs: Stubs) -> None:
    stubs.track(ticket(1, KNOWN), ticket(2, SESSION))
    assert tickets(stubs, KNOWN, SESSION) == [1.0, 1.0]
    stubs.track(identify(3, SESSION, "1"))
    wait_for(lambda: tickets(stubs, KNOWN, SESSION) == [2.0, 2.0])
    stubs.track(ticket(4, SESSION), ticket(5, KNOWN), ticket(6, OTHER))
    assert tickets(stubs, KNOWN, SESSION, OTHER) == [4.0, 4.0, 1.0]
    (one,) = links(stubs)
    assert (one.link_id, subject_from_proto(one.subject), subject_from_proto(one.known)) == ("i3", SESSION, KNOWN)
    assert (one.said_by, one.said_time, one.effective, one.undone_time) == ("device-1", T0, True, 0)


def test_an_undone_link_leaves_nothing_and_its_rows_stay(stubs: Stubs, data: Path, clock: ManualClock, server: Server) -> None:
    stubs.track(ticket(1, KNOWN), ticket(2, SESSION), identify(3, SESSION, "1"), ticket(4, SESSION))
    wait_for(lambda: tickets(stubs, KNOWN) == [3.0])
    clock.now += 5
    undo(stubs, "i3")
    undo(stubs, "i3")
    wait_for(lambda: tickets(stubs, KNOWN, SESSION) == [1.0, 2.0])
    (one,) = links(stubs)
    assert (one.effective, one.undone_time, one.undone_by) == (False, T0 + 5, "operator")
    server.stop()
    again = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    reopened = Stubs(again.address)
    assert tickets(reopened, KNOWN, SESSION) == [1.0, 2.0], "after a restart too"
    assert len(links(reopened, SESSION)) == 1
    reopened.close()
    again.stop()


def test_a_link_outlives_a_restart_and_is_applied_after_it(stubs: Stubs, data: Path, clock: ManualClock, server: Server) -> None:
    stubs.track(ticket(1, KNOWN), ticket(2, SESSION))
    wait_for(lambda: tickets(stubs, KNOWN) == [1.0])
    link(stubs, SESSION, KNOWN)
    server.stop()
    again = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    reopened = Stubs(again.address)
    wait_for(lambda: tickets(reopened, KNOWN, SESSION) == [2.0, 2.0])
    reopened.track(ticket(3, SESSION))
    assert tickets(reopened, KNOWN) == [3.0]
    reopened.close()
    again.stop()


def test_two_people_are_never_one(stubs: Stubs) -> None:
    stubs.track(ticket(1, SESSION), identify(2, SESSION, "1"), identify(3, SESSION, "2"), identify(4, KNOWN, "2"))
    stubs.track(ticket(5, KNOWN), ticket(6, OTHER))
    wait_for(lambda: tickets(stubs, KNOWN, OTHER) == [2.0, 1.0])
    assert [(one.link_id, one.effective) for one in links(stubs)] == [("i2", True), ("i3", False)]
    for subject, known in ((SESSION, OTHER), (KNOWN, OTHER), (SESSION, "session:s2")):
        with pytest.raises(grpc.RpcError) as refused:
            link(stubs, subject, known)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError):
        undo(stubs, "no such link")


def test_a_kiosk_links_each_person_to_their_own_session(tmp_path: Path, server: Server, stubs: Stubs) -> None:
    kiosk = Kiosk(tmp_path / "device", server.address)
    kiosk.client.reset()
    first = kiosk.client.subject
    kiosk.pages(1)
    kiosk.client.identify("1")
    kiosk.pages(1)
    kiosk.client.identify("2")
    kiosk.pages(1)
    assert kiosk.client.subject == OTHER
    wait_for(lambda: len(links(stubs)) == 2)
    told = [(subject_from_proto(one.subject), subject_from_proto(one.known)) for one in links(stubs)]
    assert told[0] == (first, KNOWN)
    assert told[1][0] not in (first, KNOWN), "a session of their own"
    assert told[1][1] == OTHER
    kiosk.close()


def arms(stubs: Stubs) -> tuple[int, int, int, int]:
    request = report_service_pb2.GetResultsRequest(trigger_ids=["re_engage"])
    (row,) = stubs.reports.GetResults(request, timeout=10).triggers
    return row.treated.subject_count, row.treated.goal_count, row.held_out.subject_count, row.crossed_count


def test_linked_subjects_are_one_in_the_results_and_two_assignments_leave_the_effect(data: Path, clock: ManualClock) -> None:
    started = start_server(data, "127.0.0.1:0", kit.catalog(), clock, insecure=True)
    stubs = Stubs(started.address)
    clock.now += 100
    reasons = (("a", Reason.FIRED, SESSION), ("b", Reason.HOLDOUT, KNOWN), ("c", Reason.FIRED, "session:s2"))
    stubs.push([message(n, decision(i, reason, who, T0)) for n, (i, reason, who) in enumerate(reasons, 1)])
    stubs.track(Event("bought", "purchase", OTHER, T0 + 50, {"order_id": "o", "amount": 1.0}))
    assert arms(stubs) == (2, 0, 1, 0)
    crossing, joining = link(stubs, SESSION, KNOWN), link(stubs, "session:s2", OTHER)
    wait_for(lambda: arms(stubs) == (1, 1, 0, 1))
    undo(stubs, crossing)
    undo(stubs, joining)
    wait_for(lambda: arms(stubs) == (2, 0, 1, 0))
    stubs.close()
    started.stop()


def test_erasing_a_person_erases_who_is_linked_to_them(stubs: Stubs, clock: ManualClock, data: Path) -> None:
    stubs.track(Event("p", "page_view", "session:zebrafinch", T0, {"page_url": "/"}), identify(1, "session:zebrafinch", "1"))
    wait_for(lambda: [one.effective for one in links(stubs)] == [True])
    wait_for(lambda: stubs.status().subject_count == 1)
    clock.now += 10
    request = messages.ForgetSubjectRequest(subject=subject_to_proto(KNOWN))
    assert stubs.admin.ForgetSubject(request, timeout=30).done
    assert links(stubs) == []
    assert not [path for path in data.rglob("*") if path.is_file() and b"zebrafinch" in path.read_bytes()]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_was_said_and_undone_the_state_is_that_of_what_stands(seed: int, stubs: Stubs) -> None:
    """Events, links and undoings in any order, as fast as they can be said: a count of the events by hand is the judge."""
    draw = random.Random(seed)
    anonymous = [f"session:{n}" for n in range(4)]
    everybody = [*anonymous, KNOWN, OTHER]
    counts = dict.fromkeys(everybody, 0)
    standing: dict[str, tuple[str, str]] = {}
    for number in range(60):
        who = draw.choice(everybody)
        match draw.randrange(5):
            case 0 if who in anonymous and who not in standing:
                person = draw.choice((KNOWN, OTHER))
                standing[who] = (link(stubs, who, person), person)
            case 1 if who in standing:
                undo(stubs, standing.pop(who)[0])
            case _:
                counts[who] += 1
                stubs.track(ticket(number, who))
    person_of = {who: standing[who][1] if who in standing else who for who in everybody}
    expected = [float(sum(counts[one] for one in everybody if person_of[one] == person_of[who])) for who in everybody]
    wait_for(lambda: tickets(stubs, *everybody) == expected)
