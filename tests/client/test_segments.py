"""Segments as causes on a device: told to handlers, kept over restarts, gone with whoever is forgotten."""

from __future__ import annotations

from pathlib import Path

from reflexarc import Client, Decision
from reflexarc.testing import ManualClock
from reflexarc_build.reader import build_text

HOUR = 3_600_000
DAY = 24 * HOUR
T0 = 1_700_000_000_000 // DAY * DAY
CATALOG = build_text("""
include: standard
features: {visits: {aggregation: count, of: [page_view], window: 1d, bucket: 6h}}
segments: {regular: features.visits > 1.0}
triggers:
  comes: {segment_entered: regular, life: 1h, action: a}
  goes: {segment_left: regular, life: 1h, action: a}
actions: {a: {payload: {visits: "${features.visits}"}}}
""")


class Life:
    """A device that is switched off and on again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(T0)
        self.seen: list[tuple[str, object]] = []

    def on(self) -> Client:
        client = Client(self.folder, catalog=CATALOG, clock=self.clock)
        for name in ("comes", "goes"):
            client.on(name, self._handle)
        return client

    def _handle(self, decision: Decision) -> None:
        self.seen.append((decision.instance, decision.payload))


def test_it_enters_and_leaves_over_restarts(tmp_path: Path) -> None:
    life = Life(tmp_path)
    with life.on() as client:
        client.identify("anna")
        client.track("page_view", {"page_url": "/"})
    with life.on() as client:
        client.track("page_view", {"page_url": "/"})
        assert client.settle()
        assert life.seen == [("entered:regular", {"visits": 2.0})]
    with life.on() as client:
        client.track("page_view", {"page_url": "/"})
        assert client.settle()
    assert len(life.seen) == 1, "it is in already"
    life.clock.advance(2 * DAY)
    with life.on() as client:
        client.run_due()
        assert client.settle()
        assert life.seen[1:] == [("left:regular", {"visits": 0.0})], "a host that was off looks when it starts"


def test_whoever_is_forgotten_begins_outside(tmp_path: Path) -> None:
    life = Life(tmp_path)
    with life.on() as client:
        client.identify("anna")
        for _ in range(2):
            client.track("page_view", {"page_url": "/"})
        assert client.settle()
        client.forget("known:anna")
        life.clock.advance(1)
        client.identify("anna")
        for _ in range(2):
            client.track("page_view", {"page_url": "/"})
        assert client.settle()
    assert [instance for instance, _ in life.seen] == ["entered:regular", "entered:regular"]
