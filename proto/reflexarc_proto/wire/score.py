"""Scores, and what is live of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from reflexarc_core.errors import InvalidEventError
from reflexarc_core.model import LiveModel, Scored
from reflexarc_core.purchase_window import Intensity
from reflexarc_proto.v1 import score_pb2, scoring_service_pb2

INPUT_COUNT_MAX: Final = 256
LINE_COUNT_MAX: Final = 1_024
RANKED_COUNT_MAX: Final = 256


def fill_scored(message: score_pb2.Scored, scored: Scored) -> None:
    """Write a score into an empty message."""
    message.model_id = scored.model_id
    message.artifact_digest = scored.artifact_digest
    message.code = scored.code
    message.score = scored.score
    for line, confidence in scored.confidences:
        message.confidences.add(line=line, confidence=confidence)
    message.vector.extend(scored.vector)
    if scored.factors is not None:
        _fill_factors(message.factors, scored.factors)
    if scored.ranked:
        message.ranked.extend(scored.ranked)


def scored_to_proto(scored: Scored) -> score_pb2.Scored:
    """The message of a score."""
    message = score_pb2.Scored()
    fill_scored(message, scored)
    return message


def scored_from_proto(message: score_pb2.Scored) -> Scored:
    """The score. Raises InvalidEventError when it is wider than any model or no probability."""
    if len(message.ranked) > RANKED_COUNT_MAX:
        raise InvalidEventError(f"a score with {len(message.ranked)} ranked items", hint=f"at most {RANKED_COUNT_MAX}")
    found = _scored(message.model_id, message.artifact_digest, message, tuple(message.vector))
    return found._replace(ranked=tuple(message.ranked)) if message.ranked else found


def result_to_proto(scored: Scored, lines: Sequence[float] = ()) -> scoring_service_pb2.ScoreResult:
    """One row's answer, with confidences for those lines only (all when none is named)."""
    message = scoring_service_pb2.ScoreResult(code=scored.code, score=scored.score, vector=scored.vector)
    for line, confidence in scored.confidences:
        if not lines or line in lines:
            message.confidences.add(line=line, confidence=confidence)
    if scored.factors is not None:
        _fill_factors(message.factors, scored.factors)
    return message


def result_from_proto(model_id: str, artifact_digest: str, message: scoring_service_pb2.ScoreResult) -> Scored:
    """The score of one row's answer. Raises InvalidEventError as `scored_from_proto` does."""
    return _scored(model_id, artifact_digest, message, tuple(message.vector))


def live_model_to_proto(live: LiveModel) -> score_pb2.LiveModel:
    """The message of what is live of a model."""
    found = score_pb2.LiveModel(
        artifact_digest=live.artifact_digest, inputs=live.inputs, newest_label_time=live.newest_label_time
    )
    if live.hours is not None:
        held = live.hours
        hours = score_pb2.HoursOfWeek(everybody=held.everybody, near=held.near, daily=held.daily, strength=held.strength)
        found.hours.CopyFrom(hours)
    return found


def live_model_from_proto(message: score_pb2.LiveModel) -> LiveModel:
    """What is live of a model."""
    hours = None
    if message.HasField("hours"):
        held = message.hours
        hours = Intensity(tuple(held.everybody), tuple(held.near), tuple(held.daily), held.strength)
    return LiveModel(message.artifact_digest, tuple(message.inputs), message.newest_label_time, hours)


def live_models_from_proto(models: Mapping[str, score_pb2.LiveModel]) -> dict[str, LiveModel]:
    """Model id to what is live of it."""
    return {model_id: live_model_from_proto(live) for model_id, live in models.items()}


def _fill_factors(message: score_pb2.Factors, factors: Sequence[tuple[str, float]]) -> None:
    message.SetInParent()
    for feature, contribution in factors:
        message.factors.add(feature=feature, contribution=contribution)


def _scored(
    model_id: str,
    artifact_digest: str,
    message: score_pb2.Scored | scoring_service_pb2.ScoreResult,
    vector: tuple[float, ...],
) -> Scored:
    if len(vector) > INPUT_COUNT_MAX or len(message.confidences) > LINE_COUNT_MAX:
        raise InvalidEventError(f"a score over {len(vector)} inputs and {len(message.confidences)} lines")
    score = message.score
    if not 0.0 <= score <= 1.0:
        raise InvalidEventError(f"a score of {score}", hint="0 to 1")
    factors = None
    if message.HasField("factors"):
        factors = tuple((factor.feature, factor.contribution) for factor in message.factors.factors)
    confidences = tuple((held.line, held.confidence) for held in message.confidences)
    return Scored(model_id, artifact_digest, message.code, score, confidences, vector, factors)
