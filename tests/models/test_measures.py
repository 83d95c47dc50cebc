"""The measures against their slow definitions, and the intervals against what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_models.train.evidence.calibrate import area_under_curve
from reflexarc_models.train.evidence.measures import (
    auc_difference,
    auc_gap,
    auc_interval,
    average_precision,
    calibration_error,
    flagged_report,
    ranking,
    reliability,
    wilson,
)

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 1)), min_size=1, max_size=40)


def _arrays(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows]), np.array([label for _, label in rows], dtype=np.int8)


@given(ROWS)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[float, int]]) -> None:
    scores, labels = _arrays(rows)
    high, low = scores[labels == 1], scores[labels == 0]
    found = auc_interval(scores, labels)
    if not len(high) or not len(low):
        assert np.isnan(found.value)
        return
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in high for b in low]
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.value == pytest.approx(area_under_curve(scores, labels))
    if np.isfinite(found.low):
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert auc_difference(scores, scores, labels).value == 0.0
    assert auc_gap(scores, labels, scores, labels).value == 0.0
    assert auc_gap(scores, labels, -scores, labels).value == pytest.approx(2 * found.value - 1)


def test_the_interval_of_auc_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    truth, held = 0.7602, 0  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    for _ in range(400):
        labels = (random.random(200) < 0.3).astype(np.int8)
        found = auc_interval(random.normal(labels.astype(float), 1.0), labels)
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.98


@given(ROWS)
def test_average_precision_by_its_definition(rows: list[tuple[float, int]]) -> None:
    scores, labels = _arrays(rows)
    if not labels.sum():
        assert np.isnan(average_precision(scores, labels))
        return
    area, before = 0.0, 0.0
    for cut in sorted(set(scores), reverse=True):
        flagged = scores >= cut
        recall = labels[flagged].sum() / labels.sum()
        area += (recall - before) * labels[flagged].mean()
        before = recall
    assert average_precision(scores, labels) == pytest.approx(area)
    curve = ranking(scores, labels)
    assert curve.flagged[-1] == len(labels)
    assert curve.hits[-1] == labels.sum()


@given(ROWS)
def test_reliability_loses_no_row(rows: list[tuple[float, int]]) -> None:
    scores, labels = _arrays(rows)
    bins = reliability(scores, labels)
    assert sum(one.rows for one in bins) == len(labels)
    assert all(one.low <= one.rate <= one.high for one in bins)
    assert [one.score for one in bins] == sorted(one.score for one in bins)
    assert 0.0 <= calibration_error(bins) <= 1.0


def test_a_calibrated_score_has_a_small_error_and_a_bragging_one_a_large() -> None:
    random = np.random.default_rng(3)
    truth = random.random(20_000)
    labels = (random.random(20_000) < truth).astype(np.int8)
    assert calibration_error(reliability(truth, labels)) < 0.02
    assert calibration_error(reliability(np.sqrt(truth), labels)) > 0.1


def test_shares() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # the textbook's own example
    nobody = flagged_report(np.zeros(3, dtype=bool), np.array([0, 1, 1], dtype=np.int8))
    assert nobody["precision"] is None
    assert nobody["recall"] == 0.0
