"""Lines from a capacity: never more than was asked for, and what the manifest says of a line is what it does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_worlds import trained

from reflexarc_core.model import GRID
from reflexarc_models.scorer import ArtifactScorer
from reflexarc_models.train.evidence.capacity import SHARES, line_at


@given(st.lists(st.integers(0, GRID), min_size=1, max_size=300), st.sampled_from(SHARES))
def test_a_line_flags_no_more_than_its_share_and_a_lower_one_would(grids: list[int], share: float) -> None:
    scores = np.array(grids, dtype=np.int64)
    line = line_at(scores, share)
    assert np.mean(scores / GRID > line) <= share
    lower = line - 1e-4 - 1 / GRID
    one_step_down = np.mean(scores / GRID > lower)
    assert line == 0.0 or one_step_down > share


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting"])
def test_the_table_says_what_the_line_does_to_rows_the_model_never_saw(algorithm: str) -> None:
    model = trained(algorithm)
    for form, artifact in (("device", model.device), ("server", model.server)):
        rows = model.server.evidence["capacity"][form]
        assert len(rows) > 3 and [row["line"] for row in rows] == sorted((row["line"] for row in rows), reverse=True)
        scorer = ArtifactScorer({"churn": artifact})
        scores = np.array([one.score for one in scorer.score_many("churn", model.test.vectors_for(artifact.inputs))])
        for row in rows:
            flagged = scores > row["line"]
            assert row["fires_a_day"] <= row["flagged_a_day"]
            if flagged.any():
                assert row["precision"] == pytest.approx(model.test.y[flagged].mean(), abs=1e-4)
                assert row["recall"] == pytest.approx(model.test.y[flagged].sum() / model.test.y.sum(), abs=1e-4)
        assert "capacity" not in model.device.evidence, "the device's download has no room for it"
