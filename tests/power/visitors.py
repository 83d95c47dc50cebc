"""Visitors: other processes that capture for the store, and the owner that takes it over from them.

Owns their side of a life. What one of them was told to be on the disk has to come into the log once, whoever loses power when.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, Moment
from reflexarc_edge.capture import CAPTURE_KIND, Capture, encode_capture
from reflexarc_edge.entry import Taken
from reflexarc_edge.log import Log
from reflexarc_edge.owners import CaptureJournal, OthersCaptures

if TYPE_CHECKING:
    from tests.power.recording import Recorder

SEGMENT_BYTES: Final = 4096
"""Of their journals: small, so that their segments turn too."""
ADOPTED_AT_ONCE: Final = 1_000


class Visitors:
    """At most one other process at a time, and the journals that earlier ones left."""

    def __init__(self, recorder: Recorder, rng: random.Random) -> None:
        self._recorder = recorder
        self._rng = rng
        self._journal: CaptureJournal | None = None
        self._log: Log
        self._others: OthersCaptures
        self._captured: list[str] = []
        self._count = 0

    def come(self, log: Log) -> None:
        """The store has an owner now."""
        self._log = log
        self._others = OthersCaptures(log.folder, log.taken())

    def go(self) -> None:
        """The owner ends, and they end with it."""
        self.end()
        self._others.close()

    def capture(self) -> None:
        """The other process captures a few events."""
        self.capture_some(self._rng.choice((1, 3, 10)), is_synced=self._rng.random() < 0.5)

    def capture_some(self, count: int, *, is_synced: bool) -> None:
        """The other process captures, in a journal of its own, and may be told that it is on the disk."""
        if self._journal is None:
            self._journal = CaptureJournal(self._log.folder, SEGMENT_BYTES)
            self._captured = []
        for _ in range(count):
            self._count += 1
            event_id = f"v{self._count}"
            text = "v" * self._rng.randint(0, 300)
            capture = Capture("page_view", "known:2", event_id, self._count, -1, True, True, 1, -1, {"page_url": text})
            if self._journal.append(CAPTURE_KIND, encode_capture(capture)):
                self._captured.append(event_id)
        if is_synced:
            self._journal.sync()
            self._recorder.note("visited", set(self._captured))

    def adopt(self, count_max: int = ADOPTED_AT_ONCE) -> None:
        """The owner takes what is there, and lets go of their copies once its own outlives a power cut."""
        adopt(self._log, self._others, self._recorder, count_max)

    def end(self) -> None:
        """The other process ends."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def adopt(log: Log, others: OthersCaptures, recorder: Recorder | None = None, count_max: int = ADOPTED_AT_ONCE) -> None:
    """Take in what is there, as the client does it. recorder: of a life; none for an image."""
    for name, frame in others.frames(count_max):
        capture = log.capture_in(frame)
        event = Event(capture.event_id, capture.event_type, capture.subject, capture.event_time, capture.properties, {})
        seq = log.append([EventInput(Moment(capture.event_time), event)], taken=Taken(name, frame.first_seq))
        if recorder is not None:
            recorder.note("adopted", {capture.event_id: seq})
        others.took(name, frame.first_seq)
    log.drain()
    seq = log.sync_to_disk()
    if recorder is not None:
        recorder.note("durable", seq)
    for name in others.stored(log.taken()):
        log.untake(name)
