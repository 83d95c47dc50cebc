"""Effects: the input that moves the score is named first, and its curve goes the way the labels do."""

import numpy as np
from model_worlds import trained, world

from reflexarc_models.train.evaluation.effects import effects
from reflexarc_models.train.evaluation.worth import Part, latency, scores_of
from reflexarc_models.train.rows.split import split


def test_what_moves_the_score_comes_first_and_what_does_not_moves_nothing() -> None:
    dataset = world()
    part = Part(dataset, split(dataset), {}, "")
    found = effects(trained("gradient_boosting").server, part, 1)
    assert {one.name for one in found} == set(trained("gradient_boosting").server.inputs)
    assert [one.auc_drop for one in found] == sorted((one.auc_drop for one in found), reverse=True)
    assert found[0].auc_drop > 0.02
    curve = next(one.points for one in found if one.name == "engagement_score")
    assert [value for value, _ in curve] == sorted(value for value, _ in curve)
    assert curve[0][1] > curve[-1][1] + 0.1  # who engages more stays
    assert effects(trained("gradient_boosting").server, part, 1) == found


def test_scores_are_the_artifacts_own() -> None:
    dataset = world()
    artifact = trained("gradient_boosting").device
    rows = dataset.x[:50][:, [dataset.inputs.index(name) for name in artifact.inputs]]
    score, codes = scores_of(artifact, rows)
    assert score.tolist() == [artifact.score_of(code) for code in codes.tolist()]
    assert np.isfinite(score).all()
    p50, p99 = latency(artifact, Part(dataset, split(dataset), {}, ""))
    assert 0 < p50 <= p99
