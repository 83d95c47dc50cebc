"""The example shop in real Chromium: what visitors do is in the log, and what is decided of them is in the page.

REFLEXARC_ARTEFACTS names a folder for screenshots.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from reflexarc_core.event import Event
from reflexarc_core.record import EventInput
from reflexarc_proto.v1 import record_pb2
from reflexarc_proto.wire import record_from_proto
from tests.house.rooms import ROOT

BROWSER = Path(__file__).parent / "browser"
TIME_MS_MAX = 250


class Shop(NamedTuple):
    origin: str
    process: subprocess.Popen[str]
    folder: Path

    def events(self) -> list[Event]:
        """Everything in the server's log, in order; the server has to be stopped."""
        with sqlite3.connect(self.folder / "server" / "server.db") as db:
            bodies = [body for (body,) in db.execute("SELECT body FROM log WHERE kind = 1 ORDER BY server_seq")]
        db.close()
        read = [record_from_proto(record_pb2.LogRecord.FromString(body))[1] for body in bodies]
        return [record.event for record in read if isinstance(record, EventInput)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    command = [sys.executable, str(ROOT / "examples" / "site" / "serve.py"), "--port", "0", "--folder", str(tmp_path / "shop")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = next((line for line in process.stdout if line.startswith("the shop is at ")), "")
    yield Shop(line.split()[-1].rstrip("/") if line else "", process, tmp_path / "shop")
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_visitors_of_the_example_shop(shop: Shop) -> None:
    pictures = os.environ.get("REFLEXARC_ARTEFACTS", "")
    done = subprocess.run(
        ["node", "shop.mjs", shop.origin, *([pictures] if pictures else [])],
        cwd=BROWSER, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    shop.process.send_signal(signal.SIGINT)
    assert shop.process.wait(timeout=30) == 0
    assert told["problems"] == [], "nothing breaks the page's policy"
    assert told["refused"] == {"sent": [], "kept": []}
    assert told["banner"] == "Not sure which one?"
    assert told["mistake"]

    events = shop.events()
    assert len({event.event_id for event in events}) == len(events)
    of = Counter(event.event_type for event in events)
    views = [str(event.properties["page_path"]) for event in events if event.event_type == "page_view"]
    for path in ("/", "/products/oolong", "/tea-finder", "/tea-finder/strong", "/tea-finder/flowery", "/articles/water"):
        assert path in views, (path, views)
    assert views.count("/products/sencha") == 2
    clicks = Counter(str(event.properties["kind"]) for event in events if event.event_type == "button_click")
    assert clicks["download"] == 1
    assert clicks["video"] == 5, "begun, three quarters on the way, whole"
    read_on = [event for event in events if event.properties.get("label") == "read-on"]
    assert len(read_on) == 1, "what was clicked offline came once"
    assert {event.properties["content_id"] for event in events if event.event_type == "content_view"} == {"brewing", "water"}
    assert (of["form_submit"], of["purchase"]) == (1, 1)
    outcomes = [event.properties["kind"] for event in events if event.event_type == "outcome"]
    assert outcomes[:2] == ["impression", "click"]
    views_of = [event for event in events if event.event_type == "page_view"]
    last = [view for view in views_of if view.properties["page_path"] == "/products/sencha"][-1]
    leaves = [event for event in events if event.event_type == "page_leave"]
    left = [leave for leave in leaves if last.event_id.endswith(str(leave.properties["view_id"]))]
    time_ms = 1_000 * sum(float(str(leave.properties["time_on_page"])) for leave in left)
    assert abs(time_ms - told["seen_ms"]) <= TIME_MS_MAX
