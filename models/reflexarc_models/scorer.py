"""The scorer: vectors in, scores with confidence out, for every artifact a host holds.

Owns the choice of the path (built-in walk, forest kernel or ONNX Runtime) and the self-test of that path. Holds its
artifacts for life: a new artifact means a new scorer (`with_artifact`), swapped by one assignment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from reflexarc_core.errors import ManifestError, ScoringError
from reflexarc_core.interaction import INTEREST_STRENGTH
from reflexarc_core.model import GRID, Scored
from reflexarc_models import forest_kernel
from reflexarc_models.artifact import MODEL_FILE, OBLIVIOUS_INT8, ONNX_FOREST, PARITY_FILE, Artifact
from reflexarc_models.explain import FACTOR_INPUT_COUNT_MAX, factors, factors_by_array, scaled_factors
from reflexarc_models.forest_kernel import ForestKernel
from reflexarc_models.item_factors import ITEMS_FILE, ItemFactors
from reflexarc_models.ort import OnnxRunner
from reflexarc_models.tastes import Tastes
from reflexarc_models.walk import ObliviousWalk

AUTO: Final = "auto"
BUILT_IN: Final = "built-in"
ONNXRUNTIME: Final = "onnxruntime"
KERNEL: Final = "kernel"
"""Forests by the compiled kernel where numba is installed, else as `auto`: the server's way, at some seconds the first time."""

Path = ObliviousWalk | ForestKernel | OnnxRunner


class _Held:
    """One artifact ready to score. The model is decoded by the first score, not by construction: `code` is
    then the path's own.
    """

    __slots__ = ("_path", "_runtime", "_tastes", "artifact", "code", "confidences", "digest", "input_count", "scores")

    def __init__(self, artifact: Artifact, runtime: str) -> None:
        self.artifact = artifact
        self.digest = artifact.digest
        self.input_count = len(artifact.inputs)
        self._runtime = runtime
        self._tastes: Tastes | None = None
        self._path: Path | None = None
        self.code: Callable[[Sequence[float]], int] = self._first_code
        self.scores = tuple(grid / GRID for grid in artifact.score_grid)
        self.confidences = tuple(artifact.confidences_of(code) for code in range(artifact.code_count))

    def path(self) -> Path:
        if self._path is None and self._runtime == KERNEL and self.artifact.form == ONNX_FOREST and forest_kernel.available():
            with contextlib.suppress(ManifestError):  # another ensemble than ours: the runtime judges it
                self._path = ForestKernel.of(self.artifact)
        if self._path is None:
            walks = self.artifact.form == OBLIVIOUS_INT8 and self._runtime != ONNXRUNTIME
            if self._runtime == BUILT_IN and not walks:
                raise ScoringError(
                    f"model {self.artifact.model_id} has the form {self.artifact.form}",
                    hint="it needs onnxruntime",
                )
            self._path = (
                ObliviousWalk(self.artifact.files[MODEL_FILE], len(self.artifact.inputs)) if walks else OnnxRunner(self.artifact)
            )
        return self._path

    def tastes(self) -> Tastes:
        """The live interests by this artifact's items, which are read by the first look."""
        if self._tastes is None:
            self._tastes = Tastes(items_of(self.artifact))
        return self._tastes

    def forget(self, subject: str) -> None:
        if self._tastes is not None:
            self._tastes.forget(subject)

    def _first_code(self, vector: Sequence[float]) -> int:
        self.code = self.path().code
        return self.code(vector)

    def codes(self, rows: Sequence[Sequence[float]]) -> list[int]:
        path = self.path()
        if isinstance(path, ObliviousWalk):
            return [path.code(row) for row in rows]
        return path.codes(rows)

    def vector(self, given: Sequence[float]) -> Sequence[float]:
        if len(given) != self.input_count:
            artifact = self.artifact
            raise ScoringError(
                f"model {artifact.model_id} takes {len(artifact.inputs)} inputs, not {len(given)}",
                hint=f"in this order: {', '.join(artifact.inputs)}",
            )
        # One addition refuses what is no number and tells whether any value is NaN.
        total = sum(given)
        return given if total == total else self.artifact.filled(given)

    def factors(self, vector: Sequence[float]) -> tuple[tuple[str, float], ...] | None:
        artifact = self.artifact
        grid = artifact.score_grid
        if len(artifact.inputs) > FACTOR_INPUT_COUNT_MAX:
            kernel = self.path()
            if not isinstance(kernel, ForestKernel):
                return None
            exact = factors_by_array(
                artifact.inputs, vector, artifact.reference, lambda rows: [grid[code] for code in kernel.codes(rows)]
            )
            if exact is not None:
                return exact
            raw = kernel.shapley(vector, artifact.reference)
            grids = grid[kernel.code(vector)], grid[kernel.code(artifact.reference)]
            slope = (grid[-1] - grid[0]) / len(grid) * artifact.raw_scale
            return scaled_factors(artifact.inputs, raw, grids, slope)
        return factors(
            artifact.inputs,
            vector,
            artifact.reference,
            lambda rows: [grid[code] for code in self.codes(rows)],
        )


class ArtifactScorer:
    """Scores vectors by the artifacts it holds: the `Scorer` port of the core.

    A NaN in a vector is replaced by the input's absent value of the manifest; `Scored.vector` keeps what was
    given. Safe to call from several threads.
    """

    def __init__(self, artifacts: Mapping[str, Artifact], runtime: str = AUTO) -> None:
        """artifacts: by model id. runtime: `auto` (built-in walk where the form allows), `built-in`,
        `onnxruntime`, `kernel` (the same, but forests by the compiled kernel where numba is installed).
        """
        self._runtime = runtime
        self._held = {model_id: _Held(artifact, runtime) for model_id, artifact in artifacts.items()}

    def artifact(self, model_id: str) -> Artifact:
        """The artifact that answers for `model_id`. Raises ScoringError when unknown."""
        return self._find(model_id).artifact

    def artifacts(self) -> dict[str, Artifact]:
        """All artifacts by model id."""
        return {model_id: held.artifact for model_id, held in self._held.items()}

    def with_artifact(self, artifact: Artifact) -> ArtifactScorer:
        """A scorer in which `artifact` answers for its model; the others are as here."""
        return ArtifactScorer({**self.artifacts(), artifact.model_id: artifact}, self._runtime)

    def inputs(self, model_id: str) -> tuple[str, ...]:
        """Names of the features the artifact reads, in vector order. Raises ScoringError when unknown."""
        return self._find(model_id).artifact.inputs

    def score(self, model_id: str, vector: Sequence[float], factors_above: float | None) -> Scored:
        """Score one vector; factors only when the score is over `factors_above` (None: never).

        Raises ScoringError for an unknown model, a vector that does not fit, or a runtime that fails.
        """
        held = self._held.get(model_id) or self._find(model_id)
        try:
            filled = held.vector(vector)
            code = held.code(filled)
        except TypeError as error:
            raise ScoringError(f"model {model_id}: an input is not a number") from error
        score = held.scores[code]
        explained = held.factors(filled) if factors_above is not None and score > factors_above else None
        return Scored(model_id, held.digest, code, score, held.confidences[code], tuple(vector), explained)

    def score_items(
        self,
        model_id: str,
        vector: Sequence[float],
        factors_above: float | None,
        subject: str,
        interactions: Sequence[tuple[str, float]],
    ) -> Scored:
        """Score one vector with what the subject's interactions say, and rank the items to come next; see ItemScorer.

        Raises ScoringError as `score` does, and where the artifact holds no items (the server's form) or numpy is not there.
        """
        held = self._find(model_id)
        strength, ranked = held.tastes().look(subject, interactions)
        whole = (*vector, strength) if held.artifact.inputs[-1] == INTEREST_STRENGTH else vector
        return self.score(model_id, whole, factors_above)._replace(ranked=ranked)

    def forget(self, subject: str) -> None:
        """Hold nothing of this subject any more."""
        for held in self._held.values():
            held.forget(subject)

    def score_many(self, model_id: str, rows: Sequence[Sequence[float]]) -> list[Scored]:
        """Score many vectors at once, without factors. Raises ScoringError as `score` does."""
        held = self._find(model_id)
        try:
            codes = held.codes([held.vector(row) for row in rows])
        except TypeError as error:
            raise ScoringError(f"model {model_id}: an input is not a number") from error
        return [
            Scored(model_id, held.digest, code, held.scores[code], held.confidences[code], tuple(row), None)
            for code, row in zip(codes, rows, strict=True)
        ]

    def _find(self, model_id: str) -> _Held:
        held = self._held.get(model_id)
        if held is None:
            raise ScoringError(f"no artifact for model {model_id}", hint="train and publish it, or wait for the update")
        return held


def items_of(artifact: Artifact) -> ItemFactors:
    """The items of an artifact. ScoringError: it holds none, or numpy is missing. ManifestError: they are damaged."""
    content = artifact.files.get(ITEMS_FILE)
    if content is None:
        raise ScoringError(
            f"the artifact of {artifact.model_id} in the form {artifact.form} ranks no items", hint="the device's form does"
        )
    try:
        return ItemFactors.from_bytes(content)
    except ImportError as error:
        raise ScoringError(f"model {artifact.model_id} ranks items, which needs numpy", hint="install reflexarc[edge]") from error


def self_test(artifact: Artifact, runtime: str = AUTO) -> None:
    """Score the artifact's parity rows by the path this host will use, one by one and as a batch; read its items, if it has any.

    Raises ManifestError on any code or score that differs, ScoringError when the path is not available.
    """
    try:
        parity = json.loads(artifact.files[PARITY_FILE])
        rows = [[float("nan") if value is None else float(value) for value in row] for row in parity["rows"]]
        codes, grids = list(parity["codes"]), list(parity["scores"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{PARITY_FILE} of {artifact.model_id} is not readable: {error!r}") from error
    if not rows or not len(rows) == len(codes) == len(grids):
        raise ManifestError(f"{PARITY_FILE} of {artifact.model_id} has no rows or an answer too few")
    if ITEMS_FILE in artifact.files:
        with contextlib.suppress(ScoringError):  # a host without numpy scores by the other models
            items_of(artifact)
    scorer = ArtifactScorer({artifact.model_id: artifact}, runtime)
    many = scorer.score_many(artifact.model_id, rows)
    for place, row in enumerate(rows):
        for got in (scorer.score(artifact.model_id, row, None), many[place]):
            if got.code != codes[place] or got.score * GRID != grids[place]:
                raise ManifestError(
                    f"model {artifact.model_id} fails its self-test on row {place}: "
                    f"code {got.code}, the manifest's is {codes[place]}"
                )
