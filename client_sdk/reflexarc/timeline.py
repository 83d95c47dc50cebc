"""A person's timeline as the server tells it, read into plain values.

Owns the names of an entry's parts. Must never be imported by what runs on a device.
"""

from __future__ import annotations

from typing import Any

from reflexarc_proto.v1 import report_service_pb2 as messages
from reflexarc_proto.wire import decision_from_proto, event_from_proto, subject_from_proto


def entries_of(answer: messages.GetTimelineResponse) -> list[dict[str, Any]]:
    """The entries in the answer's order, each with `time`, `subject`, `kind` and what its kind has (see Backend.timeline)."""
    return [
        {"time": entry.time, "subject": subject_from_proto(entry.subject), **_what(entry)}
        for entry in answer.entries
        if entry.WhichOneof("what")  # a later server may tell of more
    ]


def _what(entry: messages.TimelineEntry) -> dict[str, Any]:
    kind = entry.WhichOneof("what")
    if kind == "event":
        event = event_from_proto(entry.event)
        about = {"event_type": event.event_type, "event_id": event.event_id, "properties": dict(event.properties)}
        return {"kind": kind, **about, "machine": entry.machine}
    if kind == "decision":
        decision = decision_from_proto(entry.decision)
        return {
            "kind": kind,
            "decision_id": decision.decision_id,
            "trigger_id": decision.trigger_id,
            "reason": str(decision.reason.value),
            "detail": decision.detail,
            "action": decision.action,
            "mode": decision.mode,
        }
    said = entry.message
    return {
        "kind": "message",
        "channel": said.channel,
        "key": said.key,
        "state": said.state,
        "end_time": said.end_time,
        "tries": said.try_count,
        "reason": said.reason,
    }


__all__ = ["entries_of"]
