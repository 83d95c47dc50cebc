"""A scorer whose answers a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reflexarc_core.errors import ScoringError
from reflexarc_core.model import GRID, LiveModel, Scored


class TableScorer:
    """Scores by functions of the vector.

    models: model id -> (input names, vector -> (score, confidence)). Every line gets that confidence.
    lines: model id -> the lines of the catalog in use.
    """

    def __init__(
        self,
        models: Mapping[str, tuple[tuple[str, ...], Callable[[Sequence[float]], tuple[float, float]]]],
        lines: Mapping[str, tuple[float, ...]],
    ) -> None:
        self._models = models
        self._lines = lines

    @property
    def live_models(self) -> dict[str, LiveModel]:
        """What a client is told of these models."""
        return {model_id: LiveModel(f"table-{model_id}", inputs) for model_id, (inputs, _) in self._models.items()}

    def inputs(self, model_id: str) -> tuple[str, ...]:
        """Names of the inputs."""
        return self._models[model_id][0]

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        """The written score, on the grid; factors give it all to the first input."""
        held = self._models.get(model_id)
        if held is None:
            raise ScoringError(f"no model {model_id!r} in the table")
        inputs, rule = held
        score, confidence = rule(vector)
        code = int(score * GRID)
        factors = None
        if factors_above is not None and score > factors_above:
            factors = ((inputs[0], code / GRID),)
        confidences = tuple((line, int(confidence * GRID) / GRID) for line in self._lines.get(model_id, ()))
        return Scored(model_id, f"table-{model_id}", code, code / GRID, confidences, tuple(vector), factors)
