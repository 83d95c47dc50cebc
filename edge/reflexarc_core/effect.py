"""Effects: what the engine asks its shell to do. The engine itself does nothing."""

from __future__ import annotations

from typing import Final

from reflexarc_core.decision import Decision
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
    factors_above: compute factors only for a score over this; None for never.
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


@frozen
class Schedule:
    """Call back with a TickInput when engine time reaches `at` (ms)."""

    at: int


Effect = DecisionOutput | Act | RequestScore | Schedule
