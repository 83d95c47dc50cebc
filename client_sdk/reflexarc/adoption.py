"""Adoption: what the other processes of an application captured becomes events of the owner's log, each exactly once.

Owns the checks a capture meets on the way in and the time it is given. The mark of how far a journal was taken is written
together with the event, so a kill between the two is not possible. Must never run on the thread that tracks.
"""

from __future__ import annotations

import threading
from typing import Final

from reflexarc.enrich import Enricher
from reflexarc.ids import derived_id
from reflexarc_core.errors import InvalidEventError
from reflexarc_core.event import Event
from reflexarc_core.record import Moment
from reflexarc_edge.capture import Capture
from reflexarc_edge.clock import Clock
from reflexarc_edge.entry import Taken
from reflexarc_edge.log import Log
from reflexarc_edge.owners import OthersCaptures
from reflexarc_edge.runtime import Runtime

ADOPTED_AT_ONCE: Final = 500
"""Of each journal, before its room is given back."""


class Adoption:
    """Takes in the captures of other processes for one log."""

    def __init__(self, log: Log, runtime: Runtime, clock: Clock, enricher: Enricher) -> None:
        self._log = log
        self._runtime = runtime
        self._clock = clock
        self._enricher = enricher
        self._others = OthersCaptures(log.folder, log.taken())
        self._lock = threading.Lock()  # the beat takes them, and whoever forgets somebody; taken before the engine's lock

    def run(self, moment: Moment) -> tuple[int, list[InvalidEventError]]:
        """Take what is there, at most ADOPTED_AT_ONCE of each journal: how many, and what of them was no event and became a
        dead letter.

        Raises StorageError: then the rest waits where it is.
        """
        with self._lock:
            return self._run(moment)

    def _run(self, moment: Moment) -> tuple[int, list[InvalidEventError]]:
        refused: list[InvalidEventError] = []
        count = 0
        for name, frame in self._others.frames(ADOPTED_AT_ONCE):
            taken = Taken(name, frame.first_seq)
            try:
                capture = self._log.capture_in(frame)
                self._runtime.capture(self._event(capture, taken, moment), moment, priority=capture.priority, taken=taken)
            except InvalidEventError as error:
                self._log.refuse(frame, taken, error.code)
                refused.append(error)
            self._others.took(name, frame.first_seq)
            count += 1
        if count or self._others.names():
            self._log.drain()
            self._log.sync_to_disk()  # their own copy goes: ours must outlive a power cut
            for name in self._others.stored(self._log.taken()):
                self._log.untake(name)
        return count, refused

    def blank(self) -> None:
        """Leave nothing in their journals of what was taken."""
        with self._lock:
            self._others.blank()

    def close(self) -> None:
        """Let go of their journals."""
        with self._lock:
            self._others.close()

    def _event(self, capture: Capture, taken: Taken, moment: Moment) -> Event:
        declared = self._runtime.engine.plan.catalog.event_types.get(capture.event_type)
        if declared is None:
            raise InvalidEventError("the live catalog has no such event type")
        properties, _ = declared.conform(capture.properties)
        event_time = min(moment.now, self._time_of(capture, moment.now))
        event_id = capture.event_id or derived_id(capture.event_time, taken.journal, taken.seq)
        context = self._enricher.context(capture.subject, capture.event_type, event_time, properties, moment.online)
        return Event(event_id, capture.event_type, capture.subject, event_time, properties, context, capture.position)

    def _time_of(self, capture: Capture, now: int) -> int:
        """When a capture happened, by this process's clock."""
        elapsed = self._clock.monotonic_ms() - capture.elapsed_ms
        if capture.elapsed_ms < 0 or elapsed < 0:  # its caller said when, or the machine was started again since
            return capture.event_time
        return now - elapsed
