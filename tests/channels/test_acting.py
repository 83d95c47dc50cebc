"""What a server trigger decides goes out on the channel that its action names, once, whatever happens to the server."""

from __future__ import annotations

import shutil
from pathlib import Path

from reflexarc_build.reader import build_text
from reflexarc_core.decision import Reason
from reflexarc_core.event import Event
from reflexarc_server.app import Server, start_server
from reflexarc_server.log_reader import LogReader
from reflexarc_server.testing import Receiver
from tests.server.kit import DAY, T0, ManualClock, Stubs, page, wait_for

CATALOG = build_text("""
include: standard
version: acting
triggers:
  tell_sales:
    placement: server
    condition: features.page_views == 2.0
    on: [page_view]
    life: 1d
    goal: {events: [purchase], within: 2d}
    action: tell_sales
  greet:
    placement: server
    condition: features.page_views == 2.0
    on: [page_view]
    goal: {events: [purchase], within: 2d}
    action: greet
  would_tell:
    placement: server
    condition: features.page_views == 2.0
    on: [page_view]
    goal: {events: [purchase], within: 2d}
    action: tell_sales
    dry_run: true
actions:
  tell_sales:
    channel: crm
    payload: {note: "saw ${event.page_url}"}
  greet:
    payload: {title: Hello}
""")


def started(folder: Path, crm: Receiver) -> tuple[Server, Stubs]:
    server = start_server(folder, "127.0.0.1:0", CATALOG, ManualClock(T0 + DAY), insecure=True, channels=[crm])
    return server, Stubs(server.address)


def test_a_fired_action_goes_out_on_its_channel_and_to_no_device(tmp_path: Path) -> None:
    crm = Receiver()
    server, stubs = started(tmp_path / "server", crm)
    stubs.track(*(page(number, f"known:{number % 3}") for number in range(6)))
    wait_for(lambda: len(crm.taken) == 3)
    fired = {d.decision_id: d for d in LogReader(tmp_path / "server").decisions() if d.trigger_id == "tell_sales"}
    assert set(crm.taken) == set(fired) and {d.reason for d in fired.values()} == {Reason.FIRED}
    for key, outgoing in crm.taken.items():
        decision = fired[key]
        assert outgoing.subject == outgoing.order == decision.subject
        number = 3 + int(decision.subject.removeprefix("known:"))
        assert outgoing.body == {
            "kind": "action", "decision_id": key, "decision_time": T0 + DAY, "trigger_id": "tell_sales", "action": "tell_sales",
            "variant": "", "subject": decision.subject, "payload": {"note": f"saw /{number}"},
        }  # fmt: skip
    owed = server.parts.store.ask("SELECT decision_id FROM deliveries")
    assert not {row[0] for row in owed} & set(fired)
    stubs.close()
    server.stop()


def test_a_server_that_was_killed_sends_what_it_decided_once(tmp_path: Path) -> None:
    """A copy of the folder stands for a kill: the decision is there, and the other side was down."""
    down, up = Receiver(), Receiver()
    down.is_down = True
    server, stubs = started(tmp_path / "server", down)
    stubs.track(page(1), page(2))
    wait_for(lambda: bool(down.attempts))
    shutil.copytree(tmp_path / "server", tmp_path / "copy")
    stubs.close()
    server.stop()
    again, stubs = started(tmp_path / "copy", up)
    assert isinstance(again.parts.clock, ManualClock)
    again.parts.clock.now += DAY // 2
    stubs.track(page(1), page(2), page(3))
    stubs.folded()
    wait_for(lambda: bool(up.taken))
    again.stop()
    stubs.close()
    assert [one.key for one in up.attempts] == [down.attempts[0].key]


def test_whoever_is_erased_is_not_written_to(tmp_path: Path) -> None:
    from reflexarc_proto.v1 import admin_service_pb2
    from reflexarc_proto.wire import subject_to_proto

    crm = Receiver()
    crm.is_down = True
    server, stubs = started(tmp_path / "server", crm)
    stubs.track(Event("i", "identify", "anonymous:a", T0, {"known_id": "1"}), page(1, "anonymous:a"), page(2, "anonymous:a"))
    wait_for(lambda: bool(crm.attempts))
    assert crm.attempts[0].subject in ("known:1", "anonymous:a")
    forget = admin_service_pb2.ForgetSubjectRequest(subject=subject_to_proto("known:1"))
    assert stubs.admin.ForgetSubject(forget, timeout=30).done
    assert server.parts.outbox.counts()["crm"] == {"open": 0, "sent": 0, "dead": 0}
    stubs.close()
    server.stop()


def test_a_channel_that_the_server_does_not_have_is_a_devices(tmp_path: Path) -> None:
    other = Receiver("other")
    server, stubs = started(tmp_path / "server", other)
    stubs.track(page(1), page(2))
    wait_for(lambda: len(list(LogReader(tmp_path / "server").decisions())) == 3)
    assert not server.parts.outbox.counts()["other"]["open"]
    stubs.close()
    server.stop()
