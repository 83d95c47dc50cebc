"""Sync by files where the server asks who calls: a device that enrolled needs no key carried, only an operator brings files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc.backend import Backend
from reflexarc_cli.sync.delivering import Delivered, Remote, deliver
from reflexarc_cli.sync.exporting import Wanted, export
from reflexarc_cli.sync.keys import key_of_store
from reflexarc_cli.sync.receiving import receive
from reflexarc_core.errors import PermissionDeniedError, SyncFileError, UnauthenticatedError
from tests.airgap.kit import standing, stored
from tests.cli.kit import reflexarc
from tests.identity.kit import Secured


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    running = Secured(tmp_path)
    yield running
    running.stop()


def carry(file: Path, backend: Backend) -> Delivered:
    (found,) = deliver([file], Remote(backend), None, allow_unsigned=False, told=lambda _: None)
    return found


def enrolled(secured: Secured, count: int) -> Path:
    """A device's store that was online once, and went on without."""
    token, _ = secured.operator.create_token()
    store = secured.folder / "device"
    with Client(store, server=secured.address, config=secured.config(token)) as client:
        client.track("page_view", {"page_url": "/online"})
        assert client.flush(20).delivered
    with Client(store) as client:
        for number in range(count):
            client.track("page_view", {"page_url": f"/{number}"})
    return store


def test_a_device_that_enrolled_once_needs_no_key_carried(secured: Secured) -> None:
    store = enrolled(secured, 50)
    installation, acked, newest = standing(store)
    assert 0 < acked < newest
    file = secured.folder / "f"
    export(store, Wanted(file), None)
    received = receive(store, [carry(file, secured.operator).answers], None, allow_unsigned=False)
    assert received.acked_seq == newest
    assert stored(secured.server, installation) == list(range(1, newest + 1))


def test_a_device_whose_database_was_lost_signs_as_before(secured: Secured) -> None:
    store = enrolled(secured, 5)
    for name in ("store.db", "store.db-wal", "store.db-shm", "journal"):
        (store / name).unlink(missing_ok=True)
    with Client(store) as client:
        client.track("page_view", {"page_url": "/new"})
    file = secured.folder / "f"
    export(store, Wanted(file), None)
    assert carry(file, secured.operator).streams[0].stored_count > 0


def test_files_are_brought_with_a_key_for_it(secured: Secured) -> None:
    store = enrolled(secured, 5)
    file = secured.folder / "f"
    export(store, Wanted(file), None)
    refused: list[tuple[Callable[[], Backend], type[Exception]]] = [
        (lambda: secured.backend(secured.operator.create_key("read")[0]), PermissionDeniedError),
        (lambda: secured.backend("rk_nobody"), UnauthenticatedError),
    ]
    for make, why in refused:
        backend = make()
        with pytest.raises(why):
            carry(file, backend)
        backend.close()
    courier = secured.backend(secured.operator.create_key("ingest")[0])
    assert carry(file, courier).streams[0].stored_count > 0
    courier.close()


def test_a_device_enrolled_by_hand_is_known_when_it_comes_online(secured: Secured) -> None:
    store = secured.folder / "device"
    with Client(store) as client:
        client.track("page_view", {"page_url": "/1"})
    key = key_of_store(store, None)
    secured.operator.enrol_by_hand(key.installation, key.file_key, key.secret_digest, replace=False)
    file = secured.folder / "f"
    export(store, Wanted(file), None)
    receive(store, [carry(file, secured.operator).answers], None, allow_unsigned=False)
    with Client(store, server=secured.address, config=secured.config()) as client:
        client.track("page_view", {"page_url": "/2"})
        assert client.flush(20).delivered
    secured.operator.revoke_installation(key.installation)
    export(store, Wanted(secured.folder / "g"), None)
    with pytest.raises(SyncFileError, match="revoked"):
        carry(secured.folder / "g", secured.operator)


def test_the_command_takes_the_operators_key_from_a_file(secured: Secured) -> None:
    store = enrolled(secured, 5)
    shutil.copy(secured.data / "admin-key", secured.folder / "k")
    file = secured.folder / "f"
    assert reflexarc("sync", "export", file, "--store", store).status == 0
    to_server = ("--server", secured.address, "--ca-file", secured.ca_file)
    assert reflexarc("sync", "import", file, *to_server).status == 1
    done = reflexarc("sync", "import", file, *to_server, "--api-key-file", secured.folder / "k")
    assert (done.status, "records stored" in done.out) == (0, True), done
