"""Bundles whose catalog cannot be: the client refuses them and goes on with what it runs, also after a restart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from reflexarc import Client
from reflexarc.testing import ManualClock
from reflexarc_build.reader import build_text
from reflexarc_core.errors import DefinitionError, ManifestError
from tests.core.test_hostile_catalog import HOSTILE, UNSOUND, unsound

T0 = 1_700_000_000_000
RUNNING = """
include: standard
triggers:
  pricing: {condition: event.page_url == "/pricing", on: [page_view], action: offer}
actions: {offer: {payload: {text: hello}}}
"""


def bundle_of(catalog: bytes) -> tuple[str, bytes]:
    """(digest, manifest) of a bundle with these bytes as its catalog: whole, announced, and no catalog."""
    listed = {"catalog.json": {"sha256": hashlib.sha256(catalog).hexdigest(), "bytes": len(catalog)}}
    manifest = json.dumps({"format": 1, "version": 1, "files": listed}).encode()
    return hashlib.sha256(manifest).hexdigest(), manifest


def decided(client: Client) -> list[str]:
    return [decision.reason for decision in client.track("page_view", {"page_url": "/pricing"}).decisions]


def test_no_hostile_catalog_becomes_live_and_the_running_one_stays(tmp_path: Path) -> None:
    running = build_text(RUNNING)
    with Client(tmp_path, catalog=running, clock=ManualClock(T0)) as client:
        for catalog in (*HOSTILE.values(), *map(unsound, UNSOUND)):
            digest, manifest = bundle_of(catalog)
            with pytest.raises((DefinitionError, ManifestError)):
                client.device.bundles.install(digest, manifest, lambda *_, held=catalog: held)
            assert client.device.bundles.held(digest) is None
        assert list((tmp_path / "bundles").iterdir()) == []
        assert client.stats()["catalog"]["digest"] == running.digest
        assert decided(client) == ["FIRED"]
    with Client(tmp_path, clock=ManualClock(T0)) as client:
        assert client.stats()["catalog"]["digest"] == running.digest
        assert decided(client) == ["FIRED"]


@pytest.mark.parametrize("name", ["no JSON", "a deep tree", "a later format", "a day that never comes"])
def test_a_kept_bundle_this_version_cannot_run_gives_way_to_the_last_catalog(tmp_path: Path, name: str) -> None:
    """As another version may have left it there: the bundle's files are whole."""
    running = build_text(RUNNING)
    with Client(tmp_path, catalog=running, clock=ManualClock(T0)) as client:
        catalog = HOSTILE[name] if name in HOSTILE else unsound(name)
        digest, manifest = bundle_of(catalog)
        folder = tmp_path / "bundles" / digest
        folder.mkdir(parents=True)
        (folder / "bundle.json").write_bytes(manifest)
        (folder / "catalog.json").write_bytes(catalog)
        client.log.keep_meta("bundle", digest)
    with Client(tmp_path, clock=ManualClock(T0)) as client:
        assert client.stats()["catalog"]["digest"] == running.digest
        assert decided(client) == ["FIRED"]
