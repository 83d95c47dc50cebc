"""A capture that only the journal holds, as the event it becomes.

Owns what stands in for the application's own client here: the same event id, and the context as far as a tool knows it (not
the version, class and language the application gave its client).
"""

from __future__ import annotations

import reflexarc
from reflexarc.config import Config
from reflexarc.enrich import Enricher
from reflexarc.ids import derived_id
from reflexarc_core.event import Event
from reflexarc_core.record import EventInput, Moment
from reflexarc_edge.capture import Capture
from reflexarc_edge.log import Complete
from reflexarc_edge.repair import Identity


def completing() -> Complete:
    """What makes events of captures, in their order."""
    enrichers: dict[str, Enricher] = {}

    def complete(identity: Identity, seq: int, capture: Capture) -> EventInput:
        enricher = enrichers.get(identity.installation)
        if enricher is None:
            enricher = enrichers[identity.installation] = Enricher(Config(), identity.installation, reflexarc.__version__)
        time_ = capture.event_time
        context = enricher.context(capture.subject, capture.event_type, time_, capture.properties, capture.online)
        event_id = capture.event_id or derived_id(time_, identity.incarnation, seq)
        event = Event(event_id, capture.event_type, capture.subject, time_, capture.properties, context, capture.position)
        return EventInput(Moment(time_, capture.online, capture.trusted, enricher.offset_minutes(time_)), event)

    return complete
