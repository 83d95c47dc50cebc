"""The two curves of calibration: each found where it is true, both rising, and a bend never assumed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.model import GRID
from reflexarc_models.tables import is_monotone
from reflexarc_models.train.evidence.calibrate import _is_bent, calibrate, calibrate_as, fit_beta

CODES = 256


def _world(bend: float, rows: int = 4_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(codes, labels, log-odds by code, true probability by code); bend: how much flatter the truth is above one half."""
    random = np.random.default_rng(seed)
    logit_of_code = np.linspace(-4, 4, CODES)
    codes = np.clip(random.normal(128, 60, rows), 0, CODES - 1).astype(np.int64)
    truth = 1 / (1 + np.exp(-np.where(logit_of_code > 0, (1 - bend) * logit_of_code, logit_of_code)))
    labels = (random.random(rows) < truth[codes]).astype(np.int8)
    return codes, labels, logit_of_code, truth


def test_a_bend_is_followed_and_none_is_made_up() -> None:
    codes, labels, logits, truth = _world(0.85)
    assert _is_bent(logits[codes], labels)
    found = np.array(calibrate(codes.tolist(), labels, logits).score_grid) / GRID
    assert np.abs(found - truth)[codes].mean() < 0.03
    straight = [_is_bent(of[2][of[0]], of[1]) for seed in range(30) if (of := _world(0.0, 2_000, seed))]
    assert sum(straight) <= 8  # about one in six by chance, and then the bend is slight
    codes, labels, logits, truth = _world(0.0)
    found = np.array(calibrate(codes.tolist(), labels, logits).score_grid) / GRID
    assert np.abs(found - truth)[codes].mean() < 0.02


def test_few_labels_bend_nothing() -> None:
    codes, labels, logits, _ = _world(0.85, rows=80)
    assert not _is_bent(logits[codes], labels)


@given(st.integers(0, 10_000), st.floats(-1.5, 1.5))
def test_scores_never_fall_along_the_codes(seed: int, slope: float) -> None:
    random = np.random.default_rng(seed)
    logits = np.sort(random.normal(0, 3, CODES))
    codes = random.integers(0, CODES, 300)
    labels = (random.random(300) < 1 / (1 + np.exp(-slope * logits[codes]))).astype(np.int8)
    curve = fit_beta(logits[codes], labels)(logits)
    assert (np.diff(curve) >= -1e-12).all()
    if 0 < labels.sum() < 300:
        assert is_monotone(calibrate(codes.tolist(), labels, logits).score_grid)


def test_the_beta_curve_holds_the_sigmoid() -> None:
    """With equal weights it is one: the log-odds scaled."""
    codes, labels, logits, _ = _world(0.0, 20_000)
    curve = fit_beta(logits[codes], labels)(np.array([-2.0, 0.0, 2.0]))
    assert curve == pytest.approx([-2.0, 0.0, 2.0], abs=0.15)


def test_whoever_imitates_says_what_the_other_says_of_its_rows_and_keeps_its_own_counts() -> None:
    draw = np.random.default_rng(4)
    shown = draw.integers(20, 200, 5_000)
    grids = (GRID * shown / 256).astype(np.int64) + draw.integers(-600, 600, 5_000)
    codes, labels = draw.integers(0, 256, 900).tolist(), draw.integers(0, 2, 900).astype(np.int8)
    other = calibrate(codes, labels, np.linspace(-4, 4, 256))
    found = calibrate_as(codes, labels, shown.tolist(), grids, other, 256)
    grid = np.array(found.score_grid)
    assert (np.diff(grid) >= 0).all() and grid[0] == grid[20] and grid[255] == grid[199]
    assert np.abs(grid[30:190] - GRID * np.arange(30, 190) / 256).max() < 400
    assert (found.segment_starts, found.segments) == (other.segment_starts, other.segments), (
        "the certificate rests on labels alone"
    )


def test_at_a_live_line_whoever_imitates_is_on_the_side_that_the_fewest_rows_are_wrong_on() -> None:
    """Few far rows over the line draw the average of a code up to it, though most of its rows lie under it."""
    shown = np.repeat(np.arange(256), 40)
    grids = np.where(shown < 150, GRID * 6 // 10, GRID * 9 // 10)
    grids[(shown >= 120) & (shown < 150) & (np.arange(len(shown)) % 3 == 0)] = GRID - 1
    codes, labels = np.arange(256).tolist(), (np.arange(256) % 2).astype(np.int8)
    other = calibrate(codes, labels, np.linspace(-4, 4, 256))

    def first_over(lines: tuple[float, ...]) -> int:
        grid = np.array(calibrate_as(codes, labels, shown.tolist(), grids, other, 256, lines).score_grid)
        assert (np.diff(grid) >= 0).all() and grid[0] >= 0 and grid[-1] <= GRID
        return int((grid / GRID > 0.7).argmax())

    assert first_over(()) == 120
    assert first_over((0.7,)) == first_over((0.5, 0.7, 0.95)) == 150
