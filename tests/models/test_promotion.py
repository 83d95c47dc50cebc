"""What goes live: gates between training and a rollout, tables renewed from newer labels, drift that is seen."""

from dataclasses import replace

import numpy as np
import pytest
from model_worlds import HORIZON_MS, spec, trained, world

from reflexarc_core.model import GRID
from reflexarc_models.scorer import ArtifactScorer, self_test
from reflexarc_models.train.evidence.drift import DRIFT_MAX, drifted, psi, shares_of
from reflexarc_models.train.promotion import Live, judge, renewed
from reflexarc_models.train.rows.dataset import Rows
from reflexarc_models.train.train import NoData, TrainedModel, train_model


def _live(model: TrainedModel) -> Live:
    return Live(model.device, model.server)


def _noise(model: TrainedModel) -> TrainedModel:
    """The same people with labels drawn anew, which only their silence tells: a model of nothing."""
    dataset = world()
    labels = np.random.default_rng(3).permutation(dataset.y)
    found = train_model(spec("random_forest"), replace(dataset, y=labels, recency_days=1.0 + labels * dataset.recency_days))
    assert not isinstance(found, NoData)
    return replace(found, test=model.test)


def test_a_model_as_good_as_the_live_one_goes_live() -> None:
    model = trained("random_forest")
    verdict = judge(model, _live(model), model.test.newest_label_time)
    assert verdict.promoted and verdict.reasons == ()
    assert verdict.figures["server"]["auc_gain"] == 0.0 and verdict.figures["device"]["brier_loss"] == 0.0


def test_a_worse_model_is_refused_and_says_which_form_and_by_how_much() -> None:
    live = trained("random_forest")
    verdict = judge(_noise(live), _live(live), live.test.newest_label_time)
    assert not verdict.promoted
    assert any("server form ranks worse" in reason for reason in verdict.reasons)
    assert any("device form ranks worse" in reason for reason in verdict.reasons)
    assert verdict.figures["device"]["auc_gain_interval"][1] < 0


def test_a_stale_live_model_stops_nobody_and_neither_does_none() -> None:
    live = trained("random_forest")
    stale_from = live.server.newest_label_time + HORIZON_MS + 2 * live.server.update_interval_ms
    for held, now in ((_live(live), stale_from + 1), (None, 0)):
        verdict = judge(_noise(live), held, now)
        assert verdict.promoted and any("recency alone" in reason for reason in verdict.reasons)
    assert not judge(_noise(live), _live(live), stale_from).promoted


def test_a_rollout_stops_where_an_input_is_not_what_it_was() -> None:
    model = trained("gradient_boosting")
    moved = replace(model.test, x=model.test.x + np.array([0.0, 1_000.0, 0.0]))
    verdict = judge(replace(model, test=moved), _live(model), model.test.newest_label_time)
    assert not verdict.promoted
    assert any(reason.startswith("usage_frequency is not what it was") for reason in verdict.reasons)
    assert verdict.figures["drift"]["usage_frequency"] > DRIFT_MAX > verdict.figures["drift"]["support_tickets"]


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting"])
def test_renewed_tables_follow_newer_labels_and_leave_the_codes(algorithm: str) -> None:
    model = trained(algorithm)
    rng = np.random.default_rng(11)
    # Half of those who would have left stay now: the risk of everybody is lower than the model learned.
    y = np.where((model.test.y == 1) & (rng.random(len(model.test.y)) < 0.5), 0, model.test.y).astype(np.int8)
    newer = replace(model.test, y=y, newest_label_time=model.server.newest_label_time + HORIZON_MS)
    for artifact in (model.device, model.server):
        fresh = renewed(artifact, newer)
        self_test(fresh)
        assert fresh.digest != artifact.digest and fresh.newest_label_time == newer.newest_label_time
        before, after = (
            ArtifactScorer({"churn": held}).score_many("churn", newer.vectors_for(held.inputs)) for held in (artifact, fresh)
        )
        assert [one.code for one in before] == [one.code for one in after]
        means = [np.mean([one.score for one in scored]) for scored in (before, after)]
        assert abs(means[1] - y.mean()) < 0.03 < means[0] - y.mean()
        assert sum(n for n, _ in fresh.segments) == len(y) and sum(k for _, k in fresh.segments) == y.sum()
        assert set(fresh.lines) == set(artifact.lines)


def test_older_labels_or_labels_of_one_kind_renew_nothing() -> None:
    model = trained("random_forest")
    assert renewed(model.device, replace(model.test, newest_label_time=model.device.newest_label_time)) is model.device
    later = model.device.newest_label_time + 1
    one_kind = replace(model.test, y=np.zeros_like(model.test.y), newest_label_time=later)
    assert renewed(model.device, one_kind) is model.device
    nobody = Rows(
        model.test.inputs, model.test.x[:0], model.test.y[:0], model.test.subjects[:0], model.test.score_time[:0], later
    )
    assert renewed(model.device, nobody) is model.device


def test_an_input_that_nobody_sends_any_more_is_absent_not_missing() -> None:
    model = trained("random_forest")
    kept = tuple(name for name in model.test.inputs if name != "support_tickets")
    places = [model.test.inputs.index(name) for name in kept]
    vectors = replace(model.test, inputs=kept, x=model.test.x[:, places]).vectors_for(model.server.inputs)
    assert all(np.isnan(vector[model.server.inputs.index("support_tickets")]) for vector in vectors)
    assert all(0 <= one.score * GRID <= GRID for one in ArtifactScorer({"churn": model.server}).score_many("churn", vectors))


def test_the_index_is_nothing_for_equal_shares_and_large_for_others() -> None:
    rng = np.random.default_rng(5)
    x = np.column_stack([rng.normal(size=4_000), rng.poisson(1.0, 4_000).astype(float)])
    x[rng.random(4_000) < 0.1, 0] = np.nan
    kept = shares_of(x, ("a", "b"))
    rows = Rows(("a", "b"), x, np.zeros(4_000, dtype=np.int8), np.array(["s"] * 4_000), np.zeros(4_000, dtype=np.int64), 0)
    assert all(value < 0.01 for value in drifted(kept, rows).values())
    again = np.column_stack([rng.normal(size=4_000), rng.poisson(1.0, 4_000).astype(float)])
    assert psi(kept["b"], again[:, 1]) < 0.02
    assert psi(kept["b"], again[:, 1] + 3) > 1.0
    assert psi(kept["a"], np.full(100, np.nan)) > 1.0
    assert np.isnan(psi(kept["a"], np.zeros(0)))
    constant = shares_of(np.full((50, 1), 2.0), ("c",))
    assert psi(constant["c"], np.full(50, 2.0)) == 0.0 < psi(constant["c"], np.full(50, 3.0))
