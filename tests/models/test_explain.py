"""Factors: they add up, inputs that do nothing get nothing, and they belong to the artifact that decided."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_worlds import HORIZON_MS, spec, trained, world

from reflexarc_core.errors import ScoringError
from reflexarc_core.model import GRID
from reflexarc_models.explain import COMPILED_INPUT_COUNT_MAX, FACTOR_INPUT_COUNT_MAX, factors, factors_by_array
from reflexarc_models.scorer import KERNEL, ONNXRUNTIME, ArtifactScorer
from reflexarc_models.train.forms.gates import DEVICE_BYTES_MAX
from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.train import TrainedModel, train_model


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


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 7))
def test_by_array_they_are_the_same_numbers_and_what_equals_the_reference_has_none(seed: int, count: int) -> None:
    source = random.Random(seed)
    grid = [source.randrange(GRID) for _ in range(1 << count)]
    reference = [0.0] * count
    vector = [float(source.random() < 0.7) for _ in range(count)]

    def grids_of(rows: object) -> list[int]:
        return [grid[sum(int(value) << place for place, value in enumerate(row))] for row in rows]  # type: ignore[attr-defined]

    names = [f"f{place}" for place in range(count)]
    wanted = dict(factors(names, vector, reference, grids_of))
    got = factors_by_array(names, vector, reference, grids_of)
    assert got is not None and dict(got) == wanted
    assert [abs(value) for _, value in got] == sorted((abs(value) for _, value in got), reverse=True)


def test_sixteen_inputs_are_combined_and_one_more_is_not() -> None:
    count = COMPILED_INPUT_COUNT_MAX + 1
    names, zeros = [f"f{place}" for place in range(count)], [0.0] * count

    def product_of_two(rows: np.ndarray) -> np.ndarray:
        return (rows[:, 0] * rows[:, 1] * 1_000 + rows[:, 2] * 40).astype(np.int64)

    assert factors_by_array(names, [1.0] * count, zeros, product_of_two) is None
    got = factors_by_array(names, [1.0] * (count - 1) + [0.0], zeros, product_of_two)
    assert got is not None
    assert dict(got) == {**dict.fromkeys(names, 0.0), "f0": 500 / GRID, "f1": 500 / GRID, "f2": 40 / GRID}


def test_a_server_explains_twelve_inputs_exactly() -> None:
    """By the definition: each of 2^12 coalitions scored one by one, on a forest of as many inputs."""
    random_state = np.random.default_rng(2)
    x = random_state.normal(size=(1_500, 12))
    y = (random_state.random(1_500) < 1 / (1 + np.exp(-x[:, :5].sum(axis=1) - x[:, 5] * x[:, 6]))).astype(np.int8)
    names = tuple(f"input_{place}_of_a_table_with_long_names" for place in range(12))
    rows = Dataset(
        names, x, y, np.array([f"u{i}" for i in range(1_500)]), np.arange(1_500, dtype=np.int64) * 1_000_000_000,
        random_state.exponential(3.0, 1_500), HORIZON_MS,
    )  # fmt: skip
    model = train_model(spec("gradient_boosting"), rows)
    assert isinstance(model, TrainedModel)
    # Twelve long names and their tables leave less room for trees: the device's form stays a download of ten kilobytes.
    size = model.device.evidence["gates"]["size"]
    assert size["holds"] and model.device.download_bytes == size["bytes"] <= DEVICE_BYTES_MAX
    scorer = ArtifactScorer({"churn": model.server}, KERNEL)
    row = x[int(np.argmax(x[:, :5].sum(axis=1)))].tolist()
    scored = scorer.score("churn", row, 0.0)
    assert scored.factors is not None
    assert (
        abs(math.fsum(v for _, v in scored.factors) - scored.score + scorer.score("churn", model.server.reference, None).score)
        < 1e-9
    )
    mixed = [[row[p] if chosen >> p & 1 else model.server.reference[p] for p in range(12)] for chosen in range(1 << 12)]
    grids = [round(each.score * GRID) for each in ArtifactScorer({"churn": model.server}, ONNXRUNTIME).score_many("churn", mixed)]
    for place, name in enumerate(model.server.inputs):
        total = sum(
            math.factorial(chosen.bit_count())
            * math.factorial(11 - chosen.bit_count())
            * (grids[chosen | 1 << place] - grids[chosen])
            for chosen in range(1 << 12)
            if not chosen >> place & 1
        )
        assert dict(scored.factors)[name] == pytest.approx(total / math.factorial(12) / GRID, abs=1e-12)
