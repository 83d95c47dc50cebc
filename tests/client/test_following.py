"""A device runs what its server announces, whatever happens to a bundle on the way or to the one it has."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from reflexarc import Config
from reflexarc.backend import Backend
from reflexarc.definitions import load_catalog
from reflexarc.testing import ManualClock
from reflexarc.transport import Transport
from reflexarc_core.errors import DefinitionError
from reflexarc_server.app import Server
from tests.client.test_uplink import backend, clock, device, server, unsure, until

__all__ = ["backend", "clock", "server"]


@pytest.fixture
def two_bundles(server: Server) -> tuple[str, str]:
    """Digests of two bundles that the server keeps, of two catalogs and no models."""
    folder = server.parts.distribution
    other = dataclasses.replace(load_catalog(None), version="other")
    return folder.keep(load_catalog(None), {}), folder.keep(other, {})


def test_a_bundle_that_is_gone_when_it_is_fetched_is_taken_when_it_comes_back(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, two_bundles: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A promotion between the pull that announces a bundle and the call that fetches it, and then the way back."""
    first, second = two_bundles
    backend.activate(first)
    real = Transport.bundle_manifest

    def promoted_meanwhile(transport: Transport, digest: str, timeout_s: float) -> bytes:
        monkeypatch.undo()
        backend.activate(second)
        return real(transport, digest, timeout_s)

    monkeypatch.setattr(Transport, "bundle_manifest", promoted_meanwhile)
    told: list[Exception] = []
    with device(tmp_path, server.address, clock, on_error=told.append) as client:
        assert until(lambda: client.live_bundle == second)
        backend.activate(first)
        assert until(lambda: client.live_bundle == first)
    assert told == [], "nothing was wrong with either"


def test_a_bundle_that_was_refused_is_looked_at_again_once_another_was_announced(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, two_bundles: tuple[str, str]
) -> None:
    first, second = two_bundles
    spoiled = tmp_path / "server" / "bundles" / second / "catalog.json"
    sound = spoiled.read_bytes()
    backend.activate(second)
    spoiled.write_bytes(sound.replace(b"a", b"b"))
    told: list[Exception] = []
    with device(tmp_path, server.address, clock, on_error=told.append) as client:
        assert until(lambda: bool(told))
        attempts = client.stats()["uplink"]["attempts"]
        assert until(lambda: client.stats()["uplink"]["attempts"] > attempts + 3)
        assert (len(told), client.live_bundle) == (1, ""), "it is fetched with every pull"
        spoiled.write_bytes(sound)
        backend.activate(first)
        assert until(lambda: client.live_bundle == first)
        backend.activate(second)
        assert until(lambda: client.live_bundle == second)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_bundle_that_rots_on_the_device_is_told_of_and_fetched_again(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, two_bundles: tuple[str, str], harm: str
) -> None:
    first, _ = two_bundles
    backend.activate(first)
    with device(tmp_path, server.address, clock) as client:
        assert until(lambda: client.live_bundle == first)
    kept = tmp_path / "device" / "bundles" / first
    if harm == "gone":
        shutil.rmtree(kept)
    else:
        (kept / "catalog.json").write_bytes((kept / "catalog.json").read_bytes().replace(b"a", b"b"))
    told: list[Exception] = []
    with device(tmp_path, "", clock, on_error=told.append) as client:
        assert (client.live_bundle, len(told)) == ("", 1), "offline it goes on without, and says so"
        assert client.page("/").accepted
    with device(tmp_path, server.address, clock) as client:
        assert until(lambda: client.live_bundle == first)
    assert (kept / "bundle.json").is_file()


def test_a_folder_that_takes_no_bundle_stops_nothing_else(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, two_bundles: tuple[str, str]
) -> None:
    """Events go on, erasures are done, and the bundle is taken once there is room."""
    in_the_way = tmp_path / "device" / "bundles"
    in_the_way.parent.mkdir()
    in_the_way.write_text("no folder")
    told: list[Exception] = []
    with device(tmp_path, server.address, clock, on_error=told.append) as client:
        client.track("page_view", {"page_url": "/"}, subject="known:7")
        assert client.flush(10).delivered
        backend.activate(two_bundles[0])
        assert until(lambda: bool(told))
        backend.forget("known:7")
        assert until(lambda: not client.log.recent_decisions(1) and "known:7" not in client.runtime.engine.state.subjects)
        client.track("page_view", {"page_url": "/after"})
        assert client.flush(10).delivered
        assert client.moment().online
        assert len(told) == 1, "once, however often it is tried"
        in_the_way.unlink()
        assert until(lambda: client.live_bundle == two_bundles[0])


def test_a_bundle_that_is_still_kept_needs_no_file_of_the_servers(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, two_bundles: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, second = two_bundles
    backend.activate(first)
    with device(tmp_path, server.address, clock) as client:
        assert until(lambda: client.live_bundle == first)
        backend.activate(second)
        assert until(lambda: client.live_bundle == second)
        monkeypatch.setattr(Transport, "fetch", lambda *_: pytest.fail("it is here"))
        backend.activate(first)
        assert until(lambda: client.live_bundle == first)


def test_the_hosts_own_models_stay_whatever_the_server_publishes(
    tmp_path: Path, server: Server, backend: Backend, clock: ManualClock, two_bundles: tuple[str, str]
) -> None:
    rules = unsure()
    config = Config(offset_minutes=0, poll_ms=50)
    for _ in range(2):
        backend.activate(two_bundles[1])
        with device(tmp_path, server.address, clock, scorer=rules, models=rules.live_models, config=config) as client:
            assert until(lambda: client.live_bundle == two_bundles[1])
            assert client.catalog.version == "other"
            assert client.runtime.engine.state.models == dict(rules.live_models)


def test_a_file_that_two_bundles_have_is_found_in_the_one_that_stays(server: Server, two_bundles: tuple[str, str]) -> None:
    distribution = server.parts.distribution
    home = distribution._home
    copy = "0" * 64
    shutil.copytree(home / two_bundles[0], home / copy)
    (home / "staging-1").mkdir()
    shutil.copytree(home / two_bundles[0], home / "staging-1", dirs_exist_ok=True)
    [catalog] = distribution.load(two_bundles[0]).device_files()
    for gone in (copy, "staging-1"):
        content = b"".join(piece for piece, _ in distribution.chunks(catalog, 0))
        assert content == (home / two_bundles[0] / "catalog.json").read_bytes()
        shutil.rmtree(home / gone)
    shutil.rmtree(home / two_bundles[0])
    with pytest.raises(DefinitionError):
        next(distribution.chunks(catalog, 0))
