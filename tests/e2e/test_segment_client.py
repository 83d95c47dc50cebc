"""Segment's Node library delivers through our intake, unchanged; every field of every call is kept."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from reflexarc_server.collect.segment import as_sent
from tests.collect.kit import events, started

HERE = Path(__file__).parent


def test_every_call_of_the_library_is_kept_whole(tmp_path: Path) -> None:
    server = started(tmp_path / "server")
    try:
        assert server.http is not None
        done = subprocess.run(
            ["node", "segment_client.js", server.http.address, "wk_back"],
            cwd=HERE, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        kept = [event for _, event in events(server)]
    finally:
        server.stop()
    assert told["failed"] == []
    assert set(told["answers"]) == {200}
    assert len(told["sent"]) == 7
    found = {event.event_id: as_sent(event) for event in kept}
    assert found == {f"web:back:{message['messageId']}": message for message in told["sent"]}
    assert sorted(event.event_type for event in kept) == [
        "group", "identify", "identify", "page_view", "page_view", "purchase", "trial_started"
    ]  # fmt: skip
