"""A disk that is really full: the application goes on, what was acknowledged stays, and space is enough to recover."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflexarc import Client, Config


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB. Needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_refuses_events_in_words_and_recovers_when_there_is_space(small_disk: Path) -> None:
    with Client(small_disk / "store", config=Config(store_bytes_max=12 * 2**20)) as client:
        for i in range(200):
            assert client.page(f"/before/{i}").accepted
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(b"x" * 65_536)
                    file.flush()
            except OSError:
                pass
        accepted = refused = 0
        text = "/" + "x" * 4_000
        while refused < 50:
            receipt = client.page(text, title=text)
            accepted += receipt.accepted
            refused += not receipt.accepted
            assert receipt.accepted or receipt.reason.startswith("storage:")
            assert accepted < 5_000, "the disk was never full"
        ballast.unlink()
        assert client.page("/after").accepted
        kept = [record.event for _, record in client.log.records(0) if hasattr(record, "event")]
        assert len(kept) == 200 + accepted + 1
        assert kept[-1].properties["page_url"] == "/after"
        views = client.runtime.engine.feature_values(client.subject, client.moment().now)["page_views"]
        assert views == len(kept), "the engine is where the log is"
