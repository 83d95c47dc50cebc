"""Factors: they add up, inputs that do nothing get nothing, and they belong to the artifact that decided."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_worlds import trained, world

from reflexarc_core.errors import ScoringError
from reflexarc_core.model import GRID
from reflexarc_models.explain import FACTOR_INPUT_COUNT_MAX, factors
from reflexarc_models.scorer import ArtifactScorer


@pytest.mark.parametrize("form", ["device", "server"])
def test_factors_sum_to_score_minus_reference_score(form: str) -> None:
    model = trained("random_forest")
    artifact = model.device if form == "device" else model.server
    scorer = ArtifactScorer({"churn": artifact})
    reference = scorer.score("churn", artifact.reference, None).score
    explained = 0
    for row in world().x[:120].tolist():
        scored = scorer.score("churn", row, 0.5)
        assert (scored.factors is not None) == (scored.score > 0.5)
        if scored.factors is not None:
            explained += 1
            assert {name for name, _ in scored.factors} == set(artifact.inputs)
            assert abs(math.fsum(value for _, value in scored.factors) - (scored.score - reference)) < 1e-9
            sizes = [abs(value) for _, value in scored.factors]
            assert sizes == sorted(sizes, reverse=True)
    assert explained > 10


def test_no_factors_unless_asked_for() -> None:
    device = trained("random_forest").device
    assert ArtifactScorer({"churn": device}).score("churn", device.reference, None).factors is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 5))
def test_factors_equal_the_average_over_all_orders(seed: int, count: int) -> None:
    """Against the definition itself: the mean marginal contribution over every order of arrival."""
    source = random.Random(seed)
    grid = [source.randrange(GRID) for _ in range(1 << count)]

    def grids_of(rows: object) -> list[int]:
        return [grid[sum(int(value) << place for place, value in enumerate(row))] for row in rows]  # type: ignore[attr-defined]

    names = [f"f{place}" for place in range(count)]
    got = dict(factors(names, [1.0] * count, [0.0] * count, grids_of))
    for place, name in enumerate(names):
        total = 0
        for order in itertools.permutations(range(count)):
            before = sum(1 << other for other in order[: order.index(place)])
            total += grid[before | 1 << place] - grid[before]
        assert abs(got[name] - total / math.factorial(count) / GRID) < 1e-12


def test_an_input_that_never_matters_has_no_factor() -> None:
    got = dict(factors(["used", "dummy"], [3.0, 9.0], [0.0, 0.0], lambda rows: [int(row[0]) * 100 for row in rows]))
    assert got["dummy"] == 0.0
    assert got["used"] == 300 / GRID


def test_too_many_inputs_are_refused_by_name() -> None:
    count = FACTOR_INPUT_COUNT_MAX + 1
    with pytest.raises(ScoringError, match="9 inputs"):
        factors(["x"] * count, [0.0] * count, [0.0] * count, lambda rows: [0] * len(rows))
