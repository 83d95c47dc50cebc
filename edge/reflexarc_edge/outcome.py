"""What one input led to, before anything of it was written, sent or handed over. Owns the value only."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Final

from reflexarc_core.decision import Decision
from reflexarc_core.effect import RequestScore, score_of
from reflexarc_core.errors import ScoringError
from reflexarc_core.model import Scored, Scorer
from reflexarc_core.record import Record
from reflexarc_core.value import changeable

SCORES_PER_RECORD_MAX: Final = 256


@changeable
class Outcome:
    """What one input led to, before anything was sent or handed over. records: the input's own first."""

    records: list[Record] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    acts: list[Decision] = field(default_factory=list)
    questions: list[RequestScore] = field(default_factory=list)
    scoring_errors: list[ScoringError] = field(default_factory=list)


def by_cause(requests: Sequence[RequestScore]) -> Iterable[tuple[str, Sequence[RequestScore]]]:
    """Requests of each cause, in the order they came in, SCORES_PER_RECORD_MAX at most: one record holds the scores of one
    cause, and the engine asks for them cause by cause."""
    if len(requests) == 1:  # an event on which one model scores, as most do
        return ((requests[0].cause_id, requests),)
    parts = [requests[start : start + SCORES_PER_RECORD_MAX] for start in range(0, len(requests), SCORES_PER_RECORD_MAX)]
    return [(cause, list(group)) for part in parts for cause, group in itertools.groupby(part, lambda one: one.cause_id)]


def scored_by(scorer: Scorer, requests: Sequence[RequestScore], outcome: Outcome) -> tuple[tuple[str, Scored], ...]:
    """(subject, score) of each request that the host's models can answer; what they raise is noted in the outcome."""
    scores: list[tuple[str, Scored]] = []
    for request in requests:
        try:
            scores.append((request.subject, score_of(scorer, request)))
        except ScoringError as error:
            outcome.scoring_errors.append(error)
        except Exception as error:  # a host's own model raises what it likes
            # Its words are the host's, and may hold what it scored.
            outcome.scoring_errors.append(ScoringError(f"{request.model_id}: the model raised {type(error).__name__}"))
    return tuple(scores)
