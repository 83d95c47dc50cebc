"""What a model is to the engine: when it scores, from which features, and what a score says.

Owns the declaration of a model, the score value and the Scorer port. Must never load or run a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from reflexarc_core.purchase_window import Intensity
from reflexarc_core.value import frozen

GRID: Final = 65_536
"""Scores and confidences are multiples of 1/GRID, so a strict comparison with a line is a test on integers."""

DEVICE_FORMS: Final = ("oblivious-int8", "qdq-int8", "onnx-trees5")
"""What a device may get of a trained model: symmetric trees with int8 leaves, a small quantized network, the forest itself."""

ABSENT: Final = float("nan")
"""What stands in a vector for a feature that has no value."""


class Scored(NamedTuple):
    """What one model said of one vector.

    code: the integer the model maps its inputs to; equal codes mean equal scores and confidences.
    score: calibrated probability, a multiple of 1/GRID. confidences: (line, confidence that the true risk of
    people who score like this is over that line), each a multiple of 1/GRID.
    factors: (feature, contribution to the score), largest first; None unless they were asked for.
    ranked: items that the subject is to see next, the best first, none twice; only of a model that ranks items.
    """

    model_id: str
    artifact_digest: str
    code: int
    score: float
    confidences: tuple[tuple[float, float], ...]
    vector: tuple[float, ...]
    factors: tuple[tuple[str, float], ...] | None
    ranked: tuple[str, ...] = ()

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


@runtime_checkable
class ItemScorer(Protocol):
    """What a `Scorer` is besides where its host ranks items."""

    def score_items(
        self,
        model_id: str,
        vector: Sequence[float],
        factors_above: float | None,
        subject: str,
        interactions: Sequence[tuple[str, float]],
    ) -> Scored:
        """As `Scorer.score`, for a model that ranks items. vector: the features; an input `interest_strength` behind them is the
        scorer's to add, and the score's vector holds it. interactions: (item, weight), the most recent last.
        """
        ...

    def forget(self, subject: str) -> None:
        """Hold nothing of this subject any more."""
        ...


@frozen
class LiveModel:
    """What is live of a model on this host.

    inputs: feature names in vector order (features without data in training are left out of it).
    newest_label_time: when the newest calibration label matured, ms; calibration age counts from here. hours: when in the week
    people do what it foresees, None where that was not learned.
    """

    artifact_digest: str
    inputs: tuple[str, ...]
    newest_label_time: int = 0
    hours: Intensity | None = None


@frozen
class Label:
    """What a training row is labelled with. kind: `churn` (no `events` in the horizon), `purchase` (any of them) or `engagement`
    (any of them with one of the next three items that the model ranked for the subject at that moment).

    horizon_ms: the H of the definition. active_within_ms: the A, 0 where every subject counts.
    """

    kind: str
    events: tuple[str, ...]
    horizon_ms: int
    active_within_ms: int = 0


@frozen
class ModelDefinition:
    """One model of the catalog.

    output: the bare name conditions read the score by; a claim (output_type bool) is true when the score is over `line`.
    factors: the bare name of its additive contributions, empty for none. score_on: event types after which the
    subject of the event is scored; every_ms: all known subjects are scored at each multiple of it, 0 for never.
    confidence_min: the gate, strict. update_ms: how often it is retrained. items: of a model that ranks items, event type to
    the property that names one; progression: the bare name of the items it ranked, empty for none. device_form: of DEVICE_FORMS.
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
    line: float = 0.5
    items: Mapping[str, str] | None = None
    progression: str = ""
    description: str = ""
    device_form: str = DEVICE_FORMS[0]

    @property
    def calibration_age_max_ms(self) -> int:
        """Age of the newest matured calibration label past which the model is STALE (horizon + two updates)."""
        horizon_ms = self.label.horizon_ms if self.label else 0
        return horizon_ms + 2 * self.update_ms


@frozen
class Output:
    """What a condition is given of one model; an empty name is not read. line: of a claim, None where the score is read."""

    model_id: str
    output: str
    factors: str
    progression: str
    line: float | None


def output_of(model: ModelDefinition, read: Sequence[str]) -> Output | None:
    """What of a model is among these names; None for nothing."""
    if model.output not in read and model.factors not in read and model.progression not in read:
        return None
    factors, progression = (name if name in read else "" for name in (model.factors, model.progression))
    return Output(model.model_id, model.output, factors, progression, model.line if model.output_type == "bool" else None)
