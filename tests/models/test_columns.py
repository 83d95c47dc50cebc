"""Tables as inputs: what a column is taken for, what is left out, and that a test row can choose nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import DefinitionError
from reflexarc_models.train.evaluation.folds import FOLD_COUNT, by_fold, by_time
from reflexarc_models.train.rows.columns import fit_encoding, is_missing, moments, number


def _table(rows: int, seed: int = 5) -> tuple[dict[str, list[str]], np.ndarray]:
    random = np.random.default_rng(seed)
    kind, spend = random.integers(0, 3, rows), random.gamma(2.0, 50.0, rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-(kind - 1.0 + (spend - 100) / 60)))).astype(np.int8)
    return {
        "customer_id": [f"C{i:06}" for i in range(rows)],
        "plan": [("basic", "plus", "pro")[k] for k in kind],
        "spend": [" " if i % 50 == 0 else f"{s:,.2f}" for i, s in enumerate(spend)],
        "active": [("True", "False")[i % 2] for i in range(rows)],
        "joined": [f"20{20 + i % 5}-0{1 + i % 9}-15" for i in range(rows)],
        "country": ["GB"] * rows,
        "nothing": [""] * rows,
        "copy": [("stay", "go")[label] for label in labels],
    }, labels


def _keys(rows: int) -> np.ndarray:
    return np.array([str(i) for i in range(rows)], dtype=object)


def test_every_column_is_taken_for_what_it_is() -> None:
    table, labels = _table(600)
    encoding, x = fit_encoding(table, labels, _keys(600))
    kinds = {column.name: column.kind for column in encoding.columns}
    assert kinds == {"plan": "levels", "spend": "number", "active": "flag", "joined": "date"}
    assert encoding.left_out == {
        "customer_id": "it names rows: nearly every value is another",
        "country": "it is constant",
        "nothing": "it is empty",
        "copy": "it repeats the label",
    }
    assert any("copy repeats the label" in warning for warning in encoding.warnings)
    assert np.isnan(x[0, encoding.inputs.index("spend")])
    assert np.allclose(encoding.rows(table), x, equal_nan=True)  # few levels: nothing is crossed


def test_a_value_never_seen_stands_for_everybody() -> None:
    table, labels = _table(600)
    encoding, _ = fit_encoding(table, labels, _keys(600))
    fresh = {name: [texts[0]] for name, texts in table.items()} | {"plan": ["gold"], "spend": ["?"], "active": ["maybe"]}
    row = dict(zip(encoding.inputs, encoding.rows(fresh)[0], strict=True))
    assert row["plan"] == pytest.approx(labels.mean(), abs=1e-5)
    assert np.isnan(row["spend"])
    assert np.isnan(row["active"])


def test_of_many_levels_a_rows_own_label_has_no_part_in_its_value() -> None:
    random = np.random.default_rng(2)
    levels = [f"l{i}" for i in random.integers(0, 400, 2_000)]
    labels = random.integers(0, 2, 2_000).astype(np.int8)
    encoding, x = fit_encoding({"level": levels, "other": [str(v) for v in random.normal(size=2_000)]}, labels, _keys(2_000))
    place = encoding.inputs.index("level")
    naive = encoding.rows({"level": levels, "other": ["0"] * 2_000})[:, place]
    assert abs(np.corrcoef(x[:, place], labels)[0, 1]) < 0.08  # pure noise says nothing
    assert np.corrcoef(naive, labels)[0, 1] > 0.2  # what it would have seemed to say


def test_a_column_that_alone_separates_is_named() -> None:
    table, labels = _table(600)
    table["refund"] = [f"{label * 10 + i % 7}" for i, label in enumerate(labels)]
    encoding, _ = fit_encoding(table, labels, _keys(600))
    assert any(warning.startswith("refund alone separates") for warning in encoding.warnings)


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_none(text: str) -> None:
    value = number(text)
    assert np.isnan(value) or np.isfinite(value)
    if is_missing(text):
        assert np.isnan(value)


def test_numbers_and_dates_as_people_write_them() -> None:
    assert [number(text) for text in ("1,234.5", "£3", "-7%", "1e3", " 2 ")] == [1234.5, 3.0, -7.0, 1000.0, 2.0]
    assert all(np.isnan(number(text)) for text in ("1,2", "12a", "1_000", "inf", "nan", "--1"))
    assert moments(["31/12/2020", "01/02/2021"]) is not None
    assert moments(["red", "green"]) is None


def test_folds_test_every_row_once_and_keep_copies_together() -> None:
    table, labels = _table(700)
    keys = np.array([str(i // 2) for i in range(700)], dtype=object)
    tested: list[int] = []
    for part in by_fold(table, labels, keys, seed=3):
        trained = set(keys[np.concatenate([part.split.train, part.split.calibration])])
        assert not trained & set(keys[part.split.test])
        tested += part.split.test.tolist()
        assert part.dataset.y[part.split.test].mean() == pytest.approx(labels.mean(), abs=0.1)
    assert sorted(tested) == list(range(700))


def test_a_test_rows_label_changes_nothing_that_is_learnt() -> None:
    table, labels = _table(700)
    del table["copy"]
    times = np.arange(700, dtype=np.float64)
    one = next(iter(by_time(table, labels, _keys(700), times, "t", 0)))
    turned = labels.copy()
    turned[one.split.test] = 1 - turned[one.split.test]
    other = next(iter(by_time(table, turned, _keys(700), times, "t", 0)))
    assert one.dataset.inputs == other.dataset.inputs
    assert np.array_equal(one.dataset.x, other.dataset.x, equal_nan=True)
    assert np.array_equal(one.split.train, other.split.train)
    assert {name: values.tolist() for name, values in one.baselines.items()} == {
        name: values.tolist() for name, values in other.baselines.items()
    }
    assert one.split.train.max() < one.split.test.min()


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0] * 300, "same label"),
        ([0, 1] * 40, "at least 200"),
        ([0] * 300 + [1] * 10, "at least 25 of each"),
    ],
)
def test_too_little_is_refused(labels: list[int], reason: str) -> None:
    table = {"a": [str(i % 7) for i in range(len(labels))]}
    with pytest.raises(DefinitionError, match=reason):
        list(by_fold(table, np.array(labels, dtype=np.int8), _keys(len(labels)), 0))
    assert FOLD_COUNT == 5
