"""The fold of one event into its subject: features, when it was last seen, which language it speaks.

Owns what an event changes whatever it sets off. Pure; it changes the subject it is handed.
"""

from __future__ import annotations

from reflexarc_core.event import Event
from reflexarc_core.feature_source import forget
from reflexarc_core.hours import MINUTE_MS
from reflexarc_core.interaction import interact, interaction_of
from reflexarc_core.plan import Arrival
from reflexarc_core.state import SubjectState


def fold_event(subject: SubjectState, event: Event, arrival: Arrival, now: int) -> None:
    """One event, in log order, with its own time. now: engine time, ms."""
    event_type, event_time, properties = event.event_type, event.event_time, event.properties
    subject.event_count += 1
    if arrival.is_declared and event_time > subject.last_seen.get(event_type, -1):
        subject.last_seen[event_type] = event_time
    locale = event.context.get("locale")
    if locale:
        subject.language = str(locale)
    for key, layout, fold in arrival.folds:
        if key == "":
            if event_time < now and subject.older:
                forget(subject.older, event_time)
            fold(subject.vector, properties, event_time)
        elif key in properties:
            fold(subject.cells(key, str(properties[key]), layout), properties, event_time)
    for model_id, items in arrival.items:
        found = interaction_of(event_type, properties, items)
        if found is not None:
            interact(subject.interactions_of(model_id), *found)
    for model_id in arrival.weeks:
        offset = event.context.get("offset_minutes")  # an event that does not say its own is taken as UTC
        local = event_time + offset * MINUTE_MS if isinstance(offset, int) else event_time
        subject.week_of(model_id).happened(local)
