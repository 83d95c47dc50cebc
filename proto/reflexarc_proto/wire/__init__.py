"""Core values to reflexarc.v1 messages and back: the only translator.

Owns every limit a message must keep. What comes from outside is judged here once: hostile input raises
InvalidEventError and nothing else. Must never store, send or interpret a value.
"""

from reflexarc_proto.wire.decision import decision_from_proto, decision_to_proto, reason_from_proto, reason_to_proto
from reflexarc_proto.wire.event import (
    event_from_proto,
    event_to_proto,
    moment_from_proto,
    moment_to_proto,
    subject_from_proto,
    subject_to_proto,
)
from reflexarc_proto.wire.record import body_kind, lease_from_proto, record_from_proto, record_to_proto
from reflexarc_proto.wire.score import (
    live_model_from_proto,
    live_model_to_proto,
    result_from_proto,
    result_to_proto,
    scored_from_proto,
    scored_to_proto,
)
from reflexarc_proto.wire.status import ERROR_KEY, INSTALLATION_KEY, error_of, error_of_call, metadata_of, status_of
from reflexarc_proto.wire.value import value_from_proto, value_to_proto

__all__ = [
    "ERROR_KEY",
    "INSTALLATION_KEY",
    "body_kind",
    "decision_from_proto",
    "decision_to_proto",
    "error_of",
    "error_of_call",
    "event_from_proto",
    "event_to_proto",
    "lease_from_proto",
    "live_model_from_proto",
    "live_model_to_proto",
    "metadata_of",
    "moment_from_proto",
    "moment_to_proto",
    "reason_from_proto",
    "reason_to_proto",
    "record_from_proto",
    "record_to_proto",
    "result_from_proto",
    "result_to_proto",
    "scored_from_proto",
    "scored_to_proto",
    "status_of",
    "subject_from_proto",
    "subject_to_proto",
    "value_from_proto",
    "value_to_proto",
]
