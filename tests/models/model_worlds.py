"""Simulated worlds with a known truth, and one trained model of each kind over them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from reflexarc_models.train.rows.dataset import Dataset
from reflexarc_models.train.train import NoData, TrainedModel, TrainSpec, train_model

DAY_MS = 86_400_000
HORIZON_MS = 30 * DAY_MS
UPDATE_MS = 7 * DAY_MS
INPUTS = ("engagement_score", "usage_frequency", "support_tickets")
LINES = (0.7, 0.8)


def world(rows: int = 5_000, seed: int = 7, days: int = 200, absent: bool = True) -> Dataset:
    """People whose engagement, use and tickets drive their churn; some have no engagement score."""
    random = np.random.default_rng(seed)
    person = random.integers(0, rows // 3, rows)
    taste = random.normal(size=rows // 3)[person]
    engagement = np.exp(taste * 0.8 + random.normal(size=rows) * 0.5) * 5
    usage = random.poisson(np.exp(taste * 0.7 + 0.6)).astype(float)
    tickets = random.poisson(0.5 + 0.5 * (taste < -0.5)).astype(float)
    recency = random.exponential(np.exp(-taste) * 5)
    logit = 1.6 - 0.25 * engagement - 0.25 * usage + 0.9 * tickets + 0.03 * recency - 0.6 * (engagement > 8)
    churned = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    x = np.column_stack([engagement, usage, tickets])
    if absent:
        x[random.random(rows) < 0.02, 0] = np.nan
    moments: NDArray[np.int64] = random.integers(0, days, rows) * DAY_MS + 1_600_000_000_000
    subjects = np.array([f"user:{number}" for number in person])
    return Dataset(INPUTS, x, churned, subjects, moments, recency, HORIZON_MS, ("email_engagement",))


def spec(algorithm: str, **changes: object) -> TrainSpec:
    """A plain spec for `world`."""
    fields: dict[str, object] = {
        "model_id": "churn",
        "algorithm": algorithm,
        "lines": LINES,
        "confidence_min": 0.8,
        "horizon_ms": HORIZON_MS,
        "update_interval_ms": UPDATE_MS,
    }
    return TrainSpec(**{**fields, **changes})  # type: ignore[arg-type]


@cache
def trained(algorithm: str) -> TrainedModel:
    """The model of `algorithm` over `world()`, trained once a test run."""
    result = train_model(spec(algorithm), world())
    assert not isinstance(result, NoData), result
    return result
