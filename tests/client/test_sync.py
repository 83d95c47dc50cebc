"""What happens when the two ends do not agree: copies, rollbacks, a server from a backup, refusals, a long backlog."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from reflexarc import Client, Config
from reflexarc.definitions import load_catalog
from reflexarc.pacing import RETRY_AFTER_MS_MAX, Pacing, directed_ms
from reflexarc.sender import EARLY_BACKLOG_BATCHES, Sender
from reflexarc.testing import ManualClock
from reflexarc.transport import Pushed, push_request
from reflexarc_core.errors import InvalidEventError, LimitError, TransportError
from reflexarc_core.record import EventInput
from reflexarc_edge.upload import UploadBatch
from reflexarc_proto.v1.record_pb2 import LogRecord
from reflexarc_server.app import Server, start_server
from reflexarc_server.log_reader import LogReader, applied_event_ids
from tests.server.kit import wait_for

T0 = 1_700_000_000_000
QUICK = Config(
    offset_minutes=0, flush_interval_ms=10, backoff_ms_min=20, backoff_ms_max=100, poll_ms=50, batch_records_max=50,
    history_rows=100_000,
)  # fmt: skip


class ServerClock:
    """A server's clock that stands."""

    def now_ms(self) -> int:
        return T0


def serve(folder: Path, address: str = "127.0.0.1:0") -> Server:
    return start_server(folder, address, load_catalog(None), ServerClock(), insecure=True)


def device(folder: Path, server: str | None = None) -> Client:
    return Client(folder, server=server, clock=ManualClock(T0), config=QUICK, insecure=server is not None)


def visit(client: Client, first: int, last: int, mark: str = "") -> None:
    for number in range(first, last + 1):
        assert client.page(f"/{mark}{number}").accepted


def put_back(backup: Path, data: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(backup, data)


def urls(data: Path) -> list[str]:
    return [str(event.properties["page_url"]) for _, event in LogReader(data).events()]


def pages(mark: str, first: int, last: int) -> set[str]:
    return {f"/{mark}{number}" for number in range(first, last + 1)}


def streams(data: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(data / "server.db") as db:
        return db.execute("SELECT installation, upto_seq FROM streams ORDER BY 2").fetchall()


# -- copies and rollbacks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent_before", [True, False])
def test_a_copied_store_and_its_original_both_go_on_and_nothing_is_lost(tmp_path: Path, sent_before: bool) -> None:
    server = serve(tmp_path / "server")
    with device(tmp_path / "one", server.address if sent_before else None) as client:
        visit(client, 1, 120)
        if sent_before:
            assert client.flush(20).delivered
        installation = client.stats()["installation"]
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two", "one", "two"):
        with device(tmp_path / name, server.address) as client:
            # The same millisecond, the same numbers, the same pages: other events all the same.
            visit(client, 1, 80, mark="more/")
            assert client.flush(20).delivered, client.stats()
            stats = client.stats()
            assert stats["installation"] == installation
    server.stop()
    found = urls(tmp_path / "server")
    assert sum(url in pages("", 1, 120) for url in found) == 120, "what both hold from before is applied once"
    assert sum(url in pages("more/", 1, 80) for url in found) == 4 * 80
    held = streams(tmp_path / "server")
    assert len(held) == 2, "one of them began a new numbering, once"
    assert {name for name, _ in held} == {installation}


@pytest.mark.parametrize("written", [0, 1, 700, 1_000, 1_500])
def test_a_machine_put_back_by_a_thousand_events_loses_none_of_the_new_ones(tmp_path: Path, written: int) -> None:
    server = serve(tmp_path / "server")
    with device(tmp_path / "device", server.address) as client:
        visit(client, 1, 150)
        assert client.flush(20).delivered
        visit(client, 151, 200)
    shutil.copytree(tmp_path / "device", tmp_path / "snapshot")
    with device(tmp_path / "device", server.address) as client:
        visit(client, 201, 1_200)
        assert client.flush(20).delivered
    shutil.rmtree(tmp_path / "device")
    shutil.copytree(tmp_path / "snapshot", tmp_path / "device")
    with device(tmp_path / "device", server.address) as client:
        visit(client, 1, written, mark="new/")
        assert client.flush(20).delivered, client.stats()
        assert client.stats()["uplink"]["rekeyed"] == (written > 0)
        assert client.log.acked_seq == client.log.last_seq
    server.stop()
    found = urls(tmp_path / "server")
    assert sum(url in pages("", 1, 1_200) for url in found) == 1_200
    assert [url for url in found if url.startswith("/new/")] == [f"/new/{number}" for number in range(1, written + 1)]


# -- a server from a backup -------------------------------------------------------------------------------------------


def test_a_server_from_an_older_copy_says_so_and_gets_again_what_is_left(tmp_path: Path) -> None:
    data = tmp_path / "server"
    server = serve(data)
    address = server.address
    with device(tmp_path / "device", address) as client:
        visit(client, 1, 60)
        assert client.flush(20).delivered
        server.stop()
        shutil.copytree(data, tmp_path / "backup")
        server = serve(data, address)
        visit(client, 61, 200)
        assert client.flush(20).delivered
        server.stop()
        put_back(tmp_path / "backup", data)
        # Some of what the server held is not kept here any more.
        numbers = {url_of(record): seq for seq, record in client.log.records(0)}
        first, last = numbers["/50"], numbers["/99"]
        with client.log.spool.store.transaction() as db:
            db.execute("DELETE FROM log WHERE seq BETWEEN ? AND ?", (first, last))
        server = serve(data, address)
        # Without a new event: whoever comes back is asked how far it is. Until that the client knows of nothing to deliver.
        wait_for(lambda: client.stats()["uplink"]["rewound"] == 1)
        assert client.flush(20).delivered
    server.stop()
    assert set(urls(data)) == pages("", 1, 60) | pages("", 100, 200)
    with sqlite3.connect(data / "server.db") as db:
        assert dict(db.execute("SELECT name, value FROM counters"))["ahead"] == 1
        ((seq, body),) = db.execute("SELECT seq, body FROM log WHERE kind = 18 AND installation != ''").fetchall()
    loss = LogRecord.FromString(body).loss
    assert (loss.reason, seq, loss.last_seq) == ("cut", loss.first_seq, last), "what neither has is a loss with a reason"
    assert numbers["/60"] < loss.first_seq <= numbers["/61"]


def test_a_server_from_an_older_copy_that_a_copied_store_moved_on_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """Both a store and its copy go on; the server goes back, and the other store is there first."""
    data = tmp_path / "server"
    server = serve(data)
    address = server.address
    with device(tmp_path / "device", address) as client:
        visit(client, 1, 30)
        assert client.flush(20).delivered
    server.stop()
    shutil.copytree(data, tmp_path / "backup")
    shutil.copytree(tmp_path / "device", tmp_path / "copy")
    server = serve(data, address)
    with device(tmp_path / "device", address) as client:
        visit(client, 31, 60)
        assert client.flush(20).delivered
        numbers = {url_of(record): seq for seq, record in client.log.records(0)}
        with client.log.spool.store.transaction() as db:
            db.execute("DELETE FROM log WHERE seq <= ?", (numbers["/55"],))
    server.stop()
    put_back(tmp_path / "backup", data)
    server = serve(data, address)
    with device(tmp_path / "copy", address) as other:
        visit(other, 1, 10, mark="other/")
        assert other.flush(20).delivered
    with device(tmp_path / "device", address) as client:
        visit(client, 61, 62)
        assert client.flush(20).delivered
        assert client.stats()["uplink"]["rekeyed"] == 1
    server.stop()
    assert set(urls(data)) == pages("", 1, 30) | pages("other/", 1, 10) | pages("", 56, 62)
    with sqlite3.connect(data / "server.db") as db:
        losses = [LogRecord.FromString(body).loss for (body,) in db.execute("SELECT body FROM log WHERE kind = 18")]
    lost = {seq for loss in losses if loss.reason == "cut" for seq in range(loss.first_seq, loss.last_seq + 1)}
    assert {numbers[f"/{number}"] for number in range(31, 56)} <= lost, "what neither has is a loss with a reason"


@pytest.mark.parametrize("new_ones_sent", [False, True])
def test_a_server_from_before_a_new_numbering_gets_what_it_was_told_under_the_old_one(
    tmp_path: Path, new_ones_sent: bool
) -> None:
    data = tmp_path / "server"
    server = serve(data)
    address = server.address
    with device(tmp_path / "device", address) as client:
        visit(client, 1, 60)
        assert client.flush(20).delivered
        server.stop()
        shutil.copytree(data, tmp_path / "backup")
        server = serve(data, address)
        visit(client, 61, 200)
        assert client.flush(20).delivered
    shutil.copytree(tmp_path / "device", tmp_path / "snapshot")
    with device(tmp_path / "device", address) as client:
        visit(client, 201, 210)
        assert client.flush(20).delivered
    # The machine is put back and begins a new numbering behind what both share; then the server is, too.
    with device(tmp_path / "snapshot", address) as client:
        visit(client, 1, 90, mark="new/")
        if new_ones_sent:
            assert client.flush(20).delivered
        else:
            client.log.cursor.renumber(client.log.acked_seq)
    server.stop()
    put_back(tmp_path / "backup", data)
    server = serve(data, address)
    with device(tmp_path / "snapshot", address) as client:
        visit(client, 91, 95, mark="new/")
        assert client.flush(20).delivered, client.stats()
    server.stop()
    found = urls(data)
    assert len(found) == len(set(found))
    assert set(found) == pages("", 1, 200) | pages("new/", 1, 95)


# -- refusals -------------------------------------------------------------------------------------------------------------


class Judge:
    """A server that refuses batches as a whole, or single records in them."""

    def __init__(
        self, refuses: Callable[[UploadBatch], Exception | None], rejects: Callable[[str], str] = lambda url: ""
    ) -> None:
        self.refuses = refuses
        self.rejects = rejects
        self.held: list[str] = []
        self.upto_seq = 0
        self.calls = 0
        self.losses: list[tuple[str, int, int]] = []
        self.early: list[str] = []

    def push(self, batch: UploadBatch) -> Pushed:
        self.calls += 1
        error = self.refuses(batch)
        if error is not None:
            raise error
        rejected = {}
        if batch.early:
            self.early += urls_of(batch)
            return Pushed(self.upto_seq, {}, 0, T0, False)
        for seq, _, record in batch.records:
            url = url_of(record)
            if url and self.rejects(url):
                rejected[seq] = self.rejects(url)
            elif url and url not in self.held:
                self.held.append(url)
        self.losses += [(loss.reason, loss.first_seq, loss.last_seq) for loss in batch.losses]
        self.upto_seq = max(self.upto_seq, batch.last_seq)
        return Pushed(self.upto_seq, rejected, 0, T0, False)


def url_of(record: object) -> str:
    return str(record.event.properties.get("page_url", "")) if isinstance(record, EventInput) else ""


def urls_of(batch: UploadBatch) -> list[str]:
    return [url for _, _, record in batch.records if (url := url_of(record))]


def send_all(client: Client, judge: Judge) -> Sender:
    sender = Sender(client.device, judge.push)
    while sender.send() is not None:
        pass
    return sender


def dead(client: Client) -> list[tuple[int, str]]:
    with client.log.spool.store.reading() as db:
        return db.execute("SELECT seq, reason FROM dead ORDER BY id").fetchall()


def test_a_refused_batch_is_halved_until_the_bad_one_stands_alone(tmp_path: Path) -> None:
    bad = {"/7", "/8", "/60", "/100"}

    def refuses(batch: UploadBatch) -> Exception | None:
        return InvalidEventError("not this") if bad & set(urls_of(batch)) else None

    with device(tmp_path / "device") as client:
        visit(client, 1, 100)
        judge = Judge(refuses)
        sender = send_all(client, judge)
        assert judge.held == [f"/{n}" for n in range(1, 101) if f"/{n}" not in bad]
        assert dead(client) == [(n, "refused: not this") for n in (8, 9, 61, 101)]
        assert judge.losses == [("refused", n, n) for n in (8, 9, 61, 101)]
        assert (sender.counts["refused"], client.log.acked_seq) == (4, client.log.last_seq)
        assert client.stats()["store"]["dead_letters"] == 4
        assert client.stats()["counts"]["errors_refused"] == 4
        assert len([1 for _, record in client.log.records(0) if url_of(record)]) == 100, "the engine's log keeps what it folded"


def test_a_server_that_refuses_everything_makes_no_dead_letter(tmp_path: Path) -> None:
    with device(tmp_path / "device") as client:
        visit(client, 1, 20)
        judge = Judge(lambda batch: InvalidEventError("no"))
        for _ in range(3):
            with pytest.raises((TransportError, InvalidEventError)):
                send_all(client, judge)
        assert (dead(client), client.log.acked_seq) == ([], 0)


@pytest.mark.parametrize("error", [LimitError("busy"), LimitError("later", retry_after_ms=50)])
def test_a_server_that_is_busy_makes_no_dead_letter(tmp_path: Path, error: LimitError) -> None:
    with device(tmp_path / "device") as client:
        visit(client, 1, 20)
        with pytest.raises(TransportError) as raised:
            send_all(client, Judge(lambda batch: error if batch.records else None))
        assert getattr(raised.value, "retry_after_ms", 0) == error.retry_after_ms
        assert (dead(client), client.log.acked_seq) == ([], 0)


def test_a_record_the_server_judges_bad_is_kept_with_what_it_said(tmp_path: Path) -> None:
    with device(tmp_path / "device") as client:
        visit(client, 1, 30)
        judge = Judge(lambda batch: None, lambda url: "x" * 999 if url == "/9" else "")
        sender = send_all(client, judge)
        assert len(judge.held) == 29
        assert dead(client) == [(10, ("rejected: " + "x" * 999)[:200])]
        assert sender.counts["rejected"] == 1


def test_an_event_too_large_for_the_server_costs_its_neighbours_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reflexarc.sender.ALONE_BYTES_MIN", 8_000)
    with device(tmp_path / "device") as client:
        visit(client, 1, 40)
        assert client.track("page_view", {"page_url": "/large", "title": "x" * 8_000}).accepted
        visit(client, 41, 80)
        judge = Judge(lambda batch: LimitError("large") if push_request(batch, 0).ByteSize() > 8_000 else None)
        send_all(client, judge)
        assert judge.held == [f"/{n}" for n in range(1, 81)]
        assert dead(client) == [(42, "refused: large")]


# -- ahead of its turn ------------------------------------------------------------------------------------------------


def test_an_important_event_need_not_wait_behind_a_long_backlog(tmp_path: Path) -> None:
    server = serve(tmp_path / "server")
    size = QUICK.batch_records_max
    with device(tmp_path / "device") as client:
        visit(client, 1, 20 * size)
        important = [client.track("page_view", {"page_url": f"/now/{n}"}, priority=2).event_id for n in range(3)]
        visit(client, 1, 10, mark="later/")
    with device(tmp_path / "device", server.address) as client:
        assert client.flush(30).delivered
        assert client.stats()["uplink"]["early"] == 3
    server.stop()
    order = applied_event_ids(tmp_path / "server")
    assert all(order.index(event_id) <= 3 * size for event_id in important), "within three batches of a thousand events"
    assert len(order) == len(set(order)) == 20 * size + 13
    assert len(streams(tmp_path / "server")) == 1


def test_without_a_long_backlog_everything_keeps_its_turn(tmp_path: Path) -> None:
    with device(tmp_path / "device") as client:
        visit(client, 1, EARLY_BACKLOG_BATCHES * QUICK.batch_records_max - 10)
        client.track("page_view", {"page_url": "/now"}, priority=2)
        judge = Judge(lambda batch: None)
        send_all(client, judge)
        assert judge.early == []
        assert judge.held[-1] == "/now"


# -- pauses -------------------------------------------------------------------------------------------------------------


def test_pauses_grow_with_full_jitter_between_their_bounds_for_ever() -> None:
    pacing = Pacing(1_000, 300_000)
    pauses = [pacing.failed() for _ in range(2_000)]
    assert all(1_000 <= pause <= 300_000 for pause in pauses)
    assert pauses[0] <= 2_000
    late = pauses[20:]
    assert min(late) < 20_000 and max(late) > 280_000, "spread over all of it"
    assert abs(sum(late) / len(late) - 150_500) < 10_000
    pacing.succeeded()
    assert pacing.failed() <= 2_000


def test_what_the_server_says_wins_within_reason() -> None:
    pacing = Pacing(1_000, 300_000)
    assert pacing.failed(7) == 7.0
    assert pacing.is_directed
    assert pacing.failed(2**60) == RETRY_AFTER_MS_MAX
    assert directed_ms(-5) == 0.0
    pacing.failed()
    assert not pacing.is_directed
