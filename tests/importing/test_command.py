"""The import command against a real server: everything arrives once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc.backend import Backend
from reflexarc.definitions import load_catalog
from reflexarc_cli.access import Access
from reflexarc_cli.importing.command import import_into, verdict_of
from reflexarc_cli.importing.run import DUPLICATE, REFUSED, STORED, Verdict
from reflexarc_cli.progress import Progress
from reflexarc_cli.shoppers import ShopperWorld, write_rows
from reflexarc_core.errors import TransportError
from reflexarc_server.app import start_server
from reflexarc_server.clock import SystemClock
from tests.importing.kit import write

QUIET = Progress(quiet=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    running = start_server(tmp_path / "server", "127.0.0.1:0", load_catalog(None), SystemClock(), insecure=True)
    yield running.address
    running.stop()


def stored_count(address: str) -> int:
    backend = Backend(address, insecure=True)
    count = backend.status()["events"]
    backend.close()
    return int(count)


def test_a_second_import_into_a_server_adds_nothing(server: str, tmp_path: Path) -> None:
    path = tmp_path / "shoppers.jsonl.gz"
    count = write_rows(ShopperWorld(3, shopper_count=60, history_days=40, replay_days=0).history(), path)
    first = import_into(path, None, server, None, QUIET, access=Access(insecure=True))
    assert (first["accepted"], first["duplicates"], first["rejected"]) == (count, 0, 0)
    second = import_into(path, "simulated_shoppers", server, None, QUIET, access=Access(insecure=True))
    assert (second["accepted"], second["duplicates"], second["rejected"]) == (0, count, 0)
    assert stored_count(server) == count > 500


def test_bad_rows_go_beside_the_file_and_a_custom_type_is_stored(server: str, tmp_path: Path) -> None:
    header = "order_id,user_id,event,timestamp,lines,distinct_items,units,amount,country\n"
    rows = "1,7,order_completed,2011-01-01T10:00:00,1,1,2,9.5,UK\nC2,7,order_cancelled,2011-01-02T10:00:00,1,1,-2,-9.5,UK\n"
    path = write(tmp_path / "mine.csv", header + rows + "3,,order_completed,2011-01-01T10:00:00,1,1,2,9.5,UK\n")
    result = import_into(path, None, server, None, QUIET, access=Access(insecure=True))
    assert result["event_types"] == {"purchase": 1, "order_cancelled": 1}
    assert result["rejected_by_code"] == {"subject": 1}
    assert result["rejected_file"] == str(tmp_path / "mine.csv.rejected.jsonl")
    assert '"row_number": 3' in Path(result["rejected_file"]).read_text()
    assert stored_count(server) == 2


def test_no_server_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "shoppers.jsonl"
    write_rows(ShopperWorld(3, shopper_count=5, history_days=5, replay_days=0).history(), path)
    with pytest.raises(TransportError) as caught:
        import_into(path, None, "127.0.0.1:1", None, QUIET, access=Access(insecure=True))
    assert "\n" not in str(caught.value)


def test_every_word_of_a_server_is_a_verdict_or_stops_the_import() -> None:
    words = {"stored": STORED, "duplicate": DUPLICATE, "rejected": REFUSED}
    assert {word: verdict_of(word, "why") for word in words} == {word: Verdict(code, "why") for word, code in words.items()}
    for word in ("later", "unspecified", "something new"):
        with pytest.raises(TransportError, match="again later"):
            verdict_of(word, "")
