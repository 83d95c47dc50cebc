"""What a model is to the engine: when it scores, from which features, and what a score says.

Owns the declaration of a model, the score value and the Scorer port. Must never load or run a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from reflexarc_core.value import frozen

GRID: Final = 65_536
"""Scores and confidences are multiples of 1/GRID, so a strict comparison with a line is a test on integers."""

ABSENT: Final = float("nan")
"""What stands in a vector for a feature that has no value."""


class Scored(NamedTuple):
    """What one model said of one vector.

    code: the integer the model maps its inputs to; equal codes mean equal scores and confidences.
    score: calibrated probability, a multiple of 1/GRID. confidences: (line, confidence that the true risk of
    people who score like this is over that line), each a multiple of 1/GRID.
    factors: (feature, contribution to the score), largest first; None unless they were asked for.
    """

    model_id: str
    artifact_digest: str
    code: int
    score: float
    confidences: tuple[tuple[float, float], ...]
    vector: tuple[float, ...]
    factors: tuple[tuple[str, float], ...] | None

    def confidence_over(self, line: float) -> float | None:
        """Confidence that the risk is over `line`; None when the artifact was not published for that line."""
        for known_line, confidence in self.confidences:
            if known_line == line:
                return confidence
        return None


class Scorer(Protocol):
    """The port a host hands to its engine's shell: scores vectors by the artifacts it holds."""

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        """Score one vector (inputs in the manifest's order, NaN for a value that is absent).

        factors_above: compute factors only when the score is over this; None for never.
        Raises ScoringError when the model is unknown or the vector does not fit.
        """
        ...

    def inputs(self, model_id: str) -> tuple[str, ...]:
        """Names of the features the artifact reads, in vector order. Raises ScoringError when unknown."""
        ...


@frozen
class LiveModel:
    """What is live of a model on this host.

    inputs: feature names in vector order (features without data in training are left out of it).
    newest_label_time: when the newest calibration label matured, ms; calibration age counts from here.
    """

    artifact_digest: str
    inputs: tuple[str, ...]
    newest_label_time: int = 0


@frozen
class Label:
    """What a training row is labelled with. kind: `churn` (no `events` in the horizon) or `purchase` (any of them).

    horizon_ms: the H of the definition. active_within_ms: the A, 0 where every subject counts.
    """

    kind: str
    events: tuple[str, ...]
    horizon_ms: int
    active_within_ms: int = 0


@frozen
class ModelDefinition:
    """One model of the catalog.

    output: the bare name conditions read the score by; claim models (content interest) have a bool output.
    factors: the bare name of its additive contributions, empty for none. score_on: event types after which the
    subject of the event is scored; every_ms: all known subjects are scored at each multiple of it, 0 for never.
    confidence_min: the gate, strict. update_ms: how often it is retrained.
    """

    model_id: str
    output: str
    algorithm: str
    features: tuple[str, ...]
    label: Label | None
    score_on: tuple[str, ...]
    every_ms: int
    confidence_min: float
    update_ms: int
    factors: str = ""
    output_type: str = "double"
    description: str = ""

    @property
    def calibration_age_max_ms(self) -> int:
        """Age of the newest matured calibration label past which the model is STALE (horizon + two updates)."""
        horizon_ms = self.label.horizon_ms if self.label else 0
        return horizon_ms + 2 * self.update_ms
