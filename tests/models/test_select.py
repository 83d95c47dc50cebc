"""Which inputs a model is given: what carries the labels stays, what says the same again goes, and names stay small."""

import numpy as np
import pytest

from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.rows.select import INPUTS_MAX, INPUTS_MIN, NAME_BYTES_MAX, strongest

ROWS = 1_500


def _dataset(names: list[str], seed: int = 3) -> Dataset:
    """The first input decides, the second orders the rows as it does, the third adds a little, the others are noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(ROWS, len(names)))
    x[:, 1] = np.exp(x[:, 0])
    labels = (random.random(ROWS) < 1 / (1 + np.exp(-2 * x[:, 0] - x[:, 2]))).astype(np.int8)
    x[::10, 2] = np.nan
    empty = np.zeros(ROWS)
    return Dataset(
        tuple(names), x, labels, np.array([str(i) for i in range(ROWS)], dtype=object), empty.astype(np.int64), empty, 0
    )


def test_what_says_the_same_again_goes() -> None:
    found = strongest(_dataset([f"i{place}" for place in range(30)]), np.arange(ROWS), 0)
    assert "i2" in found.inputs
    assert len({"i0", "i1"} & set(found.inputs)) == 1
    assert len(found.inputs) <= INPUTS_MAX
    assert list(found.inputs) == sorted(found.inputs, key=lambda name: int(name[1:]))


def test_rows_outside_training_choose_nothing() -> None:
    dataset = _dataset([f"i{place}" for place in range(20)])
    train = np.arange(800)
    one = strongest(dataset, train, 0).inputs
    dataset.y[800:] = 1 - dataset.y[800:]
    dataset.x[800:] = 0.0
    assert strongest(dataset, train, 0).inputs == one


@pytest.mark.parametrize("length", [5, 40, 300])
def test_long_names_cost_inputs(length: int) -> None:
    found = strongest(_dataset([f"{place:0{length}}" for place in range(30)]), np.arange(ROWS), 0)
    assert len(found.inputs) >= INPUTS_MIN
    if len(found.inputs) > INPUTS_MIN:
        assert sum(map(len, found.inputs)) <= NAME_BYTES_MAX


def test_few_inputs_all_stay() -> None:
    dataset = _dataset(["a", "b", "c"])
    assert strongest(dataset, np.arange(ROWS), 0) is dataset
