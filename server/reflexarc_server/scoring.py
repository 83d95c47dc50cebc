"""Scoring for callers: rows by name to the artifact's inputs, then the live bundle's artifact.

Owns the mapping of names and what fills an input the caller lacks. A host only looks tables up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from reflexarc_core.errors import InvalidEventError, ScoringError
from reflexarc_core.model import Scored
from reflexarc_server.live import Live

ROWS_MAX: Final = 4_096
NAMES_MAX: Final = 256
NAN: Final = float("nan")


class Scoring:
    """Scores by what is live. values: subject-scoped features of a subject as the server knows them."""

    def __init__(self, live: Callable[[], Live], values: Callable[[str], dict[str, float]]) -> None:
        self._live = live
        self._values = values

    def score(
        self,
        model_id: str,
        form: str,
        names: Sequence[str],
        rows: Sequence[Sequence[float]],
        subject: str,
        factors_above: float | None,
    ) -> tuple[str, tuple[str, ...], list[Scored]]:
        """(artifact digest, its inputs, a score per row). names: what the rows hold, empty for the artifact's own order.

        Raises ScoringError for a model that is not live or a row that does not fit, InvalidEventError for too many.
        """
        if len(rows) > ROWS_MAX or len(names) > NAMES_MAX:
            raise InvalidEventError(f"{len(rows)} rows of {len(names)} names", hint=f"at most {ROWS_MAX} and {NAMES_MAX}")
        scorer = self._live().scorers.get(form)
        if scorer is None:
            raise ScoringError(f"no artifact for model {model_id}", hint="activate a bundle first")
        artifact = scorer.artifact(model_id)
        vectors = _arranged(rows, names, artifact.inputs, lambda: self._values(subject) if subject else {})
        if factors_above is not None:
            scores = [scorer.score(model_id, vector, factors_above) for vector in vectors]
        else:
            scores = scorer.score_many(model_id, vectors) if vectors else []
        return artifact.digest, artifact.inputs, scores


def _arranged(
    rows: Sequence[Sequence[float]], names: Sequence[str], inputs: Sequence[str], fill: Callable[[], dict[str, float]]
) -> list[Sequence[float]]:
    """The rows in the order of the inputs. An input the caller lacks comes from `fill`, else it has no value."""
    wanted = len(names) or len(inputs)
    for row in rows:
        if len(row) != wanted:
            order = ", ".join(names or inputs)
            raise InvalidEventError(f"a row of {len(row)} values for {wanted} names", hint=f"in this order: {order}")
    if not names or tuple(names) == tuple(inputs):
        return list(rows)
    place = {name: i for i, name in enumerate(names)}
    if not any(name in place for name in inputs):
        raise ScoringError("no name of the request is an input of the model", hint=f"its inputs: {', '.join(inputs)}")
    known = fill() if any(name not in place for name in inputs) else {}
    return [[row[place[name]] if name in place else known.get(name, NAN) for name in inputs] for row in rows]
