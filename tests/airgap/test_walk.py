"""A device, a stick and a server: everything arrives once, the answers come back, and nothing is believed that is not so."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc import Client, Config
from reflexarc.testing import ManualClock
from reflexarc_cli.misuse import Misused
from reflexarc_core.errors import StorageError, SyncFileError
from reflexarc_core.event import Event
from reflexarc_models.train.train import TrainedModel
from reflexarc_proto.sync_file import peek
from reflexarc_proto.v1 import record_pb2
from reflexarc_server.app import Server, start_server
from reflexarc_server.distribution import write_bundle
from tests.airgap.kit import Walk, standing, stored
from tests.cli import kit as cli
from tests.server.kit import T0, Stubs, catalog
from tests.server.kit import ManualClock as ServerClock

DAY = 86_400_000


@pytest.fixture
def walk(tmp_path: Path, server: Server) -> Iterator[Walk]:
    made = Walk(tmp_path, server.address)
    yield made
    made.backend.close()


def fill(store: Path, count: int, *, first: int = 0, now: int = T0, **more: object) -> None:
    with Client(store, catalog=catalog(), clock=ManualClock(now), **more) as client:  # type: ignore[arg-type]
        for number in range(first, first + count):
            assert client.track("page_view", {"page_url": f"/{number}"}, subject=f"known:{number % 5}").accepted


def test_there_and_back_and_again(walk: Walk, server: Server) -> None:
    fill(walk.store, 700)
    walk.enrol()
    installation, _, newest = standing(walk.store)
    received = walk.there_and_back()
    assert received.acked_seq == newest
    assert stored(server, installation) == list(range(1, newest + 1))
    fill(walk.store, 300, first=700)
    _, acked, newest = standing(walk.store)
    assert (acked, walk.there_and_back().acked_seq) == (received.acked_seq, newest)
    assert stored(server, installation) == list(range(1, newest + 1))


def test_an_export_deletes_nothing_and_writes_the_same_again(walk: Walk) -> None:
    fill(walk.store, 50)
    walk.enrol()
    before = standing(walk.store)
    (one,) = walk.export("one.sync")
    (two,) = walk.export("two.sync")
    assert standing(walk.store) == before
    assert [frame.push.records for frame in peek(one)] == [frame.push.records for frame in peek(two)]
    with pytest.raises(Misused, match="there already"):
        walk.export("one.sync")


def test_the_batches_of_a_file_are_those_of_a_call(walk: Walk, tmp_path: Path, server: Server) -> None:
    """The same store, once by file and once by call: the server holds the same records."""
    fill(walk.store, 400)
    walk.enrol()
    installation, *_ = standing(walk.store)
    copy = tmp_path / "copy"
    shutil.copytree(walk.store, copy)
    walk.there_and_back()

    def held(one: Server) -> list[record_pb2.LogRecord]:
        query = "SELECT body FROM log WHERE installation = ? ORDER BY seq"
        return [record_pb2.LogRecord.FromString(body) for (body,) in one.parts.store._rows(query, (installation,))]

    called = start_server(tmp_path / "called", "127.0.0.1:0", catalog(), insecure=True)
    try:
        with Client(copy, server=called.address, insecure=True, config=Config(flush_interval_ms=10)) as client:
            assert client.flush(20).delivered
        by_call = held(called)
    finally:
        called.stop()
    by_file = held(server)
    assert len(by_file) > 400
    assert by_call[: len(by_file)] == by_file


def test_parts_fit_the_stick_and_an_export_goes_on_behind_those_that_are_there(walk: Walk, server: Server) -> None:
    fill(walk.store, 1_500)
    walk.enrol()
    installation, _, newest = standing(walk.store)
    parts = walk.export(bytes_max=65_536)
    assert len(parts) > 4
    assert max(path.stat().st_size for path in parts) <= 65_536
    for path in parts[2:]:
        path.unlink()
    fill(walk.store, 10, first=1_500)
    again = walk.export(bytes_max=65_536)
    assert again[:2] == parts[:2]
    walk.receive(walk.deliver(*reversed(again)).answers)
    assert stored(server, installation) == list(range(1, newest + 11))
    parts[0].write_bytes(parts[1].read_bytes())
    with pytest.raises(Misused, match="does not go on behind it"):
        walk.export(bytes_max=65_536)


def test_only_what_is_newer_than_the_last_walk(walk: Walk, server: Server) -> None:
    fill(walk.store, 40)
    walk.enrol()
    installation, _, newest = standing(walk.store)
    first = walk.export("first.sync")
    fill(walk.store, 20, first=40)
    second = walk.export("second.sync", from_seq=newest + 1)
    early = walk.deliver(*second)
    assert [(gap.first_seq, gap.last_seq) for gap in early.streams[0].missing] == [(1, newest)]
    assert walk.receive(early.answers).acked_seq == 0
    assert walk.receive(walk.deliver(*first).answers).acked_seq == newest + 20
    assert stored(server, installation) == list(range(1, newest + 21))
    with pytest.raises(Misused, match="holds records up to"):
        walk.export("third.sync", from_seq=newest + 1_000)


def test_older_answers_acknowledge_nothing_and_take_nothing_back(walk: Walk) -> None:
    fill(walk.store, 30)
    walk.enrol()
    old = walk.deliver(*walk.export("old.sync")).answers
    fill(walk.store, 30, first=30)
    new = walk.deliver(*walk.export("new.sync")).answers
    held = walk.receive(new).acked_seq
    received = walk.receive(old)
    assert received.applied[0][1].is_old
    assert received.acked_seq == held > 60


def test_a_server_restored_from_a_backup_gets_again_what_it_lost(tmp_path: Path) -> None:
    data = tmp_path / "server"
    server = start_server(data, "127.0.0.1:0", catalog(), insecure=True)
    walk = Walk(tmp_path, server.address)
    fill(walk.store, 100)
    walk.enrol()
    installation, *_ = standing(walk.store)
    held = walk.there_and_back().acked_seq
    server.stop()
    shutil.copytree(data, tmp_path / "backup")
    server = start_server(data, "127.0.0.1:0", catalog(), insecure=True)
    walk = Walk(tmp_path, server.address)
    fill(walk.store, 100, first=100)
    before = walk.deliver(*walk.export("before.sync")).answers
    walk.receive(before)
    lost = standing(walk.store)[1]
    assert lost > held
    server.stop()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    server = start_server(data, "127.0.0.1:0", catalog(), insecure=True)
    try:
        walk = Walk(tmp_path, server.address)
        fill(walk.store, 10, first=200)
        received = walk.receive(walk.deliver(*walk.export("after.sync")).answers)
        assert received.applied[0][1].went_back
        assert received.acked_seq == held
        # What the server said before it lost them must not count any more.
        assert walk.receive(before).acked_seq == held
        walk.there_and_back()
        seqs = stored(server, installation)
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) > 210
    finally:
        walk.backend.close()
        server.stop()


def test_values_pauses_and_models_come_along(
    walk: Walk, server: Server, stubs: Stubs, data: Path, churn: TrainedModel, tmp_path: Path
) -> None:
    fill(walk.store, 20)
    walk.enrol()
    walk.backend.pause("re_engage")
    forms = {"device": tmp_path / "artifact" / "device", "server": tmp_path / "artifact" / "server"}
    churn.device.write(forms["device"])
    churn.server.write(forms["server"])
    digest = write_bundle(data, catalog(), {"churn": forms})
    walk.backend.activate(digest)
    delivered = walk.deliver(*walk.export())
    with_models = delivered.answers.stat().st_size
    applied = walk.receive(delivered.answers).applied[0][1]
    assert applied.bundle == digest
    assert applied.values_count > 0
    assert applied.notes == []
    with Client(walk.store, clock=ManualClock(T0 + 1000)) as client:
        assert client.live_bundle == digest
        assert client.stats()["paused"] == ["re_engage"]
        state = client.runtime.engine.state.subjects["known:1"]
        assert state.values
        assert client.runtime.engine.state.models["churn"].artifact_digest
    # Once it runs them they do not travel again.
    assert walk.deliver(*walk.export(force=True)).answers.stat().st_size < with_models // 2


def test_values_come_for_people_to_whom_nothing_happened(walk: Walk, clock: ServerClock) -> None:
    """A silent person is scored by the tick, and their values must not grow STALE for want of events of their own."""
    fill(walk.store, 20)
    walk.enrol()
    walk.there_and_back()
    walk.there_and_back()
    ticket = Event("ticket-1", "support_ticket", "known:3", T0 + 500, {})
    clock.now = T0 + 1_000
    assert walk.backend.track([ticket]) == [("stored", "")]
    (path,) = walk.export(force=True)
    assert all("known:3" not in str(frame.push) for frame in peek(path))
    walk.receive(walk.deliver(path).answers)
    with Client(walk.store, clock=ManualClock(T0 + 2_000)) as client:
        held = client.runtime.engine.state.subjects["known:3"].values
    assert held["support_tickets"][0] == 1.0


# -- beside a running application ---------------------------------------------------------------------------------------


def test_the_application_runs_on(walk: Walk, server: Server) -> None:
    cli.make_store(walk.store, 5)
    walk.enrol()
    with cli.owned_store(walk.store, 200):
        installation, _, newest = standing(walk.store)
        received = walk.there_and_back()
        assert received.owner_pid > 0
        assert received.is_taken
        assert received.acked_seq >= newest
    assert not list((walk.store / "inbox").iterdir())
    seqs = stored(server, installation)
    assert seqs == list(range(1, len(seqs) + 1))


def test_answers_laid_down_are_taken_by_the_next_start(walk: Walk) -> None:
    """The application stands still while they are brought, and is killed; whoever comes next takes them."""
    cli.make_store(walk.store, 5)
    walk.enrol()
    with cli.owned_store(walk.store, 50) as process:
        delivered = walk.deliver(*walk.export())
        os.kill(process.pid, signal.SIGSTOP)
        done = cli.reflexarc("sync", "import", delivered.answers, "--store", walk.store)
        assert done.status == 0
        assert "has not taken them yet" in done.out
    assert len(list((walk.store / "inbox").iterdir())) == 1
    with Client(walk.store) as client:
        client.device._look_into_inbox()
        assert client.log.acked_seq == delivered.streams[0].answer.upto_seq > 0
    assert not list((walk.store / "inbox").iterdir())


def test_a_killed_application_leaves_nothing_behind(walk: Walk, server: Server) -> None:
    """What only its journal holds is carried too."""
    cli.make_store(walk.store, 5)
    walk.enrol()
    cli.killed_store(walk.store, 300)
    walk.there_and_back()
    installation, _, newest = standing(walk.store)
    assert newest > 305
    assert stored(server, installation)[:305] == list(range(1, 306))


def test_an_encrypted_store_needs_its_key_and_no_application(tmp_path: Path, server: Server) -> None:
    store, stick = tmp_path / "store", tmp_path / "stick"
    stick.mkdir()
    (tmp_path / "key").write_bytes(cli.KEY)
    cli.make_store(store, 20, key=cli.KEY)
    with_key = ("--store", store, "--key-file", tmp_path / "key")
    assert cli.reflexarc("sync", "key", stick / "k", "--store", store).status == 2
    assert cli.reflexarc("sync", "key", stick / "k", *with_key).status == 0
    to_server = ("--server", server.address, "--insecure")
    assert cli.reflexarc("sync", "enrol", stick / "k", *to_server).status == 0
    assert cli.reflexarc("sync", "export", stick / "f", *with_key).status == 0
    assert cli.reflexarc("sync", "import", stick / "f", *to_server).status == 0
    with cli.owned_store(store, 1, key=cli.KEY):
        refused = cli.reflexarc("sync", "import", stick / "f.answers", *with_key)
        assert refused.status == 1
        assert "end that process" in refused.err
        assert not (store / "inbox").exists()
    taken = cli.reflexarc("sync", "import", stick / "f.answers", *with_key, "--json")
    assert taken.status == 0
    assert cli.is_clean(taken)


# -- what must not happen -----------------------------------------------------------------------------------------------


def test_a_copied_store_is_told_apart(walk: Walk, server: Server, tmp_path: Path) -> None:
    fill(walk.store, 30)
    walk.enrol()
    shutil.copytree(walk.store, tmp_path / "clone" / "store")
    fill(walk.store, 10, first=30)
    answers = walk.deliver(*walk.export()).answers
    clone = Walk(tmp_path / "clone", walk.backend._channel._address)
    fill(clone.store, 20, first=500)
    before = standing(clone.store)
    with pytest.raises(SyncFileError, match="another history"):
        clone.receive(answers)
    assert standing(clone.store) == before
    told = clone.deliver(*clone.export())
    assert told.streams[0].answer.rekey
    (note,) = clone.receive(told.answers).applied[0][1].notes
    assert "a new numbering begins behind 31," in note
    clone.there_and_back()
    clone.backend.close()
    # And the one whose numbers they are goes on as if nothing had been.
    assert walk.receive(answers).acked_seq == 41
    fill(walk.store, 3, first=40)
    walk.there_and_back()
    bodies = server.parts.store._rows("SELECT body FROM log WHERE kind = 1", ())
    urls = [properties_of(body).get("page_url") for (body,) in bodies]
    assert sorted(urls) == sorted(f"/{number}" for number in (*range(43), *range(500, 520)))


def properties_of(body: bytes) -> dict[str, str]:
    event = record_pb2.LogRecord.FromString(body).event.event
    return {name: value.string_value for name, value in event.properties.items()}


def test_an_old_file_is_brought_again_long_after_its_checksums_are_gone(walk: Walk, server: Server) -> None:
    """Whoever never brings answers back exports everything every time, and the server remembers the newest checksums only."""
    fill(walk.store, 600)
    walk.enrol()
    installation, *_ = standing(walk.store)
    first = walk.export("first")
    walk.deliver(*first)
    assert server.parts.store._db.execute("DELETE FROM checks WHERE first_seq < 500").rowcount
    fill(walk.store, 50, first=600)
    second = walk.deliver(*walk.export("second"))
    assert not second.streams[0].answer.rekey
    assert stored(server, installation) == list(range(1, standing(walk.store)[2] + 1))
    again = walk.deliver(*first)
    upto = second.streams[0].answer.upto_seq
    assert [walk.receive(path).acked_seq for path in (second.answers, again.answers)] == [upto, upto]


def test_a_person_forgotten_since_the_export_stands_in_nobodys_way(walk: Walk, server: Server) -> None:
    """The record that is acknowledged is a loss by now, with another checksum; and so it is when the next batch is sent."""
    fill(walk.store, 31)
    walk.enrol()
    installation, _, newest = standing(walk.store)
    files = walk.export()
    with Client(walk.store, clock=ManualClock(T0 + 1000)) as client:
        for number in range(5):
            client.forget(f"known:{number}")
    assert walk.receive(walk.deliver(*files).answers).acked_seq == newest
    fill(walk.store, 10, first=31, now=T0 + 2000)
    assert walk.there_and_back().acked_seq > newest
    seqs = stored(server, installation)
    assert len(seqs) == len(set(seqs))
    assert max(seqs) > newest + 10


def test_no_key_no_file_and_unsigned_only_when_both_say_so(walk: Walk, tmp_path: Path) -> None:
    fill(walk.store, 10)
    with pytest.raises(SyncFileError, match="no key to sign with yet"):
        walk.export()
    files = walk.export(unsigned=True)
    with pytest.raises(SyncFileError, match="not signed"):
        walk.deliver(*files)
    answers = walk.deliver(*files, allow_unsigned=True).answers
    with pytest.raises(SyncFileError, match="not signed"):
        walk.receive(answers)
    assert walk.receive(answers, allow_unsigned=True).acked_seq > 0
    walk.enrol()
    with pytest.raises(SyncFileError, match="has a key"):
        walk.deliver(*walk.export(unsigned=True, force=True), allow_unsigned=True)


def test_a_store_that_is_damaged_is_named_and_left_alone(walk: Walk) -> None:
    fill(walk.store, 400)
    walk.enrol()
    cli.change_row(walk.store, 17)
    (path,) = walk.export()
    losses = [loss for frame in peek(path) for loss in frame.push.losses]
    assert [(loss.reason, loss.first_seq, loss.last_seq) for loss in losses] == [("damaged", 17, 17)]
    (walk.store / "store.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError):
        walk.export(force=True)


MEASURED = """
import resource, sys
from pathlib import Path
from reflexarc_cli.sync.exporting import Wanted, export
import reflexarc_proto.v1.sync_file_pb2, reflexarc_proto.wire
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = export(Path(sys.argv[1]), Wanted(Path(sys.argv[2]), unsigned=True, force=True), None)
print(found.record_count, found.files[0].stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_outbox(walk: Walk) -> None:
    def measured() -> tuple[int, int, int]:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(walk.store), str(walk.stick / "f")],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        count, size, kibibytes = map(int, done.stdout.split())
        return count, size, kibibytes

    text = "x" * 4_000
    with Client(walk.store, catalog=catalog(), clock=ManualClock(T0)) as client:
        for number in range(6_000):
            client.track("page_view", {"page_url": f"/{number}/{text}"}, subject="known:1")
    count, size, kibibytes = measured()
    assert count > 6_000
    assert size > 24_000_000
    assert kibibytes * 1024 < size // 2
