"""Effects: what the engine asks its shell to do, and how a scorer is asked for it. The engine itself does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from reflexarc_core.decision import Decision
from reflexarc_core.errors import ScoringError
from reflexarc_core.interaction import Interactions
from reflexarc_core.model import ItemScorer, Scored, Scorer
from reflexarc_core.record import DecisionOutput
from reflexarc_core.value import frozen

Record: Final = DecisionOutput
"""Write this decision to the log: the effect is the record."""


@frozen
class Act:
    """Hand this decision's action over, at most once, after its record is durable."""

    decision: Decision


@frozen
class RequestScore:
    """Have a model score this vector and give the result back.

    where: `host`: score now and answer with ScoresInput under `cause_id` before the next input;
    `server`: ask the server and answer with AnswerInput for `decision_id` within `deadline_ms` of real time.
    factors_above: compute factors only for a score over this; None for never. interactions: (item, weight), the most recent last,
    where the model ranks items; None for every other.
    """

    cause_id: str
    subject: str
    model_id: str
    vector: tuple[float, ...]
    where: str
    factors_above: float | None = None
    decision_id: str = ""
    line: float = 0.0
    deadline_ms: int = 0
    interactions: tuple[tuple[str, float], ...] | None = None


def with_interactions(ask: RequestScore, held: Mapping[str, Interactions] | None) -> RequestScore:
    """The request of a model that ranks items, which takes what the subject engaged with besides the vector. held: by model."""
    return replace(ask, interactions=tuple((held or {}).get(ask.model_id, {}).items()))


def score_of(scorer: Scorer, ask: RequestScore) -> Scored:
    """What a host's scorer says to a request. Raises ScoringError where it cannot say anything."""
    if ask.interactions is None:
        return scorer.score(ask.model_id, ask.vector, ask.factors_above)
    if not isinstance(scorer, ItemScorer):
        raise ScoringError(
            f"model {ask.model_id} ranks items, and this host's scorer does not", hint="score by a published artifact"
        )
    return scorer.score_items(ask.model_id, ask.vector, ask.factors_above, ask.subject, ask.interactions)


@frozen
class Schedule:
    """Call back with a TickInput when engine time reaches `at` (ms)."""

    at: int


Effect = DecisionOutput | Act | RequestScore | Schedule
